//! Runs what a learner would type: bash in the task folder, with a clean environment and a home of its own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{HostCommand, Output, ProcessError};
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
}

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
