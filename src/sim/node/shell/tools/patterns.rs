//! Programs that go by patterns: `grep`, and of `sed` and `awk` what one-line scripts use.

use super::super::{Machine, Step};
use super::{Words, files};

impl Machine<'_> {
    pub(super) fn grep(&mut self, name: &str, words: &Words<'_>) -> Step {
        let mut patterns: Vec<String> = Vec::new();
        let mut files = words.plain.clone();
        match words.after("-e") {
            Some(pattern) => {
                patterns.push(pattern.to_owned());
                files.retain(|file| file.as_str() != pattern);
            }
            None if files.is_empty() => return Ok(2),
            None => patterns.extend(files.remove(0).split('\n').map(str::to_owned)),
        }
        let (extended, fixed) = (name == "egrep" || words.has('E'), name == "fgrep" || words.has('F'));
        let written: Vec<String> = patterns
            .iter()
            .map(|pattern| match (fixed, extended) {
                (true, _) => regex::escape(pattern),
                (false, true) => pattern.clone(),
                (false, false) => basic(pattern),
            })
            .collect();
        let mut joined = written.join("|");
        if words.has('w') {
            joined = format!(r"\b(?:{joined})\b");
        }
        if words.has('x') {
            joined = format!("^(?:{joined})$");
        }
        let pattern =
            regex::RegexBuilder::new(&joined).case_insensitive(words.has('i')).size_limit(1 << 20).build();
        let Ok(pattern) = pattern else { return self.fail("grep: bad regex\n".to_owned(), 2) };
        if words.has('r') || words.has('R') {
            let inside = files.iter().flat_map(|file| self.walk(file));
            let inside: Vec<String> =
                inside.filter(|(_, kind)| *kind == files::Kind::File).map(|(path, _)| path).collect();
            return self.grep_files(&pattern, &inside.iter().collect::<Vec<_>>(), words, true);
        }
        let many = files.len() > 1 && !words.has('h');
        self.grep_files(&pattern, &files, words, many)
    }

    fn grep_files(
        &mut self,
        pattern: &regex::Regex,
        files: &[&String],
        words: &Words<'_>,
        named: bool,
    ) -> Step {
        let here = "-".to_owned();
        let files = if files.is_empty() { vec![&here] } else { files.to_vec() };
        let (mut found, mut status) = (false, 0);
        for file in files {
            let (text, missing) = self.input("grep", &[file])?;
            status |= missing;
            let prefix = if named { format!("{file}:") } else { String::new() };
            let mut shown = String::new();
            let mut count = 0;
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| pattern.is_match(line) != words.has('v'))
            {
                count += 1;
                let number = if words.has('n') { format!("{}:", number + 1) } else { String::new() };
                if words.has('o') {
                    for piece in pattern.find_iter(line) {
                        shown.push_str(&format!("{prefix}{number}{}\n", piece.as_str()));
                    }
                } else {
                    shown.push_str(&format!("{prefix}{number}{line}\n"));
                }
            }
            found |= count > 0;
            if words.has('q') {
                continue;
            } else if words.has('l') {
                shown = if count > 0 { format!("{file}\n") } else { String::new() };
            } else if words.has('c') {
                shown = format!("{prefix}{count}\n");
            }
            self.say(&shown);
        }
        Ok(if status != 0 { 2 } else { i32::from(!found) })
    }

    /// `s/from/to/[g]`, `/pattern/d`, `Np` with `-n`: what one-line scripts use.
    pub(super) fn sed(&mut self, words: &Words<'_>) -> Step {
        let mut files = words.plain.clone();
        let script = match words.after("-e") {
            Some(script) => {
                files.retain(|file| file.as_str() != script);
                script.to_owned()
            }
            None if files.is_empty() => return Ok(1),
            None => files.remove(0).clone(),
        };
        let (mut text, status) = self.input("sed", &files)?;
        let extended = words.has('E') || words.has('r');
        for step in script.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let Some(edited) = edited(&text, step, extended) else {
                return self.fail("sed: this script is not simulated in a container\n".to_owned(), 1);
            };
            text = edited;
        }
        match (words.all.iter().any(|word| word.starts_with("-i")), files.first()) {
            (true, Some(file)) => {
                if !self.save("sed", file, text)? {
                    return Ok(4);
                }
            }
            _ => self.say(&text),
        }
        Ok(status)
    }

    /// `[condition] {print $1, $NF}`, with `-F`; a condition is `NR==1`, `NR>1` or a pattern.
    pub(super) fn awk(&mut self, words: &Words<'_>) -> Step {
        let separator = words.after("-F");
        let mut plain: Vec<&String> =
            words.plain.iter().copied().filter(|word| Some(word.as_str()) != separator).collect();
        if plain.is_empty() {
            return Ok(2);
        }
        let program = plain.remove(0).trim().to_owned();
        let unknown = |machine: &mut Self| {
            machine.fail("awk: this program is not simulated in a container\n".to_owned(), 2)
        };
        let (condition, action) = match program.split_once('{') {
            Some((condition, action)) => (condition.trim(), action.trim_end_matches('}').trim()),
            None => (program.as_str(), "print"),
        };
        let Some(wanted) = action.strip_prefix("print") else { return unknown(self) };
        let row =
            |operator: &str| condition.strip_prefix(operator).and_then(|n| n.trim().parse::<usize>().ok());
        let pattern = condition.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let pattern = match pattern.map(regex::Regex::new) {
            Some(Ok(pattern)) => Some(pattern),
            Some(Err(_)) => return unknown(self),
            None => None,
        };
        let (exactly, beyond) = (row("NR=="), row("NR>"));
        if !condition.is_empty() && pattern.is_none() && exactly.is_none() && beyond.is_none() {
            return unknown(self);
        }
        let (text, status) = self.input("awk", &plain)?;
        let mut out = String::new();
        for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
            if exactly.is_some_and(|row| row != number)
                || beyond.is_some_and(|row| number <= row)
                || pattern.as_ref().is_some_and(|pattern| !pattern.is_match(line))
            {
                continue;
            }
            let fields: Vec<&str> = match separator {
                Some(separator) => line.split(separator).collect(),
                None => line.split_whitespace().collect(),
            };
            let value = |term: &str| match term.trim() {
                "" | "$0" => line.to_owned(),
                "$NF" => fields.last().map_or(String::new(), |last| (*last).to_owned()),
                "NR" => number.to_string(),
                "NF" => fields.len().to_string(),
                term => match term.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
                    Some(n) => {
                        fields.get(n.wrapping_sub(1)).map_or(String::new(), |field| (*field).to_owned())
                    }
                    None => term.trim_matches('"').to_owned(),
                },
            };
            let parts: Vec<String> = wanted.trim_end_matches(';').split(',').map(value).collect();
            out.push_str(&parts.join(" "));
            out.push('\n');
        }
        self.say(&out);
        Ok(status)
    }
}

/// Writes a basic regular expression as an extended one.
fn basic(pattern: &str) -> String {
    let mut out = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(plain @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) => out.push(plain),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' => out.extend(['\\', letter]),
            other => out.push(other),
        }
    }
    out
}

/// Carries out one command of a script for `sed`; nothing where it is not known.
fn edited(text: &str, step: &str, extended: bool) -> Option<String> {
    let compile =
        |pattern: &str| regex::Regex::new(&if extended { pattern.to_owned() } else { basic(pattern) }).ok();
    let lines = text.split_inclusive('\n');
    if let Some(pattern) = step.strip_prefix('/').and_then(|rest| rest.strip_suffix("/d")) {
        let pattern = compile(pattern)?;
        return Some(lines.filter(|line| !pattern.is_match(line.trim_end_matches('\n'))).collect());
    }
    if let Some(pattern) = step.strip_prefix('/').and_then(|rest| rest.strip_suffix("/p")) {
        let pattern = compile(pattern)?;
        return Some(lines.filter(|line| pattern.is_match(line.trim_end_matches('\n'))).collect());
    }
    if let Some(range) = step.strip_suffix('p') {
        let (from, to) = range.split_once(',').unwrap_or((range, range));
        let from: usize = from.parse().ok()?;
        let to: usize = if to == "$" { usize::MAX } else { to.parse().ok()? };
        return Some(
            lines
                .enumerate()
                .filter(|(at, _)| (from..=to).contains(&(at + 1)))
                .map(|(_, line)| line)
                .collect(),
        );
    }
    let rest = step.strip_prefix('s')?;
    let separator = rest.chars().next()?;
    let parts: Vec<&str> = rest[separator.len_utf8()..].split(separator).collect();
    let [from, to, flags] = parts.as_slice() else { return None };
    let pattern = compile(from)?;
    // Groups are `\1` there and `${1}` here; `&` is all that was found.
    let to = regex::Regex::new(r"\\([0-9])")
        .ok()?
        .replace_all(&to.replace('$', "$$"), "$${$1}")
        .replace('&', "${0}");
    let limit = usize::from(!flags.contains('g'));
    Some(lines.map(|line| pattern.replacen(line, limit, to.as_str()).into_owned()).collect())
}
