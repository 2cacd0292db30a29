//! A command with another root: in user, mount, process, host name and message namespaces of its own, made without any
//! privilege. This program runs itself for it three times over, each time as a fresh process with one thread: [`enter`]
//! makes the namespaces and waits, [`build`] puts the root together, [`reap`] is the first process in it.
//! Knows nothing of what is run there. Elsewhere than on Linux there is none.

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod enter;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod reap;
#[cfg(target_os = "linux")]
mod root;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HostCommand, ProcessError};

/// The hidden subcommand that [`main`] is.
pub const SUBCOMMAND: &str = "sandbox";
/// The exit status when the command could not be given its surroundings.
pub const BROKEN: u8 = 125;
/// The exit status when there is no such command in there, as shells have it.
pub const NOT_FOUND: u8 = 127;
/// How long it may take to find out whether there are namespaces.
const PROBE_PATIENCE: Duration = Duration::from_secs(20);

/// A command's surroundings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sandbox {
    /// The host name.
    pub hostname: String,
    /// The folder that becomes `/`, and can be written.
    pub root: PathBuf,
    /// What is put upon folders in it, in this order.
    pub mounts: Vec<Mount>,
    /// Where in it this program lies; a mount puts it there.
    pub program: PathBuf,
    /// All of the command's environment.
    pub env: Vec<(String, String)>,
    /// The working folder.
    pub cwd: PathBuf,
}

/// What is put upon a folder or a file of the new root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Mount {
    /// A file or folder of this machine, for reading. One that is not there is left out.
    Shown {
        /// The path on this machine.
        from: PathBuf,
        /// The path in the new root.
        at: PathBuf,
    },
    /// A folder of this machine that can be written.
    Lent {
        /// The path on this machine.
        from: PathBuf,
        /// The path in the new root.
        at: PathBuf,
    },
    /// Folders of this machine one over the other, the first one on top, for reading. Where the kernel has no such
    /// mounts the last one is shown alone.
    Stacked {
        /// The paths on this machine.
        from: Vec<PathBuf>,
        /// The path in the new root.
        at: PathBuf,
    },
    /// An empty folder in memory with links in it, for reading once all is put together.
    Fresh {
        /// The path in the new root.
        at: PathBuf,
        /// Names in it with what they say.
        links: Vec<(String, String)>,
    },
}

impl Mount {
    fn at(&self) -> &Path {
        match self {
            Self::Shown { at, .. }
            | Self::Lent { at, .. }
            | Self::Stacked { at, .. }
            | Self::Fresh { at, .. } => at,
        }
    }
}

/// Why a command cannot be run with another root.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// This system has nothing of the kind, or does not let this user.
    #[error("this machine gives no namespaces to users: {0}")]
    Unsupported(String),
    /// The root cannot be put together.
    #[error("failed to {what}")]
    Failed {
        /// What was to be done.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// There is no such program in there.
    #[error("`{0}` was not found")]
    NotFound(String),
    /// It was started in another way than by itself.
    #[error("`{SUBCOMMAND}` is started by other commands")]
    Usage,
}

impl Sandbox {
    /// Returns the command that runs `argv` in it, by means of `program`, which is this program itself.
    pub fn command(&self, program: &Path, argv: &[OsString]) -> HostCommand {
        let surroundings = serde_json::to_string(self).unwrap_or_default();
        HostCommand::new(program)
            .clear_env()
            .args([SUBCOMMAND, "enter", &surroundings, "--"])
            .args(argv.iter().cloned())
    }
}

/// Finds out whether commands can have another root on this machine.
///
/// # Errors
/// [`SandboxError::Unsupported`] with the reason where they cannot.
pub async fn probe(program: &Path) -> Result<(), SandboxError> {
    let probe = HostCommand::new(program).clear_env().args([SUBCOMMAND, "probe"]).timeout(PROBE_PATIENCE);
    match probe.output().await {
        Ok(output) if output.status == 0 => Ok(()),
        Ok(output) => {
            let said = output.stderr_text();
            let reason = said.lines().last().unwrap_or_default();
            Err(SandboxError::Unsupported(reason.trim_start_matches("caused by: ").trim().to_owned()))
        }
        Err(ProcessError::NotFound { program }) => Err(SandboxError::Unsupported(format!("no `{program}`"))),
        Err(error) => Err(SandboxError::Unsupported(error.to_string())),
    }
}

/// Gives this process root's power over the files of its own user, so that permission bits that a node's root may set
/// bind it no more than they bind that root. To be called before there is any other thread.
///
/// # Errors
/// [`SandboxError::Unsupported`] where that cannot be had; then everything is as before.
#[cfg(target_os = "linux")]
pub fn command_own_files() -> Result<(), SandboxError> {
    enter::command_own_files()
}

/// Gives this process nothing, on this system.
///
/// # Errors
/// [`SandboxError::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub fn command_own_files() -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported("they are a thing of Linux".to_owned()))
}

/// Does what the hidden subcommand says. To be called before there is any other thread. Returns the exit status.
///
/// # Errors
/// Any [`SandboxError`].
#[cfg(target_os = "linux")]
pub fn main(args: &[OsString]) -> Result<u8, SandboxError> {
    let text = |index: usize| args.get(index).and_then(|arg| arg.to_str());
    let surroundings = || -> Result<Sandbox, SandboxError> {
        text(1).and_then(|json| serde_json::from_str(json).ok()).ok_or(SandboxError::Usage)
    };
    let argv = |start: usize| args.get(start..).filter(|argv| !argv.is_empty()).ok_or(SandboxError::Usage);
    match text(0) {
        Some("probe") => enter::probe(),
        Some("enter") => enter::run(&surroundings()?, argv(3)?),
        Some("build") => {
            let parent = text(2).and_then(|pid| pid.parse().ok()).ok_or(SandboxError::Usage)?;
            root::build(&surroundings()?, parent, argv(3)?)
        }
        Some("try") => root::attempt(),
        Some("reap") => reap::run(&surroundings()?, argv(2)?),
        _ => Err(SandboxError::Usage),
    }
}

/// Does what the hidden subcommand says, which is nothing on this system.
///
/// # Errors
/// [`SandboxError::Unsupported`].
#[cfg(not(target_os = "linux"))]
pub fn main(_args: &[OsString]) -> Result<u8, SandboxError> {
    Err(SandboxError::Unsupported("they are a thing of Linux".to_owned()))
}

#[cfg(target_os = "linux")]
fn failed<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> SandboxError {
    let what = what.into();
    move |source| SandboxError::Failed { what, source: source.into() }
}
