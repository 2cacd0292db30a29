//! Runs a scenario's checks at once: what the cluster lacks is skipped, each has a deadline, a failed transport is
//! tried once more. Judges nothing itself and adds nothing up.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use crate::check::{CheckCx, CheckError, Outcome};
use crate::cluster::Cluster;
use crate::scenario::{CheckId, CheckItem};

/// How long to wait before a failed transport is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// What the checks recorded when the scenario had just been seeded; a check that recorded nothing is not in it.
pub type Baseline = BTreeMap<CheckId, Value>;

/// What one check came to.
#[derive(Debug)]
pub struct Verified {
    /// The check.
    pub id: CheckId,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether something that it needs is only modelled by this cluster.
    pub simulated: bool,
}

/// Runs the checks, all at once; the results are in their order.
pub async fn verify(
    checks: &[CheckItem],
    cluster: &dyn Cluster,
    task_dir: &Path,
    baseline: &Baseline,
) -> Vec<Verified> {
    let client = cluster.client();
    join_all(checks.iter().map(|check| async {
        let cx = CheckCx { cluster, client: client.clone(), task_dir, baseline: baseline.get(&check.id) };
        let needs = check.assert.needs();
        Verified {
            id: check.id.clone(),
            outcome: match cluster.capabilities().missing(needs) {
                Some(missing) => Outcome::Skipped { missing },
                None => judge(check, &cx).await,
            },
            simulated: cluster.capabilities().simulates(needs),
        }
    }))
    .await
}

/// What the checks come to where there is no cluster to run them on: none can be judged.
pub fn unanswered(checks: &[CheckItem], reason: &str) -> Vec<Outcome> {
    checks.iter().map(|_| Outcome::Errored(CheckError::Api(reason.to_owned()))).collect()
}

/// Records for each check what it must compare with later. Called once, right after the seed.
///
/// # Errors
/// [`RecordError`] naming the first check that could not record.
pub async fn record(
    checks: &[CheckItem],
    cluster: &dyn Cluster,
    task_dir: &Path,
) -> Result<Baseline, RecordError> {
    let client = cluster.client();
    let recorded = join_all(checks.iter().map(|check| async {
        let cx = CheckCx { cluster, client: client.clone(), task_dir, baseline: None };
        if cluster.capabilities().missing(check.assert.needs()).is_some() {
            return Ok(None);
        }
        let value = again(|| check.assert.record(&cx), check.deadline).await;
        match value {
            Ok(Value::Null) => Ok(None),
            Ok(value) => Ok(Some((check.id.clone(), value))),
            Err(source) => Err(RecordError { check: check.id.clone(), source }),
        }
    }))
    .await;
    recorded.into_iter().filter_map(Result::transpose).collect()
}

/// Why nothing could be recorded for a check.
#[derive(Debug, thiserror::Error)]
#[error("the state after the seed could not be recorded for check `{check}`")]
pub struct RecordError {
    /// The check.
    pub check: CheckId,
    /// The cause.
    #[source]
    pub source: CheckError,
}

async fn judge(check: &CheckItem, cx: &CheckCx<'_>) -> Outcome {
    match again(|| check.assert.run(cx), check.deadline).await {
        Ok(verdict) => Outcome::Judged(verdict),
        Err(error) => Outcome::Errored(error),
    }
}

/// Runs within the deadline, and once more when the transport failed.
async fn again<T, F>(run: impl Fn() -> F, deadline: Duration) -> Result<T, CheckError>
where
    F: Future<Output = Result<T, CheckError>>,
{
    let twice = async {
        match run().await {
            Err(error) if is_transport(&error) => {
                tokio::time::sleep(PAUSE).await;
                run().await
            }
            result => result,
        }
    };
    tokio::time::timeout(deadline, twice).await.unwrap_or(Err(CheckError::Timeout(deadline)))
}

fn is_transport(error: &CheckError) -> bool {
    use crate::cluster::ClusterError;
    matches!(error, CheckError::Api(_) | CheckError::Cluster(ClusterError::Failed { .. }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_secs(20);

    fn refused() -> CheckError {
        CheckError::Api("connection refused".to_owned())
    }

    #[tokio::test]
    async fn a_failed_transport_is_tried_once_more() {
        let tries = Cell::new(0);
        let result = again(
            || {
                tries.set(tries.get() + 1);
                let first = tries.get() == 1;
                async move { if first { Err(refused()) } else { Ok(7) } }
            },
            SHORT,
        )
        .await;
        assert_eq!((result.unwrap(), tries.get()), (7, 2));
    }

    #[tokio::test]
    async fn it_is_not_tried_a_third_time_and_stays_an_error() {
        let tries = Cell::new(0);
        let result: Result<(), _> = again(
            || {
                tries.set(tries.get() + 1);
                async { Err(refused()) }
            },
            SHORT,
        )
        .await;
        assert!(matches!(result, Err(CheckError::Api(_))));
        assert_eq!(tries.get(), 2);
    }

    #[tokio::test]
    async fn what_is_no_transport_error_is_not_tried_again() {
        let tries = Cell::new(0);
        let result: Result<(), _> = again(
            || {
                tries.set(tries.get() + 1);
                async { Err(CheckError::NoBaseline) }
            },
            SHORT,
        )
        .await;
        assert!(matches!(result, Err(CheckError::NoBaseline)));
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn what_takes_too_long_cannot_be_judged() {
        let result: Result<(), _> = again(std::future::pending, Duration::from_millis(5)).await;
        assert!(matches!(result, Err(CheckError::Timeout(_))));
    }
}
