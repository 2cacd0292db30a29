//! The files of a node, below a folder of this machine. Every path is resolved inside that folder, as a process whose
//! root it is would resolve it: links that a learner makes lead to the node's own files, never to this machine's.
//! The one way in which anything outside the node's shell touches them; knows nothing of what they mean.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

/// The largest file that is read; a node's own are a few kilobytes.
pub const LARGEST: u64 = 16 * 1024 * 1024;
/// How many links one path may lead through, as in Linux.
const MOST_LINKS: u32 = 40;
/// Where it is noted whose a file is that is not root's: its real owner is whoever runs this program.
const OWNER: &str = "user.cks-lab.owner";

/// How a folder is opened that is only gone through.
#[cfg(target_os = "linux")]
const PASS: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const PASS: OFlags = OFlags::RDONLY;

/// The file tree of one node.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Arc<OwnedFd>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, where links are not followed.
    Link,
    /// A socket.
    Socket,
    /// A pipe.
    Pipe,
    /// A device.
    Device,
}

/// What is known of a file without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// The permission bits.
    pub mode: u32,
    /// The size in bytes.
    pub size: u64,
    /// The owner's id on the node.
    pub owner: u32,
    /// The group's id on the node.
    pub group: u32,
    /// When it was written, in seconds and nanoseconds since 1970.
    pub written: (i64, i64),
    /// Its number, which it keeps when it is written in place.
    pub number: u64,
}

/// A place in the tree: a folder, and a name in it that may not exist. No name means the folder itself.
struct Place {
    folder: OwnedFd,
    name: Option<OsString>,
}

impl Tree {
    /// Opens the tree below `root`, which must be a folder.
    ///
    /// # Errors
    /// What keeps it from being opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = PASS | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: Arc::new(rustix::fs::open(root, flags, Mode::empty())?) })
    }

    /// Reads a file of at most [`LARGEST`] bytes, through links.
    ///
    /// # Errors
    /// As reading it on the node would fail; a pipe, a device and a huge file are refused.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open_file(path, OFlags::RDONLY, Mode::empty())?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(Errno::FBIG.into());
        }
        Ok(bytes)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// As [`Tree::read`], and for what is not UTF-8.
    pub fn read_text(&self, path: &str) -> io::Result<String> {
        String::from_utf8(self.read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Opens a file through links. It never waits for the other end of a pipe, and refuses all but regular files.
    ///
    /// # Errors
    /// As opening it on the node would fail.
    pub fn open_file(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let place = self.find(path, true)?;
        let Some(name) = place.name else { return Err(Errno::ISDIR.into()) };
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, &name, flags, mode)?;
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(File::from(file)),
            FileType::Directory => Err(Errno::ISDIR.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Tells what a path is, through links; `None` where there is nothing, or where it cannot be looked at.
    pub fn kind(&self, path: &str) -> Option<Kind> {
        self.stat(path).ok().map(|facts| facts.kind)
    }

    /// Looks at a path, through links.
    ///
    /// # Errors
    /// As `stat` would fail on the node.
    pub fn stat(&self, path: &str) -> io::Result<Facts> {
        self.look(path, true)
    }

    /// Looks at a path itself, even where it is a link.
    ///
    /// # Errors
    /// As `lstat` would fail on the node.
    pub fn lstat(&self, path: &str) -> io::Result<Facts> {
        self.look(path, false)
    }

    /// Returns what a link says.
    ///
    /// # Errors
    /// As `readlink` would fail on the node.
    pub fn read_link(&self, path: &str) -> io::Result<String> {
        let place = self.find(path, false)?;
        let Some(name) = place.name else { return Err(Errno::INVAL.into()) };
        let target = rustix::fs::readlinkat(&place.folder, &name, Vec::new())?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Lists the names in a folder, sorted; names that are no UTF-8 are left out.
    ///
    /// # Errors
    /// As reading the folder would fail on the node.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let place = self.find(path, true)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = place.name.as_deref().unwrap_or(OsStr::new("."));
        let folder = rustix::fs::openat(&place.folder, name, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(folder)? {
            match entry?.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Writes a file whole or not at all, with exactly these permission bits. Missing folders above it are made; a link
    /// in its place is followed.
    ///
    /// # Errors
    /// As writing it on the node would fail.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let place = self.create_place(path)?;
        let Some(name) = place.name else { return Err(Errno::ISDIR.into()) };
        let mut unfinished = OsString::from(".");
        unfinished.push(&name);
        unfinished.push(".unfinished");
        // One that a killed process left behind is in the way, and so would be whatever a learner puts there.
        let _ = rustix::fs::unlinkat(&place.folder, &unfinished, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, &unfinished, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(rustix::fs::fchmod(&file, bits(mode))?))
            .and_then(|()| Ok(rustix::fs::renameat(&place.folder, &unfinished, &place.folder, &name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&place.folder, &unfinished, AtFlags::empty());
        }
        written
    }

    /// Adds to a file, which is made with these permission bits where it is missing, with the folders above it.
    ///
    /// # Errors
    /// As writing it on the node would fail.
    pub fn append(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.create_place(path)?;
        let mut file = self.open_file(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND, bits(mode))?;
        file.write_all(bytes)
    }

    /// Makes a folder and those above it. One that exists keeps its permission bits.
    ///
    /// # Errors
    /// As `mkdir -p` would fail on the node.
    pub fn make_dirs(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut made = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            made.push('/');
            made.push_str(part);
            let place = self.find(&made, true)?;
            let Some(name) = place.name else { continue };
            match rustix::fs::mkdirat(&place.folder, &name, bits(0o755)) {
                Ok(()) if made.trim_end_matches('/') == path.trim_end_matches('/') => {
                    rustix::fs::chmodat(&place.folder, &name, bits(mode), AtFlags::empty())?;
                }
                Ok(()) => {}
                Err(Errno::EXIST) if self.kind(&made) == Some(Kind::Folder) => {}
                Err(Errno::EXIST) => return Err(Errno::NOTDIR.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes a symbolic link at `path` that says `target`.
    ///
    /// # Errors
    /// As `ln -s` would fail on the node.
    pub fn make_link(&self, target: &str, path: &str) -> io::Result<()> {
        let place = self.find(path, false)?;
        let Some(name) = place.name else { return Err(Errno::EXIST.into()) };
        Ok(rustix::fs::symlinkat(target, &place.folder, &name)?)
    }

    /// Gives a file other permission bits, through links.
    ///
    /// # Errors
    /// As `chmod` would fail on the node.
    pub fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        let place = self.find(path, true)?;
        let name = place.name.as_deref().unwrap_or(OsStr::new("."));
        // The place is no link, and what a race puts there is changed by nobody but the learner, inside the tree.
        let file = rustix::fs::openat(
            &place.folder,
            name,
            PASS | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(rustix::fs::chmod(own_name(&file), bits(mode))?)
    }

    /// Notes whose a file is.
    ///
    /// # Errors
    /// As `chown` would fail on the node, and where the file system keeps no notes and it is not to be root's.
    pub fn set_owner(&self, path: &str, owner: u32, group: u32) -> io::Result<()> {
        let place = self.find(path, true)?;
        let name = place.name.as_deref().unwrap_or(OsStr::new("."));
        let file = rustix::fs::openat(
            &place.folder,
            name,
            PASS | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if (owner, group) == (0, 0) {
            return match rustix::fs::removexattr(own_name(&file), OWNER) {
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        let note = format!("{owner}:{group}");
        Ok(rustix::fs::setxattr(own_name(&file), OWNER, note.as_bytes(), XattrFlags::empty())?)
    }

    /// Moves a file or folder; what is at the new place is replaced.
    ///
    /// # Errors
    /// As `rename` would fail on the node.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.find(from, false)?, self.find(to, false)?);
        let (Some(old), Some(new)) = (from.name, to.name) else { return Err(Errno::BUSY.into()) };
        Ok(rustix::fs::renameat(&from.folder, &old, &to.folder, &new)?)
    }

    /// Removes a file, a link, or a folder with all that is in it; what is not there is no error.
    ///
    /// # Errors
    /// As `rm -rf` would fail on the node.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let place = match self.find(path, false) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(name) = place.name else { return Err(Errno::BUSY.into()) };
        remove_at(&place.folder, &name)
    }

    fn look(&self, path: &str, follow: bool) -> io::Result<Facts> {
        let place = self.find(path, follow)?;
        let name = place.name.as_deref().unwrap_or(OsStr::new("."));
        let stat = rustix::fs::statat(&place.folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (owner, group) = self.noted_owner(&place, name, &stat).unwrap_or((0, 0));
        Ok(Facts {
            kind: kind(&stat),
            mode: u32::from(stat.st_mode as u16) & 0o7777,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            owner,
            group,
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            number: stat.st_ino,
        })
    }

    fn noted_owner(&self, place: &Place, name: &OsStr, stat: &Stat) -> Option<(u32, u32)> {
        if !matches!(kind(stat), Kind::File | Kind::Folder) {
            return None;
        }
        let flags = PASS | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&place.folder, name, flags, Mode::empty()).ok()?;
        let mut note = [0; 32];
        let length = rustix::fs::getxattr(own_name(&file), OWNER, &mut note[..]).ok()?;
        let (owner, group) = std::str::from_utf8(note.get(..length)?).ok()?.split_once(':')?;
        Some((owner.parse().ok()?, group.parse().ok()?))
    }

    /// Finds the place of a file that is to be written, and makes the folders above it.
    fn create_place(&self, path: &str) -> io::Result<Place> {
        match self.find(path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let above = path.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
        self.make_dirs(above, 0o755)?;
        self.find(path, true)
    }

    /// Resolves a path from the root of the tree. `..` goes back the way that was come, and never above the root.
    fn find(&self, path: &str, follow_last: bool) -> io::Result<Place> {
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut rest: Vec<OsString> = parts(OsStr::new(path)).collect();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                way.pop();
                continue;
            }
            let here = way.last().map_or(self.root.as_fd(), AsFd::as_fd);
            let last = rest.is_empty();
            let kind = match rustix::fs::statat(here, &part, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind(&stat),
                Err(Errno::NOENT) if last => return self.place(way, Some(part)),
                Err(error) => return Err(error.into()),
            };
            match kind {
                Kind::Link if !last || follow_last => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(here, &part, Vec::new())?;
                    let target = OsStr::from_bytes(target.to_bytes());
                    if target.as_bytes().starts_with(b"/") {
                        way.clear();
                    }
                    rest.extend(parts(target));
                }
                _ if last => return self.place(way, Some(part)),
                Kind::Folder => {
                    let flags = PASS | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let next = rustix::fs::openat(here, &part, flags, Mode::empty())?;
                    way.push(next);
                }
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        self.place(way, None)
    }

    fn place(&self, mut way: Vec<OwnedFd>, name: Option<OsString>) -> io::Result<Place> {
        let folder = match way.pop() {
            Some(folder) => folder,
            None => self.root.try_clone()?,
        };
        Ok(Place { folder, name })
    }
}

/// Notes of a copy whose it is, where that is noted of the original.
pub(in crate::sim::node) fn copy_owner(from: &Path, to: &Path) -> io::Result<()> {
    let mut note = [0; 32];
    match rustix::fs::getxattr(from, OWNER, &mut note[..]) {
        Ok(length) => {
            let note = note.get(..length).unwrap_or_default();
            Ok(rustix::fs::setxattr(to, OWNER, note, XattrFlags::empty())?)
        }
        // Nothing is noted, or nothing can be.
        Err(_) => Ok(()),
    }
}

/// Returns the names of a path, the last one first.
fn parts(path: &OsStr) -> impl Iterator<Item = OsString> {
    let parts = path.as_bytes().rsplit(|&byte| byte == b'/');
    parts.filter(|part| !part.is_empty() && *part != b".").map(|part| OsStr::from_bytes(part).to_owned())
}

/// Returns a path of an open file that works for one that was opened only to be gone through.
fn own_name(file: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;

    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn bits(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o7777) as rustix::fs::RawMode)
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        FileType::Socket => Kind::Socket,
        FileType::Fifo => Kind::Pipe,
        _ => Kind::Device,
    }
}

fn remove_at(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&inner)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            remove_at(&inner, name)?;
        }
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
