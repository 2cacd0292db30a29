use super::super::testing::Lab;
use super::*;

fn tick(spec: &str, command: &str) -> String {
    format!(
        "{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: tick}}, spec: {{schedule: '* * * * *', {spec} jobTemplate: \
         {{spec: {{template: {{spec: {{terminationGracePeriodSeconds: 1, restartPolicy: Never, containers: [{{name: j, image: \
         'busybox:1.36', command: {command}}}]}}}}}}}}}}}}"
    )
}

fn jobs(lab: &Lab) -> Vec<String> {
    lab.list("jobs.batch", "tick").iter().map(|job| meta::name(job).to_owned()).collect()
}

/// The lab begins at noon; a Job's name ends with the minutes of its time.
fn named(minute: i64) -> String {
    let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    format!("tick-{}", noon.as_second() / 60 + minute)
}

#[tokio::test(start_paused = true)]
async fn a_job_comes_at_each_scheduled_time_and_few_are_kept() {
    let lab = Lab::new(1).await;
    lab.apply(&tick("", "[date]")).await;
    lab.pass(65).await;
    assert_eq!(jobs(&lab), [named(1)]);
    let job = lab.the("jobs.batch", &format!("t/{}", named(1)));
    assert_eq!(
        meta::annotation(&job, "batch.kubernetes.io/cronjob-scheduled-timestamp"),
        Some("2026-11-23T12:01:00Z")
    );
    assert_eq!(meta::controller(&job).unwrap()["kind"], "CronJob");
    lab.pass(5 * 60).await;
    assert_eq!(jobs(&lab), [named(4), named(5), named(6)], "three that succeeded are kept");
    let cron = lab.the("cronjobs.batch", "t/tick");
    assert_eq!(cron["status"]["lastScheduleTime"], "2026-11-23T12:06:00Z");
    assert!(cron["status"]["lastSuccessfulTime"].is_string() && cron["status"].get("active").is_none());
    let told = lab.events("tick");
    for event in [
        format!("Normal SuccessfulCreate Created job {}", named(1)),
        format!("Normal SawCompletedJob Saw completed job: {}, condition: Complete", named(1)),
        format!("Normal SuccessfulDelete Deleted job {}", named(1)),
    ] {
        assert!(told.contains(&event), "{event}: {told:?}");
    }
    lab.patch("cronjobs.batch", "t/tick", "", "{spec: {suspend: true}}").await;
    lab.pass(180).await;
    assert_eq!(jobs(&lab).last(), Some(&named(6)));
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_what_happens_while_one_runs() {
    for (policy, running) in [
        ("Allow", vec![named(1), named(2), named(3)]),
        ("Forbid", vec![named(1)]),
        ("Replace", vec![named(3)]),
    ] {
        let lab = Lab::new(1).await;
        lab.apply(&tick(&format!("concurrencyPolicy: {policy},"), "[sleep, '3600']")).await;
        lab.pass(185).await;
        assert_eq!(jobs(&lab), running, "{policy}");
        let cron = lab.the("cronjobs.batch", "t/tick");
        assert_eq!(cron["status"]["active"].as_array().unwrap().len(), running.len());
        let told = "Normal JobAlreadyActive Not starting job because prior execution is running and concurrency policy is \
                    Forbid";
        assert_eq!(lab.events("tick").contains(&told.to_owned()), policy == "Forbid");
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_job_is_kept_and_one_by_hand_is_unexpected() {
    let lab = Lab::new(1).await;
    lab.apply(
        &tick("", "[sh, -c, exit 1]")
            .replace("jobTemplate: {spec: {", "jobTemplate: {spec: {backoffLimit: 0, "),
    )
    .await;
    lab.pass(4 * 60 + 5).await;
    assert_eq!(jobs(&lab), [named(4)]);
    let cron = lab.the("cronjobs.batch", "t/tick");
    let owner = serde_json::to_string(&meta::controller_reference(&cron)).unwrap();
    let job = format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: manual, ownerReferences: [{owner}]}}, spec: {{template: {{spec: \
         {{restartPolicy: Never, containers: [{{name: j, image: 'busybox:1.36', command: [sleep, '3600']}}]}}}}}}}}"
    );
    lab.apply(&job).await;
    lab.pass(2).await;
    let told = "Warning UnexpectedJob Saw a job that the controller did not create or forgot: manual";
    assert!(lab.events("tick").contains(&told.to_owned()), "{:?}", lab.events("tick"));
}
