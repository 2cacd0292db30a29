//! Old certificate requests: those that were answered go after an hour, those that nobody answered after a day.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::REQUESTS;
use crate::sim::client::DeleteOptions;
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::pki;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);
/// How often upstream looks.
const PERIOD: Duration = Duration::from_secs(3600);

/// Deletes old requests.
#[derive(Debug)]
pub(crate) struct Cleaner;

#[async_trait]
impl Controller for Cleaner {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![REQUESTS]
    }

    fn begin(&self, queue: &Queue) {
        queue.add(Key::new("", ""));
    }

    fn notice(&self, _cx: &Cx, _notice: &Notice<'_>, _queue: &Queue) {}

    async fn sync(&self, cx: &Cx, _key: &Key) -> Result<Next, Status> {
        let now = cx.clock().now();
        for request in cx.list(&REQUESTS, None).iter().filter(|request| is_old(request, now)) {
            match cx.client.delete(&REQUESTS, "", meta::name(request), DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        Ok(Next::After(PERIOD))
    }
}

/// Tells whether a request has been there for too long for the state it is in.
fn is_old(request: &Value, now: Timestamp) -> bool {
    let past = |since: Option<Timestamp>, limit| since.is_some_and(|at| now.duration_since(at) > limit);
    let certificate = request["status"]["certificate"].as_str().unwrap_or_default();
    let issued = !certificate.is_empty();
    for condition in meta::items(&request["status"]["conditions"]) {
        let answered = match condition["type"].as_str() {
            Some("Approved") => issued,
            Some("Denied" | "Failed") => true,
            _ => false,
        };
        if answered && past(meta::time(&condition["lastUpdateTime"]), ANSWERED) {
            return true;
        }
    }
    let unanswered = !issued && meta::items(&request["status"]["conditions"]).next().is_none();
    (unanswered && past(meta::created(request), PENDING))
        || (issued && expires(certificate).is_some_and(|end| end < now))
}

/// Returns when an issued certificate ends.
fn expires(certificate: &str) -> Option<Timestamp> {
    let pem = String::from_utf8(STANDARD.decode(certificate).ok()?).ok()?;
    let der = pki::der(&pem)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_state_has_its_age() {
        let at = |hours: i64| {
            let now: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
            is_old_after(now, hours)
        };
        fn is_old_after(now: Timestamp, hours: i64) -> [bool; 4] {
            let since = meta::seconds(now - SignedDuration::from_hours(hours) - SignedDuration::from_secs(1));
            let with = |status: Value| json!({"metadata": {"creationTimestamp": since}, "status": status});
            let condition = |kind: &str| json!([{"type": kind, "lastUpdateTime": since}]);
            [
                with(json!({})),
                with(json!({"conditions": condition("Denied")})),
                with(json!({"conditions": condition("Approved"), "certificate": "bm9uZQ=="})),
                with(json!({"conditions": condition("Approved")})),
            ]
            .map(|request| is_old(&request, now))
        }
        assert_eq!(at(0), [false, false, false, false]);
        assert_eq!(at(1), [false, true, true, false]);
        assert_eq!(at(24), [true, true, true, false], "one that is approved waits for its signer");
    }
}
