//! Runs the real binary as a learner would, in a home of its own; one file a concern in `cli_*.rs`.

pub mod schema;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cks_lab::process::HostCommand;
use serde_json::Value;

/// A learner's home with nothing in it.
pub struct Home {
    dir: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Self { dir }
    }

    /// The folder that `CKS_LAB_HOME` names.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The learner's home folder.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A place for files of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Describes the program with an environment in which only this home is known.
    pub fn program(&self, program: impl AsRef<OsStr>) -> HostCommand {
        HostCommand::new(program.as_ref())
            .clear_env()
            .env("PATH", search_path())
            .env("HOME", self.home())
            .env("CKS_LAB_HOME", self.state())
            .env("SHELL", "/bin/bash")
            .env("COLUMNS", "100")
            .cwd(self.dir.path())
            .timeout(Duration::from_secs(120))
    }

    pub fn command(&self, args: &[&str]) -> HostCommand {
        self.program(binary()).args(args)
    }

    pub async fn run(&self, args: &[&str]) -> Ran {
        ran(&self.command(args)).await
    }

    /// Runs a command that must end with `status`, and returns what it did.
    pub async fn expect(&self, status: i32, args: &[&str]) -> Ran {
        let ran = self.run(args).await;
        assert_eq!(ran.status, status, "cks-lab {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
        ran
    }

    /// Runs a command with `--output json` that must end with `status`, and returns the data.
    pub async fn json(&self, status: i32, args: &[&str]) -> Value {
        let ran = self.expect(status, &[args, &["--output", "json"]].concat()).await;
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    /// Starts a scenario on the simulated cluster and returns what `start` says.
    pub async fn start(&self, scenario: &str) -> Value {
        self.json(0, &["start", scenario, "--provider", "sim", "--variant", "3"]).await
    }

    /// Makes a folder of scenarios with one called `base`, whose `scenario.yaml` is changed, and returns the folder.
    pub fn scenarios(&self, change: impl FnOnce(String) -> String) -> String {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios/valid/base");
        copy(&from, &self.path("scenarios/base"));
        let file = self.path("scenarios/base/scenario.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = change(text.clone());
        assert_ne!(text, changed, "nothing was changed");
        std::fs::write(&file, changed).unwrap();
        self.path("scenarios").to_str().unwrap().to_owned()
    }

    /// The process that serves the simulated clusters, if one does.
    pub fn server(&self) -> Option<i32> {
        let holder = std::fs::read_to_string(self.state().join("sim/server.lock")).ok()?;
        holder.strip_prefix("process ")?.split(' ').next()?.parse().ok()
    }

    /// The folders of sessions and simulated clusters.
    pub fn left(&self) -> Vec<PathBuf> {
        let folders = ["sessions", "clusters", "sim/clusters"];
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(self.state().join(folder)));
        entries.flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing asynchronous can be awaited here")]
impl Drop for Home {
    fn drop(&mut self) {
        // What a test that failed has left in Docker.
        for cluster in std::fs::read_dir(self.state().join("clusters")).into_iter().flatten().flatten() {
            if cluster.path().join("kind.yaml").exists() {
                let node = format!("cks-lab-{}-control-plane", cluster.file_name().to_string_lossy());
                let _ = std::process::Command::new("docker").args(["rm", "-f", "-v", &node]).output();
            }
        }
        if let Some(pid) = self.server() {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Ran {
    /// Asserts that stderr holds every text, whatever the lines it is wrapped into.
    pub fn says(&self, texts: &[&str]) -> &Self {
        let said = flat(&self.stderr);
        for text in texts {
            assert!(said.contains(&flat(text)), "{text:?} is missing in:\n{}", self.stderr);
        }
        self
    }

    /// Asserts that stdout holds every text, whatever the lines it is wrapped into.
    pub fn shows(&self, texts: &[&str]) -> &Self {
        let shown = flat(&self.stdout);
        for text in texts {
            assert!(shown.contains(&flat(text)), "{text:?} is missing in:\n{}", self.stdout);
        }
        self
    }
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a value that is a text.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Waits until something holds that comes about by itself.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within a minute");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cks-lab"))
}

pub async fn ran(command: &HostCommand) -> Ran {
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[expect(clippy::disallowed_methods, reason = "programs such as kubectl are where the developer has them")]
pub fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap()
}
