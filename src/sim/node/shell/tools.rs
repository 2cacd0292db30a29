//! The programs that scripts of containers use, with their words for what goes wrong. Which of them an image has is for
//! others to say.

use super::{Flow, Machine, Step, TICK};

mod archive;
mod curl;
mod files;
mod kubectl;
mod language;
mod names;
mod network;
mod patterns;
mod process;
mod text;
mod wget;

/// The groups of programs and what they are answered by.
const GROUPS: [&[&str]; 4] = [files::TOOLS, text::TOOLS, process::TOOLS, network::TOOLS];

/// Tells whether a program of this name is answered here.
pub(in crate::sim::node) fn is_tool(name: &str) -> bool {
    GROUPS.iter().any(|group| group.contains(&name))
}

/// What stands behind a program's name.
struct Words<'a> {
    all: &'a [String],
    /// What begins with no dash.
    plain: Vec<&'a String>,
}

impl<'a> Words<'a> {
    fn new(all: &'a [String]) -> Self {
        Self { all, plain: all.iter().filter(|word| !word.starts_with('-') || word.len() == 1).collect() }
    }

    /// Tells whether a flag of one letter is set.
    fn has(&self, flag: char) -> bool {
        self.all.iter().any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(flag))
    }

    /// Returns what follows a flag, in its word or the next.
    fn after(&self, flag: &str) -> Option<&'a str> {
        self.all.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(flag)? {
            "" => self.all.get(at + 1).map(String::as_str),
            value => Some(value.strip_prefix('=').unwrap_or(value)),
        })
    }
}

impl Machine<'_> {
    fn tool(&mut self, name: &str, arguments: &[String]) -> Step {
        let words = Words::new(arguments);
        if files::TOOLS.contains(&name) {
            self.file_tool(name, &words)
        } else if text::TOOLS.contains(&name) {
            self.text_tool(name, &words)
        } else if network::TOOLS.contains(&name) {
            self.network_tool(name, &words)
        } else {
            self.process_tool(name, &words)
        }
    }

    fn fail(&mut self, text: String, code: i32) -> Step {
        self.complain(&text);
        Ok(code)
    }

    /// Reads the files that are named, or stdin; complains of those that are not there.
    fn input(&mut self, name: &str, files: &[&String]) -> Result<(String, i32), Flow> {
        if files.is_empty() {
            return Ok((self.given()?, 0));
        }
        let (mut text, mut status) = (String::new(), 0);
        for file in files {
            if *file == "-" {
                text.push_str(&self.given()?);
                continue;
            }
            match self.read(file) {
                Some(content) => text.push_str(&content),
                None => {
                    let why = self.why_unread(name, file);
                    self.complain(&why);
                    status = 1;
                }
            }
        }
        Ok((text, status))
    }

    /// Says why a file cannot be read.
    fn why_unread(&self, name: &str, file: &str) -> String {
        let hidden = self.host.hides(&self.absolute(file));
        let why = match (self.list_folder(file).is_some(), hidden) {
            (true, _) => "Is a directory",
            (_, true) => "Permission denied",
            _ => "No such file or directory",
        };
        match (self.start.gnu, why) {
            (true, _) => format!("{name}: {file}: {why}\n"),
            (false, "Is a directory") => format!("{name}: read error: {why}\n"),
            (false, _) => format!("{name}: can't open '{file}': {why}\n"),
        }
    }

    /// Takes the time that a question takes.
    fn spend(&mut self, time: std::time::Duration) -> Result<(), Flow> {
        self.pass(time.max(TICK))
    }
}
