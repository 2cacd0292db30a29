//! CEL in admission: what names expressions of policies and webhooks may use, what they must give, and what the names
//! stand for in a request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::matching::Matched;
use super::{AdmissionCx, AdmissionRequest};
use crate::cel::{
    self, Access, Authorize, Authorizer, CALL_LIMIT, CelError, Decision, Environment, Fault, Opaque, Program,
    Type, Val, Variables,
};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::authz;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::validation::expressions::{self, Extras};

/// What all expressions of one policy may cost together for one request.
pub(crate) const BUDGET: u64 = 10_000_000;
/// What the match conditions may cost.
pub(crate) const MATCH_BUDGET: u64 = 2_500_000;
/// What is said when it is spent.
pub(crate) const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Which names there are beside those that are always there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Whether there are `params`.
    pub(crate) params: bool,
    /// Whether there is an `authorizer`.
    pub(crate) authorizer: bool,
    /// Whether objects may be written.
    pub(crate) constructs: bool,
    /// The variables declared so far, with their types.
    pub(crate) variables: Vec<(String, Type)>,
}

/// What an expression must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// A boolean.
    Bool,
    /// A text.
    Text,
    /// A text or null.
    TextOrNull,
    /// Anything.
    Anything,
    /// An object to be merged in.
    Object,
    /// Operations of a JSON patch.
    JsonPatch,
}

impl Names {
    fn environment(&self) -> Environment {
        let extras = Extras { params: self.params, authorizer: self.authorizer };
        expressions::environment(extras, (!self.variables.is_empty()).then_some(self.variables.as_slice()))
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong, as field errors show it.
    pub(crate) fn compile(&self, source: &str, gives: Gives) -> Result<Program, String> {
        self.compile_typed(source, gives, None)
    }

    /// Compiles an expression with a known type of `object` and `oldObject`.
    ///
    /// # Errors
    /// What is wrong, as field errors show it.
    pub(crate) fn compile_typed(
        &self,
        source: &str,
        gives: Gives,
        object: Option<&Type>,
    ) -> Result<Program, String> {
        let mut environment = self.environment();
        if self.constructs {
            environment = environment.constructing();
        }
        if let Some(object) = object {
            environment = environment.with("object", object.clone()).with("oldObject", object.clone());
        }
        let program = environment.compile(source).map_err(|error| match error {
            CelError::Compile { message, .. } => format!("compilation failed: {message}"),
            CelError::Evaluate(message) => message,
        })?;
        let output = program.output();
        let fault = match gives {
            Gives::Bool if *output != Type::Bool => "must evaluate to bool",
            Gives::Text if *output != Type::String => "must evaluate to string",
            Gives::TextOrNull if !matches!(output, Type::String | Type::Null) => {
                "must evaluate to one of [string null_type]"
            }
            Gives::Object if *output != expressions::object_type() => "must evaluate to Object",
            Gives::JsonPatch if *output != expressions::json_patch_type() => {
                "must evaluate to list(JSONPatch)"
            }
            _ => return Ok(program),
        };
        Err(fault.to_owned())
    }
}

/// Writes a request as the variable `request` has it.
pub(crate) fn request_value(request: &AdmissionRequest, matched: &Matched) -> Value {
    let mut user = json!({ "username": request.user.username });
    if !request.user.uid.is_empty() {
        user["uid"] = request.user.uid.as_str().into();
    }
    if !request.user.groups.is_empty() {
        user["groups"] = json!(request.user.groups);
    }
    if !request.user.extra.is_empty() {
        user["extra"] = json!(request.user.extra);
    }
    let (group, version) = request.asked_version();
    let kind = request.kind_version(&matched.group, &matched.version);
    let asked_kind = request.kind_version(group, version);
    let mut value = json!({
        "kind": { "group": kind.0, "version": kind.1, "kind": matched.kind },
        "resource": { "group": matched.group, "version": matched.version, "resource": matched.resource },
        "requestKind": { "group": asked_kind.0, "version": asked_kind.1, "kind": request.kind },
        "requestResource": { "group": group, "version": version, "resource": request.resource },
        "operation": request.operation.as_str(),
        "userInfo": user,
        "dryRun": request.dry_run,
    });
    for (field, text) in [
        ("subResource", &request.subresource),
        ("requestSubResource", &request.subresource),
        ("name", &request.name),
        ("namespace", &request.namespace),
    ] {
        if !text.is_empty() {
            value[field] = text.as_str().into();
        }
    }
    if !request.options.is_null() {
        value["options"] = request.options.clone();
    }
    value
}

static NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

/// Returns the namespace of a request as the variable `namespaceObject` has it; null where there is none.
///
/// # Errors
/// When there should be one and is not.
pub(crate) fn namespace_value(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
) -> Result<Arc<Value>, Status> {
    let of_namespace = request.kind == "Namespace" && request.group.is_empty();
    if request.namespace.is_empty() || of_namespace {
        return Ok(Arc::new(Value::Null));
    }
    let found = cx.get(&NAMESPACES, "", &request.namespace);
    found.ok_or_else(|| Status::not_found(&NAMESPACES, &request.namespace))
}

/// Answers an expression's questions about access.
pub(crate) struct Host<'a> {
    /// The cluster's authorizer.
    pub(crate) authorizer: &'a authz::Authorizer,
    /// The user of the request.
    pub(crate) user: &'a UserInfo,
}

impl Authorize for Host<'_> {
    fn authorize(&self, service_account: Option<(&str, &str)>, access: &Access) -> Decision {
        let user = match service_account {
            None => self.user.clone(),
            Some((namespace, name)) => UserInfo {
                username: format!("system:serviceaccount:{namespace}:{name}"),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ],
                ..UserInfo::default()
            },
        };
        let attributes = Attributes {
            user,
            verb: access.verb.clone(),
            group: access.group.clone(),
            version: if access.resource.is_empty() { String::new() } else { "*".to_owned() },
            resource: access.resource.clone(),
            subresource: access.subresource.clone(),
            namespace: access.namespace.clone(),
            name: access.name.clone(),
            field_selector: access.field_selector.clone(),
            path: access.path.clone(),
        };
        let decision = self.authorizer.authorize(&attributes);
        Decision { allowed: decision.is_allowed(), reason: decision.reason().to_owned(), error: None }
    }
}

/// A variable of a policy, compiled.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The name.
    pub(crate) name: String,
    /// The expression, or why it does not compile.
    pub(crate) program: Result<Program, String>,
}

/// What the names stand for in one request. Variables are computed when they are asked for, once.
pub(crate) struct Inputs<'a> {
    values: BTreeMap<&'static str, Val<'a>>,
    variables: &'a [Variable],
    computed: RefCell<BTreeMap<String, Result<Val<'a>, Fault>>>,
    spent: Cell<u64>,
}

impl<'a> Inputs<'a> {
    /// Gathers what is always there.
    pub(crate) fn new(
        object: &'a Value,
        old_object: &'a Value,
        request: &'a Value,
        namespace: &'a Value,
        variables: &'a [Variable],
    ) -> Self {
        let values = BTreeMap::from([
            ("object", Val::json(object)),
            ("oldObject", Val::json(old_object)),
            ("request", Val::json(request)),
            ("namespaceObject", Val::json(namespace)),
        ]);
        Self { values, variables, computed: RefCell::default(), spent: Cell::new(0) }
    }

    /// Adds `params`.
    #[must_use]
    pub(crate) fn with_params(mut self, params: &'a Value) -> Self {
        self.values.insert("params", Val::json(params));
        self
    }

    /// Adds `authorizer`, and `authorizer.requestResource` for the request itself.
    #[must_use]
    pub(crate) fn with_authorizer(mut self, host: &'a Host<'a>, request: &AdmissionRequest) -> Self {
        let authorizer = Authorizer::new(host);
        let access = Access {
            group: request.group.clone(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            ..Access::default()
        };
        let resource = Opaque::ResourceCheck(authorizer.clone(), Arc::new(access));
        self.values.insert("authorizer.requestResource", Val::Opaque(resource));
        self.values.insert("authorizer", Val::Opaque(Opaque::Authorizer(authorizer)));
        self
    }

    /// Evaluates an expression and takes what it cost from `budget`.
    ///
    /// # Errors
    /// [`Stop::Fault`] with the words of upstream, [`Stop::Spent`] when the budget does not suffice.
    pub(crate) fn evaluate(&self, program: &Program, budget: &mut u64) -> Result<Val<'a>, Stop> {
        self.spent.set(0);
        let mut call = CALL_LIMIT;
        let result = program.run(self, &mut call);
        let spent = self.spent.get() + (CALL_LIMIT - call);
        match budget.checked_sub(spent) {
            Some(left) => *budget = left,
            None => {
                *budget = 0;
                return Err(Stop::Spent);
            }
        }
        result.map_err(|fault| {
            Stop::Fault(format!("expression '{}' resulted in error: {fault}", program.source()))
        })
    }
}

/// Why an expression of a policy gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It failed.
    Fault(String),
    /// The policy's budget is spent.
    Spent,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(message) => f.write_str(message),
            Self::Spent => f.write_str(SPENT),
        }
    }
}

impl<'a> Variables<'a> for Inputs<'a> {
    fn variable(&self, name: &str) -> Option<Result<Val<'a>, Fault>> {
        let Some(variable) = name.strip_prefix("variables.") else {
            return self.values.get(name).cloned().map(Ok);
        };
        if let Some(known) = self.computed.borrow().get(variable) {
            return Some(known.clone());
        }
        let found = self.variables.iter().find(|known| known.name == variable)?;
        let value = match &found.program {
            Ok(program) => {
                let mut call = CALL_LIMIT;
                let value = program.run(self, &mut call);
                self.spent.set(self.spent.get() + (CALL_LIMIT - call));
                value.map_err(|fault| {
                    Fault::Error(format!("composited variable {variable:?} fails to evaluate: {fault}"))
                })
            }
            Err(reason) => {
                Err(Fault::Error(format!("composited variable {variable:?} fails to compile: {reason}")))
            }
        };
        self.computed.borrow_mut().insert(variable.to_owned(), value.clone());
        Some(value)
    }

    fn has_qualified(&self, root: &str) -> bool {
        root == "variables" || (root == "authorizer" && self.values.contains_key("authorizer"))
    }
}

/// Compiles the variables of a policy, each with those before it.
pub(crate) fn compile_variables(names: &mut Names, variables: &[Value]) -> Vec<Variable> {
    let mut compiled = Vec::new();
    for variable in variables {
        let name = variable.text("name").to_owned();
        let program = names.compile(variable.text("expression"), Gives::Anything);
        let of = program.as_ref().map_or(cel::Type::Dyn, |program| program.output().clone());
        names.variables.push((name.clone(), of));
        compiled.push(Variable { name, program });
    }
    compiled
}

/// What match conditions come to.
pub(crate) enum Conditions {
    /// All are true.
    Met,
    /// One is false.
    NotMet,
    /// None is false and some failed, with their words.
    Failed(String),
}

/// Evaluates match conditions.
pub(crate) fn conditions(compiled: &[Result<Program, String>], inputs: &Inputs<'_>) -> Conditions {
    let mut budget = MATCH_BUDGET;
    let mut faults = Vec::new();
    for condition in compiled {
        match condition {
            Err(reason) => faults.push(reason.clone()),
            Ok(program) => match inputs.evaluate(program, &mut budget) {
                Ok(Val::Bool(true)) => {}
                Ok(_) => return Conditions::NotMet,
                Err(Stop::Spent) => return Conditions::Failed(SPENT.to_owned()),
                Err(Stop::Fault(message)) => faults.push(message),
            },
        }
    }
    match faults.len() {
        0 => Conditions::Met,
        1 => Conditions::Failed(faults.remove(0)),
        _ => Conditions::Failed(format!("[{}]", faults.join(", "))),
    }
}
