use super::*;

/// A task with one check of each outcome.
pub(crate) fn result() -> TaskReport {
    let check = |id: &str, title: &str, points, awarded, outcome| CheckResult {
        id: id.to_owned(),
        title: title.to_owned(),
        points,
        awarded,
        gate: points == 0,
        outcome,
        simulated: false,
        findings: Vec::new(),
        reason: None,
        why: "Whoever steals this token gets whatever it may do.".to_owned(),
        resources: vec![StudyLink {
            title: "RBAC good practices".to_owned(),
            url: "https://kubernetes.io/docs/concepts/security/rbac-good-practices/".to_owned(),
            kind: LinkKind::Allowed,
        }],
    };
    let mut failed = check("nothing-more", "It can release and do nothing else", 4, 0, OutcomeName::Fail);
    failed.findings = vec![Finding::new(
        "ServiceAccount shop-ci/releaser",
        "get secrets in kube-system",
        "denied",
        "allowed",
    )];
    let mut errored = check("quota", "No Service is external", 2, 0, OutcomeName::CannotJudge);
    errored.reason = Some("the cluster did not answer: connection refused".to_owned());
    let mut skipped = check("files", "The file is private", 1, 0, OutcomeName::Skipped);
    skipped.reason = Some("the cluster has no nodes to work on".to_owned());
    TaskReport {
        scenario: "shrink-the-releaser".to_owned(),
        session: SessionId::parse("shrink-the-releaser-k3f9").unwrap(),
        variant: 7,
        provider: "sim".to_owned(),
        score: 3,
        max: 9,
        passed: false,
        elapsed_seconds: 125,
        checks: vec![
            check("stays", "`releaser` can do nothing outside `shop`", 3, 3, OutcomeName::Pass),
            failed,
            check("can-release", "The pipeline still works", 0, 0, OutcomeName::Pass),
            errored,
            skipped,
        ],
    }
}

/// A kept report of practice tasks.
pub(crate) fn kept(results: Vec<TaskReport>) -> Report {
    let tasks = results.into_iter().map(|result| ReportedTask {
        title: "A releaser that owns the cluster".to_owned(),
        topic: "rbac".to_owned(),
        domain: "cluster-hardening".to_owned(),
        minutes: 7,
        hints: 1,
        resets: 0,
        attack: Some("Read every Secret of the cluster as the releaser".to_owned()),
        digest: "0123456789abcdef".to_owned(),
        result,
    });
    Report {
        session: SessionId::parse("shrink-the-releaser-k3f9").unwrap(),
        mode: Mode::Practice,
        started: "2026-09-01T12:00:00Z".parse().unwrap(),
        submitted: "2026-09-01T12:02:05Z".parse().unwrap(),
        elapsed_seconds: 125,
        limit_seconds: Some(420),
        overtime_seconds: None,
        clock_jumps: Vec::new(),
        score: 3,
        max: 9,
        passed: false,
        exam: None,
        program: "0.1.0".to_owned(),
        tasks: tasks.collect(),
        seal: None,
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_failed_check_says_what_was_expected_what_was_found_why_and_what_to_read() {
    let text = plain(&text::task(&result(), 90));
    let expected = indoc::indoc! {"
        ✓ pass [3/3] `releaser` can do nothing outside `shop`
        ✗ FAIL [0/4] It can release and do nothing else
            ServiceAccount shop-ci/releaser get secrets in kube-system
              expected denied
              found    allowed
              why      Whoever steals this token gets whatever it may do.
              read     [1]
        ✓ pass [gate] The pipeline still works
        ? cannot judge [0/2] No Service is external
              because  the cluster did not answer: connection refused
        - skipped [0/1] The file is private
              because  the cluster has no nodes to work on

        What to read
          [1]  RBAC good practices
               https://kubernetes.io/docs/concepts/security/rbac-good-practices/

        3 of 9 points, not passed (1 check could not be judged, 1 check skipped)
    "};
    assert_eq!(text, expected);
}

fn findings_as_text(findings: Vec<Finding>) -> String {
    let mut many = result();
    many.checks.truncate(2);
    many.checks[1].findings = findings;
    let text = plain(&text::task(&many, 90));
    let begin = text.find("do nothing else\n").unwrap() + "do nothing else\n".len();
    text[begin..text.find("      why").unwrap()].to_owned()
}

#[test]
fn what_is_found_alike_is_said_once() {
    let allowed = |path: &str| Finding::new("ServiceAccount shop-ci/releaser", path, "denied", "allowed");
    let text = findings_as_text(vec![
        allowed("get secrets cluster-wide"),
        allowed("list secrets cluster-wide"),
        allowed("get pods in shop"),
        Finding::further("ServiceAccount shop-ci/releaser", 17),
        Finding::new("ServiceAccount shop-ci/other", "get pods in shop", "denied", "allowed"),
        Finding::new("Pod shop/web", "spec.hostPID", "absent", "true"),
    ]);
    let expected = indoc::indoc! {"
        \x20   ServiceAccount shop-ci/releaser
        \x20     • get, list secrets cluster-wide
        \x20     • get pods in shop
        \x20   ServiceAccount shop-ci/other get pods in shop
        \x20     and 17 more
        \x20     expected denied
        \x20     found    allowed
        \x20   Pod shop/web spec.hostPID
        \x20     expected absent
        \x20     found    true
    "};
    assert_eq!(text, expected);
}

#[test]
fn what_is_found_very_often_or_is_very_long_is_cut_short() {
    let finding =
        |number: usize| Finding::new(format!("Pod shop/web-{number}"), "", "ready", "x".repeat(999));
    let text = findings_as_text((1..=8).map(finding).collect());
    assert!(text.contains("web-8\n") && !text.contains("more"), "{text}");
    let text = findings_as_text((1..=10).map(finding).collect());
    assert!(text.contains("web-7\n      and 3 more\n") && !text.contains("web-8"), "{text}");
    assert!(text.contains("xxx…\n") && text.lines().all(|line| line.chars().count() <= 90), "{text}");
}

#[test]
fn what_is_only_modelled_is_marked() {
    let mut some = result();
    some.checks[1].simulated = true;
    let text = plain(&text::task(&some, 100));
    assert!(text.contains("✗ FAIL [0/4] ~ It can release"), "{text}");
    assert!(text.contains("Checks marked ~ look at something that this cluster only models."), "{text}");
    some.checks.iter_mut().for_each(|check| check.simulated = true);
    let text = plain(&text::task(&some, 100));
    assert!(text.contains("Judged on a simulated cluster.") && !text.contains('~'), "{text}");
}

#[test]
fn nothing_that_could_not_be_judged_reads_as_passed_or_failed() {
    let mut undecided = result();
    undecided.checks.retain(|check| check.outcome != OutcomeName::Fail);
    let sum = plain(&text::sum(&undecided));
    assert!(sum.contains("undecided") && !sum.contains("passed"), "{sum}");
}

#[test]
fn a_kept_report_tells_of_lateness_and_of_a_moved_clock() {
    let mut late = kept(vec![result()]);
    late.overtime_seconds = Some(65);
    late.clock_jumps = vec![Jump { noticed: late.submitted, seconds: -3600 }];
    let text = plain(&text::report(&late, 100));
    for expected in [
        "A releaser that owns the cluster",
        "Read every Secret of the cluster as the releaser",
        "Done in 2:05 with 1 hint.",
        "Submitted 1:05 after the time was up.",
        "moved back by 1:00:00",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

#[test]
fn a_kept_report_survives_being_written_and_read() {
    let report = kept(vec![result()]);
    let text = json::render(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["tasks"][0]["checks"][3]["outcome"], "cannot-judge");
    assert_eq!(value["tasks"][0]["score"], 3, "the grading lies flat in the task");
}
