//! Quotas: what a namespace uses is counted again when something in it comes, goes or changes. Admission charges what
//! is created; without the recount a deletion would never give anything back.

use async_trait::async_trait;

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const QUOTAS: GroupResource = GroupResource::of("", "resourcequotas");

/// Keeps the status of ResourceQuotas.
#[derive(Debug)]
pub(crate) struct Quotas;

#[async_trait]
impl Controller for Quotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        // A quota may count any resource, custom ones too.
        Vec::new()
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        let namespace = meta::namespace(notice.object);
        let counts = match notice.is(&QUOTAS) {
            true => notice.changed("/spec") || notice.is_gone(),
            false => notice.is_gone() || notice.changed("/spec") || notice.changed("/status/phase"),
        };
        if counts && !namespace.is_empty() && !cx.store().list(&QUOTAS, Some(namespace)).is_empty() {
            queue.add(Key::new("", namespace));
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let admission = cx.client.api().admission();
        admission.ledger().recount(cx.store(), cx.clock(), &key.name).await.map_err(Status::internal)?;
        Ok(Next::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;

    #[tokio::test(start_paused = true)]
    async fn what_goes_is_counted_no_longer() {
        let lab = Lab::new(0).await;
        lab.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {secrets: '2'}}}")
            .await;
        let used = |count: &'static str| {
            move |quota: &serde_json::Value| quota["status"]["used"]["secrets"] == count
        };
        lab.wait("resourcequotas", "t/q", used("0")).await;
        for name in ["a", "b"] {
            lab.apply(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}}}")).await;
        }
        lab.wait("resourcequotas", "t/q", used("2")).await;
        lab.delete("secrets", "t/a", None).await;
        lab.wait("resourcequotas", "t/q", used("1")).await;
        lab.patch("resourcequotas", "t/q", "", "{spec: {hard: {secrets: '5'}}}").await;
        lab.wait("resourcequotas", "t/q", |quota| quota["status"]["hard"]["secrets"] == "5").await;
    }
}
