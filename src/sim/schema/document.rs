//! JSON as it was written: fields in their order, duplicates and number texts kept, syntax errors in Go's words.
//! Knows nothing of types; [`super::decode`] gives it meaning.

use std::borrow::Cow;

use serde_json::Value;

/// How deep a document may nest. The store reads objects back with a parser that stops at 128.
const MAX_DEPTH: usize = 120;

/// A parsed JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Document<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(Cow<'a, str>),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Document<'a>>),
    /// An object: its fields in their order, with duplicates.
    Object(Vec<(Cow<'a, str>, Document<'a>)>),
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A character that may not stand here.
    #[error("invalid character {} {context}", quote(*character))]
    Character {
        /// The byte.
        character: u8,
        /// What was being read, such as `looking for beginning of value`.
        context: &'static str,
    },
    /// The text ends too early.
    #[error("unexpected end of JSON input")]
    End,
    /// Objects and arrays nest too deep.
    #[error("exceeded max depth")]
    Depth,
}

fn quote(character: u8) -> String {
    match character {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x20..=0x7e => format!("'{}'", character as char),
        0x80.. => format!("'{}'", character as char),
        _ => format!("'\\x{character:02x}'"),
    }
}

impl<'a> Document<'a> {
    /// Parses a JSON text.
    ///
    /// # Errors
    /// Says, as Go does, which character stands where none of its kind may.
    pub fn parse(text: &'a [u8]) -> Result<Self, SyntaxError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        match reader.peek() {
            None => Ok(value),
            Some(character) => Err(SyntaxError::Character { character, context: "after top-level value" }),
        }
    }

    /// Finds the last value of a field.
    pub fn get(&self, name: &str) -> Option<&Document<'a>> {
        match self {
            Self::Object(fields) => fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Tells whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Names the kind of value as Go's decoder does: `string`, `number`, `object`, `array`, `bool`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Views a value as a document.
    pub fn from_value(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Number(number) => Self::Number(Cow::Owned(number.to_string())),
            Value::String(text) => Self::String(Cow::Borrowed(text)),
            Value::Array(items) => Self::Array(items.iter().map(Self::from_value).collect()),
            Value::Object(map) => Self::Object(
                map.iter().map(|(k, v)| (Cow::Borrowed(k.as_str()), Self::from_value(v))).collect(),
            ),
        }
    }

    /// Takes the value without regard to types: whole numbers are integers, the last of several equal fields wins.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Number(text) => number(text),
            Self::String(text) => Value::String(text.to_string()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(fields) => {
                Value::Object(fields.iter().map(|(k, v)| (k.to_string(), v.to_value())).collect())
            }
        }
    }
}

/// Reads a number as Go's decoder and encoder leave it: an integer where it is one.
pub(super) fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    let float: f64 = text.parse().unwrap_or(0.0);
    if float.fract() == 0.0 && float.abs() < 9.0e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
        return Value::from(float as i64);
    }
    serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Skips white space and looks at what follows.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn fail<T>(&self, context: &'static str) -> Result<T, SyntaxError> {
        match self.text.get(self.at) {
            Some(&character) => Err(SyntaxError::Character { character, context }),
            None => Err(SyntaxError::End),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Document<'a>, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::Depth);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Document::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => {
                self.literal(
                    b"true",
                    &[
                        "in literal true (expecting 'r')",
                        "in literal true (expecting 'u')",
                        "in literal true (expecting 'e')",
                    ],
                )?;
                Ok(Document::Bool(true))
            }
            Some(b'f') => {
                self.literal(
                    b"false",
                    &[
                        "in literal false (expecting 'a')",
                        "in literal false (expecting 'l')",
                        "in literal false (expecting 's')",
                        "in literal false (expecting 'e')",
                    ],
                )?;
                Ok(Document::Bool(false))
            }
            Some(b'n') => {
                self.literal(
                    b"null",
                    &[
                        "in literal null (expecting 'u')",
                        "in literal null (expecting 'l')",
                        "in literal null (expecting 'l')",
                    ],
                )?;
                Ok(Document::Null)
            }
            _ => self.fail("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &[u8], contexts: &[&'static str]) -> Result<(), SyntaxError> {
        self.at += 1;
        for (expected, context) in word[1..].iter().zip(contexts) {
            if self.text.get(self.at) != Some(expected) {
                return self.fail(context);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Document<'a>, SyntaxError> {
        self.at += 1;
        let mut fields = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Document::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("looking for beginning of object key string");
            }
            let key = self.string()?;
            if self.peek() != Some(b':') {
                return self.fail("after object key");
            }
            self.at += 1;
            fields.push((key, self.value(depth + 1)?));
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Document::Object(fields));
                }
                _ => return self.fail("after object key:value pair"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Document<'a>, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Document::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Document::Array(items));
                }
                _ => return self.fail("after array element"),
            }
        }
    }

    fn number(&mut self) -> Result<Document<'a>, SyntaxError> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            while matches!(reader.text.get(reader.at), Some(b'0'..=b'9')) {
                reader.at += 1;
            }
        };
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => digits(self),
            _ => return self.fail("in numeric literal"),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
                return self.fail("after decimal point in numeric literal");
            }
            digits(self);
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.text.get(self.at), Some(b'0'..=b'9')) {
                return self.fail("in exponent of numeric literal");
            }
            digits(self);
        }
        Ok(Document::Number(String::from_utf8_lossy(&self.text[start..self.at])))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(text));
                }
                b'\\' => return self.escaped(start),
                0..0x20 => return self.fail("in string literal"),
                _ => self.at += 1,
            }
        }
        Err(SyntaxError::End)
    }

    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>, SyntaxError> {
        let mut bytes = self.text[start..self.at].to_vec();
        loop {
            let Some(&byte) = self.text.get(self.at) else { return Err(SyntaxError::End) };
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()));
                }
                0..0x20 => return self.fail("in string literal"),
                b'\\' => {
                    self.at += 1;
                    let simple = match self.text.get(self.at) {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'r') => b'\r',
                        Some(b'b') => 8,
                        Some(b'f') => 12,
                        Some(&plain @ (b'"' | b'\\' | b'/')) => plain,
                        Some(b'u') => {
                            let character = self.unicode()?;
                            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                            continue;
                        }
                        _ => return self.fail("in string escape code"),
                    };
                    bytes.push(simple);
                    self.at += 1;
                }
                other => {
                    bytes.push(other);
                    self.at += 1;
                }
            }
        }
    }

    /// Reads `uXXXX`, and a second one when the two are a surrogate pair. A lone half becomes U+FFFD.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first)
            && self.text.get(self.at) == Some(&b'\\')
            && self.text.get(self.at + 1) == Some(&b'u')
        {
            let before = self.at;
            self.at += 1;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            match self.text.get(self.at).and_then(|&b| (b as char).to_digit(16)) {
                Some(digit) => code = code * 16 + digit,
                None => return self.fail("in \\u hexadecimal character escape"),
            }
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(text: &str) -> String {
        Document::parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn order_duplicates_and_number_texts_are_kept() {
        let document =
            Document::parse(br#" {"b": 1.50, "a": [true, null, "x\u00e9\ud83d\ude00\n"], "b": 2} "#);
        let document = document.expect("JSON");
        let Document::Object(fields) = &document else { panic!("object") };
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(fields[0].1, Document::Number("1.50".into()));
        assert_eq!(document.to_value(), json!({ "a": [true, null, "xé😀\n"], "b": 2 }));
    }

    #[test]
    fn whole_floats_are_integers() {
        let document = Document::parse(b"[1.0, 1e3, 1.5, -0, 9223372036854775807]").expect("JSON");
        assert_eq!(document.to_value().to_string(), "[1,1000,1.5,0,9223372036854775807]");
    }

    #[test]
    fn syntax_errors_are_worded_as_go_words_them() {
        assert_eq!(error(""), "unexpected end of JSON input");
        assert_eq!(error("{\"a\":1"), "unexpected end of JSON input");
        assert_eq!(error("{a:1}"), "invalid character 'a' looking for beginning of object key string");
        assert_eq!(error("{\"a\" 1}"), "invalid character '1' after object key");
        assert_eq!(error("{\"a\":1 2}"), "invalid character '2' after object key:value pair");
        assert_eq!(error("[1 2]"), "invalid character '2' after array element");
        assert_eq!(error("[1,]"), "invalid character ']' looking for beginning of value");
        assert_eq!(error("{} x"), "invalid character 'x' after top-level value");
        assert_eq!(error("nul1"), "invalid character '1' in literal null (expecting 'l')");
        assert_eq!(error("\"\\q\""), "invalid character 'q' in string escape code");
        assert_eq!(error("\"a\nb\""), r"invalid character '\n' in string literal");
        assert_eq!(error("-x"), "invalid character 'x' in numeric literal");
        assert_eq!(error("'a'"), r"invalid character '\'' looking for beginning of value");
        assert_eq!(error(&"[".repeat(5000)), "exceeded max depth");
    }
}
