//! Wrong input: each with its exit code and a message that says what to do.

use crate::cli::{Home, ran};

const USAGE: i32 = 2;
const INVALID: i32 = 3;
const INTERNAL: i32 = 70;

#[tokio::test]
async fn wrong_arguments_are_usage_errors() {
    let home = Home::new();
    for args in [
        &["nonsense"][..],
        &["start"],
        &["start", "shrink-the-publisher", "--provider", "minikube"],
        &["start", "shrink-the-publisher", "--minutes", "0"],
        &["start", "shrink-the-publisher", "--minutes", "5", "--no-timer"],
        &["start", "shrink-the-publisher", "--variant", "-1"],
        &["curriculum", "--tracks"],
        &["list", "--output", "yaml"],
        &["completions", "tcsh"],
    ] {
        let ran = home.expect(USAGE, args).await;
        assert!(ran.stderr.starts_with("error:") && ran.stdout.is_empty(), "{args:?}: {ran:?}");
    }
    let ran = home.expect(USAGE, &["start", "shrink-the-publisher", "--context", "prod"]).await;
    ran.says(&["`--context` and `--kubeconfig` go with `--provider kubeconfig`"]);
    assert!(home.left().is_empty());
}

#[tokio::test]
async fn help_and_version_are_data() {
    let home = Home::new();
    home.expect(0, &["--help"]).await.shows(&["Usage: cks-lab", "submit"]);
    home.expect(0, &["--version"]).await.shows(&[env!("CARGO_PKG_VERSION")]);
}

#[tokio::test]
async fn an_unknown_scenario_is_answered_with_the_one_that_was_meant() {
    let home = Home::new();
    let ran = home.expect(INVALID, &["start", "shrink-the-publsher"]).await;
    ran.says(&[
        "error: there is no scenario `shrink-the-publsher`",
        "hint: did you mean `shrink-the-publisher`?",
    ]);
    home.expect(INVALID, &["show", "knitting"]).await.says(&["`cks-lab list` shows all scenarios"]);
    home.expect(USAGE, &["list", "--domain", "cluster-hardning"])
        .await
        .says(&["did you mean `cluster-hardening`?"]);
    home.expect(USAGE, &["curriculum", "--track", "v2"]).await.says(&["tracks: v1.19, v1.34"]);
}

#[tokio::test]
async fn without_a_session_a_command_says_how_to_get_one() {
    let home = Home::new();
    for command in ["check", "hint", "task", "env", "shell", "reset", "solution", "submit", "stop", "report"]
    {
        let ran = home.expect(USAGE, &[command]).await;
        ran.says(&["error: there is no session", "`cks-lab start <scenario>` starts one"]);
    }
    home.start("shrink-the-publisher").await;
    let ran = home.expect(USAGE, &["check", "--session", "fence"]).await;
    ran.says(&["error: there is no session `fence`", "hint: sessions: `shrink-the-publisher-"]);
    home.expect(0, &["stop", "--yes"]).await;
    home.expect(0, &["status"]).await.shows(&["no session"]);
    home.expect(0, &[]).await.says(&["cks-lab list"]);
    home.expect(0, &["stop", "--all", "--yes"]).await.shows(&["nothing to do"]);
    home.expect(0, &["clean", "--yes"]).await.shows(&["nothing to do"]);
}

#[tokio::test]
async fn faults_of_a_scenario_are_shown_with_their_place() {
    let home = Home::new();
    let scenarios = home.scenarios(|text| text.replace("minutes: 3", "minutes: 3\nminuts: 3"));
    let ran = home.expect(INVALID, &["--scenarios", &scenarios, "start", "base"]).await;
    ran.says(&[
        "error[unknown-field]: unknown key `minuts`",
        "base/scenario.yaml:7:1",
        "7 | minuts: 3",
        "did you mean `minutes`?",
        "error: scenario `base` is not valid",
        "`cks-lab author lint base` shows every fault",
    ]);
    let linted = home.json(INVALID, &["--scenarios", &scenarios, "author", "lint"]).await;
    assert_eq!(linted["diagnostics"][0]["code"], "unknown-field", "{linted:#}");
    assert_eq!(linted["diagnostics"][0]["span"]["line"], 7, "{linted:#}");
    home.expect(INVALID, &["--scenarios", "/no/such/folder", "list"]).await.says(&["`/no/such/folder`"]);
    assert!(home.left().is_empty());
}

#[tokio::test]
async fn each_fault_of_a_scenario_says_what_was_expected() {
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "minutes: 3",
            "minutes: soon",
            &[
                "error[wrong-type]",
                "base/scenario.yaml:6:10",
                "expected a whole number, found the text `soon`",
            ],
        ),
        ("title: The", "title: \"{{ apps }} of the", &["error[", "base/scenario.yaml:3:"]),
        (
            "kubectl -n {{ app }} delete rolebinding",
            "kubectl -n {{ appp }} delete rolebinding",
            &["error[undefined-variable]", "base/scenario.yaml:52:", "`appp`", "`app`"],
        ),
        (
            "kubectl -n {{ app }} delete rolebinding",
            "kubectl -n {{ app ) delete rolebinding",
            &["error[template-syntax]", "base/scenario.yaml:52:"],
        ),
    ];
    for (from, to, texts) in cases {
        let home = Home::new();
        let scenarios = home.scenarios(|text| text.replacen(from, to, 1));
        home.expect(INVALID, &["--scenarios", &scenarios, "start", "base", "--provider", "sim"])
            .await
            .says(texts);
        assert!(home.left().is_empty());
    }
}

#[tokio::test]
async fn a_yaml_bomb_is_refused_before_it_goes_off() {
    let home = Home::new();
    let scenarios = home.scenarios(|text| {
        let mut bomb = text + "\nbomb0: &bomb0 [boom, boom, boom, boom, boom, boom, boom, boom, boom]\n";
        for level in 1..12 {
            let below = vec![format!("*bomb{}", level - 1); 9].join(", ");
            bomb += &format!("bomb{level}: &bomb{level} [{below}]\n");
        }
        bomb
    });
    let ran = home.expect(INVALID, &["--scenarios", &scenarios, "start", "base", "--provider", "sim"]).await;
    ran.says(&["error[yaml-bomb]", "base/scenario.yaml"]);
}

#[tokio::test]
async fn a_fault_in_the_preferences_is_shown_with_its_place() {
    let home = Home::new();
    std::fs::create_dir(home.state()).unwrap();
    std::fs::write(home.state().join("config.yaml"), "provider: sim\nspeed: fast\n").unwrap();
    home.expect(INVALID, &["list"]).await.says(&["config.yaml", "speed", "line 2"]);
    std::fs::write(home.state().join("config.yaml"), "provider: minikube\n").unwrap();
    let ran = home.expect(USAGE, &["start", "shrink-the-publisher"]).await;
    ran.says(&["there is no provider `minikube`", "providers: auto, sim, kind, kubeconfig"]);
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error_and_a_reader_that_has_enough_is_none() {
    let home = Home::new();
    let binary = crate::cli::binary().display();
    let full = ran(&home.program("sh").arg("-c").arg(format!("{binary} list >/dev/full"))).await;
    assert_eq!(full.status, INTERNAL, "{full:?}");
    full.says(&["error: the output could not be written", "caused by: No space left on device"]);
    let piped = format!("set -o pipefail; {binary} curriculum | head -1");
    let piped = ran(&home.program("bash").arg("-c").arg(piped)).await;
    assert_eq!((piped.status, piped.stderr.as_str()), (0, ""), "{piped:?}");
}

#[tokio::test]
async fn there_is_no_colour_where_none_is_wanted_or_nothing_shows_it() {
    let home = Home::new();
    let ran = home.expect(0, &["curriculum", "--brief"]).await;
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'));
}

#[tokio::test]
async fn a_list_fits_the_terminal_with_what_matters_most() {
    let home = Home::new();
    for (columns, head) in
        [("200", "SCENARIO TOPIC MIN PTS LEVEL RUNS ON BEST TITLE"), ("70", "SCENARIO MIN PTS RUNS ON BEST")]
    {
        let ran = ran(&home.command(&["list"]).env("COLUMNS", columns)).await;
        ran.shows(&[head, "shrink-the-publisher", "Cluster Hardening 15%"]);
        let width = ran.stdout.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(width <= columns.parse::<usize>().unwrap(), "{}", ran.stdout);
    }
}

#[tokio::test]
async fn completions_are_scripts() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        home.expect(0, &["completions", shell]).await.shows(&["cks-lab", "CKS_LAB_COMPLETE"]);
    }
    let script = home.expect(0, &["completions", "bash"]).await.stdout;
    let parsed = ran(&home.program("bash").arg("-n").stdin(script)).await;
    assert_eq!(parsed.status, 0, "{}", parsed.stderr);
}
