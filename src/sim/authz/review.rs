//! Access reviews: objects that are answered instead of stored. Each takes the object as sent and returns it answered.

use serde_json::{Value, json};

use super::{Authorizer, Mode, node_of};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, is_empty};
use crate::sim::rbac::{Decision, Rule, aggregate};
use crate::sim::status::Status;

const GROUP: &str = "authorization.k8s.io";

/// Answers a SubjectAccessReview: may this user do that?
///
/// # Errors
/// 422 when the review does not say who or what.
pub fn subject_access(authorizer: &Authorizer, mut review: Value) -> Result<Value, Status> {
    let mut errors = spec_errors(&review["spec"], true);
    errors.extend(metadata_errors(&review, false));
    refuse("SubjectAccessReview", &errors)?;
    let user = user_of(&review["spec"]);
    review["status"] = answer(authorizer, user, &review["spec"]);
    Ok(review)
}

/// Answers a LocalSubjectAccessReview, which is about one namespace.
///
/// # Errors
/// 422 when the review does not say who or what, 400 when it is about another namespace than the request.
pub fn local_subject_access(
    authorizer: &Authorizer,
    namespace: &str,
    mut review: Value,
) -> Result<Value, Status> {
    let own = review["metadata"].text("namespace").to_owned();
    let spec = &review["spec"];
    let mut errors = spec_errors(spec, true);
    errors.extend(metadata_errors(&review, true));
    let asked = spec["resourceAttributes"].text("namespace");
    if spec.has("resourceAttributes") && asked != own {
        let path = Path::new("spec.resourceAttributes.namespace");
        errors.push(FieldError::invalid(&path, asked, "must match metadata.namespace"));
    }
    if spec.has("nonResourceAttributes") {
        let path = Path::new("spec.nonResourceAttributes");
        let detail = "disallowed on this kind of request";
        errors.push(FieldError::invalid(&path, spec["nonResourceAttributes"].clone(), detail));
    }
    refuse("LocalSubjectAccessReview", &errors)?;
    if namespace != own {
        let why = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
        return Err(Status::bad_request(why));
    }
    let user = user_of(spec);
    review["status"] = answer(authorizer, user, &review["spec"]);
    Ok(review)
}

/// Answers a SelfSubjectAccessReview: may I do that?
///
/// # Errors
/// 422 when the review does not say what.
pub fn self_subject_access(
    authorizer: &Authorizer,
    user: &UserInfo,
    mut review: Value,
) -> Result<Value, Status> {
    let mut errors = spec_errors(&review["spec"], false);
    errors.extend(metadata_errors(&review, false));
    refuse("SelfSubjectAccessReview", &errors)?;
    review["status"] = answer(authorizer, user.clone(), &review["spec"]);
    Ok(review)
}

/// Answers a SelfSubjectRulesReview: what may I do in this namespace?
///
/// # Errors
/// 400 when no namespace is named.
pub fn self_subject_rules(authorizer: &Authorizer, user: &UserInfo, review: &Value) -> Result<Value, Status> {
    let namespace = review["spec"].text("namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut rules, mut faults, mut incomplete) = (Vec::new(), Vec::new(), false);
    for mode in authorizer.modes() {
        match mode {
            Mode::AlwaysAllow => {
                rules.extend([Rule::resources(&["*"], &["*"], &["*"]), Rule::paths(&["*"], &["*"])]);
            }
            Mode::AlwaysDeny => {}
            Mode::Node if node_of(user).is_some() => {
                incomplete = true;
                faults.push("node authorizer does not support user rule resolution".to_owned());
            }
            Mode::Node => {}
            Mode::Rbac => {
                let (found, errors) = authorizer.rbac().rules_for(user, namespace);
                rules.extend(found);
                faults.extend(errors.iter().map(ToString::to_string));
            }
        }
    }
    let resource_rules: Vec<Value> =
        rules.iter().filter(|rule| !rule.resources.is_empty()).map(resource_rule).collect();
    let path_rules: Vec<Value> =
        rules.iter().filter(|rule| !rule.non_resource_urls.is_empty()).map(path_rule).collect();
    let mut status =
        json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": incomplete});
    if !faults.is_empty() {
        status["evaluationError"] = json!(aggregate(&faults));
    }
    Ok(json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "metadata": {}, "spec": {},
        "status": status,
    }))
}

/// Answers a SelfSubjectReview: who am I?
pub fn self_subject(user: &UserInfo, mut review: Value) -> Value {
    review["status"] = json!({ "userInfo": user });
    review
}

fn resource_rule(rule: &Rule) -> Value {
    let mut rule = json!(rule);
    rule.as_object_mut().map(|fields| fields.remove("nonResourceURLs"));
    rule
}

fn path_rule(rule: &Rule) -> Value {
    json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls})
}

fn answer(authorizer: &Authorizer, user: UserInfo, spec: &Value) -> Value {
    let decision = authorizer.authorize(&attributes_of(user, spec));
    let mut status = json!({"allowed": decision.is_allowed()});
    if matches!(decision, Decision::Deny { .. }) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    status
}

fn attributes_of(user: UserInfo, spec: &Value) -> Attributes {
    let asked = &spec["resourceAttributes"];
    if !asked.is_object() {
        let asked = &spec["nonResourceAttributes"];
        return Attributes {
            user,
            verb: asked.text("verb").to_owned(),
            path: asked.text("path").to_owned(),
            ..Attributes::default()
        };
    }
    let text = |field: &str| asked.text(field).to_owned();
    let version = text("version");
    Attributes {
        user,
        verb: text("verb"),
        group: text("group"),
        version: if version.is_empty() { "*".to_owned() } else { version },
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        field_selector: field_selector(&asked["fieldSelector"]),
        path: String::new(),
    }
}

/// Writes the selector of a review as a request would carry it. What has no such form is left out, as authorizers may.
fn field_selector(selector: &Value) -> String {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return raw.to_owned();
    }
    let parts: Vec<String> = selector
        .items("requirements")
        .iter()
        .filter_map(|requirement| {
            match (requirement.text("operator"), requirement.texts("values").as_slice()) {
                ("In", [value]) => Some(format!("{}={value}", requirement.text("key"))),
                ("NotIn", [value]) => Some(format!("{}!={value}", requirement.text("key"))),
                _ => None,
            }
        })
        .collect();
    parts.join(",")
}

fn user_of(spec: &Value) -> UserInfo {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let extra = spec["extra"].as_object().into_iter().flatten();
    UserInfo {
        username: spec.text("user").to_owned(),
        uid: spec.text("uid").to_owned(),
        groups: texts(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.to_lowercase(), texts(values))).collect(),
    }
}

fn spec_errors(spec: &Value, with_user: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    let null = || Value::Null;
    match (spec.has("resourceAttributes"), spec.has("nonResourceAttributes")) {
        (true, true) => errors.push(FieldError::invalid(
            &path.child("nonResourceAttributes"),
            spec["nonResourceAttributes"].clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => errors.push(FieldError::invalid(
            &path.child("resourceAttributes"),
            null(),
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if with_user && spec.text("user").is_empty() && spec.items("groups").is_empty() {
        let detail = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&path.child("user"), "", detail));
    }
    errors
}

fn metadata_errors(review: &Value, namespaced: bool) -> ErrorList {
    let is_ignored = |field: &str| field == "managedFields" || (namespaced && field == "namespace");
    let fields = review["metadata"].as_object().into_iter().flatten();
    let is_filled = fields.filter(|(field, _)| !is_ignored(field)).any(|(_, value)| !is_empty(value));
    if !is_filled {
        return ErrorList::new();
    }
    let detail = if namespaced { "must be empty except for namespace" } else { "must be empty" };
    vec![FieldError::invalid(&Path::new("metadata"), review["metadata"].clone(), detail)]
}

fn refuse(kind: &str, errors: &ErrorList) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(GROUP, kind, "", errors)) }
}
