//! A session from start to submit on the simulated cluster, and what may happen to it on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cks_lab::process::HostCommand;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::schema::assert_valid;
use crate::cli::{Home, ran, text, until};

const SCENARIO: &str = "shrink-the-publisher";

fn session_file(home: &Home, started: &Value) -> PathBuf {
    home.state().join("sessions").join(text(&started["session"])).join("session.json")
}

/// Changes the kept session as another program or a passing time would have.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut session: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut session);
    std::fs::write(path, session.to_string()).unwrap();
}

#[tokio::test]
async fn from_start_to_submit() {
    let home = Home::new();
    std::fs::create_dir(home.home().join(".kube")).unwrap();
    let own = home.home().join(".kube/config");
    std::fs::write(&own, "the learner's own\n").unwrap();

    let started = home.start(SCENARIO).await;
    assert_valid("start", &started);
    assert_eq!((&started["scenario"], &started["provider"]), (&SCENARIO.into(), &"sim".into()));
    let kubeconfig = text(&started["kubeconfig"]);
    assert!(Path::new(kubeconfig).exists());
    let task = std::fs::read_to_string(text(&started["taskFile"])).unwrap();
    home.expect(0, &["task"]).await.shows(&["A pipeline that owns the cluster"]);
    let view = home.json(0, &["task"]).await;
    assert_valid("task", &view);
    assert_eq!(text(&view["text"]), task);

    let status = home.json(0, &["status"]).await;
    assert_valid("status", &status);
    assert_eq!(status["sessions"][0]["session"], started["session"]);
    assert_eq!(status["sessions"][0]["state"], "running");

    let checked = home.json(1, &["check"]).await;
    assert_valid("check", &checked);
    assert_eq!(
        (&checked["score"], &checked["max"], &checked["passed"]),
        (&0.into(), &7.into(), &false.into())
    );
    let failed = &checked["checks"][0];
    assert_eq!((&failed["outcome"], &failed["simulated"]), (&"fail".into(), &true.into()));
    assert!(!failed["findings"].as_array().unwrap().is_empty());
    assert!(!failed["resources"].as_array().unwrap().is_empty());
    let ran = home.expect(1, &["check"]).await;
    ran.shows(&[
        "✗ FAIL [0/3]",
        "expected denied",
        "0 of 7 points, not passed",
        "Judged on a simulated cluster.",
    ]);

    let hint = home.json(0, &["hint"]).await;
    assert_valid("hint", &hint);
    assert_eq!((&hint["number"], &hint["new"]), (&1.into(), &true.into()));

    let env = home.json(0, &["env"]).await;
    assert_valid("env", &env);
    assert_eq!(text(&env["variables"]["KUBECONFIG"]), kubeconfig);
    let script = format!("eval \"$({} env)\"; printf %s \"$KUBECONFIG\"", crate::cli::binary().display());
    assert_eq!(crate::cli::ran(&home.program("sh").arg("-c").arg(script)).await.stdout, kubeconfig);

    assert_valid("solution", &home.json(0, &["solution"]).await);
    let applied = home.json(0, &["solution", "--apply"]).await;
    assert_eq!(applied["applied"], true);
    let checked = home.json(0, &["check"]).await;
    assert_eq!((&checked["score"], &checked["passed"]), (&7.into(), &true.into()), "{checked:#}");

    let submitted = home.json(0, &["submit", "--yes"]).await;
    assert_valid("submit", &submitted);
    assert_eq!((&submitted["score"], &submitted["passed"]), (&7.into(), &true.into()));
    assert!(Path::new(text(&submitted["report"])).exists());
    assert!(!Path::new(kubeconfig).exists(), "the cluster is gone");
    let report = home.json(0, &["report"]).await;
    assert_valid("report", &report);
    assert_eq!(report["tasks"][0]["hints"], 1);
    home.expect(0, &["report", "--format", "text"]).await.shows(&["7 of 7 points, passed"]);

    let list = home.json(0, &["list"]).await;
    assert_valid("list", &list);
    let scenarios = list["scenarios"].as_array().unwrap();
    let this = scenarios.iter().find(|scenario| scenario["id"] == SCENARIO).unwrap();
    assert_eq!((&this["best"]["score"], &this["best"]["passed"]), (&7.into(), &true.into()));
    home.expect(2, &["check"]).await.says(&["is submitted", "cks-lab report"]);

    assert_valid("stop", &home.json(0, &["clean", "--yes"]).await);
    assert_eq!(home.left(), [""; 0].map(PathBuf::from));
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "the learner's own\n");
}

#[tokio::test]
async fn other_views_are_as_published() {
    let home = Home::new();
    assert_valid("show", &home.json(0, &["show", SCENARIO]).await);
    assert_valid("doctor", &home.json(0, &["doctor"]).await);
    assert_valid("author-lint", &home.json(0, &["author", "lint", SCENARIO]).await);
    for track in ["v1.19", "v1.34"] {
        let curriculum = home.json(0, &["curriculum", "--track", track]).await;
        assert_valid("curriculum", &curriculum);
        assert_eq!(curriculum["track"], track);
        let domains = curriculum["domains"].as_array().unwrap();
        let topics = domains.iter().flat_map(|domain| domain["topics"].as_array().unwrap());
        let trains = |id: &str| {
            topics.clone().filter(|topic| topic["scenarios"].as_array().unwrap().contains(&id.into())).count()
        };
        let list = home.json(0, &["list", "--track", track]).await;
        for scenario in list["scenarios"].as_array().unwrap() {
            assert_eq!(trains(text(&scenario["id"])), 1, "{track}: {}", scenario["id"]);
        }
        let weights =
            curriculum["domains"].as_array().unwrap().iter().map(|domain| domain["weight"].as_u64());
        assert_eq!(weights.sum::<Option<u64>>(), Some(100));
    }
    let shown = home.expect(0, &["curriculum", "--track", "v1.19"]).await;
    shown.shows(&[
        "28 topics, 168 links, ",
        "✓ may be open during the exam",
        "✓ Declare Network Policy https://kubernetes.io/",
        "· kubernetes-network-policy-recipes https://github.com/ahmetb/",
        "shrink-the-publisher",
    ]);
    let made = home.json(0, &["--scenarios", "mine", "author", "new", "my-first", "--topic", "rbac"]).await;
    assert_valid("author-new", &made);
    home.expect(2, &["--scenarios", "mine", "author", "new", "my-first", "--topic", "rbac"]).await;
    home.expect(2, &["--scenarios", "mine", "author", "new", "x", "--topic", "rback"])
        .await
        .says(&["`rbac`"]);
    let proven = home.json(0, &["author", "test", SCENARIO, "--provider", "sim"]).await;
    assert_valid("author-test", &proven);
    assert_eq!(proven["passed"], true);
    home.expect(0, &["author", "schema"]).await.shows(&["A cks-lab scenario"]);
}

#[tokio::test]
async fn a_server_that_died_is_restarted_with_what_it_had() {
    let home = Home::new();
    home.start(SCENARIO).await;
    home.expect(0, &["shell", "--", "kubectl", "create", "namespace", "kept"]).await;
    let server = home.server().unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    let checked = home.json(1, &["check"]).await;
    assert_eq!(checked["checks"][0]["outcome"], "fail", "judged, and not only asked in vain: {checked:#}");
    assert_ne!(home.server(), Some(server));
    home.expect(0, &["shell", "--", "kubectl", "get", "namespace", "kept"]).await;
}

#[tokio::test]
async fn the_server_ends_with_its_last_cluster() {
    let home = Home::new();
    home.start(SCENARIO).await;
    let started = home.start("fence-the-ledger").await;
    let server = home.server().unwrap();
    home.expect(0, &["stop", "--yes", "--session", SCENARIO]).await;
    home.expect(1, &["check"]).await;
    assert_eq!(home.server(), Some(server));
    let stopped = home.json(0, &["stop", "--all", "--yes"]).await;
    assert_eq!(stopped["sessions"][0], started["session"]);
    assert_eq!(home.left(), [""; 0].map(PathBuf::from));
    until("the server ends", || !Path::new(&format!("/proc/{server}")).exists()).await;
}

#[tokio::test]
async fn a_reset_gives_the_same_task_anew() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    home.expect(0, &["solution", "--apply"]).await;
    home.expect(0, &["check"]).await;
    let task = std::fs::read_to_string(text(&started["taskFile"])).unwrap();
    let again = home.json(0, &["reset", "--yes"]).await;
    assert_eq!((&again["session"], &again["variant"]), (&started["session"], &started["variant"]));
    assert_eq!(again["kubeconfig"], started["kubeconfig"], "open shells go on");
    assert_eq!(std::fs::read_to_string(text(&again["taskFile"])).unwrap(), task);
    assert_eq!(home.json(1, &["check"]).await["score"], 0);
}

#[tokio::test]
async fn two_commands_on_one_session_do_not_mix() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    let lock = session_file(&home, &started).with_file_name("lock");
    let held = cks_lab::persist::Lock::try_acquire(&lock, "reset").unwrap();
    for command in [&["check"][..], &["submit"], &["stop", "--yes"], &["hint"]] {
        let ran = home.expect(4, command).await;
        ran.says(&["is in use by process", "(reset)", "wait until it has ended"]);
    }
    home.expect(0, &["status"]).await.shows(&["in use by process"]);
    drop(held);
    home.expect(0, &["hint"]).await;
}

#[tokio::test]
async fn state_of_a_newer_version_is_refused_and_kept() {
    let home = Home::new();
    let newer = home.start(SCENARIO).await;
    let file = session_file(&home, &newer);
    edit(&file, |session| session["version"] = 9.into());
    let content = std::fs::read_to_string(&file).unwrap();
    let name = text(&newer["session"]);
    let ran = home.expect(3, &["check", "--session", name]).await;
    ran.says(&["written by a newer version", "use the newer version; nothing was changed"]);
    home.expect(3, &["stop", "--yes", "--session", name]).await;
    // Others go on, and nothing takes its cluster for a stray one.
    home.start("fence-the-ledger").await;
    home.expect(1, &["check"]).await;
    home.expect(0, &["status"]).await.says(&["is left as it is"]);
    home.expect(0, &["stop", "--all", "--yes"]).await;
    home.expect(0, &["clean", "--yes"]).await.says(&["clusters are not looked for"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    assert!(Path::new(text(&newer["kubeconfig"])).exists());
}

#[tokio::test]
async fn a_clock_that_was_moved_back_wins_no_time() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    // As if the last command had seen a clock that was an hour ahead of what it is now.
    edit(&session_file(&home, &started), |session| {
        let last = text(&session["data"]["timer"]["last"]["wall"]).to_owned();
        let ahead = last.parse::<jiff::Timestamp>().unwrap() + Duration::from_secs(3600);
        session["data"]["timer"]["last"]["wall"] = ahead.to_string().into();
    });
    let status = home.json(0, &["status"]).await;
    let session = &status["sessions"][0];
    assert_eq!(session["clockMoved"], true);
    assert!(session["elapsedSeconds"].as_u64().unwrap() < 300, "{session:#}");
    home.expect(0, &["status"]).await.says(&["the machine's clock was moved"]);
    home.expect(1, &["submit"]).await.shows(&["clock was moved back by"]);
}

#[tokio::test]
async fn when_the_time_is_up_work_is_still_judged() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    edit(&session_file(&home, &started), |session| {
        session["data"]["timer"]["elapsed"]["secs"] = 3600.into();
    });
    let ran = home.expect(5, &["check"]).await;
    ran.shows(&["0 of 7 points"]).says(&["The time was up"]);
    let submitted = home.json(5, &["submit"]).await;
    assert_eq!((&submitted["max"], &submitted["passed"]), (&7.into(), &false.into()));
    home.expect(0, &["report"]).await.shows(&["after the time was up"]);
}

#[tokio::test]
async fn the_clock_can_be_chosen() {
    let home = Home::new();
    let free = home.json(0, &["start", SCENARIO, "--provider", "sim", "--no-timer"]).await;
    assert_eq!(free["deadline"], Value::Null);
    let long = home.json(0, &["start", SCENARIO, "--provider", "sim", "--minutes", "90"]).await;
    let status = home.json(0, &["status", "--session", text(&long["session"])]).await;
    let left = status["sessions"][0]["leftSeconds"].as_u64().unwrap();
    assert!((80 * 60..=90 * 60).contains(&left), "{left}");
}

#[tokio::test]
async fn a_title_is_shown_once() {
    let home = Home::new();
    let scenarios = home.scenarios(|text| text + "\n");
    let task = home.path("scenarios/base/task.md");
    let text = std::fs::read_to_string(&task).unwrap();
    std::fs::write(&task, format!("# The least that is complete\n\n{text}")).unwrap();
    let shown =
        home.expect(0, &["--scenarios", &scenarios, "start", "base", "--provider", "sim"]).await.stdout;
    assert_eq!(shown.matches("The least that is complete").count(), 1, "{shown}");
}

#[tokio::test]
async fn the_same_variant_gives_the_same_task() {
    let home = Home::new();
    let (first, second) = (home.start(SCENARIO).await, home.start(SCENARIO).await);
    assert_ne!(first["session"], second["session"]);
    let read = |started: &Value| std::fs::read_to_string(text(&started["taskFile"])).unwrap();
    assert_eq!(read(&first), read(&second));
    let other = home.json(0, &["start", SCENARIO, "--provider", "sim", "--variant", "4"]).await;
    assert_ne!(read(&first), read(&other));
    let ran = home.expect(2, &["check", "--session", "shrink"]).await;
    ran.says(&[" or ", "give more of the name"]);
}

#[tokio::test]
async fn a_shell_has_the_sessions_kubeconfig_and_a_prompt_with_task_and_time() {
    let home = Home::new();
    std::fs::write(home.home().join(".bashrc"), "greeting=own\n").unwrap();
    let started = home.start(SCENARIO).await;
    let typed = "echo \"$greeting|$KUBECONFIG|$PWD|$HOME\"\nkubectl get namespace default -o name\nexit 3\n";
    let shell = ran(&home.command(&["shell"]).stdin(typed)).await;
    assert_eq!(shell.status, 0, "{shell:?}");
    let expected = format!(
        "own|{}|{}|{}",
        text(&started["kubeconfig"]),
        text(&started["taskDir"]),
        home.home().display()
    );
    shell.shows(&[&expected, "namespace/default"]);
    shell.says(&[&format!("[{SCENARIO} ")]);
    let prompt = home.command(&["prompt"]).env("CKS_LAB_SESSION", "ended-k3f9");
    assert_eq!(ran(&prompt).await.stdout, "no session", "a shell may outlive its session");
    let failed = ran(&home.command(&["shell", "--", "sh", "-c", "exit 3"])).await;
    assert_eq!(failed.status, 3);
}

/// Makes a scenario whose workload never gets ready, so that its start goes on until it is ended.
pub fn hanging(home: &Home) -> String {
    let scenarios = home.scenarios(|text| {
        let seed = "  - apply: manifests/all.yaml\n";
        let waits =
            "  - apply: manifests/never.yaml\n  - waitReady: { namespace: \"{{ app }}\", seconds: 300 }\n";
        text.replace(seed, &format!("{seed}{waits}")).replace("needs: [api]", "needs: [api, pods]")
    });
    let never = indoc::indoc! {"
        apiVersion: v1
        kind: Pod
        metadata: { name: never, namespace: \"{{ app }}\" }
        spec:
          nodeSelector: { nowhere: at-all }
          containers: [{ name: c, image: \"busybox:1.36\" }]
    "};
    std::fs::write(home.path("scenarios/base/manifests/never.yaml"), never).unwrap();
    scenarios
}

/// Starts the scenario that never gets ready, sends a signal once its cluster is there, and returns the exit status.
pub async fn started_and_sent(home: &Home, signal: Signal, options: &[&str]) -> i32 {
    let scenarios = hanging(home);
    let command: HostCommand =
        home.command(&[&["--scenarios", &scenarios, "start", "base"], options].concat());
    let mut process = command.spawn_detached(&home.path("log")).unwrap();
    let log = || std::fs::read_to_string(home.path("log")).unwrap_or_default();
    until("it waits for the workload", || {
        assert_eq!(process.ended().unwrap(), None, "{}", log());
        log().contains("waiting for the workloads")
    })
    .await;
    kill(Pid::from_raw(i32::try_from(process.pid()).unwrap()), signal).unwrap();
    let mut status = None;
    until("it ends", || {
        status = process.ended().unwrap();
        status.is_some()
    })
    .await;
    let status = status.unwrap();
    status.trim_start_matches("status ").parse().unwrap_or_else(|_| panic!("{status}: {}", log()))
}

#[tokio::test]
async fn an_interrupted_start_leaves_nothing() {
    let home = Home::new();
    assert_eq!(started_and_sent(&home, Signal::SIGINT, &["--provider", "sim"]).await, 130);
    assert_eq!(home.left(), [""; 0].map(PathBuf::from));
    home.expect(0, &["status"]).await.shows(&["no session"]);
}

#[tokio::test]
async fn a_start_that_was_killed_is_seen_and_cleaned_up() {
    let home = Home::new();
    let scenarios = hanging(&home);
    let command = home.command(&["--scenarios", &scenarios, "start", "base", "--provider", "sim"]);
    let mut process = command.spawn_detached(&home.path("log")).unwrap();
    until("it waits for the workload", || {
        std::fs::read_to_string(home.path("log")).unwrap_or_default().contains("waiting for the workloads")
    })
    .await;
    home.expect(0, &["status"]).await.shows(&["being prepared"]);
    home.expect(2, &["env"]).await.says(&["is being prepared"]);
    kill(Pid::from_raw(i32::try_from(process.pid()).unwrap()), Signal::SIGKILL).unwrap();
    until("it is gone", || process.ended().unwrap().is_some()).await;
    home.expect(0, &["status"]).await.shows(&["its start was cut short"]);
    home.expect(0, &[]).await.says(&["cks-lab clean"]);
    home.expect(0, &["clean", "--yes"]).await;
    assert_eq!(home.left(), [""; 0].map(PathBuf::from));
}
