//! The provisioner behind kind's default class: a folder of the node for each claim, made once the node is known.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{CLAIMS, CLASSES, PROVISIONED_BY, PROVISIONER, SELECTED_NODE, VOLUMES, class_of, volume_of};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const NAME: &str = "rancher.io/local-path";
const FOLDER: &str = "/opt/local-path-provisioner";
/// How long its helper Pod takes to make a folder.
const TAKES: Duration = Duration::from_millis(300);

/// Makes volumes for the class `standard`.
#[derive(Debug)]
pub(crate) struct LocalPath;

#[async_trait]
impl Controller for LocalPath {
    fn name(&self) -> &'static str {
        "local-path-provisioner-service-account"
    }

    fn user(&self) -> UserInfo {
        let namespace = "local-path-storage";
        UserInfo::named(
            &format!("system:serviceaccount:{namespace}:{}", self.name()),
            &["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")],
        )
    }

    fn component(&self) -> &'static str {
        "rancher.io/local-path_local-path-provisioner-7dc846544d-5xq9w_6a423939-5335-4623-9378-87c5247ebfdd"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![CLAIMS, VOLUMES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&CLAIMS) {
            let mine = meta::annotation(notice.object, PROVISIONER) == Some(NAME);
            if !notice.is_gone() && mine && volume_of(notice.object).is_empty() {
                queue.add_after(notice.key(), TAKES);
            }
        } else if !notice.is_gone() && meta::annotation(notice.object, PROVISIONED_BY) == Some(NAME) {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        if key.namespace.is_empty() {
            return delete(cx, &key.name).await;
        }
        let Some(claim) = cx.get(&CLAIMS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let node = meta::annotation(&claim, SELECTED_NODE).unwrap_or_default();
        let class = cx.get(&CLASSES, "", class_of(&claim));
        let Some(class) = class.filter(|_| volume_of(&claim).is_empty() && !meta::is_deleting(&claim)) else {
            return Ok(Next::Done);
        };
        let (namespace, name) = (meta::namespace(&claim), meta::name(&claim));
        let volume = format!("pvc-{}", meta::uid(&claim));
        if cx.get(&VOLUMES, "", &volume).is_some() {
            return Ok(Next::Done);
        }
        let text = format!(
            "External provisioner is provisioning volume for claim {:?}",
            format!("{namespace}/{name}")
        );
        cx.recorder.normal(&claim, "Provisioning", text);
        if node.is_empty() {
            let text = format!(
                "failed to provision volume with StorageClass {:?}: configuration error, no node was specified",
                meta::name(&class)
            );
            cx.recorder.warning(&claim, "ProvisioningFailed", text);
            return Ok(Next::After(Duration::from_secs(15)));
        }
        let only = meta::items(&claim["spec"]["accessModes"])
            .any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany");
        if only {
            let text = format!(
                "failed to provision volume with StorageClass {:?}: NodePath only supports ReadWriteOnce and \
                 ReadWriteOncePod (1.22+) access modes",
                meta::name(&class)
            );
            cx.recorder.warning(&claim, "ProvisioningFailed", text);
            return Ok(Next::After(Duration::from_secs(15)));
        }
        let path = format!("{FOLDER}/{volume}_{namespace}_{name}");
        let object = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume, "annotations": {PROVISIONED_BY: NAME}},
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name,
                    "uid": meta::uid(&claim), "resourceVersion": claim["metadata"]["resourceVersion"],
                },
                "hostPath": {"path": path, "type": "DirectoryOrCreate"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
                ]}]}},
                "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
                "storageClassName": meta::name(&class),
                "volumeMode": claim["spec"]["volumeMode"],
            },
        });
        match cx.client.create(&VOLUMES, "", object).await {
            Err(status) if status.reason == "AlreadyExists" => {}
            other => {
                other?;
                let text = format!("Successfully provisioned volume {volume}");
                cx.recorder.normal(&claim, "ProvisioningSucceeded", text);
            }
        }
        Ok(Next::Done)
    }
}

/// Deletes a volume of its own that nobody claims any more, where its policy says so.
async fn delete(cx: &Cx, name: &str) -> Result<Next, Status> {
    let Some(volume) = cx.get(&VOLUMES, "", name) else { return Ok(Next::Done) };
    let spec: &Value = &volume["spec"];
    if volume["status"]["phase"] != "Released"
        || spec["persistentVolumeReclaimPolicy"] != "Delete"
        || meta::is_deleting(&volume)
    {
        return Ok(Next::Done);
    }
    match cx.client.delete(&VOLUMES, "", name, DeleteOptions::default()).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(Next::Done),
    }
}
