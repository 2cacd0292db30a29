//! Claims and volumes: who is bound to whom, what a class provisions, what happens to a volume whose claim is gone.
//! `matching` finds volumes, `provisioner` is the one of kind's default class, `protection` keeps what is in use.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::object;
use crate::sim::pod_refs;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

mod matching;
pub(super) mod protection;
pub(super) mod provisioner;
#[cfg(test)]
mod tests;

pub(super) const CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
pub(super) const VOLUMES: GroupResource = GroupResource::of("", "persistentvolumes");
pub(super) const CLASSES: GroupResource = GroupResource::of("storage.k8s.io", "storageclasses");

const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const BETA_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// `--pvclaimbinder-sync-period`: after it, what holds a claim up is said again.
const RESYNC: Duration = Duration::from_secs(15);

/// Binds claims and volumes.
#[derive(Debug)]
pub(crate) struct Binder;

fn class_of(object: &Value) -> &str {
    object["spec"]["storageClassName"].as_str().unwrap_or_default()
}

/// Returns the volume that a claim names; empty without one.
fn volume_of(claim: &Value) -> &str {
    claim["spec"]["volumeName"].as_str().unwrap_or_default()
}

/// Tells whether a volume is reserved for a claim, by uid where it has one.
fn is_for(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    reference["name"] == meta::name(claim)
        && reference["namespace"] == meta::namespace(claim)
        && (reference["uid"].as_str().is_none_or(str::is_empty) || reference["uid"] == meta::uid(claim))
}

#[async_trait]
impl Controller for Binder {
    fn name(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn component(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![CLAIMS, VOLUMES, CLASSES]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&CLAIMS) {
            queue.add(notice.key());
            if notice.is_gone() {
                queue.add(Key::new("", volume_of(notice.object)));
            }
        } else if notice.is(&VOLUMES) {
            if !notice.is_gone() {
                queue.add(notice.key());
            }
            let reference = &notice.object["spec"]["claimRef"];
            let of = |field: &str| reference[field].as_str().unwrap_or_default();
            if !of("name").is_empty() {
                queue.add(Key::new(of("namespace"), of("name")));
            }
            // A volume that is free may be what somebody waits for.
            if notice.changed("/spec") || notice.changed("/status/phase") {
                waiting(cx, |claim| class_of(claim) == class_of(notice.object), queue);
            }
        } else {
            waiting(cx, |_| true, queue);
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        if key.namespace.is_empty() {
            return match cx.get(&VOLUMES, "", &key.name) {
                Some(volume) => sync_volume(cx, &volume).await,
                None => Ok(Next::Done),
            };
        }
        let Some(claim) = cx.get(&CLAIMS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        if meta::annotation(&claim, BIND_COMPLETED).is_some() {
            return sync_bound(cx, &claim).await;
        }
        if meta::is_deleting(&claim) {
            return Ok(Next::Done);
        }
        sync_unbound(cx, &claim).await
    }
}

/// Queues the claims that are not bound.
fn waiting(cx: &Cx, which: impl Fn(&Value) -> bool, queue: &Queue) {
    for entry in cx.store().list(&CLAIMS, None) {
        if meta::annotation(&entry.object, BIND_COMPLETED).is_none() && which(&entry.object) {
            queue.add(Key::new(entry.namespace(), entry.name()));
        }
    }
}

async fn sync_unbound(cx: &Cx, claim: &Arc<Value>) -> Result<Next, Status> {
    if !volume_of(claim).is_empty() {
        return sync_prebound(cx, claim).await;
    }
    let class = cx.get(&CLASSES, "", class_of(claim));
    let waits = class.as_deref().is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer");
    let chosen = meta::annotation(claim, SELECTED_NODE).is_some();
    let volumes = cx.list(&VOLUMES, None);
    // With a class that waits, the scheduler decides; only what was reserved by hand is bound before.
    if let Some(volume) = matching::find(claim, &volumes, waits && !chosen) {
        return bind(cx, &volume, claim).await;
    }
    if class_of(claim).is_empty() {
        if claim["spec"]["storageClassName"].is_null()
            && let Some(default) = default_class(cx)
        {
            let patch = json!({"spec": {"storageClassName": default}});
            cx.client.merge_patch(&CLAIMS, meta::namespace(claim), meta::name(claim), "", patch).await?;
            return Ok(Next::Done);
        }
        let text = "no persistent volumes available for this claim and no storage class is set";
        cx.recorder.normal(claim, "FailedBinding", text);
        return pending(cx, claim).await;
    }
    if waits && !chosen {
        match pod_to_be_scheduled(cx, claim) {
            Some(pod) => {
                let text = format!("waiting for pod {pod} to be scheduled");
                cx.recorder.normal(claim, "WaitForPodScheduled", text);
            }
            None => {
                let text = "waiting for first consumer to be created before binding";
                cx.recorder.normal(claim, "WaitForFirstConsumer", text);
            }
        }
        return pending(cx, claim).await;
    }
    let Some(class) = class else {
        let text = format!("storageclass.storage.k8s.io {:?} not found", class_of(claim));
        cx.recorder.warning(claim, "ProvisioningFailed", text);
        return pending(cx, claim).await;
    };
    let provisioner = class["provisioner"].as_str().unwrap_or_default();
    if provisioner.starts_with("kubernetes.io/") {
        let text = format!("no volume plugin matched name: {provisioner}");
        cx.recorder.warning(claim, "ProvisioningFailed", text);
        return pending(cx, claim).await;
    }
    if meta::annotation(claim, PROVISIONER) != Some(provisioner) {
        let patch =
            json!({"metadata": {"annotations": {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}}});
        cx.client.merge_patch(&CLAIMS, meta::namespace(claim), meta::name(claim), "", patch).await?;
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
         registered."
    );
    cx.recorder.normal(claim, "ExternalProvisioning", text);
    pending(cx, claim).await
}

/// A claim that names its volume is bound to that one or none.
async fn sync_prebound(cx: &Cx, claim: &Arc<Value>) -> Result<Next, Status> {
    let Some(volume) = cx.get(&VOLUMES, "", volume_of(claim)) else { return pending(cx, claim).await };
    if !volume["spec"]["claimRef"].is_null() {
        if is_for(&volume, claim) {
            return bind(cx, &volume, claim).await;
        }
        return pending(cx, claim).await;
    }
    if let Err(why) = matching::check(&volume, claim) {
        let text = format!("Cannot bind to requested volume {:?}: {why}", meta::name(&volume));
        cx.recorder.warning(claim, "VolumeMismatch", text);
        return pending(cx, claim).await;
    }
    bind(cx, &volume, claim).await
}

async fn pending(cx: &Cx, claim: &Value) -> Result<Next, Status> {
    set_phase(cx, &CLAIMS, claim, "Pending").await?;
    Ok(Next::After(RESYNC))
}

async fn sync_bound(cx: &Cx, claim: &Arc<Value>) -> Result<Next, Status> {
    let Some(volume) = cx.get(&VOLUMES, "", volume_of(claim)) else {
        if claim["status"]["phase"] != "Lost" {
            let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            cx.recorder.warning(claim, "ClaimLost", text);
        }
        set_phase(cx, &CLAIMS, claim, "Lost").await?;
        return Ok(Next::Done);
    };
    if volume["spec"]["claimRef"].is_null() || is_for(&volume, claim) {
        return bind(cx, &volume, claim).await;
    }
    if claim["status"]["phase"] != "Lost" {
        let text = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        cx.recorder.warning(claim, "ClaimMisbound", text);
    }
    set_phase(cx, &CLAIMS, claim, "Lost").await?;
    Ok(Next::Done)
}

/// Brings both sides of a binding to what they say when it is done.
async fn bind(cx: &Cx, volume: &Arc<Value>, claim: &Arc<Value>) -> Result<Next, Status> {
    let (namespace, name) = (meta::namespace(claim), meta::name(claim));
    let mut bound = Value::clone(volume);
    if bound["spec"]["claimRef"].is_null() {
        bound["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes".into();
    }
    if volume["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"] {
        bound["spec"]["claimRef"] = json!({
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": namespace, "name": name,
            "uid": meta::uid(claim), "resourceVersion": claim["metadata"]["resourceVersion"],
        });
        bound = Value::clone(&*cx.client.update(&VOLUMES, "", meta::name(volume), bound).await?);
    }
    set_phase(cx, &VOLUMES, &bound, "Bound").await?;
    let mut mine = Value::clone(claim);
    let named = !volume_of(claim).is_empty();
    if meta::annotation(claim, BIND_COMPLETED).is_none() || !named {
        if !named {
            mine["spec"]["volumeName"] = meta::name(volume).into();
            mine["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes".into();
        }
        mine["metadata"]["annotations"][BIND_COMPLETED] = "yes".into();
        mine = Value::clone(&*cx.client.update(&CLAIMS, namespace, name, mine).await?);
    }
    let mut status = if mine["status"].is_object() { mine["status"].clone() } else { json!({}) };
    status["phase"] = "Bound".into();
    status["accessModes"] = bound["spec"]["accessModes"].clone();
    status["capacity"] = json!({"storage": bound["spec"]["capacity"]["storage"]});
    if !object::equal(&status, &mine["status"]) {
        mine["status"] = status;
        cx.client.update_status(&CLAIMS, namespace, name, mine).await?;
    }
    Ok(Next::Done)
}

async fn set_phase(cx: &Cx, resource: &GroupResource, of: &Value, phase: &str) -> Result<(), Status> {
    if of["status"]["phase"] == phase {
        return Ok(());
    }
    let mut updated = of.clone();
    updated["status"]["phase"] = phase.into();
    if *resource == VOLUMES {
        updated["status"]["lastPhaseTransitionTime"] = meta::seconds(cx.clock().now()).into();
    }
    match cx.client.update_status(resource, meta::namespace(of), meta::name(of), updated).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn sync_volume(cx: &Cx, volume: &Arc<Value>) -> Result<Next, Status> {
    let reference = &volume["spec"]["claimRef"];
    let of = |field: &str| reference[field].as_str().unwrap_or_default();
    if reference.is_null() || of("uid").is_empty() {
        set_phase(cx, &VOLUMES, volume, "Available").await?;
        return Ok(Next::Done);
    }
    let claim = cx.get(&CLAIMS, of("namespace"), of("name")).filter(|claim| meta::uid(claim) == of("uid"));
    if let Some(claim) = claim {
        // A claim that was bound to it and is no longer, is bound again by its own look.
        let mine = volume_of(&claim).is_empty() || volume_of(&claim) == meta::name(volume);
        if mine && volume["status"]["phase"] != "Bound" && meta::annotation(&claim, BIND_COMPLETED).is_some()
        {
            set_phase(cx, &VOLUMES, volume, "Bound").await?;
        }
        return Ok(Next::Done);
    }
    if volume["status"]["phase"] != "Failed" {
        set_phase(cx, &VOLUMES, volume, "Released").await?;
    }
    reclaim(cx, volume).await
}

/// Does with a released volume what its policy says; volumes of a provisioner are the provisioner's to delete.
async fn reclaim(cx: &Cx, volume: &Arc<Value>) -> Result<Next, Status> {
    if volume["spec"]["persistentVolumeReclaimPolicy"] != "Delete"
        || meta::annotation(volume, PROVISIONED_BY).is_some()
        || volume["status"]["phase"] == "Failed"
        || meta::is_deleting(volume)
    {
        return Ok(Next::Done);
    }
    let path = volume["spec"]["hostPath"]["path"].as_str();
    let why = match path {
        Some(path) if path.starts_with("/tmp/") && path.len() > "/tmp/".len() => {
            let options = crate::sim::client::DeleteOptions::default();
            return match cx.client.delete(&VOLUMES, "", meta::name(volume), options).await {
                Err(status) if status.code != 404 => Err(status),
                _ => Ok(Next::Done),
            };
        }
        Some(path) => format!("host_path deleter only supports /tmp/.+ but received provided {path}"),
        None => {
            "error getting deleter volume plugin for volume \"".to_owned()
                + meta::name(volume)
                + "\": no deletable volume plugin matched"
        }
    };
    let current = cx.get(&VOLUMES, "", meta::name(volume));
    let mut updated = Value::clone(current.as_ref().unwrap_or(volume));
    updated["status"]["phase"] = "Failed".into();
    updated["status"]["message"] = why.clone().into();
    updated["status"]["lastPhaseTransitionTime"] = meta::seconds(cx.clock().now()).into();
    cx.client.update_status(&VOLUMES, "", meta::name(volume), updated).await?;
    cx.recorder.warning(volume, "VolumeFailedDelete", why);
    Ok(Next::Done)
}

/// Returns the default class: of several the newest.
fn default_class(cx: &Cx) -> Option<String> {
    let mut classes = cx.list(&CLASSES, None);
    classes.retain(|class| meta::annotation(class, DEFAULT_CLASS) == Some("true"));
    let newest =
        classes.iter().max_by_key(|class| (meta::created(class), std::cmp::Reverse(meta::name(class))))?;
    Some(meta::name(newest).to_owned())
}

/// Returns the names of Pods that use a claim and have no node yet.
fn pod_to_be_scheduled(cx: &Cx, claim: &Value) -> Option<String> {
    let pods = cx.list(&PODS, Some(meta::namespace(claim)));
    let waits = pods.iter().filter(|pod| {
        pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty)
            && !pods::is_finished(pod)
            && pod_refs::claims(pod).iter().any(|name| name == meta::name(claim))
    });
    waits.map(|pod| meta::name(pod).to_owned()).next()
}
