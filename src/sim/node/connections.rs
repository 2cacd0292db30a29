//! Connections into containers, as the nodes answer them. What may be asked at all is settled before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;

use super::NodeLogs;
use super::logs::Run;
use super::process::{Process, Started};
use super::shell::outside::{Ask, HttpAnswer, Reply, Told};
use super::shell::{self, Host as _, Trace};
use crate::sim::api::{Api, Body, Connection, Connector};
use crate::sim::meta;
use crate::sim::status::Status;

mod attach;
mod exec;
mod logs;
mod port_forward;
mod remote;
mod spdy;
mod terminal;
mod upgrade;

/// How long an API may take to answer what runs in a container.
const PATIENCE: Duration = Duration::from_secs(60);

/// The nodes of one cluster, as far as somebody connects to what runs on them.
#[derive(Debug, Clone)]
pub struct NodeConnections {
    logs: NodeLogs,
}

/// A container that somebody is connected to.
#[derive(Debug, Clone)]
struct Target {
    logs: NodeLogs,
    api: Api,
    pod: Arc<Value>,
    run: Run,
}

impl NodeConnections {
    /// Answers for the containers that write these logs.
    pub fn new(logs: NodeLogs) -> Self {
        Self { logs }
    }

    /// Finds the container that a connection is to, when it runs.
    fn target(&self, connection: &Connection) -> Result<Target, Status> {
        let container = &connection.container;
        match self.logs.run(&connection.object, container, false) {
            Ok(Some(run)) if run.ended().is_none() => Ok(Target {
                logs: self.logs.clone(),
                api: connection.api.clone(),
                pod: connection.object.clone(),
                run,
            }),
            _ => Err(Status::internal(format!(
                "unable to upgrade connection: container not found ({container:?})"
            ))),
        }
    }
}

impl Target {
    /// Lets somebody look at the container.
    fn with<T: Default>(&self, look: impl FnOnce(&Process<'_>) -> T) -> T {
        self.logs.with_process_of(Some(&self.api), &self.pod, &self.run, look).unwrap_or_default()
    }

    /// Works out what a command does for a time.
    fn trace(&self, command: &Started<'_>, limit: Duration) -> Trace {
        self.with(|process| process.exec_over(self.run.started(), command, limit))
    }

    /// Says why a program cannot be run, in the words of the runtime, or that nobody knows what it would do.
    fn refusal(&self, program: &str) -> Option<Status> {
        let name = program.rsplit('/').next().unwrap_or_default();
        self.with(|process| {
            let told = |why: &str| {
                let id = self.run.id().trim_start_matches("containerd://");
                Some(Status::internal(format!(
                    "Internal error occurred: error executing command in container: failed to exec in container: failed \
                     to start exec {id:?}: OCI runtime exec failed: exec failed: unable to start container process: {why}"
                )))
            };
            if let Some(why) = process.exec_error(program) {
                return told(&why);
            }
            let is_script = program.contains('/') && process.read(program).is_some();
            if shell::is_tool(name) || matches!(name, "dash" | "zsh") || is_script {
                return None;
            }
            if process.may_have(program) {
                return Some(Status::not_simulated(&format!("running {name:?} in a container")));
            }
            told(&format!("exec: {program:?}: executable file not found in $PATH: unknown"))
        })
    }
}

/// Makes a request to the API for what runs in a container.
pub(super) async fn request(api: &Api, ask: &Ask) -> Told {
    let Ask::Http { request, .. } = ask else { return Told::Replied(Reply::Nothing) };
    let mut builder = http::Request::builder().method(request.method.as_str()).uri(request.path.as_str());
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let Ok(asked) = builder.body(Full::new(bytes::Bytes::from(request.body.clone()))) else {
        return Told::Replied(Reply::Http(HttpAnswer { status: 400, ..HttpAnswer::default() }));
    };
    let answered = async {
        let response = api.handle(asked).await;
        let (parts, body) = response.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let headers = headers.collect();
        let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
        HttpAnswer { status: parts.status.as_u16(), headers, body }
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => Told::Replied(Reply::Http(answer)),
        // A watch, say, of which nothing would be seen before its end.
        Err(_) => Told::Replied(Reply::Nothing),
    }
}

impl NodeConnections {
    /// Refuses what goes through a kubelet that does not run.
    fn reaches_kubelet(&self, connection: &Connection) -> Result<(), Status> {
        let object = &connection.object;
        let node = match object["kind"].as_str() {
            Some("Node") => meta::name(object),
            Some("Pod") => object["spec"]["nodeName"].as_str().unwrap_or_default(),
            _ => return Ok(()),
        };
        if node.is_empty() || self.logs.machine().runs_kubelet(node) {
            return Ok(());
        }
        let address = match object["status"]["hostIP"].as_str() {
            Some(address) => address.to_owned(),
            None => meta::items(&object["status"]["addresses"])
                .find(|address| address["type"] == "InternalIP")
                .and_then(|address| address["address"].as_str())
                .unwrap_or_default()
                .to_owned(),
        };
        let refused = format!("dial tcp {address}:10250: connect: connection refused");
        Err(match connection.kind.as_str() {
            "log" => Status::new(500, "InternalError", {
                let (namespace, name) = (meta::namespace(object), meta::name(object));
                let container = &connection.container;
                format!(
                    "Get \"https://{address}:10250/containerLogs/{namespace}/{name}/{container}\": {refused}"
                )
            }),
            "proxy" => {
                Status::new(503, "ServiceUnavailable", format!("error trying to reach service: {refused}"))
            }
            _ => Status::new(500, "InternalError", format!("error dialing backend: {refused}")),
        })
    }

    /// Answers what is asked of a kubelet through the API.
    fn proxy_node(&self, connection: &Connection) -> Result<Response<Body>, Status> {
        let configuration = self.logs.machine().configz(meta::name(&connection.object));
        match (connection.path.trim_matches('/'), configuration) {
            ("configz", Some(configuration)) => Ok(answer_json(&configuration)),
            ("healthz", _) => Ok(answer_text("ok")),
            (path, _) => Err(Status::not_simulated(&format!("{path:?} of a kubelet"))),
        }
    }
}

fn answer_json(value: &Value) -> Response<Body> {
    let body = Full::new(bytes::Bytes::from(value.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn answer_text(text: &str) -> Response<Body> {
    let body = http_body_util::Full::new(bytes::Bytes::from(text.to_owned()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}

#[async_trait]
impl Connector for NodeConnections {
    async fn connect(&self, connection: Connection) -> Result<Response<Body>, Status> {
        self.reaches_kubelet(&connection)?;
        match connection.kind.as_str() {
            "proxy" if connection.object["kind"] == "Node" => self.proxy_node(&connection),
            "log" => logs::respond(&self.logs, &connection),
            "exec" => exec::respond(self, &connection),
            "attach" => attach::respond(self, &connection),
            "portforward" => port_forward::respond(&self.logs, &connection),
            "proxy" => Err(Status::not_simulated("proxying to what runs in the cluster")),
            kind => Err(Status::not_simulated(&format!("{kind} into a container"))),
        }
    }
}
