//! What can be practised: the scenarios, and the curriculum with the scenarios for each topic.

use std::collections::BTreeMap;
use std::path::Path;

use super::Lab;
use super::error::{Fault, LabError};
use super::view::{CurriculumView, DomainView, ListView, ListedScenario, ShowView, TopicView};
use crate::curriculum::{self, Curriculum, Place, TopicId};
use crate::history::Best;
use crate::report::{LinkKind, StudyLink};
use crate::scenario::catalog::{Catalog, CatalogError, Summary};
use crate::scenario::{Scenario, Variant};
use crate::session::TaskState;

impl Lab {
    /// Lists the scenarios in the order of the curriculum.
    ///
    /// # Errors
    /// [`LabError::Catalog`], or [`LabError::Persist`] when the history cannot be read.
    pub fn list(&self) -> Result<ListView, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        for fault in catalog.faults() {
            self.warn(format!("a folder is left out of the list: {}", fault.render(None)));
        }
        let best = self.history.best()?;
        let mut scenarios: Vec<ListedScenario> =
            catalog.summaries().iter().map(|summary| self.listed(summary, &best)).collect();
        let order = |listed: &ListedScenario| {
            let domains = Curriculum::builtin().newest().domains.iter();
            domains.map(|domain| domain.id.as_str()).position(|id| id == listed.domain)
        };
        scenarios.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.id.cmp(&b.id)));
        Ok(ListView { scenarios })
    }

    /// Shows what a scenario trains, what it needs and what to read.
    ///
    /// # Errors
    /// [`LabError::Catalog`], [`LabError::InvalidScenario`], [`LabError::Persist`].
    pub fn show(&self, id: &str) -> Result<ShowView, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let summary = catalog.find(id).map_err(|error| with_sources(&catalog, error))?;
        let listed = self.listed(summary, &self.history.best()?);
        let scenario = load(&catalog, id, Variant(0))?;
        let place = place_of(&scenario.topic);
        let closed = self.is_book_closed()?;
        let topic = place.map(|place| place.topic);
        Ok(ShowView {
            listed,
            domain_title: place.map(|place| place.domain.title.clone()).unwrap_or_default(),
            topic_title: topic.map(|topic| topic.title.clone()).unwrap_or_default(),
            weight: place.map(|place| place.domain.weight).unwrap_or_default(),
            checks: scenario.checks.iter().map(|check| check.describe.clone()).collect(),
            hints: scenario.hints.len(),
            resources: topic.map(|topic| links(&topic.resources, closed)).unwrap_or_default(),
        })
    }

    /// Returns a track, the newest where none is named, with the scenarios for each topic.
    ///
    /// # Errors
    /// [`LabError::UnknownTrack`], [`LabError::Catalog`].
    pub fn curriculum(&self, track: Option<&str>) -> Result<CurriculumView, LabError> {
        let curriculum = Curriculum::builtin();
        let track = match track {
            None => curriculum.newest(),
            Some(id) => curriculum.track(id).ok_or_else(|| LabError::UnknownTrack {
                wanted: id.to_owned(),
                known: curriculum.tracks().iter().map(|track| track.id.to_string()).collect(),
            })?,
        };
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let mut by_topic: BTreeMap<&TopicId, Vec<String>> = BTreeMap::new();
        for summary in catalog.summaries() {
            // Only the closest place, so that a scenario is counted once in each track.
            if let Some(place) = curriculum.places_in(&summary.topic, track).first() {
                by_topic.entry(&place.topic.id).or_default().push(summary.id.to_string());
            }
        }
        let closed = self.is_book_closed()?;
        let topic = |topic: &curriculum::Topic| TopicView {
            id: topic.id.to_string(),
            title: topic.title.clone(),
            resources: links(&topic.resources, closed),
            scenarios: by_topic.get(&topic.id).cloned().unwrap_or_default(),
        };
        let domain = |domain: &curriculum::Domain| DomainView {
            id: domain.id.to_string(),
            title: domain.title.clone(),
            weight: domain.weight,
            topics: domain.topics.iter().map(topic).collect(),
        };
        Ok(CurriculumView {
            track: track.id.to_string(),
            title: track.title.clone(),
            domains: track.domains.iter().map(domain).collect(),
            general: links(&track.general, closed),
            related: links(&track.related, closed),
        })
    }

    /// Tells whether an exam goes on in which pages of third parties are not shown, and says so then.
    fn is_book_closed(&self) -> Result<bool, LabError> {
        let now = self.clock.moment();
        let closed = self.store.list()?.sessions.into_iter().find(|session| {
            let mut session = session.clone();
            session.observe(&now);
            let exam = session.sitting.as_ref().is_some_and(|sitting| !sitting.open_book);
            exam && session.state == TaskState::Running && !session.timer.is_up()
        });
        if let Some(exam) = &closed {
            self.warn(format!("links to pages of third parties are hidden while exam `{}` goes on", exam.id));
        }
        Ok(closed.is_some())
    }

    /// Opens the folder with scenarios, or what is built in.
    ///
    /// # Errors
    /// [`LabError::Catalog`].
    pub fn catalog(&self, folder: Option<&Path>) -> Result<Catalog, LabError> {
        Ok(match folder {
            Some(folder) => Catalog::open(folder)?,
            None => Catalog::embedded(),
        })
    }

    pub(super) fn scenario(
        &self,
        folder: Option<&Path>,
        id: &str,
        variant: Variant,
    ) -> Result<Scenario, LabError> {
        load(&self.catalog(folder)?, id, variant)
    }

    fn listed(&self, summary: &Summary, best: &BTreeMap<String, Best>) -> ListedScenario {
        let places = Curriculum::builtin().places(&summary.topic);
        let mut tracks: Vec<String> = places.iter().map(|place| place.track.id.to_string()).collect();
        tracks.dedup();
        ListedScenario {
            id: summary.id.to_string(),
            title: summary.title.clone(),
            domain: place_of(&summary.topic).map(|place| place.domain.id.to_string()).unwrap_or_default(),
            topic: summary.topic.to_string(),
            tracks,
            minutes: summary.minutes,
            points: summary.points.0,
            needs: summary.needs.clone(),
            providers: self.registry.able(&summary.needs).into_iter().map(str::to_owned).collect(),
            difficulty: summary.difficulty,
            best: best.get(summary.id.as_str()).cloned(),
        }
    }
}

fn load(catalog: &Catalog, id: &str, variant: Variant) -> Result<Scenario, LabError> {
    catalog.load(id, variant).map_err(|error| with_sources(catalog, error))
}

/// Puts the lines beside the faults that they are in.
fn with_sources(catalog: &Catalog, error: CatalogError) -> LabError {
    match error {
        CatalogError::Invalid { id, diagnostics } => {
            let fault = |fault: crate::diag::Diagnostic| {
                let source = fault.span.as_ref().and_then(|span| catalog.source(&span.file));
                Fault { text: fault.render(source.as_deref()), fault }
            };
            LabError::InvalidScenario { scenario: id, faults: diagnostics.into_iter().map(fault).collect() }
        }
        other => other.into(),
    }
}

/// Finds the place of a topic in the newest track that has one.
pub(super) fn place_of(topic: &TopicId) -> Option<Place<'static>> {
    let curriculum = Curriculum::builtin();
    let newest = curriculum.places_in(topic, curriculum.newest()).first().copied();
    newest.or_else(|| curriculum.places(topic).pop())
}

/// Lists links; with a closed book those of third parties are left out.
fn links(resources: &[curriculum::Resource], closed: bool) -> Vec<StudyLink> {
    let links = resources.iter().map(StudyLink::from);
    links.filter(|link| !closed || link.kind == LinkKind::Allowed).collect()
}
