//! What a Pod's claims demand: that they exist and are bound, or can be once the node is known.

use std::sync::Arc;

use serde_json::{Value, json};

use super::filter::{Refusal, matches_node_term};
use super::{CLAIMS, CLASSES, VOLUMES};
use crate::sim::controllers::engine::Cx;
use crate::sim::meta;
use crate::sim::pod_refs;
use crate::sim::status::Status;

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The volumes that are bound, and the claims that wait for a node.
#[derive(Debug, Default)]
pub(super) struct Demands {
    bound: Vec<Arc<Value>>,
    waiting: Vec<Arc<Value>>,
}

impl Demands {
    /// Checks that bound volumes can be reached from a node.
    pub fn check(&self, node: &Value) -> Result<(), Refusal> {
        for volume in &self.bound {
            let required = &volume["spec"]["nodeAffinity"]["required"];
            let reachable = required.is_null()
                || meta::items(&required["nodeSelectorTerms"])
                    .any(|t| matches_node_term(t, meta::name(node), node));
            if !reachable {
                return Err(Refusal::final_one("node(s) didn't match PersistentVolume's node affinity"));
            }
        }
        Ok(())
    }
}

/// Looks the claims up.
///
/// # Errors
/// Why the Pod cannot be scheduled anywhere, in upstream's words.
pub(super) fn demands(cx: &Cx, pod: &Value) -> Result<Demands, String> {
    let mut demands = Demands::default();
    for name in pod_refs::claims(pod) {
        let Some(claim) = cx.get(&CLAIMS, meta::namespace(pod), &name) else {
            return Err(format!("persistentvolumeclaim {name:?} not found"));
        };
        if meta::is_deleting(&claim) {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let bound = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty());
        match bound {
            Some(volume) if claim["status"]["phase"] == "Bound" => {
                demands.bound.extend(cx.get(&VOLUMES, "", volume));
            }
            _ if waits_for_consumer(cx, &claim) => demands.waiting.push(claim),
            _ => return Err("pod has unbound immediate PersistentVolumeClaims".to_owned()),
        }
    }
    Ok(demands)
}

fn waits_for_consumer(cx: &Cx, claim: &Value) -> bool {
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
    cx.get(&CLASSES, "", class).is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer")
}

/// Tells claims that wait for a node which one it is; tells whether none waits any more.
pub(super) async fn provision(cx: &Cx, demands: &Demands, node: &str) -> Result<bool, Status> {
    for claim in &demands.waiting {
        if meta::annotation(claim, SELECTED_NODE) != Some(node) {
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
            cx.client.merge_patch(&CLAIMS, meta::namespace(claim), meta::name(claim), "", patch).await?;
        }
    }
    Ok(demands.waiting.is_empty())
}
