//! Fills the drawn values into templates, strictly: what is not defined is a fault with its place. `scenario.yaml`
//! keeps its lines, so that a place in the rendered text leads back to the one in the source.

use std::collections::{BTreeMap, BTreeSet};
use tera::{Context, Delimiters, ErrorKind, Tera};

use super::code::Code;
use super::fault::Fault;
use super::raw::At;
use super::variant::{DrawFault, Drawn};
use crate::diag::closest;

/// The one name that every text is rendered under.
const NAME: &str = "text";

/// Renders the files of one variant and remembers which variables they used.
#[derive(Debug)]
pub(crate) struct Renderer {
    files: Tera,
    lines: Tera,
    context: Context,
    values: BTreeMap<String, String>,
    used: BTreeSet<String>,
}

impl Renderer {
    /// Takes the drawn values and fills in those that are made of others.
    pub(crate) fn new(drawn: BTreeMap<String, Drawn>) -> Result<Self, Vec<DrawFault>> {
        let mut renderer = Self {
            files: tera(Delimiters {
                comment_start: "\u{1}#".into(),
                comment_end: "#\u{1}".into(),
                ..Delimiters::default()
            }),
            lines: tera(Delimiters {
                block_start: "\u{1}%".into(),
                block_end: "%\u{1}".into(),
                comment_start: "\u{1}#".into(),
                comment_end: "#\u{1}".into(),
                ..Delimiters::default()
            }),
            context: Context::new(),
            values: BTreeMap::new(),
            used: BTreeSet::new(),
        };
        let mut templates = Vec::new();
        for (name, value) in drawn {
            match value {
                Drawn::Text(text) => {
                    renderer.context.insert(name.clone(), &text);
                    renderer.values.insert(name, text);
                }
                Drawn::Number(number) => {
                    renderer.context.insert(name.clone(), &number);
                    renderer.values.insert(name, number.to_string());
                }
                Drawn::Template(template) => templates.push((name, template)),
            }
        }
        let mut faults = Vec::new();
        let mut made = Vec::new();
        for (name, template) in templates {
            match renderer.lines(&template) {
                Ok(text) => made.push((name, text)),
                Err(found) => faults.extend(found.into_iter().map(|fault| DrawFault {
                    variable: name.clone(),
                    code: fault.code,
                    message: fault.message,
                })),
            }
        }
        for (name, text) in made {
            if let Some((other, _)) = renderer.values.iter().find(|(_, value)| **value == text) {
                faults.push(DrawFault {
                    message: format!("`{name}` has the same text as `{other}`: `{text}`"),
                    variable: name.clone(),
                    code: Code::ValuesCollide,
                });
            }
            renderer.context.insert(name.clone(), &text);
            renderer.values.insert(name, text);
        }
        if faults.is_empty() { Ok(renderer) } else { Err(faults) }
    }

    /// Returns the values as texts.
    pub(crate) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Returns the variables that were used so far.
    pub(crate) fn used(&self) -> &BTreeSet<String> {
        &self.used
    }

    /// Renders a file, which may use everything that templates have.
    pub(crate) fn file(&mut self, text: &str) -> Result<String, Vec<Fault>> {
        if !text.contains("{{") && !text.contains("{%") {
            return Ok(text.to_owned());
        }
        self.render(text, false)
    }

    /// Renders a text that keeps its lines: expressions within a line only.
    pub(crate) fn lines(&mut self, text: &str) -> Result<String, Vec<Fault>> {
        let statements = statements(text);
        if !statements.is_empty() {
            return Err(statements);
        }
        let rendered = self.render(text, true)?;
        if rendered.lines().count() == text.lines().count() {
            return Ok(rendered);
        }
        let at = text
            .lines()
            .zip(rendered.lines())
            .position(|(source, rendered)| !source.contains("{{") && source != rendered)
            .unwrap_or(0);
        Err(vec![Fault {
            code: Code::TemplateStatement,
            at: At { line: line_number(at), column: 1 },
            message: "an expression before this line takes or gives several lines".to_owned(),
            help: Some("write each `{{ … }}` within one line, without `-`".to_owned()),
        }])
    }

    /// Renders line by line, with each expression that fails replaced by a placeholder, so that faults of the rest can
    /// still be found.
    pub(crate) fn lines_anyway(&mut self, text: &str) -> String {
        let mut rendered = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            match self.render(line, true) {
                Ok(text) => rendered.push_str(&text),
                Err(_) => rendered.push_str(
                    &pieces(line)
                        .iter()
                        .map(|piece| match piece {
                            Piece::Text(text) => (*text).to_owned(),
                            Piece::Expression(text) => {
                                self.render(text, true).unwrap_or_else(|_| "unknown".to_owned())
                            }
                        })
                        .collect::<String>(),
                ),
            }
        }
        rendered
    }

    fn render(&mut self, text: &str, lines: bool) -> Result<String, Vec<Fault>> {
        let tera = if lines { &mut self.lines } else { &mut self.files };
        tera.add_raw_template(NAME, text).map_err(|error| vec![fault(&error)])?;
        let wanted: BTreeSet<String> = tera
            .get_template_variables(NAME)
            .map_err(|error| vec![fault(&error)])?
            .into_iter()
            .map(str::to_owned)
            .collect();
        let unknown: Vec<&String> = wanted.iter().filter(|name| !self.values.contains_key(*name)).collect();
        if !unknown.is_empty() {
            let known: Vec<&str> = self.values.keys().map(String::as_str).collect();
            let mut faults: Vec<_> =
                unknown.into_iter().flat_map(|name| undefined(text, name, &known)).collect();
            faults.sort_by_key(|fault| fault.at);
            return Err(faults);
        }
        self.used.extend(wanted);
        let tera = if lines { &self.lines } else { &self.files };
        tera.render(NAME, &self.context).map_err(|error| vec![fault(&error)])
    }
}

/// Finds the place in the source that a place in the rendered text comes from. The line is the same; a column within
/// a filled-in value leads to the start of its expression.
pub(crate) fn source_place(source: &str, rendered: &str, at: At) -> At {
    let line = at.line.saturating_sub(1) as usize;
    let (Some(from), Some(to)) = (source.lines().nth(line), rendered.lines().nth(line)) else { return at };
    if from == to {
        return at;
    }
    let target = at.column.saturating_sub(1) as usize;
    let to: Vec<char> = to.chars().collect();
    let (mut in_source, mut in_rendered) = (0, 0);
    let pieces = pieces(from);
    for (position, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => {
                let length = text.chars().count();
                if target < in_rendered + length {
                    return At { line: at.line, column: column(in_source + target - in_rendered) };
                }
                in_source += length;
                in_rendered += length;
            }
            Piece::Expression(text) => {
                let end = match pieces.get(position + 1) {
                    Some(Piece::Text(next)) => find(&to, in_rendered, next),
                    _ => to.len(),
                };
                if target < end {
                    return At { line: at.line, column: column(in_source) };
                }
                in_source += text.chars().count();
                in_rendered = end;
            }
        }
    }
    At { line: at.line, column: column(in_source + target.saturating_sub(in_rendered)) }
}

fn find(text: &[char], from: usize, wanted: &str) -> usize {
    let wanted: Vec<char> = wanted.chars().collect();
    (from..text.len()).find(|start| text[*start..].starts_with(&wanted)).unwrap_or(text.len())
}

fn column(zero_based: usize) -> u32 {
    u32::try_from(zero_based + 1).unwrap_or(u32::MAX)
}

fn line_number(zero_based: usize) -> u32 {
    column(zero_based)
}

enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find("{{") {
        let Some(end) = rest[start..].find("}}") else { break };
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        pieces.push(Piece::Expression(&rest[start..start + end + 2]));
        rest = &rest[start + end + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

fn tera(delimiters: Delimiters) -> Tera {
    let mut tera = Tera::new();
    // The delimiters are constants of two bytes; an instance that refused them would render nothing but plain text.
    let accepted = tera.set_delimiters(delimiters);
    debug_assert!(accepted.is_ok(), "{accepted:?}");
    tera.autoescape_on(Vec::<&'static str>::new());
    tera.register_filter("base64", |text: &str, _: tera::Kwargs, _: &tera::State| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    });
    tera
}

fn statements(text: &str) -> Vec<Fault> {
    const WORDS: [&str; 10] =
        ["if", "elif", "else", "endif", "for", "endfor", "set", "set_global", "raw", "include"];
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut from = 0;
        while let Some(start) = line[from..].find("{%").map(|found| found + from) {
            let word: String = line[start + 2..]
                .trim_start_matches('-')
                .trim_start()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if WORDS.contains(&word.as_str()) {
                faults.push(Fault {
                    code: Code::TemplateStatement,
                    at: At { line: line_number(number), column: column(line[..start].chars().count()) },
                    message: format!("the statement `{word}` cannot be used here"),
                    help: Some("statements can be used in the files that the scenario refers to".to_owned()),
                });
            }
            from = start + 2;
        }
    }
    faults
}

fn undefined(text: &str, name: &str, known: &[&str]) -> Vec<Fault> {
    let fault = |at| Fault {
        code: Code::UndefinedVariable,
        at,
        message: format!("the variable `{name}` is not defined"),
        help: Some(match (closest(name, known.iter().copied()), known.is_empty()) {
            (Some(known), _) => format!("did you mean `{known}`?"),
            (None, true) => "there are no variables; `vars` defines them".to_owned(),
            (None, false) => format!("the variables are {}", known.join(", ")),
        }),
    };
    let mut faults = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let bytes = line.as_bytes();
        let mut position = 0;
        while position < bytes.len() {
            let here = &line[position..];
            if here.starts_with("{{") || here.starts_with("{%") {
                inside = true;
                position += 2;
            } else if here.starts_with("}}") || here.starts_with("%}") {
                inside = false;
                position += 2;
            } else if inside && here.starts_with(name) && is_word(line, position, name.len()) {
                let column = column(line[..position].chars().count());
                faults.push(fault(At { line: line_number(number), column }));
                position += name.len();
            } else {
                position += here.chars().next().map_or(1, char::len_utf8);
            }
        }
    }
    if faults.is_empty() {
        faults.push(fault(At::START));
    }
    faults
}

fn is_word(line: &str, start: usize, length: usize) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let before = line[..start].chars().next_back();
    let after = line[start + length..].chars().next();
    !before.is_some_and(|c| part(c) || c == '.' || c == '"' || c == '\'') && !after.is_some_and(part)
}

fn fault(error: &tera::Error) -> Fault {
    let (at, message) = match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let span = report.span();
            let line = u32::try_from(span.start_line.max(1)).unwrap_or(u32::MAX);
            (At { line, column: column(span.start_col) }, report.message().to_owned())
        }
        // An unknown filter, test or function comes as a report that is text already.
        other => {
            let text = other.to_string();
            (reported_place(&text).unwrap_or(At::START), text.trim_start_matches("error: ").to_owned())
        }
    };
    let first = message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    Fault { code: Code::TemplateSyntax, at, message: lowercase_first(&first), help: None }
}

fn reported_place(report: &str) -> Option<At> {
    let (_, place) = report.split_once(&format!("--> {NAME}:"))?;
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(line)), Some(Ok(column))) => Some(At { line, column }),
        _ => None,
    }
}

fn lowercase_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer() -> Renderer {
        let drawn = [
            ("app", Drawn::Text("billing".into())),
            ("port", Drawn::Number(8080)),
            ("sa", Drawn::Template("{{ app }}-bot".into())),
            ("team", Drawn::Text("otter".into())),
        ];
        Renderer::new(drawn.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).unwrap()
    }

    #[test]
    fn values_are_filled_in_and_remembered() {
        let mut renderer = renderer();
        let text = renderer.file("{{ app }}:{{ port + 1 }} {{ sa }} {{ app | base64 }}").unwrap();
        assert_eq!(text, "billing:8081 billing-bot YmlsbGluZw==");
        assert_eq!(renderer.used().iter().collect::<Vec<_>>(), ["app", "port", "sa"]);
    }

    #[test]
    fn every_undefined_variable_is_found_with_its_place() {
        let faults = renderer().file("a\n  x: {{ ap }} {{ app }} {{ other }}\nb {{ ap }}").unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| (fault.at.line, fault.at.column)).collect();
        assert_eq!(places, [(2, 9), (2, 28), (3, 6)]);
        assert!(faults.iter().all(|fault| fault.code == Code::UndefinedVariable));
        assert_eq!(faults[0].help.as_deref(), Some("did you mean `app`?"));
    }

    #[test]
    fn an_undefined_variable_in_a_condition_is_no_silent_no() {
        let faults = renderer().file("{% if ap %}x{% endif %}").unwrap_err();
        assert_eq!(faults[0].code, Code::UndefinedVariable);
        assert_eq!(faults[0].at, At { line: 1, column: 7 });
    }

    #[test]
    fn loops_bring_their_own_variables() {
        let text = "{% for n in range(end=3) %}{% set y = n %}{{ y }}{{ loop.index }} {% endfor %}";
        assert_eq!(renderer().file(text).unwrap(), "01 12 23 ");
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let faults = renderer().file("ok\nab {{ app | }}\n").unwrap_err();
        assert_eq!((faults[0].code, faults[0].at.line), (Code::TemplateSyntax, 2), "{faults:?}");
        let faults = renderer().file("ok\n{{ app | nosuchfilter }}\n").unwrap_err();
        assert_eq!((faults[0].code, faults[0].at.line), (Code::TemplateSyntax, 2), "{faults:?}");
        assert_eq!(faults[0].message, "unknown filter `nosuchfilter`");
    }

    #[test]
    fn shell_and_kubectl_text_is_left_alone() {
        let text = "echo ${#list[@]} %{http_code} -o jsonpath='{.items[*].x}' {# no comment #}";
        assert_eq!(renderer().lines(text).unwrap(), text);
        assert_eq!(renderer().file(text).unwrap(), text);
    }

    #[test]
    fn lines_stay_where_they_are() {
        let faults = renderer().lines("a: 1\n{% if app %}\nb: 2\n  {%- endif %}").unwrap_err();
        let places: Vec<_> = faults.iter().map(|fault| (fault.at.line, fault.at.column)).collect();
        assert_eq!(places, [(2, 1), (4, 3)]);
        let faults = renderer().lines("a: {{ \"x\\ny\" }}\nb: 1\n").unwrap_err();
        assert_eq!(faults[0].code, Code::TemplateStatement);
    }

    #[test]
    fn what_fails_is_replaced_so_that_the_rest_can_be_read() {
        let text = "a: {{ nope }}-{{ app }}\nb: {{ app }}\n";
        assert_eq!(renderer().lines_anyway(text), "a: unknown-billing\nb: billing\n");
    }

    #[test]
    fn places_lead_back_to_the_source() {
        let source = "name: {{ app }}-x, {{ team }}: y";
        let rendered = "name: billing-x, otter: y";
        let place = |column| source_place(source, rendered, At { line: 1, column }).column;
        assert_eq!(place(1), 1);
        assert_eq!(place(7), 7, "the start of a value");
        assert_eq!(place(10), 7, "within a value");
        assert_eq!(place(14), 16, "the `-`");
        assert_eq!(place(18), 20, "the second value");
        assert_eq!(place(25), 32, "the last character");
    }

    #[test]
    fn values_that_are_made_of_others_must_differ_too() {
        let drawn = [("a", Drawn::Text("x".into())), ("b", Drawn::Template("{{ a }}".into()))];
        let drawn = drawn.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(Renderer::new(drawn).unwrap_err()[0].code, Code::ValuesCollide);
    }
}
