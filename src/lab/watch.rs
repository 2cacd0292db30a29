//! Watching a practice session: judged anew each time something changed in its cluster or in its task folder. Holds no
//! lock in between, so that other commands go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::Lab;
use super::error::LabError;
use super::work::practice;
use crate::cluster::Capability;
use crate::cluster::snapshot::{Eye, Snapshot};
use crate::report::{OutcomeName, TaskReport};
use crate::session::store::StoreError;
use crate::session::{Session, SessionId, TaskState};

/// How often it is looked whether anything happened.
const LOOK: Duration = Duration::from_millis(700);
/// What goes on changing is judged after so many looks at the latest.
const PATIENCE: usize = 5;
/// How often it is judged without rest in between. A check that leaves a trace would else bring about the next one.
const ECHOES: usize = 3;
/// After how many looks a task with nodes is judged although nothing was seen: files on nodes are seen by nobody.
const NODE_LOOKS: usize = 12;
/// How many changes are named.
const MOST_NAMED: usize = 4;
/// How many files of the task folder are looked at.
const MOST_FILES: usize = 5000;

/// A session that is watched.
pub struct Watch<'a> {
    lab: &'a Lab,
    id: SessionId,
    dir: PathBuf,
    nodes: bool,
    eye: Option<Eye>,
    seen: Seen,
    last: Option<TaskReport>,
    number: usize,
    echoes: usize,
    idle: usize,
}

/// What could have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    cluster: Snapshot,
    files: BTreeMap<PathBuf, (u64, Option<std::time::SystemTime>)>,
}

/// A judgement: a line of `check --watch --output json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Its number, from 1.
    pub number: usize,
    /// What changed before it; empty for the first.
    pub changed: Vec<String>,
    /// The ids of checks that pass now and did not before.
    pub newly_passed: Vec<String>,
    /// The ids of checks that passed before and do not now.
    pub newly_lost: Vec<String>,
    /// The grading.
    pub report: TaskReport,
}

impl Lab {
    /// Begins to watch a practice session.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog; [`LabError::Hidden`] for an exam.
    pub fn watch(&self, session: Option<&str>) -> Result<Watch<'_>, LabError> {
        let session = self.look(session)?;
        practice(&session)?;
        session.running()?;
        let index = session.current();
        let task = session.task(index)?;
        let needs = self.scenario_of(&session, index)?.needs;
        let on_nodes = [Capability::Nodes, Capability::AppArmor, Capability::Gvisor];
        Ok(Watch {
            lab: self,
            id: session.id.clone(),
            dir: task.dir.clone(),
            nodes: on_nodes.iter().any(|need| needs.contains(need)),
            eye: None,
            seen: Seen::default(),
            last: None,
            number: 0,
            echoes: 0,
            idle: 0,
        })
    }
}

impl Watch<'_> {
    /// Waits for a change and judges the work. The first time it judges at once. `None` when the session was submitted
    /// or is gone.
    ///
    /// # Errors
    /// [`LabError::Interrupted`] when it was asked to stop; any [`LabError`] of catalog and provider.
    pub async fn next(&mut self) -> Result<Option<(Judged, Session)>, LabError> {
        let lab = self.lab;
        lab.interruptible(async {
            loop {
                let Some(changed) = self.change().await? else { return Ok(None) };
                if let Some(judged) = self.judge(changed).await? {
                    return Ok(Some(judged));
                }
                if !self.runs()? {
                    return Ok(None);
                }
            }
        })
        .await
    }

    /// Tells whether the session still is to be worked on.
    fn runs(&self) -> Result<bool, LabError> {
        match self.lab.look(Some(self.id.as_str())) {
            Ok(session) => Ok(session.state == TaskState::Running),
            Err(LabError::Store(StoreError::Unknown { .. } | StoreError::None)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until something changed and has come to rest, and names it. `None` when the session ended.
    async fn change(&mut self) -> Result<Option<Vec<String>>, LabError> {
        if self.number == 0 {
            self.seen = self.see().await?.unwrap_or_default();
            return Ok(Some(Vec::new()));
        }
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.runs()? {
                return Ok(None);
            }
            self.idle += 1;
            let files = files(&self.dir);
            let quiet = files == self.seen.files && !self.blinks().await;
            if quiet && !(self.nodes && self.idle >= NODE_LOOKS) {
                self.echoes = 0;
                continue;
            }
            let Some(mut now) = self.see().await? else { continue };
            for _ in 0..PATIENCE {
                tokio::time::sleep(LOOK).await;
                match self.see().await? {
                    Some(next) if next != now => now = next,
                    _ => break,
                }
            }
            let changed = now.since(&self.seen);
            self.seen = now;
            if !changed.is_empty() || (self.nodes && self.idle >= NODE_LOOKS) {
                return Ok(Some(changed));
            }
        }
    }

    /// Judges; `None` where there is nothing new to tell, or the session has ended.
    async fn judge(&mut self, changed: Vec<String>) -> Result<Option<(Judged, Session)>, LabError> {
        let (report, session) = loop {
            match self.lab.check_quietly(Some(self.id.as_str())).await {
                // Another command works on it, and soon has done so.
                Err(LabError::Store(StoreError::Busy { .. })) => tokio::time::sleep(LOOK).await,
                Err(
                    LabError::Session(_) | LabError::Store(StoreError::Unknown { .. } | StoreError::None),
                ) => {
                    return Ok(None);
                }
                other => break other?,
            }
        };
        self.idle = 0;
        // What changed meanwhile is found at the next look, a few times in a row.
        self.echoes += 1;
        if self.echoes > ECHOES
            && let Some(after) = self.see().await?
        {
            self.seen = after;
            self.echoes = 0;
        }
        let passes = |report: &TaskReport| -> Vec<String> {
            report.with(OutcomeName::Pass).map(|check| check.id.clone()).collect()
        };
        let before = self.last.as_ref().map(passes).unwrap_or_default();
        let now = passes(&report);
        let same = self.last.as_ref().is_some_and(|last| last.checks == report.checks);
        self.last = Some(report.clone());
        // A look that was only taken to be sure is told of where it found something.
        if same && changed.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let first = self.number == 1;
        let judged = Judged {
            number: self.number,
            changed,
            newly_passed: if first { Vec::new() } else { without(&now, &before) },
            newly_lost: without(&before, &now),
            report,
        };
        Ok(Some((judged, session)))
    }

    async fn blinks(&mut self) -> bool {
        match &mut self.eye {
            Some(eye) => eye.blinks().await.unwrap_or(true),
            None => true,
        }
    }

    /// Looks at everything; `None` when the cluster does not answer now. One that has died is brought back.
    async fn see(&mut self) -> Result<Option<Seen>, LabError> {
        if self.eye.is_none() {
            let session = self.lab.look(Some(self.id.as_str()))?;
            let cluster = self.lab.attach(&session, session.task(session.current())?).await?;
            self.eye = Eye::open(cluster.client()).await.ok();
        }
        let Some(eye) = &mut self.eye else { return Ok(None) };
        match eye.look().await {
            Ok(cluster) => Ok(Some(Seen { cluster, files: files(&self.dir) })),
            Err(_) => {
                self.eye = None;
                Ok(None)
            }
        }
    }
}

impl Seen {
    /// Names what changed, a few things by name and the others by their number.
    fn since(&self, before: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        for (path, state) in &self.files {
            let what = match before.files.get(path) {
                None => "created",
                Some(known) if known != state => "changed",
                Some(_) => continue,
            };
            changed.push(format!("file {} {what}", path.display()));
        }
        let gone = before.files.keys().filter(|path| !self.files.contains_key(*path));
        changed.extend(gone.map(|path| format!("file {} deleted", path.display())));
        changed.extend(self.cluster.since(&before.cluster));
        if changed.len() > MOST_NAMED + 1 {
            let more = changed.len() - MOST_NAMED;
            changed.truncate(MOST_NAMED);
            changed.push(format!("{more} more"));
        }
        changed
    }
}

/// Lists the files of a folder with size and time, by their path in it; what editors keep beside a file is none.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, Option<std::time::SystemTime>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".swx") || name == "4913" {
                continue;
            }
            // A link is what it says, not what it leads to: there may be a circle.
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if found.len() < MOST_FILES
                && let Ok(path) = entry.path().strip_prefix(dir)
            {
                found.insert(path.to_owned(), (meta.len(), meta.modified().ok()));
            }
        }
    }
    found
}

fn without(these: &[String], those: &[String]) -> Vec<String> {
    these.iter().filter(|id| !those.contains(id)).cloned().collect()
}
