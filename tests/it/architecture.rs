//! Holds the drawing in `docs/architecture.md`: which module may use which, and the lines that are never crossed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// What each module may use of ours. A module that is missing here is a new one: give it its place.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            // what it asks and what it shows
            "lab",
            "author",
            "report",
            "tui",
            "ui",
            "layout",
            "config",
            // the data that goes between them
            "session",
            "scenario",
            "curriculum",
            "blueprint",
            "history",
            "progress",
            "diag",
            "cluster",
            // what it is made of: the clock, the program's own background process, the learner's shell
            "clock",
            "sim",
            "process",
            "persist",
        ],
    ),
    ("tui", &["lab", "exam", "report", "session", "ui", "layout"]),
    ("ui", &["lab", "layout", "session"]),
    (
        "lab",
        &[
            "author",
            "blueprint",
            "exam",
            "layout",
            "random",
            "verify",
            "seed",
            "grade",
            "session",
            "history",
            "progress",
            "report",
            "layout",
            "scenario",
            "curriculum",
            "cluster",
            "clock",
            "persist",
            "process",
            "diag",
        ],
    ),
    (
        "author",
        &[
            "verify",
            "seed",
            "grade",
            "scenario",
            "curriculum",
            "cluster",
            "check",
            "clock",
            "process",
            "diag",
        ],
    ),
    ("blueprint", &["exam", "scenario", "curriculum", "diag"]),
    ("exam", &["curriculum", "random"]),
    ("progress", &["history", "report", "session", "curriculum", "layout"]),
    ("history", &["report", "session", "persist"]),
    ("report", &["exam", "grade", "session", "scenario", "curriculum", "check", "layout", "persist"]),
    ("grade", &["check", "scenario"]),
    ("verify", &["check", "scenario", "cluster"]),
    ("seed", &["verify", "scenario", "cluster"]),
    ("session", &["clock", "cluster", "persist"]),
    ("scenario", &["check", "cluster", "curriculum", "cel", "diag", "random"]),
    ("check", &["audit_policy", "cluster", "cel", "diag", "clock"]),
    ("cluster", &["sim", "persist", "process"]),
    ("sim", &["audit_policy", "clock", "persist", "cel"]),
    ("audit_policy", &[]),
    ("config", &["persist"]),
    ("curriculum", &[]),
    ("random", &[]),
    ("layout", &[]),
    ("diag", &[]),
    ("cel", &[]),
    ("clock", &[]),
    ("persist", &[]),
    ("process", &[]),
];

/// A source file without comments, strings and tests.
struct Source {
    /// The path below `src`.
    path: PathBuf,
    /// What is left of the text; lines keep their numbers.
    code: String,
}

impl Source {
    /// Returns the module at the top that the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.iter().next().unwrap().to_str().unwrap();
        first.trim_end_matches(".rs")
    }

    fn is(&self, path: &str) -> bool {
        self.path == Path::new(path)
    }

    /// Tells whether the file is the module, or lies below it.
    fn within(&self, module: &str) -> bool {
        self.is(&format!("{module}.rs")) || self.path.starts_with(module)
    }

    /// Returns where a pattern occurs.
    fn places(&self, pattern: &Regex) -> Vec<String> {
        let line = |at: usize| self.code[..at].lines().count().max(1);
        let found = pattern.find_iter(&self.code);
        found
            .map(|found| format!("{}:{}: {}", self.path.display(), line(found.end()), found.as_str()))
            .collect()
    }
}

#[test]
fn modules_use_only_what_stands_below_them() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(module, uses)| (*module, uses.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(uses) = allowed.get(source.module()) else {
            if source.module() != "lib" {
                wrong.push(format!("{}: give the module its place in the table", source.path.display()));
            }
            continue;
        };
        for used in used(&source.code) {
            if used != source.module() && !uses.contains(used.as_str()) {
                wrong.push(format!("{} uses {used}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_arrow_turns_back() {
    let edges: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    fn visit<'a>(module: &'a str, edges: &BTreeMap<&'a str, &'a [&'a str]>, path: &mut Vec<&'a str>) {
        assert!(!path.contains(&module), "{} -> {module}", path.join(" -> "));
        path.push(module);
        for used in edges.get(module).copied().unwrap_or_else(|| panic!("{module} is not in the table")) {
            visit(used, edges, path);
        }
        path.pop();
    }
    for (module, _) in MAY_USE {
        visit(module, &edges, &mut Vec::new());
    }
}

#[test]
fn the_drawing_names_every_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let drawing = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let missing: Vec<&str> = MAY_USE
        .iter()
        .map(|(module, _)| *module)
        .filter(|module| !drawing.contains(&format!("| `{module}` |")))
        .collect();
    assert!(missing.is_empty(), "docs/architecture.md does not describe {missing:?}");
}

#[test]
fn only_the_registry_names_the_providers() {
    let adapters = ["kind", "kubeconfig", "sim"];
    never(r"\bcluster::(\{[^}]*\b)?(sim|kind|kubeconfig)\b(::|\s*[,;}])", |source| {
        // An adapter may of course name itself.
        source.is("cluster/registry.rs")
            || adapters.iter().any(|adapter| source.within(&format!("cluster/{adapter}")))
    });
    never(r"\b(Sim|Kind|Kubeconfig)Provider\b", |source| {
        source.is("cluster/registry.rs")
            || adapters.iter().any(|adapter| source.is(&format!("cluster/{adapter}.rs")))
    });
}

#[test]
fn only_ui_and_the_console_touch_the_terminal() {
    let terminal = r"\b(println|print|eprintln|eprint|dbg)!|\bio::(stdin|stdout|stderr)\(|\bterminal_size::|\bIsTerminal\b";
    never(terminal, |source| source.within("ui"));
    never(r"\b(ratatui|crossterm|ansi_to_tui|tui_input)\b", |source| source.within("tui"));
}

#[test]
fn only_process_spawns() {
    never(r"\b(process::Command\b|Command::new\b|Stdio\b)", |source| source.within("process"));
    never(r"\bprocess::exit\b", |_| false);
}

#[test]
fn only_the_clock_reads_the_time() {
    // Timers of the runtime, as in `tokio::time`, tell no time.
    never(
        r"\bstd::time::(\{[^}]*\b)?Instant\b|\b(SystemTime|Timestamp|Zoned)::now\b|\bclock_gettime\b",
        |source| source.is("clock.rs"),
    );
}

#[test]
fn only_cli_reads_the_environment() {
    // `env!` is of the build.
    let environment = r"\benv::(var|var_os|vars|vars_os|args|args_os|home_dir|current_dir|current_exe|temp_dir)\b|\betcetera::|\bpath::absolute\b";
    never(environment, |source| source.is("cli/environment.rs") || source.is("main.rs"));
}

#[test]
fn only_cel_uses_the_cel_crate() {
    never(r"(?m)(^|[^\w])::cel::|^\s*(pub )?use cel\b", |source| source.within("cel"));
}

#[test]
fn there_are_no_drawers_for_odds_and_ends() {
    let wrong: Vec<PathBuf> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            ["mod", "util", "utils", "helpers", "common", "misc", "shared"].contains(&name)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_file_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in files(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        let tests = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let head = text.lines().take_while(|line| line.starts_with("//!")).count();
        if !tests && !(1..=6).contains(&head) {
            wrong.push(format!("{}: {head} lines of `//!`", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Asserts that a pattern occurs only where `allowed` says.
fn never(pattern: &str, allowed: impl Fn(&Source) -> bool) {
    let pattern = Regex::new(pattern).unwrap();
    let all = sources();
    let wrong: Vec<String> =
        all.iter().filter(|source| !allowed(source)).flat_map(|source| source.places(&pattern)).collect();
    assert!(wrong.is_empty(), "{pattern}\n{wrong:#?}");
    assert!(!all.is_empty());
}

/// Lists the modules that code names after `crate::`.
fn used(code: &str) -> BTreeSet<String> {
    let path = Regex::new(r"\bcrate::(?:([a-z_]+)|\{)").unwrap();
    let mut used = BTreeSet::new();
    for found in path.captures_iter(code) {
        match found.get(1) {
            Some(name) => {
                used.insert(name.as_str().to_owned());
            }
            None => used.extend(first_names(&code[found.get(0).unwrap().end()..])),
        }
    }
    used
}

/// Returns the first name of each entry of a `use` list, whose opening brace was read already.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut entries) = (1, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (letter == ',' && depth == 1) || depth == 0 {
            entries.push(list[start..at].trim());
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    let name = |entry: &str| entry.split([':', ' ', '{']).next().unwrap_or_default().to_owned();
    entries.into_iter().map(name).filter(|name| !name.is_empty()).collect()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let tests = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub\(crate\) )?mod \w+ \{").unwrap();
    let test_modules = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub\(crate\) )?mod (\w+);").unwrap();
    let mut found = Vec::new();
    let mut for_tests: BTreeSet<PathBuf> = BTreeSet::new();
    for path in files(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        for module in test_modules.captures_iter(&text) {
            let folder = match path.file_name().unwrap().to_str().unwrap() {
                "lib.rs" | "main.rs" => root.clone(),
                _ => path.with_extension(""),
            };
            for_tests.insert(folder.join(&module[1]));
        }
        let end = tests.find(&text).map_or(text.len(), |found| found.start());
        found.push((path, bare(&text[..end])));
    }
    found.retain(|(path, _)| {
        !for_tests.iter().any(|module| path.with_extension("") == *module || path.starts_with(module))
    });
    let source =
        |(path, code): (PathBuf, String)| Source { path: path.strip_prefix(&root).unwrap().to_owned(), code };
    found.into_iter().map(source).collect()
}

/// Takes comments and the content of strings away, and keeps the lines.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#") => raw(rest),
            '"' => quoted(rest, b'"'),
            // A lifetime has no closing quote.
            '\'' if rest[1..].starts_with('\\') => quoted(rest, b'\''),
            '\'' => match rest[1..].chars().next() {
                Some(inner) if rest[1 + inner.len_utf8()..].starts_with('\'') => 2 + inner.len_utf8(),
                _ => 0,
            },
            _ => 0,
        };
        if skipped > 0 {
            if letter != '/' {
                out.push_str("\"\"");
            }
            out.extend(rest[..skipped].matches('\n'));
            rest = &rest[skipped..];
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out
}

/// Returns the length of a raw string at the beginning; 0 where there is none.
fn raw(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let begin = 2 + hashes;
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[begin..].find(&close).map_or(text.len(), |end| begin + end + close.len())
}

/// Returns the length of a quoted text at the beginning.
fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_read_from_a_source_is_what_it_says() {
    let code = bare(
        "use crate::{a::B, c::{D, e}}; // crate::no\nlet x = \"crate::no\"; crate::f::g(); '\"'; crate::h::I\n/* crate::no */",
    );
    assert_eq!(used(&code), ["a", "c", "f", "h"].map(str::to_owned).into());
}
