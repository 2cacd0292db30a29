//! `auditPolicy`: what an audit policy makes of requests: the level and the stages of each, the first rule that matches
//! deciding, by the API server's rules.

use serde::{Deserialize, Serialize};

pub use crate::audit_policy::{Level, Stage};

use super::api::Api;
use super::document::{self, Source};
use super::permissions::unqualified;
use super::subject::Subject;
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::audit_policy::{self, Outcome, Policy, Request};
use crate::cluster::Capability;

/// Evaluates an audit policy (`audit.k8s.io/v1`) on a table of requests.
///
/// The policy is parsed strictly and validated as the API server does: a misspelt key, which the server would only warn
/// of, is a finding with its line and column. Each row stands for all its verbs on all its resources or paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditPolicy {
    /// Where the policy lies.
    pub source: Source,
    /// The requests.
    pub requests: Vec<AuditRow>,
    /// How many events the requests with a `count` may give together, each logged stage being one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_at_most: Option<u64>,
}

/// Requests, and what the policy must make of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditRow {
    /// Who asks.
    #[serde(rename = "as")]
    pub subject: Subject,
    /// The verbs, as `get`, `create`, `deletecollection`.
    pub verbs: Vec<String>,
    /// The resources as kubectl writes them: `secrets`, `pods/exec`, `deployments.apps/scale`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Paths that are no resources, such as `/metrics`, instead of `resources`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The namespace; left out for resources without namespace and for requests across all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name in the request's path. A `create` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The level it must be logged at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Other levels that are right too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Level>,
    /// Exactly the stages that are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omit_stages: Option<Vec<Stage>>,
    /// Whether managed fields are left out of logged bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omit_managed_fields: Option<bool>,
    /// How many such requests there are in the traffic that `eventsAtMost` bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for AuditPolicy {
    fn needs(&self) -> &'static [Capability] {
        self.source.needs()
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.source.lint("source", faults);
        if self.requests.is_empty() {
            faults.push("requests: without requests it cannot fail".to_owned());
        }
        for (index, row) in self.requests.iter().enumerate() {
            row.lint(&format!("requests[{index}]"), self.events_at_most.is_some(), faults);
        }
        if self.events_at_most.is_some() && self.requests.iter().all(|row| row.count.is_none()) {
            faults.push("eventsAtMost: no request has a count".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let text = match self.source.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.source.label();
        let policy = match document::yaml::<Policy>(&text) {
            Ok(policy) => policy,
            Err(fault) => return Ok(Verdict::Fail(vec![fault.finding(&label, "an audit policy")])),
        };
        let said = [("apiVersion", &policy.api_version, "audit.k8s.io/v1"), ("kind", &policy.kind, "Policy")];
        let mut findings: Vec<Finding> = said
            .into_iter()
            .filter(|(_, said, wanted)| said != wanted)
            .map(|(path, said, wanted)| Finding::new(&label, path, wanted, said))
            .collect();
        let faults = document::yaml(&text).map(|policy| audit_policy::faults(&policy)).unwrap_or_default();
        let refused = |(path, fault)| Finding::new(&label, path, "what the API server accepts", fault);
        findings.extend(faults.into_iter().map(refused));
        if !findings.is_empty() {
            return Ok(Verdict::Fail(findings));
        }
        let mut events = 0;
        for row in &self.requests {
            events += row.judge(&policy, &label, &mut findings)?;
        }
        document::cap(&label, SHOWN, &mut findings);
        if let Some(most) = self.events_at_most.filter(|&most| events > most) {
            findings.push(Finding::new(
                &label,
                "events of the given traffic",
                format!("at most {most}"),
                events.to_string(),
            ));
        }
        Ok(Verdict::of(findings))
    }
}

impl AuditRow {
    fn lint(&self, at: &str, bounded: bool, faults: &mut Vec<String>) {
        self.subject.lint(&format!("{at}.as"), faults);
        if self.verbs.is_empty() || self.verbs.iter().any(|verb| verb.is_empty() || verb == "*") {
            faults.push(format!("{at}.verbs: name the verbs"));
        }
        if self.resources.is_empty() == self.paths.is_empty() {
            faults.push(format!("{at}: give resources or paths"));
        }
        if self.resources.iter().any(|resource| resource.is_empty() || resource.contains('*')) {
            faults.push(format!("{at}.resources: a request is about one resource"));
        }
        if self.paths.iter().any(|path| !path.starts_with('/') || path.contains('*')) {
            faults.push(format!("{at}.paths: a request has one path, which starts with /"));
        }
        if !self.paths.is_empty() && (self.namespace.is_some() || self.name.is_some()) {
            faults.push(format!("{at}.paths: a path has no namespace or name"));
        }
        // A create of a subresource does name the object that it belongs to, such as that of `pods/exec`.
        let whole = self.resources.iter().any(|resource| !resource.contains('/'));
        if self.name.is_some() && whole && self.verbs.iter().any(|verb| verb == "create") {
            faults.push(format!("{at}.name: the path of a create has no name"));
        }
        if self.level.is_none() && (!self.or.is_empty() || self.count.is_none()) {
            faults.push(format!("{at}.level: say the level that is right"));
        }
        if self.or.iter().any(|level| Some(*level) == self.level) || self.or.len() > 2 {
            faults.push(format!("{at}.or: other levels, and not all of them"));
        }
        if self.count.is_some() && (!bounded || self.count == Some(0)) {
            faults.push(format!("{at}.count: it goes with eventsAtMost, and none is no traffic"));
        }
        let logged = self.level.is_some_and(|level| level != Level::None);
        if (self.omit_stages.is_some() || self.omit_managed_fields.is_some()) && !logged {
            faults.push(format!("{at}: what is not logged has no stages and no body"));
        }
    }

    /// Judges each request of the row, and returns how many events they give.
    fn judge(&self, policy: &Policy, label: &str, findings: &mut Vec<Finding>) -> Result<u64, CheckError> {
        let who = self.subject.identity()?;
        let mut events = 0;
        for verb in &self.verbs {
            let resources = self.resources.iter().map(|resource| Some(unqualified(resource)));
            let paths = self.paths.iter().map(|_| None);
            let said = self.resources.iter().chain(&self.paths);
            for (resource, text) in resources.chain(paths).zip(said) {
                let request = Request {
                    user: &who.user,
                    groups: &who.groups,
                    verb,
                    resource: resource.as_ref().map(|(group, resource)| (group.as_str(), resource.as_str())),
                    namespace: self.namespace.as_deref().unwrap_or_default(),
                    name: self.name.as_deref().unwrap_or_default(),
                    path: text,
                };
                let outcome = policy.of(&request);
                events += self.count.unwrap_or_default() * outcome.events(verb);
                let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
                let place = self.namespace.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
                let asked = format!("{}: {verb} {text}{name}{place}", who.display());
                self.compare(&outcome, label, &asked, findings);
            }
        }
        Ok(events)
    }

    fn compare(&self, outcome: &Outcome, label: &str, asked: &str, findings: &mut Vec<Finding>) {
        let by = match outcome.rule {
            Some(index) => format!("by rules[{index}]"),
            None => "no rule matches".to_owned(),
        };
        let Some(level) = self.level else { return };
        if outcome.level != level && !self.or.contains(&outcome.level) {
            let wanted: Vec<&str> =
                std::iter::once(&level).chain(&self.or).map(|level| level.name()).collect();
            let actual = format!("{} ({by})", outcome.level.name());
            findings.push(Finding::new(label, asked, wanted.join(" or "), actual));
            return;
        }
        if outcome.level == Level::None {
            return;
        }
        if let Some(stages) = &self.omit_stages {
            let wanted = stages.iter().copied().collect();
            if outcome.omitted != wanted {
                let name = |stages: &std::collections::BTreeSet<Stage>| match stages.is_empty() {
                    true => "no stage omitted".to_owned(),
                    false => {
                        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
                        format!("omitted: {}", names.join(", "))
                    }
                };
                let actual = format!("{} ({by})", name(&outcome.omitted));
                findings.push(Finding::new(label, asked, name(&wanted), actual));
            }
        }
        if let Some(wanted) = self.omit_managed_fields
            && wanted != outcome.omit_managed_fields
        {
            let word = |omitted| if omitted { "without managed fields" } else { "with managed fields" };
            let actual = format!("{} ({by})", word(outcome.omit_managed_fields));
            findings.push(Finding::new(label, asked, word(wanted), actual));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(row: &str) -> Vec<String> {
        let row: AuditRow = serde_saphyr::from_str(row).unwrap();
        let mut faults = Vec::new();
        row.lint("row", false, &mut faults);
        faults
    }

    #[test]
    fn a_create_names_an_object_only_where_it_is_of_a_subresource() {
        let row = |resource: &str| {
            faults(&format!(
                "{{ as: {{ user: eve }}, verbs: [create], resources: [{resource}], namespace: a, name: web-0, level: Metadata }}"
            ))
        };
        assert_eq!(row("pods/exec"), Vec::<String>::new());
        assert_eq!(row("pods"), ["row.name: the path of a create has no name"]);
        assert_eq!(row("pods/exec, pods"), ["row.name: the path of a create has no name"]);
    }
}
