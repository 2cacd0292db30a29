//! `auditLog`: what an API server really writes of requests: the grader makes them, each with an audit ID of its own, and
//! looks for them in the log.

use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, node};
use crate::audit_policy::Level;
use crate::cluster::Capability;

/// Makes marked requests, which read or only try, and finds them in the audit log at their level.
///
/// What must not be logged is believed only when what must be is found. Rules on users cannot be shown so, since every
/// request is the grader's; `auditPolicy` evaluates them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditLog {
    /// The node's name, or `control-plane`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The log file on the node.
    pub path: String,
    /// The requests.
    pub requests: Vec<LoggedRow>,
}

/// A request, and how it must be logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoggedRow {
    /// What is done.
    pub verb: LoggedVerb,
    /// The path of the request, such as `/api/v1/namespaces/shop/secrets/db`; for `create` that of the collection.
    pub path: String,
    /// The object of a `create`, the merge patch of a `patch`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// The level it must be logged at.
    pub level: Level,
    /// Other levels that are right too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Level>,
}

/// What is done with a resource; all but `get` is a dry run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LoggedVerb {
    /// An object or a list is read.
    Get,
    /// An object is made.
    Create,
    /// An object is patched.
    Patch,
    /// An object is deleted.
    Delete,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

/// How often the log is looked at until everything that must be there is, and how long between two looks.
const LOOKS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(250);

impl Check for AuditLog {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if !self.path.starts_with('/') {
            faults.push("path: it starts with /".to_owned());
        }
        let is_logged = |row: &LoggedRow| row.level != Level::None && !row.or.contains(&Level::None);
        if !self.requests.iter().any(is_logged) {
            faults.push("requests: one of them must be logged, or an empty log would pass".to_owned());
        }
        for (index, row) in self.requests.iter().enumerate() {
            let at = format!("requests[{index}]");
            if !row.path.starts_with("/api") {
                faults.push(format!("{at}.path: a path such as /api/v1/namespaces/shop/secrets"));
            }
            let has_body = matches!(row.verb, LoggedVerb::Create | LoggedVerb::Patch);
            if has_body == row.body.is_null() {
                faults.push(format!("{at}.body: a create and a patch have one, and nothing else"));
            }
            if row.or.contains(&row.level) || row.or.len() > 2 {
                faults.push(format!("{at}.or: other levels, and not all of them"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let Some(name) = node::one(&api, &self.node).await? else {
            let finding = Finding::new(format!("Node {}", self.node), "", "it exists", "it does not");
            return Ok(Verdict::Fail(vec![finding]));
        };
        let mut ids = Vec::new();
        for row in &self.requests {
            ids.push(row.make(&api).await?);
        }
        let label = format!("{name}:{}", self.path);
        let mut argv = vec!["grep", "-F", "-h"];
        for id in &ids {
            argv.extend(["-e", id]);
        }
        argv.extend(["--", &self.path]);
        let mut levels: Vec<Option<Level>> = Vec::new();
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let output = cx.cluster.node_exec(&name, &argv).await?;
            // grep ends with 1 when it finds nothing.
            let text = match output.status {
                1 if output.stderr.is_empty() => String::new(),
                _ => match node::read(&name, &self.path, output)? {
                    Some(text) => text,
                    None => {
                        let finding = Finding::new(&label, "", "a log", "there is no such file");
                        return Ok(Verdict::Fail(vec![finding]));
                    }
                },
            };
            levels = ids.iter().map(|id| logged(&text, id)).collect();
            let wanted =
                |(row, level): (&LoggedRow, &Option<Level>)| row.level == Level::None || level.is_some();
            if self.requests.iter().zip(&levels).all(wanted) {
                break;
            }
        }
        let mut findings = Vec::new();
        for (row, level) in self.requests.iter().zip(levels) {
            let level = level.unwrap_or(Level::None);
            if level != row.level && !row.or.contains(&level) {
                let wanted: Vec<&str> =
                    std::iter::once(&row.level).chain(&row.or).map(|level| level.name()).collect();
                let verb = format!("{:?}", row.verb).to_lowercase();
                let asked = format!("{verb} {}", row.path);
                findings.push(Finding::new(&label, asked, wanted.join(" or "), level.name()));
            }
        }
        Ok(Verdict::of(findings))
    }
}

impl LoggedRow {
    /// Makes the request and returns its audit ID. What it is answered does not matter, as long as it is an answer.
    async fn make(&self, api: &Api) -> Result<String, CheckError> {
        let (method, content) = match self.verb {
            LoggedVerb::Get => (Method::GET, ""),
            LoggedVerb::Create => (Method::POST, "application/json"),
            LoggedVerb::Patch => (Method::PATCH, "application/merge-patch+json"),
            LoggedVerb::Delete => (Method::DELETE, "application/json"),
        };
        let path = match self.verb {
            LoggedVerb::Get => self.path.clone(),
            _ if self.path.contains('?') => format!("{}&dryRun=All", self.path),
            _ => format!("{}?dryRun=All", self.path),
        };
        let body = match self.verb {
            LoggedVerb::Get => None,
            LoggedVerb::Delete => {
                Some(json!({ "kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"] }))
            }
            _ => Some(self.body.clone()),
        };
        api.marked(method, &path, body.as_ref().map(|body| (content, body))).await
    }
}

/// Returns at which level a request was logged. An event that carries more than its level may is of the level that it
/// shows.
fn logged(log: &str, id: &str) -> Option<Level> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["auditID"] == id)
        .filter_map(|event| {
            let level: Level = serde_json::from_value(event["level"].clone()).ok()?;
            let shown = match (event.get("requestObject"), event.get("responseObject")) {
                (_, Some(_)) => Level::RequestResponse,
                (Some(_), None) => Level::Request,
                (None, None) => Level::Metadata,
            };
            Some(level.max(shown))
        })
        .max()
}
