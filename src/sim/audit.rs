//! Audit: what the API server writes of each request, by a policy, to a log and to a webhook. Knows no way of a request;
//! whoever handles one tells what happens to it.
//!
//! Upstream: `k8s.io/apiserver/pkg/audit`, `pkg/endpoints/filters/audit.go`, `docs/tasks/debug/debug-cluster/audit`.

mod event;
mod log;
mod policy;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

pub use self::log::{LogFile, LogSettings};
pub use self::policy::load;
pub use self::webhook::Webhook;

use self::event::{Event, ObjectReference};
use super::api::RequestInfo;
use super::attributes::UserInfo;
use super::random;
use crate::audit_policy::{Level, Outcome, Policy, Request, Stage};
use crate::clock::Clock;

/// Where events go.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Takes an event, one JSON object without a line end.
    fn take(&self, event: &str);
}

/// Auditing as one API server does it.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    sinks: Vec<Arc<dyn Sink>>,
    clock: Arc<dyn Clock>,
}

/// What is known of a request when it comes in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Path and query as they came.
    pub(crate) uri: &'a str,
    /// What it asks for.
    pub(crate) info: &'a RequestInfo,
    /// Who asks; nobody when the credentials were refused.
    pub(crate) user: Option<&'a UserInfo>,
    /// The `User-Agent` header.
    pub(crate) agent: &'a str,
    /// The `Audit-ID` header, which a client may choose.
    pub(crate) id: &'a str,
}

impl Audit {
    /// Audits by a policy.
    pub fn new(policy: Policy, sinks: Vec<Arc<dyn Sink>>, clock: Arc<dyn Clock>) -> Self {
        Self { policy, sinks, clock }
    }

    /// Begins the record of a request; nothing for one that is not to be logged at all.
    pub(crate) fn begin(self: &Arc<Self>, facts: &Facts<'_>) -> Option<Record> {
        let info = facts.info;
        let resource = match info.subresource.as_str() {
            "" => info.resource.clone(),
            subresource => format!("{}/{subresource}", info.resource),
        };
        let outcome = self.policy.of(&Request {
            user: facts.user.map(|user| user.username.as_str()).unwrap_or_default(),
            groups: facts.user.map(|user| user.groups.as_slice()).unwrap_or_default(),
            verb: &info.verb,
            resource: info.is_resource.then_some((info.group.as_str(), resource.as_str())),
            namespace: &info.namespace,
            name: &info.name,
            path: &info.path,
        });
        if outcome.level == Level::None {
            return None;
        }
        let received = self.clock.now();
        let event = Event {
            level: outcome.level,
            audit_id: if facts.id.is_empty() { random::uuid() } else { facts.id.to_owned() },
            request_uri: facts.uri.to_owned(),
            verb: info.verb.clone(),
            user: facts.user.cloned().unwrap_or_default(),
            user_agent: facts.agent.to_owned(),
            object_ref: info.is_resource.then(|| ObjectReference::of(info)),
            received,
            ..Event::default()
        };
        Some(Record { audit: self.clone(), outcome, event, started: false, ended: false })
    }
}

/// The record of one request. Each stage is written as it is told; a request that breaks off ends with it.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Arc<Audit>,
    outcome: Outcome,
    event: Event,
    started: bool,
    ended: bool,
}

impl Record {
    /// Returns what the answer's `Audit-ID` header is to say.
    pub(crate) fn id(&self) -> &str {
        &self.event.audit_id
    }

    /// Tells whether bodies of requests are logged.
    pub(crate) fn wants_request(&self) -> bool {
        self.outcome.level >= Level::Request
    }

    /// Tells whether bodies of answers are logged.
    pub(crate) fn wants_response(&self) -> bool {
        self.outcome.level >= Level::RequestResponse
    }

    /// The request came in.
    pub(crate) fn received(&self) {
        self.write(Stage::RequestReceived, self.event.received);
    }

    /// The request is made as another user.
    pub(crate) fn impersonates(&mut self, user: &UserInfo) {
        self.event.impersonated_user = Some(user.clone());
    }

    /// Notes how it was authorized.
    pub(crate) fn decided(&mut self, allowed: bool, reason: &str) {
        let decision = if allowed { "allow" } else { "forbid" };
        self.annotate("authorization.k8s.io/decision", decision);
        self.annotate("authorization.k8s.io/reason", reason);
    }

    /// Notes something; what is noted first stays.
    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.event.annotations.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Notes all of these.
    pub(crate) fn annotate_all(&mut self, annotations: &BTreeMap<String, String>) {
        for (key, value) in annotations {
            self.annotate(key, value);
        }
    }

    /// Notes the body of the request: the object, the patch, or the options of a delete.
    pub(crate) fn asked(&mut self, body: Value) {
        if let (Some(reference), true) =
            (&mut self.event.object_ref, matches!(&*self.event.verb, "create" | "update"))
        {
            reference.complete(&body);
        }
        if self.wants_request() {
            self.event.request_object = Some(self.without_managed_fields(body));
        }
    }

    /// The headers of a long answer go out.
    pub(crate) fn started(&mut self, code: u16) {
        self.started = true;
        self.event.response_status = Some(event::success(code));
        self.write(Stage::ResponseStarted, self.audit.clock.now());
    }

    /// The credentials were refused, and nothing else is told of the request.
    pub(crate) fn unauthenticated(mut self, attempted: &str) {
        self.ended = true;
        let message = match attempted {
            "" => "Authentication failed, no credentials provided".to_owned(),
            attempted => format!("Authentication failed, attempted: {attempted}"),
        };
        self.event.response_status =
            Some(serde_json::json!({ "metadata": {}, "message": message, "code": 401 }));
        self.write(Stage::ResponseStarted, self.audit.clock.now());
    }

    /// The answer is complete. A failure's own Status is what is logged of it.
    pub(crate) fn complete(mut self, code: u16, answer: Option<Value>) {
        self.ended = true;
        let is_failure = |answer: &Value| answer["kind"] == "Status" && answer["status"] == "Failure";
        self.event.response_status = Some(match &answer {
            Some(answer) if is_failure(answer) => event::failure(answer),
            _ => event::success(code),
        });
        if self.wants_response() {
            self.event.response_object = answer.map(|answer| self.without_managed_fields(answer));
        }
        self.write(Stage::ResponseComplete, self.audit.clock.now());
    }

    fn without_managed_fields(&self, mut object: Value) -> Value {
        if !self.outcome.omit_managed_fields {
            return object;
        }
        let drop = |object: &mut Value| {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        };
        drop(&mut object);
        for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            drop(item);
        }
        object
    }

    fn write(&self, stage: Stage, at: Timestamp) {
        if self.outcome.omitted.contains(&stage) {
            return;
        }
        let line = self.event.line(stage, at);
        for sink in &self.audit.sinks {
            sink.take(&line);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // A watch that the client leaves, or a handler that was dropped with its connection.
        if self.started && !self.ended {
            self.write(Stage::ResponseComplete, self.audit.clock.now());
        }
    }
}

/// Tells whether a request goes on for as long as the client likes, so that its answer is told in two stages.
pub(crate) fn is_long_running(info: &RequestInfo) -> bool {
    matches!(&*info.verb, "watch" | "proxy")
        || matches!(&*info.subresource, "attach" | "exec" | "proxy" | "log" | "portforward")
}
