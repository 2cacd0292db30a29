//! Regular expressions as Go reads them: RE2's syntax brought to that of the regex crate, and Go's words for what is
//! wrong with one. Classes such as `\d` know ASCII alone, brackets within brackets are characters, `a**` is none.

use regex::{Regex, RegexBuilder};

/// The most that a repetition may ask for.
const MOST: u32 = 1000;

/// Compiles an expression of RE2.
///
/// # Errors
/// What Go says of it, such as "error parsing regexp: missing closing ): `(`".
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let translated = Reader { pattern, at: 0, out: String::new() }
        .read()
        .map_err(|why| format!("error parsing regexp: {why}"))?;
    let built = RegexBuilder::new(&translated).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
    built.map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("error parsing regexp: {why}: `{pattern}`")
    })
}

struct Reader<'p> {
    pattern: &'p str,
    at: usize,
    out: String,
}

impl<'p> Reader<'p> {
    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn read(mut self) -> Result<String, String> {
        let mut open = 0_usize;
        // Whether there is something that can be repeated, and where the last repetition began.
        let (mut repeatable, mut repeated): (bool, Option<usize>) = (false, None);
        while let Some(next) = self.peek() {
            let start = self.at;
            if let Some(text) = self.repetition()? {
                if let Some(before) = repeated {
                    let whole = &self.pattern[before..self.at];
                    return Err(format!("invalid nested repetition operator: `{whole}`"));
                }
                if !repeatable {
                    return Err(format!("missing argument to repetition operator: `{text}`"));
                }
                self.out.push_str(&text);
                repeated = Some(start);
                if self.peek() == Some('?') {
                    self.at += 1;
                    self.out.push('?');
                }
                continue;
            }
            repeated = None;
            repeatable = true;
            match next {
                '(' => {
                    open += 1;
                    repeatable = false;
                    if self.group()? {
                        // Flags alone open nothing.
                        open -= 1;
                    }
                }
                ')' => {
                    if open == 0 {
                        return Err(format!("unexpected ): `{}`", self.pattern));
                    }
                    open -= 1;
                    self.keep();
                }
                '|' => {
                    repeatable = false;
                    self.keep();
                }
                '[' => self.class()?,
                '\\' => self.escape(false)?,
                '{' | '}' | ']' => {
                    self.at += 1;
                    self.out.push('\\');
                    self.out.push(next);
                }
                _ => self.keep(),
            }
        }
        if open > 0 {
            return Err(format!("missing closing ): `{}`", self.pattern));
        }
        Ok(self.out)
    }

    fn keep(&mut self) {
        if let Some(next) = self.bump() {
            self.out.push(next);
        }
    }

    /// Reads `*`, `+`, `?` or a count, where one stands here.
    fn repetition(&mut self) -> Result<Option<String>, String> {
        let Some(first) = self.peek() else { return Ok(None) };
        if matches!(first, '*' | '+' | '?') {
            self.at += 1;
            return Ok(Some(first.to_string()));
        }
        let Some(inner) = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return Ok(None);
        };
        let (least, most) =
            inner.0.split_once(',').map_or((inner.0, None), |(least, most)| (least, Some(most)));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(least) || !most.is_none_or(|most| most.is_empty() || digits(most)) {
            return Ok(None);
        }
        let text = format!("{{{}}}", inner.0);
        let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        let upper = most.filter(|most| !most.is_empty()).map_or(number(least), number);
        if number(least) > MOST || upper > MOST || upper < number(least) {
            return Err(format!("invalid repeat count: `{text}`"));
        }
        self.at += text.len();
        Ok(Some(text))
    }

    /// Reads the beginning of a group; true when it is flags alone.
    fn group(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        if !rest.starts_with("(?") {
            self.keep();
            return Ok(false);
        }
        if rest.starts_with("(?P<") || rest.starts_with("(?<") {
            let Some(end) = rest.find('>') else {
                return Err(format!("invalid named capture: `{rest}`"));
            };
            let name = rest[..end].rsplit('<').next().unwrap_or_default();
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(format!("invalid named capture: `{}`", &rest[..=end]));
            }
            self.out.push_str(&rest[..=end]);
            self.at += end + 1;
            return Ok(false);
        }
        for (at, flag) in rest.char_indices().skip(2) {
            match flag {
                'i' | 'm' | 's' | 'U' | '-' => {}
                ':' | ')' => {
                    self.out.push_str(&rest[..=at]);
                    self.at += at + 1;
                    return Ok(flag == ')');
                }
                _ => {
                    let end = at + flag.len_utf8();
                    return Err(format!("invalid or unsupported Perl syntax: `{}`", &rest[..end]));
                }
            }
        }
        Err(format!("missing closing ): `{}`", self.pattern))
    }

    /// Reads a class in brackets, where RE2 knows neither classes within it nor operations on sets.
    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest();
        self.keep();
        if self.peek() == Some('^') {
            self.keep();
        }
        let mut first = true;
        loop {
            let Some(next) = self.peek() else { return Err(format!("missing closing ]: `{whole}`")) };
            match next {
                ']' if !first => {
                    self.keep();
                    return Ok(());
                }
                '[' if self.rest().starts_with("[:") && self.rest().contains(":]") => {
                    let end = self.rest().find(":]").unwrap_or_default() + 2;
                    self.out.push_str(&self.rest()[..end]);
                    self.at += end;
                }
                '\\' => self.escape(true)?,
                '[' | ']' | '&' | '~' => {
                    self.at += 1;
                    self.out.push('\\');
                    self.out.push(next);
                }
                '-' if first || self.rest().starts_with("-]") => {
                    self.at += 1;
                    self.out.push_str(r"\-");
                }
                _ => {
                    let mut ahead = self.rest().chars().skip(1);
                    if let (Some('-'), Some(high)) = (ahead.next(), ahead.next())
                        && !matches!(high, ']' | '\\' | '[')
                        && high < next
                    {
                        return Err(format!("invalid character class range: `{next}-{high}`"));
                    }
                    self.keep();
                }
            }
            first = false;
        }
    }

    fn escape(&mut self, within: bool) -> Result<(), String> {
        let rest = self.rest();
        self.at += 1;
        let Some(next) = self.bump() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let class = match next {
            'd' => Some("0-9"),
            'w' => Some("0-9A-Za-z_"),
            's' => Some(r"\t\n\f\r "),
            _ => None,
        };
        let negated = match next {
            'D' => Some("[^0-9]"),
            'W' => Some("[^0-9A-Za-z_]"),
            'S' => Some(r"[^\t\n\f\r ]"),
            _ => None,
        };
        match (class, negated) {
            (Some(class), _) if within => self.out.push_str(class),
            (Some(class), _) => self.out.push_str(&format!("[{class}]")),
            (_, Some(negated)) => self.out.push_str(negated),
            _ => match next {
                'b' if !within => self.out.push_str(r"(?-u:\b)"),
                'A' | 'B' | 'z' if !within => self.out.push_str(&format!(r"\{next}")),
                'Q' if !within => {
                    let (literal, length) = match self.rest().split_once(r"\E") {
                        Some((literal, _)) => (literal, literal.len() + 2),
                        None => (self.rest(), self.rest().len()),
                    };
                    self.out.push_str(&regex::escape(literal));
                    self.at += length;
                }
                '0'..='7' if next == '0' || self.peek().is_some_and(|c| ('0'..='7').contains(&c)) => {
                    let mut value = next.to_digit(8).unwrap_or_default();
                    for _ in 0..2 {
                        let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                        value = value * 8 + digit;
                        self.at += 1;
                    }
                    self.out.push_str(&format!(r"\x{{{value:x}}}"));
                }
                'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' | 'p' | 'P' => {
                    self.out.push('\\');
                    self.out.push(next);
                }
                // The crate gives these a meaning.
                '<' | '>' => self.out.push(next),
                other if other.is_ascii() && !other.is_ascii_alphanumeric() => {
                    self.out.push('\\');
                    self.out.push(other);
                }
                _ => {
                    let text: String = rest.chars().take(2).collect();
                    return Err(format!("invalid escape sequence: `{text}`"));
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_to_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{663}", false),
            (r"^\w+$", "caf\u{e9}", false),
            (r"^[\w-]+$", "a-b_c", true),
            (r"^[[]x[]]$", "[x]", true),
            (r"^[a&&b]+$", "&ab", true),
            (r"^[a-c-]+$", "a-c", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{2}$", "aa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\<a\>$", "<a>", true),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"(?i)^ab$", "AB", true),
            (r"^(?P<x>a)(?:b)+?$", "abb", true),
            (r"^[^\d]$", "x", true),
            (r"^\101$", "A", true),
            (r"\bx\b", "a x b", true),
        ] {
            assert_eq!(compile(pattern).expect(pattern).is_match(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn faults_are_worded_as_go_words_them() {
        for (pattern, why) in [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ] {
            assert_eq!(compile(pattern).err(), Some(format!("error parsing regexp: {why}")), "{pattern}");
        }
    }
}
