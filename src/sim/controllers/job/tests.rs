use super::verdict::{Verdict, judge};
use super::*;

fn job(spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": "j", "namespace": "ns", "uid": "u"}, "spec": spec, "status": status})
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-01-02T03:04:05Z";

#[test]
fn enough_successes_complete_it() {
    let spec = json!({"completions": 2, "parallelism": 1, "backoffLimit": 6});
    assert_eq!(judge(&job(spec.clone(), json!({"succeeded": 1})), &[], at(NOW)), None);
    let verdict = judge(&job(spec, json!({"succeeded": 2})), &[], at(NOW));
    assert!(matches!(verdict, Some(Verdict::Complete { reason: "CompletionsReached", .. })));
}

#[test]
fn more_failures_than_the_limit_fail_it() {
    let spec = json!({"completions": 1, "backoffLimit": 1});
    assert_eq!(judge(&job(spec.clone(), json!({"failed": 1})), &[], at(NOW)), None);
    let verdict = judge(&job(spec, json!({"failed": 2})), &[], at(NOW));
    let message = "Job has reached the specified backoff limit".to_owned();
    assert_eq!(verdict, Some(Verdict::Failed { reason: "BackoffLimitExceeded", message }));
}

#[test]
fn restarts_in_place_count_as_failures() {
    let spec =
        json!({"completions": 1, "backoffLimit": 1, "template": {"spec": {"restartPolicy": "OnFailure"}}});
    let pod = |restarts: i64| {
        Arc::new(json!({"status": {"phase": "Running", "containerStatuses": [{"restartCount": restarts}]}}))
    };
    assert_eq!(judge(&job(spec.clone(), json!({})), &[pod(0)], at(NOW)), None);
    assert!(judge(&job(spec, json!({})), &[pod(1)], at(NOW)).is_some());
}

#[test]
fn the_deadline_counts_from_the_start() {
    let spec = json!({"completions": 1, "activeDeadlineSeconds": 5});
    let status = json!({"startTime": "2026-01-02T03:04:00Z"});
    assert_eq!(judge(&job(spec.clone(), status.clone()), &[], at("2026-01-02T03:04:04Z")), None);
    let verdict = judge(&job(spec, status), &[], at(NOW));
    assert!(matches!(verdict, Some(Verdict::Failed { reason: "DeadlineExceeded", .. })));
}

#[test]
fn a_failure_policy_fails_it_or_ignores_the_pod() {
    let spec = json!({"completions": 1, "podFailurePolicy": {"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]}});
    let failed = |status: Value| {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "status": status});
        pod["status"]["phase"] = "Failed".into();
        Arc::new(pod)
    };
    let exit = |code: i64| {
        failed(json!({"containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": code}}}]}))
    };
    let job = job(spec, json!({}));
    assert_eq!(judge(&job, &[exit(1)], at(NOW)), None);
    let message =
        "Container app for pod ns/p failed with exit code 42 matching FailJob rule at index 1".to_owned();
    assert_eq!(
        judge(&job, &[exit(42)], at(NOW)),
        Some(Verdict::Failed { reason: "PodFailurePolicy", message })
    );
    let disrupted = failed(json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}));
    assert!(verdict::is_ignored(&job, &disrupted));
}
