//! The Kubernetes API of a simulated cluster: what is served where, and in which form it is answered.

pub mod discovery;
pub mod openapi;
pub mod resources;
mod rest;

use std::sync::{Arc, PoisonError, RwLock};

use self::resources::Resources;
use super::admission::Chain;
use super::attributes::UserInfo;
use super::authz::{Authorizer, Mode};
use super::client::Client;
use super::store::Store;
use crate::clock::Clock;

/// The API of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    resources: RwLock<Arc<Resources>>,
    authorizer: Authorizer,
    admission: Chain,
}

/// What an API server is made of, beside its store.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The authorization modes, in their order.
    pub modes: Vec<Mode>,
    /// The admission plugins.
    pub admission: Chain,
}

impl Api {
    /// Serves the objects of `store`.
    pub fn new(store: Store, parts: Parts) -> Self {
        let authorizer = Authorizer::new(parts.modes, Arc::new(store.clone()));
        Self(Arc::new(Inner {
            store,
            clock: parts.clock,
            resources: RwLock::new(Arc::new(Resources::builtin())),
            authorizer,
            admission: parts.admission,
        }))
    }

    /// Returns an API with an empty store in memory, for tests: everything is allowed, nothing is admitted specially.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self::new(
            Store::in_memory(),
            Parts { clock, modes: vec![Mode::AlwaysAllow], admission: Chain::default() },
        )
    }

    /// Returns a client that acts as `user`.
    pub fn client(&self, user: UserInfo) -> Client {
        Client::new(self.clone(), user)
    }

    /// Returns the objects.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns the cluster's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Returns who decides what is allowed.
    pub fn authorizer(&self) -> &Authorizer {
        &self.0.authorizer
    }

    /// Returns the admission plugins.
    pub fn admission(&self) -> &Chain {
        &self.0.admission
    }

    /// Returns what is served at the moment.
    pub fn resources(&self) -> Arc<Resources> {
        self.0.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves other resources from now on.
    pub fn set_resources(&self, resources: Resources) {
        *self.0.resources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(resources);
    }
}
