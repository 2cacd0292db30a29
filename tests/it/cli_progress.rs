//! Progress over time, what to practise next, plans of several scenarios, and the history as a file.

use serde_json::{Value, json};

use crate::browser;
use crate::cli::schema::assert_valid;
use crate::cli::{Home, text};

/// A quick scenario of cluster hardening.
const SCENARIO: &str = "shrink-the-publisher";

/// Writes a history in which scenarios were tried: name, topic, domain, days ago, points of 7.
fn tried(home: &Home, attempts: &[(&str, &str, &str, i64, u32)]) {
    let attempts: Vec<Value> = attempts
        .iter()
        .map(|(scenario, topic, domain, ago, score)| {
            let passed = *score == 7;
            json!({
                "session": format!("{scenario}-{}", 1000 - ago), "scenario": scenario, "topic": topic,
                "domain": domain, "variant": 1, "provider": "sim", "mode": "practice",
                "submitted": (now() - jiff::SignedDuration::from_hours(24 * ago)).to_string(),
                "elapsedSeconds": 300, "late": false, "score": score, "max": 7, "passed": passed, "hints": 0,
                "checks": {"closed": if passed { "pass" } else { "fail" }},
            })
        })
        .collect();
    std::fs::create_dir_all(home.state()).unwrap();
    let history = json!({"kind": "history", "version": 1, "data": {"attempts": attempts}});
    std::fs::write(home.state().join("history.json"), history.to_string()).unwrap();
}

fn now() -> jiff::Timestamp {
    use cks_lab::clock::Clock as _;
    cks_lab::clock::SystemClock.now()
}

#[tokio::test]
async fn progress_says_what_is_mastered_how_ready_that_is_and_what_comes_next() {
    let home = Home::new();
    let none = home.json(0, &["progress"]).await;
    assert_valid("progress", &none);
    assert_eq!((&none["readiness"]["score"], &none["attempts"]), (&Value::Null, &json!([])));
    home.expect(0, &["progress"]).await.shows(&["Nothing can be said yet", "never tried; "]);

    tried(
        &home,
        &[
            (SCENARIO, "rbac", "cluster-hardening", 20, 2),
            (SCENARIO, "rbac", "cluster-hardening", 9, 7),
            ("fence-the-ledger", "network-policies", "cluster-setup", 1, 2),
        ],
    );
    let progress = home.json(0, &["progress"]).await;
    assert_valid("progress", &progress);
    let scenarios = progress["scenarios"].as_array().unwrap();
    assert_eq!((scenarios[0]["scenario"].as_str(), scenarios.len()), (Some("fence-the-ledger"), 2));
    assert_eq!((&scenarios[1]["best"]["score"], &scenarios[1]["last"]["score"]), (&7.into(), &7.into()));
    assert_eq!(progress["next"][0]["scenario"], "fence-the-ledger", "{:#}", progress["next"]);
    assert!(progress["readiness"]["low"].as_f64() < progress["readiness"]["high"].as_f64());
    let shown = home.expect(0, &["progress"]).await;
    shown.shows(&[
        "3 attempts, 1 passed",
        "Cluster Hardening",
        "Ready for the exam?",
        "in 8 of 10 cases",
        "So few attempts say little",
        "failed, the last time a day ago with 29 %",
    ]);
    let page = home.expect(0, &["progress", "--format", "html"]).await.stdout;
    for (width, dark) in [(390, false), (1200, true)] {
        let seen = browser::look(&home, &page, width, dark).await;
        seen.is_readable(width).shows(&[
            "Progress",
            "What to practise next",
            "Mastery by domain",
            "Not affiliated",
        ]);
    }
    let older = home.json(0, &["progress", "--track", "v1.19"]).await;
    assert_eq!(older["track"], "v1.19");
    home.expect(2, &["progress", "--track", "v2"]).await.says(&["tracks: v1.19, v1.34"]);
}

#[tokio::test]
async fn next_starts_what_is_most_worth_it() {
    let home = Home::new();
    tried(&home, &[("fence-the-ledger", "network-policies", "cluster-setup", 3, 2)]);
    let started = home.json(0, &["next", "--provider", "sim", "--variant", "3"]).await;
    assert_valid("start", &started);
    assert_eq!((&started["scenario"], &started["variant"]), (&"fence-the-ledger".into(), &3.into()));
    let other =
        home.expect(0, &["next", "--provider", "sim", "--domain", "cluster-hardening", "--no-timer"]).await;
    other.says(&["never tried; Cluster Hardening is 15 % of the exam", "no limit", "cks-lab check"]);
    home.expect(2, &["next", "--domain", "cluster-hardning"])
        .await
        .says(&["did you mean `cluster-hardening`?"]);
    home.expect(2, &["next", "--provider", "sim", "--context", "x"])
        .await
        .says(&["go with `--provider kubeconfig`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_worked_off_one_scenario_after_the_other() {
    let home = Home::new();
    let planned = home
        .json(
            0,
            &["practise", "--domain", "cluster-hardening", "--minutes", "20", "--plan", "--provider", "sim"],
        )
        .await;
    assert_valid("practise", &planned);
    let items = planned["plan"]["items"].as_array().unwrap();
    assert!(items.len() >= 2 && planned["plan"]["minutes"].as_u64().unwrap() <= 20, "{planned:#}");
    assert_eq!(planned["started"], Value::Null);
    let (first, second) = (text(&items[0]["scenario"]), text(&items[1]["scenario"]));

    let begun = home.json(0, &["practise", "--provider", "sim"]).await;
    assert_eq!(
        (text(&begun["started"]["scenario"]), text(&begun["plan"]["items"][0]["state"])),
        (first, "running")
    );
    let again = home.expect(0, &["practise"]).await;
    again.shows(&["running", second]).says(&["is being worked on", "cks-lab submit"]);
    let sessions = home.json(0, &["status"]).await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "nothing is started twice");

    let submitted = home.expect(1, &["submit"]).await;
    submitted.says(&[&format!("1 of {} of the plan are done", items.len()), &format!("go on with {second}")]);
    let begun = home.json(0, &["practise", "--provider", "sim"]).await;
    assert_eq!(text(&begun["started"]["scenario"]), second);
    assert_eq!(begun["plan"]["items"][0]["state"], "failed");
    // A session that is given up leaves its scenario open.
    home.expect(0, &["stop", "--yes"]).await;
    let open = home.json(0, &["practise", "--plan"]).await;
    assert_eq!((text(&open["plan"]["items"][1]["state"]), &open["started"]), ("open", &Value::Null));

    home.expect(0, &["practise", "--end"]).await.shows(&["the plan is forgotten"]);
    home.expect(0, &["practise", "--end"]).await.shows(&["there is no plan"]);
    let weakest = home.json(0, &["practise", "--weakest", "--plan"]).await;
    assert!(text(&weakest["plan"]["what"]).contains("where most is to be gained"), "{weakest:#}");
    home.expect(2, &["practise", "--domain", "x", "--plan"]).await.says(&["there is no domain `x`"]);
    home.expect(2, &["practise", "--domain", "x", "--weakest"]).await;
}

#[tokio::test]
async fn the_history_is_carried_to_another_machine() {
    let (here, there) = (Home::new(), Home::new());
    tried(
        &here,
        &[(SCENARIO, "rbac", "cluster-hardening", 20, 2), (SCENARIO, "rbac", "cluster-hardening", 9, 7)],
    );
    let file = here.path("mine.json");
    let file = file.to_str().unwrap();
    let exported = here.json(0, &["history", "export", file]).await;
    assert_valid("history-export", &exported);
    assert_eq!(exported["attempts"], 2);
    let imported = there.json(0, &["history", "import", file]).await;
    assert_valid("history-import", &imported);
    assert_eq!(imported["added"], 2);
    there.expect(0, &["history", "import", file]).await.shows(&["0 attempts added, 2 known already"]);
    let list = there.json(0, &["list"]).await;
    let this = list["scenarios"].as_array().unwrap().iter().find(|one| one["id"] == SCENARIO).unwrap();
    assert_eq!(this["best"]["score"], 7);

    let text = std::fs::read_to_string(file).unwrap().replacen("\"score\": 2", "\"score\": 8", 1);
    std::fs::write(file, text).unwrap();
    let refused = Home::new();
    let ran = refused.expect(3, &["history", "import", file]).await;
    ran.says(&["attempt 1 of", "more points than there are", "nothing was imported"]);
    assert_eq!(refused.json(0, &["progress"]).await["attempts"], json!([]));
    refused
        .expect(3, &["history", "import", "/no/such/file"])
        .await
        .says(&["there is no file `/no/such/file`"]);
}
