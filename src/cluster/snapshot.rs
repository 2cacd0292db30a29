//! What is in a cluster at a moment, by name and resource version, so that two moments can be compared. Reads metadata
//! alone; what only ticks, such as leases and events, is left out.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, verbs};
use kube::{Client, ResourceExt as _};

/// Kinds that change by themselves, and those that are made of others.
const TICKING: [&str; 7] =
    ["Event", "Lease", "ComponentStatus", "Endpoints", "EndpointSlice", "NodeMetrics", "PodMetrics"];

/// Looks at one cluster again and again.
pub struct Eye {
    client: Client,
    kinds: Vec<ApiResource>,
    /// The definitions of custom kinds when the kinds were asked for.
    defined: BTreeSet<String>,
    revision: String,
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<Name, Seen>);

/// An object, such as `Role shop/reader`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: String,
    version: String,
    /// Whether another object keeps it, as a Deployment does its Pods.
    owned: bool,
}

impl Eye {
    /// Opens it: asks the cluster what it has.
    ///
    /// # Errors
    /// The client's.
    pub async fn open(client: Client) -> Result<Self, kube::Error> {
        let kinds = kinds(&client).await?;
        Ok(Self { client, kinds, defined: BTreeSet::new(), revision: String::new() })
    }

    /// Tells whether anything at all may have happened since the last [`Eye::look`], by one small request.
    ///
    /// # Errors
    /// The client's.
    pub async fn blinks(&mut self) -> Result<bool, kube::Error> {
        let revision = revision(&self.client).await?;
        Ok(std::mem::replace(&mut self.revision, revision.clone()) != revision)
    }

    /// Looks at everything.
    ///
    /// # Errors
    /// The client's, where the cluster does not answer at all.
    pub async fn look(&mut self) -> Result<Snapshot, kube::Error> {
        self.revision = revision(&self.client).await?;
        let mut found = self.all().await?;
        let defined = found.definitions();
        if defined != self.defined {
            // A definition that came or went brings kinds with it.
            self.kinds = kinds(&self.client).await?;
            self.defined = defined;
            found = self.all().await?;
        }
        Ok(found)
    }

    async fn all(&self) -> Result<Snapshot, kube::Error> {
        let each = self.kinds.iter().map(|kind| async move {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), kind);
            match api.list_metadata(&ListParams::default()).await {
                Ok(list) => Ok(list.items.iter().map(|object| seen(kind, object)).collect::<Vec<_>>()),
                // What may not be listed is never seen, which is no change.
                Err(kube::Error::Api(_)) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        });
        let all: Vec<Vec<(Name, Seen)>> = try_join_all(each).await?;
        Ok(Snapshot(all.into_iter().flatten().collect()))
    }
}

fn seen(kind: &ApiResource, object: &PartialObjectMeta<DynamicObject>) -> (Name, Seen) {
    let name = Name {
        kind: kind.kind.clone(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    let seen = Seen {
        uid: object.uid().unwrap_or_default(),
        version: object.resource_version().unwrap_or_default(),
        owned: !object.owner_references().is_empty(),
    };
    (name, seen)
}

async fn kinds(client: &Client) -> Result<Vec<ApiResource>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let listed = |(kind, can): (ApiResource, ApiCapabilities)| {
        (can.supports_operation(verbs::LIST) && !TICKING.contains(&kind.kind.as_str())).then_some(kind)
    };
    Ok(discovery.groups().flat_map(|group| group.recommended_resources()).filter_map(listed).collect())
}

/// The version of the cluster as a whole: that of any list of it.
async fn revision(client: &Client) -> Result<String, kube::Error> {
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    let list = api.list_metadata(&ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default())
}

impl Snapshot {
    fn definitions(&self) -> BTreeSet<String> {
        let custom = self.0.keys().filter(|name| name.kind == "CustomResourceDefinition");
        custom.map(|name| name.name.clone()).collect()
    }

    /// Says what became of what there was: what somebody did first; what followed from it only where it is all there is.
    pub fn since(&self, before: &Self) -> Vec<String> {
        let mut done: Vec<(bool, String)> = Vec::new();
        for (name, seen) in &self.0 {
            let what = match before.0.get(name) {
                None => "created",
                Some(known) if known.uid != seen.uid => "replaced",
                Some(known) if known.version != seen.version => "changed",
                Some(_) => continue,
            };
            done.push((seen.owned, format!("{name} {what}")));
        }
        let gone = before.0.iter().filter(|(name, _)| !self.0.contains_key(name));
        done.extend(gone.map(|(name, seen)| (seen.owned, format!("{name} deleted"))));
        let own = done.iter().any(|(owned, _)| !owned);
        done.into_iter().filter(|(owned, _)| !own || !owned).map(|(_, text)| text).collect()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::sim::server::SimulatedCluster;

    #[tokio::test]
    async fn what_is_created_changed_and_deleted_is_named_and_nothing_else() {
        let clock = Arc::new(ManualClock::new("2026-09-01T12:00:00Z".parse().unwrap()));
        let cluster = SimulatedCluster::in_memory(clock).await.unwrap();
        let client = cluster.kube_client();
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let mut eye = Eye::open(client.clone()).await.unwrap();
        let first = eye.look().await.unwrap();
        assert!(first.0.len() > 50, "{}", first.0.len());
        assert_eq!(eye.look().await.unwrap().since(&first), Vec::<String>::new());

        let map = |name: &str| serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        maps.create(&PostParams::default(), &map("one")).await.unwrap();
        assert!(eye.blinks().await.unwrap());
        let second = eye.look().await.unwrap();
        assert_eq!(second.since(&first), ["ConfigMap default/one created"]);
        let change = Patch::Merge(json!({"data": {"a": "b"}}));
        maps.patch("one", &PatchParams::default(), &change).await.unwrap();
        let third = eye.look().await.unwrap();
        assert_eq!(third.since(&second), ["ConfigMap default/one changed"]);
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        let fourth = eye.look().await.unwrap();
        assert_eq!(fourth.since(&third), ["ConfigMap default/one deleted"]);
        assert!(!eye.blinks().await.unwrap(), "nothing has happened since");
    }

    #[test]
    fn what_follows_from_a_change_is_named_only_where_nobody_did_anything() {
        let name = |kind: &str| Name { kind: kind.into(), namespace: "shop".into(), name: "web".into() };
        let seen = |owned| Seen { uid: "1".into(), version: "1".into(), owned };
        let pod = Snapshot([(name("Pod"), seen(true))].into());
        let both = Snapshot([(name("Pod"), seen(true)), (name("Deployment"), seen(false))].into());
        assert_eq!(pod.since(&Snapshot::default()), ["Pod shop/web created"]);
        assert_eq!(both.since(&Snapshot::default()), ["Deployment shop/web created"]);
    }
}
