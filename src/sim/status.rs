//! metav1.Status: what a request that fails answers, worded as k8s.io/apimachinery/pkg/api/errors words it.

use serde_json::{Value, json};

use super::field::{ErrorList, FieldError};
use super::resource::GroupResource;

/// A failed request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason, such as `NotFound`; empty when there is none.
    pub reason: String,
    /// What a person reads.
    pub message: String,
    /// `details`, or null.
    pub details: Value,
    /// Where an outdated list can go on, for `metadata.continue`.
    pub resume: Option<String>,
}

impl Status {
    /// Any other failure.
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self { code, reason: reason.to_owned(), message: message.into(), details: Value::Null, resume: None }
    }

    /// Adds `details.name`, `details.group`, `details.kind`.
    #[must_use]
    pub fn about(mut self, gr: &GroupResource, name: &str) -> Self {
        self.details = details(&gr.group, &gr.resource, name);
        self
    }

    /// 404: `pods "x" not found`.
    pub fn not_found(gr: &GroupResource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{gr} {name:?} not found")).about(gr, name)
    }

    /// 404 for a path that nothing serves.
    pub fn no_such_path() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = json!({});
        status
    }

    /// 409: `pods "x" already exists`.
    pub fn already_exists(gr: &GroupResource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{gr} {name:?} already exists")).about(gr, name)
    }

    /// 409: the object has been modified.
    pub fn conflict(gr: &GroupResource, name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {gr} {name:?}: {detail}"))
            .about(gr, name)
    }

    /// 403: `pods "x" is forbidden: why`.
    pub fn forbidden(gr: &GroupResource, name: &str, why: impl std::fmt::Display) -> Self {
        let message = if name.is_empty() {
            format!("{gr} is forbidden: {why}")
        } else {
            format!("{gr} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message).about(gr, name)
    }

    /// 422: `Pod "x" is invalid: ...` with a cause for each fault. The kind's own name stands in the details.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut seen = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        let what = if seen.len() == 1 { seen.remove(0) } else { format!("[{}]", seen.join(", ")) };
        let causes: Vec<Value> = errors.iter().map(cause).collect();
        let mut status = Self::new(422, "Invalid", format!("{full} {name:?} is invalid: {what}"));
        status.details = details(group, kind, name);
        status.details["causes"] = causes.into();
        status
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let mut status = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = json!({});
        status
    }

    /// 410: the resourceVersion asked for is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        Self::new(429, "TooManyRequests", message)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 501: something real clusters do and the simulated one does not. Says so, and never succeeds quietly.
    pub fn not_simulated(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("the simulated cluster does not do this: {what}"))
    }

    /// Returns the body as JSON.
    pub fn to_json(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = self.reason.clone().into();
        }
        if let Some(token) = &self.resume {
            body["metadata"]["continue"] = token.clone().into();
        }
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        body
    }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), value.into());
        }
    }
    details.into()
}

fn cause(error: &FieldError) -> Value {
    json!({ "reason": error.reason(), "message": error.body(), "field": error.field })
}
