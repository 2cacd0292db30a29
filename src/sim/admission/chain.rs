//! Which plugins there are, which are on, and in what order they run: the order is fixed, whatever the flags say.

use std::fmt;
use std::sync::Arc;

use super::always::{AlwaysAdmit, AlwaysDeny};
use super::always_pull_images::AlwaysPullImages;
use super::certificates::approval::CertificateApproval;
use super::certificates::attest::ClusterTrustBundleAttest;
use super::certificates::signing::CertificateSigning;
use super::certificates::subject_restriction::CertificateSubjectRestriction;
use super::default_ingress_class::DefaultIngressClass;
use super::default_toleration_seconds::DefaultTolerationSeconds;
use super::deny_service_external_ips::DenyServiceExternalIPs;
use super::image_policy::{self, ImagePolicyWebhook};
use super::limit_ranger::LimitRanger;
use super::mutating_policy::MutatingAdmissionPolicy;
use super::namespace_exists::NamespaceExists;
use super::namespace_lifecycle::NamespaceLifecycle;
use super::node_restriction::NodeRestriction;
use super::owner_references::OwnerReferencesPermissionEnforcement;
use super::placement::anti_affinity::LimitPodHardAntiAffinityTopology;
use super::placement::extended_resource_toleration::ExtendedResourceToleration;
use super::placement::node_selector::PodNodeSelector;
use super::placement::taint_nodes::TaintNodesByCondition;
use super::placement::toleration_restriction::PodTolerationRestriction;
use super::pod_security::{self, PodSecurity};
use super::priority::Priority;
use super::reinvocation::Reinvocation;
use super::resource_quota::{Ledger, ResourceQuota};
use super::runtime_class::RuntimeClass;
use super::service_account::ServiceAccount;
use super::storage::default_class::DefaultStorageClass;
use super::storage::in_use_protection::StorageObjectInUseProtection;
use super::storage::resize::PersistentVolumeClaimResize;
use super::validating_policy::ValidatingAdmissionPolicy;
use super::webhook::mutating::MutatingAdmissionWebhook;
use super::webhook::validating::ValidatingAdmissionWebhook;
use super::{AdmissionCx, AdmissionRequest, Plugin};
use serde_json::Value;

use crate::sim::api::parse_yaml;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// What an API server's flags and files say of admission.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `--enable-admission-plugins`: in addition to those that are on by default.
    pub enable: Vec<String>,
    /// `--disable-admission-plugins`: although on by default.
    pub disable: Vec<String>,
    /// PodSecurity's own configuration.
    pub pod_security: pod_security::Configuration,
    /// ImagePolicyWebhook's own configuration, without which it cannot be enabled.
    pub image_policy: Option<image_policy::Configuration>,
}

impl Settings {
    /// What kubeadm sets.
    pub fn kubeadm() -> Self {
        Self { enable: vec!["NodeRestriction".to_owned()], ..Self::default() }
    }

    /// Reads `--admission-control-config-file` (AdmissionConfiguration) and what it names; `read` returns the content of
    /// a file.
    ///
    /// # Errors
    /// Why the server would not start with it.
    pub fn configure(
        &mut self,
        path: &str,
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), SettingsError> {
        let missing = |path: &str| {
            SettingsError::Unreadable(path.to_owned(), format!("open {path}: no such file or directory"))
        };
        let parse = |path: &str| -> Result<Value, SettingsError> {
            let text = read(path).ok_or_else(|| missing(path))?;
            parse_yaml(&text).map_err(|why| SettingsError::Unreadable(path.to_owned(), why))
        };
        let document = parse(path)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for plugin in document.items("plugins") {
            let name = plugin.text("name");
            let configuration = match plugin.text("path") {
                "" => plugin.at("configuration").clone(),
                file if file.starts_with('/') => parse(file)?,
                file => parse(&format!("{folder}/{file}"))?,
            };
            let failed = |why: String| SettingsError::Plugin(name.to_owned(), why);
            match name {
                "PodSecurity" => {
                    self.pod_security =
                        pod_security::Configuration::read(&configuration).map_err(|errors| {
                            failed(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                        })?;
                }
                "ImagePolicyWebhook" => {
                    let read = image_policy::Configuration::read(&configuration, read);
                    self.image_policy = Some(read.map_err(failed)?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Why settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// `--enable-admission-plugins` names a plugin that does not exist.
    #[error("enable-admission-plugins plugin {0:?} is unknown")]
    UnknownEnabled(String),
    /// `--disable-admission-plugins` names a plugin that does not exist.
    #[error("disable-admission-plugins plugin {0:?} is unknown")]
    UnknownDisabled(String),
    /// A plugin is both enabled and disabled.
    #[error("{0} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Overlap(String),
    /// A file of the configuration cannot be read.
    #[error("failed to read plugin config: unable to read admission control configuration from {0:?} [{1}]")]
    Unreadable(String, String),
    /// A plugin cannot be made from its configuration.
    #[error("failed to apply admission: couldn't init admission plugin {0:?}: {1}")]
    Plugin(String, String),
    /// A real API server has it, the simulated one does not.
    #[error("admission plugin {0:?} is not simulated")]
    NotSimulated(String),
}

/// What plugins are made from.
struct Parts<'a> {
    settings: &'a Settings,
    ledger: &'a Arc<Ledger>,
}

type Make = fn(&Parts<'_>) -> Box<dyn Plugin>;

struct Row {
    name: &'static str,
    by_default: bool,
    make: Option<Make>,
}

macro_rules! rows {
    ($($name:literal $state:ident $(=> $make:expr)?;)*) => {
        &[$(Row { name: $name, by_default: rows!(@ $state), make: rows!(? $($make)?) }),*]
    };
    (@ on) => { true };
    (@ off) => { false };
    (? $make:expr) => { Some($make) };
    (?) => { None };
}

/// In upstream's order. A row without a maker is a plugin that is not simulated: one that is on by default does nothing
/// without configuration that cannot be given either.
const ROWS: &[Row] = rows! {
    "AlwaysAdmit" off => |_| Box::new(AlwaysAdmit);
    "NamespaceAutoProvision" off;
    "NamespaceLifecycle" on => |_| Box::new(NamespaceLifecycle);
    "NamespaceExists" off => |_| Box::new(NamespaceExists);
    "LimitPodHardAntiAffinityTopology" off => |_| Box::new(LimitPodHardAntiAffinityTopology);
    "LimitRanger" on => |_| Box::new(LimitRanger);
    "ServiceAccount" on => |_| Box::new(ServiceAccount);
    "NodeRestriction" off => |_| Box::new(NodeRestriction);
    "TaintNodesByCondition" on => |_| Box::new(TaintNodesByCondition);
    "AlwaysPullImages" off => |_| Box::new(AlwaysPullImages);
    "ImagePolicyWebhook" off => |parts| Box::new(ImagePolicyWebhook::new(parts.settings.image_policy.clone()));
    "PodSecurity" on => |parts| Box::new(PodSecurity::new(parts.settings.pod_security.clone()));
    "PodNodeSelector" off => |_| Box::new(PodNodeSelector);
    "Priority" on => |_| Box::new(Priority);
    "DefaultTolerationSeconds" on => |_| Box::new(DefaultTolerationSeconds);
    "PodTolerationRestriction" off => |_| Box::new(PodTolerationRestriction);
    "EventRateLimit" off;
    "ExtendedResourceToleration" off => |_| Box::new(ExtendedResourceToleration);
    "DefaultStorageClass" on => |_| Box::new(DefaultStorageClass);
    "StorageObjectInUseProtection" on => |_| Box::new(StorageObjectInUseProtection);
    "OwnerReferencesPermissionEnforcement" off => |_| Box::new(OwnerReferencesPermissionEnforcement);
    "PersistentVolumeClaimResize" on => |_| Box::new(PersistentVolumeClaimResize);
    "RuntimeClass" on => |_| Box::new(RuntimeClass);
    "CertificateApproval" on => |_| Box::new(CertificateApproval);
    "CertificateSigning" on => |_| Box::new(CertificateSigning);
    "ClusterTrustBundleAttest" on => |_| Box::new(ClusterTrustBundleAttest);
    "CertificateSubjectRestriction" on => |_| Box::new(CertificateSubjectRestriction);
    "DefaultIngressClass" on => |_| Box::new(DefaultIngressClass);
    "DenyServiceExternalIPs" off => |_| Box::new(DenyServiceExternalIPs);
    "PodTopologyLabels" on;
    "MutatingAdmissionPolicy" on => |_| Box::new(MutatingAdmissionPolicy::default());
    "MutatingAdmissionWebhook" on => |_| Box::new(MutatingAdmissionWebhook::default());
    "ValidatingAdmissionPolicy" on => |_| Box::new(ValidatingAdmissionPolicy::default());
    "ValidatingAdmissionWebhook" on => |_| Box::new(ValidatingAdmissionWebhook::default());
    "ResourceQuota" on => |parts| Box::new(ResourceQuota::new(parts.ledger.clone()));
    "AlwaysDeny" off => |_| Box::new(AlwaysDeny);
};

/// The enabled plugins, in upstream's order.
#[derive(Default)]
pub struct Chain {
    plugins: Vec<Box<dyn Plugin>>,
    ledger: Arc<Ledger>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Chain {
    /// Runs what a cluster made by kubeadm runs.
    pub fn standard() -> Self {
        Self::build(&Settings::kubeadm(), |row| row.by_default || row.name == "NodeRestriction")
    }

    /// Runs what the settings say.
    ///
    /// # Errors
    /// A plugin is unknown or not simulated, both enabled and disabled, or cannot be made.
    pub fn configured(settings: &Settings) -> Result<Self, SettingsError> {
        if let Some(fault) = faults(settings).into_iter().next() {
            return Err(fault);
        }
        if settings.enable.iter().any(|name| name == "ImagePolicyWebhook") && settings.image_policy.is_none()
        {
            let why = "no config specified".to_owned();
            return Err(SettingsError::Plugin("ImagePolicyWebhook".to_owned(), why));
        }
        let named = |list: &[String], row: &Row| list.iter().any(|name| name == row.name);
        Ok(Self::build(settings, |row| {
            (row.by_default || named(&settings.enable, row)) && !named(&settings.disable, row)
        }))
    }

    /// Returns what is wrong with the names of the plugins, in the words of a server that does not start.
    pub(in crate::sim) fn faults(settings: &Settings) -> Vec<String> {
        faults(settings).iter().map(ToString::to_string).collect()
    }

    fn build(settings: &Settings, is_on: impl Fn(&Row) -> bool) -> Self {
        let ledger = Arc::default();
        let parts = Parts { settings, ledger: &ledger };
        let makers = ROWS.iter().filter(|row| is_on(row)).filter_map(|row| row.make);
        let plugins = makers.map(|make| make(&parts)).collect();
        Self { plugins, ledger }
    }

    /// Runs the plugins in the order given.
    pub fn of(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self { plugins, ..Self::default() }
    }

    /// Returns the names of the enabled plugins.
    pub fn names(&self) -> Vec<&'static str> {
        self.plugins.iter().map(|plugin| plugin.name()).collect()
    }

    /// Returns the ledger that the quota controller recounts with.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Lets every plugin change the object, and once more when a webhook or policy has changed what others saw. What an earlier attempt at the same request reserved is given back.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        request.reservations.clear();
        request.reinvocation = Reinvocation::default();
        self.admit_once(cx, request).await?;
        if request.reinvocation.begin() {
            self.admit_once(cx, request).await?;
        }
        Ok(())
    }

    async fn admit_once(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        for plugin in &self.plugins {
            plugin.admit(cx, request).await?;
        }
        Ok(())
    }

    /// Lets every plugin judge the finished object.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        for plugin in &self.plugins {
            plugin.validate(cx, request).await?;
        }
        Ok(())
    }
}

fn faults(settings: &Settings) -> Vec<SettingsError> {
    let find = |name: &String| ROWS.iter().find(|row| row.name == name);
    let mut faults = Vec::new();
    let unknown =
        |list: &[String]| list.iter().filter(|name| find(name).is_none()).cloned().collect::<Vec<_>>();
    faults.extend(unknown(&settings.enable).into_iter().map(SettingsError::UnknownEnabled));
    faults.extend(unknown(&settings.disable).into_iter().map(SettingsError::UnknownDisabled));
    let both: Vec<&str> =
        settings.enable.iter().filter(|name| settings.disable.contains(name)).map(String::as_str).collect();
    if !both.is_empty() {
        faults.push(SettingsError::Overlap(format!("[{}]", both.join(" "))));
    }
    let missing = |name: &&String| find(name).is_some_and(|row| row.make.is_none() && !row.by_default);
    faults
        .extend(settings.enable.iter().filter(missing).map(|name| SettingsError::NotSimulated(name.clone())));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plugin_goes_by_the_name_of_its_row() {
        let settings = Settings::default();
        let ledger = Arc::default();
        for row in ROWS {
            if let Some(make) = row.make {
                assert_eq!(make(&Parts { settings: &settings, ledger: &ledger }).name(), row.name);
            }
        }
    }

    #[test]
    fn flags_turn_plugins_on_and_off_but_do_not_reorder_them() {
        let settings = |enable: &[&str], disable: &[&str]| Settings {
            enable: enable.iter().map(|&name| name.to_owned()).collect(),
            disable: disable.iter().map(|&name| name.to_owned()).collect(),
            ..Settings::default()
        };
        let names =
            Chain::configured(&settings(&["ResourceQuota", "Priority"], &["PodSecurity"])).unwrap().names();
        assert!(!names.contains(&"PodSecurity"));
        assert_eq!(names.first(), Some(&"NamespaceLifecycle"));
        assert_eq!(names.last(), Some(&"ResourceQuota"));
        let error =
            |enable: &[&str], disable: &[&str]| Chain::configured(&settings(enable, disable)).unwrap_err();
        assert_eq!(error(&["Foo"], &[]).to_string(), r#"enable-admission-plugins plugin "Foo" is unknown"#);
        assert_eq!(error(&[], &["Foo"]).to_string(), r#"disable-admission-plugins plugin "Foo" is unknown"#);
        assert_eq!(
            error(&["ImagePolicyWebhook"], &[]).to_string(),
            "failed to apply admission: couldn't init admission plugin \"ImagePolicyWebhook\": no config specified"
        );
        assert_eq!(error(&["Priority"], &["Priority"]), SettingsError::Overlap("[Priority]".into()));
    }
}
