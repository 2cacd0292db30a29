//! Where scenario folders lie: inside the binary or in a directory. Finds and reads; knows nothing of what they hold.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};

/// The file that makes a folder a scenario.
pub(crate) const SCENARIO_FILE: &str = "scenario.yaml";

/// The largest file that is read.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// How deep below the catalog a scenario folder may lie.
const DEEPEST: usize = 3;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios");

/// A tree of scenario folders.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    Embedded,
    Disk(PathBuf),
}

impl Files {
    /// Lists the scenario folders, relative to the root, in order.
    pub(crate) fn folders(&self) -> io::Result<Vec<PathBuf>> {
        let mut folders = BTreeSet::new();
        match self {
            Self::Embedded => embedded_folders(&EMBEDDED, &mut folders),
            Self::Disk(root) => disk_folders(root, Path::new(""), 0, &mut folders)?,
        }
        Ok(folders.into_iter().collect())
    }

    /// Lists the files below a folder, relative to it, in order.
    pub(crate) fn below(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = BTreeSet::new();
        match self {
            Self::Embedded => {
                if let Some(dir) = EMBEDDED.get_dir(folder) {
                    embedded_files(dir, folder, &mut files);
                }
            }
            Self::Disk(root) => disk_files(&root.join(folder), Path::new(""), &mut files)?,
        }
        Ok(files.into_iter().collect())
    }

    /// Reads a file; the path is relative to the root.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Cow<'static, [u8]>> {
        match self {
            Self::Embedded => EMBEDDED
                .get_file(path)
                .map(|file| Cow::Borrowed(file.contents()))
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
            Self::Disk(root) => {
                let path = root.join(path);
                let size = path.metadata()?.len();
                if size > MOST_BYTES {
                    return Err(io::Error::other(format!("it is larger than {} MiB", MOST_BYTES >> 20)));
                }
                std::fs::read(path).map(Cow::Owned)
            }
        }
    }
}

/// Tells whether a path stays inside the folder that it is relative to.
pub(crate) fn stays_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn embedded_folders(dir: &'static Dir<'static>, folders: &mut BTreeSet<PathBuf>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => embedded_folders(dir, folders),
            DirEntry::File(file) => {
                if file.path().file_name().is_some_and(|name| name == SCENARIO_FILE) {
                    folders.extend(file.path().parent().map(Path::to_path_buf));
                }
            }
        }
    }
}

fn embedded_files(dir: &'static Dir<'static>, folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in dir.entries() {
        match entry {
            DirEntry::Dir(dir) => embedded_files(dir, folder, files),
            DirEntry::File(file) => {
                files.extend(file.path().strip_prefix(folder).ok().map(Path::to_path_buf));
            }
        }
    }
}

fn disk_folders(root: &Path, below: &Path, depth: usize, folders: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if name == SCENARIO_FILE {
            folders.insert(below.to_path_buf());
        } else if depth < DEEPEST && entry.file_type()?.is_dir() {
            disk_folders(root, &below.join(name), depth + 1, folders)?;
        }
    }
    Ok(())
}

fn disk_files(folder: &Path, below: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            disk_files(folder, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
