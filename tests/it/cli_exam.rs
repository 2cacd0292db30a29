//! Sits exams of both tracks through the real binary: solved, untouched, half solved, with a crash in the middle, and
//! past the end of the time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cks_lab::author::steps::Steps;
use cks_lab::process::HostCommand;
use cks_lab::scenario::Variant;
use cks_lab::scenario::catalog::Catalog;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::{Home, search_path, text, until};
use crate::kind::node_image;

/// An exam that is being sat.
struct Sat {
    home: Home,
    started: Value,
}

impl Sat {
    async fn start(track: &str, variant: &str) -> Self {
        let home = Home::new();
        let args = ["exam", "start", "--track", track, "--tasks", "6", "--variant", variant];
        let started = home.json(0, &[args.as_slice(), &["--provider", "sim", "--yes"]].concat()).await;
        Self { home, started }
    }

    fn tasks(&self) -> &Vec<Value> {
        self.started["tasks"].as_array().unwrap()
    }

    fn session(&self) -> Value {
        let file =
            self.home.state().join("sessions").join(text(&self.started["session"])).join("session.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    /// Does what the solution of a task does.
    async fn solve(&self, index: usize) {
        let session = self.session();
        let task = &session["data"]["tasks"][index];
        let variant = Variant(task["variant"].as_u64().unwrap().try_into().unwrap());
        let scenario = Catalog::embedded().load(text(&task["scenario"]), variant).unwrap();
        let scratch = self.home.path(&format!("scratch-{index}"));
        std::fs::create_dir(&scratch).unwrap();
        let kubeconfig = Path::new(text(&task["cluster"]["record"]["kubeconfig"]));
        let dir = Path::new(text(&task["dir"]));
        let path = search_path();
        let steps =
            Steps::prepare(&scratch, &scenario, kubeconfig, dir, path.as_ref(), Duration::from_secs(120));
        let done = steps.unwrap().run(&scenario.solution.run).await.unwrap();
        assert_eq!(done.status, 0, "{}: {}", scenario.id, done.stderr_text());
    }

    async fn end(self) {
        self.home.expect(0, &["exam", "abort", "--yes"]).await;
        assert_eq!(self.home.left(), Vec::<std::path::PathBuf>::new());
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solved_exam_is_worth_everything_even_with_a_crash_in_the_middle() {
    let sat = Sat::start("v1.34", "5").await;
    let tasks = sat.tasks();
    assert_eq!(tasks.len(), 6);
    assert_eq!(tasks.iter().map(|task| number(&task["weight"])).sum::<u64>(), 100);
    let hosts: BTreeSet<&str> = tasks.iter().map(|task| text(&task["host"])).collect();
    assert_eq!(hosts.len(), 6, "each task has a host of its own");
    assert!(sat.started["deadline"].is_string());

    let home = &sat.home;
    for command in ["check", "hint", "solution"] {
        home.expect(2, &[command]).await.says(&["is an exam", "shown after it is submitted"]);
    }
    home.expect(0, &[]).await.says(&["cks-lab exam status", "cks-lab exam submit"]);
    let shown = home.json(0, &["exam", "task", "2"]).await;
    assert_eq!((number(&shown["number"]), number(&shown["of"])), (2, 6));
    assert!(!text(&shown["text"]).is_empty());
    let flagged = home.json(0, &["exam", "flag"]).await;
    assert_eq!(flagged["tasks"][1]["flagged"], true);
    home.json(0, &["exam", "note", "3", "look", "again"]).await;
    assert_eq!(number(&home.json(0, &["exam", "next"]).await["number"]), 3);
    home.expect(2, &["ssh", "nowhere"]).await.says(&["no task", "hosts:"]);
    let inside =
        home.expect(0, &["ssh", text(&tasks[3]["host"]), "--", "kubectl", "get", "namespaces"]).await;
    inside.shows(&["kube-system"]);

    for index in 0..3 {
        sat.solve(index).await;
    }
    // The cluster's server and the keeper of the clock die; the next command brings both back.
    kill(Pid::from_raw(home.server().unwrap()), Signal::SIGKILL).unwrap();
    let resumed = home.json(0, &["exam", "resume"]).await;
    assert_eq!(number(&resumed["current"]), 4, "it is known where the candidate was");
    assert_eq!(resumed["tasks"][2]["note"], "look again");
    home.expect(0, &["ssh", text(&tasks[3]["host"]), "--", "true"]).await;
    home.expect(2, &["exam", "review"]).await.says(&["shown after it is submitted"]);
    for index in 3..6 {
        sat.solve(index).await;
    }
    let result = home.json(0, &["exam", "submit", "--yes"]).await;
    assert_eq!(
        (result["score"].as_f64(), &result["passed"]),
        (Some(100.0), &Value::Bool(true)),
        "{result:#}"
    );
    assert_eq!(result["domains"].as_array().unwrap().len(), 6);
    assert_eq!(
        home.json(0, &["exam", "submit", "--yes"]).await["score"],
        result["score"],
        "it is graded once"
    );
    let review = home.json(0, &["exam", "review", "1"]).await;
    assert!(review["checks"].as_array().unwrap().iter().all(|check| check["outcome"] == "pass"));
    home.expect(0, &["check"]).await;
    sat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_exam_is_worth_the_weights_of_its_half_and_nothing_done_is_worth_nothing() {
    let sat = Sat::start("v1.19", "2").await;
    let untouched = Sat::start("v1.19", "2").await;
    assert_eq!(sat.started["tasks"], untouched.started["tasks"], "the same number gives the same exam");
    let nothing = untouched.home.json(1, &["exam", "submit", "--yes"]).await;
    assert_eq!((nothing["score"].as_f64(), &nothing["passed"]), (Some(0.0), &Value::Bool(false)));
    untouched.end().await;

    let mut expected = 0;
    for (index, task) in sat.tasks().iter().enumerate().filter(|(index, _)| index % 2 == 0) {
        sat.solve(index).await;
        expected += number(&task["weight"]);
    }
    let result = sat.home.run(&["exam", "submit", "--yes", "--output", "json"]).await;
    let result: Value = serde_json::from_str(&result.stdout).unwrap();
    assert_eq!(result["score"].as_f64(), Some(expected as f64), "{result:#}");
    assert_eq!(result["passed"], Value::Bool(expected >= 67));
    for (index, task) in result["tasks"].as_array().unwrap().iter().enumerate() {
        assert_eq!(task["score"].as_f64(), Some(if index % 2 == 0 { 100.0 } else { 0.0 }), "{task:#}");
    }
    let report = sat.home.json(0, &["report"]).await;
    assert_eq!(report["exam"]["score"], result["score"]);
    sat.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_time_is_up_it_is_graded_as_it_stands_though_nobody_types_anything() {
    let home = Home::new();
    let args =
        ["exam", "start", "--tasks", "1", "--minutes", "20", "--variant", "4", "--provider", "sim", "--yes"];
    let started = home.json(0, &args).await;
    let id = text(&started["session"]).to_owned();
    // Twenty minutes are over in a moment when the session says that they began long ago.
    let file = home.state().join("sessions").join(&id).join("session.json");
    let mut session: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    session["data"]["timer"]["elapsed"]["secs"] = Value::from(20 * 60);
    std::fs::write(&file, session.to_string()).unwrap();
    let report = home.state().join("reports").join(format!("{id}.json"));
    let mut waited = 0;
    while !report.exists() {
        assert!(waited < 600, "nobody has graded it");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += 1;
    }
    let status = home.json(0, &["exam", "status"]).await;
    assert_eq!(text(&status["state"]), "submitted");
    home.expect(2, &["exam", "flag"]).await.says(&["is submitted"]);
    assert_eq!(home.json(0, &["exam", "review"]).await["score"].as_f64(), Some(0.0));
    home.expect(0, &["exam", "abort"]).await;
}

/// The process that keeps the clock of an exam, if one does.
fn keeper(home: &Home, session: &str) -> Option<i32> {
    let lock = home.state().join("sessions").join(session).join("clock.lock");
    let holder = std::fs::read_to_string(lock).ok()?;
    let pid = holder.strip_prefix("process ")?.split(' ').next()?.parse().ok()?;
    kill(Pid::from_raw(pid), None).is_ok().then_some(pid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keeper_of_the_clock_ends_when_it_is_told_to_and_when_its_exam_is_gone() {
    let home = Home::new();
    let args = ["exam", "start", "--tasks", "1", "--variant", "4", "--provider", "sim", "--yes"];
    let id = text(&home.json(0, &args).await["session"]).to_owned();
    until("a keeper", || keeper(&home, &id).is_some()).await;
    let first = keeper(&home, &id).unwrap();
    kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
    until("the keeper's end", || kill(Pid::from_raw(first), None).is_err()).await;

    home.expect(0, &["exam", "status"]).await;
    until("another keeper", || keeper(&home, &id).is_some()).await;
    let second = keeper(&home, &id).unwrap();
    kill(Pid::from_raw(home.server().unwrap()), Signal::SIGKILL).unwrap();
    std::fs::remove_dir_all(home.state()).unwrap();
    until("the end of a keeper without an exam", || kill(Pid::from_raw(second), None).is_err()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_gone_is_neither_a_pass_nor_the_end_of_the_exam() {
    let sat = Sat::start("v1.34", "6").await;
    sat.solve(0).await;
    let session = sat.session();
    let gone = text(&session["data"]["tasks"][1]["cluster"]["record"]["name"]).to_owned();
    kill(Pid::from_raw(sat.home.server().unwrap()), Signal::SIGKILL).unwrap();
    std::fs::remove_dir_all(sat.home.state().join("sim/clusters").join(&gone)).unwrap();

    let refused = sat.home.expect(4, &["exam", "submit", "--yes"]).await;
    refused.says(&["task 2 cannot be judged", "could not be judged, so nothing was submitted"]);
    let result = sat.home.json(1, &["exam", "submit", "--yes", "--force"]).await;
    let tasks = result["tasks"].as_array().unwrap();
    assert_eq!(tasks[0]["score"].as_f64(), Some(100.0));
    assert_eq!((tasks[1]["score"].as_f64(), number(&tasks[1]["awarded"])), (Some(0.0), 0));
    assert!(number(&tasks[1]["cannotJudge"]) > 0, "{result:#}");
    assert_eq!(result["undecided"].as_f64(), Some(number(&sat.tasks()[1]["weight"]) as f64));
    sat.home.expect(0, &["exam", "abort", "--yes"]).await;
}

/// Moves the clock of an exam, as if it had begun so many seconds earlier.
fn elapse(home: &Home, id: &str, seconds: u64) {
    let file = home.state().join("sessions").join(id).join("session.json");
    let mut session: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    session["data"]["timer"]["elapsed"]["secs"] = Value::from(seconds);
    std::fs::write(&file, session.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_time_is_told_once_by_the_next_command_and_to_the_desktop() {
    let home = Home::new();
    let tools = home.path("tools");
    std::fs::create_dir(&tools).unwrap();
    let heard = home.path("heard");
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\n", heard.display());
    std::fs::write(tools.join("notify-send"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tools.join("notify-send"), mode).unwrap();
    let args =
        ["exam", "start", "--tasks", "1", "--minutes", "60", "--variant", "4", "--provider", "sim", "--yes"];
    let path = format!("{}:{}", tools.display(), search_path().to_string_lossy());
    let started = home.command(&args).arg("--output").arg("json").env("PATH", path).run().await.unwrap();
    let started: Value = serde_json::from_str(&started.stdout_text()).unwrap();
    let id = text(&started["session"]);

    let told = async |words: &str| {
        let ran = home.run(&["exam", "status"]).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.stderr.contains(words)
    };
    assert!(!told("minutes are left").await);
    elapse(&home, id, 46 * 60);
    // Two alerts were reached since; the more urgent one is told.
    assert!(told("less than 15 minutes are left").await);
    assert!(!told("minutes are left").await, "it is told once");
    let mut waited = 0;
    while !heard.exists() {
        assert!(waited < 600, "the desktop was not told");
        tokio::time::sleep(Duration::from_millis(100)).await;
        waited += 1;
    }
    let notified = std::fs::read_to_string(&heard).unwrap();
    assert!(notified.contains("less than 15 minutes are left"), "{notified}");
    home.expect(0, &["exam", "abort", "--yes"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blueprint_says_what_the_exam_is_and_each_of_its_faults_is_shown() {
    let home = Home::new();
    let file = home.path("week.yaml");
    let blueprint = indoc::indoc! {"
        apiVersion: cks-lab/v1
        title: Week 3
        minutes: 45
        passMark: 80
        variant: 12
        provider: sim
        allowedLinks: [https://example.org/]
        tasks:
          - fixed: { scenario: strangers-at-the-api, weight: 40, variant: 7 }
          - drawn: { domain: cluster-hardening }
    "};
    std::fs::write(&file, blueprint).unwrap();
    let file = file.to_str().unwrap();
    let plan = home.json(0, &["exam", "start", "--blueprint", file, "--plan"]).await;
    assert_eq!(home.left(), Vec::<std::path::PathBuf>::new(), "nothing was brought up");
    let started = home.json(0, &["exam", "start", "--blueprint", file, "--yes"]).await;
    assert_eq!((number(&started["passMark"]), number(&started["minutes"])), (80, 45));
    for (planned, task) in plan["tasks"].as_array().unwrap().iter().zip(started["tasks"].as_array().unwrap())
    {
        for key in ["scenario", "weight", "minutes"] {
            assert_eq!(planned[key], task[key], "what was planned is what is started");
        }
    }
    assert_eq!(text(&started["tasks"][0]["scenario"]), "strangers-at-the-api");
    assert_eq!(number(&started["tasks"][0]["weight"]), 40);
    assert_eq!(number(&started["tasks"][1]["weight"]), 60);
    let rules = home.expect(0, &["exam", "rules"]).await;
    rules.shows(&["Week 3", "45 minutes", "80 % to pass", "https://example.org/"]);
    // None of the topic's pages begins like that, so none may be looked at.
    let task = home.json(0, &["exam", "task", "1"]).await;
    assert_eq!(task["reference"], serde_json::json!([]));
    home.expect(0, &["exam", "abort", "--yes"]).await;

    std::fs::write(
        home.path("week.yaml"),
        blueprint.replace("Week 3", "''").replace("hardening }", "softening }"),
    )
    .unwrap();
    let refused = home.expect(3, &["exam", "start", "--blueprint", file, "--yes"]).await;
    refused.says(&["error[empty-text]", "error[unknown-domain]", "cluster-hardening", "week.yaml:2:8"]);
    home.expect(2, &["exam", "start", "--blueprint", "nowhere.yaml"]).await.says(&["no blueprint"]);
    assert_eq!(home.left(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_third_parties_are_hidden_while_an_exam_goes_on_unless_the_book_is_open() {
    let home = Home::new();
    let file = home.path("one.yaml");
    // Its topic has pages of both sorts.
    std::fs::write(
        &file,
        "apiVersion: cks-lab/v1\ntitle: One\nprovider: sim\ntasks: [{ fixed: { scenario: strangers-at-the-api } }]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let third = |view: &Value| view.to_string().matches("third-party").count();
    let free = third(&home.json(0, &["curriculum"]).await);
    assert!(free > 0);
    home.json(0, &["exam", "start", "--blueprint", file, "--yes"]).await;
    let closed = home.json(0, &["exam", "task", "1"]).await;
    assert_eq!(third(&closed), 0);
    assert!(!closed["reference"].as_array().unwrap().is_empty());
    assert_eq!(third(&home.json(0, &["curriculum"]).await), 0);
    home.expect(0, &["show", "strangers-at-the-api"]).await.says(&["third parties are hidden"]);
    home.expect(0, &["exam", "abort", "--yes"]).await;
    home.json(0, &["exam", "start", "--blueprint", file, "--yes", "--open-book"]).await;
    let open = home.json(0, &["exam", "task", "1"]).await;
    assert!(open["reference"].as_array().unwrap().len() >= closed["reference"].as_array().unwrap().len());
    assert_eq!(third(&home.json(0, &["curriculum"]).await), free);
    home.expect(0, &["exam", "abort", "--yes"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_kind_tasks_that_leave_each_other_alone_share_a_cluster() {
    let home = Home::new();
    std::fs::create_dir(home.state()).unwrap();
    std::fs::write(home.state().join("config.yaml"), format!("nodeImage: {}\n", node_image())).unwrap();
    let file = home.path("kind.yaml");
    let blueprint = indoc::indoc! {"
        apiVersion: cks-lab/v1
        title: Two on one
        minutes: 60
        variant: 3
        provider: kind
        tasks:
          - fixed: { scenario: a-token-that-expires }
          - fixed: { scenario: restrict-the-newsroom }
    "};
    std::fs::write(&file, blueprint).unwrap();
    let file = file.to_str().unwrap();
    let plan = home.json(0, &["exam", "start", "--blueprint", file, "--plan"]).await;
    let clusters: Vec<u64> =
        plan["tasks"].as_array().unwrap().iter().map(|task| number(&task["cluster"])).collect();
    assert_eq!((number(&plan["clusters"]), clusters), (1, vec![1, 1]));
    let ran = home.expect(0, &["exam", "start", "--blueprint", file, "--yes"]).await;
    ran.says(&["share a cluster", "kind 1: tasks 1, 2"]);
    let status = home.json(0, &["exam", "status"]).await;
    let filter = format!("label=io.x-k8s.kind.cluster=cks-lab-{}", text(&status["session"]));
    let containers = async || {
        let ps = HostCommand::new("docker").args(["ps", "-aq", "--filter", &filter]).run().await.unwrap();
        ps.stdout_text().lines().count()
    };
    assert_eq!(containers().await, 1);
    // Both tasks are there to be judged, each by its own checks.
    let result = home.json(1, &["exam", "submit", "--yes"]).await;
    for task in result["tasks"].as_array().unwrap() {
        assert_eq!((number(&task["awarded"]), number(&task["cannotJudge"])), (0, 0), "{task:#}");
    }
    home.expect(0, &["exam", "abort"]).await;
    assert_eq!(containers().await, 0);
    assert_eq!(home.left(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_terminal_the_console_says_the_same_in_lines() {
    let home = Home::new();
    home.expect(2, &["exam"]).await.says(&["there is no exam", "cks-lab exam start"]);
    home.json(0, &["exam", "start", "--tasks", "1", "--variant", "4", "--provider", "sim", "--yes"]).await;
    let status = home.json(0, &["exam", "status"]).await;
    assert_eq!(home.json(0, &["exam"]).await["tasks"], status["tasks"]);
    home.expect(0, &["exam", "abort", "--yes"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_that_cannot_be_drawn_says_what_to_ask_for() {
    let home = Home::new();
    let fails = async |args: &[&str], texts: &[&str]| {
        home.expect(2, &[&["exam", "start", "--yes"], args].concat()).await.says(texts);
    };
    fails(&["--tasks", "17", "--minutes", "30"], &["17 tasks take at least", "--minutes"]).await;
    fails(&["--track", "v9"], &["there is no track `v9`", "v1.34"]).await;
    fails(&["--provider", "kubeconfig"], &["clusters of its own"]).await;
    home.expect(2, &["exam", "status"]).await;
    assert_eq!(home.left(), Vec::<std::path::PathBuf>::new());
}
