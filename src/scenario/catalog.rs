//! Scenarios as they lie in folders: listed from their headers alone, loaded one at a time. A folder with faults hides
//! no other.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Serialize;

use super::blocks::{keep, points};
use super::code::Code;
use super::fault::Fault;
use super::files::{Files, SCENARIO_FILE};
use super::load::{self, Loaded};
use super::raw::{At, RawHeader};
use super::{Difficulty, Points, Scenario, ScenarioId, Variant, structure};
use crate::cluster::Capability;
use crate::curriculum::{Curriculum, TopicId};
use crate::diag::{Diagnostic, Severity, closest};

/// What a listing shows of a scenario, read without rendering it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its name.
    pub id: ScenarioId,
    /// Its title.
    pub title: String,
    /// The topic that it trains.
    pub topic: TopicId,
    /// How much it asks for.
    pub difficulty: Difficulty,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// What its checks are worth together.
    pub points: Points,
    /// What it needs of a cluster.
    pub needs: Vec<Capability>,
    /// Its folder, relative to the catalog.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// A tree of scenario folders.
#[derive(Debug, Clone)]
pub struct Catalog {
    files: Files,
    folders: Vec<PathBuf>,
    summaries: Vec<Summary>,
    faults: Vec<Diagnostic>,
}

/// Why a scenario cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The directory cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// There is no scenario in the directory.
    #[error("`{}` holds no folder with a `{SCENARIO_FILE}`", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// There is no scenario of that name.
    #[error("there is no scenario `{id}`")]
    Unknown {
        /// The name that was asked for.
        id: String,
        /// The name that may have been meant.
        similar: Option<String>,
    },
    /// It has faults.
    #[error("scenario `{id}` has {} fault{}", diagnostics.len(), if diagnostics.len() == 1 { "" } else { "s" })]
    Invalid {
        /// Its name.
        id: String,
        /// Every fault.
        diagnostics: Vec<Diagnostic>,
    },
}

impl Catalog {
    /// Returns the scenarios that come with the program.
    pub fn embedded() -> Self {
        // An exam asks for it once a task; what is embedded is read once.
        static EMBEDDED: LazyLock<Catalog> = LazyLock::new(|| {
            // The embedded tree cannot fail to be read.
            Catalog::list(Files::Embedded).unwrap_or_else(|_| Catalog {
                files: Files::Embedded,
                folders: Vec::new(),
                summaries: Vec::new(),
                faults: Vec::new(),
            })
        });
        EMBEDDED.clone()
    }

    /// Opens a directory of scenario folders, or one scenario's own folder.
    ///
    /// # Errors
    /// [`CatalogError::Unreadable`] and [`CatalogError::Empty`].
    pub fn open(dir: &Path) -> Result<Self, CatalogError> {
        let catalog = std::fs::canonicalize(dir)
            .and_then(|dir| Self::list(Files::Disk(dir)))
            .map_err(|source| CatalogError::Unreadable { path: dir.to_path_buf(), source })?;
        if catalog.folders.is_empty() {
            return Err(CatalogError::Empty { path: dir.to_path_buf() });
        }
        Ok(catalog)
    }

    fn list(files: Files) -> std::io::Result<Self> {
        let folders = files.folders()?;
        let mut catalog = Self { files, folders, summaries: Vec::new(), faults: Vec::new() };
        for folder in catalog.folders.clone() {
            match catalog.summarize(&folder) {
                Ok(summary) => match catalog.summaries.iter().find(|other| other.id == summary.id) {
                    Some(other) => {
                        let message = format!(
                            "the id `{}` belongs to `{}` already",
                            summary.id,
                            other.folder.display()
                        );
                        let fault = Fault::new(Code::DuplicateId, At::START, message);
                        catalog.faults.push(fault.in_file(&folder.join(SCENARIO_FILE)));
                    }
                    None => catalog.summaries.push(summary),
                },
                Err(fault) => catalog.faults.push(fault.in_file(&folder.join(SCENARIO_FILE))),
            }
        }
        Ok(catalog)
    }

    fn summarize(&self, folder: &Path) -> Result<Summary, Fault> {
        let source = load::text(&self.files, &folder.join(SCENARIO_FILE))?;
        let header: RawHeader = structure::parse_part(&keep(&source, &RawHeader::KEYS))?;
        if Curriculum::builtin().places(&header.topic).is_empty() {
            let message = format!("unknown topic `{}`", header.topic);
            return Err(Fault::new(Code::UnknownTopic, At::START, message));
        }
        Ok(Summary {
            id: header.id.value.into(),
            title: header.title,
            topic: header.topic,
            difficulty: header.difficulty,
            minutes: header.minutes,
            points: Points(points(&source)),
            needs: header.needs,
            folder: folder.to_path_buf(),
        })
    }

    /// Returns what listings show, in the order of the folders.
    pub fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// Returns the faults that keep folders from being listed.
    pub fn faults(&self) -> &[Diagnostic] {
        &self.faults
    }

    /// Finds a scenario by its name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] with the name that may have been meant, [`CatalogError::Invalid`] when a folder of
    /// that name has faults.
    pub fn find(&self, id: &str) -> Result<&Summary, CatalogError> {
        if let Some(summary) = self.summaries.iter().find(|summary| summary.id.as_str() == id) {
            return Ok(summary);
        }
        if let Some(folder) = self.folders.iter().find(|folder| self.name_of(folder) == id) {
            let diagnostics = self.load_folder(folder, Variant(0), false).diagnostics;
            return Err(CatalogError::Invalid { id: id.to_owned(), diagnostics });
        }
        let known = self.summaries.iter().map(|summary| summary.id.as_str());
        Err(CatalogError::Unknown { id: id.to_owned(), similar: closest(id, known).map(str::to_owned) })
    }

    /// Loads one variant of a scenario.
    ///
    /// # Errors
    /// As [`Catalog::find`], and [`CatalogError::Invalid`] with every fault.
    pub fn load(&self, id: &str, variant: Variant) -> Result<Scenario, CatalogError> {
        let summary = self.find(id)?;
        let loaded = self.load_folder(&summary.folder, variant, false);
        loaded
            .scenario
            .ok_or_else(|| CatalogError::Invalid { id: id.to_owned(), diagnostics: loaded.diagnostics })
    }

    /// Finds everything that is wrong with a scenario, warnings included, over several variants. An id that is in the
    /// catalog, or the name of a folder.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`].
    pub fn lint(&self, id: &str) -> Result<Vec<Diagnostic>, CatalogError> {
        let folder = match self.find(id) {
            Ok(summary) => summary.folder.clone(),
            Err(CatalogError::Invalid { .. }) => {
                let folder = self.folders.iter().find(|folder| self.name_of(folder) == id);
                folder.cloned().unwrap_or_default()
            }
            Err(error) => return Err(error),
        };
        Ok(self.lint_folder(&folder))
    }

    /// Lints every folder of the catalog, and the catalog itself.
    pub fn lint_all(&self) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self.folders.iter().flat_map(|folder| self.lint_folder(folder)).collect();
        found.extend(self.faults.iter().filter(|fault| fault.code == Code::DuplicateId.as_str()).cloned());
        found
    }

    fn lint_folder(&self, folder: &Path) -> Vec<Diagnostic> {
        // A fault may show in some draws only.
        const VARIANTS: u32 = 4;
        let mut found: Vec<Diagnostic> = Vec::new();
        for variant in 0..VARIANTS {
            for diagnostic in self.load_folder(folder, Variant(variant), true).diagnostics {
                let known =
                    |other: &Diagnostic| other.code == diagnostic.code && other.span == diagnostic.span;
                if !found.iter().any(known) {
                    found.push(diagnostic);
                }
            }
            if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
                break;
            }
        }
        found
    }

    /// Returns the text of a file that a diagnostic points into.
    pub fn source(&self, file: &Path) -> Option<String> {
        load::text(&self.files, file).ok()
    }

    /// Returns the names of all scenarios, those with faults included.
    pub fn names(&self) -> Vec<String> {
        self.folders.iter().map(|folder| self.name_of(folder)).collect()
    }

    fn load_folder(&self, folder: &Path, variant: Variant, thorough: bool) -> Loaded {
        load::load(&self.files, folder, &self.name_of(folder), variant, thorough)
    }

    fn name_of(&self, folder: &Path) -> String {
        let own = match &self.files {
            Files::Disk(root) if folder.as_os_str().is_empty() => root.file_name(),
            _ => folder.file_name(),
        };
        own.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}
