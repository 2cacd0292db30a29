//! Objects of one cluster: a revision for each change, a log that watches read from, durable on disk.
//! Knows keys and bytes, not what an object means.

use std::sync::Arc;

use serde_json::Value;

use super::resource::GroupResource;

/// An object at a revision. `metadata.resourceVersion` in `object` equals `revision`.
#[derive(Debug)]
pub struct Entry {
    /// The store's revision at which this version was written.
    pub revision: u64,
    /// The object, with `apiVersion` and `kind` of the storage version.
    pub object: Arc<Value>,
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
#[derive(Debug, Clone)]
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
    /// The disk refused.
    #[error("failed to write the store")]
    Io(#[from] std::io::Error),
}
