//! The use cases: what a front end can ask for. Each works on data under the state folder, tells what it does as
//! [`event::Event`]s and returns a [`view`]. Never touches the terminal, the environment or the home folder.

pub mod error;
pub mod event;
pub mod interrupt;
pub mod view;

mod doctor;
pub mod exam;
pub mod finish;
mod library;
pub mod node;
pub mod practice;
mod start;
pub mod watch;
mod work;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::cluster::registry::Registry;
use crate::cluster::{Cluster, Provider};
use crate::grade::{self, Score};
use crate::history::History;
use crate::persist::{self, Stored};
use crate::report::TaskReport;
use crate::scenario::Scenario;
use crate::session::store::{Locked, SessionStore};
use crate::session::{Session, SessionId, Task};
use crate::verify::{self, Baseline};

use error::LabError;
use event::{Event, Observer};
use interrupt::Interrupt;

pub use start::StartRequest;

/// What a lab is made of.
pub struct Setup {
    /// The folder under which everything is kept.
    pub state: PathBuf,
    /// The folder with scenarios; those that are built in where there is none.
    pub scenarios: Option<PathBuf>,
    /// The providers.
    pub registry: Registry,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Who is told what is going on.
    pub observer: Arc<dyn Observer>,
    /// Who may ask to stop.
    pub interrupt: Interrupt,
}

/// The lab.
pub struct Lab {
    state: PathBuf,
    scenarios: Option<PathBuf>,
    registry: Registry,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    interrupt: Interrupt,
    store: SessionStore,
    history: History,
}

/// What was recorded after the seed, kept beside the session.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Baselines(Baseline);

impl Stored for Baselines {
    const KIND: &'static str = "baseline";
    const VERSION: u32 = 1;
}

impl Lab {
    /// Makes a lab.
    pub fn new(setup: Setup) -> Self {
        let Setup { state, scenarios, registry, clock, observer, interrupt } = setup;
        let store = SessionStore::new(state.join("sessions"));
        let history = History::new(state.join("history.json"));
        Self { state, scenarios, registry, clock, observer, interrupt, store, history }
    }

    /// Returns the providers.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the sessions.
    pub fn sessions(&self) -> &SessionStore {
        &self.store
    }

    fn tell(&self, event: Event) {
        self.observer.observe(event);
    }

    fn warn(&self, text: impl Into<String>) {
        self.tell(Event::Warning { text: text.into() });
    }

    /// Finds the session that is meant, keeps others from changing it and brings its clock up to now.
    fn open(&self, session: Option<&str>, purpose: &str) -> Result<Locked, LabError> {
        let id = self.store.resolve(session)?;
        let mut locked = self.store.lock(&id, purpose)?;
        locked.session.observe(&self.clock.moment());
        Ok(locked)
    }

    /// Finds the session that is meant and brings its clock up to now, without keeping it.
    fn look(&self, session: Option<&str>) -> Result<Session, LabError> {
        let id = self.store.resolve(session)?;
        let mut session = self.store.load(&id)?;
        session.observe(&self.clock.moment());
        Ok(session)
    }

    fn cluster_dir(&self, name: &str) -> PathBuf {
        self.state.join("clusters").join(name)
    }

    fn report_path(&self, id: &SessionId) -> PathBuf {
        self.state.join("reports").join(format!("{id}.json"))
    }

    fn baseline_path(&self, id: &SessionId, task: usize) -> PathBuf {
        self.store.dir(id).join(format!("baseline-{task}.json"))
    }

    fn provider_of(&self, task: &Task) -> Result<Arc<dyn Provider>, LabError> {
        Ok(self.registry.get(&task.cluster.provider)?)
    }

    async fn attach(&self, session: &Session, task: &Task) -> Result<Box<dyn Cluster>, LabError> {
        let record = task
            .cluster
            .record
            .as_ref()
            .ok_or_else(|| LabError::NoCluster { session: session.id.clone() })?;
        Ok(self.provider_of(task)?.attach(record).await?)
    }

    /// Runs the checks of a task and adds up what they are worth.
    async fn grade(
        &self,
        session: &Session,
        index: usize,
        scenario: &Scenario,
    ) -> Result<(TaskReport, Score), LabError> {
        let task = session.task(index)?;
        let cluster = self.attach(session, task).await?;
        let path = self.baseline_path(&session.id, index);
        // A check that has lost what it must compare with says so itself.
        let baseline = persist::load::<Baselines>(&path)?.unwrap_or_default().0;
        let verified = verify::verify(&scenario.checks, cluster.as_ref(), &task.dir, &baseline).await;
        let simulated: Vec<bool> = verified.iter().map(|verified| verified.simulated).collect();
        let outcomes: Vec<_> = verified.into_iter().map(|verified| verified.outcome).collect();
        let score = grade::grade(&scenario.checks, &outcomes);
        Ok((TaskReport::new(session, task, scenario, &outcomes, &simulated, &score), score))
    }
}
