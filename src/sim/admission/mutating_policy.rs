//! MutatingAdmissionPolicy: policies and their bindings, with parameters, change objects by CEL. Only served where a
//! cluster switches it on, as upstream's v1.34.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::compiled::Compiled;
use super::expression::{self, Conditions, Gives, Host, Inputs, Names, Variable};
use super::matching::Matched;
use super::{AdmissionCx, AdmissionRequest, Plugin, matching, params, versioned};
use crate::cel::Program;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

mod patch;

static POLICIES: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "mutatingadmissionpolicies");
static BINDINGS: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "mutatingadmissionpolicybindings");

/// The plugin. Policies are compiled once for each of their versions.
#[derive(Debug, Default)]
pub struct MutatingAdmissionPolicy {
    compiled: Compiled<Policy>,
}

/// A compiled policy.
#[derive(Debug)]
struct Policy {
    conditions: Vec<Result<Program, String>>,
    variables: Vec<Variable>,
    mutations: Vec<Mutation>,
}

/// One change, or why its expression does not compile.
#[derive(Debug)]
struct Mutation {
    kind: Kind,
    program: Result<Program, String>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// What the expression gives is merged in.
    ApplyConfiguration,
    /// The expression gives a list of operations.
    JsonPatch,
}

/// A policy with one of its bindings and one of its parameters.
struct Invocation<'a> {
    name: &'a str,
    binding: &'a str,
    compiled: &'a Policy,
    matched: &'a Matched,
    params: Option<Arc<Value>>,
    declares_params: bool,
    wants_again: bool,
}

/// One fault of a policy.
struct Fault {
    policy: String,
    binding: Option<String>,
    message: String,
}

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "MutatingAdmissionPolicy"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if matching::is_configuration(request) || matching::is_review(request) {
            return Ok(());
        }
        let policies = cx.list(&POLICIES, None);
        if policies.is_empty() {
            return Ok(());
        }
        let bindings = cx.list(&BINDINGS, None);
        if request.reinvocation.is_second() {
            request.reinvocation.policies.resume(request.object.as_ref());
        }
        let mut faults = Vec::new();
        for policy in policies {
            let name = policy["metadata"].text("name");
            let own: Vec<&Value> = bindings
                .iter()
                .map(|binding| &**binding)
                .filter(|binding| binding["spec"].text("policyName") == name)
                .collect();
            if own.is_empty() {
                continue;
            }
            let mut found = Vec::new();
            self.invoke(cx, request, &policy, &own, &mut found).await?;
            if policy["spec"].text("failurePolicy") != "Ignore" {
                faults.append(&mut found);
            }
        }
        request.reinvocation.policies.finish(request.object.as_ref());
        if faults.is_empty() { Ok(()) } else { Err(refusal(request, &faults)) }
    }
}

impl MutatingAdmissionPolicy {
    /// Lets one policy change the object, for each binding and parameter that is for the request.
    async fn invoke(
        &self,
        cx: &AdmissionCx<'_>,
        request: &mut AdmissionRequest,
        policy: &Value,
        bindings: &[&Value],
        faults: &mut Vec<Fault>,
    ) -> Result<(), Status> {
        let (name, spec) = (policy["metadata"].text("name"), policy.at("spec"));
        let mut fault = |binding: Option<&str>, message: String| {
            let what = if binding.is_some() { "binding" } else { "policy" };
            faults.push(Fault {
                policy: name.to_owned(),
                binding: binding.map(str::to_owned),
                message: format!("failed to configure {what}: {message}"),
            });
        };
        let matched = match matching::matches_resources(cx, request, spec.at("matchConstraints")) {
            Ok(Some(matched)) => matched,
            Ok(None) => return Ok(()),
            Err(status) => {
                fault(None, status.message);
                return Ok(());
            }
        };
        let scope = match params::Scope::of(cx, spec.at("paramKind")) {
            Ok(scope) => scope,
            Err(reason) => {
                fault(None, reason);
                return Ok(());
            }
        };
        let compiled = self.compiled.of(policy, |policy| Policy::compile(policy.at("spec")));
        let mut invocations = Vec::new();
        for binding in bindings {
            let (binding_name, spec_of) = (binding["metadata"].text("name"), binding.at("spec"));
            let criteria = spec_of.at("matchResources");
            let applies = if criteria.is_null() {
                Ok(true)
            } else {
                matching::matches_resources(cx, request, criteria).map(|found| found.is_some())
            };
            let found = match applies {
                Ok(false) => continue,
                Ok(true) => scope.collect(cx, spec_of.at("paramRef"), &request.namespace),
                Err(status) => Err(status.message),
            };
            match found {
                Err(reason) => fault(Some(binding_name), reason),
                Ok(found) => invocations.extend(found.into_iter().map(|params| Invocation {
                    name,
                    binding: binding_name,
                    compiled: &compiled,
                    matched: &matched,
                    params,
                    declares_params: scope.is_declared(),
                    wants_again: spec.text("reinvocationPolicy") == "IfNeeded",
                })),
            }
        }
        for invocation in &invocations {
            invocation.run(cx, request, faults).await?;
        }
        Ok(())
    }
}

impl Policy {
    fn compile(spec: &Value) -> Self {
        let mut names = Names {
            params: spec.has("paramKind"),
            authorizer: true,
            constructs: true,
            variables: Vec::new(),
        };
        let plain = Names { constructs: false, ..names.clone() };
        let conditions = spec
            .items("matchConditions")
            .iter()
            .map(|condition| plain.compile(condition.text("expression"), Gives::Bool))
            .collect();
        let variables = expression::compile_variables(&mut names, spec.items("variables"));
        let mutation = |mutation: &Value| match mutation.text("patchType") {
            "JSONPatch" => Mutation {
                kind: Kind::JsonPatch,
                program: names.compile(mutation.at("jsonPatch").text("expression"), Gives::JsonPatch),
            },
            _ => Mutation {
                kind: Kind::ApplyConfiguration,
                program: names.compile(mutation.at("applyConfiguration").text("expression"), Gives::Object),
            },
        };
        let mutations = spec.items("mutations").iter().map(mutation).collect();
        Self { conditions, variables, mutations }
    }
}

impl Invocation<'_> {
    /// Tells this invocation from others of the request.
    fn key(&self) -> String {
        let metadata = self.params.as_ref().map_or(&Value::Null, |params| params.at("metadata"));
        format!("{}/{}/{}/{}", self.name, self.binding, metadata.text("namespace"), metadata.text("name"))
    }

    async fn run(
        &self,
        cx: &AdmissionCx<'_>,
        request: &mut AdmissionRequest,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Status> {
        let namespace = expression::namespace_value(cx, request)?;
        let mut fault = |message: String| {
            faults.push(Fault {
                policy: self.name.to_owned(),
                binding: Some(self.binding.to_owned()),
                message,
            });
        };
        match self.conditions(cx, request, &namespace).await {
            Conditions::Met => {}
            Conditions::NotMet => return Ok(()),
            Conditions::Failed(why) => {
                fault(why);
                return Ok(());
            }
        }
        let key = self.key();
        if request.reinvocation.is_second() && !request.reinvocation.policies.is_due(&key) {
            return Ok(());
        }
        let before = request.object.clone();
        for mutation in &self.compiled.mutations {
            if request.object.is_none() {
                break;
            }
            match self.mutate(cx, request, &namespace, mutation).await {
                Ok(object) => request.object = Some(object),
                Err(why) => fault(why),
            }
        }
        if request.object != before {
            request.reinvocation.policies.call_again();
            request.reinvocation.want();
        }
        if self.wants_again {
            request.reinvocation.policies.had(&key);
        }
        Ok(())
    }

    async fn conditions(
        &self,
        cx: &AdmissionCx<'_>,
        request: &AdmissionRequest,
        namespace: &Value,
    ) -> Conditions {
        let object = match versioned::versioned(cx, request, self.matched, request.object()).await {
            Ok(object) => object,
            Err(status) => return Conditions::Failed(status.message),
        };
        let met = self.with_inputs(cx, request, namespace, &object, |inputs| {
            expression::conditions(&self.compiled.conditions, inputs)
        });
        met.await.unwrap_or_else(Conditions::Failed)
    }

    /// Returns the object as one mutation makes it.
    async fn mutate(
        &self,
        cx: &AdmissionCx<'_>,
        request: &AdmissionRequest,
        namespace: &Value,
        mutation: &Mutation,
    ) -> Result<Value, String> {
        let program = mutation.program.as_ref().map_err(Clone::clone)?;
        let object = versioned::versioned(cx, request, self.matched, request.object())
            .await
            .map_err(|status| status.message)?;
        let given = self.with_inputs(cx, request, namespace, &object, |inputs| {
            let mut budget = expression::BUDGET;
            let value = inputs.evaluate(program, &mut budget).map_err(|stop| stop.to_string())?;
            value.to_json().ok_or_else(|| "the expression gives no JSON".to_owned())
        });
        let given = given.await??;
        let changed = match mutation.kind {
            Kind::ApplyConfiguration => {
                let kind = versioned::kind_of(request, self.matched);
                let found =
                    cx.resources.find(&self.matched.group, &self.matched.version, &self.matched.resource);
                let custom = found.and_then(|resource| versioned::custom_of(request, resource));
                patch::apply_configuration(&kind, custom.as_deref(), &object, given)?
            }
            Kind::JsonPatch => patch::json_patch(&object, &given)?,
        };
        versioned::read(cx, request, self.matched, &changed).await
    }

    /// Evaluates something with all that expressions may use; `object` is in the version that the policy wants.
    async fn with_inputs<T>(
        &self,
        cx: &AdmissionCx<'_>,
        request: &AdmissionRequest,
        namespace: &Value,
        object: &Value,
        act: impl FnOnce(&Inputs<'_>) -> T,
    ) -> Result<T, String> {
        let old = versioned::versioned(cx, request, self.matched, request.old())
            .await
            .map_err(|status| status.message)?;
        let host = Host { authorizer: &cx.authorizer, user: &request.user };
        let value = expression::request_value(request, self.matched);
        let inputs = Inputs::new(object, &old, &value, namespace, &self.compiled.variables)
            .with_authorizer(&host, request);
        let none = Value::Null;
        Ok(if self.declares_params {
            act(&inputs.with_params(self.params.as_deref().unwrap_or(&none)))
        } else {
            act(&inputs)
        })
    }
}

fn refusal(request: &AdmissionRequest, faults: &[Fault]) -> Status {
    let words = |fault: &Fault| match &fault.binding {
        Some(binding) => {
            format!("policy '{}' with binding '{binding}' denied request: {}", fault.policy, fault.message)
        }
        None => format!("policy {:?} denied request: {}", fault.policy, fault.message),
    };
    let mut status = request.forbidden("admission request denied by policy");
    let messages: Vec<String> = faults.iter().map(words).collect();
    status.details["causes"] = messages.iter().map(|message| json!({ "message": message })).collect();
    status.message = messages.into_iter().next().unwrap_or_default();
    status.reason = "Invalid".to_owned();
    status
}
