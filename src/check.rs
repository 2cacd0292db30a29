//! What a check is: a question about a cluster whose answer is pass, fail with findings, or an error that means
//! "cannot judge". Each kind has a file under `check/` and one line in `checks!`.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

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
