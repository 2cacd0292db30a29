//! The kubeconfig provider: a cluster that the learner has already, used only in namespaces that a session made and
//! labelled, and only once the learner has agreed to the server and context by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::{Deserialize, Serialize};

use crate::cluster::{
    Availability, Capabilities, Capability, Cluster, ClusterError, ClusterRecord, ClusterSpec, ExecOutput,
    Found, Probe, Progress, Provider, ProviderError, Reach, SESSION_LABEL, Support,
};
use crate::persist;

/// How long the namespaces of a session may take to go.
const GONE_TIMEOUT: Duration = Duration::from_secs(120);
/// How often they are looked for meanwhile.
const GONE_INTERVAL: Duration = Duration::from_millis(500);

/// Uses a cluster that is there.
#[derive(Debug, Default)]
pub struct KubeconfigProvider;

/// A cluster that others may use too.
struct SharedCluster {
    client: kube::Client,
    kubeconfig: PathBuf,
    capabilities: Capabilities,
}

#[async_trait]
impl Provider for KubeconfigProvider {
    fn name(&self) -> &'static str {
        "kubeconfig"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities([(Capability::Api, Support::Real), (Capability::Pods, Support::Real)].into())
    }

    async fn probe(&self) -> Availability {
        // Which cluster is meant is known only with `--context`; it is looked at when it is used.
        Availability::Ready
    }

    async fn create(
        &self,
        spec: &ClusterSpec,
        progress: &dyn Progress,
    ) -> Result<ClusterRecord, ProviderError> {
        let source = spec.source_kubeconfig.as_deref().ok_or_else(|| ProviderError::Refused {
            message: "no kubeconfig was named".to_owned(),
            hint: "set KUBECONFIG or pass `--kubeconfig FILE`".to_owned(),
        })?;
        let config = read(source)?;
        let (context, server) = only(&config, spec.context.as_deref(), source)?;
        let name = context.current_context.clone().unwrap_or_default();
        if !spec.confirmed {
            return Err(ProviderError::Unconfirmed {
                question: format!(
                    "Use the cluster `{server}` through the context `{name}` of `{}`? The scenario gets namespaces of \
                     its own there, labelled `{SESSION_LABEL}={}`, which are removed when the session ends.",
                    source.display(),
                    spec.name
                ),
            });
        }
        progress.stage(&format!("asking {server}"));
        let client = client_of(context.clone()).await?;
        let version = client.apiserver_version().await.map_err(|error| ProviderError::Unavailable {
            message: format!("the server `{server}` of context `{name}` does not answer: {error}"),
            hint: format!("see that `kubectl --context {name} version` works"),
        })?;
        progress.detail(&format!("Kubernetes {}", version.git_version));
        may_create_namespaces(&client, &name).await?;
        persist::create_dir(&spec.dir).map_err(|source| failed("create the cluster's folder", source))?;
        let kubeconfig = spec.dir.join("kubeconfig");
        let text = serde_json::to_vec(&context)
            .map_err(|source| failed("write the session's kubeconfig", source))?;
        persist::write_atomic(&kubeconfig, &text)
            .map_err(|source| failed("write the session's kubeconfig", source))?;
        Ok(ClusterRecord {
            provider: self.name().to_owned(),
            name: spec.name.clone(),
            dir: spec.dir.clone(),
            kubeconfig,
            data: serde_json::json!({ "server": server, "context": name }),
        })
    }

    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError> {
        if !record.kubeconfig.exists() {
            return Err(ProviderError::Gone(record.name.clone()));
        }
        let client = client_of(read(&record.kubeconfig)?).await?;
        let kubeconfig = record.kubeconfig.clone();
        Ok(Box::new(SharedCluster { client, kubeconfig, capabilities: self.capabilities() }))
    }

    async fn settle(&self, record: &mut ClusterRecord) -> Result<(), ProviderError> {
        let client = client_of(read(&record.kubeconfig)?).await?;
        let made = labelled(&client, &record.name).await?;
        record.data["namespaces"] = serde_json::json!(made);
        Ok(())
    }

    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError> {
        if record.kubeconfig.exists() {
            let client = client_of(read(&record.kubeconfig)?).await?;
            let noted = record.data.get("namespaces").cloned().unwrap_or_default();
            // A record without a note is that of a start which was cut short; the labels are all there is then.
            let noted: Vec<Made> = serde_json::from_value(noted).unwrap_or_default();
            remove_namespaces(&client, &record.name, noted).await?;
        }
        match std::fs::remove_dir_all(&record.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed(&format!("remove `{}`", record.dir.display()), error))
            }
            _ => Ok(()),
        }
    }

    async fn find(&self) -> Result<Vec<Found>, ProviderError> {
        // A cluster of the learner's is never searched: only the sessions that were started there know of it.
        Ok(Vec::new())
    }

    async fn remove(&self, _name: &str) -> Result<(), ProviderError> {
        // Without its record there is no telling which cluster a name belongs to.
        Ok(())
    }
}

#[async_trait]
impl Cluster for SharedCluster {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn node_exec(&self, _node: &str, _argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        Err(ClusterError::Missing(Capability::Nodes))
    }

    async fn reach(&self, _probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        Err(ClusterError::Missing(Capability::Reach))
    }

    fn exclusive(&self) -> bool {
        false
    }
}

fn read(path: &Path) -> Result<Kubeconfig, ProviderError> {
    Kubeconfig::read_from(path).map_err(|error| ProviderError::Unavailable {
        message: format!("the kubeconfig `{}` cannot be read: {error}", path.display()),
        hint: "name another with `--kubeconfig FILE`".to_owned(),
    })
}

/// Cuts a kubeconfig down to one context, with its files embedded by absolute path, and returns it with the server.
fn only(
    config: &Kubeconfig,
    context: Option<&str>,
    source: &Path,
) -> Result<(Kubeconfig, String), ProviderError> {
    let names: Vec<&str> = config.contexts.iter().map(|context| context.name.as_str()).collect();
    let Some(wanted) = context else {
        return Err(ProviderError::Refused {
            message: "no context was named, and the current one is never assumed".to_owned(),
            hint: format!("pass `--context NAME`; `{}` has: {}", source.display(), names.join(", ")),
        });
    };
    let missing = |what: &str, name: &str| ProviderError::Refused {
        message: format!("`{}` has no {what} `{name}`", source.display()),
        hint: format!("its contexts are: {}", names.join(", ")),
    };
    let named = config
        .contexts
        .iter()
        .find(|named| named.name == wanted)
        .ok_or_else(|| missing("context", wanted))?;
    let context = named.context.as_ref().ok_or_else(|| missing("content for context", wanted))?;
    let cluster = config
        .clusters
        .iter()
        .find(|named| named.name == context.cluster)
        .ok_or_else(|| missing("cluster", &context.cluster))?;
    let server = cluster.cluster.as_ref().and_then(|cluster| cluster.server.clone()).unwrap_or_default();
    let user = context.user.as_deref();
    let auth_infos =
        config.auth_infos.iter().filter(|named| Some(named.name.as_str()) == user).cloned().collect();
    let cut = Kubeconfig {
        current_context: Some(wanted.to_owned()),
        contexts: vec![named.clone()],
        clusters: vec![cluster.clone()],
        auth_infos,
        ..Kubeconfig::default()
    };
    Ok((cut, server))
}

async fn client_of(config: Kubeconfig) -> Result<kube::Client, ProviderError> {
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
        .await
        .map_err(|source| failed("use the kubeconfig", source))?;
    kube::Client::try_from(config).map_err(|source| failed("use the kubeconfig", source))
}

async fn may_create_namespaces(client: &kube::Client, context: &str) -> Result<(), ProviderError> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some("create".to_owned()),
                resource: Some("namespaces".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews
        .create(&PostParams::default(), &review)
        .await
        .map_err(|source| failed("ask what this user may do", source))?;
    if answer.status.is_some_and(|status| status.allowed) {
        return Ok(());
    }
    Err(ProviderError::Refused {
        message: format!("the user of context `{context}` may not create namespaces"),
        hint: "ask for a context that may, or use `--provider sim`".to_owned(),
    })
}

/// A namespace that a session made: its name, and what tells it from another of that name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    name: String,
    uid: String,
}

/// Returns the namespaces that carry the session's label.
async fn labelled(client: &kube::Client, session: &str) -> Result<Vec<Made>, ProviderError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{SESSION_LABEL}={session}"));
    let listed =
        namespaces.list(&ours).await.map_err(|source| failed("list the session's namespaces", source))?;
    let made = listed.into_iter().map(|namespace| namespace.metadata);
    Ok(made.filter_map(|metadata| Some(Made { name: metadata.name?, uid: metadata.uid? })).collect())
}

/// Deletes what carries the session's label and what was noted, should a label have got lost, and waits until it is
/// gone.
async fn remove_namespaces(
    client: &kube::Client,
    session: &str,
    noted: Vec<Made>,
) -> Result<(), ProviderError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut made = labelled(client, session).await?;
    made.extend(noted);
    for Made { name, uid } in &made {
        // It answers at once; the namespaces then go side by side. One of the same name that somebody else has made
        // since is another one.
        let own = Preconditions { uid: Some(uid.clone()), ..Preconditions::default() };
        let how = DeleteParams { preconditions: Some(own), ..DeleteParams::background() };
        match namespaces.delete(name, &how).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(source) => return Err(failed("delete the session's namespaces", source)),
        }
    }
    let gone = async {
        for Made { name, uid } in &made {
            loop {
                let there = namespaces.get_opt(name).await;
                let there = there.map_err(|source| failed("look for the session's namespaces", source))?;
                if there.and_then(|namespace| namespace.metadata.uid).as_ref() != Some(uid) {
                    break;
                }
                tokio::time::sleep(GONE_INTERVAL).await;
            }
        }
        Ok(())
    };
    tokio::time::timeout(GONE_TIMEOUT, gone).await.unwrap_or_else(|_| {
        let names: Vec<&str> = made.iter().map(|made| made.name.as_str()).collect();
        Err(ProviderError::Failed {
            message: format!("the session's namespaces are still there: {}", names.join(", ")),
            source: None,
        })
    })
}

fn failed(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::Failed { message: format!("failed to {what}"), source: Some(Box::new(source)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "
apiVersion: v1
kind: Config
current-context: prod
clusters:
- {name: a, cluster: {server: 'https://a.example:6443'}}
- {name: b, cluster: {server: 'https://b.example:6443'}}
users:
- {name: ua, user: {token: ta}}
- {name: ub, user: {token: tb}}
contexts:
- {name: prod, context: {cluster: a, user: ua}}
- {name: play, context: {cluster: b, user: ub}}
";

    fn config() -> Kubeconfig {
        Kubeconfig::from_yaml(TWO).unwrap()
    }

    #[test]
    fn takes_nothing_but_the_context_that_was_named() {
        let (cut, server) = only(&config(), Some("play"), Path::new("kc")).unwrap();
        assert_eq!(server, "https://b.example:6443");
        let text = serde_json::to_string(&cut).unwrap();
        assert!(text.contains("play") && text.contains("tb"), "{text}");
        assert!(!text.contains("prod") && !text.contains("ta\"") && !text.contains("a.example"), "{text}");
    }

    #[test]
    fn never_assumes_the_current_context() {
        let error = only(&config(), None, Path::new("kc")).unwrap_err();
        assert!(matches!(error, ProviderError::Refused { hint, .. } if hint.contains("prod, play")));
        let error = only(&config(), Some("nope"), Path::new("kc")).unwrap_err();
        assert!(error.to_string().contains("no context `nope`"));
    }

    #[tokio::test]
    async fn asks_before_it_touches_a_cluster() {
        struct Silent;
        impl Progress for Silent {
            fn stage(&self, _text: &str) {}
            fn detail(&self, _text: &str) {}
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kc");
        std::fs::write(&file, TWO).unwrap();
        let spec = ClusterSpec {
            name: "s1".to_owned(),
            dir: dir.path().join("cluster"),
            context: Some("play".to_owned()),
            source_kubeconfig: Some(file),
            ..ClusterSpec::default()
        };
        let error = KubeconfigProvider.create(&spec, &Silent).await.unwrap_err();
        let ProviderError::Unconfirmed { question } = error else { panic!("{error}") };
        assert!(question.contains("https://b.example:6443") && question.contains("`play`"), "{question}");
        assert!(!spec.dir.exists());
    }
}
