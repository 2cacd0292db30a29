//! Role-based access control: who may do what, by the roles and bindings of a cluster.
//! Knows nothing of HTTP; reads roles and bindings through a view and keeps them compiled.

use std::sync::{Arc, PoisonError, RwLock};

use super::attributes::{Attributes, UserInfo};
use super::resource::GroupResource;
use super::view::View;

pub mod aggregation;
pub mod bootstrap;
mod compact;
mod covers;
mod index;
mod rule;

pub use compact::compact;
pub use covers::uncovered;
use index::Index;
pub(crate) use index::aggregate;
pub use index::{ResolutionError, RoleRef};
pub use rule::Rule;
pub(crate) use rule::quoted_list;

#[cfg(test)]
mod tests;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// `roles`
pub static ROLES: GroupResource = GroupResource::of(GROUP, "roles");
/// `rolebindings`
pub static ROLE_BINDINGS: GroupResource = GroupResource::of(GROUP, "rolebindings");
/// `clusterroles`
pub static CLUSTER_ROLES: GroupResource = GroupResource::of(GROUP, "clusterroles");
/// `clusterrolebindings`
pub static CLUSTER_ROLE_BINDINGS: GroupResource = GroupResource::of(GROUP, "clusterrolebindings");

/// What an authorizer says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may go ahead.
    Allow {
        /// Why, for the audit log.
        reason: String,
    },
    /// It may not, whatever other authorizers say.
    Deny {
        /// Why, for the answer.
        reason: String,
    },
    /// Nothing is known for or against it.
    NoOpinion {
        /// What there is to say, often nothing.
        reason: String,
    },
}

impl Decision {
    /// Tells whether the request may go ahead.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// Returns the reason, whatever was decided.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow { reason } | Self::Deny { reason } | Self::NoOpinion { reason } => reason,
        }
    }
}

/// Decides by the roles and bindings in a view.
///
/// They are compiled into an index that is brought up to date when their revision changes, so that a decision costs a
/// few look-ups.
pub struct Authorizer {
    view: Arc<dyn View>,
    index: RwLock<Arc<Index>>,
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Reads roles and bindings from `view` from now on.
    pub fn new(view: Arc<dyn View>) -> Self {
        Self { view, index: RwLock::default() }
    }

    /// Decides about a request.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        self.index().authorize(attributes)
    }

    /// Collects the rules that hold for a user in a namespace (empty: cluster-wide), and the roles that are missing.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<ResolutionError>) {
        self.index().rules_for(user, namespace)
    }

    /// Returns the rules of the role that a binding in `namespace` refers to.
    ///
    /// # Errors
    /// There is no such role, or no such kind of role.
    pub fn role_rules(&self, role: &RoleRef, namespace: &str) -> Result<Vec<Rule>, ResolutionError> {
        self.index().role_rules(role, namespace).map(<[Rule]>::to_vec)
    }

    fn index(&self) -> Arc<Index> {
        let revision = index::revision(&*self.view);
        let current = self.index.read().unwrap_or_else(PoisonError::into_inner).clone();
        if current.revision() == Some(revision) {
            return current;
        }
        let mut slot = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if slot.revision() != Some(revision) {
            *slot = Arc::new(Index::build(&*self.view, revision, &slot));
        }
        slot.clone()
    }
}
