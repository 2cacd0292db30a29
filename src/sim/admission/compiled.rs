//! What policies and webhook configurations compile to, kept for the version of each that was compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::sim::object::Fields as _;

/// What a plugin has compiled, by the name of the object and with its resource version.
pub(super) struct Compiled<P>(Mutex<BTreeMap<String, (String, Arc<P>)>>);

impl<P> Default for Compiled<P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<P> fmt::Debug for Compiled<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

impl<P> Compiled<P> {
    /// Returns what an object compiles to, from before where it is the same version.
    pub(super) fn of(&self, object: &Value, compile: impl FnOnce(&Value) -> P) -> Arc<P> {
        let metadata = object.at("metadata");
        let (name, version) = (metadata.text("name"), metadata.text("resourceVersion"));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, compiled)) = known.get(name)
            && of == version
            && !version.is_empty()
        {
            return compiled.clone();
        }
        let compiled = Arc::new(compile(object));
        known.insert(name.to_owned(), (version.to_owned(), compiled.clone()));
        compiled
    }
}
