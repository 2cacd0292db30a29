//! Command lines as the tools of a node take them: short options that may be run together, long ones with or without
//! `=`. What a tool does not know is handed back, so that it can say so.

use std::collections::BTreeMap;

/// An option: its long name, its letter, whether a value goes with it.
pub(super) type Known = (&'static str, Option<char>, bool);

/// A command line that was read.
#[derive(Debug, Default)]
pub(super) struct Options {
    given: BTreeMap<&'static str, Vec<String>>,
    /// What is no option.
    pub rest: Vec<String>,
}

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// The first option that is not known, as it was given, or that lacks its value.
    pub(super) fn read(args: &[String], known: &[Known]) -> Result<Self, String> {
        let mut read = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                read.rest.extend(args.by_ref().cloned());
            } else if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let option = known.iter().find(|(long, ..)| *long == name).ok_or_else(|| arg.clone())?;
                let value = match (option.2, value) {
                    (true, Some(value)) => value,
                    (true, None) => args.next().cloned().ok_or_else(|| arg.clone())?,
                    (false, Some(value)) => value,
                    (false, None) => "true".to_owned(),
                };
                read.given.entry(option.0).or_default().push(value);
            } else if arg.len() > 1 && arg.starts_with('-') {
                let mut letters = arg.chars().skip(1);
                while let Some(letter) = letters.next() {
                    let option = known.iter().find(|(_, short, _)| *short == Some(letter));
                    let option = option.ok_or_else(|| arg.clone())?;
                    let value = if option.2 {
                        let rest: String = letters.by_ref().collect();
                        match rest.strip_prefix('=').unwrap_or(&rest) {
                            "" => args.next().cloned().ok_or_else(|| arg.clone())?,
                            value => value.to_owned(),
                        }
                    } else {
                        "true".to_owned()
                    };
                    read.given.entry(option.0).or_default().push(value);
                }
            } else {
                read.rest.push(arg.clone());
            }
        }
        Ok(read)
    }

    /// Tells whether an option was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.get(name).and_then(|values| values.last()).is_some_and(|value| value != "false")
    }

    /// Returns the last value of an option.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.last().map(String::as_str)
    }

    /// Returns all values of an option.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.given.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_run_together_and_the_last_takes_the_value() {
        let known: [Known; 4] = [
            ("unit", Some('u'), true),
            ("catalog", Some('x'), false),
            ("end", Some('e'), false),
            ("lines", Some('n'), true),
        ];
        let read = |line: &str| {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            Options::read(&args, &known)
        };
        let options = read("-xeu kubelet -n5 --lines=7 rest").unwrap();
        assert!(options.has("catalog") && options.has("end"));
        assert_eq!(options.get("unit"), Some("kubelet"));
        assert_eq!(options.all("lines"), ["5", "7"]);
        assert_eq!(options.rest, ["rest"]);
        assert_eq!(read("-xz").unwrap_err(), "-xz");
        assert_eq!(read("--nope=1").unwrap_err(), "--nope=1");
        assert_eq!(read("-u").unwrap_err(), "-u");
    }
}
