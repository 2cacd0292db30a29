//! `nodeListener`: which ports of a node somebody listens on, and on which addresses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Protocol, Verdict, node};
use crate::cluster::Capability;

/// Asks a node for its listening sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeListener {
    /// The node's name, or `control-plane`, `workers` or `all`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The ports.
    pub ports: Vec<PortRow>,
}

/// What is expected of one port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortRow {
    /// The port.
    pub port: u16,
    /// `TCP` or `UDP`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Who may reach it.
    pub open: PortReach,
}

/// From where a port can be reached, by the addresses it listens on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PortReach {
    /// Nobody listens.
    #[default]
    Closed,
    /// From the node itself alone.
    Loopback,
    /// From other machines.
    Network,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

impl Check for NodeListener {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.ports.is_empty() {
            faults.push("ports: without ports it cannot fail".to_owned());
        }
        for (index, row) in self.ports.iter().enumerate() {
            if row.port == 0 || row.protocol == Protocol::Sctp {
                faults.push(format!("ports[{index}]: a port of TCP or UDP"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let nodes = node::named(&api, &self.node).await?;
        let mut findings = Vec::new();
        if nodes.is_empty() {
            findings.push(Finding::new(format!("Node {}", self.node), "", "it exists", "it does not"));
        }
        for name in &nodes {
            let tcp = node::output(cx.cluster, name, &["ss", "-H", "-l", "-n", "-t"]).await?;
            let udp = node::output(cx.cluster, name, &["ss", "-H", "-l", "-n", "-u"]).await?;
            for row in &self.ports {
                let (sockets, word) = match row.protocol {
                    Protocol::Udp => (&udp, "udp"),
                    _ => (&tcp, "tcp"),
                };
                let addresses = listening(sockets, row.port);
                let open = match addresses.as_slice() {
                    [] => PortReach::Closed,
                    all if all.iter().all(|address| is_loopback(address)) => PortReach::Loopback,
                    _ => PortReach::Network,
                };
                if open != row.open {
                    let expected = match row.open {
                        PortReach::Closed => "nobody listens",
                        PortReach::Loopback => "it listens on loopback alone",
                        PortReach::Network => "it listens for other machines",
                    };
                    let actual = match addresses.as_slice() {
                        [] => "nobody listens".to_owned(),
                        all => format!("it listens on {}", all.join(", ")),
                    };
                    let label = format!("port {}/{word} on {name}", row.port);
                    findings.push(Finding::new(label, "", expected, actual));
                }
            }
        }
        Ok(Verdict::of(findings))
    }
}

/// Returns the addresses on which a port is listened on, out of what `ss -Hln` shows: state, two queues, local address
/// and port, peer.
fn listening(sockets: &str, port: u16) -> Vec<String> {
    let mut found: Vec<String> = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3)?.rsplit_once(':'))
        .filter(|(_, of)| *of == port.to_string())
        .map(|(address, _)| address.trim_matches(['[', ']']).to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn is_loopback(address: &str) -> bool {
    let address = address.split('%').next().unwrap_or_default();
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}
