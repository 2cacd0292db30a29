//! ControllerRevisions of DaemonSets: the templates that a set has had, by number, for `rollout history` and `undo`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::engine::Cx;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const REVISIONS: GroupResource = GroupResource::of("apps", "controllerrevisions");
/// The label by which Pods say of which revision they are.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

fn number(revision: &Value) -> i64 {
    meta::int(&revision["revision"], 0)
}

fn of(cx: &Cx, set: &Value) -> Vec<Arc<Value>> {
    let mut known = cx.list(&REVISIONS, Some(meta::namespace(set)));
    known.retain(|revision| meta::is_controlled_by(revision, set));
    known.sort_by_key(|revision| number(revision));
    known
}

/// Finds or makes the revision of the set's template, gives it the highest number, and returns its hash.
///
/// # Errors
/// As the API refuses.
pub(crate) async fn current(cx: &Cx, set: &Value) -> Result<String, Status> {
    let namespace = meta::namespace(set);
    let template = &set["spec"]["template"];
    let mut data = template.clone();
    data["$patch"] = "replace".into();
    let known = of(cx, set);
    let newest = known.last().map_or(0, |revision| number(revision));
    if let Some(same) = known.iter().find(|known| object::equal(&known["data"]["spec"]["template"], &data)) {
        if number(same) < newest {
            let patch = json!({"revision": newest + 1});
            cx.client.merge_patch(&REVISIONS, namespace, meta::name(same), "", patch).await?;
        }
        return Ok(meta::label(same, REVISION_LABEL).unwrap_or_default().to_owned());
    }
    let collisions = set["status"]["collisionCount"].as_i64();
    let hash = meta::template_hash(template, collisions);
    let mut labels = template["metadata"]["labels"].clone();
    labels[REVISION_LABEL] = hash.as_str().into();
    let mut annotations = set["metadata"]["annotations"].clone();
    if let Some(map) = annotations.as_object_mut() {
        map.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    let mut revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", meta::name(set)), "namespace": namespace, "labels": labels,
            "ownerReferences": [meta::controller_reference(set)],
        },
        "data": {"spec": {"template": data}}, "revision": newest + 1,
    });
    if annotations.is_object() {
        revision["metadata"]["annotations"] = annotations;
    }
    cx.client.create(&REVISIONS, namespace, revision).await?;
    Ok(hash)
}

/// Deletes the oldest revisions beyond the limit that no Pod has any more.
///
/// # Errors
/// As the API refuses.
pub(crate) async fn clean_up(cx: &Cx, set: &Value, pods: &[Arc<Value>], current: &str) -> Result<(), Status> {
    let Some(limit) = set["spec"]["revisionHistoryLimit"].as_u64() else { return Ok(()) };
    let live =
        |hash: &str| hash == current || pods.iter().any(|pod| meta::label(pod, REVISION_LABEL) == Some(hash));
    let old: Vec<Arc<Value>> = of(cx, set)
        .into_iter()
        .filter(|r| !live(meta::label(r, REVISION_LABEL).unwrap_or_default()))
        .collect();
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for revision in old.iter().take(surplus) {
        let deleted = cx
            .client
            .delete(&REVISIONS, meta::namespace(set), meta::name(revision), DeleteOptions::default())
            .await;
        if let Err(status) = deleted
            && status.code != 404
        {
            return Err(status);
        }
    }
    Ok(())
}
