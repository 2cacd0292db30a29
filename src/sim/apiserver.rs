//! What a kube-apiserver makes of its command line and of the files that this names, or why it does not start, in its own
//! words. Knows no node and no port: files come from whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::admission::{self, Chain};
use super::api::resources::Resources;
use super::api::{Settings, parse_yaml};
use super::attributes::UserInfo;
use super::audit;
use super::authn::{Anonymous, Authenticator};
use super::authz::{Mode, ModeError};
use super::encryption::{self, Encryption};
use super::flags::{Flags, Program};
use super::object::Fields as _;
use super::pki::Pki;
use crate::clock::Clock;

mod authentication;
mod tls;

pub(in crate::sim) use tls::Tls;

/// The versions that can be switched on, and the feature that each of them belongs to.
const OPTIONAL: [(&str, &str); 1] = [("admissionregistration.k8s.io/v1beta1", "MutatingAdmissionPolicy")];

/// Why an API server does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Failure {
    /// Its flags were not understood: it prints its usage.
    Usage(String),
    /// What the flags say cannot be done.
    Start(String),
}

/// What an API server goes by.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Configuration {
    /// The flags themselves.
    pub flags: Flags,
    pub modes: Vec<Mode>,
    pub anonymous: Anonymous,
    pub admission: admission::Settings,
    pub tls: Tls,
    /// The authorities of clients; none where `--client-ca-file` is not given.
    pub client_authorities: Vec<CertificateDer<'static>>,
    pub tokens: BTreeMap<String, UserInfo>,
    /// The public keys of service-account tokens, as PEM.
    pub token_keys: Vec<String>,
    pub profiling: bool,
    /// What is said at the start although nothing is wrong.
    pub warnings: Vec<String>,
    /// The audit policy's text, where `--audit-policy-file` names one; it has been read once.
    pub audit_policy: Option<String>,
    /// What values are encrypted with: `--encryption-provider-config`.
    pub encryption: Option<Arc<Encryption>>,
}

/// Reads files as the program sees them; the error is in Go's words: `open /x: no such file or directory`.
pub(in crate::sim) type Read<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Configuration {
    /// Reads a command line, without the name of the program.
    ///
    /// # Errors
    /// [`Failure`] when a server would not start with it.
    pub fn read(arguments: &[String], read: Read<'_>) -> Result<Self, Failure> {
        let flags =
            Flags::parse(Program::ApiServer, arguments).map_err(|error| Failure::Usage(error.to_string()))?;
        let start = |why: String| Failure::Start(why);
        let (modes, admission) = validate(&flags)?;
        let tls = Tls::read(&flags, read).map_err(start)?;
        let mut warnings = Vec::new();
        let file = |name: &str| -> Result<Option<String>, Failure> {
            match flags.text(name) {
                "" => Ok(None),
                path => read(path).map(Some).map_err(start),
            }
        };
        for name in ["etcd-cafile", "etcd-certfile", "etcd-keyfile"] {
            file(name)?;
        }
        let clients = file("client-ca-file")?;
        let client_authorities = match (&clients, flags.text("client-ca-file")) {
            (Some(text), path) => certificates(text)
                .map_err(|why| start(format!("unable to load client CA file {path:?}: {why}")))?,
            (None, _) => Vec::new(),
        };
        file("requestheader-client-ca-file")?;
        let anonymous = authentication::anonymous(&flags, read, &modes, &mut warnings).map_err(start)?;
        let tokens = match file("token-auth-file")? {
            Some(text) => authentication::tokens(&text).map_err(start)?,
            None => BTreeMap::new(),
        };
        let mut token_keys = Vec::new();
        let mut key_files: Vec<&str> =
            flags.all("service-account-key-file").iter().map(String::as_str).collect();
        if key_files.is_empty() {
            key_files.push(flags.text("service-account-signing-key-file"));
        }
        for path in key_files {
            let text = read(path).map_err(start)?;
            if !text.contains("-----BEGIN ") {
                let why = "data does not contain any valid RSA or ECDSA public keys";
                return Err(start(format!("error reading public key file {path}: {why}")));
            }
            token_keys.push(text);
        }
        let signing = flags.text("service-account-signing-key-file");
        read(signing)
            .map_err(|why| start(format!("failed to parse service-account-issuer-key-file: {why}")))?;
        for name in [
            "kubelet-client-certificate",
            "kubelet-client-key",
            "proxy-client-cert-file",
            "proxy-client-key-file",
        ] {
            file(name)?;
        }
        let encryption = match flags.text("encryption-provider-config") {
            "" => None,
            path => {
                let text = read(path).map_err(|why| {
                    start(format!(
                        "error while parsing file: error while loading file: error reading encryption provider \
                         configuration file {path:?}: {why}"
                    ))
                })?;
                Some(Arc::new(encryption::load(&text, path).map_err(start)?))
            }
        };
        let admission = configure(admission, &flags, read)?;
        let audit_policy = match flags.text("audit-policy-file") {
            "" => None,
            path => {
                let text = read(path).map_err(|why| {
                    start(format!("loading audit policy file: failed to read file path {path:?}: {why}"))
                })?;
                let (_, warning) = audit::load(&text, path)
                    .map_err(|why| start(format!("loading audit policy file: {why}")))?;
                warnings.extend(warning.map(|warning| format!("reader.go:81] {warning}")));
                Some(text)
            }
        };
        Ok(Self {
            modes,
            anonymous,
            admission,
            tls,
            client_authorities,
            tokens,
            token_keys,
            profiling: flags.truth("profiling", true),
            warnings,
            audit_policy,
            encryption,
            flags,
        })
    }

    /// Makes what a server is run with.
    ///
    /// # Errors
    /// Why the server ends, in its words.
    pub fn settings(&self, pki: &Arc<Pki>, clock: &Arc<dyn Clock>) -> Result<Settings, String> {
        let admission = Chain::configured(&self.admission).map_err(|error| error.to_string())?;
        let own = pki.token_public_pem().map_err(|error| error.to_string())?;
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        let trusted = |text: &String| {
            let text = squeeze(text);
            text.contains(&squeeze(&own)) || text.contains(&squeeze(pki.token_key_pem()))
        };
        let authenticator = Authenticator::new(pki.clone(), clock.clone(), true)?
            .with_anonymous(self.anonymous.clone())
            .with_client_authorities(&self.client_authorities)?
            .with_tokens(self.tokens.clone())
            .with_accounts(self.token_keys.iter().any(trusted));
        Ok(Settings {
            resources: self.resources(),
            modes: self.modes.clone(),
            admission,
            authenticator,
            profiling: self.profiling,
        })
    }

    /// Returns what is served.
    fn resources(&self) -> Resources {
        Resources::with_versions(&versions(
            &self.flags.list("runtime-config"),
            &self.flags.list("feature-gates"),
        ))
    }
}

/// Returns the optional versions that are switched on.
pub(in crate::sim) fn versions(runtime: &[String], features: &[String]) -> Vec<&'static str> {
    let is_on = |list: &[String], names: &[&str]| {
        let on = |entry: &String| {
            let (name, value) = entry.split_once('=').unwrap_or((entry, "true"));
            names.contains(&name) && value == "true"
        };
        list.iter().any(on)
    };
    OPTIONAL
        .iter()
        .filter(|(version, feature)| {
            is_on(runtime, &[version, "api/beta", "api/all"]) && is_on(features, &[feature, "AllBeta"])
        })
        .map(|(version, _)| *version)
        .collect()
}

/// Checks what can be checked without a file; all that is wrong is told at once.
fn validate(flags: &Flags) -> Result<(Vec<Mode>, admission::Settings), Failure> {
    let mut wrong: Vec<String> = Vec::new();
    if flags.list("etcd-servers").is_empty() {
        wrong.push("--etcd-servers must be specified".to_owned());
    }
    let port = flags.number("secure-port", 6443);
    if !(1..=65535).contains(&port) {
        wrong.push(format!(
            "--secure-port {port} must be between 1 and 65535, inclusive. It cannot be turned off with 0"
        ));
    }
    for name in ["audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"] {
        let number = flags.number(name, 0);
        if number < 0 {
            wrong.push(format!("--{name} {number} can't be a negative number"));
        }
    }
    let format = flags.text("audit-log-format");
    if !matches!(format, "" | "json" | "legacy") {
        wrong.push(format!("invalid audit log format {format}, allowed formats are \"legacy,json\""));
    }
    for name in ["audit-log-mode", "audit-webhook-mode"] {
        let mode = flags.text(name);
        if !matches!(mode, "" | "batch" | "blocking" | "blocking-strict") {
            wrong.push(format!(
                "invalid audit {} mode {mode}, allowed modes are \"batch,blocking,blocking-strict\"",
                name.split('-').nth(1).unwrap_or_default()
            ));
        }
    }
    if flags.text("service-account-signing-key-file").is_empty()
        || flags.all("service-account-issuer").is_empty()
    {
        wrong.push(
            "--service-account-signing-key-file and --service-account-issuer are required flags".to_owned(),
        );
    }
    let given = flags.list("authorization-mode").join(",");
    let list = if flags.has("authorization-mode") { given.as_str() } else { "AlwaysAllow" };
    let modes = Mode::parse_list(list).unwrap_or_else(|error| {
        wrong.push(match &error {
            ModeError::NotSimulated(mode)
                if mode == "Webhook" && flags.text("authorization-webhook-config-file").is_empty() =>
            {
                "authorization-mode Webhook's authorization config file not passed".to_owned()
            }
            ModeError::NotSimulated(mode)
                if mode == "ABAC" && flags.text("authorization-policy-file").is_empty() =>
            {
                "authorization-mode ABAC's authorization policy file not passed".to_owned()
            }
            other => other.to_string(),
        });
        Vec::new()
    });
    if !flags.text("authorization-config").is_empty() {
        wrong.push("--authorization-config is not simulated".to_owned());
    }
    let admission = admission::Settings {
        enable: flags.list("enable-admission-plugins"),
        disable: flags.list("disable-admission-plugins"),
        ..admission::Settings::default()
    };
    wrong.extend(Chain::faults(&admission));
    match wrong.as_slice() {
        [] => Ok((modes, admission)),
        [one] => Err(Failure::Start(one.clone())),
        many => Err(Failure::Start(format!("[{}]", many.join(", ")))),
    }
}

/// Reads `--admission-control-config-file` and what it names.
fn configure(
    mut settings: admission::Settings,
    flags: &Flags,
    read: Read<'_>,
) -> Result<admission::Settings, Failure> {
    let failed = |error: admission::SettingsError| Failure::Start(error.to_string());
    match flags.text("admission-control-config-file") {
        "" => {}
        path => settings.configure(path, &|path| read(path).ok()).map_err(failed)?,
    }
    Chain::configured(&settings).map_err(failed)?;
    Ok(settings)
}

/// Reads the certificates of a PEM text.
fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    use rustls::pki_types::pem::PemObject as _;
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).flatten().collect();
    if found.is_empty() {
        return Err("data does not contain any valid RSA or ECDSA certificates".to_owned());
    }
    Ok(found)
}

/// Reads a document of a configuration file.
fn document(text: &str) -> Result<Value, String> {
    parse_yaml(text)
}

/// Returns the kind of a document with its version.
fn kind(document: &Value) -> (&str, &str) {
    (document.text("apiVersion"), document.text("kind"))
}

#[cfg(test)]
mod tests;
