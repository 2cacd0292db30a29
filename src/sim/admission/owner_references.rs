//! OwnerReferencesPermissionEnforcement: who makes an object go with another must be allowed to delete it, and who makes
//! the other wait for it must be allowed to hold that back. Off by default.

use async_trait::async_trait;
use serde_json::Value;

use super::pods::{items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::api::resources::split_api_version;
use crate::sim::attributes::Attributes;
use crate::sim::object::equal;
use crate::sim::status::Status;

/// The plugin.
#[derive(Debug, Default)]
pub struct OwnerReferencesPermissionEnforcement;

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let is_update = request.operation == Operation::Update;
        let exempt =
            request.group.is_empty() && request.resource == "pods" && request.subresource == "status";
        let (new, old) =
            (&request.object()["metadata"]["ownerReferences"], &request.old()["metadata"]["ownerReferences"]);
        if exempt || !(is_update || request.operation == Operation::Create) || equal(new, old) {
            return Ok(());
        }
        if is_update {
            let delete = Attributes {
                user: request.user.clone(),
                verb: "delete".to_owned(),
                group: request.group.clone(),
                version: request.version.clone(),
                resource: request.resource.clone(),
                subresource: request.subresource.clone(),
                namespace: request.namespace.clone(),
                name: request.name.clone(),
                ..Attributes::default()
            };
            let decision = cx.authorizer.authorize(&delete);
            if !decision.is_allowed() {
                let reason = decision.reason();
                let why = format!("cannot set an ownerRef on a resource you can't delete: {reason}, <nil>");
                return Err(request.forbidden(why));
            }
        }
        let was_blocking = |reference: &Value| {
            items(old).any(|own| own["uid"] == reference["uid"] && own["blockOwnerDeletion"] == true)
        };
        for reference in items(new).filter(|own| own["blockOwnerDeletion"] == true && !was_blocking(own)) {
            check_owner(cx, request, reference)?;
        }
        Ok(())
    }
}

fn check_owner(cx: &AdmissionCx<'_>, request: &AdmissionRequest, reference: &Value) -> Result<(), Status> {
    let (api_version, kind) = (text(reference, "apiVersion"), text(reference, "kind"));
    let (group, version) = split_api_version(api_version);
    let Some(owner) = cx.resources.by_kind(group, version, kind) else {
        return Err(request.forbidden(format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: no matches for kind {kind:?} in version {api_version:?}"
        )));
    };
    let finalize = Attributes {
        user: request.user.clone(),
        verb: "update".to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        resource: owner.plural.clone(),
        subresource: "finalizers".to_owned(),
        namespace: if owner.namespaced { request.namespace.clone() } else { String::new() },
        name: text(reference, "name").to_owned(),
        ..Attributes::default()
    };
    let decision = cx.authorizer.authorize(&finalize);
    if decision.is_allowed() {
        return Ok(());
    }
    Err(request.forbidden(format!(
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {}, <nil>",
        decision.reason()
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};
    use crate::sim::rbac::{ROLE_BINDINGS, ROLES};

    fn cluster(rules: Value) -> Cluster {
        Cluster::new().with(&ROLES, json!({"metadata": {"namespace": "n", "name": "r"}, "rules": rules})).with(
            &ROLE_BINDINGS,
            json!({"metadata": {"namespace": "n", "name": "r"}, "subjects": [{"kind": "User", "name": "jane"}],
                "roleRef": {"kind": "Role", "name": "r"}}),
        )
    }

    fn owned(references: Value) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n", "ownerReferences": references}})
    }

    fn judge(rules: Value, mut request: AdmissionRequest) -> Result<(), String> {
        cluster(rules)
            .validate(&OwnerReferencesPermissionEnforcement, &mut request)
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn changing_owners_takes_the_right_to_delete() {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}]);
        let change = || update("", "configmaps", owned(json!([])), owned(owner.clone()));
        let delete = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]}]);
        judge(delete, change()).unwrap();
        assert_eq!(
            judge(json!([]), change()).unwrap_err(),
            r#"configmaps "c" is forbidden: cannot set an ownerRef on a resource you can't delete: , <nil>"#
        );
        judge(json!([]), create("", "configmaps", owned(owner.clone()))).unwrap();
        judge(json!([]), update("", "configmaps", owned(owner.clone()), owned(owner))).unwrap();
    }

    #[test]
    fn blocking_an_owner_takes_the_right_to_its_finalizers() {
        let blocking = |kind: &str| {
            let owner = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "d", "uid": "u", "blockOwnerDeletion": true}]);
            create("", "configmaps", owned(owner))
        };
        let finalize =
            json!([{"apiGroups": ["apps"], "resources": ["deployments/finalizers"], "verbs": ["update"]}]);
        judge(finalize, blocking("Deployment")).unwrap();
        assert!(
            judge(json!([]), blocking("Deployment"))
                .unwrap_err()
                .contains("you can't set finalizers on: , <nil>")
        );
        assert!(
            judge(json!([]), blocking("Unicorn"))
                .unwrap_err()
                .contains("cannot find RESTMapping for APIVersion apps/v1 Kind Unicorn")
        );
    }
}
