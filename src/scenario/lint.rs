//! What is allowed and yet unwise: the rules that make a scenario worth a learner's time. Warnings only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::code::Code;
use super::fault::Fault;
use super::raw::{Placed, RawCheck, RawScenario, RawVars};
use super::{Difficulty, Scenario};
use crate::check::CheckKind;

const FEWEST_HINTS: usize = 2;
const FEWEST_WRONG_PROOFS: usize = 3;

/// Finds what is unwise in a valid scenario; places are those of the rendered text.
pub(crate) fn scenario(
    raw: &RawScenario,
    vars: &RawVars,
    scenario: &Scenario,
    used: &BTreeSet<String>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, var) in vars.vars.iter().filter(|(name, _)| !used.contains(*name)) {
        faults.push(Fault::new(
            Code::UnusedVariable,
            var.at,
            format!("the variable `{name}` is used nowhere"),
        ));
    }
    time(raw, &mut faults);
    if raw.hints.0.len() < FEWEST_HINTS {
        let message = format!("there are {} hints, expected at least {FEWEST_HINTS}", raw.hints.0.len());
        faults.push(Fault::new(Code::FewHints, raw.hints.at, message));
    }
    if let Some(attack) = &raw.attack
        && attack.before.exit == attack.after.exit
    {
        let message = "`before` and `after` expect the same exit status";
        faults.push(Fault::new(Code::IndistinctAttack, attack.at, message));
    }
    if !raw.checks.iter().any(|check| check.gate) {
        faults.push(Fault::new(Code::NoGate, raw.checks.at, "no check is a gate"));
    }
    for check in raw.checks.iter() {
        if check.why.trim().is_empty() {
            let message = format!("`{}` does not say why it matters", check.id.value);
            faults.push(Fault::new(Code::MissingWhy, check.at, message));
        }
        names(check, &scenario.task, &mut faults);
    }
    proofs(raw, scenario, &mut faults);
    faults
}

/// Leaves of `files`, to which the scenario itself does not refer, those that no step mentions either.
pub(crate) fn unreferenced(scenario: &Scenario, files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut steps: Vec<&str> = vec![&scenario.solution.run];
    steps.extend(scenario.attack.iter().map(|attack| attack.run.as_str()));
    steps.extend(scenario.proofs.right.iter().map(|proof| proof.run.as_str()));
    steps.extend(scenario.proofs.wrong.iter().map(|proof| proof.run.as_str()));
    let mentioned = |file: &PathBuf| {
        scenario.step_files.contains_key(file)
            && file.to_str().is_some_and(|file| steps.iter().any(|step| step.contains(file)))
    };
    files.into_iter().filter(|file| !mentioned(file)).collect()
}

fn time(raw: &RawScenario, faults: &mut Vec<Fault>) {
    let (minutes, said) = (raw.minutes.value, raw.difficulty.value);
    let fits = Difficulty::of_minutes(minutes);
    if minutes > 0 && fits == Some(said) {
        return;
    }
    let message = match fits {
        Some(fits) if minutes > 0 => format!("{minutes} minutes are `{fits}`, not `{said}`"),
        _ => format!("{minutes} minutes are of no difficulty: from 1 to {}", Difficulty::Deep.most_minutes()),
    };
    faults.push(Fault::new(Code::MinutesDifficulty, raw.minutes.at, message));
}

fn proofs(raw: &RawScenario, scenario: &Scenario, faults: &mut Vec<Fault>) {
    let (at, proofs) = (raw.proofs.at, &scenario.proofs);
    if proofs.right.is_empty() {
        faults.push(Fault::new(Code::NoAlternative, at, "there is no other right fix"));
    }
    if proofs.wrong.len() < FEWEST_WRONG_PROOFS {
        let message =
            format!("there are {} wrong fixes, expected at least {FEWEST_WRONG_PROOFS}", proofs.wrong.len());
        faults.push(Fault::new(Code::FewWrongProofs, at, message));
    }
    for (check, item) in raw.checks.iter().zip(&scenario.checks) {
        let id = &item.id;
        if item.is_gate() && !proofs.wrong.iter().any(|proof| proof.breaks.contains(id)) {
            let message = format!("no wrong fix breaks the gate `{id}`");
            faults.push(Fault::new(Code::GateUnproven, check.id.at, message));
        }
        let told = |earns: &BTreeSet<_>, breaks: &BTreeSet<_>| breaks.is_empty() && !earns.contains(id);
        if !item.is_gate() && !proofs.wrong.iter().any(|proof| told(&proof.earns, &proof.breaks)) {
            let message = format!("no wrong fix that leaves the gates whole fails the check `{id}`");
            faults.push(Fault::new(Code::CheckUnproven, check.id.at, message));
        }
    }
}

/// Looks for names that a check grades and the task text does not give. Best effort: names of objects, files and
/// subjects; not what must be refused, what is merely compared, or what the learner is to find.
fn names(check: &Placed<RawCheck>, task: &str, faults: &mut Vec<Fault>) {
    if check.unnamed || matches!(check.assert.value, CheckKind::Unchanged(_)) {
        return;
    }
    let Ok(spec) = serde_json::to_value(&check.assert.value) else { return };
    let mut graded = BTreeSet::new();
    collect(&spec, &mut graded);
    for name in graded.into_iter().filter(|name| !task.contains(name.as_str())) {
        let message = format!("`{}` grades `{name}`, which the task text does not name", check.id.value);
        faults.push(
            Fault::new(Code::NameNotInTask, check.assert.at, message)
                .help("name it in the task text, or write `unnamed: true` when finding it is the task"),
        );
    }
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    const NAMES: [&str; 8] =
        ["name", "names", "namespace", "serviceAccount", "user", "file", "service", "pod"];
    const NOT_ASKED: [&str; 12] = [
        "manifest", "base", "facts", "denied", "refused", "from", "requests", "events", "logs", "nodes",
        "packages", "absent",
    ];
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !NOT_ASKED.contains(&key.as_str())) {
                match value {
                    Value::String(text) if NAMES.contains(&key.as_str()) => add(text, names),
                    Value::Array(items) if NAMES.contains(&key.as_str()) || key == "of" => {
                        items.iter().filter_map(Value::as_str).for_each(|text| add(text, names));
                    }
                    _ => collect(value, names),
                }
            }
        }
        _ => {}
    }
}

fn add(text: &str, names: &mut BTreeSet<String>) {
    const GIVEN: [&str; 3] = ["default", "kube-system", "kubernetes"];
    let own = text.rsplit('/').next().unwrap_or(text);
    if !own.is_empty() && !own.contains(['*', '?']) && !text.starts_with("system:") && !GIVEN.contains(&own) {
        names.insert(own.to_owned());
    }
}
