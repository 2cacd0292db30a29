//! CustomResourceDefinitions at work: accepting their names, serving what they define, and clearing up behind them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::Api;
use super::call::Call;
use super::resources::Resource;
use super::rest::timestamp;
use crate::sim::attributes::UserInfo;
use crate::sim::bootstrap::registered;
use crate::sim::client::DeleteOptions;
use crate::sim::crd::{self, CustomVersion};
use crate::sim::object::Fields as _;
use crate::sim::random;
use crate::sim::resource::GroupResource;
use crate::sim::store::{Entry, StoreError};

pub(super) const DEFINITIONS: GroupResource =
    GroupResource::of("apiextensions.k8s.io", "customresourcedefinitions");

const SERVICES: GroupResource = GroupResource::of("apiregistration.k8s.io", "apiservices");

/// Compiled schemas of custom resources, each with the definition that it was compiled from.
#[derive(Debug, Default)]
pub(super) struct Compiled(Mutex<HashMap<(String, String, String), Version>>);

type Version = (Arc<Value>, Arc<CustomVersion>);

impl Compiled {
    /// Returns what a custom resource asks of its objects; nothing for a built-in one.
    pub(super) fn of(&self, resource: &Resource) -> Option<Arc<CustomVersion>> {
        let definition = resource.definition.as_ref()?;
        let key = (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, version)) = kept.get(&key)
            && Arc::ptr_eq(of, definition)
        {
            return Some(version.clone());
        }
        let version = CustomVersion::of(resource)?;
        kept.insert(key, (definition.clone(), version.clone()));
        Some(version)
    }
}

impl Api {
    /// Serves what the definitions in the store define, after accepting those that are new. Called after each write of a
    /// definition, so that a client that has its answer can use the resource.
    pub(crate) fn refresh_definitions(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = timestamp(self.clock().now());
        let all = self.store().list(&DEFINITIONS, None);
        for entry in &all {
            let others: Vec<&Value> =
                all.iter().filter(|other| other.name() != entry.name()).map(|other| &*other.object).collect();
            let Some(status) = crd::accept(&entry.object, &others, &now) else { continue };
            let mut accepted = Value::clone(&entry.object);
            accepted["status"] = status;
            match self.store().update(&DEFINITIONS, "", entry.name(), Some(entry.revision), accepted) {
                // Who has changed or removed it in between refreshes, too.
                Ok(_) | Err(StoreError::Conflict | StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let all = self.store().list(&DEFINITIONS, None);
        let served = self.generation().base.clone().and_definitions(all.iter().map(|entry| &entry.object));
        self.set_resources(served);
        self.register_versions(&now)
    }

    /// Keeps an APIService for each version of custom resources that is served, as the aggregator does.
    fn register_versions(&self, now: &str) -> Result<(), StoreError> {
        let mut served: BTreeMap<String, (String, String)> = BTreeMap::new();
        for resource in self.resources().all().filter(|resource| resource.definition.is_some()) {
            let name = format!("{}.{}", resource.version, resource.group);
            served.insert(name, (resource.group.clone(), resource.version.clone()));
        }
        for entry in self.store().list(&SERVICES, None) {
            let kept = entry.object["metadata"]["labels"].text(registered::MANAGED) == "true";
            if kept && served.remove(entry.name()).is_none() {
                match self.store().delete(&SERVICES, "", entry.name(), None) {
                    Ok(_) | Err(StoreError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for (name, (group, version)) in served {
            let mut service = registered::api_service(&group, &version, 1000, 100, "true", now);
            service["metadata"]["uid"] = random::uuid().into();
            service["metadata"]["creationTimestamp"] = now.into();
            match self.store().create(&SERVICES, "", &name, service) {
                Ok(_) | Err(StoreError::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the objects of definitions that are going, and lets those go that have none left. To be run for as long as
    /// the cluster lives.
    pub(crate) async fn clear_up_definitions(self) {
        loop {
            let Ok(mut changes) = self.store().watch(None, None) else { return };
            self.clear_up_once().await;
            loop {
                let Ok(event) = changes.next().await else { break };
                let resources = self.resources();
                let custom = resources.preferred(&event.resource).is_some_and(|r| r.definition.is_some());
                if custom || *event.resource == DEFINITIONS {
                    self.clear_up_once().await;
                }
            }
        }
    }

    async fn clear_up_once(&self) {
        for definition in self.store().list(&DEFINITIONS, None) {
            if definition.object["metadata"].has("deletionTimestamp") {
                self.clear_up(&definition).await;
            }
        }
    }

    async fn clear_up(&self, definition: &Arc<Entry>) {
        let spec = &definition.object["spec"];
        let storage = GroupResource::named(spec.text("group"), spec["names"].text("plural"));
        let resources = self.resources();
        if let Some(resource) = resources.stored(&storage) {
            for entry in self.store().list(&storage, None) {
                if entry.object["metadata"].has("deletionTimestamp") {
                    continue;
                }
                let user = UserInfo::named("system:apiserver", &["system:masters"]);
                let mut call = Call::new(user, resource.clone(), entry.namespace(), entry.name());
                call.custom = self.custom(resource);
                let _ = self.delete(&mut call, &DeleteOptions::default()).await;
            }
        }
        if self.store().count(&storage) > 0 {
            return;
        }
        let Some(current) = self.store().get(&DEFINITIONS, "", definition.name()) else { return };
        let mut released = Value::clone(&current.object);
        let mut finalizers = released["metadata"].items("finalizers").to_vec();
        finalizers.retain(|finalizer| finalizer != crd::CLEANUP_FINALIZER);
        let done = finalizers.is_empty();
        released["metadata"]["finalizers"] = finalizers.into();
        let revision = Some(current.revision);
        let written = if done {
            self.store().delete(&DEFINITIONS, "", definition.name(), revision)
        } else {
            self.store().update(&DEFINITIONS, "", definition.name(), revision, released)
        };
        if written.is_ok() {
            // A full disk keeps the old resources; the next write tries again.
            let _ = self.refresh_definitions();
        }
    }
}
