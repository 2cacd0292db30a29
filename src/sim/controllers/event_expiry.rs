//! Events do not stay: the API server's `--event-ttl` is an hour after they were last written.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const EVENTS: GroupResource = GroupResource::of("", "events");
const TTL: SignedDuration = SignedDuration::from_hours(1);
/// How long after one has expired the others are looked at: they go in groups.
const PERIOD: Duration = Duration::from_secs(60);

/// Removes events whose time is over.
#[derive(Debug)]
pub(crate) struct EventExpiry;

/// Returns when an event was last written.
fn written(event: &Value) -> Option<Timestamp> {
    [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ]
    .into_iter()
    .filter_map(meta::time)
    .max()
}

#[async_trait]
impl Controller for EventExpiry {
    fn name(&self) -> &'static str {
        "event-expiry"
    }

    fn follows(&self) -> Vec<GroupResource> {
        Vec::from([EVENTS])
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        // One key for all: the earliest time counts, so that thousands of events cost nothing.
        if !notice.is_gone() && notice.previous.is_none() {
            queue.add_after(Key::new("", ""), TTL.unsigned_abs());
        }
    }

    fn begin(&self, queue: &Queue) {
        queue.add(Key::new("", ""));
    }

    async fn sync(&self, cx: &Cx, _key: &Key) -> Result<Next, Status> {
        let now = cx.clock().now();
        let mut earliest: Option<Timestamp> = None;
        for entry in cx.store().list(&EVENTS, None) {
            let Some(expiry) = written(&entry.object).and_then(|at| at.checked_add(TTL).ok()) else {
                continue;
            };
            if expiry > now {
                earliest = Some(earliest.map_or(expiry, |known| known.min(expiry)));
                continue;
            }
            // As etcd does it: no request, so nothing that could refuse.
            let revision = Some(entry.revision);
            let _ = cx.store().delete(&EVENTS, entry.namespace(), entry.name(), revision);
        }
        let next = earliest.map(|at| cx.until(at).unwrap_or_default().max(PERIOD));
        Ok(Next::Done.or_after(next))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;

    #[tokio::test(start_paused = true)]
    async fn an_event_goes_an_hour_after_it_was_last_seen() {
        let lab = Lab::new(1).await;
        let pod = |name: &str, command: &str| {
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: app, image: \
                 'busybox:1.36', command: {command}}}]}}}}"
            )
        };
        lab.apply(&pod("still", "[sleep, '86400']")).await;
        lab.apply(&pod("crashing", "[sh, -c, exit 1]")).await;
        lab.phase("still", "Running").await;
        lab.pass(1800).await;
        lab.apply(&pod("later", "[sleep, '86400']")).await;
        lab.pass(1700).await;
        assert!(!lab.events("still").is_empty());
        lab.pass(300).await;
        assert_eq!(lab.events("still"), Vec::<String>::new());
        assert!(!lab.events("later").is_empty(), "its hour is not over");
        let repeated = lab.events("crashing");
        assert!(repeated.iter().any(|event| event.contains("BackOff")), "{repeated:?}");
        assert!(!repeated.iter().any(|event| event.contains("Scheduled")), "{repeated:?}");
    }
}
