//! Reports in every format, their seals, and tables of many, through the real binary and a real browser.

use std::path::PathBuf;

use serde_json::Value;

use crate::browser;
use crate::cli::schema::assert_valid;
use crate::cli::{Home, ran, text};

const SCENARIO: &str = "shrink-the-publisher";
/// What somebody writes who wants to know.
const HOSTILE: &str = "</script><script>document.title=1</script><img src=x onerror=alert(1)> & \"quoted\"";

/// Submits a scenario as it was started and returns the page.
async fn submitted(home: &Home) -> String {
    home.start(SCENARIO).await;
    home.expect(1, &["submit"]).await;
    home.expect(0, &["report", "--format", "html"]).await.stdout
}

/// Sits an exam of three tasks, does nothing but write a note, and returns the page.
async fn sat(home: &Home) -> String {
    let exam = ["exam", "start", "--tasks", "3", "--variant", "3", "--provider", "sim", "--yes"];
    home.json(0, &exam).await;
    home.json(0, &["exam", "note", "2", HOSTILE]).await;
    home.expect(1, &["exam", "submit", "--yes"]).await;
    let page = home.expect(0, &["report", "--format", "html"]).await.stdout;
    home.expect(0, &["exam", "abort", "--yes"]).await;
    page
}

fn write(home: &Home, name: &str, text: &str) -> String {
    let path: PathBuf = home.path(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_practice_report_reads_well_in_a_browser_on_a_phone_on_a_desk_and_in_print() {
    let home = Home::new();
    let page = submitted(&home).await;
    for (width, dark) in [(320, false), (390, true), (1200, false)] {
        let seen = browser::look(&home, &page, width, dark).await;
        seen.is_readable(width).shows(&[
            "Practice report",
            "A pipeline that owns the cluster",
            "not passed",
            "By domain",
            "Cluster Hardening",
            "Time by task",
            "expected\ndenied",
            "found\nallowed",
            "Why:",
            "What to read",
            "Seal",
            "Not affiliated with or endorsed by the Cloud Native Computing Foundation or the Linux Foundation",
        ]);
        assert_eq!(seen.background() == "rgb(251, 250, 248)", !dark, "{}", seen.background());
    }
    let pdf = std::fs::read(browser::print(&home, &page).await).unwrap();
    assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 10_000, "{} bytes", pdf.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exam_report_reads_well_too_and_what_the_candidate_wrote_stays_text() {
    let home = Home::new();
    let page = sat(&home).await;
    for (width, dark) in [(390, false), (1200, true)] {
        let seen = browser::look(&home, &page, width, dark).await;
        seen.is_readable(width).shows(&[
            "Mock exam of track v1.34",
            "0 %",
            "67 % are needed",
            "Own note:",
            HOSTILE,
        ]);
    }
    let junit = home.expect(0, &["report", "--format", "junit"]).await.stdout;
    let counted = "import sys, xml.etree.ElementTree as tree\nroot = tree.fromstring(sys.stdin.buffer.read())\n\
                   print(root.tag, len(root), len(root.findall('.//testcase')), len(root.findall('.//failure')))";
    let counted = ran(&home.program("python3").args(["-c", counted]).stdin(junit)).await;
    let report = home.json(0, &["report"]).await;
    let tasks = report["tasks"].as_array().unwrap();
    let checks: Vec<&Value> = tasks.iter().flat_map(|task| task["checks"].as_array().unwrap()).collect();
    let failed = checks.iter().filter(|check| check["outcome"] == "fail").count();
    assert_eq!(counted.stdout.trim(), format!("testsuites 3 {} {failed}", checks.len()), "{counted:?}");
}

#[tokio::test]
async fn what_an_author_and_a_cluster_write_stays_text_in_every_format() {
    let home = Home::new();
    let scenarios = home.scenarios(|text| {
        text.replace("title: The", &format!("title: {} The", "<img src=x onerror=alert(1)>"))
    });
    home.json(0, &["--scenarios", &scenarios, "start", "base", "--provider", "sim"]).await;
    home.expect(1, &["--scenarios", &scenarios, "submit"]).await;
    let page = home.expect(0, &["report", "--format", "html"]).await.stdout;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt; The") && !page.contains("<img"), "{page}");
    browser::look(&home, &page, 390, false)
        .await
        .is_readable(390)
        .shows(&["<img src=x onerror=alert(1)> The"]);
    let junit = home.expect(0, &["report", "--format", "junit"]).await.stdout;
    assert!(junit.contains("&lt;img src=x onerror=alert(1)&gt; The"), "{junit}");
}

#[tokio::test]
async fn a_seal_tells_a_report_that_was_edited_from_one_that_was_not() {
    let home = Home::new();
    let page = submitted(&home).await;
    let json = home.expect(0, &["report", "--format", "json"]).await.stdout;
    let kept = home.state().join("reports");
    let kept = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let page = write(&home, "page.html", &page);
    let json_file = write(&home, "report.json", &json);
    let files = [kept.to_str().unwrap(), &page, &json_file];
    let verified = home.json(0, &[&["report", "verify"][..], &files].concat()).await;
    assert_valid("report-verify", &verified);
    assert_eq!(verified["intact"], true, "{verified:#}");
    let forms: Vec<&str> =
        verified["files"].as_array().unwrap().iter().map(|file| text(&file["form"])).collect();
    assert_eq!(forms, ["kept", "html", "json"]);
    let said = home.expect(0, &["report", "verify", &page]).await;
    said.shows(&["sealed and not edited", "whoever has the program can make a sealed report"]);

    let edited = write(&home, "edited.json", &json.replacen("\"score\": 0", "\"score\": 7", 1));
    home.expect(1, &["report", "verify", &edited]).await.shows(&["edited since it was sealed"]);
    let shown = std::fs::read_to_string(&page).unwrap();
    let other = write(&home, "edited.html", &shown.replacen("✗ not passed", "✓ passed", 1));
    home.expect(1, &["report", "verify", &json_file, &other])
        .await
        .shows(&["it shows something else than the sealed report in it"]);
    let mut bare: Value = serde_json::from_str(&json).unwrap();
    bare.as_object_mut().unwrap().remove("seal");
    let bare = write(&home, "bare.json", &bare.to_string());
    home.expect(1, &["report", "verify", &bare]).await.shows(&["not sealed"]);
    let nonsense = write(&home, "nonsense.json", "[]");
    home.expect(3, &["report", "verify", &nonsense])
        .await
        .says(&["cannot be used", "cks-lab report --format"]);
    home.expect(3, &["report", "verify", "/no/such/file"]).await.says(&["`/no/such/file`"]);

    // What was edited is shown when asked for, and said to be.
    let shown = home.expect(0, &["report", "--from", &edited]).await;
    shown.shows(&["A pipeline that owns the cluster"]).says(&["warning:", "edited since it was sealed"]);
    let elsewhere = Home::new();
    let again = elsewhere.expect(0, &["report", "--from", &page, "--format", "json"]).await;
    assert_eq!(again.stdout, json, "a page holds its report");
}

#[tokio::test]
async fn a_report_from_elsewhere_does_not_command_the_terminal() {
    let home = Home::new();
    submitted(&home).await;
    let json = home.expect(0, &["report", "--format", "json"]).await.stdout;
    let evil = json.replacen("A pipeline that", "A \\u001b]0;owned\\u0007\\u001b[2Jpipeline that", 1);
    let evil = write(&home, "evil.json", &evil);
    let shown = home.expect(0, &["report", "--from", &evil]).await;
    assert!(shown.stdout.contains("pipeline that") && !shown.stdout.contains('\u{1b}'), "{:?}", shown.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_many_are_one_table() {
    let (ann, bob) = (Home::new(), Home::new());
    submitted(&ann).await;
    bob.start(SCENARIO).await;
    bob.expect(0, &["solution", "--apply"]).await;
    bob.expect(0, &["submit"]).await;
    let json = |home: &Home| {
        let command = home.command(&["report", "--format", "json"]);
        async move { ran(&command).await.stdout }
    };
    let (of_ann, of_bob) = (json(&ann).await, json(&bob).await);
    let home = Home::new();
    let a = write(&home, "ann.json", &of_ann);
    let b = write(&home, "=bob.json", &of_bob);
    let merged = home.json(0, &["report", "merge", &a, &b]).await;
    assert_valid("report-merge", &merged);
    assert_eq!((merged["mean"].as_f64(), &merged["counted"]), (Some(50.0), &2.into()));
    let table = home.expect(0, &["report", "merge", &a, &b]).await;
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", table.stdout);
    assert!(
        lines[0].starts_with("report,session,") && lines[0].contains(",cluster-hardening"),
        "{}",
        lines[0]
    );
    assert!(lines[2].starts_with("'=bob.json,") && lines[2].contains(",100,true,false,"), "{}", lines[2]);

    let edited = write(&home, "carl.json", &of_ann.replacen("\"passed\": false", "\"passed\": true", 1));
    let marked = home.run(&["report", "merge", "--format", "html", &a, &b, &edited, &a]).await;
    assert_eq!(marked.status, 1, "{marked:?}");
    marked.says(&[
        "carl.json` is edited since it was sealed; it counts in no figure",
        "it counts once",
        "2 of 4 reports count, 50%",
    ]);
    let seen = browser::look(&home, &marked.stdout, 390, false).await;
    seen.is_readable(390).shows(&[
        "4 reports",
        "50 %",
        "2 reports count in no figure",
        "edited since it was sealed",
        "What was missed most",
    ]);
    browser::look(&home, &marked.stdout, 1200, true).await.is_readable(1200);
    let refused = home.expect(1, &["report", "merge", "--strict", &a, &edited]).await;
    refused.says(&["carl.json` is edited since it was sealed", "without `--strict`"]);
    assert!(refused.stdout.is_empty());
}
