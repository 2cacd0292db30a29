//! Objects of one cluster: a revision for each change, a log that watches read from, durable on disk.
//! Knows keys and bytes, not what an object means.

mod crc;
mod disk;
mod encode;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use super::resource::GroupResource;
use super::view::View;
use disk::{Disk, Op, Record};
pub(crate) use encode::{Ordered, to_json};

/// How many changes a watch may lag behind.
const RING_EVENTS: usize = 16_384;
/// How deep an object may be nested; a JSON text that goes deeper than one more is not read.
const MAX_DEPTH: usize = 126;
/// How many bytes of objects those changes may hold on to.
const RING_BYTES: usize = 24 << 20;

/// An object at a revision. `metadata.resourceVersion` in `object` equals `revision`.
#[derive(Debug)]
pub struct Entry {
    /// The store's revision at which this version was written.
    pub revision: u64,
    /// The object, with `apiVersion` and `kind` of the storage version.
    pub object: Arc<Value>,
    json: OnceLock<Bytes>,
    /// How it lies on disk, where it is encrypted.
    sealed: Option<Bytes>,
}

impl Entry {
    fn new(revision: u64, object: Value) -> Self {
        Self { revision, object: Arc::new(object), json: OnceLock::new(), sealed: None }
    }

    /// Wraps an object that is in no store, for what takes entries.
    pub fn unstored(object: Arc<Value>) -> Arc<Self> {
        Arc::new(Self { revision: 0, object, json: OnceLock::new(), sealed: None })
    }

    /// Returns the bytes that lie on disk where the object is encrypted.
    pub fn sealed(&self) -> Option<&Bytes> {
        self.sealed.as_ref()
    }

    /// Returns the bytes that lie on disk.
    fn stored(&self) -> &Bytes {
        self.sealed.as_ref().unwrap_or_else(|| self.json())
    }

    /// Returns the same version of the object in another form.
    #[must_use]
    pub fn as_object(&self, object: Value) -> Arc<Self> {
        Arc::new(Self::new(self.revision, object))
    }

    /// Returns the object as JSON, serialised once for all who read it.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| Bytes::from(to_json(&self.object)))
    }

    /// Returns the JSON from behind `kind` and `apiVersion` on, as items of typed lists have it: `"metadata":{...}}`.
    pub fn json_fields(&self) -> &[u8] {
        let json = self.json();
        let mut at = 1;
        for name in ["kind", "apiVersion"] {
            if let Some(value) = self.object.get(name) {
                // `"name":value,`
                at += name.len() + 4 + value.to_string().len();
            }
        }
        json.get(at..).unwrap_or(b"}")
    }

    /// Returns `metadata.name`.
    pub fn name(&self) -> &str {
        self.meta("name")
    }

    /// Returns `metadata.namespace`, empty for a cluster-scoped object.
    pub fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    /// Returns `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.meta("uid")
    }

    fn meta(&self, field: &str) -> &str {
        self.object["metadata"][field].as_str().unwrap_or_default()
    }
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It was replaced.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change in the log.
#[derive(Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// What happened.
    pub change: Change,
    /// Whose object it is.
    pub resource: Arc<GroupResource>,
    /// The object after the change, or as it last was when it is gone (then with the deletion's resourceVersion).
    pub entry: Arc<Entry>,
    /// The object before the change.
    pub previous: Option<Arc<Entry>>,
    line: OnceLock<Bytes>,
    /// What it counts for in the ring.
    weight: usize,
}

impl Event {
    /// Returns the same change with its objects in another form.
    #[must_use]
    pub fn with(&self, entry: Arc<Entry>, previous: Option<Arc<Entry>>) -> Self {
        let (revision, change, resource) = (self.revision, self.change, self.resource.clone());
        Self { revision, change, resource, entry, previous, line: OnceLock::new(), weight: self.weight }
    }

    /// Returns the line that a JSON watch without a selector sends for it, serialised once for all watches.
    pub fn line(&self) -> &Bytes {
        self.line.get_or_init(|| {
            let kind = match self.change {
                Change::Added => "ADDED",
                Change::Modified => "MODIFIED",
                Change::Deleted => "DELETED",
            };
            watch_line(kind, self.entry.json())
        })
    }
}

/// Frames a serialised object as one line of a watch.
pub fn watch_line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is such an object.
    #[error("exists")]
    Exists,
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The object has another revision by now.
    #[error("conflict")]
    Conflict,
    /// The log no longer reaches back so far.
    #[error("expired")]
    Expired,
    /// The revision has not been reached yet.
    #[error("the revision lies ahead")]
    Ahead,
    /// The disk refused.
    #[error("failed to write the store")]
    Io(#[from] std::io::Error),
    /// The object is nested so deeply that it could not be read back.
    #[error("exceeded max depth")]
    TooDeep,
    /// What lies on disk cannot be read back.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Changes values on their way to and from the disk: encryption at rest. Keys are `namespace/name`.
pub trait Transformer: Send + Sync + std::fmt::Debug {
    /// Tells whether it has a say about a resource.
    fn covers(&self, resource: &GroupResource) -> bool;
    /// Returns what to write for an object, or `None` to write it as it is.
    fn seal(&self, resource: &GroupResource, key: &str, plain: &[u8]) -> Option<Vec<u8>>;
    /// Returns the object behind what was written.
    ///
    /// # Errors
    /// A sentence when no key opens it.
    fn unseal(&self, resource: &GroupResource, key: &str, stored: &[u8]) -> Result<Vec<u8>, String>;
    /// Tells whether what was written would be written in another way today.
    fn is_stale(&self, resource: &GroupResource, stored: &[u8]) -> bool;
}

/// An object that lies on disk and that no key opens.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Its key: `namespace/name`.
    pub key: String,
    /// The revision at which it was written.
    pub revision: u64,
    /// What lies on disk.
    pub stored: Bytes,
    /// Why it cannot be read, in the words of whoever tried.
    pub why: String,
}

/// The objects of one cluster. Clones share them.
///
/// Reads never wait for the disk; a write returns once the operating system has it, so that the death of this
/// process loses nothing. [`Store::maintain`] brings it to the disk proper.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Held through a write, so that records reach the disk in the order of their revisions.
    writer: Mutex<Option<Disk>>,
    state: RwLock<State>,
    signal: watch::Sender<u64>,
    transformer: RwLock<Option<Arc<dyn Transformer>>>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    tables: BTreeMap<Arc<GroupResource>, Table>,
    /// One event for each of the last revisions, without a gap.
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
}

#[derive(Debug)]
struct Table {
    objects: BTreeMap<String, Arc<Entry>>,
    /// Objects that nobody can read at the moment, by their keys; none of them is among `objects`.
    locked: BTreeMap<String, Locked>,
    signal: watch::Sender<u64>,
}

impl Store {
    /// Creates an empty store that lives as long as the process.
    pub fn in_memory() -> Self {
        Self::with(None, State::default())
    }

    /// Opens the store in `dir`, creating it where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the folder cannot be read or written, [`StoreError::Damaged`] when a complete record
    /// does not make sense. A torn last record, which was never acknowledged, is dropped.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let mut state = State::default();
        let disk = Disk::open(dir, |record, stored| state.replay(record, stored))?;
        Ok(Self::with(Some(disk), state))
    }

    fn with(disk: Option<Disk>, state: State) -> Self {
        let signal = watch::Sender::new(state.revision);
        let transformer = RwLock::default();
        Self(Arc::new(Inner { writer: Mutex::new(disk), state: RwLock::new(state), signal, transformer }))
    }

    /// Transforms values from now on, and finds out which of those that are there can be read so. What lies on disk stays
    /// as it is until it is written again.
    pub fn set_transformer(&self, transformer: Option<Arc<dyn Transformer>>) {
        // Nothing is written meanwhile.
        let _writer = self.writer();
        self.transformer_mut().clone_from(&transformer);
        let unseal = |resource: &GroupResource, key: &str, stored: &[u8]| match &transformer {
            Some(transformer) => transformer.unseal(resource, key, stored),
            None => super::encryption::unsealed(stored),
        };
        let mut state = self.write();
        for (resource, table) in &mut state.tables {
            let covered = transformer.as_ref().is_some_and(|transformer| transformer.covers(resource));
            for locked in std::mem::take(&mut table.locked).into_values() {
                let opened = unseal(resource, &locked.key, &locked.stored)
                    .and_then(|plain| serde_json::from_slice(&plain).map_err(|error| error.to_string()));
                match opened {
                    Ok(object) => {
                        let sealed = super::encryption::is_sealed(&locked.stored).then_some(locked.stored);
                        let entry = Entry { sealed, ..Entry::new(locked.revision, object) };
                        table.objects.insert(locked.key, Arc::new(entry));
                    }
                    Err(why) => {
                        table.locked.insert(locked.key.clone(), Locked { why, ..locked });
                    }
                }
            }
            let locked = &mut table.locked;
            table.objects.retain(|key, entry| {
                if !covered && entry.sealed.is_none() {
                    return true;
                }
                match unseal(resource, key, entry.stored()) {
                    Ok(_) => true,
                    Err(why) => {
                        let (key, stored) = (key.clone(), entry.stored().clone());
                        let lock = Locked { key: key.clone(), revision: entry.revision, stored, why };
                        locked.insert(key, lock);
                        false
                    }
                }
            });
        }
    }

    /// Returns why an object that is there cannot be read.
    pub fn locked(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<String> {
        let state = self.read();
        let table = state.tables.get(resource)?;
        table.locked.get(&key(namespace, name)).map(|locked| locked.why.clone())
    }

    /// Returns the objects of a resource, or those of one namespace, that cannot be read.
    pub fn all_locked(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Locked> {
        let state = self.read();
        let Some(table) = state.tables.get(resource) else { return Vec::new() };
        within(&table.locked, namespace).map(|(_, locked)| locked.clone()).collect()
    }

    /// Returns the revision of the last change.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// Returns an object. `namespace` is empty for cluster-scoped ones.
    pub fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Entry>> {
        self.read().tables.get(resource)?.objects.get(&key(namespace, name)).cloned()
    }

    /// Returns all objects of a resource, or those of one namespace, in the order of their keys.
    pub fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Entry>> {
        self.list_now(resource, namespace).1
    }

    /// Returns the objects together with the revision at which this was the list.
    pub fn list_now(&self, resource: &GroupResource, namespace: Option<&str>) -> (u64, Vec<Arc<Entry>>) {
        let state = self.read();
        let entries = match state.tables.get(resource) {
            Some(table) => within(&table.objects, namespace).map(|(_, entry)| entry.clone()).collect(),
            None => Vec::new(),
        };
        (state.revision, entries)
    }

    /// Returns the objects as they were at `revision`.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when the log no longer reaches back so far, [`StoreError::Ahead`] for the future.
    pub fn list_at(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        let state = self.read();
        let later = state.since(revision)?;
        let mut objects: BTreeMap<&str, &Arc<Entry>> = match state.tables.get(resource) {
            Some(table) => {
                within(&table.objects, namespace).map(|(key, entry)| (key.as_str(), entry)).collect()
            }
            None => BTreeMap::new(),
        };
        let changed: Vec<(String, &Arc<Event>)> = state
            .ring
            .range(later..)
            .filter(|event| *event.resource == *resource)
            .filter(|event| namespace.is_none_or(|ns| ns == event.entry.namespace()))
            .map(|event| (key(event.entry.namespace(), event.entry.name()), event))
            .collect();
        for (key, event) in changed.iter().rev() {
            match &event.previous {
                Some(previous) => objects.insert(key, previous),
                None => objects.remove(key.as_str()),
            };
        }
        Ok(objects.into_values().cloned().collect())
    }

    /// Counts the objects of a resource.
    pub fn count(&self, resource: &GroupResource) -> usize {
        self.read().tables.get(resource).map_or(0, |table| table.objects.len())
    }

    /// Returns the resources that have, or once had, objects.
    pub fn resources(&self) -> Vec<Arc<GroupResource>> {
        self.read().tables.keys().cloned().collect()
    }

    /// Stores a new object and returns it with its resourceVersion.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or [`StoreError::Io`] and then nothing has changed.
    pub fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Arc<Entry>, StoreError> {
        let mut writer = self.writer();
        let key = key(namespace, name);
        let (revision, resource) = {
            let state = self.read();
            let is_there =
                |table: &Table| table.objects.contains_key(&key) || table.locked.contains_key(&key);
            if state.tables.get(resource).is_some_and(is_there) {
                return Err(StoreError::Exists);
            }
            (state.revision + 1, state.name(resource))
        };
        self.put(&mut writer, revision, resource, key, object, None)
    }

    /// Replaces an object and returns it with its new resourceVersion. A replacement that equals what is there and lies on
    /// disk as it should changes nothing, not even the revision.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is no longer at `expected_revision`, or
    /// [`StoreError::Io`] and then nothing has changed.
    pub fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        expected_revision: Option<u64>,
        mut object: Value,
    ) -> Result<Arc<Entry>, StoreError> {
        let mut writer = self.writer();
        let key = key(namespace, name);
        let (revision, resource, old) = self.expect(resource, &key, expected_revision)?;
        stamp(&mut object, old.revision);
        let is_stale =
            self.transformer().is_some_and(|transformer| transformer.is_stale(&resource, old.stored()));
        if object == *old.object && !is_stale {
            return Ok(old);
        }
        self.put(&mut writer, revision, resource, key, object, Some(old))
    }

    /// Removes an object and returns it as it last was, with the deletion's resourceVersion.
    ///
    /// # Errors
    /// As [`Store::update`].
    pub fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        expected_revision: Option<u64>,
    ) -> Result<Arc<Entry>, StoreError> {
        let mut writer = self.writer();
        let key = key(namespace, name);
        let (revision, resource, old) = self.expect(resource, &key, expected_revision)?;
        if let Some(disk) = writer.as_mut() {
            disk.append(Op::Delete, revision, &resource, &key, &[])?;
        }
        let mut object = Value::clone(&old.object);
        stamp(&mut object, revision);
        let entry = Arc::new(Entry::new(revision, object));
        self.publish(Change::Deleted, resource, key, entry.clone(), Some(old));
        Ok(entry)
    }

    /// Follows changes of one resource, or of all, after `from_revision` or from now on.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when the log no longer reaches back so far, [`StoreError::Ahead`] for the future.
    pub fn watch(
        &self,
        resource: Option<&GroupResource>,
        from_revision: Option<u64>,
    ) -> Result<Watch, StoreError> {
        let mut state = self.write();
        if let Some(from) = from_revision {
            state.since(from)?;
        }
        let seen = from_revision.unwrap_or(state.revision);
        let (resource, mut signal) = match resource {
            Some(resource) => {
                let resource = state.name(resource);
                let signal = state.table(&resource).signal.subscribe();
                (Some(resource), signal)
            }
            None => (None, self.0.signal.subscribe()),
        };
        signal.mark_changed();
        Ok(Watch { store: self.clone(), resource, seen, batch: VecDeque::new(), signal })
    }

    /// Brings what was written to the disk proper, and rewrites the log when it has grown. To be called about each
    /// second, from one thread, which may block.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the next call tries again.
    pub fn maintain(&self) -> Result<(), StoreError> {
        let (unsynced, rotated) = {
            let mut writer = self.writer();
            let Some(disk) = writer.as_mut() else { return Ok(()) };
            let state = self.read();
            let rotated = match disk.rotate_if_large()? {
                None => None,
                Some(sequence) => {
                    let all: Vec<_> = state
                        .tables
                        .iter()
                        .flat_map(|(resource, table)| {
                            let readable = table.objects.iter().map(|(key, entry)| {
                                (resource.clone(), key.clone(), entry.revision, entry.stored().clone())
                            });
                            let locked = table.locked.iter().map(|(key, locked)| {
                                (resource.clone(), key.clone(), locked.revision, locked.stored.clone())
                            });
                            readable.chain(locked).collect::<Vec<_>>()
                        })
                        .collect();
                    Some((sequence, state.revision, disk.snapshot_writer(), all))
                }
            };
            (disk.take_unsynced()?, rotated)
        };
        if let Some(file) = unsynced {
            file.sync_data()?;
        }
        if let Some((sequence, revision, writer, all)) = rotated {
            let live = writer.write(sequence, revision, &all)?;
            if let Some(disk) = self.writer().as_mut() {
                disk.compacted(sequence, live);
            }
        }
        Ok(())
    }

    /// Writes all that was acknowledged into an empty folder, from which another store can be opened. A store in memory
    /// has nothing to copy.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn copy_to(&self, dir: &Path) -> Result<(), StoreError> {
        match self.writer().as_ref() {
            Some(disk) => Ok(disk.copy_to(dir)?),
            None => Ok(()),
        }
    }

    fn expect(
        &self,
        resource: &GroupResource,
        key: &str,
        expected_revision: Option<u64>,
    ) -> Result<(u64, Arc<GroupResource>, Arc<Entry>), StoreError> {
        let state = self.read();
        let (name, table) = state.tables.get_key_value(resource).ok_or(StoreError::NotFound)?;
        let old = table.objects.get(key).ok_or(StoreError::NotFound)?;
        if expected_revision.is_some_and(|expected| expected != old.revision) {
            return Err(StoreError::Conflict);
        }
        Ok((state.revision + 1, name.clone(), old.clone()))
    }

    fn put(
        &self,
        writer: &mut Option<Disk>,
        revision: u64,
        resource: Arc<GroupResource>,
        key: String,
        mut object: Value,
        previous: Option<Arc<Entry>>,
    ) -> Result<Arc<Entry>, StoreError> {
        stamp(&mut object, revision);
        if is_deeper(&object, MAX_DEPTH) {
            return Err(StoreError::TooDeep);
        }
        let mut entry = Entry::new(revision, object);
        if let Some(transformer) = self.transformer() {
            entry.sealed = transformer.seal(&resource, &key, entry.json()).map(Bytes::from);
        }
        let entry = Arc::new(entry);
        if let Some(disk) = writer.as_mut() {
            disk.append(Op::Put, revision, &resource, &key, entry.stored())?;
        }
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.publish(change, resource, key, entry.clone(), previous);
        Ok(entry)
    }

    fn publish(
        &self,
        change: Change,
        resource: Arc<GroupResource>,
        key: String,
        entry: Arc<Entry>,
        previous: Option<Arc<Entry>>,
    ) {
        let revision = entry.revision;
        let mut state = self.write();
        state.apply(change, resource.clone(), key, entry, previous);
        state.table(&resource).signal.send_replace(revision);
        drop(state);
        self.0.signal.send_replace(revision);
    }

    fn writer(&self) -> MutexGuard<'_, Option<Disk>> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn transformer(&self) -> Option<Arc<dyn Transformer>> {
        self.0.transformer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn transformer_mut(&self) -> RwLockWriteGuard<'_, Option<Arc<dyn Transformer>>> {
        self.0.transformer.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn name(&self, resource: &GroupResource) -> Arc<GroupResource> {
        match self.tables.get_key_value(resource) {
            Some((name, _)) => name.clone(),
            None => Arc::new(resource.clone()),
        }
    }

    fn table(&mut self, resource: &Arc<GroupResource>) -> &mut Table {
        let revision = self.revision;
        self.tables.entry(resource.clone()).or_insert_with(|| Table {
            objects: BTreeMap::new(),
            locked: BTreeMap::new(),
            signal: watch::Sender::new(revision),
        })
    }

    /// Returns where in the ring the changes after `revision` begin.
    fn since(&self, revision: u64) -> Result<usize, StoreError> {
        if revision > self.revision {
            return Err(StoreError::Ahead);
        }
        let behind = usize::try_from(self.revision - revision).map_err(|_| StoreError::Expired)?;
        self.ring.len().checked_sub(behind).ok_or(StoreError::Expired)
    }

    fn apply(
        &mut self,
        change: Change,
        resource: Arc<GroupResource>,
        key: String,
        entry: Arc<Entry>,
        previous: Option<Arc<Entry>>,
    ) {
        self.revision = entry.revision;
        let table = self.table(&resource);
        if change == Change::Deleted {
            table.objects.remove(&key);
        } else {
            table.objects.insert(key, entry.clone());
        }
        let weight = entry.json.get().map_or(1024, Bytes::len);
        self.ring_bytes += weight;
        let revision = entry.revision;
        let line = OnceLock::new();
        self.ring.push_back(Arc::new(Event { revision, change, resource, entry, previous, line, weight }));
        while self.ring.len() > RING_EVENTS || (self.ring_bytes > RING_BYTES && self.ring.len() > 1) {
            if let Some(event) = self.ring.pop_front() {
                self.ring_bytes -= event.weight;
            }
        }
    }

    fn replay(&mut self, record: &Record<'_>, stored: Option<&[u8]>) -> Result<(), StoreError> {
        if record.in_snapshot && stored.is_none() {
            self.revision = record.revision;
            return Ok(());
        }
        let resource = self.name(&record.resource);
        let key = record.key.to_owned();
        let was_locked = self.table(&resource).locked.remove(&key).is_some();
        let Some(stored) = stored else {
            self.revision = record.revision;
            if was_locked {
                self.forget_changes();
            }
            let Some(old) = self.table(&resource).objects.get(record.key).cloned() else { return Ok(()) };
            let mut object = Value::clone(&old.object);
            stamp(&mut object, record.revision);
            let entry = Arc::new(Entry::new(record.revision, object));
            self.apply(Change::Deleted, resource, key, entry, Some(old));
            return Ok(());
        };
        if super::encryption::is_sealed(stored) {
            // It is read once somebody brings the keys.
            self.revision = self.revision.max(record.revision);
            self.forget_changes();
            let why = super::encryption::unsealed(stored).err().unwrap_or_default();
            let stored = Bytes::copy_from_slice(stored);
            let locked = Locked { key: key.clone(), revision: record.revision, stored, why };
            let table = self.table(&resource);
            table.objects.remove(&key);
            table.locked.insert(key, locked);
            return Ok(());
        }
        let object: Value = serde_json::from_slice(stored)
            .map_err(|error| StoreError::Damaged(format!("{resource} `{}`: {error}", record.key)))?;
        let entry = Arc::new(Entry::new(record.revision, object));
        let _ = entry.json.set(Bytes::copy_from_slice(stored));
        if record.in_snapshot {
            self.revision = self.revision.max(record.revision);
            self.table(&resource).objects.insert(key, entry);
            return Ok(());
        }
        let previous = self.table(&resource).objects.get(record.key).cloned();
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.apply(change, resource, key, entry, previous);
        Ok(())
    }

    /// Forgets the changes so far, of which one cannot be told: who watches must list again.
    fn forget_changes(&mut self) {
        self.ring.clear();
        self.ring_bytes = 0;
    }
}

impl View for Store {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        Self::get(self, resource, namespace, name).map(|entry| entry.object.clone())
    }

    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        Self::list(self, resource, namespace).into_iter().map(|entry| entry.object.clone()).collect()
    }

    fn revision_of(&self, resource: &GroupResource) -> u64 {
        self.read().tables.get(resource).map_or(0, |table| *table.signal.borrow())
    }
}

/// A subscription to changes.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    resource: Option<Arc<GroupResource>>,
    seen: u64,
    batch: VecDeque<Arc<Event>>,
    signal: watch::Receiver<u64>,
}

impl Watch {
    /// Waits for the next change. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`StoreError::Expired`] when changes came faster than they were taken; list again and watch from there.
    pub async fn next(&mut self) -> Result<Arc<Event>, StoreError> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            // The sender lives in the store that this watch holds.
            let _ = self.signal.changed().await;
        }
    }

    /// Returns the next change if it has happened already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, StoreError> {
        if self.batch.is_empty() {
            self.signal.mark_unchanged();
            let state = self.store.read();
            let start = state.since(self.seen)?;
            let resource = self.resource.as_ref();
            let wanted = |event: &&Arc<Event>| {
                resource.is_none_or(|r| Arc::ptr_eq(r, &event.resource) || **r == *event.resource)
            };
            self.batch.extend(state.ring.range(start..).filter(wanted).cloned());
            self.seen = state.revision;
        }
        Ok(self.batch.pop_front())
    }

    /// Returns the revision up to which all changes have been taken.
    pub fn revision(&self) -> u64 {
        self.batch.front().map_or(self.seen, |event| event.revision - 1)
    }
}

/// Returns the key within a resource. Lists come in its order, as they come from etcd.
fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn within<'a, T>(
    objects: &'a BTreeMap<String, T>,
    namespace: Option<&str>,
) -> std::collections::btree_map::Range<'a, String, T> {
    match namespace {
        None | Some("") => objects.range::<String, _>(..),
        // `0` follows `/`.
        Some(namespace) => objects.range(format!("{namespace}/")..format!("{namespace}0")),
    }
}

fn is_deeper(value: &Value, than: usize) -> bool {
    match value {
        Value::Array(items) => than == 0 || items.iter().any(|item| is_deeper(item, than - 1)),
        Value::Object(map) => than == 0 || map.values().any(|item| is_deeper(item, than - 1)),
        _ => false,
    }
}

fn stamp(object: &mut Value, revision: u64) {
    object["metadata"]["resourceVersion"] = revision.to_string().into();
}
