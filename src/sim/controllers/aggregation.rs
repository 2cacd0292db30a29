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
