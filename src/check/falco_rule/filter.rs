//! Falco's condition language: from a text to a tree, with the place of what is wrong. Knows neither macros' bodies nor
//! events.

use std::fmt;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Macro(String),
    Test(Test),
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) left: Operand,
    pub(super) operator: Operator,
    pub(super) right: Right,
}

/// A field, with what is done to its values before they are compared; the outermost first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) field: String,
    pub(super) transformers: Vec<Transformer>,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Right {
    Nothing,
    One(Word),
    List(Vec<Word>),
    Field(Operand),
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    pub(super) text: String,
    /// A quoted word is never the name of a list.
    pub(super) quoted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transformer {
    ToLower,
    ToUpper,
    Base64,
    Basename,
    Len,
    Val,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Exists,
    Contains,
    IContains,
    BContains,
    StartsWith,
    BStartsWith,
    EndsWith,
    Glob,
    IGlob,
    Regex,
    In,
    Intersects,
    Pmatch,
}

const WORDS: [(&str, Operator); 13] = [
    ("exists", Operator::Exists),
    ("contains", Operator::Contains),
    ("icontains", Operator::IContains),
    ("bcontains", Operator::BContains),
    ("startswith", Operator::StartsWith),
    ("bstartswith", Operator::BStartsWith),
    ("endswith", Operator::EndsWith),
    ("glob", Operator::Glob),
    ("iglob", Operator::IGlob),
    ("regex", Operator::Regex),
    ("in", Operator::In),
    ("intersects", Operator::Intersects),
    ("pmatch", Operator::Pmatch),
];

const SIGNS: [(&str, Operator); 7] = [
    ("==", Operator::Eq),
    ("!=", Operator::Ne),
    ("<=", Operator::Le),
    (">=", Operator::Ge),
    ("=", Operator::Eq),
    ("<", Operator::Lt),
    (">", Operator::Gt),
];

impl Operator {
    /// Reads an operator as `comps` of exceptions name it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        WORDS.iter().chain(&SIGNS).find(|(name, _)| *name == text).map(|(_, operator)| *operator)
    }

    pub(super) fn takes_list(self) -> bool {
        matches!(self, Self::In | Self::Intersects | Self::Pmatch)
    }

    pub(super) fn orders(self) -> bool {
        matches!(self, Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }
}

impl Transformer {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "tolower" => Self::ToLower,
            "toupper" => Self::ToUpper,
            "b64" => Self::Base64,
            "basename" => Self::Basename,
            "len" => Self::Len,
            "val" => Self::Val,
            _ => return None,
        })
    }
}

/// A fault in a condition: what is wrong, and where, in characters from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (character {} of the condition)", self.message, self.at + 1)
    }
}

/// Parses a condition.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, deep: 0 };
    let expr = parser.or()?;
    parser.blanks();
    match parser.at < parser.text.len() {
        true => Err(parser.fault("unexpected text")),
        false => Ok(expr),
    }
}

/// Parses a field with its transformers, as outputs have it after `%`; returns also how many characters it took.
pub(super) fn operand(text: &str) -> Option<(Operand, usize)> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, deep: 0 };
    let operand = parser.operand().ok().flatten()?;
    Some((operand, parser.at))
}

struct Parser {
    text: Vec<char>,
    at: usize,
    deep: usize,
}

/// How deep conditions may be nested.
const DEEPEST: usize = 100;

impl Parser {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { at: self.at, message: message.into() }
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Takes a keyword that ends where a word ends.
    fn keyword(&mut self, word: &str) -> bool {
        let end = self.at + word.chars().count();
        let is = self.text.get(self.at..end).is_some_and(|slice| slice.iter().copied().eq(word.chars()));
        let ends = self.text.get(end).is_none_or(|char| char.is_whitespace() || *char == '(' || *char == ')');
        if is && ends {
            self.at = end;
        }
        is && ends
    }

    fn sign(&mut self, sign: &str) -> bool {
        let end = self.at + sign.len();
        let is = self.text.get(self.at..end).is_some_and(|slice| slice.iter().copied().eq(sign.chars()));
        if is {
            self.at = end;
        }
        is
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.and()?];
        loop {
            self.blanks();
            if !self.keyword("or") {
                break;
            }
            parts.push(self.and()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) })
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.not()?];
        loop {
            self.blanks();
            if !self.keyword("and") {
                break;
            }
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) })
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        self.deep += 1;
        if self.deep > DEEPEST {
            return Err(self.fault("nested too deep"));
        }
        self.blanks();
        let expr = if self.keyword("not") { Expr::Not(Box::new(self.not()?)) } else { self.atom()? };
        self.deep -= 1;
        Ok(expr)
    }

    fn atom(&mut self) -> Result<Expr, Fault> {
        self.blanks();
        if self.sign("(") {
            let expr = self.or()?;
            self.blanks();
            if !self.sign(")") {
                return Err(self.fault("expected `)`"));
            }
            return Ok(expr);
        }
        if let Some(left) = self.operand()? {
            return self.test(left);
        }
        let name = self.identifier();
        match name.as_str() {
            "" => Err(self.fault("expected a field, a macro or `(`")),
            "and" | "or" | "not" => Err(self.fault(format!("unexpected `{name}`"))),
            _ => Ok(Expr::Macro(name)),
        }
    }

    fn identifier(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|char| char.is_ascii_alphanumeric() || char == '_') {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    /// Takes a field, plain or within transformers; `None` where a macro's name stands.
    fn operand(&mut self) -> Result<Option<Operand>, Fault> {
        let start = self.at;
        let name = self.identifier();
        if let Some(transformer) = Transformer::parse(&name)
            && self.sign("(")
        {
            self.blanks();
            let Some(mut inner) = self.operand()? else { return Err(self.fault("expected a field")) };
            self.blanks();
            if !self.sign(")") {
                return Err(self.fault("expected `)`"));
            }
            inner.transformers.insert(0, transformer);
            return Ok(Some(inner));
        }
        if self.peek() != Some('.') {
            self.at = start;
            return Ok(None);
        }
        while self.peek() == Some('.')
            && self.text.get(self.at + 1).is_some_and(|char| char.is_ascii_alphanumeric() || *char == '_')
        {
            self.at += 1;
            self.identifier();
        }
        let mut field: String = self.text[start..self.at].iter().collect();
        if self.peek() == Some('[') {
            let open = self.at;
            while self.peek().is_some_and(|char| char != ']') {
                self.at += 1;
            }
            if !self.sign("]") {
                return Err(self.fault("expected `]`"));
            }
            let inside: String = self.text[open + 1..self.at - 1].iter().collect();
            field.push_str(&format!("[{}]", inside.trim_matches(['"', '\''])));
        }
        Ok(Some(Operand { field, transformers: Vec::new() }))
    }

    fn test(&mut self, left: Operand) -> Result<Expr, Fault> {
        self.blanks();
        let sign = SIGNS.iter().find(|(sign, _)| self.sign(sign));
        let Some((_, operator)) = sign.or_else(|| WORDS.iter().find(|(word, _)| self.keyword(word))) else {
            return Err(self.fault(format!("expected an operator after `{}`", left.field)));
        };
        let operator = *operator;
        self.blanks();
        let right = if operator == Operator::Exists {
            Right::Nothing
        } else if let Some(field) = self.right_field()? {
            Right::Field(field)
        } else if operator.takes_list() {
            self.list()?
        } else {
            Right::One(self.word()?)
        };
        Ok(Expr::Test(Test { left, operator, right }))
    }

    /// Takes `val(field)` and other transformers on the right; a plain name there is a value.
    fn right_field(&mut self) -> Result<Option<Operand>, Fault> {
        let start = self.at;
        let name = self.identifier();
        let is = Transformer::parse(&name).is_some() && self.peek() == Some('(');
        self.at = start;
        if is { self.operand() } else { Ok(None) }
    }

    fn list(&mut self) -> Result<Right, Fault> {
        if !self.sign("(") {
            return Err(self.fault("expected a list in brackets"));
        }
        let mut words = Vec::new();
        self.blanks();
        if self.sign(")") {
            return Ok(Right::List(words));
        }
        loop {
            self.blanks();
            words.push(self.word()?);
            self.blanks();
            if self.sign(",") {
                continue;
            }
            if self.sign(")") {
                return Ok(Right::List(words));
            }
            return Err(self.fault("expected `,` or `)`"));
        }
    }

    fn word(&mut self) -> Result<Word, Fault> {
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            let open = self.at;
            self.at += 1;
            let mut text = String::new();
            loop {
                match self.peek() {
                    None => {
                        self.at = open;
                        return Err(self.fault("a quote that is not closed"));
                    }
                    Some('\\') => {
                        self.at += 1;
                        match self.peek() {
                            Some(char) if char == quote || char == '\\' => text.push(char),
                            Some(char) => text.extend(['\\', char]),
                            None => {}
                        }
                    }
                    Some(char) if char == quote => {
                        self.at += 1;
                        return Ok(Word { text, quoted: true });
                    }
                    Some(char) => text.push(char),
                }
                self.at += 1;
            }
        }
        let start = self.at;
        while self.peek().is_some_and(|char| !char.is_whitespace() && !"()\"'=,".contains(char)) {
            self.at += 1;
        }
        if start == self.at {
            return Err(self.fault("expected a value"));
        }
        Ok(Word { text: self.text[start..self.at].iter().collect(), quoted: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn and_binds_tighter_than_or() {
        let Expr::Or(parts) = parse("a or b and not c").unwrap() else { panic!() };
        assert_eq!(parts[0], Expr::Macro("a".to_owned()));
        let Expr::And(last) = &parts[1] else { panic!() };
        assert_eq!(last[1], Expr::Not(Box::new(Expr::Macro("c".to_owned()))));
    }

    #[test]
    fn fields_operators_and_values() {
        for text in [
            "evt.type=open and evt.dir=<",
            "evt.type in (open,openat, 'open at2')",
            "proc.aname[2] in (sh) and not(container)",
            "tolower(proc.name) = bash",
            "proc.name = val(proc.pname)",
            "fd.name pmatch (/etc, /root/.ssh)",
            "user.uid>=1000 and evt.arg.flags contains O_TRUNC",
            "proc.cmdline contains \"a=b (c)\" or fd.name exists",
            "proc.args in ()",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
        for (text, at) in [
            ("proc.name", 9),
            ("proc.name = ", 12),
            ("(a or b", 7),
            ("a b", 2),
            ("proc.name in sh", 13),
            ("and a", 3),
            ("proc.cmdline contains a=b", 23),
            ("proc.name = 'x", 12),
        ] {
            assert_eq!(parse(text).unwrap_err().at, at, "{text}");
        }
    }
}
