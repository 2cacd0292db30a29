//! The only reader of the environment: where things are kept, what the terminal can do, which shell is used.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use super::error::CliError;
use super::exit::Exit;
use crate::sim::node::tools;

/// What the environment says.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The folder under which everything is kept.
    pub state: PathBuf,
    /// The file with the learner's preferences.
    pub config: PathBuf,
    /// The home folder.
    pub home: PathBuf,
    /// The learner's own kubeconfig: the first that `KUBECONFIG` names, else the usual one.
    pub kubeconfig: PathBuf,
    /// The host of an exam's task that this is, if it is one.
    pub host: Option<String>,
    /// The learner's shell.
    pub shell: PathBuf,
    /// Where zsh looks for the learner's start-up files, where that is not the home folder.
    pub zdotdir: Option<PathBuf>,
    /// This program.
    pub program: PathBuf,
    /// Where programs are looked for.
    pub path: OsString,
    /// The folder with scenarios that takes the place of those that are built in; of the command line's own options
    /// this one is asked for before they are read.
    pub scenarios: Option<PathBuf>,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Whether the terminal cannot move its cursor.
    pub dumb: bool,
    /// What `TERM` says.
    pub terminal: Option<String>,
    /// What `COLORTERM` says.
    pub terminal_colours: Option<String>,
    /// The width, where it is said.
    pub columns: Option<usize>,
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// [`CliError`] when there is no home folder to keep things in.
    pub fn read() -> Result<Self, CliError> {
        let base = etcetera::base_strategy::Xdg::new().map_err(|error| {
            CliError::new(Exit::Internal, error)
                .hint("set HOME, or CKS_LAB_HOME to a folder to keep things in")
        });
        let (state, config, home) = match (var("CKS_LAB_HOME"), base) {
            (Some(own), base) => {
                let own = absolute(Path::new(&own));
                let home = base.map(|base| base.home_dir().to_owned()).unwrap_or_else(|_| own.clone());
                (own.clone(), own.join("config.yaml"), home)
            }
            (None, Ok(base)) => {
                // The XDG strategy always has a state folder.
                let state = base.state_dir().unwrap_or_else(|| base.data_dir());
                (
                    state.join("cks-lab"),
                    base.config_dir().join("cks-lab/config.yaml"),
                    base.home_dir().to_owned(),
                )
            }
            (None, Err(error)) => return Err(error),
        };
        let listed = var("KUBECONFIG");
        let first = listed
            .as_ref()
            .and_then(|list| std::env::split_paths(list).find(|path| !path.as_os_str().is_empty()));
        let term = var("TERM");
        Ok(Self {
            state,
            config,
            kubeconfig: first.unwrap_or_else(|| home.join(".kube/config")),
            home,
            host: var("CKS_LAB_HOST").and_then(|host| host.into_string().ok()),
            shell: var("SHELL").map_or_else(|| PathBuf::from("/bin/sh"), PathBuf::from),
            path: var("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            zdotdir: var("ZDOTDIR").map(PathBuf::from),
            program: program(),
            scenarios: var("CKS_LAB_SCENARIOS").map(PathBuf::from),
            colour: var("NO_COLOR").is_none() && term.as_ref().is_none_or(|term| term != "dumb"),
            terminal: term.as_ref().and_then(|term| term.to_str().map(str::to_owned)),
            terminal_colours: var("COLORTERM").and_then(|colours| colours.into_string().ok()),
            dumb: term.is_none_or(|term| term == "dumb"),
            columns: var("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok()),
        })
    }
}

impl Environment {
    /// Tells whether a program can be found.
    pub fn has(&self, program: &str) -> bool {
        std::env::split_paths(&self.path).any(|folder| folder.join(program).is_file())
    }
}

/// Returns this program's file; one that was replaced meanwhile can still be run through the process itself.
fn program() -> PathBuf {
    let own = std::env::current_exe().ok().filter(|path| path.exists());
    own.unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}

/// Reads a variable; an empty one counts as none.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn var(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Makes a path independent of the working folder; one that cannot be stays as it is.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What a tool of a node heeds of its surroundings.
#[derive(Debug, Clone)]
pub(super) struct ToolSurroundings {
    /// The folder of the socket.
    pub socket_folder: PathBuf,
    /// The working folder, as a path on the node.
    pub cwd: String,
    /// Variables of the tools themselves.
    pub env: BTreeMap<String, String>,
}

impl ToolSurroundings {
    /// Reads the environment of a tool.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub(super) fn read() -> Self {
        let named = var(tools::SOCKET_VARIABLE).map(PathBuf::from);
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        // Outside of a namespace the node's files begin at a folder of this machine.
        let root = named.as_ref().and_then(|folder| folder.parent()).map(|folder| folder.join("root"));
        let cwd = match root.and_then(|root| cwd.strip_prefix(root).map(Path::to_owned).ok()) {
            Some(below) => Path::new("/").join(below),
            None => cwd,
        };
        let known = ["ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"];
        let env = known.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        Self {
            socket_folder: named.unwrap_or_else(|| PathBuf::from(tools::SOCKET_PLACE)),
            cwd: cwd.to_string_lossy().into_owned(),
            env: env.collect(),
        }
    }
}
