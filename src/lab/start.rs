//! Bringing a task up, starting it over, and leaving nothing behind when that fails or is interrupted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SecureRandom as _;

use super::error::LabError;
use super::event::{Event, Reporting};
use super::view::Started;
use super::work::practice;
use super::{Baselines, Lab};
use crate::cluster::registry::Choice;
use crate::cluster::{Capability, ClusterRecord, ClusterSpec, Progress, Provider};
use crate::persist;
use crate::scenario::{Scenario, Variant};
use crate::seed;
use crate::session::store::Locked;
use crate::session::{Mode, Session, SessionId, Task, TaskCluster, TaskState};

/// Variants that are drawn where none is asked for are small, so that they are easy to pass on.
pub(super) const VARIANTS: u32 = 10_000;

/// What is to be started.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The scenario's id.
    pub scenario: String,
    /// The provider.
    pub provider: Choice,
    /// The number that names and values are drawn from; any where there is none.
    pub variant: Option<u32>,
    /// How many minutes there are; the scenario's own where there is none.
    pub minutes: Option<u32>,
    /// Whether there is a limit at all.
    pub timer: bool,
    /// Keep what was created when the start fails.
    pub retain: bool,
    /// The context to use, for a provider that takes over an existing cluster.
    pub context: Option<String>,
    /// The kubeconfig that holds the context.
    pub source_kubeconfig: Option<PathBuf>,
    /// The node image, for a provider that has one; its own where there is none.
    pub node_image: Option<String>,
    /// The learner has agreed that the cluster may be used.
    pub confirmed: bool,
}

impl Lab {
    /// Starts a scenario: cluster up, seeded, recorded, clock running. When that fails or is interrupted nothing is
    /// left, unless it was asked to be retained.
    ///
    /// # Errors
    /// Any [`LabError`] of catalog, provider, seed and store; [`LabError::Interrupted`].
    pub async fn start(&self, request: StartRequest) -> Result<Started, LabError> {
        let variant = Variant(match request.variant {
            Some(variant) => variant,
            None => 1 + random()? % VARIANTS,
        });
        let scenario = self.scenario(self.scenarios.as_deref(), &request.scenario, variant)?;
        let needs: Vec<Capability> = scenario.needs.iter().copied().collect();
        let provider = self.registry.choose(&request.provider, &needs).await?;

        let id = SessionId::new(scenario.id.as_str(), random()?);
        let name = id.cluster_name(0);
        let spec = ClusterSpec {
            dir: self.cluster_dir(&name),
            name,
            context: request.context,
            source_kubeconfig: request.source_kubeconfig,
            node_image: request.node_image,
            retain: request.retain,
            confirmed: request.confirmed,
            ..ClusterSpec::default()
        };
        let task = Task {
            scenario: scenario.id.to_string(),
            title: scenario.title.clone(),
            variant: variant.0,
            digest: digest(&scenario),
            state: TaskState::Preparing,
            cluster: TaskCluster { provider: provider.name().to_owned(), spec, record: None },
            dir: self.store.dir(&id).join("task"),
            hints: 0,
            resets: 0,
        };
        let minutes = request.minutes.unwrap_or(scenario.minutes);
        let limit = request.timer.then(|| Duration::from_secs(u64::from(minutes) * 60));
        let mut session = Session::plan(id, Mode::Practice, &self.clock.moment(), limit, vec![task]);
        session.catalog = self.scenarios.clone();
        let mut locked = self.store.create(session, "start")?;

        match self.interruptible(self.prepare(&mut locked, 0, provider.as_ref(), &scenario)).await {
            Ok(()) => {}
            Err(error) if request.retain => return Err(keep(locked, error)),
            Err(error) => return Err(self.undo(locked, error).await),
        }
        locked.session.begin(&self.clock.moment());
        locked.save()?;
        started(&locked.session, 0)
    }

    /// Brings a task back to where it started: a new cluster with the same names and values, an empty folder. The
    /// clock goes on.
    ///
    /// # Errors
    /// Any [`LabError`] of catalog, provider, seed and store; the session stays, and `reset` can be tried again.
    pub async fn reset(&self, session: Option<&str>) -> Result<Started, LabError> {
        let mut locked = self.open(session, "reset")?;
        practice(&locked.session)?;
        locked.session.running()?;
        let scenario = self.scenario_of(&locked.session, 0)?;
        let provider = self.provider_of(locked.session.task(0)?)?;
        self.interruptible(self.replace(&mut locked, 0, &provider, &scenario)).await?;
        let task = locked.session.task_mut(0)?;
        task.resets += 1;
        task.digest = digest(&scenario);
        locked.session.observe(&self.clock.moment());
        locked.save()?;
        started(&locked.session, 0)
    }

    async fn replace(
        &self,
        locked: &mut Locked,
        index: usize,
        provider: &Arc<dyn Provider>,
        scenario: &Scenario,
    ) -> Result<(), LabError> {
        let task = locked.session.task(index)?;
        self.tell(Event::Stage { text: format!("removing cluster {}", task.cluster.spec.name) });
        match &task.cluster.record {
            Some(record) => provider.delete(record).await?,
            // A reset that was cut short has left a cluster without a record.
            None => provider.remove(&task.cluster.spec.name).await?,
        }
        locked.session.task_mut(index)?.cluster.record = None;
        locked.save()?;
        self.prepare(locked, index, provider.as_ref(), scenario).await
    }

    /// Creates the cluster of a task, seeds it and records the state.
    async fn prepare(
        &self,
        locked: &mut Locked,
        index: usize,
        provider: &dyn Provider,
        scenario: &Scenario,
    ) -> Result<(), LabError> {
        let progress = Reporting(self.observer.as_ref());
        let task = locked.session.task(index)?.clone();
        let mut record = provider.create(&task.cluster.spec, &progress).await?;
        locked.session.task_mut(index)?.cluster.record = Some(record.clone());
        locked.save()?;
        self.tell(Event::Stage { text: "setting up the task".to_owned() });
        self.set_up(&locked.session.id, index, &task, &record, provider, scenario, &progress).await?;
        provider.settle(&mut record).await?;
        locked.session.task_mut(index)?.cluster.record = Some(record);
        Ok(locked.save()?)
    }

    /// Seeds the cluster of a task and records the state.
    #[expect(clippy::too_many_arguments, reason = "all of it belongs to one task")]
    pub(super) async fn set_up(
        &self,
        id: &SessionId,
        index: usize,
        task: &Task,
        record: &ClusterRecord,
        provider: &dyn Provider,
        scenario: &Scenario,
        progress: &dyn Progress,
    ) -> Result<(), LabError> {
        let cluster = provider.attach(record).await?;
        empty_dir(&task.dir)?;
        persist::write_atomic(&task.dir.join("task.md"), scenario.task.as_bytes())?;
        let name = &task.cluster.spec.name;
        let baseline = seed::seed(scenario, cluster.as_ref(), name, &task.dir, progress).await?;
        persist::save(&self.baseline_path(id, index), &Baselines(baseline))?;
        Ok(())
    }

    /// Removes what a failed start has left. The error says so when that is not possible.
    pub(super) async fn undo(&self, mut locked: Locked, error: LabError) -> LabError {
        self.tell(Event::Stage { text: "removing what was created".to_owned() });
        let session = locked.session.id.clone();
        let removed = async {
            for task in &locked.session.tasks {
                let provider = self.provider_of(task)?;
                match &task.cluster.record {
                    Some(record) => provider.delete(record).await?,
                    // Nothing was created that somebody would have to agree to.
                    None if matches!(
                        error,
                        LabError::Provider(crate::cluster::ProviderError::Unconfirmed { .. })
                    ) => {}
                    None => provider.remove(&task.cluster.spec.name).await?,
                }
                persist::remove(&task.cluster.spec.dir)?;
            }
            Ok::<(), LabError>(())
        };
        match removed.await {
            Ok(()) => match locked.remove() {
                Ok(()) => error,
                Err(left) => {
                    LabError::NotCleaned { session, left: left.to_string(), source: Box::new(error) }
                }
            },
            Err(left) => {
                locked.session.fail();
                // The session is kept so that `clean` finds what is left; when even that fails, it says so.
                let left = match locked.save() {
                    Ok(()) => left.to_string(),
                    Err(unsaved) => format!("{left}; {unsaved}"),
                };
                LabError::NotCleaned { session, left, source: Box::new(error) }
            }
        }
    }

    /// Runs to the end, or until it is asked to stop.
    pub(super) async fn interruptible<T>(
        &self,
        work: impl Future<Output = Result<T, LabError>>,
    ) -> Result<T, LabError> {
        let mut interrupt = self.interrupt.clone();
        tokio::select! {
            biased;
            () = interrupt.pulled() => Err(LabError::Interrupted),
            done = work => done,
        }
    }
}

fn keep(mut locked: Locked, error: LabError) -> LabError {
    locked.session.fail();
    let session = locked.session.id.clone();
    match locked.save() {
        Ok(()) => LabError::Kept { session, source: Box::new(error) },
        Err(unsaved) => LabError::NotCleaned { session, left: unsaved.to_string(), source: Box::new(error) },
    }
}

/// Makes a folder that exists and is empty. It is not removed itself, since a shell may stand in it.
fn empty_dir(dir: &std::path::Path) -> Result<(), LabError> {
    persist::create_dir(dir)?;
    let entries = std::fs::read_dir(dir).map_err(|source| persist::PersistError::Io {
        path: dir.to_owned(),
        action: "read",
        source,
    })?;
    for entry in entries.flatten() {
        persist::remove(&entry.path())?;
    }
    Ok(())
}

pub(super) fn started(session: &Session, index: usize) -> Result<Started, LabError> {
    let task = session.task(index)?;
    let record = task.cluster.record.as_ref();
    let record = record.ok_or_else(|| LabError::NoCluster { session: session.id.clone() })?;
    Ok(Started {
        session: session.id.clone(),
        scenario: task.scenario.clone(),
        title: task.title.clone(),
        kubeconfig: record.kubeconfig.clone(),
        provider: task.cluster.provider.clone(),
        variant: task.variant,
        task_file: task.dir.join("task.md"),
        task_dir: task.dir.clone(),
        deadline: session.timer.deadline(),
    })
}

/// Tells one state of a scenario's files from another, by what was put into the cluster and what is asked of it.
pub(super) fn digest(scenario: &Scenario) -> String {
    use std::fmt::Write as _;
    let text = format!("{:?}{:?}{}", scenario.seed, scenario.checks, scenario.task);
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(super) fn random() -> Result<u32, LabError> {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| LabError::NoRandomness)?;
    Ok(u32::from_le_bytes(bytes))
}
