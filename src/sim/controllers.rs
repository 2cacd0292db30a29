//! The controllers of a cluster: control loops that follow the store and write through the API, each as its own user.
//! They keep nothing that the store does not have, so that a restart finds them where they were.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use engine::Controller;
pub(crate) use pods::{disrupt, is_finished, set_pod_condition};

mod accounts;
mod addresses;
mod aggregation;
mod autoscaler;
mod certificates;
mod claim;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
pub(crate) mod engine;
mod event_expiry;
mod garbage;
mod history;
mod job;
mod namespace;
mod node_lifecycle;
mod pod_garbage;
mod pods;
pub(crate) mod queue;
mod quota;
mod replica_set;
mod stateful_set;
mod taint_eviction;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod ttl_after_finished;
mod validating_policies;
mod volumes;
mod workload;

/// Timings of controllers: as upstream's where someone may look at them, shorter where one would only wait.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The delay after a first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest delay after failures.
    pub retry_most: Duration,
    /// `--node-monitor-grace-period`: how long a kubelet may be silent.
    pub node_grace: Duration,
    /// The delay before a Job's failed Pod is replaced; it doubles with each further failure.
    pub job_back_off: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(5),
            retry_most: Duration::from_secs(10),
            node_grace: Duration::from_secs(50),
            job_back_off: Duration::from_secs(1),
        }
    }
}

/// The cluster's keys, as far as controllers need them.
pub trait Authority: Send + Sync + std::fmt::Debug {
    /// Returns the certificate by which clients inside the cluster trust the API server, as PEM.
    fn root_certificate(&self) -> String;

    /// Makes a token without expiry for a Secret of type `kubernetes.io/service-account-token`.
    ///
    /// # Errors
    /// Why none could be made.
    fn legacy_token(&self, account: &Value, secret: &str) -> Result<String, String>;

    /// Signs a certificate request (PEM) for what its signer allows; returns the certificate, as PEM.
    ///
    /// # Errors
    /// Why it cannot be signed.
    fn sign(&self, request: &str, usages: &[String], lifetime: Duration) -> Result<String, String>;
}

/// Returns the controllers of a cluster.
pub(crate) fn all(authority: &Arc<dyn Authority>) -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(namespace::Namespaces),
        Arc::new(accounts::DefaultAccounts),
        Arc::new(accounts::RootCertificates { certificate: authority.root_certificate() }),
        Arc::new(tokens::Tokens { authority: authority.clone() }),
        Arc::new(garbage::GarbageCollector::default()),
        Arc::new(deployment::Deployments),
        Arc::new(replica_set::ReplicaSets::new()),
        Arc::new(replica_set::ReplicaSets::of_replication_controllers()),
        Arc::new(stateful_set::StatefulSets),
        Arc::new(daemon_set::DaemonSets),
        Arc::new(job::Jobs),
        Arc::new(cron_job::CronJobs),
        Arc::new(disruption::Disruption),
        Arc::new(aggregation::AggregatedRoles),
        Arc::new(quota::Quotas),
        Arc::new(addresses::Addresses),
        Arc::new(endpoints::EndpointSlices),
        Arc::new(endpoints::Endpoints),
        Arc::new(validating_policies::ValidatingPolicies),
        Arc::new(certificates::Signer { authority: authority.clone() }),
        Arc::new(certificates::approver::Approver),
        Arc::new(certificates::cleaner::Cleaner),
        Arc::new(endpoints::mirroring::Mirroring),
        Arc::new(node_lifecycle::NodeLifecycle::default()),
        Arc::new(taint_eviction::TaintEviction::default()),
        Arc::new(pod_garbage::PodGarbage::default()),
        Arc::new(ttl_after_finished::TtlAfterFinished),
        Arc::new(event_expiry::EventExpiry),
        Arc::new(volumes::Binder),
        Arc::new(volumes::provisioner::LocalPath),
        Arc::new(volumes::protection::ClaimProtection),
        Arc::new(volumes::protection::VolumeProtection),
        Arc::new(autoscaler::Autoscalers),
    ]
}
