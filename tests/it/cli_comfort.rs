//! What makes it pleasant: watching, completions that know scenarios and sessions, manual pages, quiet, the tour.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::schema::assert_valid;
use crate::cli::{Home, binary, ran, text, until};

const SCENARIO: &str = "shrink-the-publisher";

/// The lines of JSON in a log.
fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_task_is_judged_again_when_the_cluster_or_a_file_changed() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    let log = home.path("log");
    let mut watching = home.command(&["check", "--watch", "--output", "json"]).spawn_detached(&log).unwrap();
    until("it is judged at once", || lines(&log).len() == 1).await;
    home.expect(0, &["solution", "--apply"]).await;
    until("all passes", || lines(&log).last().is_some_and(|line| line["report"]["passed"] == true)).await;
    let judged = lines(&log);
    for line in &judged {
        assert_valid("check-watch", line);
    }
    assert_eq!(
        (&judged[0]["number"], &judged[0]["changed"], &judged[0]["report"]["score"]),
        (&1.into(), &Value::Array(vec![]), &0.into())
    );
    let changed: Vec<&Value> =
        judged.iter().skip(1).flat_map(|line| line["changed"].as_array().unwrap()).collect();
    assert!(changed.iter().any(|change| text(change).contains("RoleBinding ")), "{changed:?}");
    let passed: Vec<&Value> =
        judged.iter().flat_map(|line| line["newlyPassed"].as_array().unwrap()).collect();
    assert!(!passed.is_empty(), "{judged:#?}");

    std::fs::write(Path::new(text(&started["taskDir"])).join("answer.txt"), "42\n").unwrap();
    until("the file is seen", || {
        let seen =
            |line: &Value| line["changed"].as_array().unwrap().contains(&"file answer.txt created".into());
        lines(&log).iter().any(seen)
    })
    .await;
    // Other commands go on meanwhile.
    home.expect(0, &["hint"]).await;
    kill(Pid::from_raw(i32::try_from(watching.pid()).unwrap()), Signal::SIGINT).unwrap();
    let mut status = None;
    until("it ends", || {
        status = watching.ended().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap(), "status 0", "what was judged last had passed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_says_what_became_of_a_change_and_ends_with_its_session() {
    let home = Home::new();
    home.start(SCENARIO).await;
    let log = home.path("log");
    let mut watching = home.command(&["check", "--watch"]).spawn_detached(&log).unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("it is judged at once", || said().contains("Ctrl-C ends it")).await;
    home.expect(0, &["solution", "--apply"]).await;
    until("all passes", || said().contains("7 of 7 points, passed")).await;
    assert!(said().contains("✓ now passes") && said().contains("RoleBinding"), "{}", said());
    home.expect(0, &["submit"]).await;
    let mut status = None;
    until("it ends with the session", || {
        status = watching.ended().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap(), "status 0", "{}", said());
    assert!(said().contains("The session has ended."), "{}", said());
    home.expect(2, &["check", "--watch"]).await.says(&["is submitted"]);
}

#[tokio::test]
async fn an_exam_is_not_watched() {
    let home = Home::new();
    home.json(0, &["exam", "start", "--tasks", "1", "--variant", "4", "--provider", "sim", "--yes"]).await;
    home.expect(2, &["check", "--watch"]).await.says(&["is an exam", "shown after it is submitted"]);
    home.expect(0, &["exam", "abort", "--yes"]).await;
}

/// What bash offers for the last word of a line.
async fn offered(home: &Home, line: &[&str]) -> Vec<String> {
    let words: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "source <({program} completions bash) || exit 9\n\
         COMP_WORDS=({words}); COMP_CWORD={last}; COMP_TYPE=9\n\
         _clap_complete_cks_lab cks-lab '{current}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        program = binary().display(),
        words = words.join(" "),
        last = line.len() - 1,
        current = line[line.len() - 1],
    );
    let ran = ran(&home.program("bash").args(["-c", &script])).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    ran.stdout.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn a_shell_offers_scenarios_sessions_domains_and_options() {
    let home = Home::new();
    assert_eq!(offered(&home, &["cks-lab", "start", "shrink-the-pub"]).await, [SCENARIO]);
    assert!(offered(&home, &["cks-lab", "show", ""]).await.len() > 20, "all scenarios");
    assert!(offered(&home, &["cks-lab", "check", "--session", ""]).await.is_empty(), "there is none yet");
    let started = home.start(SCENARIO).await;
    assert_eq!(offered(&home, &["cks-lab", "check", "--session", ""]).await, [text(&started["session"])]);
    assert_eq!(offered(&home, &["cks-lab", "report", "shr"]).await, [text(&started["session"])]);
    assert_eq!(offered(&home, &["cks-lab", "list", "--domain", "cluster-h"]).await, ["cluster-hardening"]);
    assert_eq!(offered(&home, &["cks-lab", "progress", "--track", "v1.3"]).await, ["v1.34"]);
    assert_eq!(offered(&home, &["cks-lab", "prac"]).await, ["practise"]);
    assert!(offered(&home, &["cks-lab", "check", "--wa"]).await.contains(&"--watch".to_owned()));

    // Those of the learner's own folder, where there is one.
    let scenarios = home.scenarios(|text| text + "\n");
    let config = home.state().join("config.yaml");
    std::fs::write(&config, format!("scenarios: {scenarios}\n")).unwrap();
    assert_eq!(
        offered(&home, &["cks-lab", "start", ""]).await.into_iter().find(|word| !word.starts_with('-')),
        Some("base".to_owned())
    );
    // Nothing is said in the middle of a line, whatever is wrong.
    std::fs::write(&config, "nonsense: [").unwrap();
    offered(&home, &["cks-lab", "start", "x"]).await;
    std::fs::remove_file(&config).unwrap();
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command_and_is_well_formed() {
    let home = Home::new();
    let folder = home.path("man1");
    let dir = folder.to_str().unwrap();
    home.expect(0, &["man", "--dir", dir]).await.says(&["pages written to"]);
    let pages: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for page in ["cks-lab.1", "cks-lab-start.1", "cks-lab-report-verify.1", "cks-lab-exam-start.1"] {
        assert!(folder.join(page).exists(), "{page} is missing in {pages:?}");
    }
    assert!(!folder.join("cks-lab-sim-server.1").exists(), "what is hidden has no page");
    let lint = home.program("mandoc").args(["-T", "lint", "-W", "error"]).args(&pages);
    let linted = ran(&lint).await;
    assert_eq!((linted.status, linted.stdout.as_str()), (0, ""), "{linted:?}");
    let shown = ran(&home.program("mandoc").args(["-T", "utf8"]).arg(folder.join("cks-lab-check.1"))).await;
    // Bold letters are struck twice.
    let plain = regex::Regex::new(".\u{8}").unwrap().replace_all(&shown.stdout, "").into_owned();
    assert!(plain.contains("Judge the work as it stands") && plain.contains("--watch"), "{plain}");
    home.expect(0, &["man"]).await.shows(&[".TH cks-lab 1"]);
}

#[tokio::test]
async fn quiet_takes_the_remarks_and_leaves_data_warnings_and_errors() {
    let home = Home::new();
    let started = home.expect(0, &["start", SCENARIO, "--provider", "sim", "--quiet"]).await;
    assert!(started.stderr.is_empty(), "{}", started.stderr);
    started.shows(&["A pipeline that owns the cluster"]);
    let checked = home.expect(1, &["-q", "check"]).await;
    assert!(checked.stderr.is_empty() && checked.stdout.contains("0 of 7 points"), "{checked:?}");
    home.expect(2, &["check", "--quiet", "--session", "none"]).await.says(&["error:", "hint:"]);
    home.expect(0, &["stop", "--yes", "--quiet"]).await;
}

#[tokio::test]
async fn who_has_done_nothing_is_shown_around_and_who_has_is_not() {
    let home = Home::new();
    home.expect(0, &[]).await.says(&["cks-lab in a minute", "cks-lab shell", "nothing leaves this machine"]);
    assert!(home.expect(0, &["--quiet"]).await.stderr.is_empty());
    home.expect(0, &["tour"]).await.shows(&["cks-lab in a minute", "cks-lab exam start"]);
    home.start(SCENARIO).await;
    let later = home.expect(0, &[]).await;
    assert!(!later.stderr.contains("in a minute"), "{}", later.stderr);
    home.expect(1, &["submit"]).await;
    home.expect(0, &["clean", "--yes"]).await;
    let later = home.expect(0, &[]).await;
    assert!(!later.stderr.contains("in a minute"), "{}", later.stderr);
    later.says(&["cks-lab next"]);
}
