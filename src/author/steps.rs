//! Runs what a learner would type: bash in the task folder, with a clean environment and a home of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::{Cluster, ClusterError, Terminal};
use crate::process::{HostCommand, Output, ProcessError, quote};
use crate::scenario::Scenario;

/// A place where steps run against one cluster.
#[derive(Debug, Clone)]
pub struct Steps {
    task_dir: PathBuf,
    home: PathBuf,
    scenario_dir: PathBuf,
    kubeconfig: PathBuf,
    path: OsString,
    timeout: Duration,
    /// Where programs of these steps alone lie.
    bin: PathBuf,
}

/// Stands for the words of a command that goes to a node.
const WORDS: &str = "CKS_LAB_WORDS";

/// What `cks-lab` is to steps: `ssh` and `cp`, which need no session here.
const ONTO_NODES: &str = r#"#!/bin/sh
on() {
  node=$1; shift
  case $node in
@NODES@
  *) echo "error: the cluster has no node \`$node\`" >&2; exit 2 ;;
  esac
}
case $1 in
ssh)
  shift; node=$1; shift
  [ "$1" = -- ] && shift
  [ $# -gt 0 ] || { echo "error: steps have no terminal: give a command after --" >&2; exit 2; }
  if [ $# = 1 ]; then case $1 in *[[:space:]]*) on "$node" sh -c "$1"; exit ;; esac; fi
  on "$node" "$@"
  ;;
cp)
  shift
  case $1:$2 in
  -r*) echo "error: steps copy files one by one" >&2; exit 2 ;;
  esac
  case $2 in
  *:*) on "${2%%:*}" sh -c 'if [ -d "$1" ]; then cat > "$1/$2"; else cat > "$1"; fi' sh "${2#*:}" "$(basename "$1")" < "$1" ;;
  *) if [ -d "$2" ]; then to=$2/$(basename "$1"); else to=$2; fi; on "${1%%:*}" cat "${1#*:}" > "$to" ;;
  esac
  ;;
*) echo "error: steps know \`cks-lab ssh\` and \`cks-lab cp\` alone" >&2; exit 2 ;;
esac
"#;

impl Steps {
    /// Prepares `scratch`: a home, a copy of the learner's kubeconfig that steps may change, and the files that the
    /// scenario's steps use. `path` is where programs are looked up.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn prepare(
        scratch: &Path,
        scenario: &Scenario,
        kubeconfig: &Path,
        task_dir: &Path,
        path: &OsStr,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        let steps = Self {
            task_dir: task_dir.to_path_buf(),
            home: scratch.join("home"),
            scenario_dir: scratch.join("scenario"),
            kubeconfig: scratch.join("kubeconfig"),
            path: path.to_owned(),
            timeout,
            bin: scratch.join("bin"),
        };
        for dir in [&steps.home, &steps.home.join("tmp"), &steps.scenario_dir, task_dir] {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::copy(kubeconfig, &steps.kubeconfig)?;
        for (file, content) in &scenario.step_files {
            let file = steps.scenario_dir.join(file);
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(file, content)?;
        }
        Ok(steps)
    }

    /// Lets steps go onto the cluster's nodes as a learner does, with `cks-lab ssh` and `cks-lab cp`, where it has any.
    ///
    /// # Errors
    /// [`ClusterError`] when there is no way onto them.
    pub async fn onto_nodes(mut self, cluster: &dyn Cluster) -> Result<Self, ClusterError> {
        use std::os::unix::fs::PermissionsExt as _;

        let names = match cluster.nodes().await {
            Ok(names) => names,
            Err(ClusterError::Missing(_)) => return Ok(self),
            Err(error) => return Err(error),
        };
        let mut arms = Vec::new();
        for name in names {
            let way = cluster.node_shell(&name, &[WORDS.into()], &Terminal::default()).await?;
            // Where there is no namespace the command would run among this machine's own files.
            if let Some(note) = way.note {
                arms.push(format!("  {name}) echo {} >&2; exit 4 ;;", quote(note)));
                continue;
            }
            let line = way.command.argv().replace(WORDS, "\"$@\"");
            arms.push(format!("  {name}) {line} ;;"));
        }
        let script = ONTO_NODES.replace("@NODES@", &arms.join("\n"));
        let written = std::fs::create_dir_all(&self.bin)
            .and_then(|()| std::fs::write(self.bin.join("cks-lab"), script))
            .and_then(|()| {
                std::fs::set_permissions(self.bin.join("cks-lab"), std::fs::Permissions::from_mode(0o755))
            });
        written.map_err(|source| ClusterError::Failed {
            message: "failed to write the steps' own programs".to_owned(),
            source: Some(Box::new(source)),
        })?;
        let folders = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&self.path));
        if let Ok(path) = std::env::join_paths(folders) {
            self.path = path;
        }
        Ok(self)
    }

    /// Runs a script and returns what it did, whatever its exit status.
    ///
    /// # Errors
    /// [`ProcessError`] when there is no bash, or when it does not end in time; then all that it started is ended.
    pub async fn run(&self, script: &str) -> Result<Output, ProcessError> {
        HostCommand::new("bash")
            .args(["--noprofile", "--norc", "-euo", "pipefail", "-c", script])
            .clear_env()
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.join("tmp"))
            .env("LANG", "C.UTF-8")
            // A kubectl lives for some 50 ms, of which Go would spend a quarter on collecting what is dropped at once and
            // on threads that proofs side by side have no cores for.
            .env("GOGC", "off")
            .env("GOMEMLIMIT", "256MiB")
            .env("GOMAXPROCS", "1")
            .env("KUBECONFIG", &self.kubeconfig)
            .env("SCENARIO", &self.scenario_dir)
            .cwd(&self.task_dir)
            .timeout(self.timeout)
            .output()
            .await
    }
}
