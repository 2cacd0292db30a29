//! `pods/binding`: putting a Pod on a node.

use serde_json::{Value, json};

use crate::sim::api::Api;
use crate::sim::api::call::Call;
use crate::sim::api::rest::now;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;
use crate::sim::validation;

impl Api {
    /// Assigns the Pod of the call to the node that a Binding names.
    pub(super) async fn bind(&self, call: &mut Call, mut binding: Value) -> Result<Value, Status> {
        self.admit_other(call, "Binding", &mut binding).await?;
        let errors = validation::pod::binding(&binding);
        if !errors.is_empty() {
            return Err(Status::invalid("", "Binding", &call.name, &errors));
        }
        let metadata = &binding["metadata"];
        if !metadata.text("name").is_empty() && metadata.text("name") != call.name {
            return Err(Status::bad_request("name in URL does not match name in Binding object"));
        }
        let (node, uid) = (binding["target"].text("name"), metadata.text("uid"));
        let gr = call.gr();
        let now = now(self);
        self.edit(call, |pod| {
            if !uid.is_empty() && uid != pod["metadata"].text("uid") {
                let own = pod["metadata"].text("uid");
                let why =
                    format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {own}");
                return Err(Status::conflict(&gr, &call.name, why));
            }
            if pod["metadata"].has("deletionTimestamp") {
                let why = format!("pod {} is being deleted, cannot be assigned to a host", call.name);
                return Err(Status::conflict(&gr, &call.name, why));
            }
            let assigned = pod["spec"].text("nodeName");
            if !assigned.is_empty() {
                let why = format!("pod {} is already assigned to node {assigned:?}", call.name);
                return Err(Status::conflict(&gr, &call.name, why));
            }
            if !pod["spec"].items("schedulingGates").is_empty() {
                let why = format!("pod {} has non-empty .spec.schedulingGates", call.name);
                return Err(Status::conflict(&gr, &call.name, why));
            }
            pod["spec"]["nodeName"] = node.into();
            for (key, value) in metadata.entries("annotations") {
                pod["metadata"]["annotations"][key] = value.clone();
            }
            let scheduled = json!({ "type": "PodScheduled", "status": "True", "lastProbeTime": null,
                "lastTransitionTime": now });
            set_condition(pod, scheduled);
            Ok(())
        })?;
        Ok(success())
    }
}

/// Sets a condition in an object's status, in the place of one of its type.
pub(super) fn set_condition(object: &mut Value, condition: Value) {
    let mut conditions = object["status"].items("conditions").to_vec();
    match conditions.iter_mut().find(|old| old["type"] == condition["type"]) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
    object["status"]["conditions"] = conditions.into();
}

/// The answer to an action that leaves nothing to show.
pub(super) fn success() -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 })
}
