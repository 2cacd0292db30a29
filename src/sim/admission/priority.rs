//! Priority: gives Pods the number and preemption policy of their PriorityClass, and lets one class be the default.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static CLASSES: GroupResource = GroupResource::of("scheduling.k8s.io", "priorityclasses");

/// The plugin.
#[derive(Debug, Default)]
pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !request.is_for(&PODS) {
            return Ok(());
        }
        match request.operation {
            Operation::Create => admit_create(cx, request),
            Operation::Update => {
                keep_priority(request);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !request.is_for(&CLASSES) || !writes || request.object()["globalDefault"] != true {
            return Ok(());
        }
        let Some(default) = default_class(cx) else { return Ok(()) };
        let name = text(&default["metadata"], "name");
        if request.operation == Operation::Update && name == text(&request.object()["metadata"], "name") {
            return Ok(());
        }
        Err(request.forbidden(format!(
            "PriorityClass {name} is already marked as default. Only one default can exist"
        )))
    }
}

fn admit_create(cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
    let spec = &request.object()["spec"];
    let named = text(spec, "priorityClassName");
    let class = if named.is_empty() { default_class(cx) } else { cx.get(&CLASSES, "", named) };
    if class.is_none() && !named.is_empty() {
        return Err(request.forbidden(format!("no PriorityClass with name {named} was found")));
    }
    let priority = class.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    let policy = match &class {
        None => json!("PreemptLowerPriority"),
        Some(class) => class["preemptionPolicy"].clone(),
    };
    if let Some(own) = spec["priority"].as_i64().filter(|own| *own != priority) {
        return Err(request.forbidden(format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        )));
    }
    if let (Some(own), Some(computed)) = (spec["preemptionPolicy"].as_str(), policy.as_str())
        && own != computed
    {
        return Err(request.forbidden(format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
        )));
    }
    if let Some(pod) = request.object.as_mut() {
        let spec = field_at(pod, "spec");
        if let Some(class) = &class {
            spec["priorityClassName"] = class["metadata"]["name"].clone();
        }
        spec["priority"] = json!(priority);
        if policy.is_string() {
            spec["preemptionPolicy"] = policy;
        }
    }
    Ok(())
}

/// An update need not repeat what was computed.
fn keep_priority(request: &mut AdmissionRequest) {
    let Some(old) = request.old_object.clone() else { return };
    let Some(pod) = request.object.as_mut() else { return };
    let spec = field_at(pod, "spec");
    for field in ["priority", "preemptionPolicy"] {
        if spec[field].is_null() && !old["spec"][field].is_null() {
            spec[field] = old["spec"][field].clone();
        }
    }
}

/// Returns the default class; of several, which only a change of the rules can leave, the lowest.
fn default_class(cx: &AdmissionCx<'_>) -> Option<Arc<Value>> {
    let all = cx.list(&CLASSES, None);
    all.into_iter().filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    fn class(name: &str, value: i64, default: bool) -> Value {
        json!({"metadata": {"name": name}, "value": value, "globalDefault": default,
            "preemptionPolicy": "PreemptLowerPriority"})
    }

    fn admit(cluster: &Cluster, spec: Value) -> Result<Value, String> {
        let mut request =
            create("", "pods", json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}));
        let result = cluster.admit(&Priority, &mut request);
        result.map(|()| request.object.unwrap()["spec"].clone()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn pods_get_the_priority_of_their_class() {
        let cluster = Cluster::new().with(&CLASSES, class("high", 1000, false));
        assert_eq!(
            admit(&cluster, json!({})).unwrap(),
            json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"})
        );
        let spec = admit(&cluster, json!({"priorityClassName": "high"})).unwrap();
        assert_eq!(spec["priority"], 1000);
        cluster.put(&CLASSES, class("usual", 5, true));
        let spec = admit(&cluster, json!({})).unwrap();
        assert_eq!((&spec["priorityClassName"], &spec["priority"]), (&json!("usual"), &json!(5)));
    }

    #[test]
    fn what_the_class_says_cannot_be_said_otherwise() {
        let cluster = Cluster::new().with(&CLASSES, class("high", 1000, false));
        assert_eq!(
            admit(&cluster, json!({"priorityClassName": "nosuch"})).unwrap_err(),
            r#"pods "p" is forbidden: no PriorityClass with name nosuch was found"#
        );
        assert_eq!(
            admit(&cluster, json!({"priority": 7})).unwrap_err(),
            r#"pods "p" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"#
        );
        assert!(
            admit(&cluster, json!({"preemptionPolicy": "Never"}))
                .unwrap_err()
                .contains("the string value of PreemptionPolicy (Never)")
        );
        admit(&cluster, json!({"priorityClassName": "high", "priority": 1000})).unwrap();
    }

    #[test]
    fn updates_keep_what_was_computed() {
        let pod = |spec: Value| json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        let old = pod(json!({"priority": 3, "preemptionPolicy": "Never"}));
        let mut request = update("", "pods", old.clone(), pod(json!({})));
        Cluster::new().admit(&Priority, &mut request).unwrap();
        assert_eq!(request.object.unwrap()["spec"], old["spec"]);
    }

    #[test]
    fn only_one_class_is_the_default() {
        let cluster = Cluster::new().with(&CLASSES, class("usual", 5, true));
        let validate = |request: &mut AdmissionRequest| cluster.validate(&Priority, request);
        let group = "scheduling.k8s.io";
        let mut second = create(group, "priorityclasses", class("other", 6, true));
        assert_eq!(
            validate(&mut second).unwrap_err().message,
            r#"priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"#
        );
        validate(&mut create(group, "priorityclasses", class("other", 6, false))).unwrap();
        validate(&mut update(group, "priorityclasses", class("usual", 5, true), class("usual", 5, true)))
            .unwrap();
    }
}
