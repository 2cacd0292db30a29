//! Jobs that say for how long they are kept after they have ended.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::engine::{Controller, Cx, Next, Notice};
use super::job::{JOBS, finished};
use super::queue::{Key, Queue};
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

/// Deletes ended Jobs in time.
#[derive(Debug)]
pub(crate) struct TtlAfterFinished;

/// Returns when a Job is to go; nothing when it has not ended or stays.
fn expiry(job: &Value) -> Option<Timestamp> {
    let seconds = job["spec"]["ttlSecondsAfterFinished"].as_i64()?;
    let ended = meta::time(&finished(job)?["lastTransitionTime"])?;
    ended.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[async_trait]
impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![JOBS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() && !meta::is_deleting(notice.object) && expiry(notice.object).is_some() {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(job) = cx.get(&JOBS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let Some(expiry) = expiry(&job).filter(|_| !meta::is_deleting(&job)) else { return Ok(Next::Done) };
        if let Some(left) = cx.until(expiry) {
            return Ok(Next::After(left));
        }
        let options = DeleteOptions {
            propagation_policy: Some("Foreground".to_owned()),
            uid: Some(meta::uid(&job).to_owned()),
            ..DeleteOptions::default()
        };
        match cx.client.delete(&JOBS, &key.namespace, &key.name, options).await {
            Err(status) if !matches!(status.code, 404 | 409) => Err(status),
            _ => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_ended_job_goes_with_its_pods_when_its_time_is_over() {
        let lab = Lab::new(1).await;
        let job = |name: &str, ttl: &str| {
            format!(
                "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{{ttl} template: {{spec: \
                 {{restartPolicy: Never, containers: [{{name: j, image: 'busybox:1.36', command: [echo, hi]}}]}}}}}}}}"
            )
        };
        lab.apply(&job("brief", "ttlSecondsAfterFinished: 30,")).await;
        lab.apply(&job("kept", "")).await;
        let done = lab.wait("jobs.batch", "t/brief", |job| finished(job).is_some()).await;
        let ended = meta::time(&finished(&done).unwrap()["lastTransitionTime"]).unwrap();
        lab.gone("jobs.batch", "t/brief").await;
        let after = lab.client.clock().now().duration_since(ended).as_secs();
        assert!((30..=32).contains(&after), "{after}");
        assert!(lab.list("pods", "brief").is_empty());
        lab.pass(600).await;
        assert_eq!(lab.list("pods", "kept").len(), 1);
    }
}
