//! The product through its binary: every scenario that is built in proves itself, and sessions end when told to.

#![expect(clippy::disallowed_methods, reason = "the tests run the binary itself")]

use std::path::Path;
use std::process::{Command, Output};

fn cks_lab(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cks-lab"));
    command.args(args).env("CKS_LAB_HOME", home).env_remove("CKS_LAB_SESSION");
    command
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_scenario_that_is_built_in_is_proven() {
    let home = tempfile::tempdir().unwrap();
    let output = cks_lab(home.path(), &["author", "test"]).output().unwrap();
    let text = words(&output);
    assert!(output.status.success() && text.contains("proven on sim"), "{text}");
}

/// A shell that `env` has set up names its session in the environment; `--all` means all of them nevertheless.
#[test]
fn all_sessions_end_also_from_the_shell_of_one() {
    let home = tempfile::tempdir().unwrap();
    let start = ["start", "no-doors-outside", "--provider", "sim", "--output", "json"];
    let output = cks_lab(home.path(), &start).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let started: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut stop = cks_lab(home.path(), &["stop", "--all", "--yes"]);
    let output = stop.env("CKS_LAB_SESSION", started["session"].as_str().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert!(!Path::new(started["kubeconfig"].as_str().unwrap()).exists());
}

#[test]
fn a_scenario_that_is_not_there_is_named_with_the_one_that_is_meant() {
    let home = tempfile::tempdir().unwrap();
    let output = cks_lab(home.path(), &["start", "no-doors-outsid"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(words(&output).contains("did you mean `no-doors-outside`?"), "{}", words(&output));
}
