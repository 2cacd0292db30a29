//! ValidatingAdmissionPolicy: policies and their bindings, with parameters, judge requests by CEL. What matches and
//! what expressions may use is elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::compiled::Compiled;
use super::expression::{self, Conditions, Gives, Host, Inputs, Names, Stop, Variable};
use super::{AdmissionCx, AdmissionRequest, Plugin, matching, params, versioned};
use crate::cel::{Program, Val};
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

#[cfg(test)]
mod tests;
pub(crate) mod type_check;

static POLICIES: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "validatingadmissionpolicies");
static BINDINGS: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "validatingadmissionpolicybindings");

/// The longest message that an expression may give.
const LONGEST_MESSAGE: usize = 5 * 1024;
/// The longest value of an audit annotation.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// The plugin. Policies are compiled once for each of their versions.
#[derive(Debug, Default)]
pub struct ValidatingAdmissionPolicy {
    compiled: Compiled<Policy>,
}

/// A compiled policy.
#[derive(Debug)]
struct Policy {
    conditions: Vec<Result<Program, String>>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    annotations: Vec<(String, String, Result<Program, String>)>,
}

#[derive(Debug)]
struct Validation {
    source: String,
    program: Result<Program, String>,
    message: String,
    message_program: Option<Program>,
    reason: Option<String>,
}

/// One refusal.
struct Denied {
    policy: String,
    binding: Option<String>,
    reason: Option<String>,
    message: String,
}

/// What one validation came to.
enum Judgement {
    Admit,
    Deny { message: String, reason: Option<String> },
}

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if matching::is_configuration(request) || matching::is_review(request) {
            return Ok(());
        }
        let policies = cx.store.list(&POLICIES, None);
        if policies.is_empty() {
            return Ok(());
        }
        let bindings = cx.store.list(&BINDINGS, None);
        let mut denied = Vec::new();
        for policy in policies {
            let policy = &policy.object;
            let name = policy.dig(&["metadata", "name"]).as_str().unwrap_or_default();
            let own: Vec<Arc<Value>> = bindings
                .iter()
                .filter(|binding| binding.object.at("spec").text("policyName") == name)
                .map(|binding| binding.object.clone())
                .collect();
            if !own.is_empty() {
                self.judge(cx, request, policy, &own, &mut denied).await?;
            }
        }
        match denied.into_iter().next() {
            Some(denied) => Err(refusal(request, &denied)),
            None => Ok(()),
        }
    }
}

impl ValidatingAdmissionPolicy {
    async fn judge(
        &self,
        cx: &AdmissionCx<'_>,
        request: &mut AdmissionRequest,
        policy: &Value,
        bindings: &[Arc<Value>],
        denied: &mut Vec<Denied>,
    ) -> Result<(), Status> {
        let spec = policy.at("spec");
        let name = policy.at("metadata").text("name").to_owned();
        let ignores = spec.text("failurePolicy") == "Ignore";
        let fault = |binding: Option<&Value>, message: String| Denied {
            policy: name.clone(),
            binding: binding.map(|binding| binding.at("metadata").text("name").to_owned()),
            reason: None,
            message: match binding {
                Some(_) => format!("failed to configure binding: {message}"),
                None => format!("failed to configure policy: {message}"),
            },
        };
        let Ok(Some(matched)) = matching::matches_resources(cx, request, spec.at("matchConstraints")) else {
            return Ok(());
        };
        let scope = match params::Scope::of(cx, spec.at("paramKind")) {
            Ok(scope) => scope,
            Err(reason) => {
                if !ignores {
                    denied.push(fault(None, reason));
                }
                return Ok(());
            }
        };
        let compiled = self.compiled.of(policy, |policy| Policy::compile(policy.at("spec")));
        let object = versioned::versioned(cx, request, &matched, request.object()).await?;
        let old = versioned::versioned(cx, request, &matched, request.old()).await?;
        let request_value = expression::request_value(request, &matched);
        let namespace = expression::namespace_value(cx, request)?;
        let mut published: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            let criteria = binding.at("spec").at("matchResources");
            let applies = if criteria.is_null() {
                Ok(true)
            } else {
                matching::matches_resources(cx, request, criteria).map(|found| found.is_some())
            };
            let found = match applies {
                Ok(false) => continue,
                Ok(true) => scope.collect(cx, binding.at("spec").at("paramRef"), &request.namespace),
                Err(status) => Err(status.message),
            };
            let found = match found {
                Ok(found) => found,
                Err(reason) => {
                    if !ignores {
                        denied.push(fault(Some(binding), reason));
                    }
                    continue;
                }
            };
            for params in &found {
                let verdict = evaluate(
                    cx,
                    request,
                    (&object, &old),
                    &compiled,
                    ignores,
                    &request_value,
                    &namespace,
                    params.as_deref().unwrap_or(&Value::Null),
                    scope.is_declared(),
                );
                act(request, &name, binding, verdict, &mut published, denied);
            }
        }
        for (key, values) in published {
            request.audit_annotations.insert(format!("{name}/{key}"), values.join(", "));
        }
        Ok(())
    }
}

impl Policy {
    fn compile(spec: &Value) -> Self {
        let mut names = Names {
            params: spec.has("paramKind"),
            authorizer: true,
            constructs: false,
            variables: Vec::new(),
        };
        let conditions = spec
            .items("matchConditions")
            .iter()
            .map(|condition| names.compile(condition.text("expression"), Gives::Bool))
            .collect();
        let variables = expression::compile_variables(&mut names, spec.items("variables"));
        let without = Names { authorizer: false, ..names.clone() };
        let validations = spec
            .items("validations")
            .iter()
            .map(|validation| Validation {
                source: validation.text("expression").to_owned(),
                program: names.compile(validation.text("expression"), Gives::Bool),
                message: validation.text("message").trim().to_owned(),
                message_program: Some(validation.text("messageExpression"))
                    .filter(|source| !source.is_empty())
                    .and_then(|source| without.compile(source, Gives::Text).ok()),
                reason: validation.at("reason").as_str().map(str::to_owned),
            })
            .collect();
        let annotations = spec
            .items("auditAnnotations")
            .iter()
            .map(|annotation| {
                let source = annotation.text("valueExpression").trim();
                (
                    annotation.text("key").to_owned(),
                    source.to_owned(),
                    names.compile(source, Gives::TextOrNull),
                )
            })
            .collect();
        Self { conditions, variables, validations, annotations }
    }
}

/// What a policy says of a request with one parameter.
#[derive(Default)]
struct Verdict {
    judgements: Vec<Judgement>,
    annotations: Vec<(String, String)>,
    /// Faults of annotations, which refuse the request.
    faults: Vec<String>,
}

#[expect(clippy::too_many_arguments, reason = "each is one of the names that expressions use")]
fn evaluate(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    (object, old): (&Value, &Value),
    policy: &Policy,
    ignores: bool,
    request_value: &Value,
    namespace: &Value,
    params: &Value,
    has_params: bool,
) -> Verdict {
    let host = Host { authorizer: &cx.authorizer, user: &request.user };
    let inputs = |variables| {
        let inputs = Inputs::new(object, old, request_value, namespace, variables);
        if has_params { inputs.with_params(params) } else { inputs }
    };
    let on_fault = |message: String| {
        if ignores { Judgement::Admit } else { Judgement::Deny { message, reason: None } }
    };
    let mut verdict = Verdict::default();
    let all = inputs(&policy.variables).with_authorizer(&host, request);
    match expression::conditions(&policy.conditions, &all) {
        Conditions::Met => {}
        Conditions::NotMet => return verdict,
        Conditions::Failed(message) => {
            verdict.judgements.push(on_fault(message));
            return verdict;
        }
    }
    let mut budget = expression::BUDGET;
    let without = inputs(&policy.variables);
    for validation in &policy.validations {
        let judged = match &validation.program {
            Err(reason) => on_fault(format!("compilation error: {reason}")),
            Ok(program) => match all.evaluate(program, &mut budget) {
                Ok(Val::Bool(true)) => Judgement::Admit,
                Ok(_) => Judgement::Deny {
                    message: message(validation, &without, &mut budget),
                    reason: Some(validation.reason.clone().unwrap_or_else(|| "Invalid".to_owned())),
                },
                Err(Stop::Fault(message)) => on_fault(message),
                Err(Stop::Spent) => {
                    // One answer for all: nothing further is evaluated.
                    verdict.judgements = vec![on_fault(expression::SPENT.to_owned())];
                    return verdict;
                }
            },
        };
        verdict.judgements.push(judged);
    }
    let mut budget = expression::BUDGET;
    for (key, source, program) in &policy.annotations {
        let value = match program {
            Err(reason) => Err(format!("compilation error: {reason}")),
            Ok(program) => match all.evaluate(program, &mut budget) {
                Ok(Val::String(text)) => Ok(text.as_str().trim().to_owned()),
                Ok(Val::Null) => Ok(String::new()),
                Ok(other) => Err(format!(
                    "valueExpression '{source}' resulted in unsupported return type: {}. Return type must be either string or null.",
                    other.type_of()
                )),
                Err(stop) => Err(stop.to_string()),
            },
        };
        match value {
            Ok(value) if value.is_empty() => {}
            Ok(value) => verdict.annotations.push((key.clone(), value)),
            Err(_) if ignores => {}
            Err(message) => verdict.faults.push(message),
        }
    }
    verdict
}

/// Chooses what the user is told: the expression's text, the fixed one, or the expression that failed.
fn message(validation: &Validation, inputs: &Inputs<'_>, budget: &mut u64) -> String {
    if let Some(program) = &validation.message_program
        && let Ok(Val::String(text)) = inputs.evaluate(program, budget)
    {
        let text = text.as_str().trim();
        if !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n') {
            return text.to_owned();
        }
    }
    if validation.message.is_empty() {
        format!("failed expression: {}", validation.source.trim())
    } else {
        validation.message.clone()
    }
}

/// Does what the binding wants done with a verdict.
fn act(
    request: &mut AdmissionRequest,
    policy: &str,
    binding: &Value,
    verdict: Verdict,
    published: &mut BTreeMap<String, Vec<String>>,
    denied: &mut Vec<Denied>,
) {
    let name = binding.at("metadata").text("name");
    let actions = binding.at("spec").texts("validationActions");
    for (index, judgement) in verdict.judgements.into_iter().enumerate() {
        let Judgement::Deny { message, reason } = judgement else { continue };
        for action in &actions {
            match *action {
                "Deny" => denied.push(Denied {
                    policy: policy.to_owned(),
                    binding: Some(name.to_owned()),
                    reason: reason.clone(),
                    message: message.clone(),
                }),
                "Warn" => request.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {message}"
                )),
                "Audit" => {
                    let failure = json!([{
                        "message": message, "policy": binding.at("spec").text("policyName"), "binding": name,
                        "expressionIndex": index, "validationActions": actions,
                    }]);
                    let key = "validation.policy.admission.k8s.io/validation_failure";
                    request.audit_annotations.entry(key.to_owned()).or_insert_with(|| failure.to_string());
                }
                _ => {}
            }
        }
    }
    for (key, mut value) in verdict.annotations {
        if value.len() > LONGEST_ANNOTATION {
            let end = (0..=LONGEST_ANNOTATION).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
            value.truncate(end);
        }
        let values = published.entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
    denied.extend(verdict.faults.into_iter().map(|message| Denied {
        policy: policy.to_owned(),
        binding: Some(name.to_owned()),
        reason: None,
        message,
    }));
}

fn refusal(request: &AdmissionRequest, denied: &Denied) -> Status {
    let with = denied.binding.as_ref().map(|name| format!(" with binding '{name}'")).unwrap_or_default();
    let message =
        format!("ValidatingAdmissionPolicy '{}'{with} denied request: {}", denied.policy, denied.message);
    let mut status = request.forbidden(&message);
    let reason = denied.reason.as_deref().unwrap_or("Invalid");
    status.reason = reason.to_owned();
    status.code = match reason {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.details["causes"] = json!([{ "message": message }]);
    status
}
