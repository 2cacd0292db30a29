//! Why a use case could not be done.

use crate::cluster::registry::ChoiceError;
use crate::cluster::{ClusterError, ProviderError};
use crate::diag::Diagnostic;
pub use crate::exam::DrawError;
pub use crate::history::ImportError;
use crate::persist::PersistError;
use crate::process::ProcessError;
use crate::scenario::catalog::CatalogError;
pub use crate::seed::SeedError;
pub use crate::session::store::StoreError;
use crate::session::{SessionError, SessionId};
use crate::verify::RecordError;

/// A fault of an authored file, with the line that it is in.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The fault.
    pub fault: Diagnostic,
    /// The fault as text of several lines.
    pub text: String,
}

/// Why a use case could not be done.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The scenarios cannot be had, or not this one.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The scenario has faults.
    #[error("scenario `{scenario}` is not valid")]
    InvalidScenario {
        /// Which.
        scenario: String,
        /// Its faults.
        faults: Vec<Fault>,
    },
    /// The blueprint of an exam has faults.
    #[error("blueprint `{}` is not valid", path.display())]
    InvalidBlueprint {
        /// Its file.
        path: std::path::PathBuf,
        /// Its faults.
        faults: Vec<Fault>,
    },
    /// The blueprint of an exam is not there.
    #[error("there is no blueprint `{}`", path.display())]
    NoBlueprint {
        /// Its file.
        path: std::path::PathBuf,
    },
    /// There is no such track.
    #[error("there is no track `{wanted}`")]
    UnknownTrack {
        /// What was asked for.
        wanted: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// There is no such report.
    #[error("session `{session}` has no report")]
    NoReport {
        /// The session.
        session: SessionId,
    },
    /// No provider can serve.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The cluster failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The scenario's start could not be set up.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// What is to be compared later could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The session could not be found, locked or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session is in another state.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A file could not be read or written.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// A command could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Some checks could not be judged, so that a grade would be wrong.
    #[error("{count} of the checks could not be judged, so nothing was submitted")]
    Undecided {
        /// How many.
        count: usize,
    },
    /// The start failed, and what there is was kept as asked.
    #[error("session `{session}` could not be started and was kept")]
    Kept {
        /// The session.
        session: SessionId,
        /// The cause.
        #[source]
        source: Box<LabError>,
    },
    /// The start failed, and what there is could not be removed.
    #[error("session `{session}` could not be started, and not all of it could be removed: {left}")]
    NotCleaned {
        /// The session.
        session: SessionId,
        /// What could not be done.
        left: String,
        /// The cause of the failure itself.
        #[source]
        source: Box<LabError>,
    },
    /// The task has no cluster now: a reset was cut short.
    #[error("session `{session}` has no cluster")]
    NoCluster {
        /// The session.
        session: SessionId,
    },
    /// The solution did not run through.
    #[error("the solution ended with status {status}")]
    SolutionFailed {
        /// The exit status.
        status: i32,
    },
    /// The session is an exam that goes on: verdicts, hints and solutions come after it.
    #[error("session `{session}` is an exam: verdicts, hints and solutions are shown after it is submitted")]
    Hidden {
        /// The session.
        session: SessionId,
    },
    /// The session is an exam and there are other words for that.
    #[error("session `{session}` is an exam")]
    IsExam {
        /// The session.
        session: SessionId,
    },
    /// No task of the exam has that host.
    #[error("no task of session `{session}` has the host `{host}`")]
    NoHost {
        /// The session.
        session: SessionId,
        /// What was asked for.
        host: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The session's cluster has no such node.
    #[error("the cluster of session `{session}` has no node `{node}`")]
    NoNode {
        /// The session.
        session: SessionId,
        /// What was asked for.
        node: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// No exam can be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// There is no scenario of what was wished for.
    #[error("there is no scenario to practise")]
    NothingToPractise,
    /// A history could not be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// It was asked to stop.
    #[error("it was interrupted")]
    Interrupted,
}
