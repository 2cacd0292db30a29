//! The learner's preferences, from a YAML file. Knows its shape; `cli` knows where it is and what wins over it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::persist::{self, PersistError};

/// The preferences; everything has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(description = "The preferences of cks-lab, in `config.yaml`.")]
pub struct Config {
    /// The provider where `--provider` names none: `auto`, `sim`, `kind` or `kubeconfig`.
    pub provider: Option<String>,
    /// A folder with scenarios instead of those that are built in; relative to the file.
    #[schemars(with = "Option<String>")]
    pub scenarios: Option<PathBuf>,
    /// The image of the nodes of kind clusters, where `--node-image` names none; kind's own where neither does.
    pub node_image: Option<String>,
}

/// Why the preferences cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// It is not what it should be.
    #[error("`{}` is not valid: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
}

impl Config {
    /// Reads the preferences; a file that does not exist means the defaults.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let bytes = match persist::read(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Self::default()),
            // Where a file lies in the place of the folder, whoever writes there has something to say; reading finds none.
            Err(PersistError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotADirectory => {
                return Ok(Self::default());
            }
            Err(error) => return Err(error.into()),
        };
        let invalid = |message: String| ConfigError::Invalid { path: path.to_owned(), message };
        let text = String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let mut config: Self =
            serde_saphyr::from_str(&text).map_err(|error| invalid(error.without_snippet().to_string()))?;
        if let (Some(scenarios), Some(dir)) = (&mut config.scenarios, path.parent()) {
            *scenarios = dir.join(&*scenarios);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn no_file_and_an_empty_one_mean_the_defaults() {
        assert_eq!(Config::load(Path::new("/no/such/config.yaml")).unwrap(), Config::default());
        assert_eq!(load("# provider: kind\n\n").unwrap(), Config::default());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Config::load(&file.path().join("config.yaml")).unwrap(), Config::default());
    }

    #[test]
    fn preferences_are_read_and_paths_are_relative_to_the_file() {
        let config = load("provider: kind\nscenarios: mine\n").unwrap();
        assert_eq!(config.provider.as_deref(), Some("kind"));
        assert!(config.scenarios.unwrap().is_absolute());
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let message = load("provider: kind\nproviders: kind\n").unwrap_err().to_string();
        assert!(message.contains("providers") && message.contains("line 2"), "{message}");
    }
}
