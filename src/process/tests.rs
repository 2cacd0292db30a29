use super::*;

fn sh(script: &str) -> HostCommand {
    HostCommand::new("sh").arg("-c").arg(script)
}

#[tokio::test]
async fn output_and_status_come_back() {
    let output = sh("echo out; echo err >&2; exit 3").output().await.unwrap();
    assert_eq!(output.status, 3);
    assert_eq!(output.stdout_text(), "out");
    assert_eq!(output.stderr_text(), "err");
}

#[tokio::test]
async fn a_failure_carries_a_pasteable_argv_and_the_tail_of_stderr() {
    let error = sh("seq 1 100 >&2; exit 4").run().await.unwrap_err();
    let ProcessError::Failed { argv, code, stderr, .. } = &error else { panic!("{error}") };
    assert_eq!(argv, "sh -c 'seq 1 100 >&2; exit 4'");
    assert_eq!(*code, 4);
    assert_eq!(stderr.lines().count(), TAIL_LINES);
    assert!(stderr.ends_with("100"));
    assert!(error.to_string().contains("ended with status 4"));
}

#[tokio::test]
async fn a_missing_program_is_told_apart_from_a_missing_folder() {
    let missing = HostCommand::new("no-such-program-at-all").run().await.unwrap_err();
    assert!(matches!(missing, ProcessError::NotFound { .. }), "{missing}");
    let folder = sh("true").cwd("/no/such/folder").run().await.unwrap_err();
    assert!(matches!(folder, ProcessError::Spawn { .. }), "{folder}");
}

#[tokio::test]
async fn stdin_env_and_cwd_reach_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let command = sh(r#"cat; printf ' %s %s' "$COLOUR" "$(pwd)""#);
    let output = command.stdin("hello").env("COLOUR", "blue").cwd(dir.path()).run().await.unwrap();
    let dir = dir.path().canonicalize().unwrap();
    assert_eq!(output.stdout_text(), format!("hello blue {}", dir.display()));
}

#[tokio::test]
async fn a_cleared_environment_holds_only_what_was_set() {
    let output = HostCommand::new("/usr/bin/env").clear_env().env("ONLY", "this").run().await.unwrap();
    assert_eq!(output.stdout_text(), "ONLY=this");
}

#[tokio::test]
async fn lines_come_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("seen");
    // It ends only when the first line has been seen, so a reader that waits for the end would never finish.
    let script = format!("echo first; while [ ! -e {} ]; do sleep 0.01; done; echo last", flag.display());
    let mut seen = Vec::new();
    let command = sh(&script).timeout(Duration::from_secs(20));
    let ran = command.run_lines(|stream, line| {
        seen.push((stream, line.to_owned()));
        if line == "first" {
            std::fs::write(&flag, "").unwrap();
        }
    });
    ran.await.unwrap();
    assert_eq!(seen, [(Stream::Stdout, "first".to_owned()), (Stream::Stdout, "last".to_owned())]);
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; echo waiting >&2; wait", pid_file.display());
    let error = sh(&script).timeout(Duration::from_millis(500)).run().await.unwrap_err();
    let ProcessError::TimedOut { stderr, .. } = error else { panic!("{error}") };
    assert_eq!(stderr, "waiting");
    assert_ends(&pid_file).await;
}

#[tokio::test]
async fn what_is_left_in_the_background_ends_with_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    // The background process holds stdout open.
    let output =
        sh(&format!("sleep 1000 & echo $! > {}; echo done", pid_file.display())).run().await.unwrap();
    assert_eq!(output.stdout_text(), "done");
    assert_ends(&pid_file).await;
}

#[tokio::test]
async fn a_dropped_run_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let command = sh(&format!("sleep 1000 & echo $! > {}; echo up; wait", pid_file.display()));
    let (up, is_up) = tokio::sync::oneshot::channel();
    let mut up = Some(up);
    let run = tokio::spawn(async move {
        command
            .run_lines(move |_, _| {
                if let Some(up) = up.take() {
                    up.send(()).unwrap();
                }
            })
            .await
    });
    is_up.await.unwrap();
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_ends(&pid_file).await;
}

#[tokio::test]
async fn a_detached_process_logs_and_is_seen_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut detached = sh("echo to the log; exit 7").spawn_detached(&log).unwrap();
    let status = loop {
        if let Some(status) = detached.ended().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(status, "status 7");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "to the log\n");
}

#[test]
fn words_are_quoted_only_where_a_shell_would_split_them() {
    assert_eq!(quote("plain-word_1.x/y:z=a@b"), "plain-word_1.x/y:z=a@b");
    assert_eq!(quote(""), "''");
    assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
}

/// A killed process is a zombie until its new parent reaps it, so this asks whether it still runs.
async fn assert_ends(pid_file: &Path) {
    let pid: u32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
    for _ in 0..500 {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} still runs");
}
