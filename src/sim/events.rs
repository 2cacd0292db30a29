//! Events as components record them: deduplicated and aggregated as client-go does, written in order by one task.
//! Knows how an Event looks and counts, not why it is recorded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::attributes::UserInfo;
use super::client::Client;
use super::meta;
use super::resource::GroupResource;

const EVENTS: GroupResource = GroupResource::of("", "events");
const NODES: GroupResource = GroupResource::of("", "nodes");
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// How many different messages of one kind are kept apart before they are combined.
const DISTINCT_MESSAGES: usize = 10;
/// After how long a pause combining starts anew.
const AGGREGATION_INTERVAL: Duration = Duration::from_secs(600);
/// After how long a pause the scheduler's series start anew.
const SERIES_INTERVAL: Duration = Duration::from_secs(360);
/// How many events are remembered for counting.
const REMEMBERED: usize = 4096;

/// The two types of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// `Normal`
    Normal,
    /// `Warning`
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Which of the two recorders of client-go a component uses; they leave different fields.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Style {
    /// `record.EventRecorder`: counts, `source`, first and last time.
    Core,
    /// `events.EventRecorder`: `eventTime`, `series`, `reportingComponent`; the action is part of it.
    Series { action: String },
}

#[derive(Debug)]
struct Occurrence {
    client: Client,
    component: String,
    host: String,
    regarding: Value,
    severity: Severity,
    reason: String,
    message: String,
    style: Style,
    at: Timestamp,
}

impl Occurrence {
    /// Names the process that a component of the control plane runs as: by the host that it is on.
    fn instance(&self) -> String {
        let nodes = self.client.store().list(&NODES, None);
        let host = nodes
            .iter()
            .find(|node| !node.object["metadata"]["labels"][CONTROL_PLANE].is_null())
            .map_or("", |node| node.name());
        format!("{}-{host}", self.component)
    }
}

/// Where all components of a cluster hand in their events. Dropping the last clone ends the task.
#[derive(Debug, Clone)]
pub(crate) struct EventSink {
    queue: mpsc::UnboundedSender<Occurrence>,
    client: Client,
}

impl EventSink {
    /// Starts the task that writes.
    pub(crate) fn start(client: Client, tasks: &mut tokio::task::JoinSet<()>) -> Self {
        let (queue, mut incoming) = mpsc::unbounded_channel();
        let mut up = client.api().up();
        tasks.spawn(async move {
            let mut correlator = Correlator::default();
            while let Some(occurrence) = incoming.recv().await {
                // What cannot be written now is written when somebody listens again.
                if up.wait_for(|up| *up).await.is_err() {
                    return;
                }
                write(&mut correlator, occurrence).await;
            }
        });
        Self { queue, client }
    }

    /// Returns the recorder of a component; `host` is empty for all but kubelets.
    pub(crate) fn recorder(&self, component: &str, host: &str, user: UserInfo) -> Recorder {
        let client = self.client.with_user(user);
        Recorder { queue: self.queue.clone(), client, component: component.to_owned(), host: host.to_owned() }
    }
}

/// Records events of one component.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    queue: mpsc::UnboundedSender<Occurrence>,
    client: Client,
    component: String,
    host: String,
}

impl Recorder {
    /// Records a Normal event about an object.
    pub(crate) fn normal(&self, about: &Value, reason: &str, message: impl Into<String>) {
        self.record(reference(about, ""), Severity::Normal, reason, message.into(), Style::Core);
    }

    /// Records a Warning event about an object.
    pub(crate) fn warning(&self, about: &Value, reason: &str, message: impl Into<String>) {
        self.record(reference(about, ""), Severity::Warning, reason, message.into(), Style::Core);
    }

    /// Records an event about a part of an object, such as `spec.containers{app}`.
    pub(crate) fn field(
        &self,
        about: &Value,
        path: &str,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.record(reference(about, path), severity, reason, message.into(), Style::Core);
    }

    /// Records an event with an action, as the scheduler does.
    pub(crate) fn action(
        &self,
        about: &Value,
        severity: Severity,
        reason: &str,
        action: &str,
        message: impl Into<String>,
    ) {
        let style = Style::Series { action: action.to_owned() };
        self.record(reference(about, ""), severity, reason, message.into(), style);
    }

    fn record(&self, regarding: Value, severity: Severity, reason: &str, message: String, style: Style) {
        let occurrence = Occurrence {
            client: self.client.clone(),
            component: self.component.clone(),
            host: self.host.clone(),
            regarding,
            severity,
            reason: reason.to_owned(),
            message,
            style,
            at: self.client.clock().now(),
        };
        // The task ends only when the cluster stops, and then nobody reads events any more.
        let _ = self.queue.send(occurrence);
    }
}

/// Builds the reference to an object, or to a part of it.
fn reference(object: &Value, path: &str) -> Value {
    let meta = &object["metadata"];
    let mut reference = json!({
        "kind": object["kind"], "apiVersion": object["apiVersion"], "name": meta["name"],
    });
    for field in ["namespace", "uid", "resourceVersion"] {
        if !meta[field].is_null() {
            reference[field] = meta[field].clone();
        }
    }
    if !path.is_empty() {
        reference["fieldPath"] = path.into();
    }
    reference
}

/// What to do with an occurrence.
#[derive(Debug, PartialEq)]
enum Writing {
    Create { namespace: String, event: Value },
    Patch { namespace: String, name: String, patch: Value, otherwise: Value },
}

#[derive(Debug)]
struct Known {
    name: String,
    count: i64,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

/// The memory by which repeated events become counts.
#[derive(Debug, Default)]
struct Correlator {
    known: HashMap<String, Known>,
    order: VecDeque<String>,
    similar: HashMap<String, Similar>,
    /// The moment by which the last event was named.
    named: i128,
}

impl Correlator {
    fn decide(&mut self, occurrence: &Occurrence) -> Writing {
        if self.similar.len() > REMEMBERED {
            self.similar.clear();
        }
        match &occurrence.style {
            Style::Core => self.decide_core(occurrence),
            Style::Series { action } => self.decide_series(occurrence, action),
        }
    }

    fn decide_core(&mut self, o: &Occurrence) -> Writing {
        let about = |field: &str| o.regarding[field].as_str().unwrap_or_default();
        let subject = format!(
            "{}\0{}\0{}\0{}\0{}\0{}\0{}\0{}\0{}",
            o.component,
            o.host,
            about("kind"),
            about("namespace"),
            about("name"),
            about("uid"),
            about("apiVersion"),
            o.severity.as_str(),
            o.reason
        );
        let similar = self
            .similar
            .entry(subject.clone())
            .or_insert_with(|| Similar { messages: HashSet::new(), last: o.at });
        if o.at.duration_since(similar.last).unsigned_abs() > AGGREGATION_INTERVAL {
            similar.messages.clear();
        }
        similar.last = o.at;
        similar.messages.insert(o.message.clone());
        let (key, message) = if similar.messages.len() < DISTINCT_MESSAGES {
            (format!("{subject}\0{}\0{}", about("fieldPath"), o.message), o.message.clone())
        } else {
            // One message is forgotten, so that the set does not grow.
            let one = similar.messages.iter().next().cloned();
            if let Some(one) = one {
                similar.messages.remove(&one);
            }
            (subject, format!("(combined from similar events): {}", o.message))
        };
        let mut event = self.event(o);
        event["message"] = message.clone().into();
        event["firstTimestamp"] = meta::seconds(o.at).into();
        event["lastTimestamp"] = meta::seconds(o.at).into();
        event["count"] = 1.into();
        let mut source = json!({"component": o.component});
        if !o.host.is_empty() {
            source["host"] = o.host.clone().into();
        }
        event["source"] = source;
        event["eventTime"] = Value::Null;
        event["reportingComponent"] = o.component.clone().into();
        event["reportingInstance"] = o.host.clone().into();
        match self.known.get_mut(&key) {
            None => {
                self.remember(key, &event, o.at);
                Writing::Create { namespace: o.namespace().to_owned(), event }
            }
            Some(known) => {
                known.count += 1;
                known.last = o.at;
                event["metadata"]["name"] = known.name.clone().into();
                event["count"] = known.count.into();
                event["firstTimestamp"] = meta::seconds(known.first).into();
                let patch = json!({
                    "count": known.count, "lastTimestamp": meta::seconds(o.at), "message": message,
                });
                Writing::Patch {
                    namespace: o.namespace().to_owned(),
                    name: known.name.clone(),
                    patch,
                    otherwise: event,
                }
            }
        }
    }

    fn decide_series(&mut self, o: &Occurrence, action: &str) -> Writing {
        let mut event = self.event(o);
        event["message"] = o.message.clone().into();
        event["action"] = action.into();
        event["eventTime"] = meta::micros(o.at).into();
        event["firstTimestamp"] = Value::Null;
        event["lastTimestamp"] = Value::Null;
        event["source"] = json!({});
        event["reportingComponent"] = o.component.clone().into();
        event["reportingInstance"] = o.instance().into();
        let key = format!(
            "{action}\0{}\0{}\0{}\0{}\0{}",
            o.component,
            o.reason,
            o.regarding["uid"].as_str().unwrap_or_default(),
            o.severity.as_str(),
            o.message
        );
        match self.known.get_mut(&key) {
            Some(known) if o.at.duration_since(known.last).unsigned_abs() < SERIES_INTERVAL => {
                known.count += 1;
                known.last = o.at;
                event["metadata"]["name"] = known.name.clone().into();
                let series = json!({"count": known.count, "lastObservedTime": meta::micros(o.at)});
                event["series"] = series.clone();
                Writing::Patch {
                    namespace: o.namespace().to_owned(),
                    name: known.name.clone(),
                    patch: json!({"series": series}),
                    otherwise: event,
                }
            }
            _ => {
                self.remember(key, &event, o.at);
                Writing::Create { namespace: o.namespace().to_owned(), event }
            }
        }
    }

    /// Builds an event, with a name by which it is known from now on: two within one reading of the clock differ.
    fn event(&mut self, o: &Occurrence) -> Value {
        self.named = o.at.as_nanosecond().max(self.named + 1);
        let name = o.regarding["name"].as_str().unwrap_or_default();
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("{name}.{:x}", self.named), "namespace": o.namespace()},
            "involvedObject": o.regarding, "reason": o.reason, "type": o.severity.as_str(),
        })
    }

    fn remember(&mut self, key: String, event: &Value, at: Timestamp) {
        let name = meta::name(event).to_owned();
        if self.known.insert(key.clone(), Known { name, count: 1, first: at, last: at }).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

impl Occurrence {
    /// The namespace that the event lives in: its object's, or default for objects without.
    fn namespace(&self) -> &str {
        self.regarding["namespace"].as_str().unwrap_or("default")
    }
}

async fn write(correlator: &mut Correlator, occurrence: Occurrence) {
    let client = &occurrence.client;
    match correlator.decide(&occurrence) {
        Writing::Create { namespace, event } => create(client, &namespace, event).await,
        Writing::Patch { namespace, name, patch, otherwise } => {
            let patched = client.merge_patch(&EVENTS, &namespace, &name, "", patch).await;
            if patched.is_err_and(|status| status.code == 404) {
                create(client, &namespace, otherwise).await;
            }
        }
    }
}

/// Events are best effort: what a terminating namespace refuses is not recorded.
async fn create(client: &Client, namespace: &str, event: Value) {
    let _ = client.create(&EVENTS, namespace, event).await;
}

#[cfg(test)]
mod tests;
