//! The files of a node: a folder of this machine that the node takes for `/`. Paths and links are followed within it, so
//! that nothing a node holds leads to a file outside.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use crate::sim::node::PathKind;

/// How many links are followed before it is taken for a circle, as Linux does it.
const MOST_LINKS: usize = 40;
/// The longest file that is read whole; a kubelet reads no longer manifest either.
const LONGEST: u64 = 10 << 20;

/// The files of one node. Paths are as the node sees them, such as `/etc/kubernetes/manifests`.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Takes a folder for the root of a node.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the folder that is the node's `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finds where a path lies on this machine, with all links followed. The last part need not be there.
    ///
    /// # Errors
    /// `NotFound` for a folder on the way, `NotADirectory`, or too many links.
    pub fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        self.walk(path, true)
    }

    /// Finds where a path lies, without following it when it is a link itself.
    ///
    /// # Errors
    /// As [`Tree::resolve`].
    pub fn locate(&self, path: &str) -> io::Result<PathBuf> {
        self.walk(path, false)
    }

    fn walk(&self, path: &str, follow_last: bool) -> io::Result<PathBuf> {
        let parts = |path: &Path| -> Vec<OsString> {
            let named = path.components().filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
            named.collect()
        };
        let mut left: VecDeque<OsString> = parts(Path::new(path)).into();
        let mut at: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let mut here = self.root.clone();
            here.extend(&at);
            here.push(&part);
            let kind = match fs::symlink_metadata(&here) {
                Ok(metadata) => metadata.file_type(),
                Err(error) if error.kind() == io::ErrorKind::NotFound && left.is_empty() => return Ok(here),
                Err(error) => return Err(error),
            };
            if kind.is_symlink() && (follow_last || !left.is_empty()) {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::from_raw_os_error(nix::libc::ELOOP));
                }
                let target = fs::read_link(&here)?;
                if target.is_absolute() {
                    at.clear();
                }
                for part in parts(&target).into_iter().rev() {
                    left.push_front(part);
                }
                continue;
            }
            if !kind.is_dir() && !left.is_empty() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            at.push(part);
        }
        let mut found = self.root.clone();
        found.extend(&at);
        Ok(found)
    }

    /// Tells what a path is; nothing where there is none.
    pub fn kind(&self, path: &str) -> Option<PathKind> {
        let kind = fs::symlink_metadata(self.resolve(path).ok()?).ok()?.file_type();
        if kind.is_dir() {
            Some(PathKind::Folder)
        } else if kind.is_socket() {
            Some(PathKind::Socket)
        } else if kind.is_file() {
            Some(PathKind::File)
        } else {
            None
        }
    }

    /// Reads a regular file, of at most ten megabytes.
    ///
    /// # Errors
    /// As reading a file fails; what is neither a file nor a folder cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        read_regular(&self.resolve(path)?)
    }

    /// Reads a regular file as text; what is no UTF-8 in it is replaced.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn read_text(&self, path: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path)?).into_owned())
    }

    /// Lists the names in a folder, sorted.
    ///
    /// # Errors
    /// As listing a folder fails.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.resolve(path)?)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// As making a folder fails.
    pub fn create_dir(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut above = String::new();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            above.push('/');
            above.push_str(part);
            let here = self.resolve(&above)?;
            if here.is_dir() {
                continue;
            }
            let mode = if index + 1 == parts.len() { mode } else { 0o755 };
            match fs::DirBuilder::new().mode(0o700).create(&here) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => fs::set_permissions(&here, fs::Permissions::from_mode(mode))?,
            }
        }
        Ok(())
    }

    /// Writes a file with a mode, making the folders above it.
    ///
    /// # Errors
    /// As writing a file fails.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/')
            && !folder.is_empty()
            && self.kind(folder).is_none()
        {
            self.create_dir(folder, 0o755)?;
        }
        let here = self.resolve(path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&here)?;
        file.write_all(content.as_ref())?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Makes a symbolic link, in place of what may be there.
    ///
    /// # Errors
    /// As making a link fails.
    pub fn link(&self, path: &str, target: &str) -> io::Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/')
            && self.kind(folder).is_none()
        {
            self.create_dir(folder, 0o755)?;
        }
        let here = self.locate(path)?;
        match fs::remove_file(&here) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::os::unix::fs::symlink(target, here),
        }
    }

    /// Returns what a link says, where the path is one.
    pub fn link_target(&self, path: &str) -> Option<String> {
        fs::read_link(self.locate(path).ok()?).ok()?.into_os_string().into_string().ok()
    }

    /// Removes a file or a link; one that is gone already is no error.
    ///
    /// # Errors
    /// As removing a file fails.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.locate(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads a file that is nothing else than one: a pipe would never end, a device is not the node's.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(content)
}

/// Words a failure as Go does: `no such file or directory`.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidInput => "invalid argument".to_owned(),
        io::ErrorKind::FileTooLarge => "file too large".to_owned(),
        _ if error.raw_os_error() == Some(nix::libc::ELOOP) => "too many levels of symbolic links".to_owned(),
        _ => "input/output error".to_owned(),
    }
}

/// Copies a tree with its modes and links; what is neither file, folder nor link is left out.
///
/// # Errors
/// As copying a file fails.
pub(in crate::sim) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_but_into_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "of the host").unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        let tree = Tree::new(dir.path().join("root"));
        tree.write("/etc/file", "of the node", 0o644).unwrap();
        std::os::unix::fs::symlink(&secret, tree.root().join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../secret", tree.root().join("etc/up")).unwrap();
        tree.link("/good", "/etc/../etc/file").unwrap();
        tree.link("/loop", "/loop").unwrap();
        assert!(tree.read("/absolute").is_err());
        assert!(tree.read("/etc/up").is_err());
        assert!(tree.read("/../secret").is_err());
        assert_eq!(tree.read("/good").unwrap(), b"of the node");
        assert_eq!(reason(&tree.read("/loop").unwrap_err()), "too many levels of symbolic links");
        assert_eq!(reason(&tree.read("/etc/file/x").unwrap_err()), "not a directory");
        assert_eq!(reason(&tree.read("/etc").unwrap_err()), "is a directory");
        // What is written through a link that leads out stays inside as well.
        tree.write("/absolute", "written", 0o644).unwrap_err();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "of the host");
    }

    #[test]
    fn a_pipe_does_not_stop_who_reads() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let tree = Tree::new(dir.path().to_owned());
        assert!(tree.read("/pipe").is_err());
        assert_eq!(tree.kind("/pipe"), None);
        copy(dir.path(), &dir.path().with_extension("copy")).unwrap();
        fs::remove_dir_all(dir.path().with_extension("copy")).unwrap();
    }
}
