//! `iamPolicy`: what cloud policy documents in AWS' language let somebody do, decided as the cloud decides it.

mod condition;
mod policy;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::policy::{Decision, Policy, Request};
use super::api::Api;
use super::document::{self, Source};
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::cluster::Capability;

/// Evaluates identity policies on a table of requests: what no statement allows is denied, and an explicit deny wins.
///
/// All `sources` count together; with `boundary`, a request must be allowed by that one too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IamPolicy {
    /// Where the policies lie.
    pub sources: Vec<Source>,
    /// Where a permissions boundary lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Source>,
    /// Context keys that all requests have unless they say otherwise, such as `aws:SourceIp`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, Value>,
    /// The requests.
    pub requests: Vec<IamRow>,
}

/// Requests, and whether they must be allowed: every action on every resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IamRow {
    /// The actions, as `s3:GetObject`.
    pub actions: Vec<String>,
    /// The resources, as `arn:aws:s3:::ledger/2026/a.csv`; `*` for actions that have none.
    pub resources: Vec<String>,
    /// Context keys with their values; lists for keys with several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub context: BTreeMap<String, Value>,
    /// Whether they must be allowed.
    pub allowed: bool,
}

/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for IamPolicy {
    fn needs(&self) -> &'static [Capability] {
        let all = self.sources.iter().chain(&self.boundary);
        all.map(Source::needs).max_by_key(|needs| needs.len()).unwrap_or(Self::NEEDS)
    }

    fn lint(&self, faults: &mut Vec<String>) {
        if self.sources.is_empty() {
            faults.push("sources: name the policies".to_owned());
        }
        for (index, source) in self.sources.iter().enumerate() {
            source.lint(&format!("sources[{index}]"), faults);
        }
        if let Some(boundary) = &self.boundary {
            boundary.lint("boundary", faults);
        }
        if !self.requests.iter().any(|row| row.allowed) || !self.requests.iter().any(|row| !row.allowed) {
            faults.push("requests: have one that is allowed and one that is denied".to_owned());
        }
        for (index, row) in self.requests.iter().enumerate() {
            let at = format!("requests[{index}]");
            let plain = |action: &String| {
                action.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty())
                    && !action.contains(['*', '?'])
            };
            if row.actions.is_empty() || !row.actions.iter().all(plain) {
                faults.push(format!("{at}.actions: actions such as s3:GetObject, without wildcards"));
            }
            let arn = |resource: &String| resource == "*" || resource.starts_with("arn:");
            if row.resources.is_empty() || !row.resources.iter().all(arn) {
                faults.push(format!("{at}.resources: ARNs, or `*` for an action that has no resource"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut findings = Vec::new();
        let mut policies = Vec::new();
        for source in &self.sources {
            policies.extend(read(source, &api, cx, &mut findings).await?);
        }
        let boundary = match &self.boundary {
            Some(source) => read(source, &api, cx, &mut findings).await?,
            None => None,
        };
        if !findings.is_empty() {
            return Ok(Verdict::Fail(findings));
        }
        let label = self.sources.first().map(Source::label).unwrap_or_default();
        for row in &self.requests {
            let mut context = self.context.clone();
            context.extend(row.context.clone());
            let context = context.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect();
            for action in &row.actions {
                for resource in &row.resources {
                    let request = Request { action, resource, context: &context };
                    let mut decision = policy::decide(&policies, &request);
                    if let (Decision::Allowed(_), Some(boundary)) = (&decision, &boundary) {
                        let bounded = policy::decide(std::slice::from_ref(boundary), &request);
                        if !matches!(bounded, Decision::Allowed(_)) {
                            decision = bounded;
                        }
                    }
                    if matches!(decision, Decision::Allowed(_)) != row.allowed {
                        let expected = if row.allowed { "allowed" } else { "denied" };
                        let asked = format!("{action} on {resource}");
                        findings.push(Finding::new(&label, asked, expected, decision.to_string()));
                    }
                }
            }
        }
        document::cap(&label, SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

async fn read(
    source: &Source,
    api: &Api,
    cx: &CheckCx<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Option<Policy>, CheckError> {
    let label = source.label();
    let text = match source.read(api, cx).await? {
        Content::Text(text) => text,
        Content::Unusable(finding) => {
            findings.push(finding);
            return Ok(None);
        }
    };
    match document::json::<Policy>(&text) {
        Ok(policy) => {
            let faults = policy.faults();
            for (path, fault) in &faults {
                findings.push(Finding::new(&label, path, "a valid policy", fault));
            }
            Ok(faults.is_empty().then_some(policy))
        }
        Err(fault) => {
            findings.push(fault.finding(&label, "a policy document"));
            Ok(None)
        }
    }
}
