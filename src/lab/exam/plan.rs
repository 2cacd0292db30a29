//! What an exam is to consist of: candidates that some provider can bring up, drawn by the rules or as a blueprint says,
//! with variants, and the clusters that the tasks share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::super::start::{VARIANTS, random};
use super::super::{Lab, LabError};
use super::ExamRequest;
use super::view::{ExamPlan, PlannedTask};
use crate::blueprint::{self, Blueprint, Known};
use crate::cluster::registry::Choice;
use crate::cluster::{Capability, Provider};
use crate::curriculum::{Curriculum, Track};
use crate::exam::clusters::{self, Footprint};
use crate::exam::{self, Candidate, Draw, DrawnTask, FRESH_EXAMS};
use crate::lab::error::Fault;
use crate::persist;
use crate::random::Random;
use crate::scenario::catalog::Catalog;
use crate::scenario::{Scenario, SeedStep, Variant};
use crate::session::{Mode, SessionId};

/// What a task may need without touching what is everybody's in a cluster.
const WITHIN_NAMESPACES: [Capability; 4] =
    [Capability::Api, Capability::Pods, Capability::Exec, Capability::Reach];

/// An exam that was drawn and is still to be brought up.
pub struct DrawnExam {
    pub(super) track: &'static Track,
    pub(super) title: Option<String>,
    pub(super) variant: u32,
    pub(super) minutes: u32,
    pub(super) pass_mark: u32,
    pub(super) open_book: bool,
    pub(super) allowed: Vec<String>,
    pub(super) node_image: Option<String>,
    pub(super) tasks: Vec<Planned>,
}

/// A task with what brings it up.
pub(super) struct Planned {
    pub(super) drawn: DrawnTask,
    pub(super) scenario: Scenario,
    pub(super) provider: Arc<dyn Provider>,
    /// The number of its cluster, from 0.
    pub(super) cluster: usize,
}

impl DrawnExam {
    /// Returns what was drawn, for whoever plans exams.
    pub fn plan(&self) -> ExamPlan {
        let task = |(index, planned): (usize, &Planned)| PlannedTask {
            number: index + 1,
            scenario: planned.scenario.id.to_string(),
            title: planned.scenario.title.clone(),
            domain: planned.drawn.candidate.domain.clone(),
            variant: planned.scenario.variant.0,
            weight: planned.drawn.weight,
            minutes: planned.drawn.candidate.minutes,
            repeated: planned.drawn.repeated,
            provider: planned.provider.name().to_owned(),
            cluster: planned.cluster + 1,
        };
        ExamPlan {
            title: self.title.clone(),
            track: self.track.id.to_string(),
            variant: self.variant,
            minutes: self.minutes,
            pass_mark: self.pass_mark,
            clusters: self.clusters(),
            tasks: self.tasks.iter().enumerate().map(task).collect(),
        }
    }

    /// Returns how many clusters it takes.
    pub(super) fn clusters(&self) -> usize {
        self.tasks.iter().map(|task| task.cluster + 1).max().unwrap_or(0)
    }
}

impl Lab {
    /// Draws an exam. Nothing is brought up.
    ///
    /// # Errors
    /// [`LabError::Draw`], [`LabError::InvalidBlueprint`], [`LabError::UnknownTrack`], any [`LabError`] of the catalog.
    pub async fn exam_draw(&self, request: &ExamRequest) -> Result<DrawnExam, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let blueprint =
            request.blueprint.as_deref().map(|path| self.blueprint(path, &catalog)).transpose()?;
        let blueprint = blueprint.as_ref();
        let track = match blueprint {
            Some(blueprint) => blueprint.track,
            None => track(request.track.as_deref())?,
        };
        let variant = match request.variant.or_else(|| blueprint.and_then(|blueprint| blueprint.variant)) {
            Some(variant) => variant,
            None => 1 + random()? % VARIANTS,
        };
        let asked = request.minutes.or_else(|| blueprint.and_then(|blueprint| blueprint.minutes));
        let minutes = asked.unwrap_or(track.exam.minutes);
        let choice = request
            .provider
            .clone()
            .or_else(|| blueprint.and_then(|blueprint| blueprint.provider.as_deref()).map(Choice::parse));
        let choice = choice.unwrap_or_else(|| request.usual_provider.clone());
        let tasks = self.plan_tasks(&catalog, request, &choice, blueprint, track, variant, minutes).await?;
        let marked = blueprint.and_then(|blueprint| blueprint.pass_mark);
        Ok(DrawnExam {
            track,
            title: blueprint.map(|blueprint| blueprint.title.clone()),
            variant,
            minutes,
            pass_mark: marked.unwrap_or(track.exam.pass_percent),
            open_book: request.open_book || blueprint.is_some_and(|blueprint| blueprint.open_book),
            allowed: blueprint.map(|blueprint| blueprint.allowed_links.clone()).unwrap_or_default(),
            node_image: request.node_image.clone(),
            tasks,
        })
    }

    fn blueprint(&self, path: &Path, catalog: &Catalog) -> Result<Blueprint, LabError> {
        let bytes = persist::read(path)?.ok_or_else(|| LabError::NoBlueprint { path: path.to_owned() })?;
        let text = String::from_utf8_lossy(&bytes);
        // A cluster that is somebody's own is not for an exam.
        let providers: Vec<&str> =
            ["auto"].into_iter().chain(self.registry.names()).filter(|name| *name != "kubeconfig").collect();
        let known = Known { scenarios: catalog.summaries(), providers: &providers };
        blueprint::parse(&text, path, known).map_err(|faults| {
            let fault = |fault: crate::diag::Diagnostic| Fault { text: fault.render(Some(&text)), fault };
            LabError::InvalidBlueprint {
                path: path.to_owned(),
                faults: faults.into_iter().map(fault).collect(),
            }
        })
    }

    #[expect(clippy::too_many_arguments, reason = "all of it decides what is drawn")]
    async fn plan_tasks(
        &self,
        catalog: &Catalog,
        request: &ExamRequest,
        choice: &Choice,
        blueprint: Option<&Blueprint>,
        track: &Track,
        variant: u32,
        minutes: u32,
    ) -> Result<Vec<Planned>, LabError> {
        let curriculum = Curriculum::builtin();
        let mut providers: BTreeMap<BTreeSet<Capability>, Option<Arc<dyn Provider>>> = BTreeMap::new();
        let mut refused = None;
        let mut candidates = Vec::new();
        for summary in catalog.summaries() {
            let Some(place) = curriculum.places_in(&summary.topic, track).first().copied() else { continue };
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            if !providers.contains_key(&needs) {
                let chosen = self.registry.choose(choice, &summary.needs).await;
                let chosen = chosen.map_err(|error| refused = Some(error)).ok();
                providers.insert(needs.clone(), chosen);
            }
            if providers.get(&needs).is_some_and(Option::is_some) {
                candidates.push(Candidate {
                    scenario: summary.id.to_string(),
                    topic: place.topic.id.to_string(),
                    domain: place.domain.id.to_string(),
                    minutes: summary.minutes,
                });
            }
        }
        if let (true, Some(refused)) = (candidates.is_empty(), refused) {
            return Err(refused.into());
        }
        let recent = self.recent_exams()?;
        let drawn = exam::draw(&Draw {
            track,
            candidates: &candidates,
            tasks: request.tasks,
            slots: blueprint.map(|blueprint| &blueprint.slots[..]).unwrap_or_default(),
            minutes,
            recent: &recent,
            variant,
        })?;
        let mut random = Random::new(&["exam", "variants"], u64::from(variant));
        let mut planned = Vec::new();
        for (index, drawn) in drawn.into_iter().enumerate() {
            let summary = catalog.find(&drawn.candidate.scenario)?;
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            // One is drawn in any case, so that a fixed one leaves those of the other tasks as they are.
            let number = 1 + random.below(VARIANTS as usize) as u32;
            let fixed = blueprint.and_then(|blueprint| blueprint.variants.get(index).copied().flatten());
            let variant = Variant(fixed.unwrap_or(number));
            let scenario = self.scenario(self.scenarios.as_deref(), &drawn.candidate.scenario, variant)?;
            if let Some(Some(provider)) = providers.get(&needs) {
                planned.push(Planned { drawn, scenario, provider: provider.clone(), cluster: 0 });
            }
        }
        let footprints: Vec<Footprint> = planned.iter().map(footprint).collect();
        for (planned, cluster) in planned.iter_mut().zip(clusters::share(&footprints)) {
            planned.cluster = cluster;
        }
        Ok(planned)
    }

    /// The scenarios of the last exams that were submitted.
    fn recent_exams(&self) -> Result<BTreeSet<String>, LabError> {
        let attempts = self.history.attempts()?;
        let mut sessions: Vec<&SessionId> = Vec::new();
        let mut recent = BTreeSet::new();
        for attempt in attempts.iter().rev().filter(|attempt| attempt.mode == Mode::Exam) {
            if !sessions.contains(&&attempt.session) {
                sessions.push(&attempt.session);
            }
            if sessions.len() > FRESH_EXAMS {
                break;
            }
            recent.insert(attempt.scenario.clone());
        }
        Ok(recent)
    }
}

/// What a task touches of its cluster. A scenario that says it needs no more than namespaces could be started in a
/// cluster where others work, and so beside other tasks.
fn footprint(planned: &Planned) -> Footprint {
    let mut namespaces = BTreeSet::new();
    let mut alone = !planned.provider.shares();
    alone |= planned.scenario.needs.iter().any(|need| !WITHIN_NAMESPACES.contains(need));
    for step in &planned.scenario.seed {
        match step {
            SeedStep::Apply { objects, .. } => {
                for object in objects {
                    let text = |path: &str| object.pointer(path).and_then(serde_json::Value::as_str);
                    let name = match text("/kind") {
                        Some("Namespace") => text("/metadata/name"),
                        _ => text("/metadata/namespace"),
                    };
                    match name {
                        Some(name) => drop(namespaces.insert(name.to_owned())),
                        // It lies in no namespace, or in one that nobody made for it.
                        None => alone = true,
                    }
                }
            }
            SeedStep::WaitReady { namespace, .. } => drop(namespaces.insert(namespace.clone())),
            SeedStep::NodeFile { .. } | SeedStep::NodeRun { .. } => alone = true,
            SeedStep::TaskFile { .. } => {}
        }
    }
    Footprint { provider: planned.provider.name().to_owned(), alone, namespaces }
}

pub(in crate::lab) fn track(wanted: Option<&str>) -> Result<&'static Track, LabError> {
    let curriculum = Curriculum::builtin();
    let Some(wanted) = wanted else { return Ok(curriculum.newest()) };
    curriculum.track(wanted).ok_or_else(|| LabError::UnknownTrack {
        wanted: wanted.to_owned(),
        known: curriculum.tracks().iter().map(|track| track.id.to_string()).collect(),
    })
}

/// Names the hosts of an exam: no two alike, none that tells its task.
pub(super) fn hosts(count: usize, variant: u32) -> Vec<String> {
    let mut random = Random::new(&["exam", "hosts"], u64::from(variant));
    let order = random.shuffled(9000);
    order.into_iter().take(count).map(|number| format!("cks{}", number + 1000)).collect()
}
