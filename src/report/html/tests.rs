use super::*;
use crate::check::Finding;
use crate::exam::score::{DomainScore, ExamScore};
use crate::report::tests::{kept, result};
use crate::report::{ExamReport, ExamTaskReport};

/// What learners write who want to know.
pub(crate) const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"' & {{ 7 * 7 }} `<b>` \u{202e}\u{1b}[31m";

fn hostile() -> Report {
    let mut task = result();
    task.scenario = HOSTILE.to_owned();
    task.provider = HOSTILE.to_owned();
    task.checks[1].title = HOSTILE.to_owned();
    task.checks[1].why = HOSTILE.to_owned();
    task.checks[1].findings = vec![Finding::new(HOSTILE, HOSTILE, HOSTILE, HOSTILE)];
    task.checks[1].resources = vec![StudyLink {
        title: HOSTILE.to_owned(),
        url: "javascript:alert(3)".to_owned(),
        kind: LinkKind::Allowed,
    }];
    task.checks[3].reason = Some(HOSTILE.to_owned());
    let mut report = kept(vec![task]);
    report.tasks[0].title = HOSTILE.to_owned();
    report.tasks[0].attack = Some(HOSTILE.to_owned());
    report.tasks[0].domain = HOSTILE.to_owned();
    report.mode = Mode::Exam;
    let desk = ExamTaskReport {
        host: HOSTILE.to_owned(),
        domain: HOSTILE.to_owned(),
        weight: 100,
        score: 33.33,
        spent_seconds: 60,
        note: HOSTILE.to_owned(),
    };
    let domain = DomainScore {
        id: "x".to_owned(),
        title: HOSTILE.to_owned(),
        weight: 100,
        tasks: 1,
        share: 100,
        score: 33.33,
    };
    let score =
        ExamScore { score: 33.33, pass_mark: 67, passed: false, undecided: 22.22, domains: vec![domain] };
    report.exam =
        Some(ExamReport { track: HOSTILE.to_owned(), variant: 1, tasks: vec![desk], result: score });
    report.sealed()
}

#[test]
fn whatever_learners_and_clusters_write_stays_text() {
    let report = hostile();
    let page = render(&report).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "only the data");
    for never in ["<img", "<b>", "onerror=alert(2)>", "href=\"javascript", "</script><"] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.matches("&lt;script&gt;alert(1)").count() > 10);
    assert!(page.contains("{{ 7 * 7 }}"), "it is no template either");
    let value: Report = serde_json::from_str(data(&page).unwrap()).unwrap();
    assert_eq!(value, report, "and comes back as it was");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = render(&kept(vec![result()]).sealed()).unwrap();
    for never in ["src=", "@import", "url(", "<link", "<iframe", "http-equiv=\"refresh\""] {
        assert!(!page.contains(never), "{never}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_says_what_was_expected_found_why_and_what_to_read() {
    let page = render(&kept(vec![result()]).sealed()).unwrap();
    for text in [
        "<h1 class=\"isolate\">A releaser that owns the cluster</h1>",
        "3 of 9 points",
        "✗ not passed",
        "<code>releaser</code> can do nothing outside <code>shop</code>",
        "ServiceAccount shop-ci/releaser <code>get secrets in kube-system</code>",
        "<dt>expected</dt><dd class=\"value\">denied</dd><dt>found</dt><dd class=\"value\">allowed</dd>",
        "Whoever steals this token gets whatever it may do.",
        "href=\"https://kubernetes.io/docs/concepts/security/rbac-good-practices/\"",
        "<h2 id=\"unjudged\">Could not be judged</h2>",
        "<h2 id=\"skipped\">Skipped</h2>",
        "the cluster has no nodes to work on",
        "aria-label=\"A releaser that owns the cluster: 2:05 of 7:00\"",
        "Cluster Hardening",
        "Not affiliated with or endorsed by",
        "does not show who did the work",
    ] {
        assert!(page.contains(text), "{text:?} is missing in:\n{page}");
    }
}

#[test]
fn text_between_backticks_is_code_and_a_single_one_is_itself() {
    assert_eq!(inline("a `b<c` d"), "a <code>b&lt;c</code> d");
    assert_eq!(inline("a ` b"), "a ` b");
    assert_eq!(inline("`a` `b"), "<code>a</code> `b");
}

#[test]
fn an_exam_shows_its_domains_against_the_pass_mark() {
    let page = render(&hostile()).unwrap();
    assert!(page.contains("33.33 %") && page.contains("67 % are needed"), "{page}");
    assert!(page.contains("style=\"left:67.0%\""));
    assert!(page.contains("22.22 % of the exam hang on them"));
}
