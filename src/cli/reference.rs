//! The reference, generated from the command line and the types themselves. `tests/it/cli_reference.rs` holds
//! `docs/reference/` in step with it.

use std::fmt::Write as _;

use clap::{Arg, Command};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::command;
use super::exit::Exit;
use crate::author::TestReport;
use crate::blueprint;
use crate::config::Config;
use crate::curriculum::Curriculum;
use crate::lab::exam::view as exam;
use crate::lab::view;
use crate::report::{Report, Submitted, TaskReport};
use crate::scenario::catalog::{Catalog, Summary};

/// Returns every generated file of `docs/reference/`, by its name.
pub fn files() -> Vec<(String, String)> {
    let mut files = vec![
        ("cli.md".to_owned(), commands()),
        ("exit-codes.md".to_owned(), exit_codes()),
        ("output.md".to_owned(), outputs()),
        ("scenarios.md".to_owned(), scenarios()),
        ("config.schema.json".to_owned(), schema::<Config>("config.yaml")),
    ];
    files.push(("blueprint.schema.json".to_owned(), blueprint::schema_text()));
    files.push(("blueprint-codes.md".to_owned(), blueprint_codes()));
    for (name, _, schema) in shapes() {
        files.push((format!("{name}.schema.json"), schema));
    }
    files
}

/// The shapes of JSON output: the name, what prints it, the schema.
fn shapes() -> Vec<(&'static str, &'static str, String)> {
    macro_rules! shapes {
        ($($name:literal, $what:literal, $shape:ty;)*) => { vec![$(($name, $what, schema::<$shape>($what))),*] };
    }
    shapes! {
        "list", "cks-lab list", view::ListView;
        "show", "cks-lab show", view::ShowView;
        "start", "cks-lab start, cks-lab reset, cks-lab next", view::Started;
        "env", "cks-lab env", view::EnvView;
        "check", "cks-lab check", TaskReport;
        "check-watch", "cks-lab check --watch", crate::lab::watch::Judged;
        "hint", "cks-lab hint", view::HintView;
        "task", "cks-lab task", view::TaskView;
        "status", "cks-lab status, cks-lab", view::StatusView;
        "solution", "cks-lab solution", view::SolutionView;
        "submit", "cks-lab submit", Submitted;
        "stop", "cks-lab stop, cks-lab clean", view::Removed;
        "doctor", "cks-lab doctor", view::DoctorView;
        "curriculum", "cks-lab curriculum", view::CurriculumView;
        "report", "cks-lab report", Report;
        "report-verify", "cks-lab report verify", super::report::Verified;
        "report-merge", "cks-lab report merge", crate::report::cohort::Cohort;
        "progress", "cks-lab progress", crate::progress::Progress;
        "practise", "cks-lab practise", super::practise::Practised;
        "history-export", "cks-lab history export", super::history::Exported;
        "history-import", "cks-lab history import", crate::history::Imported;
        "exam-start", "cks-lab exam start", exam::ExamStarted;
        "exam-plan", "cks-lab exam start --plan", exam::ExamPlan;
        "exam-rules", "cks-lab exam rules", exam::ExamRules;
        "exam-status", "cks-lab exam status, cks-lab exam resume, cks-lab exam flag, cks-lab exam note", exam::ExamStatus;
        "exam-task", "cks-lab exam task, cks-lab exam next", exam::ExamTaskView;
        "exam-submit", "cks-lab exam submit, cks-lab exam review", exam::ExamResult;
        "author-new", "cks-lab author new", super::author::Made;
        "author-lint", "cks-lab author lint", super::author::Linted;
        "author-test", "cks-lab author test", TestReport;
    }
}

fn schema<T: JsonSchema>(what: &str) -> String {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), Value::String(what.to_owned()));
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn outputs() -> String {
    let mut page = String::from(
        "# JSON output\n\nEvery command that shows data prints it as JSON with `--output json`, to stdout and \
         alone. New fields may be added; none is taken away or given another meaning.\n\n| schema | printed by |\n|---|---|\n",
    );
    for (name, what, _) in shapes() {
        let commands: Vec<String> = what.split(", ").map(|command| format!("`{command}`")).collect();
        let _ = writeln!(page, "| [{name}]({name}.schema.json) | {} |", commands.join(", "));
    }
    page
}

fn blueprint_codes() -> String {
    let mut page = String::from(
        "# Faults of blueprints\n\nA blueprint with a fault starts no exam; all faults are shown at once. Faults of its \
         structure have the codes of [scenarios](lint-codes.md), such as `unknown-field`.\n\n| code | meaning |\n|---|---|\n",
    );
    for code in blueprint::code::Code::ALL {
        let _ = writeln!(page, "| `{}` | {} |", code.as_str(), code.describe());
    }
    page
}

fn scenarios() -> String {
    let catalog = Catalog::embedded();
    let curriculum = Curriculum::builtin();
    let mut page = String::from(
        "# Scenarios\n\nThose that are built in, by the domains of the newest track. What each needs decides which providers \
         can serve; `sim` has all but `nodes`.\n",
    );
    let newest = curriculum.newest();
    let domain_of = |summary: &Summary| {
        let here = curriculum.places_in(&summary.topic, newest).first().copied();
        here.or_else(|| curriculum.places(&summary.topic).pop()).map(|place| place.domain.id.clone())
    };
    for domain in &newest.domains {
        let _ = write!(
            page,
            "\n## {} ({} %)\n\n| scenario | title | topic | difficulty | minutes | points | needs |\n|---|---|---|---|---|---|---|\n",
            domain.title, domain.weight
        );
        for summary in
            catalog.summaries().iter().filter(|summary| domain_of(summary) == Some(domain.id.clone()))
        {
            let needs: Vec<&str> = summary.needs.iter().map(|need| need.words()).collect();
            let Summary { id, title, topic, minutes, points, difficulty, .. } = summary;
            let difficulty = serde_json::to_value(difficulty).unwrap_or_default();
            let _ = writeln!(
                page,
                "| `{id}` | {title} | {topic} | {} | {minutes} | {} | {} |",
                difficulty.as_str().unwrap_or_default(),
                points.0,
                needs.join(", ")
            );
        }
    }
    for track in curriculum.tracks() {
        let _ = write!(page, "\n## Coverage of {}\n\n| topic | scenarios |\n|---|---|\n", track.title);
        for (_, topic) in track.topics() {
            let of = |summary: &&Summary| {
                let places = curriculum.places_in(&summary.topic, track);
                places.iter().any(|place| place.topic.id == topic.id)
            };
            let here: Vec<String> =
                catalog.summaries().iter().filter(of).map(|summary| format!("`{}`", summary.id)).collect();
            let here = if here.is_empty() { "none yet".to_owned() } else { here.join(", ") };
            let _ = writeln!(page, "| {} | {here} |", topic.title);
        }
    }
    page
}

fn exit_codes() -> String {
    let mut page = String::from("# Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        let _ = writeln!(page, "| {} | {} |", exit.code(), exit.meaning());
    }
    page.push_str("\n`cks-lab shell -- COMMAND` exits with what the command exits with.\n");
    page
}

fn commands() -> String {
    let mut root = command();
    root.build();
    let mut page = format!("# Commands\n\n{}\n", about(&root));
    page.push_str("\n## Options of every command\n\n");
    for arg in root.get_arguments().filter(|arg| arg.is_global_set()) {
        option(&mut page, arg);
    }
    for sub in visible(&root) {
        section(&mut page, sub, "cks-lab", 2);
    }
    page
}

fn section(page: &mut String, command: &Command, parent: &str, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let _ = write!(page, "\n{} {name}\n\n{}\n", "#".repeat(level), about(command));
    if !command.is_subcommand_required_set() {
        usage(page, command, parent);
    }
    for sub in visible(command) {
        section(page, sub, &name, level + 1);
    }
}

fn usage(page: &mut String, command: &Command, parent: &str) {
    let usage = command.clone().render_usage().to_string();
    let lines = usage.trim_start_matches("Usage:").lines().map(|line| match line.trim() {
        line if line.starts_with("cks-lab") => line.to_owned(),
        line => format!("{parent} {line}"),
    });
    let _ = write!(page, "\n```\n{}\n```\n", lines.collect::<Vec<_>>().join("\n"));
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help")
        .collect();
    if !own.is_empty() {
        page.push('\n');
    }
    for arg in own {
        option(page, arg);
    }
}

fn option(page: &mut String, arg: &Arg) {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let mut name = names.join(", ");
    let values: Vec<String> = arg.get_value_names().into_iter().flatten().map(ToString::to_string).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        let space = if name.is_empty() { "" } else { " " };
        name.push_str(&format!("{space}<{}>", values.join("> <")));
    }
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let possible: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !possible.is_empty() {
        help.push_str(&format!(" ({})", possible.join(", ")));
    }
    if let Some(env) = arg.get_env() {
        help.push_str(&format!(" [{}]", env.to_string_lossy()));
    }
    let _ = writeln!(page, "- `{name}`: {help}");
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}
