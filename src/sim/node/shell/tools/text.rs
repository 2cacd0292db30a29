//! Programs that read text and write it, changed; and `test`, which asks of text and files.

use super::super::{Flow, Machine, Step, bytes, expand};
use super::Words;

/// Their names.
pub(super) const TOOLS: &[&str] = &[
    "[",
    "awk",
    "base64",
    "cat",
    "cut",
    "echo",
    "egrep",
    "expr",
    "fgrep",
    "grep",
    "head",
    "md5sum",
    "more",
    "printf",
    "sed",
    "seq",
    "sha256sum",
    "sort",
    "tail",
    "tee",
    "test",
    "tr",
    "uniq",
    "vi",
    "wc",
    "yes",
];

impl Machine<'_> {
    pub(super) fn text_tool(&mut self, name: &str, words: &Words<'_>) -> Step {
        let (arguments, plain) = (words.all, &words.plain);
        match name {
            "echo" => {
                let mut rest = arguments;
                let (mut newline, mut escapes) = (true, false);
                while let Some(flags) = rest
                    .first()
                    .and_then(|a| a.strip_prefix('-'))
                    .filter(|f| !f.is_empty() && f.chars().all(|c| matches!(c, 'n' | 'e' | 'E')))
                {
                    newline &= !flags.contains('n');
                    escapes |= flags.contains('e');
                    rest = &rest[1..];
                }
                let mut text = rest.join(" ");
                if escapes {
                    text = unescaped(&text);
                }
                if newline {
                    text.push('\n');
                }
                self.say(&text);
                Ok(0)
            }
            "printf" => {
                let text =
                    arguments.first().map(|format| formatted(format, &arguments[1..])).unwrap_or_default();
                self.say(&text);
                Ok(0)
            }
            "cat" | "more" => {
                let (text, status) = self.input(name, plain)?;
                self.say(&text);
                Ok(status)
            }
            "head" | "tail" => self.end_of(name, words),
            "tee" => {
                let text = self.given()?;
                for file in plain {
                    if self.cannot_write(file) {
                        return Ok(1);
                    }
                    self.write(file, text.clone(), words.has('a'));
                }
                self.say(&text);
                Ok(0)
            }
            "grep" | "egrep" | "fgrep" => self.grep(name, words),
            "wc" => self.count(words),
            "sort" | "uniq" => self.order(name, words),
            "cut" => self.cut(words),
            "tr" => self.translate(words),
            "seq" => {
                let numbers: Vec<i64> = plain.iter().filter_map(|n| n.parse().ok()).collect();
                let (first, step, last) = match numbers.as_slice() {
                    [last] => (1, 1, *last),
                    [first, last] => (*first, 1, *last),
                    [first, step, last] => (*first, (*step).max(1), *last),
                    _ => return Ok(1),
                };
                let mut text = String::new();
                let mut number = first;
                while number <= last && text.len() < 1 << 20 {
                    text.push_str(&format!("{number}\n"));
                    number += step;
                }
                self.say(&text);
                Ok(0)
            }
            "test" => self.test(arguments),
            "[" => match arguments.split_last() {
                Some((last, rest)) if last == "]" => self.test(rest),
                _ => self.fail("sh: missing ]\n".to_owned(), 2),
            },
            "expr" => {
                let text = match arguments {
                    [a, op, b] => {
                        let (x, y) = (a.parse().unwrap_or(0_i64), b.parse().unwrap_or(0_i64));
                        match op.as_str() {
                            "+" => (x + y).to_string(),
                            "-" => (x - y).to_string(),
                            "*" => (x * y).to_string(),
                            "/" => x.checked_div(y).unwrap_or_default().to_string(),
                            "%" => x.checked_rem(y).unwrap_or_default().to_string(),
                            "=" => i32::from(a == b).to_string(),
                            _ => String::new(),
                        }
                    }
                    other => other.join(" "),
                };
                self.say(&format!("{text}\n"));
                Ok(i32::from(text == "0" || text.is_empty()))
            }
            "base64" => {
                use base64::Engine as _;
                let (text, status) = self.input(name, plain)?;
                let engine = base64::engine::general_purpose::STANDARD;
                if !words.has('d') && !words.all.iter().any(|word| word == "--decode") {
                    let encoded = engine.encode(bytes::to_bytes(&text));
                    let width = words.after("-w").and_then(|width| width.parse().ok()).unwrap_or(76_usize);
                    let lines: Vec<&str> = match width {
                        0 => vec![encoded.as_str()],
                        width => encoded
                            .as_bytes()
                            .chunks(width)
                            .filter_map(|line| str::from_utf8(line).ok())
                            .collect(),
                    };
                    self.say(&format!("{}{}", lines.join("\n"), if width == 0 { "" } else { "\n" }));
                    return Ok(status);
                }
                match engine.decode(text.split_whitespace().collect::<String>()) {
                    Ok(decoded) => {
                        self.say(&bytes::to_text(&decoded));
                        Ok(status)
                    }
                    Err(_) if self.start.gnu => self.fail("base64: invalid input\n".to_owned(), 1),
                    Err(_) => self.fail("base64: truncated input\n".to_owned(), 1),
                }
            }
            "sha256sum" => {
                let here = "-".to_owned();
                let files = if plain.is_empty() { vec![&here] } else { plain.clone() };
                let mut status = 0;
                for file in files {
                    let (text, missing) = self.input(name, &[file])?;
                    status |= missing;
                    if missing == 0 {
                        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes::to_bytes(&text));
                        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                        self.say(&format!("{hex}  {file}\n"));
                    }
                }
                Ok(status)
            }
            "md5sum" => self.fail("md5sum: not simulated in a container\n".to_owned(), 1),
            "yes" => {
                self.say(&"y\n".repeat(1000));
                Err(Flow::Pause)
            }
            "sed" => self.sed(words),
            "awk" => self.awk(words),
            // vi
            _ => Err(Flow::Pause),
        }
    }

    /// The first or the last lines, or bytes.
    fn end_of(&mut self, name: &str, words: &Words<'_>) -> Step {
        let bytes_wanted = words.after("-c");
        let old =
            words.all.iter().find_map(|word| word.strip_prefix('-').filter(|n| n.parse::<usize>().is_ok()));
        let count = bytes_wanted.or_else(|| words.after("-n")).or(old).unwrap_or("10");
        let from_start = count.starts_with('+');
        let wanted: usize = count.trim_start_matches(['+', '-']).parse().unwrap_or(10);
        let counts = |file: &&String| file.parse::<i64>().is_err() && !file.starts_with('+');
        let files: Vec<&String> = words.plain.iter().copied().filter(counts).collect();
        let follows = name == "tail" && (words.has('f') || words.has('F'));
        if name == "tail" && files.iter().any(|file| *file == "/dev/zero") {
            return if self.start.memory.is_some() { Err(Flow::OutOfMemory) } else { Err(Flow::Pause) };
        }
        if follows && files.iter().all(|file| *file == "/dev/null") {
            return Err(Flow::Pause);
        }
        let (text, status) = self.input(name, &files)?;
        let kept = if bytes_wanted.is_some() {
            let all = bytes::to_bytes(&text);
            let kept = match (name, from_start) {
                ("head", _) => &all[..wanted.min(all.len())],
                (_, true) => &all[wanted.saturating_sub(1).min(all.len())..],
                (_, false) => &all[all.len().saturating_sub(wanted)..],
            };
            bytes::to_text(kept)
        } else {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            match (name, from_start) {
                ("head", _) => lines[..wanted.min(lines.len())].concat(),
                (_, true) => lines[wanted.saturating_sub(1).min(lines.len())..].concat(),
                (_, false) => lines[lines.len().saturating_sub(wanted)..].concat(),
            }
        };
        self.say(&kept);
        if follows { Err(Flow::Pause) } else { Ok(status) }
    }

    fn count(&mut self, words: &Words<'_>) -> Step {
        let (text, status) = self.input("wc", &words.plain)?;
        let (lines, parts) = (text.matches('\n').count(), text.split_whitespace().count());
        let size = bytes::to_bytes(&text).len();
        let shown = match (words.has('l'), words.has('w'), words.has('c')) {
            (true, ..) => lines.to_string(),
            (_, true, _) => parts.to_string(),
            (_, _, true) => size.to_string(),
            _ => format!("{lines:>9} {parts:>9} {size:>9}"),
        };
        let file = words.plain.first().map(|file| format!(" {file}")).unwrap_or_default();
        self.say(&format!("{shown}{file}\n"));
        Ok(status)
    }

    fn order(&mut self, name: &str, words: &Words<'_>) -> Step {
        let (text, status) = self.input(name, &words.plain)?;
        let mut lines: Vec<&str> = text.lines().collect();
        if name == "sort" {
            if words.has('n') {
                lines.sort_by_key(|line| line.trim().parse::<i64>().unwrap_or_default());
            } else {
                lines.sort_unstable();
            }
            if words.has('r') {
                lines.reverse();
            }
        }
        if name == "uniq" && words.has('c') {
            let mut counted: Vec<(usize, &str)> = Vec::new();
            for line in lines {
                match counted.last_mut() {
                    Some((count, last)) if *last == line => *count += 1,
                    _ => counted.push((1, line)),
                }
            }
            let text: String = counted.iter().map(|(count, line)| format!("{count:>7} {line}\n")).collect();
            self.say(&text);
            return Ok(status);
        }
        if name == "uniq" || words.has('u') {
            lines.dedup();
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.say(&text);
        Ok(status)
    }

    /// `cut -d: -f1,3-5` and `cut -c1-3`.
    fn cut(&mut self, words: &Words<'_>) -> Step {
        let delimiter = words.after("-d").unwrap_or("\t").to_owned();
        let (by_letter, list) = match words.after("-c") {
            Some(list) => (true, list),
            None => (false, words.after("-f").unwrap_or_default()),
        };
        let ranges: Vec<(usize, usize)> = list
            .split(',')
            .filter_map(|range| match range.split_once('-') {
                Some((from, to)) => Some((from.parse().unwrap_or(1), to.parse().unwrap_or(usize::MAX))),
                None => range.parse().ok().map(|one| (one, one)),
            })
            .collect();
        let files: Vec<&String> =
            words.plain.iter().copied().filter(|word| **word != delimiter && word.as_str() != list).collect();
        let (text, status) = self.input("cut", &files)?;
        let wanted = |at: usize| ranges.iter().any(|(from, to)| (*from..=*to).contains(&(at + 1)));
        let mut out = String::new();
        for line in text.lines() {
            if by_letter {
                out.extend(line.chars().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, letter)| letter));
            } else if line.contains(&delimiter) {
                let kept: Vec<&str> = line
                    .split(delimiter.as_str())
                    .enumerate()
                    .filter(|(at, _)| wanted(*at))
                    .map(|(_, part)| part)
                    .collect();
                out.push_str(&kept.join(&delimiter));
            } else {
                out.push_str(line);
            }
            out.push('\n');
        }
        self.say(&out);
        Ok(status)
    }

    fn translate(&mut self, words: &Words<'_>) -> Step {
        let text = self.given()?;
        let text = match (words.has('d'), words.plain.as_slice()) {
            (true, [set, ..]) => {
                let set = ranged(set);
                text.chars().filter(|c| !set.contains(c)).collect()
            }
            (_, [from, to, ..]) => {
                let (from, to): (Vec<char>, Vec<char>) = (ranged(from), ranged(to));
                let swap = |c: char| match from.iter().position(|f| *f == c) {
                    Some(at) => to.get(at).or(to.last()).copied().unwrap_or(c),
                    None => c,
                };
                text.chars().map(swap).collect()
            }
            _ => text,
        };
        self.say(&text);
        Ok(0)
    }

    fn test(&mut self, arguments: &[String]) -> Step {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(i32::from(!self.truth(&words)))
    }

    fn truth(&self, words: &[&str]) -> bool {
        if let Some(at) = words.iter().position(|w| *w == "-o") {
            return self.truth(&words[..at]) || self.truth(&words[at + 1..]);
        }
        if let Some(at) = words.iter().position(|w| *w == "-a").filter(|at| *at > 0) {
            return self.truth(&words[..at]) && self.truth(&words[at + 1..]);
        }
        let exists = |path: &str| self.read(path).is_some() || self.list_folder(path).is_some();
        match words {
            [] => false,
            ["!", rest @ ..] => !self.truth(rest),
            [word] => !word.is_empty(),
            ["-z", word] => word.is_empty(),
            ["-n", word] => !word.is_empty(),
            ["-f", path] => self.read(path).is_some(),
            ["-d", path] => self.list_folder(path).is_some(),
            ["-s", path] => self.read(path).is_some_and(|text| !text.is_empty()),
            ["-w", path] => exists(path) && self.refusal(path).is_none(),
            ["-e" | "-r" | "-L" | "-h", path] => exists(path),
            ["-x", path] => self.list_folder(path).is_some() || self.facts(path).0 & 0o111 != 0,
            ["-t", _] => self.start.tty,
            [a, operator, b] => {
                let numbers = (a.parse().unwrap_or(0_i64), b.parse().unwrap_or(0_i64));
                match *operator {
                    "=" | "==" => a == b,
                    "!=" => a != b,
                    "-eq" => numbers.0 == numbers.1,
                    "-ne" => numbers.0 != numbers.1,
                    "-gt" => numbers.0 > numbers.1,
                    "-ge" => numbers.0 >= numbers.1,
                    "-lt" => numbers.0 < numbers.1,
                    "-le" => numbers.0 <= numbers.1,
                    "=~" => expand::matches(b, a),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('e') => out.push('\u{1b}'),
            Some('\\') => out.push('\\'),
            Some('c') => break,
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

fn formatted(format: &str, arguments: &[String]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let format = unescaped(format);
    loop {
        let mut chars = format.chars().peekable();
        let before = arguments.len();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut flags = String::new();
            while let Some(f) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+' | ' ')) {
                flags.push(f);
            }
            let width: usize = flags.trim_start_matches(['-', '0']).parse().unwrap_or_default();
            match chars.next() {
                Some('%') => out.push('%'),
                Some('d' | 'i' | 'u') => {
                    let number = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0_i64);
                    let zeros = flags.starts_with('0');
                    out.push_str(&if zeros {
                        format!("{number:0width$}")
                    } else {
                        format!("{number:width$}")
                    });
                }
                Some('b') => out.push_str(&unescaped(arguments.next().map_or("", |a| a))),
                Some(_) => {
                    let text = arguments.next().map_or("", |a| a);
                    let left = flags.starts_with('-');
                    out.push_str(&if left { format!("{text:width$}") } else { format!("{text:>width$}") });
                }
                None => out.push('%'),
            }
        }
        if arguments.len() == 0 || arguments.len() == before {
            return out;
        }
    }
}

fn ranged(set: &str) -> Vec<char> {
    let set = set.replace("[:lower:]", "a-z").replace("[:upper:]", "A-Z").replace("[:digit:]", "0-9");
    let chars: Vec<char> = unescaped(&set).chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            out.extend(chars[at]..=chars[at + 2]);
            at += 3;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}
