//! A folder to start from: complete, free of faults, and to be changed throughout.

use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

use crate::curriculum::{Curriculum, TopicId};
use crate::diag::closest;

static SKELETON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/scenario");

/// Why no folder was made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name is not kebab-case.
    #[error("`{0}` is no name for a scenario: use lower case letters, digits and single `-`")]
    BadId(String),
    /// No track has the topic.
    #[error("there is no topic `{topic}`")]
    UnknownTopic {
        /// What was asked for.
        topic: String,
        /// What may have been meant.
        similar: Option<String>,
    },
    /// The folder is there already.
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
    /// The folder could not be written.
    #[error("`{}` could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the folder of a new scenario below `catalog`, in the domain of its topic, and returns it.
///
/// # Errors
/// [`NewError`]; nothing is written over.
pub fn new(catalog: &Path, id: &str, topic: &str) -> Result<PathBuf, NewError> {
    let fits =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !id.split('-').all(fits) || !id.starts_with(|c: char| c.is_ascii_lowercase()) || id.len() > 60 {
        return Err(NewError::BadId(id.to_owned()));
    }
    let curriculum = Curriculum::builtin();
    let places = curriculum.places_in(&topic.into(), curriculum.newest());
    let Some(place) = places.first() else {
        let similar = closest(topic, curriculum.topic_ids().map(TopicId::as_str)).map(str::to_owned);
        return Err(NewError::UnknownTopic { topic: topic.to_owned(), similar });
    };
    let folder = catalog.join(place.domain.id.as_str()).join(id);
    if folder.exists() {
        return Err(NewError::Exists(folder));
    }
    write(&SKELETON, &folder, &[("__ID__", id), ("__TOPIC__", topic)])?;
    Ok(folder)
}

fn write(dir: &Dir<'_>, folder: &Path, names: &[(&str, &str)]) -> Result<(), NewError> {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => write(dir, folder, names)?,
            DirEntry::File(file) => {
                let path = folder.join(file.path());
                let text = file.contents_utf8().unwrap_or_default();
                let text = names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
                let written = match path.parent() {
                    Some(parent) => std::fs::create_dir_all(parent),
                    None => Ok(()),
                };
                written
                    .and_then(|()| std::fs::write(&path, text))
                    .map_err(|source| NewError::Write { path, source })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::catalog::Catalog;

    #[test]
    fn what_is_made_has_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let folder = new(dir.path(), "close-the-door", "gui-elements").unwrap();
        assert!(folder.ends_with("cluster-hardening/close-the-door"));
        let catalog = Catalog::open(dir.path()).unwrap();
        assert_eq!(catalog.lint_all(), []);
        assert_eq!(catalog.summaries()[0].id.as_str(), "close-the-door");
        assert!(matches!(new(dir.path(), "close-the-door", "gui-elements"), Err(NewError::Exists(_))));
    }

    #[test]
    fn names_and_topics_must_fit() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["", "A", "a--b", "a_b", "../x", "1a"] {
            assert!(matches!(new(dir.path(), id, "rbac"), Err(NewError::BadId(_))), "{id}");
        }
        match new(dir.path(), "a", "rback") {
            Err(NewError::UnknownTopic { similar, .. }) => assert_eq!(similar.as_deref(), Some("rbac")),
            other => panic!("{other:?}"),
        }
    }
}
