//! The curriculum as data: tracks, domains with weights, topics, and the pages to study for each.
//! Embedded from `curriculum/*.yaml`; knows nothing of scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

const SOURCES: [(&str, &str); 2] = [
    ("v1.19", include_str!("../curriculum/v1.19.yaml")),
    ("v1.34", include_str!("../curriculum/v1.34.yaml")),
];

static BUILTIN: LazyLock<Curriculum> = LazyLock::new(|| {
    Curriculum::parse(&SOURCES)
        .unwrap_or_else(|error| unreachable!("the embedded curriculum is tested to parse: {error}"))
});

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names a track, such as `v1.34`.
    TrackId
}
id! {
    /// Names a domain within a track, such as `cluster-hardening`.
    DomainId
}
id! {
    /// Names a topic, such as `rbac`.
    TopicId
}
id! {
    /// Names a page to study, such as `rbac-good-practices`; the same wherever the page is linked.
    ResourceId
}

impl schemars::JsonSchema for TopicId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TopicId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let ids: BTreeSet<&str> = Curriculum::builtin().topic_ids().map(TopicId::as_str).collect();
        schemars::json_schema!({
            "description": "A topic of either track; track, domain, weight and study links follow from it.",
            "type": "string",
            "enum": ids,
        })
    }
}

impl schemars::JsonSchema for ResourceId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ResourceId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let ids: BTreeSet<&str> = Curriculum::builtin().resource_ids().map(ResourceId::as_str).collect();
        schemars::json_schema!({
            "description": "A page of the curriculum's study lists.",
            "type": "string",
            "enum": ids,
        })
    }
}

/// Whether a page may be open during the exam of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It may.
    Allowed,
    /// For study only.
    ThirdParty,
}

/// A link to a page, as a track's study list gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Names the page; two links to the same page share it.
    pub id: ResourceId,
    /// The title of the link, as the list spells it.
    pub title: String,
    /// Where the page is.
    pub url: String,
    /// Whether it may be open during the track's exam.
    pub kind: Kind,
    /// What the list remarks on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A competency with its study links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topic {
    /// Names the topic; unique within its track.
    pub id: TopicId,
    /// The curriculum's own words.
    pub title: String,
    /// The topics of the track before that this one goes on with; empty in the first track.
    #[serde(default)]
    pub continues: Vec<TopicId>,
    /// What to read, in the list's order.
    pub resources: Vec<Resource>,
}

/// A domain and its weight in the exam.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Domain {
    /// Names the domain; the six ids are the same in both tracks.
    pub id: DomainId,
    /// The curriculum's own words.
    pub title: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Its topics.
    pub topics: Vec<Topic>,
}

/// How many tasks an exam has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCount {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// The facts of a track's exam.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExamFacts {
    /// How long it takes.
    pub minutes: u32,
    /// How many tasks it has.
    pub tasks: TaskCount,
    /// The score from which it is passed, in percent.
    pub pass_percent: u32,
}

/// One published curriculum with its study list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Track {
    /// Names the track.
    pub id: TrackId,
    /// What to call it.
    pub title: String,
    /// The Kubernetes version of its exam.
    pub kubernetes: String,
    /// The facts of its exam.
    pub exam: ExamFacts,
    /// Prefixes of the pages that may be open during its exam.
    pub allowed_documentation: Vec<String>,
    /// Links that belong to no topic and introduce the whole.
    pub general: Vec<Resource>,
    /// Its domains in the curriculum's order.
    pub domains: Vec<Domain>,
    /// Links that belong to no topic and lead further.
    pub related: Vec<Resource>,
}

impl Track {
    /// Iterates over the topics with their domains.
    pub fn topics(&self) -> impl Iterator<Item = (&Domain, &Topic)> {
        self.domains.iter().flat_map(|domain| domain.topics.iter().map(move |topic| (domain, topic)))
    }

    /// Finds a topic of this track.
    pub fn topic(&self, id: &TopicId) -> Option<(&Domain, &Topic)> {
        self.topics().find(|(_, topic)| topic.id == *id)
    }

    /// Finds a domain.
    pub fn domain(&self, id: &DomainId) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.id == *id)
    }

    /// Iterates over every link: general, of the topics, related.
    pub fn links(&self) -> impl Iterator<Item = &Resource> {
        let topics = self.topics().flat_map(|(_, topic)| &topic.resources);
        self.general.iter().chain(topics).chain(&self.related)
    }

    /// Tells whether a page may be open during this track's exam, by the list's own mark where it links the page,
    /// else by the documentation that is allowed.
    pub fn kind_of(&self, url: &str) -> Kind {
        let page = page(url);
        if let Some(link) = self.links().find(|link| self::page(&link.url) == page) {
            return link.kind;
        }
        match self.allowed_documentation.iter().any(|prefix| url.starts_with(prefix)) {
            true => Kind::Allowed,
            false => Kind::ThirdParty,
        }
    }
}

/// Where a topic stands in a track.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The track.
    pub track: &'a Track,
    /// The domain.
    pub domain: &'a Domain,
    /// The topic there; its id may differ from the one that was asked for.
    pub topic: &'a Topic,
}

/// All tracks, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curriculum {
    tracks: Vec<Track>,
}

/// Why curriculum data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CurriculumError {
    /// A file is not in the format.
    #[error("curriculum `{track}` does not parse: {message}")]
    Parse {
        /// The track.
        track: String,
        /// The parser's words, with the place.
        message: String,
    },
    /// The data contradicts itself.
    #[error("curriculum `{track}`: {message}")]
    Inconsistent {
        /// The track.
        track: String,
        /// What is wrong.
        message: String,
    },
}

impl Curriculum {
    /// Returns the tracks that come with the program.
    pub fn builtin() -> &'static Self {
        &BUILTIN
    }

    /// Parses tracks, given as name and text, oldest first.
    ///
    /// # Errors
    /// [`CurriculumError`] when a file does not parse or the data contradicts itself.
    pub fn parse(sources: &[(&str, &str)]) -> Result<Self, CurriculumError> {
        let mut tracks: Vec<Track> = Vec::with_capacity(sources.len());
        for (name, text) in sources {
            let track: Track = serde_saphyr::from_str(text).map_err(|error| CurriculumError::Parse {
                track: (*name).to_owned(),
                message: error.without_snippet().to_string(),
            })?;
            tracks.push(track);
        }
        let curriculum = Self { tracks };
        curriculum.consistent()?;
        Ok(curriculum)
    }

    /// Returns the tracks, oldest first.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Finds a track.
    pub fn track(&self, id: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id.as_str() == id)
    }

    /// Returns the track that is meant where none is named.
    pub fn newest(&self) -> &Track {
        // `parse` refuses an empty curriculum.
        &self.tracks[self.tracks.len() - 1]
    }

    /// Iterates over the topic ids of all tracks; an id that two tracks share comes twice.
    pub fn topic_ids(&self) -> impl Iterator<Item = &TopicId> {
        self.tracks.iter().flat_map(|track| track.topics().map(|(_, topic)| &topic.id))
    }

    /// Iterates over the resource ids of all tracks; a page that is linked twice comes twice.
    pub fn resource_ids(&self) -> impl Iterator<Item = &ResourceId> {
        self.tracks.iter().flat_map(|track| track.links().map(|link| &link.id))
    }

    /// Finds where a topic of any track stands in `track`; the first place is the closest. Empty when no track
    /// knows the topic.
    pub fn places_in<'a>(&'a self, topic: &TopicId, track: &'a Track) -> Vec<Place<'a>> {
        if let Some((domain, topic)) = track.topic(topic) {
            return vec![Place { track, domain, topic }];
        }
        let mut wanted: Vec<&TopicId> = Vec::new();
        for other in &self.tracks {
            if let Some((_, found)) = other.topic(topic) {
                wanted.extend(&found.continues);
            }
        }
        track
            .topics()
            .filter(|(_, candidate)| candidate.continues.contains(topic) || wanted.contains(&&candidate.id))
            .map(|(domain, topic)| Place { track, domain, topic })
            .collect()
    }

    /// Finds where a topic stands in every track, in the order of the tracks, the closest place of a track first.
    pub fn places(&self, topic: &TopicId) -> Vec<Place<'_>> {
        self.tracks.iter().flat_map(|track| self.places_in(topic, track)).collect()
    }

    /// Finds a page by its id, as the newest track that links it gives it.
    pub fn resource(&self, id: &ResourceId) -> Option<&Resource> {
        self.tracks.iter().rev().find_map(|track| track.links().find(|link| link.id == *id))
    }

    /// Finds a page by its address; scheme, `www.` and a final slash make no difference.
    pub fn resource_by_url(&self, url: &str) -> Option<&Resource> {
        let wanted = page(url);
        self.tracks.iter().rev().find_map(|track| track.links().find(|link| page(&link.url) == wanted))
    }

    fn consistent(&self) -> Result<(), CurriculumError> {
        if self.tracks.is_empty() {
            return Err(inconsistent("", "there is no track".into()));
        }
        let mut pages: BTreeMap<&ResourceId, String> = BTreeMap::new();
        for (position, track) in self.tracks.iter().enumerate() {
            let total: u32 = track.domains.iter().map(|domain| domain.weight).sum();
            if total != 100 {
                return Err(inconsistent(track.id.as_str(), format!("the weights add up to {total}")));
            }
            let mut seen = BTreeSet::new();
            for (_, topic) in track.topics() {
                if !seen.insert(&topic.id) {
                    return Err(inconsistent(
                        track.id.as_str(),
                        format!("topic `{}` is there twice", topic.id),
                    ));
                }
                if let Some(lost) = topic
                    .continues
                    .iter()
                    .find(|id| self.tracks[..position].last().is_none_or(|before| before.topic(id).is_none()))
                {
                    return Err(inconsistent(
                        track.id.as_str(),
                        format!(
                            "topic `{}` continues `{lost}`, which the track before does not have",
                            topic.id
                        ),
                    ));
                }
            }
            for link in track.links() {
                let address = page(&link.url);
                let known = pages.entry(&link.id).or_insert_with(|| address.clone());
                if *known != address {
                    return Err(inconsistent(
                        track.id.as_str(),
                        format!("resource `{}` names `{known}` and `{address}`", link.id),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn inconsistent(track: &str, message: String) -> CurriculumError {
    CurriculumError::Inconsistent { track: track.to_owned(), message }
}

fn page(url: &str) -> String {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let rest = rest.strip_prefix("www.").unwrap_or(rest);
    match rest.split_once('#') {
        Some((path, fragment)) => format!("{}#{fragment}", path.trim_end_matches('/')),
        None => rest.trim_end_matches('/').to_owned(),
    }
}

#[cfg(test)]
mod tests;
