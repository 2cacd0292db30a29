//! Encryption at rest: what `--encryption-provider-config` makes of values on their way to etcd and back.
//!
//! Upstream: `k8s.io/apiserver/pkg/server/options/encryptionconfig`, `pkg/storage/value/encrypt`.

mod cipher;
mod config;
#[cfg(test)]
mod tests;

pub use self::config::load;

use self::cipher::Provider;
use super::resource::GroupResource;
use super::store::Transformer;

/// What every sealed value begins with.
const SEALED: &[u8] = b"k8s:enc:";

/// The providers of each resource, as one API server has them.
#[derive(Debug)]
pub struct Encryption {
    groups: Vec<Group>,
}

/// Resources that share providers. The first provider writes, all of them read.
#[derive(Debug)]
struct Group {
    /// `secrets`, `deployments.apps`, `*.apps`, `*.`, `*.*`.
    resources: Vec<String>,
    providers: Vec<Provider>,
}

impl Group {
    fn covers(&self, resource: &GroupResource) -> bool {
        self.resources.iter().any(|pattern| match pattern.split_once('.') {
            None => resource.group.is_empty() && *pattern == *resource.resource,
            Some(("*", "*")) => true,
            Some(("*", group)) => *resource.group == *group,
            Some((name, group)) => *resource.resource == *name && *resource.group == *group,
        })
    }
}

impl Encryption {
    fn providers(&self, resource: &GroupResource) -> Option<&[Provider]> {
        self.groups.iter().find(|group| group.covers(resource)).map(|group| group.providers.as_slice())
    }
}

impl Transformer for Encryption {
    fn covers(&self, resource: &GroupResource) -> bool {
        self.providers(resource).is_some()
    }

    fn seal(&self, resource: &GroupResource, key: &str, plain: &[u8]) -> Option<Vec<u8>> {
        self.providers(resource)?.first()?.seal(&context(resource, key), plain)
    }

    fn unseal(&self, resource: &GroupResource, key: &str, stored: &[u8]) -> Result<Vec<u8>, String> {
        let Some(providers) = self.providers(resource) else { return unsealed(stored) };
        let context = context(resource, key);
        for provider in providers {
            if let Some(opened) = provider.unseal(&context, stored) {
                return opened;
            }
        }
        Err("no matching prefix found".to_owned())
    }

    fn is_stale(&self, resource: &GroupResource, stored: &[u8]) -> bool {
        let first = self.providers(resource).and_then(<[Provider]>::first);
        first.is_some_and(|provider| !provider.wrote(stored))
    }
}

/// Returns a value of a resource that is not encrypted.
///
/// # Errors
/// When it is.
pub(crate) fn unsealed(stored: &[u8]) -> Result<Vec<u8>, String> {
    if is_sealed(stored) {
        return Err("identity transformer tried to read encrypted data".to_owned());
    }
    Ok(stored.to_vec())
}

/// Tells whether a value was encrypted by any provider.
pub(crate) fn is_sealed(stored: &[u8]) -> bool {
    stored.starts_with(SEALED)
}

/// Returns the key of a value in etcd, which AES-GCM binds the value to.
fn context(resource: &GroupResource, key: &str) -> Vec<u8> {
    format!("/registry/{}/{key}", resource.resource).into_bytes()
}
