//! Answers: negotiation of their form, JSON and YAML, headers. Knows bytes and media types, no resources.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use serde_json::Value;

use crate::sim::status::Status;
use crate::sim::store::Ordered;
pub(crate) use crate::sim::store::to_json;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// In which shape objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As they are.
    Full,
    /// `meta.k8s.io` Table, of this version.
    Table(&'static str),
    /// `meta.k8s.io` PartialObjectMetadata, of this version.
    Metadata(&'static str),
}

/// What the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) shape: Shape,
    pub(crate) yaml: bool,
    pub(crate) pretty: bool,
}

impl Default for Accepted {
    fn default() -> Self {
        Self { shape: Shape::Full, yaml: false, pretty: false }
    }
}

impl Accepted {
    /// Chooses by the Accept header, the best of what is offered.
    ///
    /// # Errors
    /// 406 when nothing on the list can be had.
    pub(crate) fn negotiate(accept: &str, pretty: bool) -> Result<Self, Status> {
        let mut clauses: Vec<(f32, &str)> = accept
            .split(',')
            .map(str::trim)
            .filter(|clause| !clause.is_empty())
            .map(|clause| {
                let quality = clause.split(';').find_map(|p| p.trim().strip_prefix("q=")?.parse().ok());
                (quality.unwrap_or(1.0), clause)
            })
            .collect();
        clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
        if clauses.is_empty() {
            return Ok(Self { pretty, ..Self::default() });
        }
        for (_, clause) in clauses {
            let mut parts = clause.split(';').map(str::trim);
            let yaml = match parts.next() {
                Some("application/json" | "application/*" | "*/*") => false,
                Some("application/yaml") => true,
                _ => continue,
            };
            let parameter = |name: &str| {
                clause.split(';').skip(1).find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='))
            };
            let version = match parameter("v") {
                Some("v1beta1") => "v1beta1",
                _ => "v1",
            };
            let shape = match parameter("as") {
                None => Shape::Full,
                Some(_) if parameter("g") != Some("meta.k8s.io") => continue,
                Some("Table") => Shape::Table(version),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Shape::Metadata(version),
                Some(_) => continue,
            };
            return Ok(Self { shape, yaml, pretty });
        }
        Err(Status::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml, \
             application/vnd.kubernetes.protobuf",
        ))
    }
}

/// Returns the answer with an object in it.
pub(crate) fn object(code: u16, object: &Value, accepted: Accepted) -> Response<Body> {
    if accepted.yaml {
        let text = serde_saphyr::to_string(object).unwrap_or_default();
        return bytes(code, "application/yaml", text.into());
    }
    if accepted.pretty {
        let mut text = serde_json::to_vec_pretty(&Ordered(object)).unwrap_or_default();
        text.push(b'\n');
        return bytes(code, "application/json", text.into());
    }
    let mut text = to_json(object);
    text.push(b'\n');
    bytes(code, "application/json", text.into())
}

/// Returns the answer with these bytes.
pub(crate) fn bytes(code: u16, content_type: &'static str, body: Bytes) -> Response<Body> {
    let body = http_body_util::Full::new(body).map_err(|never| match never {}).boxed_unsync();
    with_body(code, content_type, body)
}

/// Returns the answer with this body.
pub(crate) fn with_body(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Takes the body away, as the answer to HEAD has none, and leaves what is said of it.
pub(crate) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let empty = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    Response::from_parts(parts, empty)
}

/// Returns the plain text that a path which nothing serves gets.
pub(crate) fn not_found() -> Response<Body> {
    text(404, "404 page not found\n")
}

/// Returns plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = bytes(code, "text/plain; charset=utf-8", body.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Returns a failure.
pub(crate) fn status(status: &Status, accepted: Accepted) -> Response<Body> {
    let mut response = object(status.code, &status.to_json(), Accepted { shape: Shape::Full, ..accepted });
    if let Some(seconds) = status.details["retryAfterSeconds"].as_i64()
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert("retry-after", value);
    }
    response
}

/// How much of all warnings is told before each is cut.
const ALL_WARNINGS: usize = 4096;
/// What is left of a long warning when they are cut.
const CUT_WARNING: usize = 256;

/// Adds warnings as `Warning: 299 - "text"` headers: each once, all of them whole while they are few and, by upstream's
/// bounds, cut when they are more.
pub(crate) fn warn<B>(response: &mut Response<B>, warnings: &[String]) {
    let mut seen = BTreeSet::new();
    let once: Vec<&str> =
        warnings.iter().map(String::as_str).filter(|text| !text.is_empty() && seen.insert(*text)).collect();
    let all: usize = once.iter().map(|text| text.chars().count()).sum();
    let (mut written, cut) = (0, all > ALL_WARNINGS);
    for warning in once {
        if cut && written >= ALL_WARNINGS {
            return;
        }
        let mut quoted = String::with_capacity(warning.len() + 8);
        for c in warning.chars().take(if cut { CUT_WARNING } else { usize::MAX }) {
            written += 1;
            match c {
                '"' | '\\' => {
                    quoted.push('\\');
                    quoted.push(c);
                }
                c if c.is_control() => {}
                c => quoted.push(c),
            }
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append("warning", value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_decides_the_shape() {
        let negotiate = |accept: &str| Accepted::negotiate(accept, false).map(|a| (a.shape, a.yaml));
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(kubectl).unwrap(), (Shape::Table("v1"), false));
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf,application/json").unwrap(),
            (Shape::Full, false)
        );
        assert_eq!(negotiate("application/yaml").unwrap(), (Shape::Full, true));
        assert_eq!(negotiate("application/json;q=0.1, application/yaml").unwrap(), (Shape::Full, true));
        assert_eq!(
            negotiate("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").unwrap().0,
            Shape::Metadata("v1")
        );
        assert_eq!(negotiate("").unwrap().0, Shape::Full);
        assert_eq!(negotiate("text/html").unwrap_err().code, 406);
    }

    #[test]
    fn warnings_are_quoted() {
        let mut response = Response::new(());
        warn(&mut response, &["say \"no\"\n".to_owned()]);
        assert_eq!(response.headers()["warning"], "299 - \"say \\\"no\\\"\"");
    }

    #[test]
    fn many_warnings_are_cut() {
        let mut response = Response::new(());
        let many: Vec<String> = (0..1000).map(|n| format!("{n} {}", "x".repeat(300))).collect();
        warn(&mut response, &many);
        let lengths: Vec<usize> =
            response.headers().get_all("warning").iter().map(HeaderValue::len).collect();
        assert_eq!((lengths.len(), lengths[0]), (16, "299 - \"\"".len() + 256));
        let mut response = Response::new(());
        warn(&mut response, &["same".to_owned(), "same".to_owned(), String::new()]);
        assert_eq!(response.headers().get_all("warning").iter().count(), 1);
    }
}
