//! `canI`: what a subject may do, from all bindings together, as the API server's authorizer answers it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
use super::permissions::{self, Atom, Rbac, qualified, unqualified};
use super::subject::{Identity, Subject};
use super::{Check, CheckCx, CheckError, Finding, Verdict};

/// Asks what a subject may do, with the grader's credentials and never by reading one binding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanI {
    /// The subject.
    #[serde(rename = "as")]
    pub subject: Subject,
    /// What it must be able to do: every verb of every row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<PermissionRow>,
    /// What it must not be able to do: none of the verbs of any row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<PermissionRow>,
    /// Everything it may do: these rows and nothing more, apart from what every authenticated subject may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Vec<PermissionRow>>,
}

/// Verbs on a resource, or on a path that is no resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionRow {
    /// The verbs; `*` in `denied` means any verb whatever, in `allowed` and `exactly` the verb `*` itself.
    pub verbs: Vec<String>,
    /// The resource as kubectl writes it, with group and subresource: `pods`, `pods/exec`, `deployments.apps`,
    /// `deployments.apps/scale`. `*` in `denied` means any resource that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The one object it is about; any object when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace; `*` in `denied` means in any namespace or all of them at once, in `allowed` and `exactly` all of
    /// them at once. Left out for resources without namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A path that is no resource, such as `/metrics`, instead of `resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How many reviews run at once.
const CONCURRENT: usize = 32;
/// How many findings one row gives before the rest is only counted.
const SHOWN: usize = 6;
/// How many questions show that something is granted which RBAC's objects name by a wildcard.
const EXAMPLES: usize = 3;

impl Check for CanI {
    fn lint(&self, faults: &mut Vec<String>) {
        self.subject.lint("as", faults);
        if self.allowed.is_empty() && self.denied.is_empty() && self.exactly.is_none() {
            faults.push("canI: without rows in allowed, denied or exactly it cannot fail".to_owned());
        }
        let exactly = self.exactly.as_deref().unwrap_or_default();
        for (field, rows) in
            [("allowed", self.allowed.as_slice()), ("denied", self.denied.as_slice()), ("exactly", exactly)]
        {
            for (index, row) in rows.iter().enumerate() {
                row.lint(&format!("{field}[{index}]"), field == "denied", faults);
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let who = self.subject.identity()?;
        let api = Api::new(cx.client.clone());
        if let Some((namespace, name)) = &who.service_account
            && api.get_known("v1", "ServiceAccount", Some(namespace), name).await?.is_none()
        {
            return Ok(Verdict::Fail(vec![Finding::new(who.display(), "", "it exists", "it does not")]));
        }
        let judge = Judge::new(&api, who).await?;
        let mut findings = Vec::new();
        for row in &self.allowed {
            if judge.makes_sense(row, &mut findings)? {
                let asks = judge.atoms(row, false);
                judge.compare(asks, true, &mut findings).await?;
            }
        }
        for row in &self.denied {
            if judge.makes_sense(row, &mut findings)? {
                let asks = judge.denied(row);
                judge.compare(asks, false, &mut findings).await?;
            }
        }
        if let Some(rows) = &self.exactly {
            judge.exactly(rows, &mut findings).await?;
        }
        Ok(Verdict::of(findings))
    }
}

impl PermissionRow {
    fn lint(&self, at: &str, denied: bool, faults: &mut Vec<String>) {
        if self.verbs.is_empty() || self.verbs.iter().any(String::is_empty) {
            faults.push(format!("{at}.verbs: name the verbs"));
        }
        match (&self.resource, &self.path) {
            (Some(resource), None) => {
                if resource.is_empty() || (resource.contains('*') && !(denied && resource == "*")) {
                    faults.push(format!("{at}.resource: name one resource"));
                }
            }
            (None, Some(path)) => {
                if !path.starts_with('/') || self.namespace.is_some() || self.name.is_some() {
                    faults.push(format!("{at}.path: a path starts with / and has no namespace or name"));
                }
            }
            _ => faults.push(format!("{at}.resource: give a resource or a path")),
        }
        if self.name.as_deref() == Some("") || self.namespace.as_deref() == Some("") {
            faults.push(format!("{at}: an empty name or namespace means nothing; leave it out"));
        }
    }
}

/// One check's view of the cluster.
struct Judge<'a> {
    api: &'a Api,
    who: Identity,
    rbac: Rbac,
    namespaces: BTreeSet<String>,
    granted: BTreeSet<Atom>,
    basics: BTreeSet<Atom>,
}

/// What the authorizer said.
#[derive(Clone)]
struct Said {
    allowed: bool,
    reason: String,
}

impl<'a> Judge<'a> {
    async fn new(api: &'a Api, who: Identity) -> Result<Self, CheckError> {
        let rbac = Rbac::read(api).await?;
        let namespaces = api.list_known("v1", "Namespace", None, None).await?;
        let granted = rbac.granted(&who);
        let basics = permissions::basics(&who);
        let namespaces = namespaces
            .iter()
            .filter_map(|namespace| namespace["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        Ok(Self { api, who, rbac, namespaces, granted, basics })
    }

    /// Tells whether a row can be asked about; where it cannot because of what was done to the cluster, that is a
    /// finding.
    fn makes_sense(&self, row: &PermissionRow, findings: &mut Vec<Finding>) -> Result<bool, CheckError> {
        let Some(resource) = row.resource.as_deref().filter(|&resource| resource != "*") else {
            return self.has_namespace(row, findings);
        };
        let (group, plain) = unqualified(resource);
        if !self.rbac.knows(&group, &plain) {
            let object = format!("Resource {resource}");
            findings.push(Finding::new(object, "", "it is served", "it is not"));
            return Ok(false);
        }
        let of_namespace = group.is_empty() && plain.starts_with("namespaces");
        match (self.rbac.is_namespaced(&group, &plain), &row.namespace) {
            (Some(true), None) => Err(CheckError::Spec(format!(
                "{resource} live in namespaces: name one, or * for all of them"
            ))),
            (Some(false), Some(_)) if !of_namespace => {
                Err(CheckError::Spec(format!("{resource} live in no namespace")))
            }
            _ => self.has_namespace(row, findings),
        }
    }

    fn has_namespace(&self, row: &PermissionRow, findings: &mut Vec<Finding>) -> Result<bool, CheckError> {
        match row.namespace.as_deref() {
            Some(namespace) if namespace != "*" && !self.namespaces.contains(namespace) => {
                let object = format!("Namespace {namespace}");
                let finding = Finding::new(object, "", "it exists", "it does not");
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// Writes a row as atoms, one for each verb. In `all` the wildcards mean whatever there is.
    fn atoms(&self, row: &PermissionRow, all: bool) -> Vec<Atom> {
        if let Some(path) = &row.path {
            let any = ["get", "head", "post", "put", "patch", "delete", "options", "*"];
            let verbs: Vec<&str> = if all && row.verbs.iter().any(|verb| verb == "*") {
                any.to_vec()
            } else {
                row.verbs.iter().map(String::as_str).collect()
            };
            return verbs
                .into_iter()
                .map(|verb| Atom::Path { path: path.clone(), verb: verb.to_owned() })
                .collect();
        }
        let (group, resource) = match row.resource.as_deref() {
            Some("*") | None => ("*".to_owned(), "*".to_owned()),
            Some(resource) => unqualified(resource),
        };
        let mut namespaces = match row.namespace.as_deref() {
            Some("*") | None => vec![None],
            Some(namespace) => vec![Some(namespace.to_owned())],
        };
        if all && row.namespace.as_deref() == Some("*") {
            namespaces.extend(self.namespaces.iter().cloned().map(Some));
        }
        let mut atoms = Vec::new();
        for namespace in namespaces {
            for verb in &row.verbs {
                let atom = Atom::Resource {
                    namespace: namespace.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: row.name.clone(),
                    verb: verb.clone(),
                };
                if all && (verb == "*" || resource == "*") {
                    atoms.extend(self.rbac.effect(&atom));
                }
                if resource != "*" {
                    atoms.push(atom);
                }
            }
        }
        atoms
    }

    /// Returns what must be asked to know that nothing in a row is possible: also about each single object that some
    /// rule names, since a question about all objects does not tell.
    fn denied(&self, row: &PermissionRow) -> Vec<Atom> {
        let mut asks: BTreeSet<Atom> = self.atoms(row, true).into_iter().collect();
        let mut named = BTreeSet::new();
        for granted in &self.granted {
            let Atom::Resource { name: Some(name), .. } = granted else { continue };
            for ask in asks.iter().filter(|ask| ask.overlaps(granted)) {
                if let Atom::Resource { namespace, group, resource, name: None, verb } = ask {
                    named.insert(Atom::Resource {
                        namespace: namespace.clone(),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: Some(name.clone()),
                        verb: verb.clone(),
                    });
                }
            }
        }
        asks.extend(named);
        asks.retain(|ask| !self.basics.iter().any(|basic| basic.covers(ask)));
        asks.into_iter().collect()
    }

    async fn compare(
        &self,
        asks: Vec<Atom>,
        allowed: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<(), CheckError> {
        let answers = self.ask(&asks).await?;
        let wrong: Vec<_> = asks.iter().zip(answers).filter(|(_, said)| said.allowed != allowed).collect();
        for (ask, said) in wrong.iter().take(SHOWN) {
            findings.push(self.finding(ask, if allowed { "allowed" } else { "denied" }, said));
        }
        if wrong.len() > SHOWN {
            findings.push(Finding::further(self.who.display(), wrong.len() - SHOWN));
        }
        Ok(())
    }

    fn finding(&self, ask: &Atom, expected: &str, said: &Said) -> Finding {
        let actual = match (said.allowed, said.reason.is_empty()) {
            (false, _) => "denied".to_owned(),
            (true, true) => "allowed".to_owned(),
            (true, false) => format!("allowed ({})", said.reason),
        };
        Finding::new(self.who.display(), ask.to_string(), expected, actual)
    }

    /// Compares all that the subject may do with the rows.
    async fn exactly(&self, rows: &[PermissionRow], findings: &mut Vec<Finding>) -> Result<(), CheckError> {
        let mut wanted = BTreeSet::new();
        for row in rows {
            if self.makes_sense(row, findings)? {
                wanted.extend(self.atoms(row, false));
            }
        }
        // What RBAC's objects say, as far as the authorizer confirms it.
        let mut known = self.basics.clone();
        known.extend(wanted.iter().cloned());
        let beyond = self.rbac.beyond(&self.granted, &known);
        // Asked all at once: whoever may do much more than asked for would take a round trip for each of it.
        let examples = || beyond.iter().map(|(_, examples)| examples.iter().take(EXAMPLES));
        let asks: Vec<Atom> = examples().flatten().cloned().collect();
        let mut answers = self.ask(&asks).await?.into_iter();
        let mut more = 0;
        for ((atom, _), examples) in beyond.iter().zip(examples()) {
            let answers: Vec<Said> = answers.by_ref().take(examples.count()).collect();
            let Some(said) = answers.into_iter().find(|said| said.allowed) else { continue };
            more += 1;
            if more <= SHOWN {
                findings.push(self.finding(atom, "nothing more than asked for", &said));
            }
        }
        if more > SHOWN {
            findings.push(Finding::further(self.who.display(), more - SHOWN));
        }
        // What is asked for, as the authorizer sees it: each verb by itself.
        let asks: Vec<Atom> = wanted.iter().cloned().collect();
        self.compare(asks, true, findings).await?;
        if more == 0 {
            // What an authorizer other than RBAC may grant.
            let effects = self.rbac.effects(&known);
            let mut asks = self.canaries(rows);
            asks.retain(|ask| !known.iter().chain(&effects).any(|known| known.covers(ask)));
            self.compare(asks, false, findings).await?;
        }
        Ok(())
    }

    /// Returns questions that together show an authorizer which grants more than RBAC's objects do: the other verbs of
    /// each resource in the rows, and what matters most in every cluster.
    fn canaries(&self, rows: &[PermissionRow]) -> Vec<Atom> {
        let mut asks = BTreeSet::new();
        for row in rows {
            let any = PermissionRow { verbs: vec!["*".to_owned()], name: None, ..row.clone() };
            asks.extend(self.atoms(&any, true).into_iter().filter(
                |atom| !matches!(atom, Atom::Resource { verb, .. } | Atom::Path { verb, .. } if verb == "*"),
            ));
        }
        let home = self.who.service_account.as_ref().map_or("default", |(namespace, _)| namespace.as_str());
        for (verb, resource, namespace) in [
            ("*", "*.*", None),
            ("get", "secrets", None),
            ("list", "secrets", Some("kube-system")),
            ("get", "secrets", Some(home)),
            ("create", "pods", Some("kube-system")),
            ("create", "pods", Some(home)),
            ("create", "pods/exec", Some(home)),
            ("create", "serviceaccounts/token", Some("kube-system")),
            ("create", "deployments.apps", Some(home)),
            ("create", "rolebindings.rbac.authorization.k8s.io", Some(home)),
            ("create", "clusterrolebindings.rbac.authorization.k8s.io", None),
            ("escalate", "clusterroles.rbac.authorization.k8s.io", None),
            ("bind", "clusterroles.rbac.authorization.k8s.io", None),
            ("impersonate", "users", None),
            ("impersonate", "serviceaccounts", Some("kube-system")),
            ("get", "nodes", None),
            ("get", "nodes/proxy", None),
            ("list", "namespaces", None),
            ("create", "certificatesigningrequests.certificates.k8s.io", None),
            ("create", "mutatingwebhookconfigurations.admissionregistration.k8s.io", None),
        ] {
            let (group, resource) =
                if resource == "*.*" { ("*".to_owned(), "*".to_owned()) } else { unqualified(resource) };
            asks.insert(Atom::Resource {
                namespace: namespace.map(str::to_owned),
                group,
                resource,
                name: None,
                verb: verb.to_owned(),
            });
        }
        asks.into_iter().collect()
    }

    /// Asks the authorizer about each atom, in order.
    async fn ask(&self, asks: &[Atom]) -> Result<Vec<Said>, CheckError> {
        let reviews: Vec<_> = asks.iter().map(|ask| self.review(ask)).collect();
        stream::iter(reviews).buffered(CONCURRENT).try_collect().await
    }

    async fn review(&self, ask: &Atom) -> Result<Said, CheckError> {
        let mut spec = json!({ "user": self.who.user, "groups": self.who.groups });
        match ask {
            Atom::Path { path, verb } => {
                spec["nonResourceAttributes"] = json!({ "path": path, "verb": verb });
            }
            Atom::Resource { namespace, group, resource, name, verb } => {
                let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
                let mut attributes = BTreeMap::from([("verb", verb.as_str()), ("resource", plural)]);
                attributes.extend([("group", group.as_str()), ("subresource", sub), ("version", "*")]);
                attributes.insert("namespace", namespace.as_deref().unwrap_or_default());
                attributes.insert("name", name.as_deref().unwrap_or_default());
                attributes.retain(|_, value| !value.is_empty());
                spec["resourceAttributes"] = json!(attributes);
            }
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let status = self.api.review(path, &review).await?;
        let Some(allowed) = status["allowed"].as_bool() else {
            let what = match ask {
                Atom::Resource { group, resource, .. } => qualified(group, resource),
                Atom::Path { path, .. } => path.clone(),
            };
            return Err(CheckError::Api(format!("the review about {what} has no answer")));
        };
        let reason = status["reason"].as_str().unwrap_or_default().to_owned();
        Ok(Said { allowed, reason })
    }
}
