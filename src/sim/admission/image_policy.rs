//! ImagePolicyWebhook: a backend outside the cluster is asked whether the images of a Pod may be run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::PODS;
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::Fields as _;
use crate::sim::outbound::Answer;
use crate::sim::status::Status;

mod configuration;
#[cfg(test)]
mod tests;

pub use configuration::Configuration;

/// What an annotation of a Pod is called that the backend is told of.
const ANNOTATIONS: &str = ".image-policy.k8s.io/";
/// What the annotations for the audit event begin with.
const AUDIT: &str = "imagepolicywebhook.image-policy.k8s.io/";
/// The Pod's own note that nobody could be asked.
const FAILED_OPEN: &str = "alpha.image-policy.k8s.io/failed-open";
/// How long the backend may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked in all when it stumbles.
const ATTEMPTS: u32 = 5;
/// How many answers are kept.
const KEPT: usize = 1024;
const AGENT: &str = "kube-apiserver/v1.34.0 (linux/amd64) kubernetes";

/// The plugin.
#[derive(Debug)]
pub struct ImagePolicyWebhook {
    /// Nobody can be asked without.
    configuration: Option<Configuration>,
    answers: Answers,
}

/// Answers by question, and until when they are good, in time since the boot.
#[derive(Debug, Default)]
struct Answers(Mutex<BTreeMap<String, (Duration, Value)>>);

impl Answers {
    fn recall(&self, question: &str, now: Duration) -> Option<Value> {
        let kept = self.lock();
        let (until, answer) = kept.get(question)?;
        (now < *until).then(|| answer.clone())
    }

    fn keep(&self, question: String, answer: Value, now: Duration, good_for: Duration) {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.retain(|_, (until, _)| now < *until);
        }
        if kept.len() >= KEPT {
            kept.pop_first();
        }
        kept.insert(question, (now + good_for, answer));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Duration, Value)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImagePolicyWebhook {
    /// Asks the backend of the configuration.
    pub fn new(configuration: Option<Configuration>) -> Self {
        Self { configuration, answers: Answers::default() }
    }
}

#[async_trait]
impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        "ImagePolicyWebhook"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !request.concerns(&PODS) || !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let lists: &[&str] = match request.subresource.as_str() {
            "" => &["containers", "initContainers"],
            "ephemeralcontainers" => &["ephemeralContainers"],
            _ => return Ok(()),
        };
        let Some(configuration) = &self.configuration else {
            return Err(request.forbidden("no config specified"));
        };
        let question = question(request, lists);
        let status = match self.answer(configuration, cx.clock.monotonic(), &question).await {
            Ok(status) => status,
            Err(_) if configuration.default_allow => {
                open(request);
                return Ok(());
            }
            Err(why) => return Err(request.forbidden(why)),
        };
        for (key, value) in status.entries("auditAnnotations") {
            let value = value.as_str().unwrap_or_default().to_owned();
            request.audit_annotations.insert(format!("{AUDIT}{key}"), value);
        }
        if status["allowed"] == true {
            return Ok(());
        }
        Err(match status.text("reason") {
            "" => request.forbidden("one or more images rejected by webhook backend"),
            reason => {
                request.forbidden(format!("image policy webhook backend denied one or more images: {reason}"))
            }
        })
    }
}

impl ImagePolicyWebhook {
    /// Returns what the backend says, now or a short while ago.
    async fn answer(
        &self,
        configuration: &Configuration,
        now: Duration,
        spec: &Value,
    ) -> Result<Value, String> {
        let key = spec.to_string();
        if let Some(status) = self.answers.recall(&key, now) {
            return Ok(status);
        }
        let status = ask(configuration, spec).await?;
        let good_for =
            if status["allowed"] == true { configuration.allow_ttl } else { configuration.deny_ttl };
        self.answers.keep(key, status.clone(), now, good_for);
        Ok(status)
    }
}

async fn ask(configuration: &Configuration, spec: &Value) -> Result<Value, String> {
    let review = json!({ "kind": "ImageReview", "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": { "creationTimestamp": null }, "spec": spec, "status": { "allowed": false } });
    let body = serde_json::to_vec(&review).unwrap_or_default();
    let mut pause = configuration.retry_backoff;
    let mut attempt = 1;
    let answer = loop {
        let answer = configuration.target.post(body.clone(), Some(TIMEOUT), AGENT).await;
        let stumbled = match &answer {
            Ok(Answer { code, .. }) => *code == 429 || *code == 500,
            Err(why) => why.ends_with("connection reset by peer"),
        };
        if !stumbled || attempt == ATTEMPTS {
            break answer?;
        }
        attempt += 1;
        tokio::time::sleep(pause).await;
        pause = pause * 3 / 2;
    };
    let body = answer.success()?;
    let review: Value = serde_json::from_slice(&body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    if review.text("kind") != "ImageReview" || review.text("apiVersion") != "imagepolicy.k8s.io/v1alpha1" {
        return Err(format!(
            "no kind {:?} is registered for version {:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            review.text("kind"),
            review.text("apiVersion")
        ));
    }
    Ok(review.at("status").clone())
}

/// Lets a Pod pass that nobody could be asked about, and notes that.
fn open(request: &mut AdmissionRequest) {
    request.audit_annotations.insert(format!("{AUDIT}failed-open"), "true".to_owned());
    if let Some(pod) = &mut request.object {
        pod["metadata"]["annotations"][FAILED_OPEN] = "true".into();
    }
}

/// What is asked: the images, and what the Pod says to the backend.
fn question(request: &AdmissionRequest, lists: &[&str]) -> Value {
    let pod = request.object();
    let containers: Vec<Value> = lists
        .iter()
        .flat_map(|list| pod["spec"].items(list))
        .map(|container| json!({ "image": container.text("image") }))
        .collect();
    let mut spec = json!({ "containers": containers, "namespace": request.namespace });
    for (key, value) in pod["metadata"].entries("annotations") {
        if key.contains(ANNOTATIONS) {
            spec["annotations"][key] = value.clone();
        }
    }
    spec
}
