//! What the machine may lack and what may happen to it: tools, Docker, ports, room on the disk. Nothing is lost, and
//! each message says what to do.

use std::net::TcpListener;
use std::path::PathBuf;

use cks_lab::process::HostCommand;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::{Home, binary, ran, text, until};

const SCENARIO: &str = "shrink-the-publisher";
const UNAVAILABLE: i32 = 4;
const INTERNAL: i32 = 70;

/// Describes a command on a machine that has no programs but those of a POSIX shell.
fn without_tools(home: &Home, args: &[&str]) -> HostCommand {
    let folder = home.path("bin");
    std::fs::create_dir_all(&folder).unwrap();
    for program in ["sh", "bash", "env", "cat"] {
        let link = folder.join(program);
        if !link.exists() {
            std::os::unix::fs::symlink(format!("/bin/{program}"), link).unwrap();
        }
    }
    home.command(args).env("PATH", folder)
}

#[tokio::test]
async fn a_tool_that_is_missing_is_named() {
    let home = Home::new();
    let kind = ran(&without_tools(&home, &["start", SCENARIO, "--provider", "kind"])).await;
    assert_eq!(kind.status, UNAVAILABLE, "{kind:?}");
    kind.says(&["error: provider `kind` cannot be used: `kind` was not found", "hint: install kind"]);
    assert!(home.left().is_empty());

    // The simulated cluster needs no tool, but the learner does.
    let sim = ran(&without_tools(&home, &["start", SCENARIO, "--provider", "sim"])).await;
    assert_eq!(sim.status, 0, "{sim:?}");
    sim.says(&["warning: `kubectl` is not on PATH"]);
    let shell = ran(&without_tools(&home, &["shell", "--", "kubectl", "get", "pods"])).await;
    assert_eq!(shell.status, UNAVAILABLE, "{shell:?}");
    shell.says(&["error: `kubectl` was not found", "hint: install `kubectl`, or put it on PATH"]);
    let solution = ran(&without_tools(&home, &["solution", "--apply"])).await;
    assert_eq!(solution.status, 1, "{solution:?}");
    solution.says(&["kubectl: command not found", "error: the solution ended with status 127"]);
    let doctor = ran(&without_tools(&home, &["doctor"])).await;
    assert_eq!(doctor.status, UNAVAILABLE, "{doctor:?}");
    doctor.shows(&["bad kubectl", "hint: install it", "ok provider sim", "missing provider kind"]);
    // Judging needs none either.
    let checked = ran(&without_tools(&home, &["check"])).await;
    assert_eq!(checked.status, 1, "{checked:?}");
}

#[tokio::test]
async fn a_docker_that_does_not_answer_is_said_so() {
    let home = Home::new();
    let nowhere = format!("unix://{}", home.path("docker.sock").display());
    let start = home.command(&["start", SCENARIO, "--provider", "kind"]).env("DOCKER_HOST", &nowhere);
    let started = ran(&start).await;
    assert_eq!(started.status, UNAVAILABLE, "{started:?}");
    started.says(&[
        "provider `kind` cannot be used: Docker does not answer",
        "hint: start Docker",
        "--provider sim",
    ]);
    assert!(home.left().is_empty());
    // What else there is goes on without it.
    let doctor = ran(&home.command(&["doctor"]).env("DOCKER_HOST", &nowhere)).await;
    assert_eq!(doctor.status, 0, "{doctor:?}");
    doctor.shows(&["missing provider kind"]);
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_replaced_in_the_kubeconfig() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    home.expect(0, &["shell", "--", "kubectl", "create", "namespace", "kept"]).await;
    let server = || -> String {
        let config = std::fs::read_to_string(text(&started["kubeconfig"])).unwrap();
        let config: Value = serde_json::from_str(&serde_json::to_string(&yaml(&config)).unwrap()).unwrap();
        text(&config["clusters"][0]["cluster"]["server"]).to_owned()
    };
    let before = server();
    let pid = home.server().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until("the server is gone", || TcpListener::bind(before.trim_start_matches("https://")).is_ok()).await;
    let _taken = TcpListener::bind(before.trim_start_matches("https://")).unwrap();
    let checked = home.json(1, &["check"]).await;
    assert_eq!(checked["checks"][0]["outcome"], "fail", "{checked:#}");
    assert_ne!(server(), before);
    home.expect(0, &["shell", "--", "kubectl", "get", "namespace", "kept"]).await;
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_named_and_nothing_is_left() {
    let home = Home::new();
    let binary = binary().display();
    let script = format!("trap '' XFSZ; ulimit -f 0; exec {binary} start {SCENARIO} --provider sim");
    let ran = ran(&home.program("bash").arg("-c").arg(script)).await;
    assert_eq!(ran.status, INTERNAL, "{ran:?}");
    ran.says(&["could not be written", "make room, or set CKS_LAB_HOME to a folder on another disk"]);
    assert!(home.left().is_empty(), "{:?}", home.left());
}

#[tokio::test]
async fn a_disk_that_fills_up_before_the_submission_loses_nothing() {
    let home = Home::new();
    let started = home.start(SCENARIO).await;
    home.expect(0, &["solution", "--apply"]).await;
    let binary = binary().display();
    let script = format!("trap '' XFSZ; ulimit -f 0; exec {binary} submit");
    let full = ran(&home.program("bash").arg("-c").arg(script)).await;
    assert_eq!(full.status, INTERNAL, "{full:?}");
    full.says(&["could not be written", "make room"]);
    assert!(PathBuf::from(text(&started["kubeconfig"])).exists());
    // Once there is room again all is as it was.
    let submitted = home.json(0, &["submit"]).await;
    assert_eq!(submitted["score"], submitted["max"]);
    let listed = home.json(0, &["list"]).await;
    let this = listed["scenarios"].as_array().unwrap().iter().find(|one| one["id"] == SCENARIO).unwrap();
    assert_eq!(this["best"]["passed"], true);
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_is_named() {
    let home = Home::new();
    std::fs::write(home.state(), "a file in its place").unwrap();
    let ran = home.expect(INTERNAL, &["start", SCENARIO, "--provider", "sim"]).await;
    ran.says(&[home.state().to_str().unwrap(), "hint:", "CKS_LAB_HOME"]);
    home.expect(UNAVAILABLE, &["doctor"]).await.shows(&["bad state folder"]);
    assert_eq!(std::fs::read_to_string(home.state()).unwrap(), "a file in its place");
}
