//! DefaultTolerationSeconds: Pods stay five minutes on a node that is not ready or not reachable.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::status::Status;

const SECONDS: i64 = 300;

/// The plugin.
#[derive(Debug, Default)]
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_for(&PODS) {
            return Ok(());
        }
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        let tolerations = field_at(field_at(pod, "spec"), "tolerations");
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            if !items(tolerations).any(|own| tolerates(own, key)) {
                let default = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
                match tolerations.as_array_mut() {
                    Some(list) => list.push(default),
                    None => *tolerations = json!([default]),
                }
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    ["", taint].contains(&text(toleration, "key")) && ["", "NoExecute"].contains(&text(toleration, "effect"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    fn admitted(tolerations: Value) -> Value {
        let mut request = create("", "pods", json!({"metadata": {}, "spec": {"tolerations": tolerations}}));
        Cluster::new().admit(&DefaultTolerationSeconds, &mut request).unwrap();
        request.object.unwrap()["spec"]["tolerations"].clone()
    }

    #[test]
    fn pods_tolerate_failing_nodes_for_a_while() {
        let default = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let (ready, reachable) =
            (default("node.kubernetes.io/not-ready"), default("node.kubernetes.io/unreachable"));
        assert_eq!(admitted(Value::Null), json!([ready, reachable]));
        let other = json!({"key": "a", "operator": "Exists"});
        assert_eq!(admitted(json!([other])), json!([other, ready, reachable]));
    }

    #[test]
    fn their_own_tolerations_stand() {
        let own =
            json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]);
        assert_eq!(admitted(own.clone()).as_array().unwrap().len(), 2);
        let everything = json!([{"operator": "Exists"}]);
        assert_eq!(admitted(everything.clone()), everything);
        let other_effect = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
        assert_eq!(admitted(other_effect).as_array().unwrap().len(), 3);
    }
}
