//! PersistentVolumes, and those written inline in VolumeAttachments.

use serde_json::Value;

use super::cursor::{At, Faults, exported};
use super::metadata::{self, MetaRules};
use super::pod::scheduling::node_selector;
use super::pod::volumes::{
    azure_disk, csi_driver_name, disk, fibre_channel, flex, flocker, host_path, iscsi_fields, need, nfs,
    no_backsteps, quobyte,
};
use super::{claims, diff, names, resources};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal, field_at, remove};
use crate::sim::quantity::Quantity;

const ONE_TYPE: &str = "may not specify more than 1 volume type";

type Rule = fn(&mut ErrorList, &At<'_>);

/// The sources in upstream's order: the field, the name under which its own faults are told, the rule.
const SOURCES: [(&str, &str, Rule); 22] = [
    ("hostPath", "hostPath", host_path),
    ("gcePersistentDisk", "persistentDisk", |e, at| disk(e, at, "pdName")),
    ("awsElasticBlockStore", "awsElasticBlockStore", |e, at| disk(e, at, "volumeID")),
    ("glusterfs", "glusterfs", glusterfs),
    ("flocker", "flocker", flocker),
    ("nfs", "nfs", nfs),
    ("rbd", "rbd", |e, at| need(e, at, &["monitors", "image"])),
    ("quobyte", "quobyte", quobyte),
    ("cephfs", "cephfs", |e, at| need(e, at, &["monitors"])),
    ("iscsi", "iscsi", iscsi),
    ("cinder", "cinder", |e, at| {
        need(e, at, &["volumeID"]);
        secret(e, &at.child("secretRef"));
    }),
    ("fc", "fc", fibre_channel),
    ("flexVolume", "flexVolume", flex),
    ("azureFile", "azureFile", azure_file),
    ("vsphereVolume", "vsphereVolume", |e, at| need(e, at, &["volumePath"])),
    ("photonPersistentDisk", "photonPersistentDisk", |e, at| need(e, at, &["pdID"])),
    ("portworxVolume", "portworxVolume", |e, at| need(e, at, &["volumeID"])),
    ("azureDisk", "azureDisk", azure_disk),
    ("scaleIO", "scaleIO", |e, at| need(e, at, &["gateway", "system", "volumeName"])),
    ("local", "local", local),
    ("storageos", "storageos", storage_os),
    ("csi", "csi", csi),
];

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    spec(&mut errors, &At::field(object, "spec"), false);
    errors
}

/// Validates a PersistentVolumeSpec, on its own or inline.
pub(super) fn spec(errors: &mut ErrorList, at: &At<'_>, inline: bool) {
    const INLINE: &str = "may not be specified in the context of inline volumes";
    let capacity = at.child("capacity");
    if inline {
        for field in [at.child("claimRef"), capacity.clone()] {
            if !field.is_empty() {
                errors.forbidden(&field.path, INLINE);
            }
        }
        if !at.value.has("csi") {
            errors.required(&at.path.child("csi"), "has to be specified in the context of inline volumes");
        }
    }
    let modes = at.child("accessModes");
    if modes.is_empty() {
        errors.required(&modes.path, "");
    }
    claims::access_modes(errors, &modes);
    if !inline {
        if capacity.is_empty() {
            errors.required(&capacity.path, "");
        }
        if !capacity.value.has("storage") || capacity.len() > 1 {
            errors.not_supported(&capacity.path, capacity.value.clone(), &["storage"]);
        }
        for (_, amount) in capacity.entries() {
            let value = Quantity::of(amount.value);
            if value.is_negative() {
                errors.invalid(&amount.path, value.value(), "must be a valid resource quantity");
            }
            resources::positive(errors, &amount);
        }
    }
    reclaim(errors, &at.child("persistentVolumeReclaimPolicy"), inline);
    let affinity = at.child("nodeAffinity");
    if affinity.present() {
        let required = affinity.child("required");
        if inline {
            errors.forbidden(&affinity.path, INLINE);
        } else if required.is_null() {
            errors.required(&required.path, "must specify required node constraints");
        } else {
            node_selector(errors, &required);
        }
    }
    sources(errors, at);
    if at.value.at("hostPath").text("path").trim_end_matches(['/', '.']).is_empty()
        && at.value.has("hostPath")
        && at.value.text("persistentVolumeReclaimPolicy") == "Recycle"
    {
        errors.forbidden(
            &at.path.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
    let class = at.child("storageClassName");
    if !class.str().is_empty() {
        if inline {
            errors.forbidden(&class.path, INLINE);
        } else {
            errors.all(&class.path, class.str(), names::subdomain_name(class.str(), false));
        }
    }
    let mode = at.child("volumeMode");
    if !inline {
        claims::volume_mode(errors, &mode);
    } else if mode.present() && mode.str() != "Filesystem" {
        errors.forbidden(
            &mode.path,
            "may not specify volumeMode other than Filesystem in the context of inline volumes",
        );
    }
    let attributes = at.child("volumeAttributesClassName");
    if attributes.present() {
        if attributes.str().is_empty() {
            errors.required(&attributes.path, "an empty string is disallowed");
        } else {
            errors.all(&attributes.path, attributes.str(), names::subdomain_name(attributes.str(), false));
        }
        if !at.value.has("csi") {
            errors
                .required(&at.path.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn reclaim(errors: &mut ErrorList, at: &At<'_>, inline: bool) {
    const KNOWN: [&str; 3] = ["Delete", "Recycle", "Retain"];
    if at.str().is_empty() {
        return;
    }
    if inline {
        if at.str() != "Retain" {
            errors.forbidden(&at.path, "may only be Retain in the context of inline volumes");
        }
    } else if !KNOWN.contains(&at.str()) {
        errors.not_supported(&at.path, at.str(), &KNOWN);
    }
}

fn sources(errors: &mut ErrorList, at: &At<'_>) {
    let mut count = 0;
    for (name, shown, rule) in SOURCES {
        if !at.value.has(name) {
            continue;
        }
        if count > 0 && name != "flexVolume" {
            let path = if name == "cephfs" { "cephFS" } else { name };
            errors.forbidden(&at.path.child(path), ONE_TYPE);
            continue;
        }
        count += 1;
        rule(errors, &at.child_as(name, shown));
        if name == "local" && !at.value.has("nodeAffinity") {
            errors.required(&at.path.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if count == 0 {
        errors.required(&at.path, "must specify a volume type");
    }
}

fn glusterfs(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["endpoints", "path"]);
    let namespace = at.child("endpointsNamespace");
    if namespace.present() {
        if namespace.str().is_empty() {
            errors.invalid(
                &namespace.path,
                "",
                "if the endpointnamespace is set, it must be a valid namespace name",
            );
        } else {
            errors.all(&namespace.path, namespace.str(), names::label_name(namespace.str(), false));
        }
    }
}

fn secret(errors: &mut ErrorList, at: &At<'_>) {
    if at.present() {
        need(errors, at, &["name", "namespace"]);
    }
}

fn iscsi(errors: &mut ErrorList, at: &At<'_>) {
    iscsi_fields(errors, at, "must be valid format");
    if at.value.has("secretRef") {
        need(errors, &at.child("secretRef"), &["name"]);
    }
}

fn azure_file(errors: &mut ErrorList, at: &At<'_>) {
    need(errors, at, &["secretName", "shareName"]);
    let namespace = at.child("secretNamespace");
    if namespace.present() && namespace.str().is_empty() {
        errors.required(&namespace.path, "");
    }
}

fn local(errors: &mut ErrorList, at: &At<'_>) {
    let path = at.child("path");
    if path.str().is_empty() {
        errors.required(&path.path, "");
    } else {
        no_backsteps(errors, &path);
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
    secret(errors, &at.child("secretRef"));
}

fn csi(errors: &mut ErrorList, at: &At<'_>) {
    csi_driver_name(errors, &at.child("driver"));
    need(errors, at, &["volumeHandle"]);
    for name in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let reference = at.child(name);
        if reference.is_null() {
            continue;
        }
        for (field, rule) in [
            ("name", names::dns1123_subdomain as fn(&str) -> Vec<String>),
            ("namespace", names::dns1123_label),
        ] {
            let field = reference.child(field);
            if field.str().is_empty() {
                errors.required(&field.path, "");
            } else {
                errors.all(&field.path, field.str(), rule(field.str()));
            }
        }
    }
}

pub(super) fn update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    if subresource == "status" {
        return metadata::validate_update(new, old, rules.core);
    }
    let mut errors = create(new, rules);
    let source = |object: &Value| -> Value {
        let names = SOURCES.iter().map(|(name, _, _)| *name);
        let spec = object.at("spec");
        names.filter(|name| spec.has(name)).map(|name| (name.to_owned(), spec.at(name).clone())).collect()
    };
    let (mut now, was) = (source(new), source(old));
    if was.has("csi") && now.has("csi") && !was.at("csi").has("controllerExpandSecretRef") {
        remove(field_at(&mut now, "csi"), "controllerExpandSecretRef");
    }
    let spec = Path::new("spec");
    if !equal(&now, &was) {
        errors.forbidden(
            &spec.child("persistentvolumesource"),
            format!("spec.persistentvolumesource is immutable after creation\n{}", diff::objects(&was, &now)),
        );
    }
    let field = |object: &Value, name: &str| object.at("spec").at(name).clone();
    errors.immutable(&Path::new("volumeMode"), &field(new, "volumeMode"), &field(old, "volumeMode"));
    let (affinity, earlier) = (field(new, "nodeAffinity"), field(old, "nodeAffinity"));
    if !earlier.is_null() && !equal(&modern(&affinity), &modern(&earlier)) {
        errors.invalid(
            &Path::new("nodeAffinity"),
            exported(&affinity),
            "field is immutable, except for updating from beta label to GA",
        );
    }
    if field(new, "volumeAttributesClassName").is_null() && !field(old, "volumeAttributesClassName").is_null()
    {
        errors.forbidden(
            &spec.child("volumeAttributesClassName"),
            "update from non-nil value to nil is forbidden",
        );
    }
    errors
}

/// Writes labels of nodes by their present names.
fn modern(affinity: &Value) -> Value {
    let text = affinity.to_string();
    let text = [
        ("failure-domain.beta.kubernetes.io/", "topology.kubernetes.io/"),
        ("\"beta.kubernetes.io/os\"", "\"kubernetes.io/os\""),
        ("\"beta.kubernetes.io/arch\"", "\"kubernetes.io/arch\""),
        ("\"beta.kubernetes.io/instance-type\"", "\"node.kubernetes.io/instance-type\""),
    ]
    .iter()
    .fold(text, |text, (old, new)| text.replace(old, new));
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
