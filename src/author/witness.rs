//! Sees whether a run has written where it must not: sizes and times of files before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many files are looked at in one folder; what is watched is meant to be small.
const MOST: usize = 20_000;
/// A folder that every kubectl on the machine writes into; what changes there need not come from the steps, whose home
/// is another one.
const SHARED: &str = "cache";

type State = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The state of some folders.
#[derive(Debug)]
pub(super) struct Witness {
    folders: Vec<PathBuf>,
    except: PathBuf,
    before: State,
}

impl Witness {
    /// Takes down what the folders hold, but for what lies below `except`.
    pub(super) fn new(folders: &[PathBuf], except: &Path) -> Self {
        let before = state(folders, except);
        Self { folders: folders.to_vec(), except: except.to_path_buf(), before }
    }

    /// Returns what was added, changed or removed since.
    pub(super) fn changed(&self) -> Vec<PathBuf> {
        let after = state(&self.folders, &self.except);
        let mut changed: Vec<PathBuf> = after
            .iter()
            .filter(|(path, state)| self.before.get(*path) != Some(state))
            .map(|(path, _)| path.clone())
            .collect();
        changed.extend(self.before.keys().filter(|path| !after.contains_key(*path)).cloned());
        changed
    }
}

fn state(folders: &[PathBuf], except: &Path) -> State {
    let mut found = State::new();
    for folder in folders {
        let mut open = vec![folder.clone()];
        let most = found.len() + MOST;
        while let Some(path) = open.pop() {
            let shared = path.file_name().is_some_and(|name| name == SHARED);
            if path == except || shared || found.len() >= most {
                continue;
            }
            let Ok(meta) = path.symlink_metadata() else { continue };
            if meta.is_dir() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                open.extend(entries.map(|entry| entry.path()));
            } else {
                found.insert(path, (meta.len(), meta.modified().ok()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        for file in ["kept", "changed", "removed"] {
            std::fs::write(dir.path().join(file), "1").unwrap();
        }
        let witness = Witness::new(&[dir.path().to_path_buf(), dir.path().join("missing")], &scratch);
        assert!(witness.changed().is_empty());
        std::fs::write(dir.path().join("changed"), "22").unwrap();
        std::fs::write(dir.path().join("added"), "1").unwrap();
        std::fs::write(scratch.join("allowed"), "1").unwrap();
        std::fs::create_dir_all(dir.path().join("cache/discovery")).unwrap();
        std::fs::write(dir.path().join("cache/discovery/servergroups.json"), "1").unwrap();
        std::fs::remove_file(dir.path().join("removed")).unwrap();
        let names: Vec<_> =
            witness.changed().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["added", "changed", "removed"]);
    }
}
