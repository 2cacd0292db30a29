//! Every kind of check against the cases under `tests/fixtures/checks/<kind>/`: what passes, what fails and with which
//! findings, and what cannot be judged.

mod fake;
mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cks_lab::check::{CheckCx, CheckError, CheckKind, Finding, Verdict};
use cks_lab::cluster::Cluster;
use serde::Deserialize;
use serde_json::Value;

use self::fake::{Answer, Command, FakeCluster, NodeFile, ReachAnswer};

/// One case: a cluster after the seed, what the learner did to it, and what the check must say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    /// What the case shows; read by people.
    #[expect(dead_code, reason = "it says in the file what the case shows")]
    describe: String,
    #[serde(default)]
    seed: Vec<Value>,
    /// Objects that are added or replaced after the seed.
    #[serde(default)]
    then: Vec<Value>,
    /// `Kind namespace/name` of objects that are deleted after the seed.
    #[serde(default)]
    deleted: Vec<String>,
    check: CheckKind,
    outcome: Expected,
    /// Findings that there must be, by the fields that are given; for a failure they are all there may be.
    #[serde(default)]
    findings: Vec<PartialFinding>,
    /// What the error must say.
    #[serde(default)]
    error: String,
    /// Files in the task folder.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Files in the task folder that the learner writes after the seed; null removes a file or a folder.
    #[serde(default)]
    then_files: BTreeMap<String, Option<String>>,
    #[serde(default)]
    node_files: Vec<NodeFile>,
    /// What commands give on nodes and in containers.
    #[serde(default)]
    commands: Vec<Command>,
    #[serde(default)]
    reach: Vec<ReachAnswer>,
    /// Answers given instead of the API's own, after the seed.
    #[serde(default)]
    answers: Vec<Answer>,
    /// The API is gone after the seed.
    #[serde(default)]
    down: bool,
    /// Nothing was recorded after the seed.
    #[serde(default)]
    no_baseline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Pass,
    Fail,
    CannotJudge,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PartialFinding {
    object: String,
    path: String,
    expected: String,
    actual: String,
}

impl PartialFinding {
    /// Tells whether a finding has all that is given; texts may be parts.
    fn is(&self, finding: &Finding) -> bool {
        finding.object.contains(&self.object)
            && finding.path.contains(&self.path)
            && finding.expected.contains(&self.expected)
            && finding.actual.contains(&self.actual)
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checks")
}

fn cases(kind: &str) -> Vec<(String, Case)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixtures().join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = format!("{kind}/{}", path.file_stem().unwrap().to_string_lossy());
            let case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, case)
        })
        .collect()
}

async fn run(case: &Case) -> Result<Verdict, CheckError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in &case.files {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut cluster = FakeCluster::new(&case.seed);
    cluster.node_files = case.node_files.clone();
    cluster.commands = case.commands.clone();
    cluster.reach = case.reach.clone();
    let cx =
        |baseline| CheckCx { cluster: &cluster, client: cluster.client(), task_dir: folder.path(), baseline };
    let baseline = case.check.record(&cx(None)).await?;
    for (name, text) in &case.then_files {
        let path = folder.path().join(name);
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None if path.is_dir() => std::fs::remove_dir_all(path).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
    for object in &case.then {
        cluster.put(object);
    }
    for name in &case.deleted {
        cluster.delete(name);
    }
    cluster.disturb(&case.answers, case.down);
    let baseline = Some(&baseline).filter(|_| !case.no_baseline);
    let first = case.check.run(&cx(baseline)).await;
    if let (Ok(first), Ok(second)) = (&first, case.check.run(&cx(baseline)).await) {
        assert_eq!(first, &second, "the same state gives the same answer");
    }
    assert_eq!(cluster.writes(), Vec::<String>::new(), "checks change nothing");
    first
}

/// Says what is wrong with the outcome of a case.
fn fault(case: &Case, result: &Result<Verdict, CheckError>) -> Option<String> {
    let faults = case.check.lint();
    if !faults.is_empty() {
        return Some(format!("lint: {faults:?}"));
    }
    match (case.outcome, result) {
        (Expected::Pass, Ok(Verdict::Pass)) => None,
        (Expected::Fail, Ok(Verdict::Fail(findings))) => {
            if case.findings.is_empty() {
                return Some(format!("the case names no findings; there are {findings:#?}"));
            }
            let missing = case.findings.iter().find(|wanted| !findings.iter().any(|found| wanted.is(found)));
            let extra = findings.iter().find(|found| !case.findings.iter().any(|wanted| wanted.is(found)));
            match (missing, extra) {
                (None, None) => None,
                _ => Some(format!("missing {missing:#?}, extra {extra:#?}, of {findings:#?}")),
            }
        }
        (Expected::CannotJudge, Err(error)) => {
            let text = error.to_string();
            (case.error.is_empty() || !text.contains(&case.error)).then(|| format!("the error says: {text}"))
        }
        (_, result) => Some(format!("{:?} expected, {result:#?}", case.outcome)),
    }
}

async fn all_of(kind: &str) {
    let cases = cases(kind);
    for outcome in [Expected::Pass, Expected::Fail, Expected::CannotJudge] {
        assert!(cases.iter().any(|(_, case)| case.outcome == outcome), "{kind} has no case for {outcome:?}");
    }
    let mut wrong = Vec::new();
    for (name, case) in cases {
        assert_eq!(case.check.name(), kind, "{name}");
        let result = run(&case).await;
        wrong.extend(fault(&case, &result).map(|fault| format!("{name}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

macro_rules! kinds {
    ($($test:ident: $kind:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            all_of($kind).await;
        })*

        #[test]
        fn every_kind_has_its_cases() {
            assert_eq!(CheckKind::NAMES, [$($kind),*]);
        }
    };
}

kinds! {
    resource: "resource",
    workload: "workload",
    unchanged: "unchanged",
    can_i: "canI",
    admission: "admission",
    reach: "reach",
    node_file: "nodeFile",
    answer: "answer",
    audit_policy: "auditPolicy",
    dockerfile: "dockerfile",
    falco_rule: "falcoRule",
    manifest_dir: "manifestDir",
    timeline: "timeline",
    token: "token",
    checksum: "checksum",
    seccomp_profile: "seccompProfile",
    iam_policy: "iamPolicy",
    sbom: "sbom",
    vuln_report: "vulnReport",
    mesh_policy: "meshPolicy",
    version_plan: "versionPlan",
    certificate: "certificate",
    static_pod_flag: "staticPodFlag",
    kubelet_config: "kubeletConfig",
    audit_log: "auditLog",
    at_rest: "atRest",
    node_service: "nodeService",
    node_listener: "nodeListener",
    exec: "exec",
}
