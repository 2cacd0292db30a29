//! Watches: a stream of JSON lines, one for each change that the client's selectors let through.
//! An unselective watch of the stored version sends bytes that all its likes share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use super::answer::{self, Accepted, Body, BodyError, Shape};
use super::fields::Selection;
use super::list::{parse_revision, too_large};
use super::request::Query;
use super::resources::Resource;
use super::{Api, convert, shape};
use crate::sim::field::{FieldError, Path};
use crate::sim::random;
use crate::sim::status::Status;
use crate::sim::store::{Change, Entry, Event, StoreError, Watch, watch_line};

/// How often a client that wants them gets a bookmark.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// What one chunk gathers at most.
const CHUNK: usize = 256 << 10;

struct Watcher {
    api: Api,
    resource: Arc<Resource>,
    namespace: String,
    selection: Selection,
    accepted: Accepted,
    include: shape::Include,
    everything: bool,
    bookmarks: bool,
    headers_sent: bool,
    changes: Watch,
    first: VecDeque<Bytes>,
    deadline: tokio::time::Instant,
    next_bookmark: tokio::time::Instant,
    ended: bool,
    /// Turns true when the server is stopped.
    stopped: tokio::sync::watch::Receiver<bool>,
}

impl Api {
    /// Starts a watch.
    pub(crate) async fn watch(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        selection: Selection,
        accepted: Accepted,
        query: &Query,
    ) -> Result<Response<Body>, Status> {
        let initial = check_options(query)?;
        let include = shape::Include::read(query.text("includeObject"))?;
        let bookmarks = query.flag("allowWatchBookmarks");
        let timeout = match query.number("timeoutSeconds")? {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.unsigned_abs()),
            // Half an hour to an hour, so that watches do not all end at once.
            _ => Duration::from_secs(1800 + u64::from(u16::from_le_bytes(random::bytes())) * 1800 / 65536),
        };
        let wanted = parse_revision(query.text("resourceVersion"))?;
        let from = wanted.filter(|revision| *revision > 0 && !initial);
        let current = self.store().revision();
        if let Some(ahead) = wanted.filter(|revision| *revision > current) {
            return Err(too_large(ahead, current));
        }
        let storage = &resource.storage;
        let scope = (!namespace.is_empty()).then_some(namespace);
        let (listed, changes) = match from {
            Some(from) => (None, self.store().watch(Some(storage), Some(from))),
            None => {
                let (revision, entries) = self.store().list_now(storage, scope);
                (Some((revision, entries)), self.store().watch(Some(storage), Some(revision)))
            }
        };
        let changes = match changes {
            Ok(changes) => changes,
            Err(StoreError::Ahead) => return Err(too_large(wanted.unwrap_or_default(), current)),
            Err(_) => {
                let oldest = format!("too old resource version: {} ({current})", from.unwrap_or_default());
                return Ok(failed(&Status::expired(oldest)));
            }
        };
        let everything = selection.is_everything();
        let now = tokio::time::Instant::now();
        let mut watcher = Watcher {
            api: self.clone(),
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            selection,
            accepted,
            include,
            everything,
            bookmarks,
            headers_sent: false,
            changes,
            first: VecDeque::new(),
            deadline: now + timeout,
            next_bookmark: now + BOOKMARKS,
            ended: false,
            stopped: self.generation().ended(),
        };
        if let Some((revision, mut entries)) = listed {
            self.load(resource, &mut entries).await?;
            for entry in entries {
                if watcher.selects(&entry) {
                    let line = watcher.line("ADDED", &entry);
                    watcher.first.push_back(line);
                }
            }
            if initial {
                let line = watcher.bookmark(revision, true);
                watcher.first.push_back(line);
            }
        }
        let frames = futures::stream::unfold(watcher, |mut watcher| async move {
            let chunk = watcher.chunk().await?;
            Some((Ok::<_, BodyError>(Frame::data(chunk)), watcher))
        });
        let body = StreamBody::new(frames).boxed_unsync();
        Ok(answer::with_body(200, "application/json", body))
    }
}

/// Waits until the server is stopped.
async fn stopped(signal: &mut tokio::sync::watch::Receiver<bool>) {
    // Its sender goes with the cluster, and the watch with it.
    let _ = signal.wait_for(|stopped| *stopped).await;
}

/// A stream that says why it cannot go on.
fn failed(status: &Status) -> Response<Body> {
    let line = watch_line("ERROR", &answer::to_json(&status.to_json()));
    answer::bytes(200, "application/json", line)
}

impl Watcher {
    /// Waits for something to send; `None` ends the stream.
    async fn chunk(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(first) = self.first.pop_front() {
            return Some(self.gather(first).await);
        }
        loop {
            let event = tokio::select! {
                biased;
                event = self.changes.next() => event,
                () = stopped(&mut self.stopped) => {
                    self.ended = true;
                    return None;
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = tokio::time::Instant::now() + BOOKMARKS;
                    // Also takes note of how far the store has come without a change of this resource.
                    match self.changes.try_next() {
                        Ok(None) => return Some(self.bookmark(self.changes.revision(), false)),
                        Ok(Some(event)) => Ok(event),
                        Err(error) => Err(error),
                    }
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.ended = true;
                    return self.bookmarks.then(|| self.bookmark(self.changes.revision(), false));
                }
            };
            match event {
                Ok(event) => {
                    if let Some(line) = self.render(event).await {
                        return Some(self.gather(line).await);
                    }
                }
                Err(_) => {
                    self.ended = true;
                    let status = Status::expired("too old resource version: the watch fell behind");
                    return Some(watch_line("ERROR", &answer::to_json(&status.to_json())));
                }
            }
        }
    }

    /// Adds to a line what else is there already, so that a burst costs few writes.
    async fn gather(&mut self, first: Bytes) -> Bytes {
        let mut more: Vec<Bytes> = Vec::new();
        let mut size = first.len();
        while size < CHUNK && !self.ended {
            let next = match self.first.pop_front() {
                Some(line) => Some(line),
                None => match self.changes.try_next() {
                    Ok(Some(event)) => match self.render(event).await {
                        Some(line) => Some(line),
                        None => continue,
                    },
                    _ => None,
                },
            };
            let Some(line) = next else { break };
            size += line.len();
            more.push(line);
        }
        if more.is_empty() {
            return first;
        }
        let mut chunk = Vec::with_capacity(size);
        chunk.extend_from_slice(&first);
        for line in more {
            chunk.extend_from_slice(&line);
        }
        Bytes::from(chunk)
    }

    fn selects(&self, entry: &Entry) -> bool {
        (self.namespace.is_empty() || entry.namespace() == self.namespace)
            && (self.everything || self.selection.matches(&self.resource, &entry.object))
    }

    /// Writes a change as the client sees it, if it does. An object that cannot be converted ends the stream.
    async fn render(&mut self, event: Arc<Event>) -> Option<Bytes> {
        match self.api.loaded_event(&self.resource, event).await {
            Ok(event) => self.told(&event),
            Err(status) => {
                self.ended = true;
                Some(watch_line("ERROR", &answer::to_json(&status.to_json())))
            }
        }
    }

    fn told(&mut self, event: &Event) -> Option<Bytes> {
        let plain = self.accepted.shape == Shape::Full && convert::is_working_version(&self.resource);
        if self.everything && plain {
            return self.selects(&event.entry).then(|| event.line().clone());
        }
        let before = event.previous.as_ref().is_some_and(|previous| self.selects(previous));
        let after = event.change != Change::Deleted && self.selects(&event.entry);
        let kind = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        if event.change == Change::Modified && kind == "DELETED" {
            // What no longer matches is told as it was, at the revision of the change.
            let mut last = event.previous.as_ref().map(|previous| Value::clone(&previous.object))?;
            last["metadata"]["resourceVersion"] = event.revision.to_string().into();
            return Some(self.object_line(kind, &Arc::new(last)));
        }
        Some(self.line(kind, &event.entry))
    }

    fn line(&mut self, kind: &str, entry: &Entry) -> Bytes {
        if self.accepted.shape == Shape::Full && convert::is_working_version(&self.resource) {
            return watch_line(kind, entry.json());
        }
        self.object_line(kind, &entry.object)
    }

    fn object_line(&mut self, kind: &str, object: &Arc<Value>) -> Bytes {
        let object = convert::from_storage(&self.resource, object);
        let shaped = match self.accepted.shape {
            Shape::Full => return watch_line(kind, &answer::to_json(&object)),
            Shape::Metadata(version) => shape::partial(&object, version),
            Shape::Table(version) => {
                let revision = object["metadata"]["resourceVersion"].clone();
                let now = self.api.clock().now();
                let mut table = shape::table(&self.resource, &[object], self.include, now);
                self.dress(&mut table, version, revision);
                table
            }
        };
        watch_line(kind, &answer::to_json(&shaped))
    }

    /// Only the first Table of a watch says what its columns are.
    fn dress(&mut self, table: &mut Value, version: &str, revision: Value) {
        table["apiVersion"] = format!("meta.k8s.io/{version}").into();
        table["metadata"] = json!({ "resourceVersion": revision });
        if std::mem::replace(&mut self.headers_sent, true) {
            table["columnDefinitions"] = Value::Null;
        }
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if initial_end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let object = match self.accepted.shape {
            Shape::Table(version) => {
                let mut table = shape::table(&self.resource, &[], self.include, self.api.clock().now());
                self.dress(&mut table, version, revision.to_string().into());
                table
            }
            Shape::Metadata(version) => json!({ "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata }),
            Shape::Full => json!({ "kind": self.resource.kind, "apiVersion": self.resource.api_version(),
                "metadata": metadata }),
        };
        watch_line("BOOKMARK", &answer::to_json(&object))
    }
}

/// Checks the options that go together, and tells whether the objects that are there are to come first.
fn check_options(query: &Query) -> Result<bool, Status> {
    let matching = query.text("resourceVersionMatch");
    let initial = query.get("sendInitialEvents").is_some();
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if initial {
        if matching != "NotOlderThan" {
            errors.push(FieldError::forbidden(
                &path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        if query.flag("sendInitialEvents") && !query.flag("allowWatchBookmarks") {
            errors.push(FieldError::forbidden(
                &Path::new("allowWatchBookmarks"),
                "sendInitialEvents requires setting allowWatchBookmarks",
            ));
        }
    } else if !matching.is_empty() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors));
    }
    Ok(query.flag("sendInitialEvents"))
}
