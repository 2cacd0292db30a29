//! Parameters of policies: which objects a binding names, and what happens where there are none.

use std::sync::Arc;

use serde_json::Value;

use super::AdmissionCx;
use crate::sim::api::resources::{Resource, split_api_version};
use crate::sim::object::Fields as _;
use crate::sim::selectors::Selector;

/// The kind of a policy's parameters.
pub(crate) enum Scope {
    /// The policy has none.
    None,
    /// Objects of this resource.
    Of(Arc<Resource>),
}

impl Scope {
    /// Reads `paramKind`.
    ///
    /// # Errors
    /// When nothing of the kind is served.
    pub(crate) fn of(cx: &AdmissionCx<'_>, kind: &Value) -> Result<Self, String> {
        if !kind.is_object() {
            return Ok(Self::None);
        }
        let (group, version) = split_api_version(kind.text("apiVersion"));
        match cx.resources.by_kind(group, version, kind.text("kind")) {
            Some(resource) => Ok(Self::Of(resource.clone())),
            None => Err(format!(
                "failed to find resource referenced by paramKind: '{}, Kind={}'",
                kind.text("apiVersion"),
                kind.text("kind")
            )),
        }
    }

    /// Tells whether the policy has parameters.
    pub(crate) fn is_declared(&self) -> bool {
        matches!(self, Self::Of(_))
    }

    /// Returns the objects that a binding's `paramRef` names, or one nothing where it names none. None at all means
    /// that the binding does not judge.
    ///
    /// # Errors
    /// Why the binding cannot be used.
    pub(crate) fn collect(
        &self,
        cx: &AdmissionCx<'_>,
        reference: &Value,
        namespace: &str,
    ) -> Result<Vec<Option<Arc<Value>>>, String> {
        let Self::Of(resource) = self else { return Ok(vec![None]) };
        if !reference.is_object() {
            return Ok(vec![None]);
        }
        let named = reference.text("namespace");
        if !resource.namespaced && !named.is_empty() {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
        let place = if named.is_empty() { namespace } else { named };
        if resource.namespaced && place.is_empty() {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .to_owned(),
            );
        }
        let place = if resource.namespaced { place } else { "" };
        let gr = resource.group_resource();
        let name = reference.text("name");
        let found: Vec<Option<Arc<Value>>> = if name.is_empty() {
            let selector =
                Selector::from_label_selector(reference.at("selector")).map_err(|error| error.to_string())?;
            let within = resource.namespaced.then_some(place);
            let objects = cx.store.list(&gr, within).into_iter();
            objects
                .filter(|entry| selector.matches(entry.object.dig(&["metadata", "labels"])))
                .map(|entry| Some(entry.object.clone()))
                .collect()
        } else {
            cx.get(&gr, place, name).map(Some).into_iter().collect()
        };
        if found.is_empty() && reference.text("parameterNotFoundAction") == "Deny" {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
        }
        Ok(found)
    }
}
