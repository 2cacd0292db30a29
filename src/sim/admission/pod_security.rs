//! PodSecurity: holds Pods to the Pod Security Standards that their namespace asks for, warns about workloads whose
//! Pods would be refused, and about Pods that a namespace's new label would have refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::pods::{NAMESPACES, PODS, items, template, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::status::Status;

pub mod checks;
pub mod level;

#[cfg(test)]
mod tests;

use checks::{Subject, Violation, details, evaluate, reasons};
use level::{Level, LevelVersion, PREFIX, Policy};

const MAX_PODS_TO_CHECK: usize = 3000;
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// The plugin's configuration (PodSecurityConfiguration).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What holds in a namespace without labels.
    pub defaults: Policy,
    /// Users whose requests are not looked at.
    pub exempt_usernames: Vec<String>,
    /// Runtime classes whose Pods are not looked at.
    pub exempt_runtime_classes: Vec<String>,
    /// Namespaces that are not looked at.
    pub exempt_namespaces: Vec<String>,
}

impl Configuration {
    /// Reads a PodSecurityConfiguration.
    ///
    /// # Errors
    /// Levels or versions that are none, and exemptions that are empty or stand twice.
    pub fn read(config: &Value) -> Result<Self, ErrorList> {
        let mut errors = ErrorList::new();
        let defaults = Path::new("defaults");
        let policy = Policy::read(
            &Policy::default(),
            |name| config["defaults"][name].as_str(),
            |name| defaults.child(name),
            &mut errors,
        );
        let exemptions = Path::new("exemptions");
        let mut read = |field: &str| {
            let path = exemptions.child(field);
            let mut names: Vec<String> = Vec::new();
            for (index, name) in items(&config["exemptions"][field]).enumerate() {
                let name = name.as_str().unwrap_or_default().to_owned();
                if name.is_empty() {
                    errors.push(FieldError::invalid(&path.index(index), name.clone(), "must not be empty"));
                }
                if names.contains(&name) {
                    errors.push(FieldError::duplicate(&path.index(index), name.clone()));
                }
                names.push(name);
            }
            names
        };
        let (exempt_namespaces, exempt_runtime_classes, exempt_usernames) =
            (read("namespaces"), read("runtimeClasses"), read("usernames"));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { defaults: policy, exempt_usernames, exempt_runtime_classes, exempt_namespaces })
    }
}

/// The plugin.
#[derive(Debug, Default)]
pub struct PodSecurity {
    config: Configuration,
}

impl PodSecurity {
    /// Creates the plugin with a configuration.
    pub fn new(config: Configuration) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        if request.concerns(&NAMESPACES) {
            self.validate_namespace(cx, request)
        } else if request.concerns(&PODS) {
            self.validate_pod(cx, request)
        } else {
            self.validate_workload(cx, request);
            Ok(())
        }
    }
}

impl PodSecurity {
    fn validate_namespace(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !request.subresource.is_empty() {
            return Ok(());
        }
        let name = text(&request.object()["metadata"], "name").to_owned();
        let (policy, errors) =
            Policy::of_labels(&request.object()["metadata"]["labels"], &self.config.defaults);
        if request.operation == Operation::Create {
            return if errors.is_empty() { Ok(()) } else { Err(invalid(&name, &errors)) };
        }
        let (old, old_errors) =
            Policy::of_labels(&request.old()["metadata"]["labels"], &self.config.defaults);
        if !errors.is_empty() && errors != old_errors {
            return Err(invalid(&name, &errors));
        }
        let (new, old) = (policy.enforce, old.enforce);
        let relaxed = new.version == old.version && new.level <= old.level;
        if new == old || new.level == Level::Privileged || relaxed {
            return Ok(());
        }
        if self.config.exempt_namespaces.contains(&name) {
            annotate(request, "exempt", "namespace");
            return Ok(());
        }
        for warning in self.warnings_about_existing(cx.list(&PODS, Some(&name)), &name, new) {
            request.warn(warning);
        }
        Ok(())
    }

    fn warnings_about_existing(
        &self,
        pods: Vec<Arc<Value>>,
        namespace: &str,
        enforce: LevelVersion,
    ) -> Vec<String> {
        let mut pods = self.one_of_each_controller_first(pods);
        let total = pods.len();
        pods.truncate(MAX_PODS_TO_CHECK);
        // The lexically first Pod of each set of reasons, and how many there are.
        let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for pod in &pods {
            let violations = evaluate(enforce, Subject { metadata: &pod["metadata"], spec: &pod["spec"] });
            if violations.is_empty() {
                continue;
            }
            let name = text(&pod["metadata"], "name").to_owned();
            let entry = found.entry(reasons(&violations)).or_insert_with(|| (name.clone(), 0));
            entry.1 += 1;
            if name < entry.0 {
                entry.0 = name;
            }
        }
        let mut warnings = Vec::new();
        if pods.len() < total {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {} of {total} existing pods",
                pods.len()
            ));
        }
        if !found.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut lines: Vec<String> = found
            .into_iter()
            .map(|(reasons, (name, count))| match count {
                1 => format!("{name}: {reasons}"),
                2 => format!("{name} (and 1 other pod): {reasons}"),
                _ => format!("{name} (and {} other pods): {reasons}", count - 1),
            })
            .collect();
        lines.sort();
        warnings.extend(lines);
        warnings
    }

    fn one_of_each_controller_first(&self, pods: Vec<Arc<Value>>) -> Vec<Arc<Value>> {
        let (mut first, mut rest, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for pod in pods {
            if self.is_exempt_runtime(&pod["spec"]) {
                continue;
            }
            let owner = items(&pod["metadata"]["ownerReferences"])
                .find(|owner| owner["controller"] == true)
                .map(|owner| text(owner, "uid").to_owned());
            match owner {
                Some(uid) if seen.contains(&uid) => rest.push(pod),
                Some(uid) => {
                    seen.push(uid);
                    first.push(pod);
                }
                None => first.push(pod),
            }
        }
        first.append(&mut rest);
        first
    }

    fn validate_pod(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        const IGNORED: &[&str] =
            &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status", "resize"];
        if IGNORED.contains(&request.subresource.as_str()) || self.is_exempt(request) {
            return Ok(());
        }
        let Some((policy, errors)) = self.policy_of(cx, &request.namespace) else {
            let why = format!("failed to lookup namespace {}", request.namespace);
            return Err(Status::internal(why));
        };
        let all = [policy.enforce, policy.audit, policy.warn];
        if errors.is_empty() && all.iter().all(|mode| mode.level == Level::Privileged) {
            annotate(request, "enforce-policy", &LevelVersion::PRIVILEGED.to_string());
            return Ok(());
        }
        if request.operation == Operation::Update && !is_significant(request.object(), request.old()) {
            return Ok(());
        }
        let object = request.object.take().unwrap_or_default();
        let subject = Subject { metadata: &object["metadata"], spec: &object["spec"] };
        let result = self.judge(request, &policy, &errors, subject, true);
        request.object = Some(object);
        result
    }

    fn validate_workload(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) {
        let is_workload = template(&request.group, &request.resource, request.object()).is_some();
        if !request.subresource.is_empty() || !is_workload || self.is_exempt(request) {
            return;
        }
        let Some((policy, errors)) = self.policy_of(cx, &request.namespace) else {
            let why = format!("failed to lookup namespace {0}: namespace {0:?} not found", request.namespace);
            annotate(request, "error", &why);
            return;
        };
        let silent = policy.warn.level == Level::Privileged && policy.audit.level == Level::Privileged;
        if errors.is_empty() && silent {
            return;
        }
        let object = request.object.take().unwrap_or_default();
        if let Some(template) = template(&request.group, &request.resource, &object) {
            let subject = Subject { metadata: &template["metadata"], spec: &template["spec"] };
            // Without enforcement there is no refusal.
            let _ = self.judge(request, &policy, &errors, subject, false);
        }
        request.object = Some(object);
    }

    fn judge(
        &self,
        request: &mut AdmissionRequest,
        policy: &Policy,
        errors: &ErrorList,
        subject: Subject<'_>,
        enforce: bool,
    ) -> Result<(), Status> {
        if self.is_exempt_runtime(subject.spec) {
            annotate(request, "exempt", "runtimeclass");
            return Ok(());
        }
        if !errors.is_empty() {
            annotate(request, "error", &format!("Failed to parse policy: {}", aggregate(errors)));
        }
        let mut refusal = None;
        if enforce {
            annotate(request, "enforce-policy", &policy.enforce.to_string());
            let violations = evaluate(policy.enforce, subject);
            if !violations.is_empty() {
                refusal = Some(violated("violates", policy.enforce, &violations));
            }
        }
        let violations = evaluate(policy.audit, subject);
        if !violations.is_empty() {
            annotate(request, "audit-violations", &violated("would violate", policy.audit, &violations));
        }
        if let Some(why) = refusal {
            let name = if request.name.is_empty() { text(subject.metadata, "name") } else { &request.name };
            return Err(Status::forbidden(&request.group_resource(), name, why));
        }
        let violations = evaluate(policy.warn, subject);
        if !violations.is_empty() {
            request.warn(violated("would violate", policy.warn, &violations));
        }
        Ok(())
    }

    fn policy_of(&self, cx: &AdmissionCx<'_>, namespace: &str) -> Option<(Policy, ErrorList)> {
        let namespace = cx.get(&NAMESPACES, "", namespace)?;
        Some(Policy::of_labels(&namespace["metadata"]["labels"], &self.config.defaults))
    }

    fn is_exempt(&self, request: &mut AdmissionRequest) -> bool {
        let why = if self.config.exempt_namespaces.contains(&request.namespace) {
            "namespace"
        } else if self.config.exempt_usernames.contains(&request.user.username) {
            "user"
        } else {
            return false;
        };
        annotate(request, "exempt", why);
        true
    }

    fn is_exempt_runtime(&self, spec: &Value) -> bool {
        spec["runtimeClassName"]
            .as_str()
            .is_some_and(|class| self.config.exempt_runtime_classes.iter().any(|own| own == class))
    }
}

fn violated(verb: &str, policy: LevelVersion, violations: &[Violation]) -> String {
    format!("{verb} PodSecurity \"{policy}\": {}", details(violations))
}

fn annotate(request: &mut AdmissionRequest, key: &str, value: &str) {
    request.audit_annotations.insert(format!("{PREFIX}{key}"), value.to_owned());
}

fn invalid(name: &str, errors: &ErrorList) -> Status {
    Status::invalid("", "Namespace", name, errors)
}

fn aggregate(errors: &ErrorList) -> String {
    match errors.as_slice() {
        [only] => only.to_string(),
        all => format!("[{}]", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Tells whether an update changes anything that the controls depend on and that can be changed at all.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let annotation = |pod: &Value, key: &str| pod["metadata"]["annotations"].get(key).cloned();
    let changed = |key: &str| annotation(pod, key) != annotation(old, key);
    if changed(SECCOMP_POD) {
        return true;
    }
    let differs = |new: &Value, old: &Value| {
        new["image"] != old["image"] || changed(&format!("{SECCOMP_CONTAINER}{}", text(new, "name")))
    };
    for list in ["containers", "initContainers"] {
        let (new, old): (Vec<_>, Vec<_>) =
            (items(&pod["spec"][list]).collect(), items(&old["spec"][list]).collect());
        if new.len() != old.len() || new.iter().zip(&old).any(|(new, old)| differs(new, old)) {
            return true;
        }
    }
    items(&pod["spec"]["ephemeralContainers"]).any(|new| {
        let old = items(&old["spec"]["ephemeralContainers"]).find(|old| old["name"] == new["name"]);
        old.is_none_or(|old| differs(new, old))
    })
}
