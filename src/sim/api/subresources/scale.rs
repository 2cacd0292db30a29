//! `scale`: the replicas of a workload, in one shape for all kinds.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::sim::admission::Operation;
use crate::sim::api::call::Call;
use crate::sim::api::patch::Patch;
use crate::sim::api::resources::GroupVersionKind;
use crate::sim::api::verbs::{self, ResourceRequest};
use crate::sim::api::{Api, convert};
use crate::sim::crd::Scale;
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

impl Api {
    pub(super) async fn on_scale(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Value, Status> {
        let kind = GroupVersionKind::of("autoscaling", "v1", "Scale");
        match request.info.verb.as_str() {
            "update" => {
                call.options = request.options("UpdateOptions")?;
                let scale = self.decode_as(call, &kind, request)?;
                verbs::named(call, &scale)?;
                self.set_scale(call, |_| Ok(scale.clone())).await
            }
            "patch" => {
                call.options = request.options("PatchOptions")?;
                let patch = Patch::read(call, request)?;
                let validation = call.options.validation;
                self.set_scale(call, |current| Ok(patch.apply_to(current, &kind, None, validation)?.0)).await
            }
            _ => {
                let entry = self.read(call).await?;
                let object = convert::from_storage(&call.resource, &entry.object);
                scale_of(call, &object)
            }
        }
    }

    async fn set_scale(
        &self,
        call: &mut Call,
        make: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let before = self.read(call).await?;
        let old = scale_of(call, &before.object)?;
        let wanted = make(&old)?;
        let wanted = self.admit_scale(call, old, wanted).await?;
        let mut parent = call.clone();
        parent.admitted = true;
        parent.subresource.clear();
        parent.tracked_as = Some("scale");
        let replicas = wanted["spec"].int("replicas").unwrap_or_default();
        if replicas < 0 {
            let detail = "must be greater than or equal to 0";
            let error = FieldError::invalid(&Path::new("spec.replicas"), replicas, detail);
            return Err(Status::invalid("autoscaling", "Scale", &call.name, &vec![error]));
        }
        let reading = call.clone();
        let expected = wanted["metadata"].text("resourceVersion").to_owned();
        // A patch carries the version along that it was made from, which nobody asked for.
        let asked = expected != before.revision.to_string() || request_names_version(call);
        let updated = self
            .update(&mut parent, false, |old| {
                let old = old.cloned().unwrap_or_default();
                let mut new = Value::clone(&old);
                set_replicas(&reading, &mut new, replicas);
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove("resourceVersion");
                    if asked && !expected.is_empty() {
                        metadata.insert("resourceVersion".to_owned(), expected.clone().into());
                    }
                }
                Ok(new)
            })
            .await;
        for warning in std::mem::take(&mut parent.warnings) {
            call.warn(warning);
        }
        scale_of(call, &updated?.object)
    }
}

impl Api {
    /// Admits a change of a scale: it is the Scale that is judged, not the workload.
    async fn admit_scale(&self, call: &mut Call, old: Value, wanted: Value) -> Result<Value, Status> {
        let mut request = self.admission_request(call, Operation::Update, Some(wanted), Some(Arc::new(old)));
        "Scale".clone_into(&mut request.kind);
        let cx = self.admission_cx();
        let mut judged = self.admission().admit(&cx, &mut request).await;
        if judged.is_ok() {
            judged = self.admission().validate(&cx, &mut request).await;
        }
        self.collect(call, &mut request);
        judged?;
        Ok(request.object.take().unwrap_or_default())
    }
}

fn request_names_version(call: &Call) -> bool {
    call.options.raw.text("kind") == "UpdateOptions"
}

/// Shows a workload as a Scale.
fn scale_of(call: &Call, object: &Value) -> Result<Value, Status> {
    let from = &object["metadata"];
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if from.has(field) {
            metadata[field] = from[field].clone();
        }
    }
    let (wanted, counted, selector) = match paths(call) {
        Some(paths) => {
            let at = |path: &str| follow(object, path).clone();
            let selector = paths.selector_path.as_deref().map(at);
            (at(&paths.spec_path), at(&paths.status_path), selector.unwrap_or_default())
        }
        None => {
            let selector = &object["spec"]["selector"];
            let plain = call.resource.plural == "replicationcontrollers";
            (
                object["spec"]["replicas"].clone(),
                object["status"]["replicas"].clone(),
                selector_text(selector, plain).into(),
            )
        }
    };
    if wanted.is_null() && paths(call).is_some() {
        let path = paths(call).map(|paths| paths.spec_path).unwrap_or_default();
        return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    let mut spec = json!({});
    if wanted.as_i64().is_some_and(|wanted| wanted != 0) {
        spec["replicas"] = wanted;
    }
    let mut status = json!({ "replicas": counted.as_i64().unwrap_or_default() });
    if selector.as_str().is_some_and(|text| !text.is_empty()) {
        status["selector"] = selector;
    }
    Ok(json!({ "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec,
        "status": status }))
}

fn paths(call: &Call) -> Option<Scale> {
    call.custom.as_ref()?.scale().cloned()
}

fn set_replicas(call: &Call, object: &mut Value, replicas: i64) {
    let path = paths(call).map_or_else(|| ".spec.replicas".to_owned(), |paths| paths.spec_path);
    let mut at = object;
    for name in path.trim_start_matches('.').split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name];
    }
    *at = replicas.into();
}

fn follow<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.trim_start_matches('.').split('.').fold(object, |value, name| value.at(name))
}

/// Writes a selector in the form that queries take.
fn selector_text(selector: &Value, plain: bool) -> String {
    let labels = if plain { selector } else { selector.at("matchLabels") };
    let mut parts: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in selector.items("matchExpressions") {
        let (key, mut values) = (expression.text("key"), expression.texts("values"));
        values.sort_unstable();
        parts.push(match expression.text("operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort_by(|a, b| key_of(a).cmp(key_of(b)));
    parts.join(",")
}

fn key_of(requirement: &str) -> &str {
    let text = requirement.trim_start_matches('!');
    text.split(['=', ' ']).next().unwrap_or(text)
}
