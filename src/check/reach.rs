//! `reach`: who reaches whom on which port, all policies together. What is broken is never taken for what is blocked.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};
use crate::cluster::{Capability, ClusterError, Peer, Probe, Reach as Answer};

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
    /// The ports; left out for a Service, they are the Service's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl Check for Reach {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Pods, Capability::Reach];

    fn lint(&self, faults: &mut Vec<String>) {
        for (field, rows) in [("allowed", &self.allowed), ("denied", &self.denied)] {
            if rows.is_empty() && (field == "allowed" || !self.unpaired) {
                faults.push(format!("{field}: both lists need a row: one alone proves nothing"));
            }
            if field == "denied" && self.unpaired && !rows.is_empty() {
                faults.push("unpaired: the rows are paired".to_owned());
            }
            for (index, row) in rows.iter().enumerate() {
                row.lint(&format!("{field}[{index}]"), faults);
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        if self.allowed.is_empty() || (self.denied.is_empty() && !self.unpaired) {
            return Err(CheckError::Spec("reach needs rows in `allowed` and in `denied`".to_owned()));
        }
        let api = Api::new(cx.client.clone());
        let mut findings = Vec::new();
        let mut probes = Vec::new();
        let mut wanted = Vec::new();
        for (rows, open) in [(&self.allowed, true), (&self.denied, false)] {
            for row in rows {
                let before = probes.len();
                row.probes(&api, &mut probes, &mut findings).await?;
                wanted.extend(std::iter::repeat_n(open, probes.len() - before));
            }
        }
        if probes.is_empty() {
            return Ok(Verdict::of(findings));
        }
        let answers = cx.cluster.reach(&probes).await?;
        if answers.len() != probes.len() {
            let message = format!("{} of {} connections were probed", answers.len(), probes.len());
            return Err(ClusterError::Failed { message, source: None }.into());
        }
        for ((probe, answer), open) in probes.iter().zip(answers).zip(wanted) {
            let actual = match (&answer, open) {
                (Answer::Open, true) | (Answer::Blocked { .. }, false) => continue,
                (Answer::Open, false) => "possible".to_owned(),
                (Answer::Blocked { by }, true) if by.is_empty() => "blocked".to_owned(),
                (Answer::Blocked { by }, true) => format!("blocked by {by}"),
                (Answer::Broken { reason }, _) => format!("broken: {reason}"),
            };
            let path = format!("{} port {}/{}", name(&probe.to), probe.port, probe.protocol);
            let expected = if open { "possible" } else { "blocked by a policy" };
            let finding =
                Finding::new(name(&probe.from), format!("to {path}"), expected, object::shorten(&actual));
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        Ok(Verdict::of(findings))
    }
}

impl ReachRow {
    fn lint(&self, at: &str, faults: &mut Vec<String>) {
        if self.from.namespace.is_empty() || self.from.pod.is_some() == self.from.pods.is_some() {
            faults.push(format!("{at}.from: name the namespace, and a Pod by `pod` or labels by `pods`"));
        }
        let to = &self.to;
        let named = [to.pod.is_some(), to.pods.is_some(), to.service.is_some(), to.address.is_some()];
        if named.into_iter().filter(|&named| named).count() != 1 {
            faults.push(format!("{at}.to: give exactly one of pod, pods, service and address"));
        }
        if to.address.is_some() == to.namespace.is_some() {
            faults.push(format!("{at}.to.namespace: Pods and Services have one, addresses have none"));
        }
        if self.ports.is_empty() && to.service.is_none() {
            faults.push(format!("{at}.ports: name the ports"));
        }
        if self.ports.contains(&0) {
            faults.push(format!("{at}.ports: 0 is no port"));
        }
    }

    /// Pushes a probe for each source, destination and port, or a finding for what is not there.
    async fn probes(
        &self,
        api: &Api,
        probes: &mut Vec<Probe>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), CheckError> {
        let from = &self.from;
        let sources = pods(api, &from.namespace, from.pod.as_deref(), from.pods.as_deref(), findings).await?;
        let mut ports = self.ports.clone();
        let to = &self.to;
        let namespace = to.namespace.as_deref().unwrap_or_default();
        let targets = if let Some(address) = to.address {
            vec![Peer::Address(address)]
        } else if let Some(service) = &to.service {
            let Some(found) = api.get_known("v1", "Service", Some(namespace), service).await? else {
                let object = format!("Service {namespace}/{service}");
                push(findings, Finding::new(object, "", "it exists", "it does not"));
                return Ok(());
            };
            if ports.is_empty() {
                ports = service_ports(&found, self.protocol);
            }
            if ports.is_empty() {
                let object = format!("Service {namespace}/{service}");
                let expected = format!("a port for {}", self.protocol.name());
                push(findings, Finding::new(object, "spec.ports", expected, "none"));
                return Ok(());
            }
            vec![Peer::Service { namespace: namespace.to_owned(), name: service.clone() }]
        } else {
            pods(api, namespace, to.pod.as_deref(), to.pods.as_deref(), findings).await?
        };
        if let ([from], [to]) = (sources.as_slice(), targets.as_slice())
            && from == to
        {
            return Err(CheckError::Spec(format!("{} cannot be probed from itself", name(to))));
        }
        for from in &sources {
            for to in targets.iter().filter(|&to| to != from) {
                for &port in &ports {
                    let protocol = self.protocol.name().to_owned();
                    probes.push(Probe { from: from.clone(), to: to.clone(), port, protocol });
                }
            }
        }
        Ok(())
    }
}

fn service_ports(service: &serde_json::Value, protocol: Protocol) -> Vec<u16> {
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    ports
        .iter()
        .filter(|port| port["protocol"].as_str().unwrap_or("TCP") == protocol.name())
        .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
        .collect()
}

/// Finds the running Pods that are meant. None is a finding: a connection from nowhere proves nothing.
async fn pods(
    api: &Api,
    namespace: &str,
    name: Option<&str>,
    selector: Option<&str>,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Peer>, CheckError> {
    let found = match name {
        Some(name) => api.get_known("v1", "Pod", Some(namespace), name).await?.into_iter().collect(),
        None => api.list_known("v1", "Pod", Some(namespace), selector).await?,
    };
    let running: Vec<Peer> = found
        .iter()
        .filter(|pod| !object::is_going(pod) && pod["status"]["phase"] == "Running")
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .map(|name| Peer::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
        .collect();
    if running.is_empty() {
        let what = name.map_or_else(|| format!("with {}", selector.unwrap_or_default()), str::to_owned);
        let actual = match found.first() {
            Some(pod) => pod["status"]["phase"].as_str().unwrap_or("not running"),
            None => "no such Pod",
        };
        push(findings, Finding::new(format!("Pod {namespace}/{what}"), "", "it runs", actual));
    }
    Ok(running)
}

fn push(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.contains(&finding) {
        findings.push(finding);
    }
}

fn name(peer: &Peer) -> String {
    match peer {
        Peer::Pod { namespace, name } => format!("Pod {namespace}/{name}"),
        Peer::Service { namespace, name } => format!("Service {namespace}/{name}"),
        Peer::Address(address) => address.to_string(),
    }
}
