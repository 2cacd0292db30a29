//! Namespaces that are going: their content is deleted, Pods first, and when all of it is gone the finalizer is taken off.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::PODS;
use super::queue::{Key, Queue};
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

pub(crate) const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const FINALIZER: &str = "kubernetes";

/// Empties and finalizes namespaces.
#[derive(Debug)]
pub(crate) struct Namespaces;

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&NAMESPACES) {
            if meta::is_deleting(notice.object) && !notice.is_gone() {
                queue.add(notice.key());
            }
            return;
        }
        let namespace = meta::namespace(notice.object);
        // What is left matters when something went, or when its finalizers changed.
        if namespace.is_empty() || !(notice.is_gone() || meta::is_deleting(notice.object)) {
            return;
        }
        if cx.get(&NAMESPACES, "", namespace).is_some_and(|ns| meta::is_deleting(&ns)) {
            queue.add(Key::new("", namespace));
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(namespace) = cx.get(&NAMESPACES, "", &key.name) else { return Ok(Next::Done) };
        if !meta::is_deleting(&namespace) {
            return Ok(Next::Done);
        }
        let finalized = !meta::items(&namespace["spec"]["finalizers"]).any(|f| f == FINALIZER);
        if finalized {
            return Ok(Next::Done);
        }
        let failures = delete_content(cx, &key.name).await;
        let left = Content::of(cx, &key.name);
        let mut updated = Value::clone(&namespace);
        updated["status"]["phase"] = "Terminating".into();
        set_conditions(&mut updated["status"], &left, &failures, cx.clock().now());
        let namespace = if object::equal(&updated["status"], &namespace["status"]) {
            namespace
        } else {
            cx.client.update_status(&NAMESPACES, "", &key.name, updated).await?
        };
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure);
        }
        if left.is_empty() {
            finalize(cx, &namespace).await?;
        }
        Ok(Next::Done)
    }
}

/// Deletes what is there and not yet going; as long as there are Pods only those, so that policies outlive them.
async fn delete_content(cx: &Cx, namespace: &str) -> Vec<Status> {
    let mut failures = Vec::new();
    let mut resources: Vec<Arc<GroupResource>> = cx.store().resources();
    resources.sort_by_key(|resource| **resource != PODS);
    for resource in resources {
        let objects = cx.list(&resource, Some(namespace));
        for object in
            objects.iter().filter(|object| meta::namespace(object) == namespace && !meta::is_deleting(object))
        {
            let options = DeleteOptions {
                propagation_policy: Some("Background".to_owned()),
                uid: Some(meta::uid(object).to_owned()),
                ..DeleteOptions::default()
            };
            match cx.client.delete(&resource, namespace, meta::name(object), options).await {
                Err(status) if !matches!(status.code, 404 | 409) => failures.push(status),
                _ => {}
            }
        }
        if *resource == PODS && !cx.list(&PODS, Some(namespace)).is_empty() {
            break;
        }
    }
    failures
}

async fn finalize(cx: &Cx, namespace: &Value) -> Result<(), Status> {
    let mut updated = namespace.clone();
    let rest: Vec<Value> =
        meta::items(&namespace["spec"]["finalizers"]).filter(|f| *f != FINALIZER).cloned().collect();
    updated["spec"]["finalizers"] = rest.into();
    let name = meta::name(namespace);
    match cx.client.update_subresource(&NAMESPACES, "", name, "finalize", updated).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What a namespace still holds.
#[derive(Debug, Default)]
struct Content {
    resources: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

impl Content {
    fn of(cx: &Cx, namespace: &str) -> Self {
        let mut content = Self::default();
        for resource in cx.store().resources() {
            for object in cx.list(&resource, Some(namespace)) {
                if meta::namespace(&object) != namespace {
                    continue;
                }
                *content.resources.entry(format!("{}.{}", resource.resource, resource.group)).or_default() +=
                    1;
                for finalizer in meta::items(&object["metadata"]["finalizers"]).filter_map(Value::as_str) {
                    *content.finalizers.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        content
    }

    fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }
}

fn set_conditions(status: &mut Value, left: &Content, failures: &[Status], now: Timestamp) {
    let remaining: Vec<String> =
        left.resources.iter().map(|(name, count)| format!("{name} has {count} resource instances")).collect();
    let finalizers: Vec<String> =
        left.finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let failed: Vec<&str> = failures.iter().map(|status| status.message.as_str()).collect();
    let either = |bad: bool, yes: (&'static str, String), no: (&'static str, &str)| {
        if bad { ("True", yes.0, yes.1) } else { ("False", no.0, no.1.to_owned()) }
    };
    let content_failure =
        format!("Failed to delete all resource types, {} remaining: {}", failed.len(), failed.join(", "));
    for (kind, (value, reason, message)) in [
        (
            "NamespaceDeletionDiscoveryFailure",
            ("False", "ResourcesDiscovered", "All resources successfully discovered".to_owned()),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            ("False", "ParsedGroupVersions", "All legacy kube types successfully parsed".to_owned()),
        ),
        (
            "NamespaceDeletionContentFailure",
            either(
                !failures.is_empty(),
                ("ContentDeletionFailed", content_failure),
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
        ),
        (
            "NamespaceContentRemaining",
            either(
                !remaining.is_empty(),
                ("SomeResourcesRemain", format!("Some resources are remaining: {}", remaining.join(", "))),
                ("ContentRemoved", "All content successfully removed"),
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            either(
                !finalizers.is_empty(),
                (
                    "SomeFinalizersRemain",
                    format!(
                        "Some content in the namespace has finalizers remaining: {}",
                        finalizers.join(", ")
                    ),
                ),
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ),
    ] {
        set_condition(status, kind, value, reason, &message, now);
    }
}

fn set_condition(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let condition = json!({
        "type": kind, "status": value, "reason": reason, "message": message,
        "lastTransitionTime": meta::seconds(now),
    });
    let Some(conditions) = status["conditions"].as_array_mut() else {
        status["conditions"] = json!([condition]);
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(known)
            if known["status"] == value && known["reason"] == reason && known["message"] == message => {}
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_namespace_goes_when_all_in_it_is_gone() {
        let lab = Lab::new(1).await;
        lab.apply(
            "
apiVersion: v1
kind: ConfigMap
metadata: {name: held, finalizers: [example.com/hold]}
---
apiVersion: v1
kind: Secret
metadata: {name: used}
---
apiVersion: v1
kind: Pod
metadata: {name: slow, finalizers: [example.com/hold]}
spec:
  containers: [{name: c, image: 'busybox:1.36', command: [sleep, '3600']}]
",
        )
        .await;
        lab.phase("slow", "Running").await;
        lab.delete("namespaces", "t", None).await;
        lab.pass(120).await;
        assert!(lab.get("secrets", "t/used").is_some(), "what Pods may use goes after them");
        lab.patch("pods", "t/slow", "", "{metadata: {finalizers: null}}").await;
        lab.gone("secrets", "t/used").await;
        assert!(lab.get("pods", "t/slow").is_none());
        let kind = "NamespaceFinalizersRemaining";
        let waiting = lab
            .wait("namespaces", "t", |ns| {
                let condition = meta::condition(ns, kind);
                condition.is_some_and(|c| !c["message"].as_str().unwrap_or_default().contains("2 resource"))
            })
            .await;
        assert_eq!(waiting["status"]["phase"], "Terminating");
        assert_eq!(
            meta::condition(&waiting, kind).unwrap()["message"],
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert_eq!(
            meta::condition(&waiting, "NamespaceContentRemaining").unwrap()["message"],
            "Some resources are remaining: configmaps. has 1 resource instances"
        );
        lab.pass(300).await;
        assert!(lab.get("namespaces", "t").is_some());
        lab.patch("configmaps", "t/held", "", "{metadata: {finalizers: null}}").await;
        lab.gone("namespaces", "t").await;
    }
}
