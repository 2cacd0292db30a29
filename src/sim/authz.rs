//! The authorization chain of the API server: its modes in order, and what a refusal says.

use std::sync::Arc;

use super::attributes::Attributes;
use super::rbac::{self, Decision};
use super::resource::GroupResource;
use super::status::Status;
use super::view::View;

pub mod escalation;
mod node;
pub mod review;

pub(crate) use node::node_of;

#[cfg(test)]
mod tests;

use node::NodeAuthorizer;

/// An authorization mode, as in `--authorization-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything is allowed.
    AlwaysAllow,
    /// Nothing is allowed.
    AlwaysDeny,
    /// Kubelets may do what their Pods need.
    Node,
    /// Roles and bindings decide.
    Rbac,
}

/// Why a list of modes was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// No mode is called so.
    #[error("authorization-mode {0:?} is not a valid mode")]
    Unknown(String),
    /// A mode stands twice.
    #[error("authorization-mode {0:?} has mode specified more than once")]
    Repeated(String),
    /// No mode is named.
    #[error("at least one authorization-mode must be passed")]
    Empty,
    /// A real API server has it, the simulated one does not.
    #[error("authorization-mode {0:?} is not simulated")]
    NotSimulated(String),
}

impl Mode {
    /// Reads a comma-separated list, such as `Node,RBAC`.
    ///
    /// # Errors
    /// When a mode is unknown, repeated or not simulated, or none is given.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, ModeError> {
        let mut modes = Vec::new();
        for name in list.split(',').filter(|name| !name.is_empty()) {
            let mode = match name {
                "AlwaysAllow" => Self::AlwaysAllow,
                "AlwaysDeny" => Self::AlwaysDeny,
                "Node" => Self::Node,
                "RBAC" => Self::Rbac,
                "ABAC" | "Webhook" => return Err(ModeError::NotSimulated(name.to_owned())),
                _ => return Err(ModeError::Unknown(name.to_owned())),
            };
            if modes.contains(&mode) {
                return Err(ModeError::Repeated(list.to_owned()));
            }
            modes.push(mode);
        }
        if modes.is_empty() { Err(ModeError::Empty) } else { Ok(modes) }
    }
}

/// Decides about requests by the modes of one API server.
#[derive(Debug)]
pub struct Authorizer {
    modes: Vec<Mode>,
    rbac: rbac::Authorizer,
    node: NodeAuthorizer,
}

impl Authorizer {
    /// Decides by `modes`, in their order, over the objects in `view`.
    pub fn new(modes: Vec<Mode>, view: Arc<dyn View>) -> Self {
        Self { modes, rbac: rbac::Authorizer::new(view.clone()), node: NodeAuthorizer::new(view) }
    }

    /// Returns the RBAC authorizer, which knows rules whether or not the mode is on.
    pub fn rbac(&self) -> &rbac::Authorizer {
        &self.rbac
    }

    /// Returns the modes in force.
    pub fn modes(&self) -> &[Mode] {
        &self.modes
    }

    /// Decides about a request. Members of `system:masters` may do everything in every mode.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group("system:masters") {
            return Decision::Allow { reason: String::new() };
        }
        let mut reasons = Vec::new();
        for mode in &self.modes {
            let decision = match mode {
                Mode::AlwaysAllow => Decision::Allow { reason: String::new() },
                Mode::AlwaysDeny => Decision::NoOpinion { reason: "Everything is forbidden.".to_owned() },
                Mode::Node => self.node.authorize(attributes),
                Mode::Rbac => self.rbac.authorize(attributes),
            };
            match decision {
                Decision::NoOpinion { reason } if reason.is_empty() => {}
                Decision::NoOpinion { reason } => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion { reason: reasons.join("\n") }
    }

    /// Decides about a request, with the answer for one that may not go ahead.
    ///
    /// # Errors
    /// 403 in the API server's words.
    pub fn require(&self, attributes: &Attributes) -> Result<Decision, Status> {
        let decision = self.authorize(attributes);
        if decision.is_allowed() { Ok(decision) } else { Err(forbidden(attributes, decision.reason())) }
    }
}

/// Words the refusal of a request.
pub fn forbidden(attributes: &Attributes, reason: &str) -> Status {
    let (user, verb) = (&attributes.user.username, &attributes.verb);
    let mut message = if attributes.is_resource_request() {
        let subresource = match attributes.subresource.as_str() {
            "" => String::new(),
            subresource => format!("/{subresource}"),
        };
        let place = match attributes.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "User {user:?} cannot {verb} resource {:?} in API group {:?} {place}",
            format!("{}{subresource}", attributes.resource),
            attributes.group
        )
    } else {
        format!("User {user:?} cannot {verb} path {:?}", attributes.path)
    };
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    if attributes.is_resource_request() {
        let resource = GroupResource::named(attributes.group.clone(), attributes.resource.clone());
        Status::forbidden(&resource, &attributes.name, message)
    } else {
        let mut status = Status::new(403, "Forbidden", format!("forbidden: {message}"));
        status.details = serde_json::json!({});
        status
    }
}
