//! Reports as JUnit XML: a suite a task, a case a check, for systems that show test results. What could not be judged
//! is an error and what was skipped is skipped; neither is a failure.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report as Document, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::seal::Seal;
use super::text::findings::{groups, together};
use super::{CheckResult, OutcomeName, Report, ReportedTask};

/// Renders a report. Characters that XML cannot hold are left out.
///
/// # Errors
/// The serializer's.
pub fn render(report: &Report) -> Result<String, SerializeError> {
    let mut document = Document::new("cks-lab");
    document.set_time(Duration::from_secs(report.elapsed_seconds));
    for (index, task) in report.tasks.iter().enumerate() {
        document.add_test_suite(suite(report, index, task));
    }
    document.to_string()
}

fn suite(report: &Report, index: usize, task: &ReportedTask) -> TestSuite {
    let mut suite = TestSuite::new(format!("{} {}", index + 1, task.title));
    suite.set_time(Duration::from_secs(task.result.elapsed_seconds));
    let mut property = |name: &str, value: String| {
        suite.add_property(Property::new(name, value));
    };
    property("session", report.session.to_string());
    property("scenario", task.result.scenario.clone());
    property("variant", task.result.variant.to_string());
    property("provider", task.result.provider.clone());
    property("domain", task.domain.clone());
    property("score", format!("{}/{}", task.result.score, task.result.max));
    if let Some(Seal { digest, .. }) = &report.seal {
        property("seal", digest.clone());
    }
    for check in &task.result.checks {
        let mut case = TestCase::new(check.title.clone(), status(check));
        case.set_classname(format!("{}.{}.{}", task.domain, task.result.scenario, check.id));
        let worth = match check.gate {
            true => "gate".to_owned(),
            false => format!("{}/{}", check.awarded, check.points),
        };
        case.add_property(Property::new("points", worth));
        suite.add_test_case(case);
    }
    suite
}

fn status(check: &CheckResult) -> TestCaseStatus {
    let reason = || check.reason.clone().unwrap_or_default();
    match check.outcome {
        OutcomeName::Pass => TestCaseStatus::success(),
        OutcomeName::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(if check.gate { "gate" } else { "check" });
            status.set_message(format!("{} not as expected", check.title));
            status.set_description(description(check));
            status
        }
        OutcomeName::CannotJudge => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("cannot-judge");
            status.set_message(reason());
            status
        }
        OutcomeName::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason());
            status
        }
    }
}

fn description(check: &CheckResult) -> String {
    let mut lines = Vec::new();
    for group in groups(&check.findings) {
        for (object, places) in &group.objects {
            lines.push(format!("{object} {}", together(places).join("; ")).trim_end().to_owned());
        }
        if group.further > 0 {
            lines.push(format!("and {} more", group.further));
        }
        lines.push(format!("  expected: {}", group.expected));
        lines.push(format!("  found: {}", group.actual));
    }
    if !check.why.is_empty() {
        lines.push(format!("why: {}", check.why.trim()));
    }
    lines.extend(check.resources.iter().map(|link| format!("read: {} {}", link.title, link.url)));
    lines.join("\n")
}
