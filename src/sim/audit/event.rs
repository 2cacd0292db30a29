//! The shape of an event, with its fields in upstream's order.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::audit_policy::{Level, Stage};
use crate::sim::api::RequestInfo;
use crate::sim::attributes::UserInfo;
use crate::sim::store::Ordered;

/// What is known of a request so far.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) level: Level,
    pub(super) audit_id: String,
    pub(super) request_uri: String,
    pub(super) verb: String,
    pub(super) user: UserInfo,
    pub(super) impersonated_user: Option<UserInfo>,
    pub(super) user_agent: String,
    pub(super) object_ref: Option<ObjectReference>,
    pub(super) response_status: Option<Value>,
    pub(super) request_object: Option<Value>,
    pub(super) response_object: Option<Value>,
    pub(super) received: Timestamp,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            level: Level::None,
            audit_id: String::new(),
            request_uri: String::new(),
            verb: String::new(),
            user: UserInfo::default(),
            impersonated_user: None,
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            received: Timestamp::UNIX_EPOCH,
            annotations: BTreeMap::new(),
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectReference {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl ObjectReference {
    pub(super) fn of(info: &RequestInfo) -> Self {
        Self {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..Self::default()
        }
    }

    /// Takes from an object in the request what the path did not say.
    pub(super) fn complete(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let take = |field: &mut String, name: &str| {
            if field.is_empty() {
                metadata[name].as_str().unwrap_or_default().clone_into(field);
            }
        };
        take(&mut self.namespace, "namespace");
        take(&mut self.name, "name");
        take(&mut self.uid, "uid");
        take(&mut self.resource_version, "resourceVersion");
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: Level,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: Stage,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<Named<'a>>,
    #[serde(rename = "sourceIPs")]
    source_ips: [&'static str; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<&'a ObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Ordered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Ordered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Ordered<'a>>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Named<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> From<&'a UserInfo> for Named<'a> {
    fn from(user: &'a UserInfo) -> Self {
        Self { username: &user.username, uid: &user.uid, groups: &user.groups, extra: &user.extra }
    }
}

impl Event {
    /// Writes the event of a stage.
    pub(super) fn line(&self, stage: Stage, at: Timestamp) -> String {
        let line = Line {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.level,
            audit_id: &self.audit_id,
            stage,
            request_uri: &self.request_uri,
            verb: &self.verb,
            user: (&self.user).into(),
            impersonated_user: self.impersonated_user.as_ref().map(Named::from),
            // Every client of a simulated cluster is on this machine.
            source_ips: ["127.0.0.1"],
            user_agent: &self.user_agent,
            object_ref: self.object_ref.as_ref(),
            response_status: self.response_status.as_ref().map(Ordered),
            request_object: self.request_object.as_ref().map(Ordered),
            response_object: self.response_object.as_ref().map(Ordered),
            request_received_timestamp: micros(self.received),
            stage_timestamp: micros(at),
            annotations: &self.annotations,
        };
        go_escaped(&serde_json::to_string(&line).unwrap_or_default())
    }
}

/// The Status of an answer that is none.
pub(super) fn success(code: u16) -> Value {
    json!({ "metadata": {}, "code": code })
}

/// What of a failure's Status is logged.
pub(super) fn failure(status: &Value) -> Value {
    let mut status = status.clone();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    status
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Escapes what Go's encoder escapes for the sake of HTML. In JSON these characters stand in texts alone.
fn go_escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}
