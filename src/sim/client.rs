//! The in-process client: what controllers, the scheduler and the kubelet write through, each as a user of its own.
//! Requests take the same way as HTTP ones from defaulting and admission on.

use super::attributes::UserInfo;

/// A client of one cluster.
#[derive(Debug, Clone)]
pub struct Client {
    /// Who asks.
    pub user: UserInfo,
}
