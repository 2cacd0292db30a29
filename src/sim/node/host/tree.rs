//! The files of a node as its machine uses them. How paths and links are kept inside the node's folder is
//! `node::tree`'s to know.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::sim::node::PathKind;
use crate::sim::node::tree::{self, Kind};

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

    /// Opens it; it may not be there yet when this is made.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub fn files(&self) -> io::Result<tree::Tree> {
        tree::Tree::open(&self.root)
    }

    /// Tells what a path is; nothing where there is none.
    pub fn kind(&self, path: &str) -> Option<PathKind> {
        match self.files().ok()?.kind(path)? {
            Kind::File => Some(PathKind::File),
            Kind::Folder => Some(PathKind::Folder),
            Kind::Socket => Some(PathKind::Socket),
            Kind::Link | Kind::Pipe | Kind::Device => None,
        }
    }

    /// Reads a regular file, unless it is huge.
    ///
    /// # Errors
    /// As reading a file fails; what is neither a file nor a folder cannot be read.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files()?.read(path)
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
        self.files()?.list(path)
    }

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// As making a folder fails.
    pub fn create_dir(&self, path: &str, mode: u32) -> io::Result<()> {
        self.files()?.make_dirs(path, mode)
    }

    /// Writes a file with a mode, whole or not at all, making the folders above it.
    ///
    /// # Errors
    /// As writing a file fails.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
        self.files()?.write(path, content.as_ref(), mode)
    }

    /// Makes a symbolic link, in place of what may be there.
    ///
    /// # Errors
    /// As making a link fails.
    pub fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let files = self.files()?;
        if let Some((folder, _)) = path.rsplit_once('/')
            && files.kind(folder).is_none()
        {
            files.make_dirs(folder, 0o755)?;
        }
        self.remove(path)?;
        files.make_link(target, path)
    }

    /// Returns what a link says, where the path is one.
    pub fn link_target(&self, path: &str) -> Option<String> {
        self.files().ok()?.read_link(path).ok()
    }

    /// Removes a file or a link; one that is gone already is no error.
    ///
    /// # Errors
    /// As removing a file fails.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let files = self.files()?;
        match files.lstat(path) {
            Ok(facts) if facts.kind == Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => files.remove(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
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
        if kind.is_dir() || kind.is_file() {
            tree::copy_owner(&source, &target)?;
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
