//! Admission webhooks: which of them are to be asked of a request, and what their answers come to. How an answer is
//! got is in `call`, what is asked in `review`.

use std::sync::Arc;

use serde_json::Value;

use super::compiled::Compiled;
use super::expression::{self, Conditions, Gives, Host, Inputs, Names};
use super::matching::Matched;
use super::{AdmissionCx, AdmissionRequest, matching, versioned};
use crate::cel::Program;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

mod call;
pub mod mutating;
mod review;
pub mod validating;

/// One webhook of a configuration.
struct Hook {
    configuration: Arc<Value>,
    /// Its place within its configuration.
    index: usize,
    /// Its place among all webhooks.
    position: usize,
    conditions: Arc<Conditioned>,
}

/// The match conditions of each webhook of a configuration.
type Conditioned = Vec<Vec<Result<Program, String>>>;

#[derive(Debug, Default)]
struct Programs(Compiled<Conditioned>);

impl Programs {
    fn of(&self, configuration: &Value) -> Arc<Conditioned> {
        let names = Names { params: false, authorizer: true, constructs: false, variables: Vec::new() };
        let compile = |hook: &Value| {
            let conditions = hook.items("matchConditions").iter();
            conditions.map(|condition| names.compile(condition.text("expression"), Gives::Bool)).collect()
        };
        self.0
            .of(configuration, |configuration| configuration.items("webhooks").iter().map(compile).collect())
    }

    /// Returns all webhooks, in the order in which they are asked.
    fn hooks(&self, cx: &AdmissionCx<'_>, resource: &GroupResource) -> Vec<Hook> {
        let mut hooks = Vec::new();
        // The store lists by name.
        for configuration in cx.list(resource, None) {
            let conditions = self.of(&configuration);
            for index in 0..configuration.items("webhooks").len() {
                let (configuration, conditions) = (configuration.clone(), conditions.clone());
                hooks.push(Hook { configuration, index, position: hooks.len(), conditions });
            }
        }
        hooks
    }
}

impl Hook {
    fn spec(&self) -> &Value {
        self.configuration.items("webhooks").get(self.index).unwrap_or(&Value::Null)
    }

    fn name(&self) -> &str {
        self.spec().text("name")
    }

    fn configuration_name(&self) -> &str {
        self.configuration["metadata"].text("name")
    }

    fn id(&self) -> String {
        format!("{}/{}/{}", self.configuration_name(), self.name(), self.index)
    }

    fn fails_open(&self) -> bool {
        self.spec().text("failurePolicy") == "Ignore"
    }

    /// Tells whether the webhook is for a request, and what it takes the request for.
    async fn matches(
        &self,
        cx: &AdmissionCx<'_>,
        request: &AdmissionRequest,
    ) -> Result<Option<Matched>, Status> {
        let spec = self.spec();
        let namespace = matching::namespace_selected(cx, request, spec.at("namespaceSelector"));
        let object = matching::object_selected(request, spec.at("objectSelector"));
        if matches!(namespace, Ok(false)) || matches!(object, Ok(false)) {
            return Ok(None);
        }
        let equivalent = spec.text("matchPolicy") == "Equivalent";
        let found = matching::rules_match(&cx.resources, request, spec.items("rules"), equivalent);
        let Some(matched) = found else { return Ok(None) };
        // Faults matter only for what the rules are for.
        namespace?;
        object?;
        if self.meets_conditions(cx, request, &matched).await? { Ok(Some(matched)) } else { Ok(None) }
    }

    async fn meets_conditions(
        &self,
        cx: &AdmissionCx<'_>,
        request: &AdmissionRequest,
        matched: &Matched,
    ) -> Result<bool, Status> {
        let conditions = self.conditions.get(self.index).map(Vec::as_slice).unwrap_or_default();
        if conditions.is_empty() {
            return Ok(true);
        }
        let host = Host { authorizer: &cx.authorizer, user: &request.user };
        let value = expression::request_value(request, matched);
        let object = versioned::versioned(cx, request, matched, request.object()).await?;
        let old = versioned::versioned(cx, request, matched, request.old()).await?;
        let inputs = Inputs::new(&object, &old, &value, &Value::Null, &[]).with_authorizer(&host, request);
        match expression::conditions(conditions, &inputs) {
            Conditions::Met => Ok(true),
            Conditions::NotMet => Ok(false),
            Conditions::Failed(_) if self.fails_open() => Ok(false),
            Conditions::Failed(why) => Err(Status::forbidden(&request.group_resource(), &request.name, why)),
        }
    }
}

/// Why a webhook did not let a request through.
enum Failure {
    /// It could not be asked, or its answer is none.
    Calling(String),
    /// It says no.
    Rejected(Status),
    /// The server itself refuses.
    Other(Status),
}

/// Words that a webhook could not be asked.
fn failed_calling(name: &str, why: &str) -> Status {
    let message = format!("failed calling webhook {name:?}: {why}");
    let mut status = Status::internal(&message);
    status.details = serde_json::json!({ "causes": [{ "message": message }] });
    status
}
