//! `sbom`: a bill of materials that the learner made or was given: what it is about, and which packages it lists, whether
//! it is written as SPDX or as CycloneDX.

mod document;

use std::str::FromStr;

use packageurl::PackageUrl;
use serde::{Deserialize, Serialize};

use self::document::{Bill, Listed};
use super::api::Api;
use super::document::{Source, cap};
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};
use crate::cluster::Capability;

/// Looks into a bill of materials, SPDX 2 or CycloneDX as JSON. At least one expectation is given.
///
/// Packages are compared by package URL, whose qualifiers count only where the expectation has them, or by name and
/// version; so it does not matter which tool wrote the document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sbom {
    /// Where the document lies.
    pub source: Source,
    /// The format that is asked for; any of them when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SbomFormat>,
    /// The image that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<SbomSubject>,
    /// Packages that it must list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PackageRow>,
    /// It must list no other packages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exactly: bool,
    /// Packages that it must not list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<PackageRow>,
}

/// A format of bills of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SbomFormat {
    /// SPDX 2, as JSON.
    Spdx,
    /// CycloneDX, as JSON.
    #[serde(rename = "cyclonedx")]
    CycloneDx,
}

/// The image that a document is about; at least one of both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SbomSubject {
    /// Its name, such as `registry.test/shop/api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its digest, `sha256:...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A package, by its package URL or by name and version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackageRow {
    /// The package URL, such as `pkg:deb/debian/openssl@3.0.11`; without version any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for Sbom {
    fn needs(&self) -> &'static [Capability] {
        self.source.needs()
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.source.lint("source", faults);
        let asks = self.format.is_some()
            || self.subject.is_some()
            || !self.packages.is_empty()
            || !self.absent.is_empty();
        if !asks {
            faults.push("sbom: without an expectation it cannot fail".to_owned());
        }
        if self.exactly && self.packages.is_empty() {
            faults.push("exactly: an empty document is no answer; name the packages".to_owned());
        }
        if !self.absent.is_empty() && self.packages.is_empty() {
            faults.push("absent: an empty document would pass; name packages that are there".to_owned());
        }
        if let Some(subject) = &self.subject {
            let digest = subject.digest.as_deref();
            if (subject.name.is_none() && digest.is_none())
                || digest.is_some_and(|text| !text.starts_with("sha256:"))
            {
                faults.push("subject: give a name, or a digest such as sha256:...".to_owned());
            }
        }
        for (field, rows) in [("packages", &self.packages), ("absent", &self.absent)] {
            for (index, row) in rows.iter().enumerate() {
                let fine = match (&row.purl, &row.name) {
                    (Some(purl), None) => PackageUrl::from_str(purl).is_ok() && row.version.is_none(),
                    (None, Some(name)) => !name.is_empty(),
                    _ => false,
                };
                if !fine {
                    faults.push(format!(
                        "{field}[{index}]: give a package URL, or a name with or without version"
                    ));
                }
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let text = match self.source.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.source.label();
        let bill = match Bill::parse(&text) {
            Ok(bill) => bill,
            Err(fault) => {
                return Ok(Verdict::Fail(vec![
                    fault.finding(&label, "an SPDX or CycloneDX document as JSON"),
                ]));
            }
        };
        let mut findings = Vec::new();
        if let Some(format) = self.format.filter(|format| *format != bill.format) {
            findings.push(Finding::new(
                &label,
                "format",
                format!("{format:?}"),
                format!("{:?}", bill.format),
            ));
        }
        if let Some(subject) = &self.subject {
            subject.judge(&label, &bill, &mut findings);
        }
        for row in self.packages.iter().filter(|row| !bill.packages.iter().any(|listed| row.is(listed))) {
            findings.push(Finding::new(&label, "packages", row.to_string(), "not listed"));
        }
        for row in &self.absent {
            if let Some(listed) = bill.packages.iter().find(|listed| row.is(listed)) {
                findings.push(Finding::new(&label, "packages", format!("no {row}"), listed.to_string()));
            }
        }
        if self.exactly {
            for listed in
                bill.packages.iter().filter(|listed| !self.packages.iter().any(|row| row.is(listed)))
            {
                findings.push(Finding::new(&label, "packages", "not listed", listed.to_string()));
            }
        }
        cap(&label, SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

impl SbomSubject {
    fn judge(&self, label: &str, bill: &Bill, findings: &mut Vec<Finding>) {
        let shown = bill.subject.first().map_or("nothing".to_owned(), |text| object::shorten(text));
        if let Some(name) = &self.name {
            // With tag, digest or registry the name is a part of what is written.
            let is = |text: &String| {
                let at = text.find(name.as_str());
                at.is_some_and(|at| {
                    let (before, after) = (text[..at].chars().last(), text[at + name.len()..].chars().next());
                    before.is_none_or(|char| char == '/') && after.is_none_or(|char| ":@".contains(char))
                })
            };
            if !bill.subject.iter().any(is) {
                findings.push(Finding::new(label, "subject", name, &shown));
            }
        }
        if let Some(digest) = &self.digest {
            let hex = digest.trim_start_matches("sha256:");
            if !bill.subject.iter().any(|text| text.contains(hex)) {
                findings.push(Finding::new(label, "subject", digest, &shown));
            }
        }
    }
}

impl PackageRow {
    /// Tells whether a listed package is this one.
    pub(crate) fn is(&self, listed: &Listed) -> bool {
        let Some(wanted) = self.purl.as_deref().and_then(|text| PackageUrl::from_str(text).ok()) else {
            let name = self.name.as_deref().unwrap_or_default();
            return listed.names().any(|own| own == name)
                && self.version.as_deref().is_none_or(|version| listed.version() == Some(version));
        };
        match &listed.purl {
            Some(purl) => {
                purl.ty() == wanted.ty()
                    && purl.namespace() == wanted.namespace()
                    && purl.name() == wanted.name()
                    && wanted.version().is_none_or(|version| purl.version() == Some(version))
                    && wanted
                        .qualifiers()
                        .iter()
                        .all(|(key, value)| purl.qualifiers().get(key) == Some(value))
            }
            // Some tools write no package URLs.
            None => {
                listed.names().any(|own| own == wanted.name())
                    && wanted.version().is_none_or(|version| listed.version() == Some(version))
            }
        }
    }
}

impl std::fmt::Display for PackageRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.purl, &self.name, &self.version) {
            (Some(purl), ..) => f.write_str(purl),
            (None, name, Some(version)) => write!(f, "{} {version}", name.as_deref().unwrap_or_default()),
            (None, name, None) => f.write_str(name.as_deref().unwrap_or_default()),
        }
    }
}
