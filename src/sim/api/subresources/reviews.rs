//! Resources that are asked and answered but not stored: reviews, bindings, component statuses.

use http::Response;
use serde_json::{Value, json};

use super::plain;
use crate::sim::api::Api;
use crate::sim::api::answer::{self, Body};
use crate::sim::api::call::Call;
use crate::sim::api::verbs::ResourceRequest;
use crate::sim::authn::AUDIENCE;
use crate::sim::authz::review;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

impl Api {
    /// Answers a request on a resource that has no store.
    pub(crate) async fn on_virtual(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let resource = call.resource.clone();
        if resource.plural == "componentstatuses" {
            return self.component_statuses(call, request);
        }
        call.options = request.options("CreateOptions")?;
        let mut object = self.decode_as(call, &resource.gvk(), request)?;
        let authorizer = &*self.authorizer();
        let answered = match resource.plural.as_str() {
            "bindings" => {
                object["metadata"].text("name").clone_into(&mut call.name);
                let resources = self.resources();
                if let Some(pods) = resources.find("", "v1", "pods") {
                    call.resource = pods.clone();
                }
                "binding".clone_into(&mut call.subresource);
                self.bind(call, object).await?
            }
            "subjectaccessreviews" => review::subject_access(authorizer, object)?,
            "localsubjectaccessreviews" => {
                if object["metadata"].text("namespace").is_empty() {
                    object["metadata"]["namespace"] = call.namespace.clone().into();
                }
                review::local_subject_access(authorizer, &call.namespace, object)?
            }
            "selfsubjectaccessreviews" => review::self_subject_access(authorizer, &call.user, object)?,
            "selfsubjectrulesreviews" => review::self_subject_rules(authorizer, &call.user, &object)?,
            "selfsubjectreviews" => {
                object["metadata"]["creationTimestamp"] = crate::sim::api::rest::now(self).into();
                review::self_subject(&call.user, object)
            }
            "tokenreviews" => self.review_token(object)?,
            other => return Err(Status::not_simulated(other)),
        };
        Ok(answer::object(201, &answered, plain(request.accepted)))
    }

    fn review_token(&self, mut review: Value) -> Result<Value, Status> {
        let token = review["spec"].text("token").to_owned();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let asked: Vec<String> = review["spec"].texts("audiences").into_iter().map(str::to_owned).collect();
        let audiences: Vec<&str> = match asked.as_slice() {
            [] => vec![AUDIENCE],
            asked => asked.iter().map(String::as_str).collect(),
        };
        let mut metadata = review["metadata"].clone();
        if !metadata.is_object() {
            metadata = json!({});
        }
        review["metadata"] = metadata;
        review["status"] = match self.authenticator().by_token(self.store(), &token, &audiences) {
            Ok(identity) => {
                let mut user = identity.user;
                user.groups.push("system:authenticated".to_owned());
                json!({ "authenticated": true, "user": user, "audiences": identity.audiences })
            }
            Err("invalid bearer token") => json!({ "user": {}, "error": "invalid bearer token" }),
            Err(why) => json!({ "user": {}, "error": format!("[invalid bearer token, {why}]") }),
        };
        Ok(review)
    }

    fn component_statuses(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let component = |name: &str| {
            json!({ "kind": "ComponentStatus", "apiVersion": "v1", "metadata": { "name": name },
                "conditions": [{ "type": "Healthy", "status": "True", "message": "ok" }] })
        };
        let names = ["scheduler", "controller-manager", "etcd-0"];
        if request.info.is_named {
            let Some(name) = names.iter().find(|name| **name == call.name) else {
                return Err(Status::not_found(&call.gr(), &call.name));
            };
            let object = std::sync::Arc::new(component(name));
            return self.respond(&call.resource, 200, &object, request);
        }
        let objects = names.iter().map(|name| std::sync::Arc::new(component(name))).collect();
        self.respond_list(&call.resource, objects, request)
    }
}
