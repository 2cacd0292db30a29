//! The way of an HTTP request: who asks, as whom, whether they may, and to which handler.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Frame;

use super::answer::{self, Accepted, Body, BodyError};
use super::request::{Query, RequestInfo};
use super::verbs::{Answered, ResourceRequest};
use super::{Api, impersonation, paths};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::audit::{self, Facts, Record};
use crate::sim::authn::PeerCertificates;
use crate::sim::random;
use crate::sim::rbac::Decision;
use crate::sim::status::Status;

/// The largest body of a request.
const MAX_BODY: usize = 3 << 20;

/// Who a request comes from, when the transport knows: put into its extensions.
#[derive(Debug, Clone)]
pub struct Identity(pub UserInfo);

impl Api {
    /// Holds a user to what they may do. Who may connect by POST may do so by WebSockets too: kubectl, refused the one,
    /// falls back to the other, which is not served here.
    fn require(&self, info: &RequestInfo, user: &UserInfo, headers: &HeaderMap) -> Result<Decision, Status> {
        let attributes = info.attributes(user);
        let refused = match self.authorizer().require(&attributes) {
            Ok(decision) => return Ok(decision),
            Err(refused) => refused,
        };
        let switches =
            headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let connects =
            info.resource == "pods" && matches!(info.subresource.as_str(), "exec" | "attach" | "portforward");
        if !(switches && connects && info.verb == "get") {
            return Err(refused);
        }
        self.authorizer().require(&Attributes { verb: "create".to_owned(), ..attributes })
    }

    /// Begins the audit of a request, where there is any.
    fn record(
        &self,
        parts: &http::request::Parts,
        info: &RequestInfo,
        user: Option<&UserInfo>,
    ) -> Option<Record> {
        let header = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        self.audit()?.begin(&Facts {
            uri: parts.uri.path_and_query().map(|uri| uri.as_str()).unwrap_or_default(),
            info,
            user,
            agent: header("user-agent").unwrap_or_default(),
            id: header("audit-id").unwrap_or_default(),
        })
    }

    /// Answers a request. Never fails: failures are answers.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send,
        B::Error: Into<BodyError>,
    {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let header = |name| {
            parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default()
        };
        let agent = header(USER_AGENT);
        let pretty = match query.get("pretty") {
            Some(value) => !matches!(value, "false" | "0"),
            None => ["curl", "Wget", "Mozilla/5.0"].iter().any(|browser| agent.starts_with(browser)),
        };
        let accepted = Accepted::negotiate(header(ACCEPT), pretty);
        let for_failures = *accepted.as_ref().unwrap_or(&Accepted { pretty, ..Accepted::default() });
        let mut warnings = Vec::new();
        let mut record = None;
        let mut is_long = false;
        let answered: Result<Response<Body>, Status> = async {
            self.reachable()?;
            let info = RequestInfo::read(&parts.method, parts.uri.path(), &query);
            let user = self.authenticate(&parts).inspect_err(|_| {
                let known = info.as_ref().ok();
                if let Some(record) = known.and_then(|info| self.record(&parts, info, None)) {
                    record.unauthenticated(&attempted(&parts));
                }
            })?;
            let info = info?;
            record = self.record(&parts, &info, Some(&user));
            if let Some(record) = &record {
                is_long = audit::is_long_running(&info);
                record.received();
            }
            let user = impersonation::resolve(&self.authorizer(), &parts.headers, user)?;
            let decided = self.require(&info, &user, &parts.headers);
            if let Some(record) = &mut record {
                if parts.headers.contains_key("impersonate-user") {
                    record.impersonates(&user);
                }
                let reason = decided.as_ref().map(Decision::reason).unwrap_or_default();
                record.decided(decided.is_ok(), reason);
            }
            decided?;
            if !info.is_resource {
                return paths::respond(self, &parts, &info, &query, accepted);
            }
            let resources = self.resources();
            let Some(resource) = resources.find(&info.group, &info.version, &info.resource) else {
                return match resources.version(&info.group, &info.version) {
                    Some(version) if version.resources.iter().all(|r| r.definition.is_none()) => {
                        Err(Status::no_such_path())
                    }
                    _ => Ok(answer::not_found()),
                };
            };
            let body = match parts.method {
                Method::GET | Method::HEAD => Bytes::new(),
                _ => collect(body).await?,
            };
            let request = ResourceRequest {
                info: &info,
                user: &user,
                query: &query,
                headers: &parts.headers,
                accepted: accepted?,
                body,
                method: &parts.method,
                upgrade: parts.extensions.get::<hyper::upgrade::OnUpgrade>().cloned(),
            };
            if let Some(record) = &mut record
                && !request.body.is_empty()
                && let Some(body) = self.asked(resource, &request)
            {
                record.asked(body);
            }
            let Answered { response, warnings: told, annotations } =
                self.on_resource(resource, &request).await;
            warnings = told;
            if let Some(record) = &mut record {
                record.annotate_all(&annotations);
            }
            response
        }
        .await;
        let id = record.as_ref().map_or_else(random::uuid, |record| record.id().to_owned());
        let mut response = match (record, answered) {
            (None, Ok(response)) => response,
            (None, Err(status)) => answer::status(&status, for_failures),
            (Some(record), Err(status)) => {
                record.complete(status.code, Some(status.to_json()));
                answer::status(&status, for_failures)
            }
            (Some(record), Ok(response)) => audited(record, is_long, response).await,
        };
        if parts.method == Method::HEAD {
            response = answer::without_body(response);
        }
        answer::warn(&mut response, &warnings);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("audit-id", id);
        }
        response
    }
}

/// Names the credentials that a request came with, as the audit log does.
fn attempted(parts: &http::request::Parts) -> String {
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme =
        authorization.and_then(|text| text.trim().split_once(' ')).map(|(scheme, _)| scheme.to_lowercase());
    let scheme = scheme.filter(|scheme| matches!(&**scheme, "basic" | "bearer"));
    let certificate = parts.extensions.get::<PeerCertificates>().is_some_and(|peer| !peer.0.is_empty());
    let methods: Vec<String> = scheme.into_iter().chain(certificate.then(|| "x509".to_owned())).collect();
    methods.join(", ")
}

/// Writes down the end of a request, or lets the body of a long answer do so.
async fn audited(mut record: Record, is_long: bool, response: Response<Body>) -> Response<Body> {
    let code = response.status().as_u16();
    if is_long && code < 400 {
        record.started(code);
        return match code {
            // What goes on from here is no HTTP any more.
            101 => {
                record.complete(code, None);
                response
            }
            _ => response.map(|body| AuditedBody { body, record: Some((record, code)) }.boxed_unsync()),
        };
    }
    let is_json = |response: &Response<Body>| {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("application/json"))
    };
    if !is_json(&response) || !(record.wants_response() || code >= 400) {
        record.complete(code, None);
        return response;
    }
    let (parts, body) = response.into_parts();
    // Answers that are not long are whole already.
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    record.complete(code, serde_json::from_slice(&bytes).ok());
    Response::from_parts(
        parts,
        http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed_unsync(),
    )
}

/// The body of a long answer, whose end is written down.
struct AuditedBody {
    body: Body,
    record: Option<(Record, u16)>,
}

impl hyper::body::Body for AuditedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None))
            && let Some((record, code)) = self.record.take()
        {
            record.complete(code, None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

async fn collect<B>(body: B) -> Result<Bytes, Status>
where
    B: hyper::body::Body<Data = Bytes> + Send,
    B::Error: Into<BodyError>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {MAX_BODY}"),
        )),
        Err(error) => Err(Status::bad_request(format!("failed to read the body: {error}"))),
    }
}
