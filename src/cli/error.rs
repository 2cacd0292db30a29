//! Every error of a command: what it exits with and what to do about it. Printed in one place, as
//! `error: / caused by: / hint:`.

use std::error::Error;

use super::exit::Exit;
use crate::cluster::ProviderError;
use crate::cluster::registry::{ChoiceError, Unfit};
use crate::config::ConfigError;
use crate::lab::error::{DrawError, ImportError, LabError, SeedError};
use crate::persist::PersistError;
use crate::process::ProcessError;
use crate::scenario::catalog::CatalogError;
use crate::session::store::StoreError;
use crate::session::{SessionError, TaskState};
use crate::ui::Ui;

/// Why a command failed.
#[derive(Debug)]
pub struct CliError {
    /// What it exits with.
    pub exit: Exit,
    /// What went wrong.
    pub source: Box<dyn Error + Send + Sync>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Faults of authored files, as text of several lines.
    pub faults: Vec<String>,
}

impl CliError {
    /// Makes an error from its parts.
    pub fn new(exit: Exit, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, source: source.into(), hints: Vec::new(), faults: Vec::new() }
    }

    /// Makes an error of wrong use.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message.into())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !hint.is_empty() {
            self.hints.push(hint);
        }
        self
    }

    /// Shows it.
    pub fn print(&self, ui: &Ui) {
        let message = self.source.to_string();
        let mut causes: Vec<String> = Vec::new();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Layers that only pass a text on are not worth a line.
            if !message.contains(&words) && causes.last() != Some(&words) {
                causes.push(words);
            }
            cause = error.source();
        }
        for fault in &self.faults {
            ui.fault(fault);
        }
        ui.error(&message, &causes, &self.hints);
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Internal, OutputError(error))
    }
}

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the output could not be written")]
pub(super) struct OutputError(#[source] pub(super) std::io::Error);

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Exit::Internal, error)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Persist(error) => LabError::Persist(error).into(),
            ConfigError::Invalid { .. } => Self::new(Exit::Invalid, error)
                .hint("the keys are `provider`, `scenarios` and `nodeImage`; all may be left out"),
        }
    }
}

impl From<LabError> for CliError {
    fn from(error: LabError) -> Self {
        let (exit, hints) = judge(&error);
        let faults = match &error {
            LabError::InvalidScenario { faults, .. } | LabError::InvalidBlueprint { faults, .. } => {
                faults.iter().map(|fault| fault.text.clone()).collect()
            }
            _ => Vec::new(),
        };
        let mut made = Self::new(exit, error);
        made.faults = faults;
        hints.into_iter().fold(made, Self::hint)
    }
}

fn judge(error: &LabError) -> (Exit, Vec<String>) {
    let one = |exit, hint: &str| (exit, vec![hint.to_owned()]);
    match error {
        LabError::Catalog(error) => catalog(error),
        LabError::InvalidScenario { scenario, .. } => {
            (Exit::Invalid, vec![format!("`cks-lab author lint {scenario}` shows every fault")])
        }
        LabError::InvalidBlueprint { .. } => {
            one(Exit::Invalid, "`docs/guide/exams.md` has an example, and the reference has the schema")
        }
        LabError::NoBlueprint { .. } => (Exit::Usage, Vec::new()),
        LabError::UnknownTrack { known, .. } => (Exit::Usage, vec![format!("tracks: {}", known.join(", "))]),
        LabError::NoReport { session } => {
            (Exit::Usage, vec![format!("a report is kept by `cks-lab submit --session {session}`")])
        }
        LabError::Choice(error) => choice(error),
        LabError::Provider(error) => provider(error),
        LabError::Cluster(_) | LabError::Record(_) => {
            one(Exit::Unavailable, "`cks-lab doctor` shows what works on this machine")
        }
        LabError::Seed(SeedError::NamespaceTaken { namespace }) => (
            Exit::Unavailable,
            vec![format!(
                "another `--variant` may take other names; `{namespace}` is left as it is, and is yours to remove"
            )],
        ),
        LabError::Seed(SeedError::Outside { .. }) => {
            one(Exit::Invalid, "the scenario must name `clusterScope` among its needs; try `--provider sim`")
        }
        LabError::Seed(_) => one(Exit::Unavailable, "`cks-lab doctor` shows what works on this machine"),
        LabError::Store(error) => store(error),
        LabError::Session(SessionError::NotRunning { id, state }) => (Exit::Usage, not_running(id, *state)),
        LabError::Session(SessionError::NoTask { .. }) => (Exit::Usage, Vec::new()),
        LabError::Persist(error) => persist(error),
        LabError::Process(error) => process(error),
        LabError::Undecided { .. } => (
            Exit::Unavailable,
            vec![
                "`cks-lab check` says why; try again when the cluster answers".to_owned(),
                "`cks-lab submit --force` counts what cannot be judged as not earned".to_owned(),
            ],
        ),
        LabError::Kept { session, source } => {
            let (exit, mut hints) = judge(source);
            hints.push(format!("look at it, then remove it: `cks-lab stop --session {session}`"));
            (exit, hints)
        }
        LabError::NotCleaned { source, .. } => {
            let (exit, mut hints) = judge(source);
            hints.push("`cks-lab clean` tries to remove it again".to_owned());
            (exit, hints)
        }
        LabError::NoCluster { session } => (
            Exit::Unavailable,
            vec![format!(
                "`cks-lab reset --session {session}` makes a new one; `cks-lab stop` ends the session"
            )],
        ),
        LabError::SolutionFailed { .. } => {
            one(Exit::Failed, "it may have been changed already; `cks-lab reset` starts over")
        }
        LabError::Session(SessionError::NoExam { .. }) => {
            one(Exit::Usage, "`cks-lab status` shows the sessions; `cks-lab exam start` starts an exam")
        }
        LabError::Hidden { .. } => {
            one(Exit::Usage, "`cks-lab exam status` shows how it stands; `cks-lab exam submit` ends it")
        }
        LabError::IsExam { .. } => one(Exit::Usage, "`cks-lab exam submit` grades it"),
        LabError::NoNode { known, .. } => (Exit::Usage, vec![format!("nodes: {}", known.join(", "))]),
        LabError::NoHost { known, .. } => (Exit::Usage, vec![format!("hosts: {}", known.join(", "))]),
        LabError::Draw(DrawError::TooLong { .. }) => {
            one(Exit::Usage, "ask for fewer tasks with `--tasks`, or for more time with `--minutes`")
        }
        LabError::Draw(DrawError::TooFew { .. }) => one(Exit::Usage, "ask for fewer tasks with `--tasks`"),
        LabError::NothingToPractise => one(Exit::Usage, "`cks-lab list` shows the scenarios"),
        LabError::Import(ImportError::Persist(error)) => persist(error),
        LabError::Import(_) => {
            one(Exit::Invalid, "`cks-lab history export FILE` writes such files; nothing was imported")
        }
        LabError::Draw(DrawError::NotThere { scenario }) => (
            Exit::Unavailable,
            vec![format!("`cks-lab show {scenario}` says what it needs, and `cks-lab doctor` what there is")],
        ),
        LabError::NoRandomness => one(Exit::Internal, "name a variant: `--variant 1`"),
        LabError::Interrupted => (Exit::Interrupted, Vec::new()),
    }
}

fn catalog(error: &CatalogError) -> (Exit, Vec<String>) {
    let hints = match error {
        CatalogError::Unknown { similar: Some(similar), .. } => {
            vec![format!("did you mean `{similar}`?")]
        }
        CatalogError::Unknown { similar: None, .. } => {
            vec!["`cks-lab list` shows all scenarios".to_owned()]
        }
        CatalogError::Empty { .. } | CatalogError::Unreadable { .. } => {
            vec!["`--scenarios` takes a folder like those that `cks-lab author new` makes".to_owned()]
        }
        _ => Vec::new(),
    };
    (Exit::Invalid, hints)
}

fn choice(error: &ChoiceError) -> (Exit, Vec<String>) {
    let hint = |unfit: &Unfit| match unfit {
        Unfit::Missing { hint, .. } if !hint.is_empty() => Some(hint.clone()),
        _ => None,
    };
    match error {
        ChoiceError::Unknown { known, .. } => {
            (Exit::Usage, vec![format!("providers: auto, {}", known.join(", "))])
        }
        ChoiceError::Unfit { unfit, .. } => (Exit::Unavailable, hint(unfit).into_iter().collect()),
        ChoiceError::NoneFits(all) => {
            let mut hints: Vec<String> = all.iter().filter_map(|(_, unfit)| hint(unfit)).collect();
            hints.push("`cks-lab doctor` shows what works on this machine".to_owned());
            (Exit::Unavailable, hints)
        }
    }
}

fn provider(error: &ProviderError) -> (Exit, Vec<String>) {
    match error {
        ProviderError::Unavailable { hint, .. } => (Exit::Unavailable, vec![hint.clone()]),
        ProviderError::Refused { hint, .. } => (Exit::Usage, vec![hint.clone()]),
        ProviderError::Unconfirmed { .. } => {
            (Exit::Usage, vec!["nobody is there to answer; `--yes` agrees".to_owned()])
        }
        ProviderError::Gone(_) => (
            Exit::Unavailable,
            vec!["`cks-lab reset` makes a new one; `cks-lab stop` ends the session".to_owned()],
        ),
        ProviderError::Failed { .. } => {
            (Exit::Unavailable, vec!["`cks-lab doctor` shows what works on this machine".to_owned()])
        }
    }
}

fn store(error: &StoreError) -> (Exit, Vec<String>) {
    match error {
        StoreError::None => (
            Exit::Usage,
            vec!["`cks-lab list` shows the scenarios, `cks-lab start <scenario>` starts one".to_owned()],
        ),
        StoreError::Unknown { known, .. } if !known.is_empty() => {
            let known: Vec<String> = known.iter().map(|id| format!("`{id}`")).collect();
            (Exit::Usage, vec![format!("sessions: {}", known.join(", "))])
        }
        StoreError::Unknown { .. } => (Exit::Usage, vec!["`cks-lab status` shows the sessions".to_owned()]),
        StoreError::Ambiguous { .. } => (Exit::Usage, vec!["give more of the name".to_owned()]),
        StoreError::Busy { .. } => {
            (Exit::Unavailable, vec!["wait until it has ended, then try again".to_owned()])
        }
        StoreError::Persist(error) => persist(error),
    }
}

fn persist(error: &PersistError) -> (Exit, Vec<String>) {
    match error {
        PersistError::Newer { .. } => {
            (Exit::Invalid, vec!["use the newer version; nothing was changed".to_owned()])
        }
        PersistError::Damaged { path, .. } => {
            (Exit::Invalid, vec![format!("move `{}` away to go on without it", path.display())])
        }
        PersistError::Held { .. } => {
            (Exit::Unavailable, vec!["wait until it has ended, then try again".to_owned()])
        }
        PersistError::Io { source, .. } => {
            let hint = match source.kind() {
                std::io::ErrorKind::StorageFull
                | std::io::ErrorKind::QuotaExceeded
                | std::io::ErrorKind::FileTooLarge => {
                    "make room, or set CKS_LAB_HOME to a folder on another disk"
                }
                std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::NotADirectory => "set CKS_LAB_HOME to a folder that can be written",
                _ => "`cks-lab doctor` looks at the state folder",
            };
            (Exit::Internal, vec![hint.to_owned()])
        }
    }
}

fn process(error: &ProcessError) -> (Exit, Vec<String>) {
    match error {
        ProcessError::NotFound { program } => {
            (Exit::Unavailable, vec![format!("install `{program}`, or put it on PATH")])
        }
        _ => (Exit::Unavailable, Vec::new()),
    }
}

fn not_running(id: &crate::session::SessionId, state: TaskState) -> Vec<String> {
    match state {
        TaskState::Preparing => vec![format!(
            "wait until it is ready; when its start was cut short: `cks-lab stop --session {id}`"
        )],
        TaskState::Failed => vec![format!("remove it: `cks-lab stop --session {id}`")],
        TaskState::Submitted => vec![
            format!("`cks-lab report {id}` shows the grade"),
            "`cks-lab start <scenario>` starts anew".to_owned(),
        ],
        TaskState::Running => Vec::new(),
    }
}
