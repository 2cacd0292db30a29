//! The store's files: `snapshot.N` holds all objects at a moment, `log.N`, `log.N+1`, ... every change since.
//! A record is its length, its CRC-32 and its bytes; each reaches the operating system before it is acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::StoreError;
use super::crc::crc32;
use crate::sim::resource::GroupResource;

/// The smallest log that is worth rewriting.
const COMPACT_BYTES: u64 = 4 << 20;
const FORMAT: &[u8; 8] = b"cksim\x00\x00\x01";
/// No record is longer; a length beyond it is a torn one.
const MAX_RECORD: usize = 64 << 20;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// Creates or replaces.
    Put = 1,
    /// Removes.
    Delete = 2,
    /// Ends a snapshot and carries its revision.
    End = 3,
}

/// A record that was read back.
pub(super) struct Record<'a> {
    pub(super) in_snapshot: bool,
    pub(super) revision: u64,
    pub(super) resource: GroupResource,
    pub(super) key: &'a str,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    log: File,
    sequence: u64,
    /// Where the last whole record ends.
    len: u64,
    /// What the last snapshot took.
    live: u64,
    /// Bytes in all logs since that snapshot.
    grown: u64,
    dirty: bool,
    /// A failed write could not be taken back; nothing may follow it.
    broken: bool,
}

type Replay<'a> = dyn FnMut(&Record<'_>, Option<&[u8]>) -> Result<(), StoreError> + 'a;

impl Disk {
    pub(super) fn open(
        dir: &Path,
        mut replay: impl FnMut(&Record<'_>, Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        fs::create_dir_all(dir)?;
        let start = numbered(dir, "snapshot")?.into_iter().max().unwrap_or(0);
        let mut live = 0;
        if start > 0 {
            let path = dir.join(format!("snapshot.{start}"));
            let content = fs::read(&path)?;
            live = content.len() as u64;
            let read = scan(&content, true, &mut replay)?;
            if !read.ended {
                return Err(StoreError::Damaged(format!("`{}` is cut short", path.display())));
            }
        }
        let mut logs: Vec<u64> = numbered(dir, "log")?.into_iter().filter(|&n| n >= start).collect();
        logs.sort_unstable();
        let mut sequence = start;
        let mut grown = 0;
        let mut tail = None;
        for (at, &number) in logs.iter().enumerate() {
            let path = dir.join(format!("log.{number}"));
            let mut file = options().open(&path)?;
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            let read = scan(&content, false, &mut replay)?;
            sequence = number;
            grown += read.whole;
            let torn = read.whole < content.len() as u64;
            if torn {
                file.set_len(read.whole)?;
            }
            tail = Some((file, read.whole));
            if torn {
                // What follows a gap would not be a prefix of what happened.
                for later in &logs[at + 1..] {
                    fs::remove_file(dir.join(format!("log.{later}")))?;
                }
                break;
            }
        }
        let (mut log, mut len) = match tail {
            Some(tail) => tail,
            None => (options().create(true).open(dir.join(format!("log.{sequence}")))?, 0),
        };
        if len < FORMAT.len() as u64 {
            log.set_len(0)?;
            log.seek(SeekFrom::Start(0))?;
            log.write_all(FORMAT)?;
            len = FORMAT.len() as u64;
        }
        log.seek(SeekFrom::Start(len))?;
        sync_folder(dir)?;
        let disk = Self { dir: dir.to_owned(), log, sequence, len, live, grown, dirty: true, broken: false };
        disk.remove_older_than(start);
        Ok(disk)
    }

    /// Copies the files as they are; the caller keeps writers out.
    pub(super) fn copy_to(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        for stem in ["snapshot", "log"] {
            for number in numbered(&self.dir, stem)? {
                let name = format!("{stem}.{number}");
                fs::copy(self.dir.join(&name), dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Writes one record.
    pub(super) fn append(
        &mut self,
        op: Op,
        revision: u64,
        resource: &GroupResource,
        key: &str,
        value: &[u8],
    ) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed half way"));
        }
        let record = encode(op, revision, resource, key, value);
        if let Err(error) = self.log.write_all(&record) {
            let undone = self.log.set_len(self.len).and_then(|()| self.log.seek(SeekFrom::Start(self.len)));
            self.broken = undone.is_err();
            return Err(error);
        }
        self.len += record.len() as u64;
        self.grown += record.len() as u64;
        self.dirty = true;
        Ok(())
    }

    /// Starts a new log when the changes outweigh the objects, and returns its number.
    pub(super) fn rotate_if_large(&mut self) -> io::Result<Option<u64>> {
        if self.broken || self.grown < COMPACT_BYTES.max(2 * self.live) {
            return Ok(None);
        }
        // The next log must never be on disk without all of this one.
        self.log.sync_data()?;
        let next = self.sequence + 1;
        let mut log = options().create(true).truncate(true).open(self.dir.join(format!("log.{next}")))?;
        log.write_all(FORMAT)?;
        // What is synced into a file that the folder does not name yet would be lost with the power.
        sync_folder(&self.dir)?;
        self.log = log;
        self.sequence = next;
        self.len = FORMAT.len() as u64;
        self.dirty = true;
        Ok(Some(next))
    }

    /// Returns the file to bring to disk, when something was written since the last time.
    pub(super) fn take_unsynced(&mut self) -> io::Result<Option<File>> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(None);
        }
        self.log.try_clone().map(Some)
    }

    pub(super) fn snapshot_writer(&self) -> SnapshotWriter {
        SnapshotWriter { dir: self.dir.clone() }
    }

    /// Forgets what the snapshot before log `sequence` has made needless.
    pub(super) fn compacted(&mut self, sequence: u64, live: u64) {
        self.live = live;
        self.grown = self.len;
        self.remove_older_than(sequence);
    }

    fn remove_older_than(&self, sequence: u64) {
        for prefix in ["snapshot", "log"] {
            for number in numbered(&self.dir, prefix).unwrap_or_default() {
                if number < sequence {
                    // Left over it is ignored, so that a failure does no harm.
                    let _ = fs::remove_file(self.dir.join(format!("{prefix}.{number}")));
                }
            }
        }
        let _ = fs::remove_file(self.dir.join("snapshot.new"));
    }
}

/// Writes a snapshot beside the running log.
pub(super) struct SnapshotWriter {
    dir: PathBuf,
}

impl SnapshotWriter {
    /// Writes all objects as they were when log `sequence` began, and returns how many bytes that took.
    pub(super) fn write(
        &self,
        sequence: u64,
        revision: u64,
        all: &[(Arc<GroupResource>, String, u64, Bytes)],
    ) -> io::Result<u64> {
        let path = self.dir.join("snapshot.new");
        let mut file = BufWriter::with_capacity(1 << 20, options().create(true).truncate(true).open(&path)?);
        file.write_all(FORMAT)?;
        let mut written = FORMAT.len() as u64;
        for (resource, key, revision, stored) in all {
            let record = encode(Op::Put, *revision, resource, key, stored);
            written += record.len() as u64;
            file.write_all(&record)?;
        }
        file.write_all(&encode(Op::End, revision, &GroupResource::of("", ""), "", &[]))?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(&path, self.dir.join(format!("snapshot.{sequence}")))?;
        sync_folder(&self.dir)?;
        Ok(written)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn numbered(dir: &Path, prefix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_prefix('.')?.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

fn encode(op: Op, revision: u64, resource: &GroupResource, key: &str, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(64 + value.len());
    record.extend_from_slice(&[0; 8]);
    record.push(op as u8);
    record.extend_from_slice(&revision.to_le_bytes());
    for text in [&*resource.group, &*resource.resource, key] {
        record.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        record.extend_from_slice(text.as_bytes());
    }
    record.extend_from_slice(value);
    let len = u32::try_from(record.len() - 8).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32(&record[8..]).to_le_bytes();
    record[..4].copy_from_slice(&len);
    record[4..8].copy_from_slice(&crc);
    record
}

struct Scan {
    /// Where the last whole record ends.
    whole: u64,
    /// The end mark of a snapshot was seen.
    ended: bool,
}

fn scan(content: &[u8], in_snapshot: bool, replay: &mut Replay<'_>) -> Result<Scan, StoreError> {
    let mut at = 0;
    let mut ended = false;
    if let Some(start) = content.get(..FORMAT.len()) {
        if !in_snapshot && start == [0; FORMAT.len()] {
            // The power went before the first page of this log arrived.
            return Ok(Scan { whole: 0, ended });
        }
        if start != FORMAT {
            return Err(StoreError::Damaged("it was written by another version".to_owned()));
        }
        at = FORMAT.len();
    }
    while let Some(payload) = next_record(&content[at..]) {
        at += 8 + payload.len();
        let damaged = || StoreError::Damaged(format!("record before byte {at}"));
        let (op, revision, resource, key, value) = decode(payload).ok_or_else(damaged)?;
        let record = Record { in_snapshot, revision, resource, key };
        if op == Op::End as u8 {
            ended = true;
            replay(&record, None)?;
        } else if op == Op::Delete as u8 {
            replay(&record, None)?;
        } else {
            replay(&record, Some(value))?;
        }
    }
    Ok(Scan { whole: at as u64, ended })
}

fn next_record(rest: &[u8]) -> Option<&[u8]> {
    let len = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
    // No record is empty, and the zeros that a power loss leaves where data had not arrived would pass as one.
    if len == 0 || len > MAX_RECORD {
        return None;
    }
    let payload = rest.get(8..8 + len)?;
    (crc32(payload) == crc).then_some(payload)
}

fn decode(payload: &[u8]) -> Option<(u8, u64, GroupResource, &str, &[u8])> {
    let op = *payload.first()?;
    let revision = u64::from_le_bytes(payload.get(1..9)?.try_into().ok()?);
    let mut rest = &payload[9..];
    let mut text = || {
        let len = u16::from_le_bytes(rest.get(..2)?.try_into().ok()?) as usize;
        let text = std::str::from_utf8(rest.get(2..2 + len)?).ok()?;
        rest = &rest[2 + len..];
        Some(text)
    };
    let (group, resource, key) = (text()?, text()?, text()?);
    Some((op, revision, GroupResource::named(group, resource), key, rest))
}
