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

mod running {
    use super::*;
    use crate::sim::controllers::testing::Lab;

    fn yaml(name: &str, spec: &str, policy: &str, command: &str) -> String {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{{spec} template: {{spec: \
             {{terminationGracePeriodSeconds: 1, restartPolicy: {policy}, containers: [{{name: j, image: 'busybox:1.36', \
             command: {command}}}]}}}}}}}}"
        )
    }

    fn conditions(job: &Value) -> Vec<String> {
        let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        let shown = |c: &Value| {
            format!("{}={} {}: {}", text(c, "type"), text(c, "status"), text(c, "reason"), text(c, "message"))
        };
        meta::items(&job["status"]["conditions"]).map(shown).collect()
    }

    async fn ended(lab: &Lab, name: &str) -> Arc<Value> {
        lab.wait("jobs.batch", &format!("t/{name}"), |job| finished(job).is_some()).await
    }

    #[tokio::test(start_paused = true)]
    async fn enough_pods_that_succeed_complete_it() {
        let lab = Lab::new(1).await;
        lab.apply(&yaml("ok", "completions: 2,", "Never", "[echo, hi]")).await;
        let job = ended(&lab, "ok").await;
        let reached = "CompletionsReached: Reached expected number of succeeded pods";
        assert_eq!(
            conditions(&job),
            [format!("SuccessCriteriaMet=True {reached}"), format!("Complete=True {reached}")]
        );
        let status = &job["status"];
        assert_eq!(
            (
                &status["succeeded"],
                &status["ready"],
                &status["terminating"],
                &status["uncountedTerminatedPods"]
            ),
            (&json!(2), &json!(0), &json!(0), &json!({}))
        );
        assert!(status["completionTime"].is_string() && status.get("active").is_none());
        lab.pass(1).await;
        assert_eq!(lab.events("ok").last().unwrap(), "Normal Completed Job completed");
        assert!(lab.list("pods", "ok").iter().all(|pod| pod["metadata"].get("finalizers").is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_beyond_the_limit_and_the_deadline_fail_it() {
        let lab = Lab::new(1).await;
        lab.apply(&yaml("fails", "backoffLimit: 1,", "Never", "[sh, -c, exit 7]")).await;
        lab.apply(&yaml("in-place", "backoffLimit: 1,", "OnFailure", "[sh, -c, exit 7]")).await;
        lab.apply(&yaml("late", "activeDeadlineSeconds: 5,", "Never", "[sleep, '3600']")).await;
        let limit = "BackoffLimitExceeded: Job has reached the specified backoff limit";
        let job = ended(&lab, "fails").await;
        assert_eq!(conditions(&job), [format!("FailureTarget=True {limit}"), format!("Failed=True {limit}")]);
        assert_eq!((&job["status"]["failed"], lab.list("pods", "fails").len()), (&json!(2), 2));
        let job = ended(&lab, "in-place").await;
        assert_eq!(conditions(&job)[1], format!("Failed=True {limit}"));
        lab.until("its Pod's end", |lab| lab.list("pods", "in-place").is_empty().then_some(())).await;
        let job = ended(&lab, "late").await;
        let deadline = "DeadlineExceeded: Job was active longer than specified deadline";
        assert_eq!(
            conditions(&job),
            [format!("FailureTarget=True {deadline}"), format!("Failed=True {deadline}")]
        );
        lab.pass(1).await;
        let told = lab.events("late");
        assert!(told[1].starts_with("Normal SuccessfulDelete Deleted pod: late-"), "{told:?}");
        assert_eq!(told[2], "Warning DeadlineExceeded Job was active longer than specified deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspended_job_has_no_pods_until_it_is_resumed() {
        let lab = Lab::new(1).await;
        lab.apply(&yaml("held", "suspend: true,", "Never", "[sleep, '5']")).await;
        lab.pass(10).await;
        assert!(lab.list("pods", "held").is_empty());
        let job = lab.the("jobs.batch", "t/held");
        assert_eq!(conditions(&job), ["Suspended=True JobSuspended: Job suspended"]);
        assert!(job["status"].get("startTime").is_none());
        lab.patch("jobs.batch", "t/held", "", "{spec: {suspend: false}}").await;
        let job = ended(&lab, "held").await;
        assert_eq!(conditions(&job)[0], "Suspended=False JobResumed: Job resumed");
        let told = lab.events("held");
        assert_eq!(told[0], "Normal Suspended Job suspended");
        assert!(told.contains(&"Normal Resumed Job resumed".to_owned()), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_index_has_its_pod_and_its_own_limit() {
        let lab = Lab::new(1).await;
        let indexed = "completions: 3, parallelism: 3, completionMode: Indexed,";
        lab.apply(&yaml("all", indexed, "Never", "[echo, hi]")).await;
        let job = ended(&lab, "all").await;
        assert_eq!(job["status"]["completedIndexes"], "0-2");
        let limited = format!("{indexed} backoffLimitPerIndex: 1,");
        let command = "[sh, -c, 'if [ \"$JOB_COMPLETION_INDEX\" = 1 ]; then exit 1; fi']";
        lab.apply(&yaml("some", &limited, "Never", command)).await;
        let job = ended(&lab, "some").await;
        let status = &job["status"];
        assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0,2"), &json!("1")));
        assert_eq!(conditions(&job)[1], "Failed=True FailedIndexes: Job has failed indexes");
        let tries = lab.list("pods", "some-1-").len();
        assert_eq!(tries, 2, "one and one more");
    }

    #[tokio::test(start_paused = true)]
    async fn more_failed_indexes_than_allowed_end_it_early() {
        let lab = Lab::new(1).await;
        let spec = "completions: 4, parallelism: 1, completionMode: Indexed, backoffLimitPerIndex: 0, maxFailedIndexes: 1,";
        lab.apply(&yaml("few", spec, "Never", "[sh, -c, exit 1]")).await;
        let job = ended(&lab, "few").await;
        assert_eq!(job["status"]["failedIndexes"], "0,1", "the others were never tried");
        assert_eq!(
            conditions(&job)[1],
            "Failed=True MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_policy_ends_it_at_once() {
        let lab = Lab::new(1).await;
        let policy = "backoffLimit: 6, podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: \
                      [42]}}]},";
        lab.apply(&yaml("strict", policy, "Never", "[sh, -c, exit 42]")).await;
        let job = ended(&lab, "strict").await;
        let pod = meta::name(&lab.list("pods", "strict")[0]).to_owned();
        assert_eq!(
            conditions(&job)[1],
            format!(
                "Failed=True PodFailurePolicy: Container j for pod t/{pod} failed with exit code 42 matching FailJob rule at \
                 index 0"
            )
        );
        assert_eq!(lab.list("pods", "strict").len(), 1);
    }
}
