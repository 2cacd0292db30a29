//! Rule files as Falco loads them, in their order: rules, macros and lists, redefined, appended to and overridden; and
//! what they come to: one condition for each rule, without macros and names of lists.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::fields::{self, Kind};
use super::filter::{self, Expr, Operand, Operator, Right, Test, Word};
use super::{Priority, eval};
use crate::check::document::{self, Malformed};

/// A rule that can be evaluated.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) enabled: bool,
    pub(super) priority: Priority,
    pub(super) output: String,
    pub(super) condition: Expr,
}

/// Something that Falco would not load, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) file: usize,
    pub(super) path: String,
    pub(super) message: String,
}

/// Where an item stands.
#[derive(Debug, Clone)]
struct Place {
    file: usize,
    line: u64,
    what: String,
}

impl Place {
    fn fault(&self, message: impl Into<String>) -> Fault {
        let path = format!("line {}, {}", self.line, self.what);
        Fault { file: self.file, path, message: message.into() }
    }
}

/// One thing with a name. It sees what was first defined before it was last touched.
#[derive(Debug, Clone)]
struct Named<T> {
    of: T,
    index: usize,
    sees: usize,
    place: Place,
}

#[derive(Debug, Clone)]
struct Raw {
    condition: String,
    output: String,
    desc: String,
    priority: Priority,
    source: String,
    enabled: bool,
    exceptions: Vec<Exception>,
}

#[derive(Debug, Clone)]
struct Exception {
    name: String,
    fields: Vec<String>,
    comps: Vec<String>,
    single: bool,
    values: Vec<Value>,
}

/// All that was loaded so far.
#[derive(Debug, Default)]
pub(super) struct Loader {
    rules: BTreeMap<String, Named<Raw>>,
    macros: BTreeMap<String, Named<String>>,
    lists: BTreeMap<String, Named<Vec<Word>>>,
    next: usize,
}

impl Loader {
    /// Loads a file on top of what there is.
    pub(super) fn load(&mut self, file: usize, text: &str, faults: &mut Vec<Fault>) -> Result<(), Malformed> {
        let documents: Vec<Option<Vec<Spanned<Value>>>> = document::yamls(text)?;
        for item in documents.into_iter().flatten().flatten() {
            let line = item.referenced.line();
            let Value::Object(map) = item.value else {
                let place = Place { file, line, what: "item".to_owned() };
                faults.push(place.fault("neither a rule nor a macro nor a list"));
                continue;
            };
            let name = |key: &str| map.get(key).map(|name| (key.to_owned(), scalar(name)));
            let Some((kind, name)) = name("rule").or_else(|| name("macro")).or_else(|| name("list")) else {
                let engine = ["required_engine_version", "required_plugin_versions"];
                if !engine.iter().any(|key| map.contains_key(*key)) {
                    let place = Place { file, line, what: "item".to_owned() };
                    faults.push(place.fault("neither a rule nor a macro nor a list"));
                }
                continue;
            };
            let place = Place { file, line, what: format!("{kind} {name}") };
            let done = match kind.as_str() {
                "rule" => self.rule(name, &map, place.clone()),
                "macro" => self.a_macro(name, &map, place.clone()),
                _ => self.list(name, &map, place.clone()),
            };
            if let Err(message) = done {
                faults.push(place.fault(message));
            }
            self.next += 1;
        }
        Ok(())
    }

    fn a_macro(&mut self, name: String, map: &Map<String, Value>, place: Place) -> Result<(), String> {
        let condition = text(map, "condition").ok_or("a macro has a name and a condition")?;
        let change = Change::of(map, &["condition"], &["condition"])?;
        match (self.macros.get_mut(&name), change.mode("condition")) {
            (None, Mode::Append | Mode::Replace) => {
                return Err("it changes a macro, but no macro by that name exists before it".to_owned());
            }
            (Some(before), Mode::Append) => {
                before.of = format!("{} {condition}", before.of);
                before.sees = self.next;
                before.place = place;
            }
            (before, _) => {
                let index = before.map_or(self.next, |before| before.index);
                self.macros.insert(name, Named { of: condition, index, sees: self.next, place });
            }
        }
        Ok(())
    }

    fn list(&mut self, name: String, map: &Map<String, Value>, place: Place) -> Result<(), String> {
        let Some(Value::Array(items)) = map.get("items") else {
            return Err("a list has a name and items".to_owned());
        };
        let words: Vec<Word> = items.iter().map(|item| Word { text: scalar(item), quoted: false }).collect();
        let change = Change::of(map, &["items"], &["items"])?;
        match (self.lists.get_mut(&name), change.mode("items")) {
            (None, Mode::Append | Mode::Replace) => {
                return Err("it changes a list, but no list by that name exists before it".to_owned());
            }
            (Some(before), Mode::Append) => {
                before.of.extend(words);
                before.sees = self.next;
                before.place = place;
            }
            (before, _) => {
                let index = before.map_or(self.next, |before| before.index);
                self.lists.insert(name, Named { of: words, index, sees: self.next, place });
            }
        }
        Ok(())
    }

    fn rule(&mut self, name: String, map: &Map<String, Value>, place: Place) -> Result<(), String> {
        const APPEND: [&str; 5] = ["condition", "output", "desc", "tags", "exceptions"];
        const REPLACE: [&str; 9] = [
            "condition",
            "output",
            "desc",
            "priority",
            "tags",
            "exceptions",
            "enabled",
            "warn_evttypes",
            "skip-if-unknown-filter",
        ];
        let change = Change::of(map, &APPEND, &REPLACE)?;
        let essential = ["condition", "output", "desc", "priority"];
        let given = essential.iter().filter(|key| map.contains_key(**key)).count();
        if change.none() && given == 0 && map.contains_key("enabled") {
            // The old way to switch a rule on or off.
            let before = self.rules.get_mut(&name).ok_or("no rule by that name exists before it")?;
            before.of.enabled = truth(map, "enabled")?.unwrap_or(true);
            return Ok(());
        }
        if change.none() {
            if given < essential.len() {
                return Err("a rule has condition, output, desc and priority".to_owned());
            }
            let index = self.rules.get(&name).map_or(self.next, |before| before.index);
            let text = |key: &str| text(map, key).ok_or(format!("`{key}` is empty or no text"));
            let of = Raw {
                condition: text("condition")?,
                output: text("output")?,
                desc: text("desc")?,
                priority: priority(map)?,
                source: super::rules::text(map, "source").unwrap_or_else(|| "syscall".to_owned()),
                enabled: truth(map, "enabled")?.unwrap_or(true),
                exceptions: exceptions(map)?,
            };
            if let Some(before) = self.rules.get(&name).filter(|before| before.of.source != of.source) {
                return Err(format!("it was defined with the source {} before", before.of.source));
            }
            self.rules.insert(name, Named { of, index, sees: self.next, place });
            return Ok(());
        }
        let before = self
            .rules
            .get_mut(&name)
            .ok_or("it changes a rule, but no rule by that name exists before it")?;
        let of = &mut before.of;
        for (key, field) in
            [("condition", &mut of.condition), ("output", &mut of.output), ("desc", &mut of.desc)]
        {
            match (change.mode(key), text(map, key)) {
                (Mode::Append, Some(more)) => *field = format!("{field} {more}"),
                (Mode::Replace, Some(other)) => *field = other,
                (Mode::Append | Mode::Replace, None) if change.by_override => {
                    return Err(format!("`{key}` is overridden and not given"));
                }
                _ => {}
            }
        }
        match change.mode("exceptions") {
            Mode::Append => {
                for more in exceptions(map)? {
                    match of.exceptions.iter_mut().find(|one| one.name == more.name) {
                        Some(one) => one.values.extend(more.values),
                        None => of.exceptions.push(more),
                    }
                }
            }
            Mode::Replace => of.exceptions = exceptions(map)?,
            Mode::None => {}
        }
        if change.mode("priority") == Mode::Replace {
            of.priority = priority(map)?;
        }
        if change.mode("enabled") == Mode::Replace || !change.by_override {
            of.enabled = truth(map, "enabled")?.unwrap_or(of.enabled);
        }
        before.sees = self.next;
        before.place = place;
        Ok(())
    }

    /// Returns every rule with its condition resolved, in the order of their first definition.
    pub(super) fn rules(&self, faults: &mut Vec<Fault>) -> Vec<Rule> {
        let mut all: Vec<(&String, &Named<Raw>)> = self.rules.iter().collect();
        all.sort_by_key(|(_, rule)| rule.index);
        let mut rules = Vec::new();
        for (name, rule) in all {
            match self.resolve_rule(rule) {
                Ok(condition) => rules.push(Rule {
                    name: name.clone(),
                    source: rule.of.source.clone(),
                    enabled: rule.of.enabled,
                    priority: rule.of.priority,
                    output: rule.of.output.clone(),
                    condition,
                }),
                Err(message) => faults.push(rule.place.fault(message)),
            }
        }
        rules
    }

    fn resolve_rule(&self, rule: &Named<Raw>) -> Result<Expr, String> {
        let mut condition = self.resolve(&rule.of.condition, rule.sees, &mut Vec::new())?;
        for exception in &rule.of.exceptions {
            if let Some(expr) = exception.expr()? {
                let expr = self.fill(expr, rule.sees, &mut Vec::new())?;
                condition = Expr::And(vec![condition, Expr::Not(Box::new(expr))]);
            }
        }
        eval::faults_of_output(&rule.of.output)?;
        Ok(condition)
    }

    fn resolve(&self, text: &str, sees: usize, path: &mut Vec<String>) -> Result<Expr, String> {
        let expr = filter::parse(text).map_err(|fault| fault.to_string())?;
        self.fill(expr, sees, path)
    }

    /// Puts macros and lists in, and makes sure that fields and operators fit.
    fn fill(&self, expr: Expr, sees: usize, path: &mut Vec<String>) -> Result<Expr, String> {
        let all = |parts: Vec<Expr>, path: &mut Vec<String>| {
            parts.into_iter().map(|part| self.fill(part, sees, path)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match expr {
            Expr::And(parts) => Expr::And(all(parts, path)?),
            Expr::Or(parts) => Expr::Or(all(parts, path)?),
            Expr::Not(inner) => Expr::Not(Box::new(self.fill(*inner, sees, path)?)),
            Expr::Macro(name) => {
                let found = self.macros.get(&name).filter(|found| found.index < sees);
                let found = found.ok_or_else(|| format!("undefined macro `{name}`"))?;
                if path.contains(&name) {
                    return Err(format!("the macro `{name}` uses itself"));
                }
                path.push(name.clone());
                let inner = self
                    .resolve(&found.of, found.sees, path)
                    .map_err(|message| format!("macro `{name}`: {message}"))?;
                path.pop();
                inner
            }
            Expr::Test(test) => Expr::Test(self.test(test, sees)?),
        })
    }

    fn test(&self, test: Test, sees: usize) -> Result<Test, String> {
        let kind = known(&test.left)?;
        let right = match test.right {
            Right::Nothing => Right::Nothing,
            Right::Field(field) => {
                known(&field)?;
                Right::Field(field)
            }
            Right::One(word) => {
                let is_list = self.lists.get(&word.text).is_some_and(|list| list.index < sees);
                if !word.quoted && is_list {
                    return Err(format!("the list `{}` stands where one value is expected", word.text));
                }
                Right::One(word)
            }
            Right::List(words) => {
                let mut all = Vec::new();
                for word in words {
                    self.expand(word, sees, 0, &mut all)?;
                }
                Right::List(all)
            }
        };
        let texts = !matches!(kind, Kind::Text | Kind::Any);
        let of_text = matches!(
            test.operator,
            Operator::Contains
                | Operator::IContains
                | Operator::StartsWith
                | Operator::EndsWith
                | Operator::Glob
                | Operator::IGlob
                | Operator::Regex
                | Operator::Pmatch
        );
        if (of_text && texts) || (test.operator.orders() && !matches!(kind, Kind::Number | Kind::Any)) {
            return Err(format!("`{}` has values that this operator does not take", test.left.field));
        }
        let words: &[Word] = match &right {
            Right::One(word) => std::slice::from_ref(word),
            Right::List(words) => words,
            _ => &[],
        };
        for word in words {
            let fits = match kind {
                Kind::Number => eval::number(&word.text).is_some(),
                Kind::Bool => ["true", "false"].contains(&word.text.to_lowercase().as_str()),
                Kind::Address => word.text.parse::<std::net::IpAddr>().is_ok(),
                Kind::Network => eval::network(&word.text).is_some(),
                Kind::Text | Kind::Any => true,
            };
            if !fits {
                return Err(format!("`{}` is no value for `{}`", word.text, test.left.field));
            }
            if test.operator == Operator::Regex && regex::Regex::new(&word.text).is_err() {
                return Err(format!("`{}` is no regular expression", word.text));
            }
        }
        Ok(Test { left: test.left, operator: test.operator, right })
    }

    fn expand(&self, word: Word, sees: usize, deep: usize, all: &mut Vec<Word>) -> Result<(), String> {
        if deep > 20 {
            return Err(format!("the list `{}` holds itself", word.text));
        }
        match self.lists.get(&word.text).filter(|list| !word.quoted && list.index < sees) {
            Some(list) => {
                for item in &list.of {
                    self.expand(item.clone(), list.sees, deep + 1, all)?;
                }
            }
            None => all.push(word),
        }
        Ok(())
    }
}

/// Returns the kind of an operand's values after its transformers.
fn known(operand: &Operand) -> Result<Kind, String> {
    let (name, argument) = fields::split(&operand.field);
    let kind = fields::kind(name, argument.is_some())
        .ok_or_else(|| format!("there is no field `{}`", operand.field))?;
    Ok(match operand.transformers.first() {
        Some(filter::Transformer::Len) => Kind::Number,
        Some(filter::Transformer::Val) | None => kind,
        Some(_) => Kind::Text,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    Append,
    Replace,
}

/// How an item changes the one of its name.
struct Change {
    modes: BTreeMap<String, Mode>,
    by_override: bool,
}

impl Change {
    fn of(map: &Map<String, Value>, append: &[&str], replace: &[&str]) -> Result<Self, String> {
        let appends = truth(map, "append")?.unwrap_or(false);
        let Some(given) = map.get("override").filter(|given| !given.is_null()) else {
            let modes = match appends {
                true => append.iter().map(|key| ((*key).to_owned(), Mode::Append)).collect(),
                false => BTreeMap::new(),
            };
            return Ok(Self { modes, by_override: false });
        };
        if appends {
            return Err("`override` and `append: true` cannot go together".to_owned());
        }
        let Value::Object(given) = given else {
            return Err("`override` maps keys to append or replace".to_owned());
        };
        let mut modes = BTreeMap::new();
        for (key, mode) in given {
            let mode = match mode.as_str() {
                Some("append") if append.contains(&key.as_str()) => Mode::Append,
                Some("replace") if replace.contains(&key.as_str()) => Mode::Replace,
                Some(mode @ ("append" | "replace")) => {
                    return Err(format!("`{key}` cannot be overridden by {mode}"));
                }
                _ => return Err(format!("`override.{key}` is neither append nor replace")),
            };
            if !map.contains_key(key) {
                return Err(format!("`{key}` is overridden and not given"));
            }
            modes.insert(key.clone(), mode);
        }
        const ALWAYS: [&str; 4] = ["rule", "macro", "list", "override"];
        let all: Vec<&str> = append.iter().chain(replace).copied().collect();
        for key in map.keys().filter(|key| !ALWAYS.contains(&key.as_str()) && all.contains(&key.as_str())) {
            if !modes.contains_key(key) {
                return Err(format!("`{key}` is given and not overridden"));
            }
        }
        Ok(Self { modes, by_override: true })
    }

    fn none(&self) -> bool {
        self.modes.is_empty()
    }

    fn mode(&self, key: &str) -> Mode {
        self.modes.get(key).copied().unwrap_or(Mode::None)
    }
}

impl Exception {
    /// Writes it as a condition; `None` without values.
    fn expr(&self) -> Result<Option<Expr>, String> {
        let fault = |text: &str| Err(format!("exception `{}`: {text}", self.name));
        let test = |field: &str, comp: &str, value: &Value| -> Result<Expr, String> {
            let Some((left, _)) = filter::operand(field) else {
                return Err(format!("`{field}` is no field"));
            };
            let Some(operator) = Operator::parse(comp) else {
                return Err(format!("`{comp}` is no operator"));
            };
            let word = |value: &Value| Word { text: unquote(&scalar(value)), quoted: false };
            let right = match value {
                Value::Array(items) => Right::List(items.iter().map(word).collect()),
                value if operator.takes_list() => {
                    // A text may hold a list in brackets.
                    let text = scalar(value);
                    let inside = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
                    let words = inside.unwrap_or(&text).split(',').map(str::trim);
                    Right::List(words.map(|text| Word { text: unquote(text), quoted: false }).collect())
                }
                value => Right::One(word(value)),
            };
            Ok(Expr::Test(Test { left, operator, right }))
        };
        if self.values.is_empty() {
            return Ok(None);
        }
        if self.fields.is_empty() {
            return fault("it has no fields");
        }
        if self.single {
            let (field, comp) = (&self.fields[0], self.comps.first().map_or("in", String::as_str));
            let values = Value::Array(self.values.clone());
            if Operator::parse(comp).is_some_and(Operator::takes_list) {
                return Ok(Some(test(field, comp, &values)?));
            }
            let any =
                self.values.iter().map(|value| test(field, comp, value)).collect::<Result<Vec<_>, _>>()?;
            return Ok(Some(Expr::Or(any)));
        }
        if !self.comps.is_empty() && self.comps.len() != self.fields.len() {
            return fault("it has not as many comps as fields");
        }
        let mut any = Vec::new();
        for value in &self.values {
            let Value::Array(parts) = value else { return fault("each of its values is a list") };
            if parts.len() != self.fields.len() {
                return fault("a value has not as many parts as there are fields");
            }
            let mut both = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                both.push(test(
                    &self.fields[index],
                    self.comps.get(index).map_or("=", String::as_str),
                    part,
                )?);
            }
            any.push(Expr::And(both));
        }
        Ok(Some(Expr::Or(any)))
    }
}

fn exceptions(map: &Map<String, Value>) -> Result<Vec<Exception>, String> {
    let Some(Value::Array(items)) = map.get("exceptions") else { return Ok(Vec::new()) };
    let list = |value: &Value| match value {
        Value::Array(items) => items.iter().map(scalar).collect(),
        Value::Null => Vec::new(),
        value => vec![scalar(value)],
    };
    items
        .iter()
        .map(|item| {
            let name = item["name"].as_str().ok_or("an exception has a name")?.to_owned();
            Ok(Exception {
                name,
                fields: list(&item["fields"]),
                comps: list(&item["comps"]),
                single: item["fields"].is_string(),
                values: item["values"].as_array().cloned().unwrap_or_default(),
            })
        })
        .collect()
}

fn priority(map: &Map<String, Value>) -> Result<Priority, String> {
    let text = text(map, "priority").unwrap_or_default();
    Priority::parse(&text).ok_or_else(|| format!("`{text}` is no priority"))
}

fn text(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn truth(map: &Map<String, Value>, key: &str) -> Result<Option<bool>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(is)) => Ok(Some(*is)),
        Some(_) => Err(format!("`{key}` is neither true nor false")),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn unquote(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text).to_owned()
}
