//! Objects of manifests into the cluster: created, or merged into what is there. Kinds are found by discovery, since a
//! manifest may bring its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use serde_json::{Value, json};

use super::SeedError;
use crate::cluster::{Cluster, SESSION_LABEL};
use crate::scenario::SeedStep;

const PAUSE: Duration = Duration::from_millis(200);
/// How often something that is not there yet is asked for again: 15 seconds in all.
const TRIES: u32 = 75;

/// Applies objects and remembers the kinds that it has met.
pub(super) struct Applier<'a> {
    client: kube::Client,
    session: &'a str,
    exclusive: bool,
    kinds: BTreeMap<(String, String), (ApiResource, Scope)>,
}

impl<'a> Applier<'a> {
    pub(super) fn new(cluster: &dyn Cluster, session: &'a str) -> Self {
        Self { client: cluster.client(), session, exclusive: cluster.exclusive(), kinds: BTreeMap::new() }
    }

    /// In a cluster that is somebody's own, refuses before anything is done what would lie outside the namespaces
    /// that the seed makes.
    pub(super) async fn refuse_outside(&mut self, steps: &[SeedStep]) -> Result<(), SeedError> {
        if self.exclusive {
            return Ok(());
        }
        let manifests = || {
            steps.iter().filter_map(|step| match step {
                SeedStep::Apply { file, objects } => Some((file, objects)),
                _ => None,
            })
        };
        let made: BTreeSet<&str> = manifests()
            .flat_map(|(_, objects)| objects)
            .filter(|object| is_namespace(object))
            .map(|object| text(object, "/metadata/name"))
            .collect();
        for (file, objects) in manifests() {
            for object in objects.iter().filter(|object| !is_namespace(object)) {
                let (_, scope) = self.kind(file, object).await?;
                let namespace = text(object, "/metadata/namespace");
                if scope == Scope::Cluster || !made.contains(namespace) {
                    return Err(SeedError::Outside { file: file.clone(), object: named(object) });
                }
            }
        }
        Ok(())
    }

    pub(super) async fn apply(&mut self, file: &Path, object: &Value) -> Result<(), SeedError> {
        let (kind, scope) = self.kind(file, object).await?;
        let mut object = object.clone();
        let name = text(&object, "/metadata/name").to_owned();
        if scope == Scope::Cluster {
            // What lies in no namespace is found again by this label, and goes with the session.
            object["metadata"]["labels"][SESSION_LABEL] = json!(self.session);
        }
        let api: Api<DynamicObject> = match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &kind),
            Scope::Namespaced => {
                let namespace = text(&object, "/metadata/namespace");
                let namespace = if namespace.is_empty() { "default" } else { namespace }.to_owned();
                object["metadata"]["namespace"] = json!(namespace);
                Api::namespaced_with(self.client.clone(), &namespace, &kind)
            }
        };
        let failed = |object: &Value, error: kube::Error| match error {
            kube::Error::Api(status) => SeedError::Object {
                file: file.to_path_buf(),
                object: named(object),
                reason: status.message.clone(),
            },
            other => SeedError::Api(other),
        };
        let body: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| {
            SeedError::Object { file: file.to_path_buf(), object: named(&object), reason: error.to_string() }
        })?;
        for attempt in 1..=TRIES {
            match api.create(&PostParams::default(), &body).await {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                    let there = api.get(&name).await.map_err(|error| failed(&object, error))?;
                    self.may_change(&object, &there)?;
                    api.patch(&name, &PatchParams::default(), &Patch::Merge(&object))
                        .await
                        .map_err(|error| failed(&object, error))?;
                    break;
                }
                Err(error) if attempt < TRIES && passes(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(failed(&object, error)),
            }
        }
        Ok(())
    }

    /// Namespaces of others are not taken over; those of the cluster itself may be changed where it is ours alone.
    fn may_change(&self, object: &Value, there: &DynamicObject) -> Result<(), SeedError> {
        let own = there.metadata.labels.as_ref().and_then(|labels| labels.get(SESSION_LABEL));
        if !is_namespace(object) || own.is_some_and(|session| session == self.session) {
            return Ok(());
        }
        let namespace = text(object, "/metadata/name");
        let of_cluster = namespace == "default" || namespace.starts_with("kube-");
        if self.exclusive && of_cluster {
            return Ok(());
        }
        Err(SeedError::NamespaceTaken { namespace: namespace.to_owned() })
    }

    async fn kind(&mut self, file: &Path, object: &Value) -> Result<(ApiResource, Scope), SeedError> {
        let key = (text(object, "/apiVersion").to_owned(), text(object, "/kind").to_owned());
        if let Some(found) = self.kinds.get(&key) {
            return Ok(found.clone());
        }
        let (group, version) = key.0.split_once('/').unwrap_or(("", &key.0));
        let wanted = GroupVersionKind::gvk(group, version, &key.1);
        // A kind of a CustomResourceDefinition is served some time after that was accepted.
        let of_crd = !group.is_empty() && group.contains('.') && !group.ends_with(".k8s.io");
        for attempt in 1..=TRIES {
            match pinned_kind(&self.client, &wanted).await {
                Ok((kind, capabilities)) => {
                    let found = (kind, capabilities.scope);
                    self.kinds.insert(key, found.clone());
                    return Ok(found);
                }
                Err(error @ (kube::Error::Service(_) | kube::Error::HyperError(_))) => {
                    return Err(SeedError::Api(error));
                }
                Err(_) if of_crd && attempt < TRIES => tokio::time::sleep(PAUSE).await,
                Err(_) => break,
            }
        }
        Err(SeedError::UnknownKind { file: file.to_path_buf(), object: named(object) })
    }
}

/// Tells whether a refusal passes by itself: a controller has yet to do its part, or the server is busy.
fn passes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    match status.code {
        403 => {
            status.message.contains("error looking up service account")
                || status.message.contains("status unknown for quota")
        }
        429 | 500 | 503 | 504 => true,
        _ => false,
    }
}

fn is_namespace(object: &Value) -> bool {
    text(object, "/apiVersion") == "v1" && text(object, "/kind") == "Namespace"
}

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// Names an object for messages: `Kind namespace/name`.
pub(super) fn named(object: &Value) -> String {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    match text(object, "/metadata/namespace") {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}
