//! Reads the blueprints of `tests/fixtures/blueprints`: each below `invalid` has exactly the fault that it is named after.

use std::collections::BTreeSet;

use super::*;
use crate::scenario::catalog::Catalog;

const PROVIDERS: [&str; 3] = ["auto", "sim", "kind"];

fn read(file: &str) -> Result<Blueprint, Vec<Diagnostic>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blueprints").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let catalog = Catalog::embedded();
    parse(&text, Path::new(file), Known { scenarios: catalog.summaries(), providers: &PROVIDERS })
}

fn names(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blueprints").join(folder);
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn each_fault_is_found_alone_and_at_its_place() {
    let mut shown = BTreeSet::new();
    for name in names("invalid") {
        let faults = read(&format!("invalid/{name}")).unwrap_err();
        let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
        let code = name.trim_end_matches(".yaml");
        assert_eq!(codes, [code], "{faults:#?}");
        // The line at fault says so itself, in a comment.
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/blueprints/invalid").join(&name);
        let text = std::fs::read_to_string(path).unwrap();
        let marked = text.lines().position(|line| line.ends_with("# here"));
        let line = faults[0].span.as_ref().map(|span| span.line as usize);
        assert_eq!(line, marked.map(|line| line + 1), "{name}");
        shown.insert(code.to_owned());
    }
    for code in Code::ALL {
        assert!(shown.contains(code.as_str()), "no fixture shows `{}`", code.as_str());
    }
}

#[test]
fn all_faults_are_found_at_once_in_the_order_of_the_file() {
    let faults = read("many.yaml").unwrap_err();
    let codes: Vec<&str> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(codes, ["unknown-track", "bad-number", "bad-link", "unknown-scenario", "unknown-domain"]);
    assert!(faults.iter().all(|fault| fault.span.is_some()));
}

#[test]
fn what_is_valid_says_what_it_plans() {
    for name in names("valid") {
        read(&format!("valid/{name}")).unwrap();
    }
    let week = read("valid/week.yaml").unwrap();
    assert_eq!((week.title.as_str(), week.minutes, week.pass_mark), ("Week 3", Some(60), Some(70)));
    assert_eq!((week.variant, week.provider.as_deref(), week.open_book), (Some(12), Some("sim"), true));
    assert_eq!(week.allowed_links, ["https://kubernetes.io/docs/"]);
    let picks: Vec<&Pick> = week.slots.iter().map(|slot| &slot.pick).collect();
    let hardening = Pick::Drawn(Some("cluster-hardening".to_owned()));
    let fixed = Pick::Fixed("strangers-at-the-api".to_owned());
    assert_eq!(picks, [&fixed, &hardening, &hardening, &Pick::Drawn(None)]);
    assert_eq!(week.variants, [Some(7), None, None, None]);
    let weights: Vec<Option<u32>> = week.slots.iter().map(|slot| slot.weight).collect();
    assert_eq!(weights, [Some(40), Some(15), Some(15), None]);
}
