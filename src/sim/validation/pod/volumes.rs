//! Volumes of Pods, and the sources that they share with PersistentVolumes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::sim::field::ErrorList;
use crate::sim::object::Fields;
use crate::sim::quantity::Quantity;
use crate::sim::validation::claims;
use crate::sim::validation::cursor::{At, Faults};
use crate::sim::validation::metadata;
use crate::sim::validation::names;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const ONE_TYPE: &str = "may not specify more than 1 volume type";

/// The volumes that are sound, by name: only they can be mounted.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

/// What a rule for one kind of volume source needs to know.
struct Context<'a> {
    volume: &'a str,
    pod: Option<&'a Value>,
    is_pod: bool,
}

/// Validates a Pod's volumes. `meta` is there for real Pods alone.
pub(super) fn volumes<'a>(
    errors: &mut ErrorList,
    at: &At<'a>,
    meta: Option<&'a Value>,
    is_pod: bool,
) -> Volumes<'a> {
    let pod_name = meta.map_or("", |meta| meta.text("name"));
    let claimed: Vec<String> = at
        .items()
        .filter(|volume| !pod_name.is_empty() && volume.value.has("ephemeral"))
        .map(|volume| format!("{pod_name}-{}", volume.value.text("name")))
        .collect();
    let mut sound = Volumes::new();
    for volume in at.items() {
        let name = volume.child("name");
        let mut own = ErrorList::new();
        sources(&mut own, &volume, &Context { volume: name.str(), pod: meta, is_pod });
        if name.str().is_empty() {
            own.required(&name.path, "");
        } else {
            own.all(&name.path, name.str(), names::dns1123_label(name.str()));
        }
        if sound.contains_key(name.str()) {
            own.duplicate(&name.path, name.str());
        }
        if own.is_empty() {
            sound.insert(name.str(), volume.value);
        }
        errors.extend(own);
        let claim = volume.child("persistentVolumeClaim").child("claimName");
        if claim.present() && claimed.iter().any(|name| name == claim.str()) {
            errors.invalid(
                &claim.path,
                claim.str(),
                "must not reference a PVC that gets created for an ephemeral volume",
            );
        }
    }
    sound
}

type Rule = fn(&mut ErrorList, &At<'_>, &Context<'_>);

/// The sources in upstream's order: the field, the name under which its own faults are told, the rule.
const SOURCES: [(&str, &str, Rule); 29] = [
    ("hostPath", "hostPath", |e, at, _| host_path(e, at)),
    ("gitRepo", "gitRepo", |e, at, _| git_repo(e, at)),
    ("gcePersistentDisk", "persistentDisk", |e, at, _| disk(e, at, "pdName")),
    ("awsElasticBlockStore", "awsElasticBlockStore", |e, at, _| disk(e, at, "volumeID")),
    ("secret", "secret", |e, at, _| keyed(e, at, "secretName")),
    ("nfs", "nfs", |e, at, _| nfs(e, at)),
    ("iscsi", "iscsi", |e, at, cx| iscsi(e, at, cx.volume)),
    ("glusterfs", "glusterfs", |e, at, _| need(e, at, &["endpoints", "path"])),
    ("flocker", "flocker", |e, at, _| flocker(e, at)),
    ("persistentVolumeClaim", "persistentVolumeClaim", |e, at, _| need(e, at, &["claimName"])),
    ("rbd", "rbd", |e, at, _| need(e, at, &["monitors", "image"])),
    ("cinder", "cinder", |e, at, _| cinder(e, at)),
    ("cephfs", "cephfs", |e, at, _| need(e, at, &["monitors"])),
    ("quobyte", "quobyte", |e, at, _| quobyte(e, at)),
    ("downwardAPI", "downwardAPI", |e, at, _| downward(e, at)),
    ("fc", "fc", |e, at, _| fibre_channel(e, at)),
    ("flexVolume", "flexVolume", |e, at, _| flex(e, at)),
    ("configMap", "configMap", |e, at, _| keyed(e, at, "name")),
    ("azureFile", "azureFile", |e, at, _| need(e, at, &["secretName", "shareName"])),
    ("vsphereVolume", "vsphereVolume", |e, at, _| need(e, at, &["volumePath"])),
    ("photonPersistentDisk", "photonPersistentDisk", |e, at, _| need(e, at, &["pdID"])),
    ("portworxVolume", "portworxVolume", |e, at, _| need(e, at, &["volumeID"])),
    ("azureDisk", "azureDisk", |e, at, _| azure_disk(e, at)),
    ("storageos", "storageos", |e, at, _| storage_os(e, at)),
    ("projected", "projected", |e, at, _| projected(e, at)),
    ("scaleIO", "scaleIO", |e, at, _| need(e, at, &["gateway", "system", "volumeName"])),
    ("csi", "csi", |e, at, _| csi(e, at)),
    ("ephemeral", "ephemeral", ephemeral),
    ("image", "image", |e, at, cx| image(e, at, cx.is_pod)),
];

fn sources(errors: &mut ErrorList, volume: &At<'_>, context: &Context<'_>) {
    let mut count = 0;
    if volume.value.has("emptyDir") {
        count += 1;
        let limit = volume.child("emptyDir").child("sizeLimit");
        if limit.present() && Quantity::of(limit.value).is_negative() {
            errors.forbidden(&limit.path, "SizeLimit field must be a valid resource quantity");
        }
    }
    for (name, shown, rule) in SOURCES {
        if !volume.value.has(name) {
            continue;
        }
        if count > 0 {
            let path = match name {
                "cephfs" => "cephFS",
                "downwardAPI" => "downwarAPI",
                other => other,
            };
            errors.forbidden(&volume.path.child(path), ONE_TYPE);
        } else {
            count += 1;
            rule(errors, &volume.child_as(name, shown), context);
        }
        if name == "iscsi" {
            long_iscsi_name(errors, volume, context.volume);
        }
    }
    if count == 0 {
        errors.required(&volume.path, "must specify a volume type");
    }
}

/// Requires fields to be there.
pub(crate) fn need(errors: &mut ErrorList, at: &At<'_>, fields: &[&str]) {
    for name in fields {
        let field = at.child(name);
        if field.is_empty() {
            errors.required(&field.path, "");
        }
    }
}

pub(crate) fn host_path(errors: &mut ErrorList, at: &At<'_>) {
    let path = at.child("path");
    if path.str().is_empty() {
        errors.required(&path.path, "");
        return;
    }
    no_backsteps(errors, &path);
    let kind = at.child("type");
    let known =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if kind.present() && !known.contains(&kind.str()) {
        errors.not_supported(&kind.path, kind.str(), &known);
    }
}

fn git_repo(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["repository"]);
    relative(errors, &at.child("directory"));
}

pub(crate) fn disk(errors: &mut ErrorList, at: &At<'_>, id: &str) {
    need(errors, at, &[id]);
    let partition = at.child("partition");
    if !(0..=255).contains(&partition.number()) {
        errors.invalid(&partition.path, partition.number(), names::range(1, 255));
    }
}

fn mode(errors: &mut ErrorList, at: &At<'_>) {
    if let Some(mode) = at.int()
        && !(0..=0o777).contains(&mode)
    {
        errors.invalid(&at.path, mode, FILE_MODE);
    }
}

fn keyed(errors: &mut ErrorList, at: &At<'_>, name: &str) {
    need(errors, at, &[name]);
    mode(errors, &at.child("defaultMode"));
    for item in at.child("items").items() {
        key_to_path(errors, &item);
    }
}

fn key_to_path(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["key", "path"]);
    local_path(errors, &at.child("path"));
    mode(errors, &at.child("mode"));
}

pub(crate) fn nfs(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["server", "path"]);
    let path = at.child("path");
    if !path.str().starts_with('/') {
        errors.invalid(&path.path, path.str(), "must be an absolute path");
    }
}

fn iqn(errors: &mut ErrorList, at: &At<'_>, wrong_start: &str) {
    let text = at.str();
    let alphanumeric = |n: usize| {
        text.get(4..).is_some_and(|rest| rest.len() == n && rest.bytes().all(|c| c.is_ascii_alphanumeric()))
    };
    let good = if text.starts_with("iqn") {
        text.get(3..).is_some_and(|rest| {
            let bytes = rest.as_bytes();
            bytes.len() > 9
                && bytes[0] == b'.'
                && bytes[1..5].iter().all(u8::is_ascii_digit)
                && bytes[5] == b'-'
                && bytes[6..8].iter().all(u8::is_ascii_digit)
                && bytes[8] == b'.'
                && rest[9..].split_once(':').is_some_and(|(name, tail)| {
                    !name.is_empty()
                        && !tail.is_empty()
                        && !tail.contains([',', ';', '*', '&', '$', '|', ' '])
                })
        })
    } else if text.starts_with("eui") {
        alphanumeric(16)
    } else if text.starts_with("naa") {
        alphanumeric(32)
    } else {
        errors.invalid(&at.path, text, wrong_start);
        return;
    };
    if !good {
        errors.invalid(&at.path, text, "must be valid format");
    }
}

fn iscsi(errors: &mut ErrorList, at: &At<'_>, _volume: &str) {
    iscsi_fields(errors, at, "must be valid format starting with iqn, eui, or naa");
}

/// Validates what both forms of iSCSI volumes have.
pub(crate) fn iscsi_fields(errors: &mut ErrorList, at: &At<'_>, wrong_start: &str) {
    need(errors, at, &["targetPortal"]);
    let name = at.child("iqn");
    if name.str().is_empty() {
        errors.required(&name.path, "");
    } else {
        iqn(errors, &name, wrong_start);
    }
    let lun = at.child("lun");
    if !(0..=255).contains(&lun.number()) {
        errors.invalid(&lun.path, lun.number(), names::range(0, 255));
    }
    let chap = at.child("chapAuthDiscovery").is_true() || at.child("chapAuthSession").is_true();
    if chap && !at.value.has("secretRef") {
        errors.required(&at.path.child("secretRef"), "");
    }
    let initiator = at.child_as("initiatorName", "initiatorname");
    if initiator.present() {
        iqn(errors, &initiator, "must be valid format starting with iqn, eui, or naa");
    }
}

fn long_iscsi_name(errors: &mut ErrorList, volume: &At<'_>, name: &str) {
    let iscsi = volume.value.at("iscsi");
    if iscsi.has("initiatorName") && name.len() + 1 + iscsi.text("targetPortal").len() > 64 {
        errors.invalid(
            &volume.path.child("name"),
            name,
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.",
        );
    }
}

pub(crate) fn flocker(errors: &mut ErrorList, at: &At<'_>) {
    let (name, uuid) = (at.child("datasetName"), at.child("datasetUUID"));
    if name.is_empty() && uuid.is_empty() {
        errors.required(&at.path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(
            &at.path,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        );
    }
    if name.str().contains('/') {
        errors.invalid(&name.path, name.str(), "must not contain '/'");
    }
}

fn secret_name(errors: &mut ErrorList, at: &At<'_>) {
    if at.value.has("secretRef") {
        need(errors, &at.child("secretRef"), &["name"]);
    }
}

fn cinder(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["volumeID"]);
    secret_name(errors, at);
}

pub(crate) fn quobyte(errors: &mut ErrorList, at: &At<'_>) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = at.child("registry");
    if registry.str().is_empty() {
        errors.required(&registry.path, PAIRS);
    } else if at.child("tenant").len() >= 65 {
        errors.required(
            &at.path.child("tenant"),
            "must be a UUID and may not exceed a length of 64 characters",
        );
    } else {
        for pair in registry.str().split(',') {
            if pair.rsplit_once(':').is_none_or(|(host, _)| host.contains(':') && !host.starts_with('[')) {
                errors.invalid(&registry.path, registry.str(), PAIRS);
            }
        }
    }
    need(errors, at, &["volume"]);
}

const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

fn downward_file(errors: &mut ErrorList, file: &At<'_>, at: &At<'_>) {
    // Upstream tells these faults at the list, not at the element.
    let field = |name: &str| At::new(at.path.child(name), file.value.at(name));
    let path = field("path");
    if path.str().is_empty() {
        errors.required(&path.path, "");
    }
    local_path(errors, &path);
    let (reference, resource) = (field("fieldRef"), field("resourceFieldRef"));
    if reference.present() {
        super::containers::field_selector(errors, &reference, &VOLUME_FIELDS);
        if resource.present() {
            errors.invalid(
                &at.path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            );
        }
    } else if resource.present() {
        super::containers::resource_selector(errors, &resource, true);
    } else {
        errors.required(&at.path, "one of fieldRef and resourceFieldRef is required");
    }
    mode(errors, &field("mode"));
}

fn downward(errors: &mut ErrorList, at: &At<'_>) {
    mode(errors, &at.child("defaultMode"));
    for file in at.child("items").items() {
        downward_file(errors, &file, at);
    }
}

fn projected(errors: &mut ErrorList, at: &At<'_>) {
    mode(errors, &at.child("defaultMode"));
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    for source in at.child("sources").items() {
        let mut count = 0;
        for name in ["secret", "configMap"] {
            let keyed = source.child(name);
            if keyed.is_null() {
                continue;
            }
            count += 1;
            need(errors, &keyed, &["name"]);
            for item in keyed.child("items").items() {
                key_to_path(errors, &item);
                let path = item.value.text("path");
                if !path.is_empty() && !paths.insert(path) {
                    errors.invalid(&at.path, keyed.value.text("name"), "conflicting duplicate paths");
                }
            }
        }
        let downward = source.child("downwardAPI");
        if downward.present() {
            count += 1;
            for file in downward.child("items").items() {
                downward_file(errors, &file, &downward);
                let path = file.value.text("path");
                if !path.is_empty() && !paths.insert(path) {
                    errors.invalid(&at.path, path, "conflicting duplicate paths");
                }
            }
        }
        let token = source.child("serviceAccountToken");
        if token.present() {
            count += 1;
            token_source(errors, &token, at);
        }
        let bundle = source.child("clusterTrustBundle");
        if bundle.present() {
            count += 1;
            trust_bundle(errors, &bundle);
            let path = bundle.value.text("path");
            if !paths.insert(path) {
                errors.invalid(&at.path, path, "conflicting duplicate paths");
            }
        }
        if count > 1 {
            errors.forbidden(&source.path, "may not specify more than 1 volume type per source");
        }
    }
}

fn token_source(errors: &mut ErrorList, token: &At<'_>, at: &At<'_>) {
    let expiration = token.child("expirationSeconds");
    if expiration.number() < 600 {
        errors.invalid(
            &expiration.path,
            expiration.number(),
            "may not specify a duration less than 10 minutes",
        );
    }
    if expiration.number() > 1 << 32 {
        errors.invalid(
            &expiration.path,
            expiration.number(),
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    let path = At::new(at.path.child("path"), token.value.at("path"));
    if path.str().is_empty() {
        errors.required(&path.path, "");
    } else {
        local_path(errors, &path);
    }
}

fn trust_bundle(errors: &mut ErrorList, at: &At<'_>) {
    let (name, signer) = (at.child("name"), at.child("signerName"));
    match (name.present(), signer.present()) {
        (true, true) => {
            errors.invalid_object(&at.path, at.value, "only one of name and signerName may be used");
        }
        (true, false) => {
            if name.str().is_empty() {
                errors.required(&name.path, "must be a valid object name");
            }
            let selector = at.child("labelSelector");
            if selector.present() {
                errors.invalid(
                    &selector.path,
                    selector.value.clone(),
                    "labelSelector must be unset if name is specified",
                );
            }
        }
        (false, true) => {
            if signer.str().is_empty() {
                errors.required(&signer.path, "must be a valid signer name");
            }
            metadata::label_selector(errors, &at.child("labelSelector"));
        }
        (false, false) => errors.required(&at.path, "either name or signerName must be specified"),
    }
    need(errors, at, &["path"]);
    local_path(errors, &at.child("path"));
}

pub(crate) fn fibre_channel(errors: &mut ErrorList, at: &At<'_>) {
    let (targets, ids) = (at.child("targetWWNs"), at.child("wwids"));
    if targets.is_empty() && ids.is_empty() {
        errors.required(&targets.path, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !ids.is_empty() {
        errors.invalid(
            &targets.path,
            targets.value.clone(),
            "targetWWNs and wwids can not be specified simultaneously",
        );
    }
    if !targets.is_empty() {
        let lun = at.child("lun");
        match lun.int() {
            None => errors.required(&lun.path, "lun is required if targetWWNs is specified"),
            Some(number) if !(0..=255).contains(&number) => {
                errors.invalid(&lun.path, number, names::range(0, 255));
            }
            Some(_) => {}
        }
    }
}

pub(crate) fn flex(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["driver"]);
    for (key, option) in at.child("options").entries() {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.invalid(&option.path, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub(crate) fn azure_disk(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["diskName", "diskURI"]);
    let (caching, kind, uri) = (at.child("cachingMode"), at.child("kind"), at.child("diskURI"));
    if caching.present() && !["None", "ReadOnly", "ReadWrite"].contains(&caching.str()) {
        errors.not_supported(&caching.path, caching.str(), &["None", "ReadOnly", "ReadWrite"]);
    }
    if kind.present() && !["Dedicated", "Managed", "Shared"].contains(&kind.str()) {
        errors.not_supported(&kind.path, kind.str(), &["Dedicated", "Managed", "Shared"]);
    }
    if kind.str() == "Managed" && !uri.str().starts_with("/subscriptions/") {
        errors.not_supported(
            &uri.path,
            uri.str(),
            &["/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"],
        );
    }
    if kind.present() && kind.str() != "Managed" && !uri.str().starts_with("https://") {
        errors.not_supported(
            &uri.path,
            uri.str(),
            &["https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"],
        );
    }
}

fn storage_os(errors: &mut ErrorList, at: &At<'_>) {
    let (name, namespace) = (at.child("volumeName"), at.child("volumeNamespace"));
    if name.str().is_empty() {
        errors.required(&name.path, "");
    } else {
        errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
    }
    if !namespace.str().is_empty() {
        errors.all(&namespace.path, namespace.str(), names::dns1123_label(namespace.str()));
    }
    secret_name(errors, at);
}

/// Validates the name of a CSI driver.
pub(crate) fn csi_driver_name(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.required(&at.path, "");
    }
    if at.len() > 63 {
        errors.too_long(&at.path, 63);
    }
    errors.all(&at.path, at.str(), names::dns1123_subdomain(&at.str().to_lowercase()));
}

fn csi(errors: &mut ErrorList, at: &At<'_>) {
    csi_driver_name(errors, &at.child("driver"));
    if at.value.has("nodePublishSecretRef") {
        let name = at.child("nodePublishSecretRef").child("name");
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else {
            errors.all(&at.path.child("name"), name.str(), names::subdomain_name(name.str(), false));
        }
    }
}

fn ephemeral(errors: &mut ErrorList, at: &At<'_>, context: &Context<'_>) {
    let template = at.child("volumeClaimTemplate");
    if template.is_null() {
        errors.required(&template.path, "");
    } else {
        let meta = template.child("metadata");
        metadata::annotations(errors, &meta.child("annotations"));
        metadata::labels(errors, &meta.child("labels"));
        for (name, _) in meta.entries().filter(|(name, value)| {
            !matches!(*name, "annotations" | "labels") && !crate::sim::object::is_empty(value.value)
        }) {
            errors.forbidden(&meta.path.child(name), "cannot be set");
        }
        claims::spec(errors, &template.child("spec"));
    }
    let pod_name = context.pod.map_or("", |meta| meta.text("name"));
    if !pod_name.is_empty() && !context.volume.is_empty() {
        let claim = format!("{pod_name}-{}", context.volume);
        for message in names::subdomain_name(&claim, false) {
            errors.invalid(&at.path.child("name"), context.volume, format!("PVC name {claim:?}: {message}"));
        }
    }
}

fn image(errors: &mut ErrorList, at: &At<'_>, is_pod: bool) {
    if is_pod {
        need(errors, at, &["reference"]);
    }
    super::containers::pull_policy(errors, &at.child("pullPolicy"));
}

/// Validates that a path is relative and does not climb.
pub(crate) fn relative(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().starts_with('/') {
        errors.invalid(&at.path, at.str(), "must be a relative path");
    }
    no_backsteps(errors, at);
}

pub(crate) fn no_backsteps(errors: &mut ErrorList, at: &At<'_>) {
    if climbs(at.str()) {
        errors.invalid(&at.path, at.str(), "must not contain '..'");
    }
}

pub(crate) fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// Validates that a path is relative, does not climb and is not one of the kubelet's own.
fn local_path(errors: &mut ErrorList, at: &At<'_>) {
    relative(errors, at);
    if at.str().starts_with("..") && !at.str().starts_with("../") {
        errors.invalid(&at.path, at.str(), "must not start with '..'");
    }
}
