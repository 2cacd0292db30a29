//! The webhook backend: events are gathered for a short while and posted as one EventList.

use std::time::Duration;

use tokio::sync::mpsc;

use super::Sink;
use crate::sim::outbound::Target;

const AGENT: &str = "kube-apiserver/v1.34.0 (linux/amd64) kubernetes";
/// How many events wait at most (`--audit-webhook-batch-buffer-size`); more are lost.
const BUFFER: usize = 10_000;
/// How many go at once (`--audit-webhook-batch-max-size`).
const BATCH: usize = 400;
/// How long the first waits for others. Upstream's 30 s (`--audit-webhook-batch-max-wait`), shortened for learners.
const WAIT: Duration = Duration::from_secs(1);
/// How often a batch is sent when the backend stumbles, and how long before the second time.
const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(30);

/// A backend that gets events by HTTPS. It ends when it is dropped.
#[derive(Debug)]
pub struct Webhook {
    events: mpsc::Sender<String>,
}

impl Webhook {
    /// Posts events to `target`, from a task on the current runtime.
    pub fn start(target: Target) -> Self {
        let (events, waiting) = mpsc::channel(BUFFER);
        tokio::spawn(post(target, waiting));
        Self { events }
    }
}

impl Sink for Webhook {
    fn take(&self, event: &str) {
        let _ = self.events.try_send(event.to_owned());
    }
}

async fn post(target: Target, mut waiting: mpsc::Receiver<String>) {
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        let until = tokio::time::Instant::now() + WAIT;
        while batch.len() < BATCH {
            match tokio::time::timeout_at(until, waiting.recv()).await {
                Ok(Some(event)) => batch.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        let body = format!(
            "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{}]}}\n",
            batch.join(",")
        );
        let mut pause = BACKOFF;
        for _ in 0..ATTEMPTS {
            let sent = target.post(body.clone().into_bytes(), Some(TIMEOUT), AGENT).await;
            if sent.is_ok_and(|answer| answer.code < 500 && answer.code != 429) {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = pause * 3 / 2;
        }
    }
}
