//! `pods/eviction`: deleting a Pod as far as disruption budgets let it.

use serde_json::{Value, json};

use super::binding::{set_condition, success};
use crate::sim::api::Api;
use crate::sim::api::call::Call;
use crate::sim::api::rest::now;
use crate::sim::api::{decode, rest};
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;
use crate::sim::store::{Entry, StoreError};

const BUDGETS: GroupResource = GroupResource::of("policy", "poddisruptionbudgets");
/// More Pods on their way out than this, and the budget waits for them to go.
const MOST_DISRUPTED: usize = 2000;

impl Api {
    /// Evicts the Pod of the call.
    pub(super) async fn evict(&self, call: &mut Call, mut eviction: Value) -> Result<Value, Status> {
        if eviction["metadata"].text("name") != call.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        self.admit_other(call, "Eviction", &mut eviction).await?;
        let mut options = decode::read_delete_options(&eviction["deleteOptions"])?;
        options.dry_run |= call.options.dry_run;
        let pod = self.read(call).await?;
        let phase = pod.object["status"].text("phase");
        let free = matches!(phase, "Succeeded" | "Failed" | "Pending" | "")
            || pod.object["metadata"].has("deletionTimestamp");
        if !free {
            self.spend_budget(call, &pod, options.dry_run)?;
        }
        let mut deleting = call.clone();
        deleting.subresource.clear();
        if !options.dry_run && !pod.object["metadata"].has("deletionTimestamp") {
            let now = now(self);
            self.edit(&deleting, |pod| {
                set_condition(
                    pod,
                    json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": now }),
                );
                Ok(())
            })?;
        }
        self.delete(&mut deleting, &options).await?;
        for warning in deleting.warnings {
            call.warn(warning);
        }
        Ok(success())
    }

    fn spend_budget(&self, call: &Call, pod: &Entry, dry_run: bool) -> Result<(), Status> {
        for _ in 0..8 {
            let budgets = self.store().list(&BUDGETS, Some(&call.namespace));
            let mut covering = budgets.iter().filter(|budget| covers(budget, pod));
            let Some(budget) = covering.next() else { return Ok(()) };
            if covering.next().is_some() {
                return Err(Status::internal(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
            let Some(spent) = spend(budget, pod, &now(self))? else { return Ok(()) };
            if dry_run {
                return Ok(());
            }
            let revision = Some(budget.revision);
            match self.store().update(&BUDGETS, &call.namespace, budget.name(), revision, spent) {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict | StoreError::NotFound) => {}
                Err(error) => return Err(rest::failure(error, &BUDGETS, budget.name())),
            }
        }
        Err(too_many("", json!([])))
    }
}

fn covers(budget: &Entry, pod: &Entry) -> bool {
    let selector = &budget.object["spec"]["selector"];
    Selector::from_label_selector(selector).is_ok_and(|s| s.matches(&pod.object["metadata"]["labels"]))
}

/// Returns the budget with one disruption less, nothing when the Pod may go without, or the refusal.
fn spend(budget: &Entry, pod: &Entry, now: &str) -> Result<Option<Value>, Status> {
    let (spec, status) = (&budget.object["spec"], &budget.object["status"]);
    let number = |field: &str| status.int(field).unwrap_or_default();
    let ready = pod.object["status"]
        .items("conditions")
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if !ready {
        let healthy = number("desiredHealthy") > 0 && number("currentHealthy") >= number("desiredHealthy");
        if spec.text("unhealthyPodEvictionPolicy") == "AlwaysAllow" || healthy {
            return Ok(None);
        }
    }
    let name = budget.name();
    let cause = |message: String| json!([{ "reason": "DisruptionBudget", "message": message }]);
    if number("observedGeneration") < budget.object["metadata"].int("generation").unwrap_or_default() {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        let mut status = too_many(&message, cause(message.clone()));
        status.details["retryAfterSeconds"] = 10.into();
        return Err(status);
    }
    let disrupted = status.entries("disruptedPods").len();
    if number("disruptionsAllowed") < 0 {
        return Err(Status::forbidden(&BUDGETS, name, "pdb disruptions allowed is negative"));
    }
    if disrupted > MOST_DISRUPTED {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(&BUDGETS, name, why));
    }
    if number("disruptionsAllowed") == 0 {
        let message = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        );
        return Err(too_many("", cause(message)));
    }
    let mut spent = Value::clone(&budget.object);
    spent["status"]["disruptionsAllowed"] = (number("disruptionsAllowed") - 1).into();
    spent["status"]["disruptedPods"][pod.name()] = now.into();
    Ok(Some(spent))
}

fn too_many(message: &str, causes: Value) -> Status {
    let message = match message {
        "" => "Cannot evict pod as it would violate the pod's disruption budget.",
        message => message,
    };
    let mut status = Status::too_many_requests(message);
    status.details = json!({ "causes": causes });
    status
}
