//! SPDX and CycloneDX documents brought into one form: subject and packages. Read as JSON values, since the crates for
//! these formats refuse the versions that current scanners write; judges nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use packageurl::PackageUrl;
use serde_json::Value;

use super::SbomFormat;
use crate::check::document::{self, Malformed};

/// A bill of materials.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) format: SbomFormat,
    /// Every text that is said about the subject, its name first.
    pub(super) subject: Vec<String>,
    pub(super) packages: Vec<Listed>,
}

/// A package in a bill.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// A group or scope before the name.
    pub(crate) group: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) purl: Option<PackageUrl<'static>>,
}

impl Listed {
    /// Returns the names that it goes by.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        let full = self.group.as_ref().map(|group| format!("{group}/{}", self.name));
        let of_purl = self.purl.as_ref().map(|purl| purl.name().to_owned());
        std::iter::once(self.name.clone()).chain(full).chain(of_purl)
    }

    /// Returns the version.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref().or_else(|| self.purl.as_ref().and_then(PackageUrl::version))
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version().unwrap_or("without version"))
    }
}

impl Bill {
    /// Reads a document.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |message: &str| Err(Malformed { at: None, message: message.to_owned() });
        let root: Value = document::json(text)?;
        if root["bomFormat"] == "CycloneDX" {
            return match root["specVersion"].as_str() {
                Some(version) if version.starts_with("1.") => Ok(Self::cyclonedx(&root)),
                _ => wrong("a CycloneDX document without a version"),
            };
        }
        match root["spdxVersion"].as_str() {
            Some(version) if version.starts_with("SPDX-2.") => {
                if root["SPDXID"] != "SPDXRef-DOCUMENT" || !root["name"].is_string() {
                    return wrong("an SPDX document without SPDXID or name");
                }
                Ok(Self::spdx(&root))
            }
            Some(version) => wrong(&format!("`{version}` is not read here")),
            None => wrong("neither bomFormat nor spdxVersion says what it is"),
        }
    }

    fn cyclonedx(root: &Value) -> Self {
        let mut subject = Vec::new();
        texts(&root["metadata"]["component"]["name"], &mut subject);
        texts(&root["metadata"]["component"], &mut subject);
        let mut packages = Vec::new();
        components(&root["components"], &mut packages);
        Self { format: SbomFormat::CycloneDx, subject, packages }
    }

    fn spdx(root: &Value) -> Self {
        let mut described: BTreeSet<&str> =
            root["documentDescribes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for relation in root["relationships"].as_array().into_iter().flatten() {
            let ends = (relation["spdxElementId"].as_str(), relation["relatedSpdxElement"].as_str());
            match (relation["relationshipType"].as_str(), ends) {
                (Some("DESCRIBES"), (Some("SPDXRef-DOCUMENT"), Some(of))) => described.insert(of),
                (Some("DESCRIBED_BY"), (Some(of), Some("SPDXRef-DOCUMENT"))) => described.insert(of),
                _ => false,
            };
        }
        let mut subject = Vec::new();
        let mut packages = Vec::new();
        for package in root["packages"].as_array().into_iter().flatten() {
            if package["SPDXID"].as_str().is_some_and(|id| described.contains(id)) {
                texts(&package["name"], &mut subject);
                texts(package, &mut subject);
                continue;
            }
            // An operating system or an image layer is no package.
            let purpose = package["primaryPackagePurpose"].as_str().unwrap_or_default();
            if ["OPERATING-SYSTEM", "CONTAINER", "FILE"].contains(&purpose) {
                continue;
            }
            let references = package["externalRefs"].as_array().into_iter().flatten();
            let purl = references
                .filter(|reference| reference["referenceType"] == "purl")
                .find_map(|reference| reference["referenceLocator"].as_str());
            if purl.is_some_and(|purl| purl.starts_with("pkg:oci/")) {
                continue;
            }
            packages.push(Listed {
                name: package["name"].as_str().unwrap_or_default().to_owned(),
                group: None,
                version: package["versionInfo"].as_str().map(str::to_owned),
                purl: purl.and_then(|purl| PackageUrl::from_str(purl).ok()),
            });
        }
        texts(&root["name"], &mut subject);
        Self { format: SbomFormat::Spdx, subject, packages }
    }
}

/// Collects the components, those within others too, that are packages.
fn components(list: &Value, packages: &mut Vec<Listed>) {
    for component in list.as_array().into_iter().flatten() {
        components(&component["components"], packages);
        let kind = component["type"].as_str().unwrap_or_default();
        let purl = component["purl"].as_str();
        // A lock file is an `application` without a package URL.
        let package = matches!(kind, "library" | "framework") || (kind == "application" && purl.is_some());
        if package {
            packages.push(Listed {
                name: component["name"].as_str().unwrap_or_default().to_owned(),
                group: component["group"].as_str().filter(|group| !group.is_empty()).map(str::to_owned),
                version: component["version"].as_str().map(str::to_owned),
                purl: purl.and_then(|purl| PackageUrl::from_str(purl).ok()),
            });
        }
    }
}

/// Collects every text in a value; what is percent-encoded, as in package URLs, is written out too.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if text.contains('%') {
                all.push(
                    text.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/"),
                );
            }
            all.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        Value::Object(map) => map.values().for_each(|item| texts(item, all)),
        _ => {}
    }
}
