//! The query syntax of label and field selectors, parsed and refused as apimachinery does.

use super::{Operator, Requirement, Selector};

/// Why a selector in a query was refused; worded as upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Close,
    Comma,
    Absent,
    DoubleEquals,
    End,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

impl Selector {
    /// Parses the query form: `app=web,tier in (front,back),!legacy`. An empty text selects everything.
    ///
    /// # Errors
    /// In upstream's words, such as `unable to parse requirement: found ',', expected: identifier`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { tokens: lex(text), at: 0 };
        let mut requirements = parser.selector()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self::all_of(requirements))
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn lex(text: &str) -> Vec<(Token, String)> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    while let Some(first) = rest.chars().next() {
        let len = if is_special(first) {
            let two = rest.get(..2).filter(|two| matches!(*two, "==" | "!="));
            two.map_or(1, str::len)
        } else {
            rest.find(|c: char| is_special(c) || matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(rest.len())
        };
        let word = &rest[..len];
        let token = match word {
            ")" => Token::Close,
            "," => Token::Comma,
            "!" => Token::Absent,
            "==" => Token::DoubleEquals,
            "=" => Token::Equals,
            ">" => Token::Greater,
            "in" => Token::In,
            "<" => Token::Less,
            "!=" => Token::NotEquals,
            "notin" => Token::NotIn,
            "(" => Token::Open,
            _ => Token::Identifier,
        };
        tokens.push((token, word.to_owned()));
        rest = rest[len..].trim_start_matches([' ', '\t', '\r', '\n']);
    }
    tokens.push((Token::End, String::new()));
    tokens
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
}

impl Parser {
    /// Looks ahead. Where a value may stand, `in` and `notin` are words like others.
    fn peek(&self, values: bool) -> (Token, &str) {
        let (token, word) = &self.tokens[self.at.min(self.tokens.len() - 1)];
        let plain = values && matches!(token, Token::In | Token::NotIn);
        (if plain { Token::Identifier } else { token.clone() }, word)
    }

    fn take(&mut self, values: bool) -> (Token, String) {
        let (token, word) = self.peek(values);
        let taken = (token, word.to_owned());
        self.at += 1;
        taken
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, ParseError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek(true) {
                (Token::Identifier | Token::Absent, _) => {
                    let requirement = self
                        .requirement()
                        .map_err(|error| ParseError(format!("unable to parse requirement: {error}")))?;
                    requirements.push(requirement);
                    match self.take(true) {
                        (Token::End, _) => return Ok(requirements),
                        (Token::Comma, _) => match self.peek(true) {
                            (Token::Identifier | Token::Absent, _) => {}
                            (_, word) => {
                                return refuse(format!("found '{word}', expected: identifier after ','"));
                            }
                        },
                        (_, word) => {
                            return refuse(format!("found '{word}', expected: ',' or 'end of string'"));
                        }
                    }
                }
                (Token::End, _) => return Ok(requirements),
                (_, word) => {
                    return refuse(format!("found '{word}', expected: !, identifier, or 'end of string'"));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let (token, mut key) = self.take(true);
        let absent = token == Token::Absent;
        let mut token = token;
        if absent {
            (token, key) = self.take(true);
        }
        if token != Token::Identifier {
            return refuse(format!("found '{key}', expected: identifier"));
        }
        check_key(&key)?;
        if matches!(self.peek(true).0, Token::End | Token::Comma) || absent {
            let operator = if absent { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key, operator, values: Vec::new() });
        }
        let (token, word) = self.take(false);
        let operator = match token {
            Token::In | Token::Equals | Token::DoubleEquals => Operator::In,
            Token::NotIn | Token::NotEquals => Operator::NotIn,
            Token::Greater => Operator::Gt,
            Token::Less => Operator::Lt,
            _ => return refuse(format!("found '{word}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let mut values = match token {
            Token::In | Token::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        values.sort();
        values.dedup();
        for (index, value) in values.iter().enumerate() {
            if matches!(operator, Operator::Gt | Operator::Lt) && value.parse::<i64>().is_err() {
                return refuse(format!(
                    "values[{index}][{key}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                ));
            }
            check_value(&key, index, value)?;
        }
        Ok(Requirement { key, operator, values })
    }

    fn values(&mut self) -> Result<Vec<String>, ParseError> {
        let (token, word) = self.take(true);
        if token != Token::Open {
            return refuse(format!("found '{word}' expected: '('"));
        }
        match self.peek(true).0 {
            Token::Identifier | Token::Comma => {
                let values = self.identifiers()?;
                match self.take(true) {
                    (Token::Close, _) => Ok(values),
                    (_, word) => refuse(format!("found '{word}', expected: ')'")),
                }
            }
            Token::Close => {
                self.take(true);
                Ok(vec![String::new()])
            }
            _ => {
                let word = self.peek(true).1.to_owned();
                refuse(format!("found '{word}', expected: ',', ')' or identifier"))
            }
        }
    }

    fn identifiers(&mut self) -> Result<Vec<String>, ParseError> {
        let mut values = Vec::new();
        loop {
            match self.take(true) {
                (Token::Identifier, word) => {
                    values.push(word);
                    match self.peek(true) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, word) => return refuse(format!("found '{word}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek(true).0 {
                        Token::Close => {
                            values.push(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.take(true);
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                (_, word) => return refuse(format!("found '{word}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, ParseError> {
        match self.peek(true).0 {
            Token::End | Token::Comma => Ok(String::new()),
            _ => match self.take(true) {
                (Token::Identifier, word) => Ok(word),
                (_, word) => refuse(format!("found '{word}', expected: identifier")),
            },
        }
    }
}

fn refuse<T>(message: String) -> Result<T, ParseError> {
    Err(ParseError(message))
}

const NAME_RULE: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_RULE: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used \
    for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_RULE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
    validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
    'example.com/MyName')";

fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.split('.').all(|label| {
        edge(label.chars().next())
            && edge(label.chars().last())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    })
}

fn check_key(key: &str) -> Result<(), ParseError> {
    let mut faults: Vec<String> = Vec::new();
    let (prefix, name) = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, (*name).to_owned()),
        [prefix, name] => (Some((*prefix).to_owned()), (*name).to_owned()),
        _ => return refuse(format!("key: Invalid value: {key:?}: {QUALIFIED_RULE}")),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            faults.push("prefix part must be non-empty".to_owned());
        } else {
            if prefix.len() > 253 {
                faults.push("prefix part must be no more than 253 bytes".to_owned());
            }
            if !is_subdomain(&prefix) {
                faults.push(PREFIX_RULE.to_owned());
            }
        }
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        faults.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name(&name) {
        faults.push(NAME_RULE.to_owned());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        refuse(format!("key: Invalid value: {key:?}: {}", faults.join("; ")))
    }
}

fn check_value(key: &str, index: usize, value: &str) -> Result<(), ParseError> {
    let mut faults = Vec::new();
    if value.len() > 63 {
        faults.push("must be no more than 63 bytes");
    }
    if !value.is_empty() && !is_name(value) {
        faults.push(VALUE_RULE);
    }
    if faults.is_empty() {
        return Ok(());
    }
    refuse(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", faults.join("; ")))
}

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, such as `status.phase`.
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must be equal, or must not.
    pub equal: bool,
}

/// Parses a field selector: `status.phase=Running,spec.nodeName!=n`.
///
/// # Errors
/// In upstream's words: `invalid selector: 'x'; can't understand 'x'`.
pub fn parse_fields(text: &str) -> Result<Vec<FieldRequirement>, ParseError> {
    let mut requirements = Vec::new();
    for part in split_unescaped(text) {
        if part.is_empty() {
            continue;
        }
        let Some((field, equal, value)) = split_operator(part) else {
            return refuse(format!("invalid selector: '{text}'; can't understand '{part}'"));
        };
        let value = unescape(value)?;
        requirements.push(FieldRequirement { field: field.to_owned(), value, equal });
    }
    requirements.sort_by(|a, b| a.field.cmp(&b.field));
    Ok(requirements)
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn split_operator(part: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in part.char_indices() {
        let rest = &part[at..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&part[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(text: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                Some(next) => {
                    return refuse(format!("invalid field selector: invalid escape sequence: \\{next}"));
                }
                None => return refuse("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return refuse(format!("invalid field selector: unescaped character in value: {c}")),
            _ => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(text: &str) -> String {
        Selector::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn every_form_of_requirement_selects() {
        let labels = json!({"app": "web", "tier": "front", "n": "5", "in": "x"});
        for (text, selected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app != web", false),
            ("app in (db, web)", true),
            ("app notin (web)", false),
            ("tier,!legacy", true),
            ("!tier", false),
            ("n>4", true),
            ("n<5", false),
            ("none notin (a)", true),
            ("none=", false),
            ("in in (x)", true),
            ("app in (,web)", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), selected, "{text}");
        }
    }

    #[test]
    fn faults_are_worded_as_upstream() {
        assert_eq!(error("app in web"), "unable to parse requirement: found 'web' expected: '('");
        assert_eq!(error("a=b c"), "found 'c', expected: ',' or 'end of string'");
        assert_eq!(error("a=b,"), "found '', expected: identifier after ','");
        assert_eq!(error(",a"), "found ',', expected: !, identifier, or 'end of string'");
        assert!(error("a=not!ok").contains("found '!'"), "{}", error("a=not!ok"));
        assert!(error("a=-x").starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"-x\": a valid label must be"
        ));
        assert!(error("-a").starts_with(
            "unable to parse requirement: key: Invalid value: \"-a\": name part must consist of"
        ));
    }

    #[test]
    fn fields_take_equality_alone() {
        let parsed = parse_fields("status.phase!=Running,metadata.name==a\\,b").unwrap();
        assert_eq!(
            (parsed[0].field.as_str(), parsed[0].value.as_str(), parsed[0].equal),
            ("metadata.name", "a,b", true)
        );
        assert!(!parsed[1].equal);
        assert_eq!(parse_fields("x").unwrap_err().to_string(), "invalid selector: 'x'; can't understand 'x'");
        assert!(parse_fields("").unwrap().is_empty());
    }
}
