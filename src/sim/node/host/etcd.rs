//! What the etcd of a control plane answers: values by their keys, to those who show the right certificates.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;

use super::{Container, ContainerState, NodeHost};
use crate::sim::api::protobuf;
use crate::sim::api::resources::Resources;
use crate::sim::pki::der;
use crate::sim::resource::GroupResource;
use crate::sim::store::Entry;

/// Who asks etcd, with the contents of the files that were named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EtcdClient {
    /// `https://127.0.0.1:2379`, or without a scheme.
    pub endpoint: String,
    /// `--cacert`: the authority that the server is trusted by.
    pub authority: Option<String>,
    /// `--cert`.
    pub certificate: Option<String>,
    /// `--key`.
    pub key: Option<String>,
}

/// A key with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdKey {
    /// The key, such as `/registry/secrets/default/token`.
    pub key: String,
    /// What is stored.
    pub value: Vec<u8>,
    /// The revision of the last change.
    pub revision: u64,
}

/// The groups whose objects lie under their own name, beside those that are not built in.
const GROUPED: [&str; 2] = ["apiextensions.k8s.io", "apiregistration.k8s.io"];
/// Resources that lie elsewhere than under their name.
const ELSEWHERE: [(&str, &str, &str); 5] = [
    ("", "nodes", "minions"),
    ("", "services", "services/specs"),
    ("", "endpoints", "services/endpoints"),
    ("", "replicationcontrollers", "controllers"),
    ("networking.k8s.io", "ingresses", "ingress"),
];

static BUILTIN: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| Resources::builtin().groups().iter().map(|group| group.name.clone()).collect());

/// Returns the folder in which the objects of a resource lie: `/registry/secrets`.
pub(in crate::sim) fn folder(resource: &GroupResource) -> String {
    let (group, name) = (&*resource.group, &*resource.resource);
    if let Some((.., path)) = ELSEWHERE.iter().find(|(g, r, _)| *g == group && *r == name) {
        return format!("/registry/{path}");
    }
    if GROUPED.contains(&group) || !BUILTIN.contains(group) {
        return format!("/registry/{group}/{name}");
    }
    format!("/registry/{name}")
}

/// Returns the key of an object.
pub(in crate::sim) fn key(resource: &GroupResource, entry: &Entry) -> String {
    match entry.namespace() {
        "" => format!("{}/{}", folder(resource), entry.name()),
        namespace => format!("{}/{namespace}/{}", folder(resource), entry.name()),
    }
}

/// Returns an object as it is stored when nothing encrypts it: protobuf, or JSON where the kind is not built in.
pub(in crate::sim) fn plain(entry: &Entry) -> Vec<u8> {
    let mut object = serde_json::Value::clone(&entry.object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // The revision is etcd's own to tell.
        metadata.remove("resourceVersion");
    }
    protobuf::write(&object).unwrap_or_else(|| serde_json::to_vec(&object).unwrap_or_default())
}

impl NodeHost {
    /// Returns the values whose key is `key` or, with `prefix`, begins with it, in the order of their keys.
    ///
    /// # Errors
    /// Why the connection fails, in the words that etcd's client has for it after `desc = `.
    pub fn etcd(&self, client: &EtcdClient, key: &str, prefix: bool) -> Result<Vec<EtcdKey>, String> {
        self.etcd_connect(client)?;
        Ok(self.etcd_keys(key, prefix))
    }

    /// Returns what lies in etcd, whoever asks: for checks of what is stored.
    pub fn etcd_keys(&self, key: &str, prefix: bool) -> Vec<EtcdKey> {
        let wanted = |found: &str| if prefix { found.starts_with(key) } else { found == key };
        let mut found = Vec::new();
        for resource in self.store().resources() {
            let folder = folder(&resource);
            if !(key.starts_with(&folder) || folder.starts_with(key)) {
                continue;
            }
            for entry in self.store().list(&resource, None) {
                let at = self::key(&resource, &entry);
                if wanted(&at) {
                    found.push(EtcdKey {
                        key: at,
                        value: entry.sealed().map_or_else(|| plain(&entry), |sealed| sealed.to_vec()),
                        revision: entry.revision,
                    });
                }
            }
            for locked in self.store().all_locked(&resource, None) {
                let at = format!("{folder}/{}", locked.key);
                if wanted(&at) {
                    found.push(EtcdKey { key: at, value: locked.stored.to_vec(), revision: locked.revision });
                }
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found
    }

    /// Finds the etcd that runs here.
    fn etcd_container(&self) -> Option<Container> {
        let is_etcd = |c: &Container| {
            c.state == ContainerState::Running && c.command.first().is_some_and(|word| word == "etcd")
        };
        self.containers().into_iter().find(is_etcd)
    }

    /// Tells whether an etcd runs here that can be connected to.
    pub(in crate::sim) fn shows_etcd(&self) -> bool {
        self.etcd_container().is_some()
    }

    /// Tries to connect as a client does.
    ///
    /// # Errors
    /// As [`NodeHost::etcd`].
    pub fn etcd_connect(&self, client: &EtcdClient) -> Result<(), String> {
        let (scheme, address) = match client.endpoint.split_once("://") {
            Some((scheme, address)) => (scheme, address),
            None => ("http", client.endpoint.as_str()),
        };
        let refused = || {
            Err(format!(
                "\"transport: Error while dialing: dial tcp {address}: connect: connection refused\""
            ))
        };
        let Some(server) = self.etcd_container() else { return refused() };
        let flag = |name: &str| {
            let prefix = format!("--{name}=");
            server.command.iter().rev().find_map(|word| word.strip_prefix(&prefix)).unwrap_or_default()
        };
        let listens = flag("listen-client-urls").split(',').filter_map(|url| url.split_once("://"));
        let Some((served, _)) = listens.clone().find(|(_, at)| same_address(at, address)) else {
            return refused();
        };
        if served == "http" {
            return Ok(());
        }
        // With any of its files given, the client speaks TLS whatever the endpoint says.
        if scheme != "https" && client.authority.is_none() && client.certificate.is_none() {
            return Err("\"error reading server preface: EOF\"".to_owned());
        }
        let read = |path: &str| self.tree().read_text(path).unwrap_or_default();
        let own = read(flag("cert-file"));
        if !client.authority.as_deref().is_some_and(|authority| signs(authority, &own)) {
            return Err(
                "\"transport: authentication handshake failed: tls: failed to verify certificate: x509: \
                        certificate signed by unknown authority\""
                    .to_owned(),
            );
        }
        let trusted = flag("trusted-ca-file");
        if trusted.is_empty() && flag("client-cert-auth") != "true" {
            return Ok(());
        }
        let remote = |why: &str| Err(format!("\"error reading server preface: remote error: tls: {why}\""));
        match &client.certificate {
            None => remote("certificate required"),
            Some(certificate) if !signs(&read(trusted), certificate) => {
                remote("unknown certificate authority")
            }
            Some(_) if client.key.is_none() => remote("certificate required"),
            Some(_) => Ok(()),
        }
    }
}

/// Compares two addresses with ports; `localhost` is one of this machine's.
fn same_address(a: &str, b: &str) -> bool {
    a.replace("localhost", "127.0.0.1") == b.replace("localhost", "127.0.0.1")
}

/// Tells whether an authority has signed a certificate, both as PEM.
fn signs(authority: &str, certificate: &str) -> bool {
    let (Some(authority), Some(certificate)) = (der(authority), der(certificate)) else { return false };
    let parsed =
        |der| x509_parser::parse_x509_certificate(der).map(|(_, parsed): (_, X509Certificate<'_>)| parsed);
    match (parsed(&authority), parsed(&certificate)) {
        (Ok(authority), Ok(certificate)) => {
            certificate.verify_signature(Some(authority.public_key())).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lie_where_an_api_server_puts_them() {
        let ask = |group: &'static str, name: &'static str| folder(&GroupResource::of(group, name));
        assert_eq!(ask("", "secrets"), "/registry/secrets");
        assert_eq!(ask("", "nodes"), "/registry/minions");
        assert_eq!(ask("apps", "deployments"), "/registry/deployments");
        assert_eq!(ask("rbac.authorization.k8s.io", "roles"), "/registry/roles");
        assert_eq!(
            ask("apiextensions.k8s.io", "customresourcedefinitions"),
            "/registry/apiextensions.k8s.io/customresourcedefinitions"
        );
        assert_eq!(ask("example.com", "widgets"), "/registry/example.com/widgets");
    }
}
