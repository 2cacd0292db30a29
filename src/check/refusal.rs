//! Whose refusal an answer of the API is, read from code, reason and the wording that each refuser uses. Pure.

use std::fmt;

use super::RefusedBy;
use super::api::Reply;

/// What became of a request that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It would have been stored.
    Admitted,
    /// It would not.
    Refused(Refusal),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Who refused.
    pub(crate) by: Refuser,
    /// The policy, quota or webhook, where the message names one.
    pub(crate) name: Option<String>,
    /// The message.
    pub(crate) message: String,
}

/// Who refused, beyond those whom a check may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refuser {
    /// One whom checks may ask for.
    Known(RefusedBy),
    /// A quota that wants requests or limits where there are none; it says nothing about how much is left.
    QuotaWithoutLimits,
    /// A webhook that could not be called.
    DeadWebhook,
    /// The namespace is missing or being deleted.
    Namespace,
    /// The kind is not served.
    NotServed,
    /// The request could not be read.
    Malformed,
}

impl fmt::Display for Refuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(by) => by.name(),
            Self::QuotaWithoutLimits => "a ResourceQuota, for want of requests or limits",
            Self::DeadWebhook => "the API server, as a webhook could not be called",
            Self::Namespace => "the API server, as the namespace is missing or going",
            Self::NotServed => "the API server, as the kind is not served",
            Self::Malformed => "the API server, as it cannot be read",
        })
    }
}

impl RefusedBy {
    /// Names who refuses, as findings do.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Admission => "an admission plugin",
            Self::PodSecurity => "Pod Security Admission",
            Self::ValidatingAdmissionPolicy => "a ValidatingAdmissionPolicy",
            Self::ResourceQuota => "a ResourceQuota",
            Self::LimitRange => "a LimitRange",
            Self::Webhook => "a webhook",
            Self::ImagePolicy => "ImagePolicyWebhook",
            Self::ServiceAccount => "the ServiceAccount plugin",
            Self::NodeRestriction => "NodeRestriction",
            Self::Rbac => "the authorizer",
            Self::Validation => "validation",
        }
    }

    /// Tells whether a refusal is the one that is asked for.
    pub(crate) fn is(self, refuser: Refuser) -> bool {
        match (self, refuser) {
            (Self::Admission, Refuser::Known(by)) => !matches!(by, Self::Rbac | Self::Validation),
            (wanted, Refuser::Known(by)) => wanted == by,
            _ => false,
        }
    }
}

/// Reads an answer to a change that was tried.
pub(crate) fn outcome(reply: &Reply) -> Outcome {
    let message = reply.message().to_owned();
    // Whether an object of the name exists is looked at last, after all admission.
    if matches!(reply.code, 200 | 201) || (reply.code == 409 && reply.reason() == "AlreadyExists") {
        return Outcome::Admitted;
    }
    let (by, name) = refuser(reply.code, reply.reason(), &message);
    let message = match &reply.body {
        serde_json::Value::String(text) => text.trim().to_owned(),
        _ => message,
    };
    Outcome::Refused(Refusal { by, name, message })
}

fn refuser(code: u16, reason: &str, message: &str) -> (Refuser, Option<String>) {
    let known = |by| (Refuser::Known(by), None);
    // Policies and webhooks choose code and reason themselves: their wording comes first.
    if let Some(rest) = after(message, "ValidatingAdmissionPolicy '")
        && message.contains("' denied request")
    {
        let name = rest.split('\'').next().map(str::to_owned);
        return (Refuser::Known(RefusedBy::ValidatingAdmissionPolicy), name);
    }
    if let Some(rest) = after(message, "admission webhook \"")
        && message.contains("denied the request")
    {
        return (Refuser::Known(RefusedBy::Webhook), rest.split('"').next().map(str::to_owned));
    }
    if let Some(rest) = after(message, "failed calling webhook \"") {
        return (Refuser::DeadWebhook, rest.split('"').next().map(str::to_owned));
    }
    match (code, reason) {
        (404, _) if message.starts_with("namespaces ") => (Refuser::Namespace, None),
        (404, _) => (Refuser::NotServed, None),
        (422, _) => known(RefusedBy::Validation),
        (403, _) => forbidden(message),
        _ => (Refuser::Malformed, None),
    }
}

/// Tells the plugins that answer Forbidden apart.
fn forbidden(message: &str) -> (Refuser, Option<String>) {
    let known = |by| (Refuser::Known(by), None);
    if message.contains("violates PodSecurity \"") {
        return known(RefusedBy::PodSecurity);
    }
    if let Some(rest) = after(message, "exceeded quota: ") {
        return (Refuser::Known(RefusedBy::ResourceQuota), rest.split(',').next().map(str::to_owned));
    }
    if let Some(rest) = after(message, "failed quota: ") {
        return (Refuser::QuotaWithoutLimits, rest.split(':').next().map(str::to_owned));
    }
    if message.contains("because it is being terminated") {
        return (Refuser::Namespace, None);
    }
    if message.contains("image policy webhook backend denied") {
        return known(RefusedBy::ImagePolicy);
    }
    if message.contains("error looking up service account ") {
        return known(RefusedBy::ServiceAccount);
    }
    if message.contains(": node \"") && message.contains("not allowed to") {
        return known(RefusedBy::NodeRestriction);
    }
    if message.contains(": User \"") && message.contains("\" cannot ") {
        return known(RefusedBy::Rbac);
    }
    let limit = ["minimum ", "maximum "].iter().any(|bound| {
        after(message, bound).is_some_and(|rest| rest.contains(" usage per ") || rest.contains(" per "))
    });
    if limit || message.contains(" max limit to request ratio per ") {
        return known(RefusedBy::LimitRange);
    }
    known(RefusedBy::Admission)
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.find(mark).map(|at| &text[at + mark.len()..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(code: u16, reason: &str, message: &str) -> (Refuser, Option<String>) {
        let body = json!({"kind": "Status", "reason": reason, "message": message});
        match outcome(&Reply { code, body, warnings: Vec::new() }) {
            Outcome::Refused(refusal) => (refusal.by, refusal.name),
            Outcome::Admitted => panic!("admitted"),
        }
    }

    #[test]
    fn each_refuser_is_told_by_its_wording() {
        use RefusedBy as By;
        for (code, reason, message, by, name) in [
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"a\" must not set securityContext.privileged=true)",
                Refuser::Known(By::PodSecurity),
                None,
            ),
            (
                422,
                "Invalid",
                "pods \"a\" is forbidden: ValidatingAdmissionPolicy 'no-latest' with binding 'b' denied request: no",
                Refuser::Known(By::ValidatingAdmissionPolicy),
                Some("no-latest"),
            ),
            (
                403,
                "Forbidden",
                "services \"a\" is forbidden: exceeded quota: no-external, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0",
                Refuser::Known(By::ResourceQuota),
                Some("no-external"),
            ),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: failed quota: compute: must specify limits.cpu for: a",
                Refuser::QuotaWithoutLimits,
                Some("compute"),
            ),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
                Refuser::Known(By::LimitRange),
                None,
            ),
            (
                400,
                "BadRequest",
                "admission webhook \"deny.example.test\" denied the request: no",
                Refuser::Known(By::Webhook),
                Some("deny.example.test"),
            ),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"deny.example.test\": Post refused",
                Refuser::DeadWebhook,
                Some("deny.example.test"),
            ),
            (
                403,
                "Forbidden",
                "pods is forbidden: User \"jane\" cannot create resource \"pods\" in API group \"\" in the namespace \"a\"",
                Refuser::Known(By::Rbac),
                None,
            ),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: error looking up service account a/b: serviceaccount \"b\" not found",
                Refuser::Known(By::ServiceAccount),
                None,
            ),
            (
                403,
                "Forbidden",
                "nodes \"w2\" is forbidden: node \"w1\" is not allowed to modify node \"w2\"",
                Refuser::Known(By::NodeRestriction),
                None,
            ),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: one or more containers of the pod x: image policy webhook backend denied one or more images: no",
                Refuser::Known(By::ImagePolicy),
                None,
            ),
            (404, "NotFound", "namespaces \"a\" not found", Refuser::Namespace, None),
            (
                422,
                "Invalid",
                "Pod \"a\" is invalid: spec.containers: Required value",
                Refuser::Known(By::Validation),
                None,
            ),
            (400, "BadRequest", "strict decoding error: unknown field \"spec.x\"", Refuser::Malformed, None),
            (
                403,
                "Forbidden",
                "pods \"a\" is forbidden: no PriorityClass with name x was found",
                Refuser::Known(By::Admission),
                None,
            ),
        ] {
            assert_eq!(told(code, reason, message), (by, name.map(str::to_owned)), "{message}");
        }
    }

    #[test]
    fn a_name_that_is_taken_was_admitted() {
        let body =
            json!({"kind": "Status", "reason": "AlreadyExists", "message": "pods \"a\" already exists"});
        assert_eq!(outcome(&Reply { code: 409, body, warnings: Vec::new() }), Outcome::Admitted);
    }

    #[test]
    fn asking_for_any_plugin_does_not_take_the_authorizer_or_validation() {
        assert!(RefusedBy::Admission.is(Refuser::Known(RefusedBy::PodSecurity)));
        for other in [
            Refuser::Known(RefusedBy::Rbac),
            Refuser::Known(RefusedBy::Validation),
            Refuser::Namespace,
            Refuser::DeadWebhook,
        ] {
            assert!(!RefusedBy::Admission.is(other), "{other}");
        }
    }
}
