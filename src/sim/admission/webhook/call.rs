//! One call of one webhook.

use std::time::Duration;

use serde_json::Value;

use super::review::{Answered, Review, Unreadable};
use super::{Failure, Hook};
use crate::sim::admission::matching::Matched;
use crate::sim::admission::{AdmissionCx, AdmissionRequest};
use crate::sim::object::Fields as _;
use crate::sim::outbound::Target;
use crate::sim::status::Status;

/// How the API server names itself to webhooks.
const AGENT: &str = "kube-apiserver-admission";

/// A call that is ready to be made, without anything of the request that it is about.
pub(super) struct Call {
    review: Review,
    target: Target,
    timeout: Duration,
}

/// Prepares the call of a webhook about a request.
pub(super) fn prepare(
    cx: &AdmissionCx<'_>,
    hook: &Hook,
    request: &AdmissionRequest,
    matched: &Matched,
    objects: (&Value, &Value),
) -> Result<Call, Failure> {
    let spec = hook.spec();
    if request.dry_run && !matches!(spec.text("sideEffects"), "None" | "NoneOnDryRun") {
        let why = format!("admission webhook {:?} does not support dry run", hook.name());
        return Err(Failure::Other(Status::bad_request(why)));
    }
    let review = Review::of(request, matched, &spec.texts("admissionReviewVersions"), objects)
        .map_err(|why| Failure::Calling(format!("could not create admission objects: {why}")))?;
    let target = Target::configured(cx.store, spec.at("clientConfig"))
        .map_err(|why| Failure::Calling(format!("could not get REST client: {why}")))?;
    let seconds = spec.int("timeoutSeconds").and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10);
    Ok(Call { review, target, timeout: Duration::from_secs(seconds) })
}

impl Call {
    /// Makes the call.
    pub(super) async fn make(&self, mutating: bool) -> Result<Answered, Failure> {
        let failed = |why: String| Failure::Calling(format!("failed to call webhook: {why}"));
        let body = serde_json::to_vec(&self.review.body).unwrap_or_default();
        let answer = self.target.post(body, Some(self.timeout), AGENT).await.map_err(failed)?;
        let body = answer.success().map_err(failed)?;
        self.review.read(&body, mutating).map_err(|error| match error {
            Unreadable::Document(why) => failed(why),
            Unreadable::Review(why) => Failure::Calling(format!("received invalid webhook response: {why}")),
        })
    }
}

/// Takes from an answer what goes to the client and into the audit event, whatever it says.
pub(super) fn collect(request: &mut AdmissionRequest, hook: &str, answer: &Answered) {
    for (key, value) in &answer.annotations {
        request.audit_annotations.entry(format!("{hook}/{key}")).or_insert_with(|| value.clone());
    }
    for warning in &answer.warnings {
        request.warn(warning.clone());
    }
}
