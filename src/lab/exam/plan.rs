//! What an exam is to consist of: candidates that some provider can bring up, drawn by the rules, with variants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::start::VARIANTS;
use super::super::{Lab, LabError};
use super::ExamRequest;
use crate::cluster::{Capability, Provider};
use crate::curriculum::{Curriculum, Track};
use crate::exam::{self, Candidate, Draw, DrawnTask, FRESH_EXAMS};
use crate::random::Random;
use crate::scenario::{Scenario, Variant};
use crate::session::{Mode, SessionId};

/// A task with what brings it up.
pub(super) struct Planned {
    pub(super) drawn: DrawnTask,
    pub(super) scenario: Scenario,
    pub(super) provider: Arc<dyn Provider>,
}

impl Lab {
    pub(super) async fn plan_exam(
        &self,
        request: &ExamRequest,
        track: &Track,
        variant: u32,
        minutes: u32,
    ) -> Result<Vec<Planned>, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let curriculum = Curriculum::builtin();
        let mut providers: BTreeMap<BTreeSet<Capability>, Option<Arc<dyn Provider>>> = BTreeMap::new();
        let mut refused = None;
        let mut candidates = Vec::new();
        for summary in catalog.summaries() {
            let Some(place) = curriculum.places_in(&summary.topic, track).first().copied() else { continue };
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            if !providers.contains_key(&needs) {
                let chosen = self.registry.choose(&request.provider, &summary.needs).await;
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
            minutes,
            recent: &recent,
            variant,
        })?;
        let mut random = Random::new(&["exam", "variants"], u64::from(variant));
        let mut planned = Vec::new();
        for drawn in drawn {
            let summary = catalog.find(&drawn.candidate.scenario)?;
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            let number = 1 + random.below(VARIANTS as usize) as u32;
            let scenario =
                self.scenario(self.scenarios.as_deref(), &drawn.candidate.scenario, Variant(number))?;
            if let Some(Some(provider)) = providers.get(&needs) {
                planned.push(Planned { drawn, scenario, provider: provider.clone() });
            }
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
