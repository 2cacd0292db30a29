//! The status of ValidatingAdmissionPolicies: what type checking warns of.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::admission::validating_policy::type_check;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const POLICIES: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "validatingadmissionpolicies");

/// Checks types and says so in the status.
#[derive(Debug)]
pub(crate) struct ValidatingPolicies;

#[async_trait]
impl Controller for ValidatingPolicies {
    fn name(&self) -> &'static str {
        "validatingadmissionpolicy-status-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![POLICIES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(policy) = cx.get(&POLICIES, "", &key.name) else { return Ok(Next::Done) };
        let generation = &policy["metadata"]["generation"];
        if policy["status"]["observedGeneration"] == *generation {
            return Ok(Next::Done);
        }
        let warnings = type_check::warnings(&cx.client.api().resources(), &policy);
        let mut updated = Value::clone(&policy);
        updated["status"]["observedGeneration"] = generation.clone();
        updated["status"]["typeChecking"] =
            if warnings.is_empty() { json!({}) } else { json!({ "expressionWarnings": warnings }) };
        cx.client.update_status(&POLICIES, "", &key.name, updated).await?;
        Ok(Next::Done)
    }
}
