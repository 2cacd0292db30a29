//! What runs beside the API of a cluster: controllers, scheduler, kubelets, event writing. Tasks that end when this is
//! dropped.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::alive::Gates;
use super::api::Api;
use super::attributes::UserInfo;
use super::controllers::engine::{Controller, Cx};
use super::controllers::{self, Authority, Settings, engine};
use super::events::EventSink;
use super::node::host::Hosts;
use super::node::kubelet::Kubelet;
use super::node::kubelet::static_pods::StaticPods;
use super::node::{History, Machine, NodeLogs, NodeSpec, PlainMachine, Timings};
use super::scheduler::Scheduler;

/// What the loops of a cluster work with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// What is under the nodes.
    pub machine: Arc<dyn Machine>,
    /// The timings of controllers.
    pub settings: Settings,
    /// The timings of kubelets.
    pub timings: Timings,
}

impl Plan {
    /// Plans for nodes of these names, the control plane first.
    pub fn new(nodes: &[String]) -> Self {
        Self {
            nodes: NodeSpec::named(nodes),
            machine: Arc::new(PlainMachine),
            settings: Settings::default(),
            timings: Timings::default(),
        }
    }
}

/// The running loops of one cluster.
#[derive(Debug)]
pub struct ControlPlane {
    tasks: JoinSet<()>,
    logs: NodeLogs,
}

impl ControlPlane {
    /// Starts the loops on the current runtime. They find in the store where they were. With machines under the nodes,
    /// static Pods run on them, the programs of the control plane among these.
    pub fn start(
        api: &Api,
        authority: &Arc<dyn Authority>,
        plan: Plan,
        gates: &Gates,
        hosts: Option<&Hosts>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let client = api.client(UserInfo::named("system:kube-controller-manager", &[]));
        let sink = EventSink::start(client.clone(), &mut tasks);
        let settings = Arc::new(plan.settings);
        let history = History::new(api.clock().clone());
        for host in hosts.into_iter().flat_map(Hosts::iter) {
            let user = UserInfo::named(&format!("system:node:{}", host.name()), &["system:nodes"]);
            let cx = Cx {
                client: client.with_user(user.clone()),
                recorder: sink.recorder("kubelet", host.name(), user),
                settings: settings.clone(),
            };
            let machine = plan.machine.clone();
            let mut pods =
                StaticPods::new(host.clone(), machine, &plan.timings, history.clone(), cx, gates.clone());
            pods.boot();
            tasks.spawn(pods.run());
        }
        let mut loops: Vec<Arc<dyn Controller>> = controllers::all(authority);
        loops.push(Arc::new(Scheduler::default()));
        for node in plan.nodes {
            let machine = plan.machine.clone();
            loops.push(Arc::new(Kubelet::new(node, machine, plan.timings.clone(), history.clone())));
        }
        engine::start(loops, &client, &sink, &settings, gates, &mut tasks);
        let logs = NodeLogs::new(api.store().clone(), plan.machine, history);
        Self { tasks, logs }
    }

    /// Returns the logs of the cluster's containers.
    pub fn logs(&self) -> &NodeLogs {
        &self.logs
    }

    /// Ends the loops and waits until they have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
