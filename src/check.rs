//! What a check is: a question about a cluster whose answer is pass, fail with findings, or an error that means
//! "cannot judge". Each kind has a file under `check/` and one line in `checks!`.

mod admission;
mod answer;
mod api;
mod at_rest;
mod audit_log;
mod audit_policy;
mod can_i;
mod certificate;
mod checksum;
mod dockerfile;
mod document;
mod exec;
mod expect;
mod falco_rule;
mod iam_policy;
mod kubelet_config;
mod manifest_dir;
mod mesh_policy;
mod node;
mod node_file;
mod node_listener;
mod node_service;
mod object;
mod permissions;
mod reach;
mod refusal;
mod resource;
mod sbom;
mod seccomp_profile;
mod select;
mod static_pod_flag;
mod subject;
mod task_file;
mod timeline;
mod token;
mod unchanged;
mod version_plan;
mod vuln_report;
mod workload;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use admission::{Admission, AdmittedRow, Operation, RefusedBy, RefusedRow};
pub use answer::{Answer, Case, Fact, Order};
pub use at_rest::{AtRest, AtRestProvider};
pub use audit_log::{AuditLog, LoggedRow, LoggedVerb};
pub use audit_policy::{AuditPolicy, AuditRow, Level, Stage};
pub use can_i::{CanI, PermissionRow};
pub use certificate::{Certificate, CertificateUsage};
pub use checksum::{Algorithm, Checksum, WrittenDigests};
pub use dockerfile::{Dockerfile, FinalUser, Keeps, Pinned, RemoteAdd};
pub use document::{KeyOf, NodePath, Source};
pub use exec::Exec;
pub use expect::{Expect, Format};
pub use falco_rule::{Alert, FalcoEvent, FalcoRule, Priority};
pub use iam_policy::{IamPolicy, IamRow};
pub use kubelet_config::KubeletConfig;
pub use manifest_dir::{FindingLine, ManifestDir, ManifestRule, WrittenFindings};
pub use mesh_policy::{MeshMode, MeshPolicy, MeshProxy, MeshRow};
pub use node_file::NodeFile;
pub use node_listener::{NodeListener, PortReach, PortRow};
pub use node_service::{NodeService, UnitRow};
pub use reach::{Protocol, Reach, ReachEnd, ReachRow, ReachSource};
pub use resource::Resource;
pub use sbom::{PackageRow, Sbom, SbomFormat, SbomSubject};
pub use seccomp_profile::{SeccompProfile, SeccompRuntime, SyscallEffect, SyscallRow};
pub use select::Select;
pub use static_pod_flag::{FlagRow, StaticPodFlag};
pub use subject::Subject;
pub use timeline::{Log, LogEvent, Timeline};
pub use token::Token;
pub use unchanged::{Unchanged, UnchangedObjects};
pub use version_plan::{PlanNode, VersionPlan};
pub use vuln_report::{Report, VulnAnswer, VulnReport};
pub use workload::{Images, Workload};

use crate::cluster::{Capability, Cluster};

/// What the learner did, as far as one check looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All that was expected was found.
    Pass,
    /// Something else was found; never empty.
    Fail(Vec<Finding>),
}

/// One thing that was found and should have been otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// What was looked at, such as `Deployment shop/api` or `ServiceAccount shop/releaser`.
    pub object: String,
    /// Where in it, such as `spec.template.spec.containers[0]`, a verb and resource, or a file's line.
    pub path: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub actual: String,
}

/// Why a check cannot judge. Never a pass and never a fail.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The API or the transport to it failed.
    #[error("the cluster did not answer: {0}")]
    Api(String),
    /// The cluster could not be probed.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// What was recorded at the start is missing or damaged.
    #[error("nothing was recorded at the start for this check")]
    NoBaseline,
    /// A file of the task folder is there and cannot be read.
    #[error("`{file}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The check itself is wrong; lint should have caught it.
    #[error("the check is faulty: {0}")]
    Spec(String),
    /// It took longer than it may.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
}

impl From<kube::Error> for CheckError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error.to_string())
    }
}

/// What became of a check. The three are never folded together.
#[derive(Debug)]
pub enum Outcome {
    /// It was judged.
    Judged(Verdict),
    /// It was not asked, since the cluster lacks what it needs.
    Skipped {
        /// What is missing.
        missing: Capability,
    },
    /// It was asked and could not be judged.
    Errored(CheckError),
}

/// What a check may use.
pub struct CheckCx<'a> {
    /// The cluster.
    pub cluster: &'a dyn Cluster,
    /// A client with the grader's credentials.
    pub client: kube::Client,
    /// The learner's task folder, where answers and task files lie.
    pub task_dir: &'a Path,
    /// What this check recorded when the scenario had just been seeded.
    pub baseline: Option<&'a Value>,
}

/// How checks of one kind lint, record and judge. Dispatch is static, through [`CheckKind`].
pub trait Check {
    /// What the kind needs of a cluster.
    const NEEDS: &'static [Capability] = &[Capability::Api];

    /// Returns what this one needs of a cluster, where that depends on the specification.
    fn needs(&self) -> &'static [Capability] {
        Self::NEEDS
    }

    /// Pushes a message for each fault in the specification that parsing cannot see: CEL that does not compile,
    /// an expectation that is empty and so could not fail.
    fn lint(&self, _faults: &mut Vec<String>) {}

    /// Records what must be compared later, right after the seed. `Value::Null` records nothing.
    fn record(&self, _cx: &CheckCx<'_>) -> impl Future<Output = Result<Value, CheckError>> + Send {
        async { Ok(Value::Null) }
    }

    /// Judges. Reads and dry-runs only; the same state gives the same answer.
    ///
    /// # Errors
    /// [`CheckError`] when it cannot be judged.
    fn run(&self, cx: &CheckCx<'_>) -> impl Future<Output = Result<Verdict, CheckError>> + Send;
}

/// Declares the kinds: the key of the one-key map in YAML, the variant, which is also the name of the specification.
macro_rules! checks {
    ($($(#[$doc:meta])* $key:literal => $kind:ident,)*) => {
        /// One check as authored: a map of one key, which names the kind, to the kind's specification.
        #[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub enum CheckKind {
            $($(#[$doc])* #[serde(rename = $key)] $kind($kind),)*
        }

        impl CheckKind {
            /// The keys of all kinds, in the order of the reference.
            pub const NAMES: &'static [&'static str] = &[$($key),*];

            /// Returns the key of this kind.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$kind(_) => $key,)* }
            }

            /// Returns what the check needs of a cluster.
            pub fn needs(&self) -> &'static [Capability] {
                match self { $(Self::$kind(check) => Check::needs(check),)* }
            }

            /// Returns the faults of the specification that parsing cannot see.
            pub fn lint(&self) -> Vec<String> {
                let mut faults = Vec::new();
                match self { $(Self::$kind(check) => check.lint(&mut faults),)* }
                faults
            }

            /// Records what must be compared later, right after the seed; null when there is nothing.
            ///
            /// # Errors
            /// [`CheckError`] when it cannot be recorded.
            pub async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
                match self { $(Self::$kind(check) => check.record(cx).await,)* }
            }

            /// Judges.
            ///
            /// # Errors
            /// [`CheckError`] when it cannot be judged.
            pub async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
                match self { $(Self::$kind(check) => check.run(cx).await,)* }
            }

            /// Returns the JSON Schema of each kind's specification by key.
            pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
                vec![$(($key, schemars::schema_for!($kind))),*]
            }
        }
    };
}

checks! {
    /// Looks at one object or a named set of objects.
    "resource" => Resource,
    /// Makes sure that workloads still run as they did.
    "workload" => Workload,
    /// Makes sure that things are as they were seeded.
    "unchanged" => Unchanged,
    /// Asks what a subject may do.
    "canI" => CanI,
    /// Tries what would be admitted and what refused, and by whom.
    "admission" => Admission,
    /// Asks who reaches whom.
    "reach" => Reach,
    /// Looks at a file of a node.
    "nodeFile" => NodeFile,
    /// Compares the learner's written answer with facts.
    "answer" => Answer,
    /// Evaluates an audit policy on a table of requests.
    "auditPolicy" => AuditPolicy,
    /// Judges the image that a Dockerfile builds.
    "dockerfile" => Dockerfile,
    /// Evaluates Falco rules on recorded events.
    "falcoRule" => FalcoRule,
    /// Reviews a folder of manifests, and how they were fixed.
    "manifestDir" => ManifestDir,
    /// Compares events that were found in logs with those that are there.
    "timeline" => Timeline,
    /// Has a token reviewed that the learner had issued.
    "token" => Token,
    /// Compares the files of a folder byte for byte.
    "checksum" => Checksum,
    /// Evaluates a seccomp profile on a table of system calls.
    "seccompProfile" => SeccompProfile,
    /// Evaluates cloud policies on a table of requests.
    "iamPolicy" => IamPolicy,
    /// Looks into a bill of materials.
    "sbom" => Sbom,
    /// Compares an answer with what scanners' reports say.
    "vulnReport" => VulnReport,
    /// Works out what workloads' ports take in a mesh.
    "meshPolicy" => MeshPolicy,
    /// Runs through an upgrade plan by the version-skew rules.
    "versionPlan" => VersionPlan,
    /// Looks at a certificate.
    "certificate" => Certificate,
    /// Looks at the flags of a component as it runs.
    "staticPodFlag" => StaticPodFlag,
    /// Looks at the configuration that a kubelet runs with.
    "kubeletConfig" => KubeletConfig,
    /// Makes requests and finds them in the audit log.
    "auditLog" => AuditLog,
    /// Reads values out of etcd.
    "atRest" => AtRest,
    /// Asks which services of a node run.
    "nodeService" => NodeService,
    /// Asks which ports of a node somebody listens on.
    "nodeListener" => NodeListener,
    /// Runs a command in a container.
    "exec" => Exec,
}

impl Verdict {
    /// Passes when there is nothing to find.
    pub fn of(findings: Vec<Finding>) -> Self {
        if findings.is_empty() { Self::Pass } else { Self::Fail(findings) }
    }
}

impl Finding {
    /// Says what was found and what should have been.
    pub fn new(
        object: impl Into<String>,
        path: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self { object: object.into(), path: path.into(), expected: expected.into(), actual: actual.into() }
    }

    /// Says how many more like the ones before it were found of an object and are not listed.
    pub fn further(object: impl Into<String>, count: usize) -> Self {
        Self::new(object, FURTHER, "none", format!("{count} more"))
    }

    /// Returns the count of a [`Finding::further`]; none of any other.
    pub fn further_count(&self) -> Option<usize> {
        let count = self.actual.strip_suffix(" more").filter(|_| self.path == FURTHER)?;
        count.parse().ok()
    }
}

/// The path of a finding that stands for those that are not listed.
const FURTHER: &str = "and further";
