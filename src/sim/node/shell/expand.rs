//! Expansion of words: variables, command output, arithmetic, splitting, and patterns.

use super::parse::{Part, Word};
use super::{Flow, Machine};

/// Matches a shell pattern of `*`, `?` and `[...]`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches_at(&pattern, &text)
}

fn matches_at(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| matches_at(rest, &text[at..])),
        ['?', rest @ ..] => !text.is_empty() && matches_at(rest, &text[1..]),
        ['[', rest @ ..] if rest.contains(&']') && !text.is_empty() => {
            let end = rest.iter().position(|c| *c == ']').unwrap_or_default();
            let (set, negated) = match &rest[..end] {
                ['!' | '^', set @ ..] => (set, true),
                set => (set, false),
            };
            let mut found = false;
            let mut at = 0;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == '-' {
                    found |= (set[at]..=set[at + 2]).contains(&text[0]);
                    at += 3;
                } else {
                    found |= set[at] == text[0];
                    at += 1;
                }
            }
            found != negated && matches_at(&rest[end + 1..], &text[1..])
        }
        ['\\', c, rest @ ..] => text.first() == Some(c) && matches_at(rest, &text[1..]),
        [c, rest @ ..] => text.first() == Some(c) && matches_at(rest, &text[1..]),
    }
}

impl Machine<'_> {
    /// Expands a word to as many fields as it becomes.
    pub(super) fn expand(&mut self, word: &Word) -> Result<Vec<String>, Flow> {
        let mut fields: Vec<String> = Vec::new();
        let mut current: Option<String> = None;
        for part in word {
            let (text, split) = match part {
                Part::Text(text) => (text.clone(), false),
                Part::Sum(sum) => (self.sum(sum)?.to_string(), false),
                Part::Variable { name, quoted: true, .. } if name == "@" => {
                    let mut arguments = self.arguments.clone().into_iter();
                    if let Some(first) = arguments.next() {
                        current = Some(current.unwrap_or_default() + &first);
                        for argument in arguments {
                            fields.extend(current.replace(argument));
                        }
                    }
                    continue;
                }
                Part::Variable { quoted, .. } => (self.part(part)?, !quoted),
                Part::Output { quoted, .. } => (self.part(part)?, !quoted),
            };
            if !split {
                current = Some(current.unwrap_or_default() + &text);
                continue;
            }
            let starts_blank = text.starts_with(char::is_whitespace);
            let ends_blank = text.ends_with(char::is_whitespace);
            for (index, piece) in text.split_whitespace().enumerate() {
                if index > 0 || starts_blank {
                    fields.extend(current.take());
                }
                current = Some(current.unwrap_or_default() + piece);
            }
            if ends_blank {
                fields.extend(current.take());
            }
        }
        fields.extend(current);
        Ok(fields)
    }

    /// Expands a word to one text, without splitting.
    pub(super) fn expand_one(&mut self, word: &Word) -> Result<String, Flow> {
        let mut text = String::new();
        for part in word {
            text.push_str(&self.part(part)?);
        }
        Ok(text)
    }

    fn part(&mut self, part: &Part) -> Result<String, Flow> {
        match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Sum(sum) => Ok(self.sum(sum)?.to_string()),
            Part::Output { list, .. } => {
                self.captured.push(String::new());
                let variables = self.variables.clone();
                let outcome = self.list(list);
                let text = self.captured.pop().unwrap_or_default();
                self.variables = variables;
                match outcome {
                    Ok(code) | Err(Flow::Exit(code)) => self.status = code,
                    Err(flow) => return Err(flow),
                }
                Ok(text.trim_end_matches('\n').to_owned())
            }
            Part::Variable { name, operator, .. } => {
                let value = self.variable(name);
                let Some((operator, word)) = operator else { return Ok(value.unwrap_or_default()) };
                let unset = |value: &Option<String>, colon: bool| match value {
                    None => true,
                    Some(text) => colon && text.is_empty(),
                };
                let colon = operator.starts_with(':');
                match operator.trim_start_matches(':') {
                    "-" if unset(&value, colon) => self.expand_one(word),
                    "=" if unset(&value, colon) => {
                        let text = self.expand_one(word)?;
                        self.assign(name, text.clone())?;
                        Ok(text)
                    }
                    "+" if unset(&value, colon) => Ok(String::new()),
                    "+" => self.expand_one(word),
                    "?" if unset(&value, colon) => {
                        let text = self.expand_one(word)?;
                        self.complain(&format!("sh: {name}: {text}\n"));
                        Err(Flow::Exit(2))
                    }
                    "#len" => Ok(value.unwrap_or_default().chars().count().to_string()),
                    trim @ ("#" | "##" | "%" | "%%") => {
                        let pattern = self.expand_one(word)?;
                        Ok(trimmed(&value.unwrap_or_default(), &pattern, trim))
                    }
                    _ => Ok(value.unwrap_or_default()),
                }
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.status.to_string()),
            "$" => Some("1".to_owned()),
            "!" => Some("7".to_owned()),
            "#" => Some(self.arguments.len().to_string()),
            "@" | "*" => Some(self.arguments.join(" ")),
            "0" => Some("sh".to_owned()),
            "-" => Some(String::new()),
            "PWD" => Some(self.folder.clone()),
            "RANDOM" => Some(((self.now.as_micros() * 1_103_515_245 + 12_345) % 32_768).to_string()),
            "SECONDS" => Some(self.now.as_secs().to_string()),
            name => match name.parse::<usize>() {
                Ok(index) => self.arguments.get(index.wrapping_sub(1)).cloned(),
                Err(_) => self.variables.get(name).cloned(),
            },
        }
    }

    /// Evaluates whole numbers with `+ - * / %`, comparisons and parentheses.
    fn sum(&mut self, text: &str) -> Result<i64, Flow> {
        let mut expanded = String::new();
        let mut name = String::new();
        for c in text.chars().filter(|c| *c != '$' && *c != '{' && *c != '}').chain([' ']) {
            if c.is_ascii_alphanumeric() || c == '_' {
                name.push(c);
                continue;
            }
            if !name.is_empty() {
                let numeric = name.starts_with(|c: char| c.is_ascii_digit());
                let value = if numeric { Some(name.clone()) } else { self.variable(&name) };
                expanded.push_str(value.filter(|v| !v.is_empty()).as_deref().unwrap_or("0"));
                name.clear();
            }
            expanded.push(c);
        }
        let tokens: Vec<char> = expanded.chars().filter(|c| !c.is_whitespace()).collect();
        let mut calculator = Calculator { tokens: &tokens, at: 0, depth: 0 };
        Ok(calculator.level(0).unwrap_or_default())
    }
}

fn trimmed(value: &str, pattern: &str, operator: &str) -> String {
    let cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    let front = operator.starts_with('#');
    let long = operator.len() == 2;
    let order: Box<dyn Iterator<Item = &usize>> =
        if front == long { Box::new(cuts.iter().rev()) } else { Box::new(cuts.iter()) };
    for &cut in order {
        let (head, tail) = value.split_at(cut);
        if front && matches(pattern, head) {
            return tail.to_owned();
        }
        if !front && matches(pattern, tail) {
            return head.to_owned();
        }
    }
    value.to_owned()
}

struct Calculator<'a> {
    tokens: &'a [char],
    at: usize,
    depth: u32,
}

const LEVELS: [&[&str]; 6] =
    [&["||"], &["&&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

impl Calculator<'_> {
    fn level(&mut self, level: usize) -> Option<i64> {
        let Some(operators) = LEVELS.get(level) else { return self.atom() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = operators.iter().find(|op| self.ahead(op)) {
            self.at += operator.len();
            let right = self.level(level + 1)?;
            left = match *operator {
                "||" => i64::from(left != 0 || right != 0),
                "&&" => i64::from(left != 0 && right != 0),
                "==" => i64::from(left == right),
                "!=" => i64::from(left != right),
                "<=" => i64::from(left <= right),
                ">=" => i64::from(left >= right),
                "<" => i64::from(left < right),
                ">" => i64::from(left > right),
                "+" => left.wrapping_add(right),
                "-" => left.wrapping_sub(right),
                "*" => left.wrapping_mul(right),
                "/" => left.checked_div(right)?,
                _ => left.checked_rem(right)?,
            };
        }
        Some(left)
    }

    fn ahead(&self, operator: &str) -> bool {
        operator.chars().enumerate().all(|(i, c)| self.tokens.get(self.at + i) == Some(&c))
    }

    fn atom(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 100 {
            return None;
        }
        let value = match self.tokens.get(self.at)? {
            '(' => {
                self.at += 1;
                let value = self.level(0)?;
                self.at += 1;
                Some(value)
            }
            '-' => {
                self.at += 1;
                self.atom().map(i64::wrapping_neg)
            }
            '!' => {
                self.at += 1;
                self.atom().map(|value| i64::from(value == 0))
            }
            '+' => {
                self.at += 1;
                self.atom()
            }
            _ => {
                let digits: String =
                    self.tokens[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
                self.at += digits.len();
                digits.parse().ok()
            }
        };
        self.depth -= 1;
        value
    }
}
