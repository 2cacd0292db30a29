//! The simple JSON paths of printer columns: `.spec.size`, `.status.conditions[?(@.type=="Ready")].status`,
//! `.metadata.annotations.example\.com/x`, `.items[0]['a']`, `.spec.list[*]`.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    Descend(String),
    Filter(Filter),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Filter {
    left: Operand,
    /// The operator and its right side; without one, the left side must exist.
    test: Option<(String, Operand)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

impl JsonPath {
    /// Parses a path, with or without braces around it; none when it is malformed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text);
        let mut reader = Reader { rest: text.trim_start_matches('$') };
        let steps = reader.steps()?;
        reader.rest.trim().is_empty().then_some(Self(steps))
    }

    /// Finds the first value at the path.
    pub(crate) fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).into_iter().next()
    }

    /// Finds the values at the path.
    pub(crate) fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.apply(value)).collect();
        }
        found
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name.as_str()).into_iter().collect(),
            Self::Index(index) => {
                value.as_array().and_then(|l| l.get(place(*index, l.len())?)).into_iter().collect()
            }
            Self::Slice(from, to) => value.as_array().map_or_else(Vec::new, |list| {
                let bound = |at: Option<i64>, default: usize| {
                    at.map_or(default, |at| place(at, list.len()).unwrap_or(0).min(list.len()))
                };
                let (from, to) = (bound(*from, 0), bound(*to, list.len()));
                list.get(from..to.max(from)).unwrap_or_default().iter().collect()
            }),
            Self::All => match value {
                Value::Array(list) => list.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Self::Descend(name) => {
                let mut found: Vec<&Value> = value.get(name.as_str()).into_iter().collect();
                for child in Self::All.apply(value) {
                    found.extend(self.apply(child));
                }
                found
            }
            Self::Filter(filter) => match value {
                Value::Array(list) => list.iter().filter(|item| filter.holds(item)).collect(),
                _ => Vec::new(),
            },
        }
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

impl Filter {
    fn holds(&self, item: &Value) -> bool {
        let Some(left) = self.left.value(item) else { return false };
        let Some((operator, right)) = &self.test else { return true };
        let Some(right) = right.value(item) else { return false };
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) if a == b => Some(std::cmp::Ordering::Equal),
            _ => None,
        };
        match operator.as_str() {
            "==" => order.is_some_and(|o| o.is_eq()),
            "!=" => !order.is_some_and(|o| o.is_eq()),
            "<" => order.is_some_and(|o| o.is_lt()),
            "<=" => order.is_some_and(|o| o.is_le()),
            ">" => order.is_some_and(|o| o.is_gt()),
            ">=" => order.is_some_and(|o| o.is_ge()),
            _ => false,
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, item: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Path(path) => path.first(item),
            Self::Literal(value) => Some(value),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn steps(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Descend(self.name()?));
            } else if self.eat(".[") {
                steps.push(self.bracket()?);
            } else if self.eat(".*") {
                steps.push(Step::All);
            } else if self.eat(".") {
                match self.name() {
                    Some(name) => steps.push(Step::Field(name)),
                    // `.` alone is the whole object.
                    None if steps.is_empty() && self.rest.is_empty() => {}
                    None => return None,
                }
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                return Some(steps);
            }
        }
    }

    /// Reads a field's name; a backslash takes the next character as it is.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => name.push(characters.next()?.1),
                '.' | '[' | ']' | ')' | ' ' | '=' | '!' | '<' | '>' => {
                    end = at;
                    break;
                }
                other => name.push(other),
            }
        }
        self.rest = &self.rest[end..];
        (!name.is_empty()).then_some(name)
    }

    fn bracket(&mut self) -> Option<Step> {
        if self.eat("?(") {
            let left = self.operand()?;
            let mut test = None;
            self.rest = self.rest.trim_start();
            for operator in ["==", "!=", "<=", ">=", "<", ">"] {
                if self.eat(operator) {
                    test = Some((operator.to_owned(), self.operand()?));
                    break;
                }
            }
            self.rest = self.rest.trim_start();
            return (self.eat(")") && self.eat("]")).then_some(Step::Filter(Filter { left, test }));
        }
        if self.eat("*]") {
            return Some(Step::All);
        }
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let text = self.quoted(quote)?;
            return self.eat("]").then_some(Step::Field(text));
        }
        let (inner, rest) = self.rest.split_once(']')?;
        self.rest = rest;
        match inner.split_once(':') {
            None => inner.trim().parse().ok().map(Step::Index),
            Some((from, to)) => {
                let bound =
                    |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
                Some(Step::Slice(bound(from.trim())?, bound(to.trim())?))
            }
        }
    }

    fn operand(&mut self) -> Option<Operand> {
        self.rest = self.rest.trim_start();
        if self.eat("@") {
            return Some(Operand::Path(JsonPath(self.steps()?)));
        }
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            return self.quoted(quote).map(|text| Operand::Literal(text.into()));
        }
        let end = self.rest.find([')', ' ', '=', '!', '<', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        serde_json::from_str(word).ok().map(Operand::Literal)
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => text.push(characters.next()?.1),
                c if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                other => text.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(path: &str) -> Vec<Value> {
        let value = json!({ "spec": { "size": 3, "list": ["a", "b", "c"], "x.y/z": "dotted" },
            "status": { "conditions": [{ "type": "Ready", "status": "True", "n": 1 },
                { "type": "Other", "status": "False", "n": 2 }] } });
        JsonPath::parse(path).expect(path).find(&value).into_iter().cloned().collect()
    }

    #[test]
    fn paths_of_printer_columns_find_their_values() {
        assert_eq!(found(".spec.size"), [json!(3)]);
        assert_eq!(found("{.spec.size}"), [json!(3)]);
        assert_eq!(found(r".spec.x\.y/z"), [json!("dotted")]);
        assert_eq!(found(".spec['x.y/z']"), [json!("dotted")]);
        assert_eq!(found(".spec.list[1]"), [json!("b")]);
        assert_eq!(found(".spec.list[-1:]"), [json!("c")]);
        assert_eq!(found(".spec.list[0:2]"), [json!("a"), json!("b")]);
        assert_eq!(found(".spec.list[*]").len(), 3);
        assert_eq!(found(r#".status.conditions[?(@.type=="Ready")].status"#), [json!("True")]);
        assert_eq!(found(".status.conditions[?(@.n > 1)].type"), [json!("Other")]);
        assert_eq!(found(".status.conditions[?(@.type != 'Ready')].n"), [json!(2)]);
        assert_eq!(found("..type"), [json!("Ready"), json!("Other")]);
        assert!(found(".spec.missing.deep").is_empty());
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in [".a[", ".a['b", ".a[?(@.b]", ".a]", ".a..", ".a[x]"] {
            assert_eq!(JsonPath::parse(path), None, "{path}");
        }
    }
}
