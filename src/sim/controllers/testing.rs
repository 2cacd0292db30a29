//! A cluster for tests of what runs beside the API: real controllers, scheduler and kubelets, in a time that passes only
//! while nobody has anything to do. An hour of back-offs takes milliseconds, and always the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::clock::Clock;
use crate::sim::api::table::Table;
use crate::sim::attributes::UserInfo;
use crate::sim::client::{Client, DeleteOptions};
use crate::sim::control_plane::Plan;
use crate::sim::meta;
use crate::sim::node::{Machine, PathKind, PlainMachine};
use crate::sim::resource::GroupResource;
use crate::sim::server::{Home, SimConfig, SimulatedCluster};
use crate::sim::status::Status;
use crate::sim::store::Change;

/// The longest that is waited for anything, in the time of the cluster.
const PATIENCE: Duration = Duration::from_secs(1800);

/// A clock that goes with the runtime's timers; tests pause those.
#[derive(Debug)]
struct RuntimeClock {
    start: tokio::time::Instant,
    epoch: Timestamp,
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        self.epoch + self.start.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

/// A machine whose kubelets can be stopped.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    stopped: Mutex<BTreeSet<String>>,
}

impl Machines {
    /// Stops the kubelet of a node, as `systemctl stop kubelet` does.
    pub(crate) fn stop(&self, node: &str) {
        self.stopped.lock().unwrap().insert(node.to_owned());
    }

    /// Starts it again.
    pub(crate) fn start(&self, node: &str) {
        self.stopped.lock().unwrap().remove(node);
    }
}

impl Machine for Machines {
    fn kind(&self, node: &str, path: &str) -> Option<PathKind> {
        PlainMachine.kind(node, path)
    }

    fn read(&self, node: &str, path: &str) -> Option<String> {
        PlainMachine.read(node, path)
    }

    fn apparmor_profiles(&self, node: &str) -> Option<Vec<String>> {
        PlainMachine.apparmor_profiles(node)
    }

    fn has_runtime(&self, node: &str, handler: &str) -> bool {
        PlainMachine.has_runtime(node, handler)
    }

    fn runs_kubelet(&self, node: &str) -> bool {
        !self.stopped.lock().unwrap().contains(node)
    }
}

/// A cluster under test. Objects are named as kubectl does: `deployments.apps`, `pods`.
pub(crate) struct Lab {
    pub(crate) cluster: SimulatedCluster,
    pub(crate) client: Client,
    pub(crate) machines: Arc<Machines>,
}

/// What a Pod has shown so far.
pub(crate) struct Followed {
    rows: Arc<Mutex<Vec<String>>>,
    _task: tokio::task::JoinHandle<()>,
}

impl Followed {
    /// Returns the rows, oldest first.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.rows.lock().unwrap().clone()
    }
}

/// Reads `deployments.apps`.
fn resource(name: &str) -> GroupResource {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    GroupResource::named(group, plural)
}

impl Lab {
    /// Brings up a cluster of a control plane and so many workers, at noon, with a namespace `t`. Call it in a test whose
    /// time is paused.
    pub(crate) async fn new(workers: u32) -> Self {
        let machines = Arc::new(Machines::default());
        let config = SimConfig::new("lab", workers);
        let plan = Plan { machine: machines.clone(), ..Plan::new(&config.nodes) };
        let epoch = "2026-11-23T12:00:00Z".parse().unwrap();
        let clock = Arc::new(RuntimeClock { start: tokio::time::Instant::now(), epoch });
        let cluster = SimulatedCluster::start_with(config, Home::Memory, clock, plan).await.unwrap();
        let client = cluster.client(UserInfo::named("tester", &["system:masters"]));
        let lab = Self { cluster, client, machines };
        lab.apply("{apiVersion: v1, kind: Namespace, metadata: {name: t}}").await;
        lab.until("the default account", |lab| lab.get("serviceaccounts", "t/default")).await;
        lab
    }

    /// Creates the objects of a YAML stream, in namespace `t` where they name none.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn try_apply(&self, yaml: &str) -> Result<Value, Status> {
        let mut last = Value::Null;
        for document in yaml.split("\n---\n").filter(|document| !document.trim().is_empty()) {
            let mut object: Value = serde_saphyr::from_str(document).unwrap();
            let resources = self.client.api().resources();
            let kind = crate::sim::api::resources::GroupVersionKind::read(&object).unwrap();
            let found = resources.by_kind(&kind.group, &kind.version, &kind.kind).unwrap().clone();
            let namespace = match (found.namespaced, meta::namespace(&object)) {
                (false, _) => String::new(),
                (true, "") => "t".to_owned(),
                (true, own) => own.to_owned(),
            };
            if found.namespaced {
                object["metadata"]["namespace"] = namespace.clone().into();
            }
            last = Value::clone(&*self.client.create(&found.storage, &namespace, object).await?);
        }
        Ok(last)
    }

    /// Creates the objects of a YAML stream; returns the last.
    pub(crate) async fn apply(&self, yaml: &str) -> Value {
        self.try_apply(yaml).await.unwrap()
    }

    /// Returns an object by `name` or `namespace/name`.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Option<Arc<Value>> {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        self.client.store().get(&resource(kind), namespace, name).map(|entry| entry.object.clone())
    }

    /// Returns an object that is there.
    pub(crate) fn the(&self, kind: &str, name: &str) -> Arc<Value> {
        self.get(kind, name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// Returns the objects of namespace `t` whose names begin so, in the order of their making.
    pub(crate) fn list(&self, kind: &str, prefix: &str) -> Vec<Arc<Value>> {
        let entries = self.client.store().list(&resource(kind), Some("t"));
        let mut found: Vec<Arc<Value>> =
            entries.iter().filter(|e| e.name().starts_with(prefix)).map(|e| e.object.clone()).collect();
        found.sort_by_key(|object| (meta::created(object), meta::name(object).to_owned()));
        found
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn patch(&self, kind: &str, name: &str, subresource: &str, yaml: &str) -> Value {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let patch: Value = serde_saphyr::from_str(yaml).unwrap();
        let patched = self.client.merge_patch(&resource(kind), namespace, name, subresource, patch).await;
        Value::clone(&*patched.unwrap())
    }

    /// Deletes an object as kubectl does, or at once.
    pub(crate) async fn delete(&self, kind: &str, name: &str, grace: Option<i64>) {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        let options = DeleteOptions {
            grace_period_seconds: grace,
            propagation_policy: Some("Background".to_owned()),
            ..DeleteOptions::default()
        };
        self.client.delete(&resource(kind), namespace, name, options).await.unwrap();
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let start = tokio::time::Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "never came: {what}\n{}", self.summary());
            // The longer it takes the less the moment matters.
            tokio::time::sleep(
                (start.elapsed() / 50).clamp(Duration::from_millis(20), Duration::from_secs(2)),
            )
            .await;
        }
    }

    /// Waits until an object is so; returns it.
    pub(crate) async fn wait(&self, kind: &str, name: &str, is_so: impl Fn(&Value) -> bool) -> Arc<Value> {
        let so = |lab: &Self| lab.get(kind, name).filter(|object| is_so(object));
        self.until(&format!("{kind} {name}"), so).await
    }

    /// Waits until an object is gone.
    pub(crate) async fn gone(&self, kind: &str, name: &str) {
        self.until(&format!("the end of {kind} {name}"), |lab| lab.get(kind, name).is_none().then_some(()))
            .await;
    }

    /// Waits until a Pod is in a phase.
    pub(crate) async fn phase(&self, pod: &str, phase: &str) -> Arc<Value> {
        self.wait("pods", &format!("t/{pod}"), |pod| pod["status"]["phase"] == phase).await
    }

    /// Returns the events about an object of namespace `t` (or without namespace), oldest first: type, reason, message.
    pub(crate) fn events(&self, about: &str) -> Vec<String> {
        let events: Vec<Arc<Value>> = self.events_about(about);
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        events
            .iter()
            .map(|e| format!("{} {} {}", text(e, "type"), text(e, "reason"), text(e, "message")))
            .collect()
    }

    /// Returns the events about an object, in the order of their making.
    pub(crate) fn events_about(&self, about: &str) -> Vec<Arc<Value>> {
        let mut events: Vec<Arc<Value>> =
            self.client.store().list(&resource("events"), None).iter().map(|e| e.object.clone()).collect();
        events.retain(|event| event["involvedObject"]["name"] == about);
        // Their names end with the moment of the first occurrence, no two the same.
        events.sort_by_key(|event| {
            let moment = meta::name(event).rsplit('.').next().unwrap_or_default();
            i128::from_str_radix(moment, 16).unwrap_or_default()
        });
        events
    }

    /// Returns a row of a Table as `kubectl get` prints it, cells joined by a blank.
    pub(crate) async fn row(&self, path: &str) -> String {
        let request = http::Request::get(path)
            .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .unwrap();
        let text = self.cluster.kube_client().request_text(request).await.unwrap();
        let table: Value = serde_json::from_str(&text).unwrap();
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        let shown = cells.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned));
        shown.collect::<Vec<_>>().join(" ")
    }

    /// Returns the status of a Pod as `kubectl get pods` shows it: READY, STATUS, RESTARTS.
    pub(crate) async fn shows(&self, pod: &str) -> String {
        let row = self.row(&format!("/api/v1/namespaces/t/pods/{pod}")).await;
        row.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" ")
    }

    /// Follows a Pod of namespace `t`: what READY, STATUS and RESTARTS show, each change once.
    pub(crate) fn follow(&self, pod: &str) -> Followed {
        let resources = self.client.api().resources();
        let table = Table::of(resources.by_kind("", "v1", "Pod").unwrap());
        let (pod, clock) = (pod.to_owned(), self.client.clock().clone());
        let rows = Arc::new(Mutex::new(Vec::<String>::new()));
        let mut watch = self.client.store().watch(Some(&resource("pods")), None).unwrap();
        let kept = rows.clone();
        let task = tokio::spawn(async move {
            while let Ok(event) = watch.next().await {
                if event.entry.name() != pod || event.entry.namespace() != "t" {
                    continue;
                }
                let cells = table.cells(&event.entry.object, clock.now());
                let mut row: Vec<&str> = cells[1..4].iter().filter_map(Value::as_str).collect();
                row[2] = row[2].split(' ').next().unwrap_or_default();
                let row = if event.change == Change::Deleted { "gone".to_owned() } else { row.join(" ") };
                let mut kept = kept.lock().unwrap();
                if kept.last() != Some(&row) {
                    kept.push(row);
                }
            }
        });
        Followed { rows, _task: task }
    }

    /// Tells of Pods and events, for a test that fails.
    fn summary(&self) -> String {
        let pods = self.list("pods", "");
        let pods = pods.iter().map(|pod| format!("{} {}", meta::name(pod), pod["status"]));
        let events = self.client.store().list(&resource("events"), Some("t"));
        let events =
            events.iter().map(|e| format!("{} {} {}", e.name(), e.object["reason"], e.object["message"]));
        pods.chain(events).collect::<Vec<_>>().join("\n")
    }
}
