//! The log of a container as the API gives it out: the lines that are asked for, at once or as they come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::sim::api::{Body, BodyError, Connection};
use crate::sim::meta;
use crate::sim::node::logs::{LogLine, NodeLogs, Run};
use crate::sim::object::Fields as _;
use crate::sim::status::Status;
use crate::sim::store::Watch;

/// How far ahead the lines of a running container are worked out.
const AHEAD: Duration = Duration::from_secs(10);
/// How long a follower sleeps at most: what a container reads may change, and with it what it will write.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);

/// Which lines are wanted, and how (PodLogOptions).
#[derive(Debug, Clone, Default)]
struct Wanted {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    /// How many bytes may still be sent.
    left: Option<usize>,
}

impl Wanted {
    fn read(options: &Value, now: Timestamp) -> Result<Self, Status> {
        let flag = |name: &str| options[name] == true;
        let number = |name: &str| options[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let since = match (options.int("sinceSeconds"), options.text("sinceTime")) {
            (Some(seconds), _) => Some(now - SignedDuration::from_secs(seconds)),
            (None, "") => None,
            (None, text) => Some(text.parse().map_err(|_| {
                Status::bad_request(format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                ))
            })?),
        };
        Ok(Self {
            follow: flag("follow"),
            timestamps: flag("timestamps"),
            tail: number("tailLines"),
            since,
            left: number("limitBytes"),
        })
    }

    /// Puts lines into bytes, up to the limit.
    fn write<'a>(&mut self, lines: impl IntoIterator<Item = &'a LogLine>) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines.into_iter().filter(|line| self.since.is_none_or(|since| line.at >= since)) {
            if self.timestamps {
                out.extend_from_slice(line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
            }
            out.extend_from_slice(line.text.as_bytes());
            out.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            out.truncate(*left);
            *left -= out.len();
        }
        out
    }

    fn is_satisfied(&self) -> bool {
        self.left == Some(0)
    }
}

/// Answers a request for a log.
pub(super) fn respond(logs: &NodeLogs, connection: &Connection) -> Result<http::Response<Body>, Status> {
    let (pod, now) = (&connection.object, logs.now());
    let mut wanted = Wanted::read(&connection.options, now)?;
    let previous = connection.options["previous"] == true;
    let Some(run) = logs.run(pod, &connection.container, previous)? else {
        return Ok(response(whole(Bytes::new())));
    };
    let lines = logs.lines(pod, &run, now);
    let skipped = wanted.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    let first = wanted.write(&lines[skipped..]);
    if !wanted.follow || wanted.is_satisfied() || run.ended().is_some() {
        return Ok(response(whole(first.into())));
    }
    let follower = Follower {
        logs: logs.clone(),
        pod: pod.clone(),
        run,
        wanted,
        first: Some(first),
        told: now,
        changes: logs.changes(),
    };
    let frames = futures::stream::unfold(follower, |mut follower| async move {
        let chunk = follower.chunk().await?;
        Some((Ok::<_, BodyError>(Frame::data(chunk)), follower))
    });
    Ok(response(StreamBody::new(frames).boxed_unsync()))
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn response(body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Somebody who reads on until the run is over.
struct Follower {
    logs: NodeLogs,
    pod: Arc<Value>,
    run: Run,
    wanted: Wanted,
    first: Option<Vec<u8>>,
    /// Until when it has been told.
    told: Timestamp,
    changes: Option<Watch>,
}

impl Follower {
    /// Waits for further lines; nothing more comes once the run is over.
    async fn chunk(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take()
            && !first.is_empty()
        {
            return Some(first.into());
        }
        while !self.wanted.is_satisfied() && self.run.ended().is_none() {
            self.run = self.logs.again(&self.run, &self.pod);
            let now = self.logs.now();
            let (until, horizon) = match self.run.ended() {
                Some(end) => (end, end),
                None => (now, now + SignedDuration::try_from(AHEAD).unwrap_or_default()),
            };
            let lines = self.logs.lines(&self.pod, &self.run, horizon);
            let told = self.told;
            self.told = until;
            let new = self.wanted.write(lines.iter().filter(|line| told < line.at && line.at <= until));
            if !new.is_empty() {
                return Some(new.into());
            }
            if self.run.ended().is_some() {
                return None;
            }
            let due = lines
                .iter()
                .find(|line| line.at > until)
                .map(|line| line.at.duration_since(now).unsigned_abs());
            self.sleep(due.map_or(LONGEST_SLEEP, |due| due.clamp(Duration::from_millis(1), LONGEST_SLEEP)))
                .await;
        }
        None
    }

    /// Waits for a time, or until the Pod changes.
    async fn sleep(&mut self, time: Duration) {
        let (name, namespace) = (meta::name(&self.pod), meta::namespace(&self.pod));
        let Some(changes) = &mut self.changes else { return tokio::time::sleep(time).await };
        let changed = async {
            loop {
                match changes.next().await {
                    Ok(event) if event.entry.name() == name && event.entry.namespace() == namespace => {
                        return true;
                    }
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        if let Ok(false) = tokio::time::timeout(time, changed).await {
            self.changes = self.logs.changes();
        }
    }
}
