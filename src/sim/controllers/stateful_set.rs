//! StatefulSets: Pods with a name and storage of their own, made in order and replaced from the last one down.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::claim::claim;
use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::workload;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

pub(crate) const STATEFUL_SETS: GroupResource = GroupResource::of("apps", "statefulsets");
const REVISIONS: GroupResource = GroupResource::of("apps", "controllerrevisions");
const CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");

const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Keeps StatefulSets.
#[derive(Debug)]
pub(crate) struct StatefulSets;

/// The template that Pods are made from now, and the one that they are being replaced from.
struct Revisions {
    current: String,
    update: String,
    current_template: Value,
    collisions: i64,
}

fn selector(set: &Value) -> Selector {
    Selector::from_label_selector(&set["spec"]["selector"]).unwrap_or_else(|_| Selector::nothing())
}

/// Returns the ordinal at the end of a Pod's name.
fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    meta::name(pod).strip_prefix(meta::name(set))?.strip_prefix('-')?.parse().ok()
}

fn is_running_and_ready(pod: &Value) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}

#[async_trait]
impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![STATEFUL_SETS, PODS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&PODS) {
            workload::owners_of_pod(cx, notice, &STATEFUL_SETS, "StatefulSet", selector, queue);
        } else {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(set) = cx.get(&STATEFUL_SETS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let selector = selector(&set);
        let mut candidates = cx.list(&PODS, Some(&key.namespace));
        candidates.retain(|pod| ordinal(&set, pod).is_some());
        let mine = claim(cx, &PODS, &set, &selector, candidates).await?;
        if meta::is_deleting(&set) {
            return Ok(Next::Done);
        }
        let revisions = revisions(cx, &set).await?;
        let managed = manage(cx, &set, &mine, &revisions).await;
        write_status(cx, &set, &selector, &revisions).await?;
        managed?;
        clean_up(cx, &set, &mine, &revisions).await?;
        let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
        let now = cx.clock().now();
        Ok(Next::Done.or_after(mine.iter().filter_map(|pod| pods::available_in(pod, min_ready, now)).min()))
    }
}

/// Finds or makes the ControllerRevision of the template.
async fn revisions(cx: &Cx, set: &Value) -> Result<Revisions, Status> {
    let namespace = meta::namespace(set);
    let collisions = meta::int(&set["status"]["collisionCount"], 0);
    let template = &set["spec"]["template"];
    let mut known = cx.list(&REVISIONS, Some(namespace));
    known.retain(|revision| meta::is_controlled_by(revision, set));
    let number = |revision: &Value| meta::int(&revision["revision"], 0);
    let newest = known.iter().map(|revision| number(revision)).max().unwrap_or_default();
    let mut data = template.clone();
    data["$patch"] = "replace".into();
    let same = known.iter().find(|revision| object::equal(&revision["data"]["spec"]["template"], &data));
    let update = match same {
        Some(revision) => {
            if number(revision) < newest {
                let patch = json!({ "revision": newest + 1 });
                cx.client.merge_patch(&REVISIONS, namespace, meta::name(revision), "", patch).await?;
            }
            meta::name(revision).to_owned()
        }
        None => {
            let hash = meta::template_hash(template, Some(collisions).filter(|count| *count > 0));
            let name = format!("{}-{hash}", meta::name(set));
            let mut labels = template["metadata"]["labels"].clone();
            labels["controller.kubernetes.io/hash"] = hash.as_str().into();
            let mut revision = json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision",
                "metadata": { "name": name, "namespace": namespace, "labels": labels,
                              "ownerReferences": [meta::controller_reference(set)] },
                "data": { "spec": { "template": data } }, "revision": newest + 1,
            });
            if set["metadata"]["annotations"].is_object() {
                revision["metadata"]["annotations"] = set["metadata"]["annotations"].clone();
            }
            match cx.client.create(&REVISIONS, namespace, revision).await {
                Err(status) if status.reason != "AlreadyExists" => return Err(status),
                _ => name,
            }
        }
    };
    let current = set["status"]["currentRevision"].as_str().filter(|name| !name.is_empty());
    let current = current.map_or_else(|| update.clone(), str::to_owned);
    let kept = cx.get(&REVISIONS, namespace, &current);
    let mut current_template = kept.map_or(Value::Null, |kept| kept["data"]["spec"]["template"].clone());
    object::remove(&mut current_template, "$patch");
    let current_template = if current_template.is_null() { template.clone() } else { current_template };
    Ok(Revisions { current, update, current_template, collisions })
}

/// Deletes the oldest revisions beyond the limit that nothing is made from any more.
async fn clean_up(cx: &Cx, set: &Value, mine: &[Arc<Value>], revisions: &Revisions) -> Result<(), Status> {
    let Some(limit) = set["spec"]["revisionHistoryLimit"].as_u64() else { return Ok(()) };
    let live = |name: &str| {
        name == revisions.current
            || name == revisions.update
            || mine.iter().any(|pod| meta::label(pod, REVISION_LABEL) == Some(name))
    };
    let mut old = cx.list(&REVISIONS, Some(meta::namespace(set)));
    old.retain(|revision| meta::is_controlled_by(revision, set) && !live(meta::name(revision)));
    old.sort_by_key(|revision| meta::int(&revision["revision"], 0));
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for revision in old.iter().take(surplus) {
        let options = DeleteOptions::default();
        match cx.client.delete(&REVISIONS, meta::namespace(set), meta::name(revision), options).await {
            Err(status) if status.code != 404 => return Err(status),
            _ => {}
        }
    }
    Ok(())
}

/// Makes, deletes and replaces Pods, one at a time unless the set says that they may come and go in parallel.
async fn manage(cx: &Cx, set: &Value, mine: &[Arc<Value>], revisions: &Revisions) -> Result<(), Status> {
    let wanted = meta::int(&set["spec"]["replicas"], 1);
    let start = meta::int(&set["spec"]["ordinals"]["start"], 0);
    let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
    let partition = meta::int(&set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 0);
    let find = |at: i64| mine.iter().find(|pod| ordinal(set, pod) == Some(at));
    for at in start..start + wanted {
        match find(at) {
            None => {
                let old = revisions.current != revisions.update && at < start + partition;
                create(cx, set, at, revisions, old).await?;
                if !parallel {
                    return Ok(());
                }
            }
            Some(pod) if pods::is_finished(pod) && !meta::is_deleting(pod) => {
                let about = |what: &str| {
                    let (namespace, name) = (meta::namespace(set), meta::name(set));
                    format!("StatefulSet {namespace}/{name} is recreating {what} Pod {}", meta::name(pod))
                };
                if pods::phase(pod) == "Failed" {
                    cx.recorder.warning(set, "RecreatingFailedPod", about("failed"));
                } else {
                    cx.recorder.normal(set, "RecreatingTerminatedPod", about("terminated"));
                }
                delete(cx, set, pod).await?;
                return Ok(());
            }
            Some(pod) => {
                let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
                let available = pods::is_available(pod, min_ready, cx.clock().now());
                if !parallel && (meta::is_deleting(pod) || !is_running_and_ready(pod) || !available) {
                    return Ok(());
                }
            }
        }
    }
    let mut surplus: Vec<&Arc<Value>> = mine
        .iter()
        .filter(|pod| ordinal(set, pod).is_some_and(|at| at < start || at >= start + wanted))
        .collect();
    surplus.sort_by_key(|pod| std::cmp::Reverse(ordinal(set, pod)));
    for pod in surplus {
        if !meta::is_deleting(pod) {
            delete(cx, set, pod).await?;
        }
        if !parallel {
            return Ok(());
        }
    }
    if set["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Ok(());
    }
    for at in (start + partition..start + wanted).rev() {
        let Some(pod) = find(at) else { return Ok(()) };
        if meta::label(pod, REVISION_LABEL) != Some(&revisions.update) && !meta::is_deleting(pod) {
            return delete(cx, set, pod).await;
        }
        if meta::is_deleting(pod) || !is_running_and_ready(pod) {
            return Ok(());
        }
    }
    Ok(())
}

async fn create(cx: &Cx, set: &Value, at: i64, revisions: &Revisions, old: bool) -> Result<(), Status> {
    let namespace = meta::namespace(set);
    let name = format!("{}-{at}", meta::name(set));
    let template = if old { &revisions.current_template } else { &set["spec"]["template"] };
    let revision = if old { &revisions.current } else { &revisions.update };
    let mut pod = pods::from_template(template, set);
    object::remove(&mut pod["metadata"], "generateName");
    pod["metadata"]["name"] = name.as_str().into();
    pod["metadata"]["labels"][REVISION_LABEL] = revision.as_str().into();
    pod["metadata"]["labels"][NAME_LABEL] = name.as_str().into();
    pod["metadata"]["labels"][INDEX_LABEL] = at.to_string().into();
    pod["spec"]["hostname"] = name.as_str().into();
    if let Some(service) = set["spec"]["serviceName"].as_str().filter(|service| !service.is_empty()) {
        pod["spec"]["subdomain"] = service.into();
    }
    let mut volumes: Vec<Value> = meta::items(&pod["spec"]["volumes"]).cloned().collect();
    for template in meta::items(&set["spec"]["volumeClaimTemplates"]) {
        let claim = format!("{}-{name}", meta::name(template));
        volumes.retain(|volume| volume["name"] != meta::name(template));
        volumes
            .push(json!({ "name": meta::name(template), "persistentVolumeClaim": { "claimName": claim } }));
        if cx.get(&CLAIMS, namespace, &claim).is_none() {
            let mut metadata = json!({ "name": claim, "namespace": namespace });
            for field in ["labels", "annotations"] {
                if template["metadata"][field].is_object() {
                    metadata[field] = template["metadata"][field].clone();
                }
            }
            for (key, value) in meta::texts(&set["spec"]["selector"]["matchLabels"]) {
                metadata["labels"][key] = value.into();
            }
            let object = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"],
            });
            cx.client.create(&CLAIMS, namespace, object).await?;
            let message =
                format!("create Claim {claim} Pod {name} in StatefulSet {} success", meta::name(set));
            cx.recorder.normal(set, "SuccessfulCreate", message);
        }
    }
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = volumes.into();
    }
    let what = format!("Pod {name} in StatefulSet {}", meta::name(set));
    match cx.client.create(&PODS, namespace, pod).await {
        Ok(_) => {
            cx.recorder.normal(set, "SuccessfulCreate", format!("create {what} successful"));
            Ok(())
        }
        Err(status) if status.reason == "AlreadyExists" || pods::is_namespace_going(&status) => Err(status),
        Err(status) => {
            cx.recorder.warning(set, "FailedCreate", format!("create {what} failed error: {status}"));
            Err(status)
        }
    }
}

async fn delete(cx: &Cx, set: &Value, pod: &Value) -> Result<(), Status> {
    let options = DeleteOptions { uid: Some(meta::uid(pod).to_owned()), ..DeleteOptions::default() };
    match cx.client.delete(&PODS, meta::namespace(pod), meta::name(pod), options).await {
        Err(status) if status.code != 404 => Err(status),
        _ => {
            let message =
                format!("delete Pod {} in StatefulSet {} successful", meta::name(pod), meta::name(set));
            cx.recorder.normal(set, "SuccessfulDelete", message);
            Ok(())
        }
    }
}

async fn write_status(
    cx: &Cx,
    set: &Value,
    selector: &Selector,
    revisions: &Revisions,
) -> Result<(), Status> {
    let namespace = meta::namespace(set);
    let mut mine = cx.list(&PODS, Some(namespace));
    mine.retain(|pod| meta::is_controlled_by(pod, set) && selector.matches(meta::labels(pod)));
    let now = cx.clock().now();
    let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
    let count = |keep: &dyn Fn(&Value) -> bool| mine.iter().filter(|pod| keep(pod)).count();
    let of = |pod: &Value, revision: &str| {
        meta::label(pod, REVISION_LABEL) == Some(revision) && !meta::is_deleting(pod)
    };
    let wanted = usize::try_from(meta::int(&set["spec"]["replicas"], 1)).unwrap_or_default();
    let ready = count(&is_running_and_ready);
    let updated = count(&|pod| of(pod, &revisions.update));
    let done = updated == wanted && ready == wanted && mine.len() == wanted;
    let current = if done { &revisions.update } else { &revisions.current };
    let mut status = json!({
        "replicas": mine.len(),
        "availableReplicas": count(&|pod| pods::is_available(pod, min_ready, now)),
        "collisionCount": revisions.collisions,
        "currentRevision": current, "updateRevision": revisions.update,
        "observedGeneration": meta::generation(set),
    });
    meta::set_omitempty(&mut status, "readyReplicas", ready);
    meta::set_omitempty(&mut status, "currentReplicas", count(&|pod| of(pod, current)));
    meta::set_omitempty(&mut status, "updatedReplicas", updated);
    if !object::equal(&status, &set["status"]) {
        let mut update = Value::clone(set);
        update["status"] = status;
        cx.client.update_status(&STATEFUL_SETS, namespace, meta::name(set), update).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
