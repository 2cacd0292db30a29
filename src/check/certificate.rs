//! `certificate`: an X.509 certificate, wherever it lies: who signed it, for whom, for how long, for what, and whose key
//! it is.

mod chain;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::api::Api;
use super::document::{Malformed, Source};
use super::object::shorten;
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Capability;

/// Looks at a certificate as PEM. At least one expectation is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// Where the certificate lies; the first one of the PEM text, further ones being intermediates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Instead of `source`: the name of a CertificateSigningRequest, whose issued certificate is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Where the certificate of the authority lies that it must chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Source>,
    /// Where the private key lies that it must belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Source>,
    /// The subject's common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// Exactly the subject's organisations; an empty list for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organizations: Option<Vec<String>>,
    /// Organisations that the subject must not have, such as `system:masters`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_organizations: Vec<String>,
    /// DNS names that it must be good for; a wildcard in it covers one label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Addresses that it must be good for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<std::net::IpAddr>,
    /// It must be good for no other names and addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_other_names: bool,
    /// It must be valid now, and the machine's clock must lie between its ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub valid_now: bool,
    /// The longest time from its beginning to its end, in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_at_most: Option<u32>,
    /// The shortest time from its beginning to its end, in hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_at_least: Option<u32>,
    /// Exactly what it may be used for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<CertificateUsage>,
    /// Whether it is an authority's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_authority: Option<bool>,
}

/// What a certificate may be used for (extended key usage).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum CertificateUsage {
    /// By clients, to say who they are.
    ClientAuth,
    /// By servers.
    ServerAuth,
    /// To sign code.
    CodeSigning,
    /// For anything.
    Any,
}

/// A certificate's authority may have begun a little later than what it signed.
const SLACK: SignedDuration = SignedDuration::from_mins(10);

impl Check for Certificate {
    fn needs(&self) -> &'static [Capability] {
        let all = [&self.source, &self.authority, &self.key];
        all.into_iter().flatten().map(Source::needs).max_by_key(|needs| needs.len()).unwrap_or(Self::NEEDS)
    }

    fn lint(&self, faults: &mut Vec<String>) {
        for (field, source) in [("source", &self.source), ("authority", &self.authority), ("key", &self.key)]
        {
            if let Some(source) = source {
                source.lint(field, faults);
            }
        }
        if self.source.is_some() == self.request.is_some() {
            faults.push("certificate: give a source or a request".to_owned());
        }
        let unasked = Self { source: self.source.clone(), request: self.request.clone(), ..Self::default() };
        if *self == unasked {
            faults.push("certificate: without an expectation it cannot fail".to_owned());
        }
        let empty = |list: &[String]| list.iter().any(|text| text.trim().is_empty());
        if empty(&self.not_organizations) || empty(&self.dns_names) || self.common_name.as_deref() == Some("")
        {
            faults.push("certificate: an empty name says nothing".to_owned());
        }
        if self.no_other_names && self.dns_names.is_empty() && self.ip_addresses.is_empty() {
            faults.push("noOtherNames: name those that it must have".to_owned());
        }
        if matches!((self.hours_at_least, self.hours_at_most), (Some(least), Some(most)) if least > most)
            || self.hours_at_most == Some(0)
        {
            faults.push("hoursAtMost: no certificate is valid for so short a time".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        api.alive().await?;
        let (label, text) = match (&self.source, &self.request) {
            (Some(source), _) => match source.read(&api, cx).await? {
                Content::Text(text) => (source.label(), text),
                Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
            },
            (None, Some(name)) => match issued(&api, name).await? {
                Ok(text) => (format!("CertificateSigningRequest {name}"), text),
                Err(finding) => return Ok(Verdict::Fail(vec![finding])),
            },
            (None, None) => return Err(CheckError::Spec("neither a source nor a request".to_owned())),
        };
        let ders = match chain::certificates(&text) {
            Ok(ders) => ders,
            Err(message) => return Ok(Verdict::Fail(vec![no_certificate(&label, message)])),
        };
        let parsed: Result<Vec<X509Certificate<'_>>, String> =
            ders.iter().map(|der| chain::parse(der)).collect();
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(message) => return Ok(Verdict::Fail(vec![no_certificate(&label, message)])),
        };
        let Some((own, others)) = parsed.split_first() else {
            return Ok(Verdict::Fail(vec![no_certificate(&label, "no certificate".to_owned())]));
        };
        let mut findings = Vec::new();
        self.subject(&label, own, &mut findings);
        self.names(&label, own, &mut findings);
        self.time(&label, own, &mut findings);
        self.usage(&label, own, &mut findings);
        if let Some(source) = &self.authority {
            match source.read(&api, cx).await? {
                Content::Unusable(finding) => findings.push(finding),
                Content::Text(text) => {
                    let ders = chain::certificates(&text);
                    let ders =
                        ders.map_err(|message| CheckError::Spec(format!("{}: {message}", source.label())))?;
                    let authorities: Result<Vec<X509Certificate<'_>>, String> =
                        ders.iter().map(|der| chain::parse(der)).collect();
                    let authorities = authorities
                        .map_err(|message| CheckError::Spec(format!("{}: {message}", source.label())))?;
                    if let Err(reason) = chain::leads(own, others, &authorities) {
                        let expected = format!("it chains to {}", source.label());
                        findings.push(Finding::new(&label, "issuer", expected, reason));
                    }
                }
            }
        }
        if let Some(source) = &self.key {
            match source.read(&api, cx).await? {
                Content::Unusable(finding) => findings.push(finding),
                Content::Text(text) => match chain::public_key(&text) {
                    Err(message) => {
                        let fault = Malformed { at: None, message };
                        findings.push(fault.finding(&source.label(), "a private key as PEM"));
                    }
                    Ok(key) if key != own.tbs_certificate.subject_pki.raw => {
                        let expected = format!("the key of {}", source.label());
                        findings.push(Finding::new(&label, "public key", expected, "another key"));
                    }
                    Ok(_) => {}
                },
            }
        }
        Ok(Verdict::of(findings))
    }
}

fn no_certificate(label: &str, message: String) -> Finding {
    Malformed { at: None, message }.finding(label, "a certificate as PEM")
}

/// Returns what was issued for a request, or why there is nothing.
async fn issued(api: &Api, name: &str) -> Result<Result<String, Finding>, CheckError> {
    const GROUP: &str = "certificates.k8s.io/v1";
    let label = format!("CertificateSigningRequest {name}");
    let Some(request) = api.get_known(GROUP, "CertificateSigningRequest", None, name).await? else {
        return Ok(Err(Finding::new(label, "", "it exists", "it does not")));
    };
    let Some(encoded) = request["status"]["certificate"].as_str() else {
        let conditions = request["status"]["conditions"].as_array().into_iter().flatten();
        let states: Vec<&str> = conditions.filter_map(|condition| condition["type"].as_str()).collect();
        let actual = if states.is_empty() { "pending".to_owned() } else { states.join(", ") };
        return Ok(Err(Finding::new(label, "status.certificate", "an issued certificate", actual)));
    };
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded)
        .map_err(|_| CheckError::Api(format!("{label} has a certificate that is no base64")))?;
    Ok(Ok(String::from_utf8_lossy(&bytes).into_owned()))
}

impl Certificate {
    fn subject(&self, label: &str, own: &X509Certificate<'_>, findings: &mut Vec<Finding>) {
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map_or_else(|_| "no text".to_owned(), str::to_owned)
        };
        if let Some(wanted) = &self.common_name {
            let names: Vec<String> = own.subject().iter_common_name().map(text).collect();
            if names.last() != Some(wanted) || names.len() > 1 {
                let actual = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                findings.push(Finding::new(label, "subject CN", wanted, shorten(&actual)));
            }
        }
        let organizations: BTreeSet<String> = own.subject().iter_organization().map(text).collect();
        let show = |set: &BTreeSet<String>| {
            if set.is_empty() {
                "none".to_owned()
            } else {
                set.iter().cloned().collect::<Vec<_>>().join(", ")
            }
        };
        if let Some(wanted) = &self.organizations {
            let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
            if wanted != organizations {
                findings.push(Finding::new(
                    label,
                    "subject O",
                    show(&wanted),
                    shorten(&show(&organizations)),
                ));
            }
        }
        for unwanted in self.not_organizations.iter().filter(|name| organizations.contains(*name)) {
            findings.push(Finding::new(label, "subject O", format!("not {unwanted}"), unwanted));
        }
    }

    fn names(&self, label: &str, own: &X509Certificate<'_>, findings: &mut Vec<Finding>) {
        let names = own.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let mut dns = Vec::new();
        let mut addresses = Vec::new();
        let mut others = Vec::new();
        for name in names {
            match name {
                GeneralName::DNSName(name) => dns.push(name.to_lowercase()),
                GeneralName::IPAddress(bytes) => {
                    match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                        (Ok(four), _) => addresses.push(std::net::IpAddr::from(four)),
                        (_, Ok(sixteen)) => addresses.push(std::net::IpAddr::from(sixteen)),
                        _ => others.push("an address".to_owned()),
                    }
                }
                other => others.push(other.to_string()),
            }
        }
        let shown = || {
            let all: Vec<String> =
                dns.iter().cloned().chain(addresses.iter().map(ToString::to_string)).collect();
            if all.is_empty() { "none".to_owned() } else { shorten(&all.join(", ")) }
        };
        for wanted in self.dns_names.iter().filter(|wanted| !dns.iter().any(|name| covers(name, wanted))) {
            findings.push(Finding::new(label, "subject alternative names", wanted, shown()));
        }
        for wanted in self.ip_addresses.iter().filter(|wanted| !addresses.contains(wanted)) {
            findings.push(Finding::new(label, "subject alternative names", wanted.to_string(), shown()));
        }
        if self.no_other_names {
            others.extend(
                dns.iter().filter(|name| !self.dns_names.iter().any(|w| w.to_lowercase() == **name)).cloned(),
            );
            let unwanted = addresses.iter().filter(|address| !self.ip_addresses.contains(address));
            others.extend(unwanted.map(ToString::to_string));
            for name in others {
                findings.push(Finding::new(label, "subject alternative names", "not there", shorten(&name)));
            }
        }
    }

    fn time(&self, label: &str, own: &X509Certificate<'_>, findings: &mut Vec<Finding>) {
        let (begin, end) = (own.validity().not_before.timestamp(), own.validity().not_after.timestamp());
        let hours = (end - begin).max(0) as u64 / 3600;
        let at =
            |seconds: i64| Timestamp::from_second(seconds).map_or("no time".to_owned(), |at| at.to_string());
        let actual = format!("{hours} hours, {} to {}", at(begin), at(end));
        // The authority sets the beginning back a little, so that clocks may differ.
        let slack = SLACK.as_secs();
        if let Some(most) = self.hours_at_most.filter(|most| end - begin > i64::from(*most) * 3600 + slack) {
            findings.push(Finding::new(label, "validity", format!("at most {most} hours"), &actual));
        }
        if let Some(least) =
            self.hours_at_least.filter(|least| end - begin < i64::from(*least) * 3600 - slack)
        {
            findings.push(Finding::new(label, "validity", format!("at least {least} hours"), &actual));
        }
        let now = SystemClock.now().as_second();
        if self.valid_now && !(begin..=end).contains(&now) {
            findings.push(Finding::new(label, "validity", "valid now", actual));
        }
    }

    fn usage(&self, label: &str, own: &X509Certificate<'_>, findings: &mut Vec<Finding>) {
        let mut usages = BTreeSet::new();
        let mut others = Vec::new();
        if let Ok(Some(extension)) = own.extended_key_usage() {
            let of = extension.value;
            let all = [
                (of.client_auth, CertificateUsage::ClientAuth),
                (of.server_auth, CertificateUsage::ServerAuth),
                (of.code_signing, CertificateUsage::CodeSigning),
                (of.any, CertificateUsage::Any),
            ];
            usages.extend(all.into_iter().filter(|(has, _)| *has).map(|(_, usage)| usage));
            others.extend(
                [
                    (of.email_protection, "emailProtection"),
                    (of.time_stamping, "timeStamping"),
                    (of.ocsp_signing, "OCSPSigning"),
                ]
                .into_iter()
                .filter(|(has, _)| *has)
                .map(|(_, name)| name),
            );
        }
        let wanted: BTreeSet<CertificateUsage> = self.usages.iter().copied().collect();
        if !wanted.is_empty() && (wanted != usages || !others.is_empty()) {
            let show = |set: &BTreeSet<CertificateUsage>| {
                set.iter().map(|usage| format!("{usage:?}")).collect::<Vec<_>>().join(", ")
            };
            let mut actual = show(&usages);
            others.iter().for_each(|name| actual.push_str(&format!(" {name}")));
            let actual = if actual.is_empty() { "none".to_owned() } else { actual };
            findings.push(Finding::new(label, "extended key usage", show(&wanted), actual));
        }
        if let Some(wanted) = self.is_authority.filter(|wanted| *wanted != own.is_ca()) {
            let word = |is: bool| if is { "an authority's" } else { "no authority's" };
            findings.push(Finding::new(label, "basic constraints", word(wanted), word(own.is_ca())));
        }
    }
}

/// Tells whether a name in a certificate is good for a host; a wildcard stands for one label.
fn covers(name: &str, host: &str) -> bool {
    let host = host.to_lowercase();
    name == host
        || name.strip_prefix("*.").is_some_and(|rest| {
            host.split_once('.')
                .is_some_and(|(first, after)| !first.is_empty() && first != "*" && after == rest)
        })
}
