//! `serviceaccounts/token`: bound tokens.

use jiff::SignedDuration;
use serde_json::Value;

use crate::sim::api::Api;
use crate::sim::api::call::Call;
use crate::sim::api::rest::timestamp;
use crate::sim::authn::AUDIENCE;
use crate::sim::authn::tokens::TokenSpec;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::{defaults, validation};

/// What the service-account volume of a Pod asks for. Such a token lives on for a year, for clients that read it once.
const VOLUME_SECONDS: i64 = 3607;
const YEAR_SECONDS: i64 = 365 * 24 * 3600;

impl Api {
    /// Makes a token of the service account of the call.
    pub(super) async fn create_token(&self, call: &mut Call, mut request: Value) -> Result<Value, Status> {
        let account = self.read(call).await?;
        let metadata = &request["metadata"];
        for (field, own) in [("name", &call.name), ("namespace", &call.namespace)] {
            let given = metadata.text(field);
            if !given.is_empty() && given != own {
                let what = if field == "name" { "name" } else { "namespace" };
                return Err(Status::bad_request(format!(
                    "the {what} of the provided object does not match the {what} sent on the request"
                )));
            }
        }
        request["metadata"]["name"] = call.name.clone().into();
        request["metadata"]["namespace"] = call.namespace.clone().into();
        defaults::apply("authentication.k8s.io", "v1", "TokenRequest", &mut request);
        self.admit_other(call, "TokenRequest", &mut request).await?;
        let errors = validation::create("authentication.k8s.io", "v1", "TokenRequest", &request);
        if !errors.is_empty() {
            return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors));
        }
        let spec = request["spec"].clone();
        let mut audiences: Vec<String> = spec.texts("audiences").into_iter().map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(AUDIENCE.to_owned());
            request["spec"]["audiences"] = serde_json::json!(audiences);
        }
        let reference = &spec["boundObjectRef"];
        let bound = if reference.is_object() { Some(self.bound_object(call, reference)?) } else { None };
        let pod_node = match &bound {
            Some(("pod", pod)) => {
                let node = pod["spec"].text("nodeName").to_owned();
                let found = self.store().get(&GroupResource::of("", "nodes"), "", &node);
                (!node.is_empty()).then(|| (node, found.map(|n| n.uid().to_owned()).unwrap_or_default()))
            }
            _ => None,
        };
        let asked = spec.int("expirationSeconds").unwrap_or(3600);
        let extended = asked == VOLUME_SECONDS && audiences.iter().any(|audience| audience == AUDIENCE);
        let token = self
            .authenticator()
            .issue(&TokenSpec {
                namespace: &call.namespace,
                account: &call.name,
                account_uid: account.uid(),
                audiences,
                seconds: if extended { YEAR_SECONDS } else { asked },
                warn_after: extended.then_some(asked),
                bound: bound.as_ref().map(|(kind, object)| {
                    (*kind, object["metadata"].text("name"), object["metadata"].text("uid"))
                }),
                node: pod_node.as_ref().map(|(name, uid)| (name.as_str(), uid.as_str())),
            })
            .map_err(|_| Status::internal("failed to generate token"))?;
        let now = self.clock().now();
        request["metadata"]["creationTimestamp"] = timestamp(now).into();
        request["status"] = serde_json::json!({ "token": token,
            "expirationTimestamp": timestamp(now + SignedDuration::from_secs(asked)) });
        Ok(request)
    }

    fn bound_object(
        &self,
        call: &Call,
        reference: &Value,
    ) -> Result<(&'static str, std::sync::Arc<Value>), Status> {
        let (kind, resource, namespace) = match (reference.text("kind"), reference.text("apiVersion")) {
            ("Pod", "v1" | "") => ("pod", GroupResource::of("", "pods"), call.namespace.as_str()),
            ("Secret", "v1" | "") => ("secret", GroupResource::of("", "secrets"), call.namespace.as_str()),
            ("Node", "v1" | "") => ("node", GroupResource::of("", "nodes"), ""),
            (kind, version) => {
                let (group, version) = crate::sim::api::resources::split_api_version(version);
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        let name = reference.text("name");
        let found = self.store().get(&resource, namespace, name);
        let found = found.ok_or_else(|| Status::not_found(&resource, name))?;
        if kind == "pod" && found.object["spec"].text("serviceAccountName") != call.name {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                call.name
            )));
        }
        let uid = reference.text("uid");
        if !uid.is_empty() && uid != found.uid() {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
                 been deleted and then recreated"
            );
            return Err(Status::conflict(&resource, name, why));
        }
        Ok((kind, found.object.clone()))
    }
}
