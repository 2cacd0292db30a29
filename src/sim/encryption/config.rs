//! Reading an EncryptionConfiguration as the API server does, in its words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::cipher::{Key, Provider};
use super::{Encryption, Group};
use crate::sim::api::parse_yaml;
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;

const PROVIDERS: [&str; 5] = ["aesgcm", "aescbc", "secretbox", "identity", "kms"];

/// Reads the configuration in `text`, which lies at `path`.
///
/// # Errors
/// Why the server does not start with it: `error while parsing file: ...`.
pub fn load(text: &str, path: &str) -> Result<Encryption, String> {
    let undecoded = |why: String| {
        format!(
            "error while parsing file: error decoding encryption provider configuration file {path:?}: {why}"
        )
    };
    let document = parse_yaml(text).map_err(undecoded)?;
    let (version, kind) = (document.text("apiVersion"), document.text("kind"));
    if version != "apiserver.config.k8s.io/v1" || kind != "EncryptionConfiguration" {
        return Err(undecoded(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \
             \"pkg/server/options/encryptionconfig/config.go:142\""
        )));
    }
    let unknown = unknown(&document);
    if !unknown.is_empty() {
        let all: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        return Err(undecoded(format!("strict decoding error: {}", all.join(", "))));
    }
    let mut errors = Vec::new();
    let root = Path::new("resources");
    let entries = document.items("resources");
    if entries.is_empty() {
        errors.push(FieldError::required(&root, format!("at least one {root} is required")));
    }
    let groups: Vec<Group> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| group(entry, &root.index(index), &mut errors))
        .collect();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [] => Ok(Encryption { groups }),
        [error] => Err(format!("error while parsing file: {error}")),
        all => Err(format!("error while parsing file: [{}]", all.join(", "))),
    }
}

/// Finds keys that the configuration does not have.
fn unknown(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |of: &Value, known: &[&str], at: &str| {
        let keys = of.as_object().into_iter().flat_map(serde_json::Map::keys);
        found.extend(keys.filter(|key| !known.contains(&key.as_str())).map(|key| format!("{at}{key}")));
    };
    look(document, &["apiVersion", "kind", "resources"], "");
    for (index, entry) in document.items("resources").iter().enumerate() {
        let at = format!("resources[{index}].");
        look(entry, &["resources", "providers"], &at);
        for (nth, provider) in entry.items("providers").iter().enumerate() {
            let at = format!("{at}providers[{nth}].");
            look(provider, &PROVIDERS, &at);
            for name in PROVIDERS {
                let known: &[&str] = match name {
                    "identity" => &[],
                    "kms" => &["apiVersion", "name", "cachesize", "endpoint", "timeout"],
                    _ => &["keys"],
                };
                look(provider.at(name), known, &format!("{at}{name}."));
                for (number, key) in provider.at(name).items("keys").iter().enumerate() {
                    look(key, &["name", "secret"], &format!("{at}{name}.keys[{number}]."));
                }
            }
        }
    }
    found
}

fn group(entry: &Value, at: &Path, errors: &mut Vec<FieldError>) -> Group {
    let resources: Vec<String> = entry.texts("resources").into_iter().map(str::to_owned).collect();
    let (of_resources, of_providers) = (at.child("resources"), at.child("providers"));
    if resources.is_empty() {
        errors.push(FieldError::required(&of_resources, format!("at least one {of_resources} is required")));
    }
    let listed = entry.items("providers");
    if listed.is_empty() {
        errors.push(FieldError::required(&of_providers, format!("at least one {of_providers} is required")));
    }
    let mut providers = Vec::new();
    for (index, provider) in listed.iter().enumerate() {
        let at = of_providers.index(index);
        // `identity: {}` is a provider, `identity:` is none.
        let given: Vec<&str> = PROVIDERS.into_iter().filter(|name| provider.has(name)).collect();
        let [name] = given.as_slice() else {
            errors.push(if given.is_empty() {
                let detail = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, \
                              Identity";
                FieldError::required(&at, detail)
            } else {
                let detail = "more than one provider specified in a single element, should split into different list \
                              elements";
                FieldError::invalid(&at, provider.clone(), detail)
            });
            continue;
        };
        let of = provider.at(name);
        let mut keyed = |sizes: &[usize]| keys(of, &at.child(name).child("keys"), sizes, errors);
        providers.push(match *name {
            "aescbc" => Provider::AesCbc(keyed(&[16, 24, 32])),
            "aesgcm" => Provider::AesGcm(keyed(&[16, 24, 32])),
            "secretbox" => Provider::Secretbox(keyed(&[32])),
            "kms" => {
                let detail = "the simulated API server has no KMS plugins";
                errors.push(FieldError::forbidden(&at.child("kms"), detail));
                continue;
            }
            _ => Provider::Identity,
        });
    }
    Group { resources, providers }
}

fn keys(of: &Value, at: &Path, sizes: &[usize], errors: &mut Vec<FieldError>) -> Vec<Key> {
    let listed = of.items("keys");
    if listed.is_empty() {
        errors.push(FieldError::required(at, format!("at least one {at} is required")));
    }
    let mut keys = Vec::new();
    for (index, key) in listed.iter().enumerate() {
        let at = at.index(index);
        let name = key.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), "name is a mandatory field for a key"));
        }
        let of_secret = at.child("secret");
        let text = key.text("secret");
        if text.is_empty() {
            errors.push(FieldError::required(&of_secret, "secret is a mandatory field for a key"));
            continue;
        }
        let Ok(secret) = STANDARD.decode(text) else {
            errors.push(FieldError::invalid(&of_secret, "REDACTED", "secrets must be base64 encoded"));
            continue;
        };
        if !sizes.contains(&secret.len()) {
            let wanted: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            let detail = format!(
                "secret is not of the expected length, got {}, expected one of [{}]",
                secret.len(),
                wanted.join(" ")
            );
            errors.push(FieldError::invalid(&of_secret, "REDACTED", detail));
            continue;
        }
        keys.push(Key { name: name.to_owned(), secret });
    }
    keys
}
