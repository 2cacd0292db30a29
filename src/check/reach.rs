//! `reach`: who reaches whom on which port, all policies together. What is broken is never taken for what is blocked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Check, CheckCx, CheckError, Verdict};
use crate::cluster::Capability;

/// Asks for a matrix of connections: some must be possible, some must not.
///
/// Both lists are needed, since a network where nothing works refuses the right connections too. A connection that
/// fails for want of a Pod, a listener or an endpoint fails the check in either list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reach {
    /// Connections that must be possible.
    pub allowed: Vec<ReachRow>,
    /// Connections that a policy must forbid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<ReachRow>,
    /// Allows a check with `allowed` rows only, for gates that hold before anything is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpaired: bool,
}

/// Connections from each source to each destination on each port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReachRow {
    /// The Pods it starts from.
    pub from: ReachSource,
    /// Where it goes.
    pub to: ReachEnd,
    /// The ports; a Service's own ports when it goes to a Service.
    pub ports: Vec<u16>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Pods that connections start from: one by `pod`, or all that run and carry the labels in `pods`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReachSource {
    /// The namespace.
    pub namespace: String,
    /// A Pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// A label selector as kubectl takes it; it must match a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<String>,
}

/// Where connections go: exactly one of `pod`, `pods`, `service` and `address`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReachEnd {
    /// The namespace of the Pods or the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A Pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// A label selector as kubectl takes it; it must match a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<String>,
    /// A Service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// An address inside or outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Check for Reach {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Pods, Capability::Reach];

    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`reach` is not judged yet".to_owned()))
    }
}
