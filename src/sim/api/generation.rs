//! The lives of an API server: what one start has made of flags and files, put in place of another at run time. While
//! none is alive nothing is answered; watches end with the life that they began in.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::Api;
use super::resources::Resources;
use crate::sim::admission::Chain;
use crate::sim::authn::Authenticator;
use crate::sim::authz::{Authorizer, Mode};
use crate::sim::status::Status;
use crate::sim::store::StoreError;

/// What an API server is started with, beside its store and its clock.
#[derive(Debug)]
pub struct Settings {
    /// What is served beside what definitions add.
    pub resources: Resources,
    /// The authorization modes, in their order.
    pub modes: Vec<Mode>,
    /// The admission plugins.
    pub admission: Chain,
    /// Who is who.
    pub authenticator: Authenticator,
    /// Whether `/debug/pprof` is served: `--profiling`.
    pub profiling: bool,
}

/// One life of an API server.
#[derive(Debug)]
pub(crate) struct Generation {
    pub authorizer: Arc<Authorizer>,
    pub admission: Arc<Chain>,
    pub authenticator: Arc<Authenticator>,
    /// What is served whatever the definitions say.
    pub base: Resources,
    pub profiling: bool,
    /// Turns true when this life is over.
    ended: watch::Sender<bool>,
}

impl Generation {
    pub(super) fn new(settings: Settings, store: &crate::sim::store::Store) -> Self {
        Self {
            authorizer: Arc::new(Authorizer::new(settings.modes, Arc::new(store.clone()))),
            admission: Arc::new(settings.admission),
            authenticator: Arc::new(settings.authenticator),
            base: settings.resources,
            profiling: settings.profiling,
            ended: watch::Sender::new(false),
        }
    }

    /// Returns what turns true when this life is over.
    pub(in crate::sim) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }
}

impl Api {
    /// Returns the present life, or the last one.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.0.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins another life: what is answered from now on goes by these settings.
    ///
    /// # Errors
    /// [`StoreError`] when what custom resources there are cannot be served.
    pub fn begin(&self, settings: Settings) -> Result<(), StoreError> {
        let fresh = Arc::new(Generation::new(settings, self.store()));
        let mut place = self.0.generation.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, fresh);
        drop(place);
        old.ended.send_replace(true);
        self.refresh_definitions()?;
        self.0.up.send_replace(true);
        Ok(())
    }

    /// Ends the present life: nothing is answered until another begins.
    pub fn end(&self) {
        self.0.up.send_replace(false);
        self.generation().ended.send_replace(true);
    }

    /// Returns what tells whether the server is alive.
    pub fn up(&self) -> watch::Receiver<bool> {
        self.0.up.subscribe()
    }

    /// Tells whether the server is alive.
    pub fn is_up(&self) -> bool {
        *self.0.up.borrow()
    }

    /// Refuses while the server is not alive, for clients in this process; others find nobody listening.
    pub(crate) fn reachable(&self) -> Result<(), Status> {
        if self.is_up() {
            return Ok(());
        }
        Err(Status::new(
            503,
            "ServiceUnavailable",
            format!("dial tcp {}: connect: connection refused", self.address()),
        ))
    }
}
