//! The CEL expressions of admission: which variables they see, and what may be wrong with one before it ever runs.

use super::cursor::{At, Faults};
use crate::cel::{CelError, Environment, Program, Type};
use crate::sim::field::{ErrorList, Path};

/// What an expression may use beside `object`, `oldObject`, `request` and `namespaceObject`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extras {
    /// The parameters of a policy with a `paramKind`.
    pub(crate) params: bool,
    /// The authorizer, with the check of the request's own resource.
    pub(crate) authorizer: bool,
}

/// Makes the environment of an expression; `variables` are those that a policy names, in order.
pub(crate) fn environment(extras: Extras, variables: Option<&[(String, Type)]>) -> Environment {
    let mut all = Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request())
        .with("namespaceObject", namespace());
    if extras.params {
        all = all.with("params", Type::Dyn);
    }
    if extras.authorizer {
        all = all
            .with("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"))
            .with("authorizer.requestResource", Type::Opaque("kubernetes.authorization.ResourceCheck"));
    }
    if let Some(variables) = variables {
        all = all.with("variables", Type::object("kubernetes.variables", variables.iter().cloned()));
    }
    all
}

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    Type::object(name, fields.iter().map(|(field, of)| ((*field).to_owned(), of.clone())))
}

/// What the admission request looks like to an expression.
fn request() -> Type {
    let text = || Type::String;
    let kind =
        object("kubernetes.GroupVersionKind", &[("group", text()), ("version", text()), ("kind", text())]);
    let resource = object(
        "kubernetes.GroupVersionResource",
        &[("group", text()), ("version", text()), ("resource", text())],
    );
    let texts = Type::list(Type::String);
    let user = object(
        "kubernetes.UserInfo",
        &[
            ("username", text()),
            ("uid", text()),
            ("groups", texts.clone()),
            ("extra", Type::map(Type::String, texts)),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// What the object's namespace looks like to an expression.
fn namespace() -> Type {
    let text = || Type::String;
    let texts = || Type::list(Type::String);
    let map = || Type::map(Type::String, Type::String);
    let condition = object(
        "kubernetes.NamespaceCondition",
        &[
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", map()),
            ("annotations", map()),
            ("UID", text()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text()),
            ("finalizers", texts()),
        ],
    );
    object(
        "kubernetes.Namespace",
        &[
            ("metadata", metadata),
            ("spec", object("kubernetes.NamespaceSpec", &[("finalizers", texts())])),
            (
                "status",
                object(
                    "kubernetes.NamespaceStatus",
                    &[("conditions", Type::list(condition)), ("phase", text())],
                ),
            ),
        ],
    )
}

/// The object that a mutation gives to be merged in.
pub(crate) fn object_type() -> Type {
    Type::object("Object", [])
}

/// The operations of a patch that a mutation gives.
pub(crate) fn json_patch_type() -> Type {
    Type::list(Type::object("JSONPatch", []))
}

/// Compiles an expression that must give one of `types`, and files what is wrong; no types allow any.
pub(super) fn check(
    errors: &mut ErrorList,
    path: &Path,
    source: &str,
    environment: &Environment,
    types: &[Type],
) -> Option<Program> {
    let program = match environment.compile(source) {
        Ok(program) => program,
        Err(CelError::Compile { message, .. } | CelError::Evaluate(message)) => {
            errors.invalid(path, source, format!("compilation failed: {message}"));
            return None;
        }
    };
    if types.is_empty() || types.contains(program.output()) {
        return Some(program);
    }
    let detail = match types {
        [one] => format!("must evaluate to {one}"),
        many => {
            let names: Vec<_> = many.iter().map(name).collect();
            format!("must evaluate to one of [{}]", names.join(" "))
        }
    };
    errors.invalid(path, source, detail);
    None
}

fn name(of: &Type) -> String {
    if *of == Type::Null { "null_type".to_owned() } else { of.to_string() }
}

/// How many match conditions there may be.
const MOST_CONDITIONS: usize = 64;

pub(super) fn match_conditions(errors: &mut ErrorList, list: &At<'_>, extras: Extras) {
    if list.len() > MOST_CONDITIONS {
        errors.too_many(&list.path, list.len(), MOST_CONDITIONS);
    }
    let environment = environment(extras, None);
    let mut names = Vec::new();
    for condition in list.items() {
        let (name, expression) = (condition.child("name"), condition.child("expression"));
        if expression.str().trim().is_empty() {
            errors.required(&expression.path, "");
        } else {
            check(errors, &expression.path, expression.str(), &environment, &[Type::Bool]);
        }
        if name.str().is_empty() {
            errors.required(&name.path, "");
            continue;
        }
        errors.all(&name.path, name.str(), super::names::qualified_name(name.str()));
        if names.contains(&name.str()) {
            errors.duplicate(&name.path, name.str());
        }
        names.push(name.str());
    }
}
