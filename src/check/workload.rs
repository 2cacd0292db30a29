//! `workload`: the learner's fix left the work running. Compares with what was recorded after the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Capability;

/// Makes sure that workloads still do their work; meant for gates.
///
/// Each one must exist with the identity (uid) that it had after the seed, with at least as many replicas, all of
/// them ready and of the newest template, with nothing left of older ones, with every container it had present,
/// ready and not restarting, and with the images it had. A rollout under way is given time to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The namespace.
    pub namespace: String,
    /// The workloads as `Kind/name`: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod.
    pub of: Vec<String>,
    /// At least how many replicas each must have; as many as after the seed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The containers that must be there, init and ephemeral ones included; those after the seed when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// What may become of the images.
    #[serde(default)]
    pub images: Images,
    /// Allows the workload to be deleted and made anew; otherwise its uid must be the one it had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_recreated: bool,
    /// Services of the namespace that must have a ready endpoint on one of these workloads' Pods for each port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// How many seconds a rollout may take to end before it counts as stuck.
    #[serde(default = "settle_seconds")]
    pub settle_seconds: u32,
}

/// What may become of a workload's images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Images {
    /// They are the ones it had.
    #[default]
    Unchanged,
    /// They may be any.
    Any,
    /// These containers have these images, the others the ones they had.
    Exactly(BTreeMap<String, String>),
}

fn settle_seconds() -> u32 {
    30
}

/// A container that has restarted since the seed counts as stable when it has run for this long.
const STABLE: Duration = Duration::from_secs(15);

/// What one workload was after the seed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seeded {
    uid: String,
    replicas: u64,
    images: BTreeMap<String, String>,
    /// Restarts by Pod uid and container.
    restarts: BTreeMap<String, u64>,
    /// A Job or Pod that had already done its work.
    done: bool,
    suspended: bool,
}

/// What is wrong with a workload now.
#[derive(Default)]
struct Faults {
    findings: Vec<Finding>,
    /// Everything wrong is on its way: waiting may cure it.
    moving: bool,
    /// Something is wrong that waiting does not cure.
    stuck: bool,
}

impl Faults {
    fn stuck(&mut self, object: &str, path: &str, expected: impl Into<String>, actual: impl Into<String>) {
        self.stuck = true;
        self.findings.push(Finding::new(object, path, expected, actual));
    }

    fn moving(&mut self, object: &str, path: &str, expected: impl Into<String>, actual: impl Into<String>) {
        self.moving = true;
        self.findings.push(Finding::new(object, path, expected, actual));
    }
}

impl Check for Workload {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Pods];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.namespace.is_empty() {
            faults.push("namespace: name it".to_owned());
        }
        if self.of.is_empty() {
            faults.push("of: name the workloads, such as `Deployment/api`".to_owned());
        }
        for (index, of) in self.of.iter().enumerate() {
            if parse(of).is_err() {
                faults.push(format!("of[{index}]: `{of}` is not `Kind/name` of a workload"));
            }
        }
        if self.replicas == Some(0) {
            faults.push("replicas: at least none is always true".to_owned());
        }
        if self.settle_seconds > 300 {
            faults.push("settleSeconds: at most 300".to_owned());
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut seeded = BTreeMap::new();
        for of in &self.of {
            let (api_version, kind, name) = parse(of)?;
            let found = api.get_known(api_version, kind, Some(&self.namespace), name).await?;
            let Some(found) = found else {
                return Err(CheckError::Spec(format!(
                    "there is no {kind} {}/{name} after the seed",
                    self.namespace
                )));
            };
            let pods = pods_of(&api, &found).await?;
            seeded.insert(of.clone(), seeded_as(kind, &found, &pods.current));
        }
        serde_json::to_value(seeded).map_err(|error| CheckError::Spec(error.to_string()))
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let seeded: BTreeMap<String, Seeded> = cx
            .baseline
            .and_then(|baseline| serde_json::from_value(baseline.clone()).ok())
            .ok_or(CheckError::NoBaseline)?;
        let api = Api::new(cx.client.clone());
        let mut left = Duration::from_secs(u64::from(self.settle_seconds));
        let mut pause = Duration::from_millis(50);
        loop {
            let mut faults = Faults::default();
            for of in &self.of {
                let before = seeded.get(of).ok_or(CheckError::NoBaseline)?;
                self.look(&api, of, before, &mut faults).await?;
            }
            self.services(&api, &mut faults).await?;
            if faults.findings.is_empty() || faults.stuck || left.is_zero() {
                return Ok(Verdict::of(faults.findings));
            }
            pause = (pause * 2).min(Duration::from_secs(1)).min(left);
            tokio::time::sleep(pause).await;
            left -= pause;
        }
    }
}

impl Workload {
    async fn look(
        &self,
        api: &Api,
        of: &str,
        before: &Seeded,
        faults: &mut Faults,
    ) -> Result<(), CheckError> {
        let (api_version, kind, name) = parse(of)?;
        let label = format!("{kind} {}/{name}", self.namespace);
        let found = api.get_known(api_version, kind, Some(&self.namespace), name).await?;
        let Some(found) = found else {
            faults.stuck(&label, "", "it exists", "it does not");
            return Ok(());
        };
        if object::is_going(&found) {
            faults.stuck(&label, "metadata.deletionTimestamp", "it stays", "it is being deleted");
            return Ok(());
        }
        if !self.may_be_recreated && found["metadata"]["uid"].as_str() != Some(&before.uid) {
            faults.stuck(&label, "metadata.uid", "the object that was there", "deleted and made anew");
        }
        let template = if kind == "Pod" { &found } else { &found["spec"]["template"] };
        self.template(&label, template, before, faults);
        let pods = pods_of(api, &found).await?;
        let required = self.replicas.map_or(before.replicas, u64::from);
        match kind {
            "Pod" => {}
            "Job" => job(&label, &found, before, faults),
            "DaemonSet" => daemon_set(&label, &found, required, faults),
            _ => replicated(&label, kind, &found, required, faults),
        }
        let done = matches!(kind, "Pod" | "Job") && before.done;
        if !done {
            let wanted = match kind {
                "Pod" => 1,
                "Job" => u64::from(!before.suspended && found["status"]["succeeded"].as_u64().is_none()),
                _ => required,
            };
            let there = pods.current.len() as u64;
            if there < wanted {
                let why = replica_failure(&found);
                let actual = why.as_ref().map_or_else(|| there.to_string(), |why| format!("{there}: {why}"));
                let expected = format!("at least {wanted} of the current template");
                match why {
                    Some(_) => faults.stuck(&label, "Pods", expected, actual),
                    None => faults.moving(&label, "Pods", expected, actual),
                }
            }
            for pod in &pods.current {
                pod_is_up(pod, before, faults);
            }
        } else if kind == "Pod" && found["status"]["phase"] != "Succeeded" {
            let phase = object::show(&found["status"]["phase"]);
            faults.stuck(&label, "status.phase", "Succeeded, as before", phase);
        }
        for pod in &pods.old {
            let actual = format!("{} still runs", object::display(pod));
            faults.moving(&label, "Pods", "none of an older template", actual);
        }
        Ok(())
    }

    /// Compares containers and images of the template.
    fn template(&self, label: &str, template: &Value, before: &Seeded, faults: &mut Faults) {
        let images = images(template);
        let required: Vec<&String> = if self.containers.is_empty() {
            before.images.keys().collect()
        } else {
            self.containers.iter().collect()
        };
        for name in required {
            if !images.contains_key(name) {
                faults.stuck(label, "containers", format!("container {name}"), "it is not there");
            }
        }
        let exactly = match &self.images {
            Images::Any => return,
            Images::Unchanged => None,
            Images::Exactly(images) => Some(images),
        };
        for (name, image) in &images {
            let wanted = exactly.and_then(|images| images.get(name)).or_else(|| before.images.get(name));
            if let Some(wanted) = wanted.filter(|&wanted| wanted != image) {
                faults.stuck(label, &format!("containers[name={name}].image"), wanted, image);
            }
        }
    }

    /// Looks for ready endpoints behind each port of each Service, on Pods of these workloads.
    async fn services(&self, api: &Api, faults: &mut Faults) -> Result<(), CheckError> {
        if self.services.is_empty() {
            return Ok(());
        }
        let mut ours = BTreeSet::new();
        for of in &self.of {
            let (api_version, kind, name) = parse(of)?;
            if let Some(found) = api.get_known(api_version, kind, Some(&self.namespace), name).await? {
                let pods = pods_of(api, &found).await?;
                ours.extend(pods.current.iter().map(|pod| pod["metadata"]["uid"].clone().to_string()));
            }
        }
        for name in &self.services {
            let label = format!("Service {}/{name}", self.namespace);
            let Some(service) = api.get_known("v1", "Service", Some(&self.namespace), name).await? else {
                faults.stuck(&label, "", "it exists", "it does not");
                continue;
            };
            let selector = format!("kubernetes.io/service-name={name}");
            let slices = api
                .list_known("discovery.k8s.io/v1", "EndpointSlice", Some(&self.namespace), Some(&selector))
                .await?;
            for (index, port) in array(&service["spec"]["ports"]).iter().enumerate() {
                let port_name = port["name"].as_str().unwrap_or_default();
                let served = slices.iter().any(|slice| {
                    let has_port = array(&slice["ports"])
                        .iter()
                        .any(|port| port["name"].as_str().unwrap_or_default() == port_name);
                    has_port
                        && array(&slice["endpoints"]).iter().any(|endpoint| {
                            endpoint["conditions"]["ready"] != false
                                && ours.contains(&endpoint["targetRef"]["uid"].to_string())
                        })
                });
                if !served {
                    let path = format!("spec.ports[{index}]");
                    faults.moving(&label, &path, "a ready endpoint", "none of these workloads' Pods");
                }
            }
        }
        Ok(())
    }
}

fn parse(of: &str) -> Result<(&'static str, &'static str, &str), CheckError> {
    let known = of.split_once('/').and_then(|(kind, name)| {
        let (api_version, kind) = match kind.to_ascii_lowercase().as_str() {
            "deployment" => ("apps/v1", "Deployment"),
            "statefulset" => ("apps/v1", "StatefulSet"),
            "daemonset" => ("apps/v1", "DaemonSet"),
            "replicaset" => ("apps/v1", "ReplicaSet"),
            "job" => ("batch/v1", "Job"),
            "pod" => ("v1", "Pod"),
            _ => return None,
        };
        (!name.is_empty() && !name.contains('/')).then_some((api_version, kind, name))
    });
    known.ok_or_else(|| CheckError::Spec(format!("`{of}` is not `Kind/name` of a workload")))
}

fn seeded_as(kind: &str, found: &Value, pods: &[Value]) -> Seeded {
    let template = if kind == "Pod" { found } else { &found["spec"]["template"] };
    Seeded {
        uid: found["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        replicas: match kind {
            "DaemonSet" => number(&found["status"]["desiredNumberScheduled"]),
            "Pod" => 1,
            "Job" => found["spec"]["parallelism"].as_u64().unwrap_or(1),
            _ => found["spec"]["replicas"].as_u64().unwrap_or(1),
        },
        images: images(template),
        restarts: pods.iter().flat_map(restarts).collect(),
        done: found["status"]["phase"] == "Succeeded" || condition(found, "Complete").is_some(),
        suspended: found["spec"]["suspend"] == true,
    }
}

/// The containers of all three sorts, by name.
fn images(template: &Value) -> BTreeMap<String, String> {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| array(&template["spec"][*list]))
        .map(|container| (text(&container["name"]), text(&container["image"])))
        .collect()
}

fn statuses(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(move |list| array(&pod["status"][list]).iter().map(move |status| (list, status)))
}

fn restarts(pod: &Value) -> Vec<(String, u64)> {
    statuses(pod)
        .map(|(_, status)| (restart_key(pod, &text(&status["name"])), number(&status["restartCount"])))
        .collect()
}

fn restart_key(pod: &Value, container: &str) -> String {
    format!("{}/{container}", pod["metadata"]["uid"].as_str().unwrap_or_default())
}

/// The Pods of a workload that are not on their way out.
struct Pods {
    /// Those of the current template.
    current: Vec<Value>,
    /// Those of an older one.
    old: Vec<Value>,
}

/// Finds the Pods by ownership. Labels alone would count Pods that belong to something else.
async fn pods_of(api: &Api, found: &Value) -> Result<Pods, CheckError> {
    let namespace = text(&found["metadata"]["namespace"]);
    let kind = found["kind"].as_str().unwrap_or_default();
    if kind == "Pod" {
        return Ok(Pods { current: vec![found.clone()], old: Vec::new() });
    }
    let all = api.list_known("v1", "Pod", Some(&namespace), None).await?;
    let mut owned: Vec<Value> = all.into_iter().filter(|pod| !object::is_going(pod)).collect();
    if kind != "Deployment" {
        owned.retain(|pod| is_owned(pod, found));
        let revision = &found["status"]["updateRevision"];
        let (mut current, mut old) = (owned, Vec::new());
        if kind == "StatefulSet" && revision.is_string() {
            (current, old) = current
                .into_iter()
                .partition(|pod| pod["metadata"]["labels"]["controller-revision-hash"] == *revision);
        }
        return Ok(Pods { current, old });
    }
    let sets = api.list_known("apps/v1", "ReplicaSet", Some(&namespace), None).await?;
    let mut pods = Pods { current: Vec::new(), old: Vec::new() };
    for set in sets.iter().filter(|set| is_owned(set, found)) {
        let same = same_template(&set["spec"]["template"], &found["spec"]["template"]);
        let (mine, rest): (Vec<_>, Vec<_>) = owned.into_iter().partition(|pod| is_owned(pod, set));
        owned = rest;
        if same { pods.current.extend(mine) } else { pods.old.extend(mine) }
    }
    Ok(pods)
}

fn is_owned(object: &Value, owner: &Value) -> bool {
    let uid = &owner["metadata"]["uid"];
    uid.is_string()
        && array(&object["metadata"]["ownerReferences"])
            .iter()
            .any(|reference| reference["uid"] == *uid && reference["controller"] == true)
}

/// Compares the template of a ReplicaSet with its Deployment's, without the hash that tells them apart.
fn same_template(of_set: &Value, of_deployment: &Value) -> bool {
    let mut of_set = of_set.clone();
    object::remove(&mut of_set, "metadata.labels.pod-template-hash");
    let mut of_deployment = of_deployment.clone();
    object::remove(&mut of_deployment, "metadata.labels.pod-template-hash");
    of_set == of_deployment
}

fn replicated(label: &str, kind: &str, found: &Value, required: u64, faults: &mut Faults) {
    let (spec, status) = (&found["spec"], &found["status"]);
    let replicas = spec["replicas"].as_u64().unwrap_or(1);
    if replicas < required {
        let path = "spec.replicas";
        faults.stuck(label, path, format!("at least {required}"), replicas.to_string());
        return;
    }
    if !is_observed(label, found, faults) {
        return;
    }
    if kind == "Deployment" {
        if spec["paused"] == true && number(&status["updatedReplicas"]) < replicas {
            faults.stuck(label, "spec.paused", "the rollout goes on", "it is paused");
        }
        if let Some(failed) = condition_with(found, "Progressing", "False") {
            let reason = text(&failed["message"]);
            faults.stuck(label, "status.conditions[type=Progressing]", "the rollout ends", reason);
        }
    }
    let mut counts = vec![("readyReplicas", replicas)];
    if kind != "ReplicaSet" {
        counts.push(("updatedReplicas", replicas));
    }
    if kind == "StatefulSet" && status["currentRevision"] == status["updateRevision"] {
        // Its count of updated replicas is not kept once a rollout has ended.
        counts.pop();
    }
    for (field, expected) in counts {
        let actual = number(&status[field]);
        if actual < expected {
            faults.moving(
                label,
                &format!("status.{field}"),
                expected.to_string(),
                match replica_failure(found) {
                    Some(why) => format!("{actual}: {why}"),
                    None => actual.to_string(),
                },
            );
        }
    }
}

fn daemon_set(label: &str, found: &Value, required: u64, faults: &mut Faults) {
    if !is_observed(label, found, faults) {
        return;
    }
    let status = &found["status"];
    let desired = number(&status["desiredNumberScheduled"]);
    if desired < required {
        let path = "status.desiredNumberScheduled";
        faults.moving(label, path, format!("at least {required}"), desired.to_string());
    }
    for field in ["updatedNumberScheduled", "numberReady"] {
        let actual = number(&status[field]);
        if actual < desired {
            faults.moving(label, &format!("status.{field}"), desired.to_string(), actual.to_string());
        }
    }
}

fn job(label: &str, found: &Value, before: &Seeded, faults: &mut Faults) {
    if let Some(failed) = condition(found, "Failed") {
        let reason = text(&failed["message"]);
        faults.stuck(label, "status.conditions[type=Failed]", "it does not fail", reason);
    }
    if found["spec"]["suspend"] == true && !before.suspended {
        faults.stuck(label, "spec.suspend", "false, as before", "true");
    }
    if before.done && condition(found, "Complete").is_none() {
        faults.stuck(label, "status.conditions[type=Complete]", "True, as before", "it is not");
    }
}

fn is_observed(label: &str, found: &Value, faults: &mut Faults) -> bool {
    let generation = number(&found["metadata"]["generation"]);
    let observed = number(&found["status"]["observedGeneration"]);
    if observed < generation {
        faults.moving(label, "status.observedGeneration", generation.to_string(), observed.to_string());
    }
    observed >= generation
}

/// Looks at one Pod: it runs, and every container of it is up and stays up.
fn pod_is_up(pod: &Value, before: &Seeded, faults: &mut Faults) {
    let label = object::display(pod);
    let phase = pod["status"]["phase"].as_str().unwrap_or("Unknown");
    if phase == "Succeeded" && text(&pod["spec"]["restartPolicy"]) != "Always" {
        return;
    }
    if matches!(phase, "Failed" | "Succeeded") {
        faults.stuck(&label, "status.phase", "Running", phase);
        return;
    }
    if let Some(unschedulable) = condition_with(pod, "PodScheduled", "False") {
        let path = "status.conditions[type=PodScheduled]";
        faults.stuck(&label, path, "True", object::shorten(&text(&unschedulable["message"])));
        return;
    }
    let sidecar = |name: &Value| {
        array(&pod["spec"]["initContainers"])
            .iter()
            .any(|container| container["name"] == *name && container["restartPolicy"] == "Always")
    };
    let mut waiting = false;
    for (list, status) in statuses(pod) {
        let path = format!("status.{list}[name={}]", text(&status["name"]));
        let finished = list == "initContainerStatuses" && !sidecar(&status["name"]);
        if finished && status["state"]["terminated"]["exitCode"] == 0 {
            continue;
        }
        if let Some(reason) = status["state"]["waiting"]["reason"].as_str() {
            waiting = true;
            if matches!(reason, "ContainerCreating" | "PodInitializing") {
                faults.moving(&label, &path, "running", reason);
            } else {
                let message = text(&status["state"]["waiting"]["message"]);
                let actual =
                    if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
                faults.stuck(&label, &path, "running", object::shorten(&actual));
            }
            continue;
        }
        if status["ready"] != true {
            waiting = true;
            let actual = match status["state"]["terminated"]["exitCode"].as_i64() {
                Some(code) => format!("ended with exit status {code}"),
                None => "not ready".to_owned(),
            };
            faults.moving(&label, &path, "ready", actual);
            continue;
        }
        let known = before.restarts.get(&restart_key(pod, &text(&status["name"]))).copied().unwrap_or(0);
        let restarts = number(&status["restartCount"]);
        if restarts > known && !has_run_long(&status["state"]["running"]["startedAt"]) {
            let actual = format!("{restarts}, the last one just now");
            faults.moving(&label, &format!("{path}.restartCount"), format!("{known}, as before"), actual);
        }
    }
    if phase != "Running" && !waiting {
        faults.moving(&label, "status.phase", "Running", phase);
    } else if !waiting && condition(pod, "Ready").is_none() {
        faults.moving(&label, "status.conditions[type=Ready]", "True", "False");
    }
}

fn has_run_long(started: &Value) -> bool {
    let started = started.as_str().and_then(|started| started.parse::<Timestamp>().ok());
    started.is_some_and(|started| {
        SystemClock.now().duration_since(started).unsigned_abs() >= STABLE && SystemClock.now() > started
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    condition_with(object, kind, "True")
}

fn condition_with<'a>(object: &'a Value, kind: &str, status: &str) -> Option<&'a Value> {
    array(&object["status"]["conditions"])
        .iter()
        .find(|condition| condition["type"] == kind && condition["status"] == status)
}

/// Says why Pods could not be made, such as an admission that refuses them.
fn replica_failure(found: &Value) -> Option<String> {
    condition(found, "ReplicaFailure").map(|failed| object::shorten(&text(&failed["message"])))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
