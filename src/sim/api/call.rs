//! One request on its way through the verbs: who, what, how, and what the answer is to carry beside the object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::request::Query;
use super::resources::Resource;
use crate::sim::attributes::UserInfo;
use crate::sim::crd::CustomVersion;
use crate::sim::field::{FieldError, Path};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

/// What becomes of fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning.
    Warn,
    /// The request is refused.
    Strict,
}

/// How a write is to be done (CreateOptions, UpdateOptions, PatchOptions).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) manager: String,
    pub(crate) validation: FieldValidation,
    pub(crate) force: bool,
    /// The options as admission reviews carry them.
    pub(crate) raw: Value,
}

impl WriteOptions {
    /// Options of a write within the server.
    pub(crate) fn internal(manager: &str) -> Self {
        Self {
            dry_run: false,
            manager: manager.to_owned(),
            validation: FieldValidation::Ignore,
            force: false,
            raw: Value::Null,
        }
    }

    /// Reads them from a query; `kind` is `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`.
    pub(crate) fn read(query: &Query, kind: &str, user_agent: &str) -> Result<Self, Status> {
        let mut raw = Map::new();
        let mut errors = Vec::new();
        raw.insert("kind".to_owned(), kind.into());
        raw.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        for value in &dry_run {
            if *value != "All" {
                errors.push(FieldError::not_supported(&Path::new("dryRun"), *value, &["All"]));
            }
        }
        if !dry_run.is_empty() {
            raw.insert("dryRun".to_owned(), json!(dry_run));
        }
        let manager = query.text("fieldManager");
        if manager.len() > 128 {
            errors.push(FieldError::too_long(&Path::new("fieldManager"), 128));
        } else if let Some(bad) = manager.chars().find(|c| c.is_control()) {
            errors.push(FieldError::invalid(
                &Path::new("fieldManager"),
                manager,
                format!("should only contain printable characters, found {bad:?}"),
            ));
        }
        if !manager.is_empty() {
            raw.insert("fieldManager".to_owned(), manager.into());
        }
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.push(FieldError::not_supported(
                    &Path::new("fieldValidation"),
                    other,
                    &["Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        if let Some(value) = query.get("fieldValidation") {
            raw.insert("fieldValidation".to_owned(), value.into());
        }
        let force = query.flag("force");
        if force {
            raw.insert("force".to_owned(), true.into());
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        let manager = if manager.is_empty() { agent_prefix(user_agent) } else { manager.to_owned() };
        Ok(Self { dry_run: !dry_run.is_empty(), manager, validation, force, raw: raw.into() })
    }
}

/// Returns what manages fields when the client does not say: its User-Agent up to the slash.
fn agent_prefix(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    name.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// A request on a resource that may go ahead.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) user: UserInfo,
    pub(crate) resource: Arc<Resource>,
    /// Empty for the resource itself.
    pub(crate) subresource: String,
    /// Empty at cluster scope.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    pub(crate) options: WriteOptions,
    pub(crate) warnings: Vec<String>,
    pub(crate) audit_annotations: BTreeMap<String, String>,
    /// What a custom resource asks of its objects.
    pub(crate) custom: Option<Arc<CustomVersion>>,
    /// Field management is done.
    pub(crate) tracked: bool,
    /// Admission is done.
    pub(crate) admitted: bool,
    /// The subresource that fields are put down to, where it is not the one that is written.
    pub(crate) tracked_as: Option<&'static str>,
}

impl Call {
    /// A request by `user` on `resource` itself.
    pub(crate) fn new(user: UserInfo, resource: Arc<Resource>, namespace: &str, name: &str) -> Self {
        Self {
            user,
            resource,
            subresource: String::new(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            options: WriteOptions::internal(""),
            warnings: Vec::new(),
            audit_annotations: BTreeMap::new(),
            custom: None,
            tracked: false,
            admitted: false,
            tracked_as: None,
        }
    }

    /// Tells whether a whole object is to take the place of another.
    pub(crate) fn replaces(&self) -> bool {
        self.options.raw["kind"] == "UpdateOptions"
    }

    /// Returns the resource as messages name it.
    pub(crate) fn gr(&self) -> GroupResource {
        self.resource.group_resource()
    }

    /// Adds a warning for the client, once.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}
