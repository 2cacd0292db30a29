//! ClusterRoles that are gathered from others by label, as `view`, `edit` and `admin` are.

use async_trait::async_trait;

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::rbac::aggregation;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const CLUSTER_ROLES: GroupResource = GroupResource::of("rbac.authorization.k8s.io", "clusterroles");

/// Keeps the rules of ClusterRoles with an aggregation rule.
#[derive(Debug)]
pub(crate) struct AggregatedRoles;

#[async_trait]
impl Controller for AggregatedRoles {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![CLUSTER_ROLES]
    }

    fn notice(&self, cx: &Cx, _notice: &Notice<'_>, queue: &Queue) {
        // Any role may match a selector, or have matched it until now.
        for role in cx.store().list(&CLUSTER_ROLES, None) {
            if role.object.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
                queue.add(Key::new("", role.name()));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(role) = cx.get(&CLUSTER_ROLES, "", &key.name) else { return Ok(Next::Done) };
        if let Some(gathered) = aggregation::aggregate(&role, &cx.list(&CLUSTER_ROLES, None)) {
            cx.client.update(&CLUSTER_ROLES, "", &key.name, gathered).await?;
        }
        Ok(Next::Done)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Lab;

    #[tokio::test(start_paused = true)]
    async fn a_role_gathers_the_rules_of_those_that_it_selects() {
        let lab = Lab::new(0).await;
        let kind = "clusterroles.rbac.authorization.k8s.io";
        let role = |name: &str, labels: &str, more: &str| {
            format!(
                "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{name: {name}, labels: \
                 {{{labels}}}}}, {more}}}"
            )
        };
        let selector = "aggregationRule: {clusterRoleSelectors: [{matchLabels: {gather: 'yes'}}]}, rules: []";
        lab.apply(&role("whole", "", selector)).await;
        let rule = |verb: &str| format!("rules: [{{apiGroups: [''], resources: [pods], verbs: [{verb}]}}]");
        lab.apply(&role("part-a", "gather: 'yes'", &rule("get"))).await;
        lab.apply(&role("part-b", "gather: 'no'", &rule("delete"))).await;
        let verbs = |role: &serde_json::Value| role["rules"].as_array().map_or(0, Vec::len);
        let whole = lab.wait(kind, "whole", |role| verbs(role) == 1).await;
        assert_eq!(whole["rules"][0]["verbs"], json!(["get"]));
        lab.patch(kind, "part-b", "", "{metadata: {labels: {gather: 'yes'}}}").await;
        lab.wait(kind, "whole", |role| verbs(role) == 2).await;
        lab.delete(kind, "part-a", None).await;
        let whole = lab.wait(kind, "whole", |role| verbs(role) == 1).await;
        assert_eq!(whole["rules"][0]["verbs"], json!(["delete"]));
    }
}
