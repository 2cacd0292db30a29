//! The grammar of `sh`, as far as containers' one-line scripts use it. Text to tree; nothing is evaluated.

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// Text as it stands.
    Text(String),
    /// `$name`, `${name}`, `${name:-word}` and the like; split at blanks unless quoted.
    Variable { name: String, operator: Option<(String, Word)>, quoted: bool },
    /// `$(...)` or backquotes.
    Output { list: List, quoted: bool },
    /// `$((...))`.
    Sum(String),
}

/// A word before expansion.
pub(super) type Word = Vec<Part>;

/// A redirection: the descriptor, the operator, the target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Redirect {
    pub descriptor: u32,
    pub operator: String,
    pub target: Word,
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Simple { assignments: Vec<(String, Word)>, words: Vec<Word>, redirects: Vec<Redirect> },
    If { branches: Vec<(List, List)>, otherwise: Option<List> },
    Loop { until: bool, condition: List, body: List, redirects: Vec<Redirect> },
    For { name: String, words: Option<Vec<Word>>, body: List, redirects: Vec<Redirect> },
    Case { word: Word, arms: Vec<(Vec<Word>, List)> },
    Group { list: List, own: bool, redirects: Vec<Redirect> },
    Function { name: String, body: Box<Command> },
}

/// Commands joined by `|`, perhaps negated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub negated: bool,
    pub commands: Vec<Command>,
}

/// Pipelines joined by `&&` (true) and `||`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub first: Pipeline,
    pub rest: Vec<(bool, Pipeline)>,
    pub background: bool,
}

/// Commands one after the other.
pub(super) type List = Vec<Chain>;

/// What the parser stumbled over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error: unexpected {0}")]
pub(super) struct SyntaxError(pub String);

/// How deep a script may nest.
const DEPTH: usize = 40;

/// Parses a script.
pub(super) fn parse(script: &str) -> Result<List, SyntaxError> {
    let mut parser = Parser { text: script.chars().collect(), at: 0, depth: 0 };
    let list = parser.list(&[])?;
    parser.blanks();
    if parser.at < parser.text.len() { Err(parser.unexpected()) } else { Ok(list) }
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
}

const OPERATORS: &str = ";&|<>()\n";

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn ahead(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    fn take(&mut self, text: &str) -> bool {
        let there = self.ahead(text);
        if there {
            self.at += text.chars().count();
        }
        there
    }

    fn unexpected(&self) -> SyntaxError {
        match self.peek() {
            None => SyntaxError("end of file (expecting a word)".to_owned()),
            Some('\n') => SyntaxError("newline".to_owned()),
            Some(c) => SyntaxError(format!("{c:?}").replace('\'', "\"")),
        }
    }

    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn lines(&mut self) {
        loop {
            self.blanks();
            if self.peek() == Some('\n') {
                self.at += 1;
            } else {
                return;
            }
        }
    }

    /// Returns the bare word that comes next, without taking it.
    fn bare(&self) -> String {
        self.text[self.at..]
            .iter()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '{' | '}' | '!'))
            .collect()
    }

    fn ends(&self, until: &[&str]) -> bool {
        match self.peek() {
            None => true,
            Some(')') => true,
            Some(';') if self.ahead(";;") => true,
            _ => until.contains(&self.bare().as_str()),
        }
    }

    fn keyword(&mut self, word: &str) -> Result<(), SyntaxError> {
        self.lines();
        if self.bare() == word {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn list(&mut self, until: &[&str]) -> Result<List, SyntaxError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(SyntaxError("nesting".to_owned()));
        }
        let mut list = Vec::new();
        loop {
            self.lines();
            if self.ends(until) {
                break;
            }
            let mut chain = self.chain()?;
            self.blanks();
            if self.ahead("&") && !self.ahead("&&") {
                self.at += 1;
                chain.background = true;
            } else if self.ahead(";") && !self.ahead(";;") {
                self.at += 1;
            } else if self.peek() != Some('\n') && !self.ends(until) {
                return Err(self.unexpected());
            }
            list.push(chain);
        }
        self.depth -= 1;
        Ok(list)
    }

    fn chain(&mut self) -> Result<Chain, SyntaxError> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let and = if self.take("&&") {
                true
            } else if self.take("||") {
                false
            } else {
                return Ok(Chain { first, rest, background: false });
            };
            self.lines();
            rest.push((and, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, SyntaxError> {
        self.blanks();
        let negated = self.bare() == "!" && self.take("!");
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.ahead("|") && !self.ahead("||") {
                self.at += 1;
                self.lines();
                commands.push(self.command()?);
            } else {
                return Ok(Pipeline { negated, commands });
            }
        }
    }

    fn command(&mut self) -> Result<Command, SyntaxError> {
        self.blanks();
        if self.take("(") {
            let list = self.list(&[])?;
            self.lines();
            if !self.take(")") {
                return Err(self.unexpected());
            }
            return Ok(Command::Group { list, own: true, redirects: self.redirects()? });
        }
        match self.bare().as_str() {
            "{" => {
                self.at += 1;
                let list = self.list(&["}"])?;
                self.keyword("}")?;
                Ok(Command::Group { list, own: false, redirects: self.redirects()? })
            }
            "if" => self.conditional(),
            word @ ("while" | "until") => {
                self.at += 5;
                let condition = self.list(&["do"])?;
                let body = self.body()?;
                Ok(Command::Loop { until: word == "until", condition, body, redirects: self.redirects()? })
            }
            "for" => {
                self.at += 3;
                self.blanks();
                let name = self.bare();
                self.at += name.len();
                self.lines();
                let mut words = None;
                if self.bare() == "in" {
                    self.at += 2;
                    let mut list = Vec::new();
                    self.blanks();
                    while self.peek().is_some_and(|c| !OPERATORS.contains(c)) {
                        list.push(self.word()?);
                        self.blanks();
                    }
                    words = Some(list);
                }
                self.blanks();
                self.take(";");
                let body = self.body()?;
                Ok(Command::For { name, words, body, redirects: self.redirects()? })
            }
            "case" => self.case(),
            "then" | "else" | "elif" | "fi" | "do" | "done" | "esac" | "}" => Err(self.unexpected()),
            _ => self.simple(),
        }
    }

    fn body(&mut self) -> Result<List, SyntaxError> {
        self.keyword("do")?;
        let body = self.list(&["done"])?;
        self.keyword("done")?;
        Ok(body)
    }

    fn conditional(&mut self) -> Result<Command, SyntaxError> {
        self.at += 2;
        let mut branches = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.keyword("then")?;
            branches.push((condition, self.list(&["elif", "else", "fi"])?));
            self.lines();
            match self.bare().as_str() {
                "elif" => self.at += 4,
                "else" => {
                    self.at += 4;
                    let otherwise = Some(self.list(&["fi"])?);
                    self.keyword("fi")?;
                    return Ok(Command::If { branches, otherwise });
                }
                _ => {
                    self.keyword("fi")?;
                    return Ok(Command::If { branches, otherwise: None });
                }
            }
        }
    }

    fn case(&mut self) -> Result<Command, SyntaxError> {
        self.at += 4;
        self.blanks();
        let word = self.word()?;
        self.keyword("in")?;
        let mut arms = Vec::new();
        loop {
            self.lines();
            if self.bare() == "esac" {
                self.at += 4;
                return Ok(Command::Case { word, arms });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            if !self.take(")") {
                return Err(self.unexpected());
            }
            arms.push((patterns, self.list(&["esac"])?));
            self.lines();
            self.take(";;");
        }
    }

    fn redirects(&mut self) -> Result<Vec<Redirect>, SyntaxError> {
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(redirects)
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, SyntaxError> {
        self.blanks();
        let start = self.at;
        let digits: String = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        self.at += digits.len();
        for operator in ["&>>", "&>", ">>", ">&", ">|", "<<", "<&", ">", "<"] {
            if self.take(operator) {
                self.blanks();
                let default = if operator.starts_with('<') { 0 } else { 1 };
                let descriptor = digits.parse().unwrap_or(default);
                return Ok(Some(Redirect {
                    descriptor,
                    operator: operator.to_owned(),
                    target: self.word()?,
                }));
            }
        }
        self.at = start;
        Ok(None)
    }

    fn simple(&mut self) -> Result<Command, SyntaxError> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::<Word>::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            match self.peek() {
                None => break,
                Some('(') if words.len() == 1 && self.ahead("()") => {
                    self.at += 2;
                    self.lines();
                    let name = match words[0].as_slice() {
                        [Part::Text(name)] => name.clone(),
                        _ => return Err(self.unexpected()),
                    };
                    return Ok(Command::Function { name, body: Box::new(self.command()?) });
                }
                Some(c) if OPERATORS.contains(c) => break,
                Some(_) => {}
            }
            let name = self.bare();
            let is_name = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if words.is_empty() && is_name && self.text.get(self.at + name.len()) == Some(&'=') {
                self.at += name.len() + 1;
                let value = match self.peek() {
                    Some(c) if !c.is_whitespace() && !OPERATORS.contains(c) => self.word()?,
                    _ => Vec::new(),
                };
                assignments.push((name, value));
                continue;
            }
            words.push(self.word()?);
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command::Simple { assignments, words, redirects })
    }

    fn word(&mut self) -> Result<Word, SyntaxError> {
        let mut word = Vec::new();
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => break,
                _ if OPERATORS.contains(c) => break,
                '\'' => {
                    self.at += 1;
                    let text: String = self.text[self.at..].iter().take_while(|c| **c != '\'').collect();
                    self.at += text.chars().count();
                    if !self.take("'") {
                        return Err(SyntaxError("end of file (expecting \"'\")".to_owned()));
                    }
                    word.push(Part::Text(text));
                }
                '"' => {
                    self.at += 1;
                    word.push(Part::Text(String::new()));
                    self.quoted(&mut word)?;
                }
                '\\' => {
                    self.at += 1;
                    if let Some(c) = self.peek() {
                        self.at += 1;
                        if c != '\n' {
                            push(&mut word, c);
                        }
                    }
                }
                '$' | '`' => self.expansion(&mut word, false)?,
                c => {
                    self.at += 1;
                    push(&mut word, c);
                }
            }
        }
        if self.at == start { Err(self.unexpected()) } else { Ok(word) }
    }

    fn quoted(&mut self, word: &mut Word) -> Result<(), SyntaxError> {
        loop {
            match self.peek() {
                None => return Err(SyntaxError("end of file (expecting '\"')".to_owned())),
                Some('"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(c @ ('$' | '`' | '"' | '\\')) => {
                            self.at += 1;
                            push(word, c);
                        }
                        Some('\n') => self.at += 1,
                        _ => push(word, '\\'),
                    }
                }
                Some('$' | '`') => self.expansion(word, true)?,
                Some(c) => {
                    self.at += 1;
                    push(word, c);
                }
            }
        }
    }

    fn expansion(&mut self, word: &mut Word, quoted: bool) -> Result<(), SyntaxError> {
        if self.take("`") {
            let inner: String = self.text[self.at..].iter().take_while(|c| **c != '`').collect();
            self.at += inner.chars().count();
            self.take("`");
            let list = self.nested(&inner.replace("\\`", "`"))?;
            word.push(Part::Output { list, quoted });
            return Ok(());
        }
        self.at += 1;
        if self.take("((") {
            let mut depth = 0;
            let mut inner = String::new();
            while let Some(c) = self.peek() {
                if depth == 0 && self.ahead("))") {
                    break;
                }
                depth += i32::from(c == '(') - i32::from(c == ')');
                inner.push(c);
                self.at += 1;
            }
            if !self.take("))") {
                return Err(self.unexpected());
            }
            word.push(Part::Sum(inner));
            return Ok(());
        }
        if self.take("(") {
            let list = self.list(&[])?;
            self.lines();
            if !self.take(")") {
                return Err(self.unexpected());
            }
            word.push(Part::Output { list, quoted });
            return Ok(());
        }
        if self.take("{") {
            let length = self.take("#");
            let name = self.name();
            let mut operator = length.then(|| ("#len".to_owned(), Vec::new()));
            if operator.is_none() && self.peek() != Some('}') {
                let ops = [":-", ":=", ":+", ":?", "-", "=", "+", "?", "##", "#", "%%", "%"];
                let op = ops.into_iter().find(|op| self.take(op)).ok_or_else(|| self.unexpected())?;
                let mut value = Vec::new();
                while let Some(c) = self.peek() {
                    match c {
                        '}' => break,
                        '$' | '`' => self.expansion(&mut value, true)?,
                        '"' | '\'' => self.at += 1,
                        c => {
                            self.at += 1;
                            push(&mut value, c);
                        }
                    }
                }
                operator = Some((op.to_owned(), value));
            }
            if !self.take("}") {
                return Err(self.unexpected());
            }
            word.push(Part::Variable { name, operator, quoted });
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            push(word, '$');
        } else {
            word.push(Part::Variable { name, operator: None, quoted });
        }
        Ok(())
    }

    fn nested(&mut self, script: &str) -> Result<List, SyntaxError> {
        let mut inner = Parser { text: script.chars().collect(), at: 0, depth: self.depth };
        inner.list(&[])
    }

    fn name(&mut self) -> String {
        if let Some(c @ ('?' | '$' | '#' | '@' | '*' | '!' | '-' | '0'..='9')) = self.peek() {
            self.at += 1;
            return c.to_string();
        }
        let name: String =
            self.text[self.at..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        self.at += name.len();
        name
    }
}

fn push(word: &mut Word, c: char) {
    match word.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => word.push(Part::Text(c.to_string())),
    }
}
