//! The way of an HTTP request: who asks, as whom, whether they may, and to which handler.

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue, UPGRADE, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::answer::{self, Accepted, Body, BodyError};
use super::request::{Query, RequestInfo};
use super::verbs::{Answered, ResourceRequest};
use super::{Api, impersonation, paths};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::random;
use crate::sim::status::Status;

/// The largest body of a request.
const MAX_BODY: usize = 3 << 20;

/// Who a request comes from, when the transport knows: put into its extensions.
#[derive(Debug, Clone)]
pub struct Identity(pub UserInfo);

impl Api {
    /// Holds a user to what they may do. Who may connect by POST may do so by WebSockets too: kubectl, refused the one,
    /// falls back to the other, which is not served here.
    fn require(&self, info: &RequestInfo, user: &UserInfo, headers: &HeaderMap) -> Result<(), Status> {
        let attributes = info.attributes(user);
        let refused = match self.authorizer().require(&attributes) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        let switches =
            headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        let connects =
            info.resource == "pods" && matches!(info.subresource.as_str(), "exec" | "attach" | "portforward");
        if !(switches && connects && info.verb == "get") {
            return Err(refused);
        }
        self.authorizer().require(&Attributes { verb: "create".to_owned(), ..attributes }).map(drop)
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
        let answered: Result<Response<Body>, Status> = async {
            let user = self.authenticate(&parts)?;
            let info = RequestInfo::read(&parts.method, parts.uri.path(), &query)?;
            let user = impersonation::resolve(self.authorizer(), &parts.headers, user)?;
            self.require(&info, &user, &parts.headers)?;
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
            let Answered { response, warnings: told } = self.on_resource(resource, &request).await;
            warnings = told;
            response
        }
        .await;
        let mut response = answered.unwrap_or_else(|status| answer::status(&status, for_failures));
        if parts.method == Method::HEAD {
            response = answer::without_body(response);
        }
        answer::warn(&mut response, &warnings);
        if let Ok(id) = HeaderValue::from_str(&random::uuid()) {
            response.headers_mut().insert("audit-id", id);
        }
        response
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
