//! Connections into Pods: logs, exec, attach, port forwarding, proxying. Checks here, and the rest is the node's.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};

use crate::sim::admission::Operation;
use crate::sim::api::Api;
use crate::sim::api::answer::{self, Body};
use crate::sim::api::call::Call;
use crate::sim::api::verbs::ResourceRequest;
use crate::sim::attributes::UserInfo;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// A connection that was authorized and admitted.
pub struct Connection {
    /// What it is: `log`, `exec`, `attach`, `portforward` or `proxy`.
    pub kind: String,
    /// Who connects.
    pub user: UserInfo,
    /// The Pod; for `proxy`, the Pod, Service or Node.
    pub object: Arc<Value>,
    /// The container, resolved; empty where none is meant.
    pub container: String,
    /// The options as the API names them: `PodLogOptions`, `PodExecOptions`, ...
    pub options: Value,
    /// The rest of the path, of a proxied request.
    pub path: String,
    /// The method of the request.
    pub method: Method,
    /// The headers of the request: the upgrade that is wanted, and its protocols.
    pub headers: HeaderMap,
    /// The connection itself, once the answer to the request has switched protocols.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// The body of the request.
    pub body: bytes::Bytes,
    /// The API that was asked, for what asks it in its turn.
    pub api: Api,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("kind", &self.kind)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

/// What answers connections: the nodes.
#[async_trait]
pub trait Connector: Send + Sync + std::fmt::Debug {
    /// Answers a connection, with a body or by switching protocols.
    ///
    /// # Errors
    /// What a kubelet would refuse, such as `container "x" in pod "y" is waiting to start: ContainerCreating`.
    async fn connect(&self, connection: Connection) -> Result<Response<Body>, Status>;
}

impl Api {
    pub(super) async fn connect(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let kind = call.subresource.clone();
        let options = options(call, request)?;
        if kind != "log" {
            let mut admission = self.admission_request(call, Operation::Connect, Some(options.clone()), None);
            options.text("kind").clone_into(&mut admission.kind);
            let cx = self.admission_cx();
            let mut judged = self.admission().admit(&cx, &mut admission).await;
            if judged.is_ok() {
                judged = self.admission().validate(&cx, &mut admission).await;
            }
            self.collect(call, &mut admission);
            judged?;
        }
        let entry = self.read(call).await?;
        let mut container = options.text("container").to_owned();
        if matches!(kind.as_str(), "log" | "exec" | "attach") {
            container = choose_container(&entry.object, &call.name, &container)?;
            if entry.object["spec"].text("nodeName").is_empty() {
                if kind == "log" {
                    return Ok(answer::text(200, ""));
                }
                return Err(Status::bad_request(format!("pod {} does not have a host assigned", call.name)));
            }
        }
        let Some(connector) = self.connector() else {
            return Err(Status::not_simulated(&format!("{}/{kind}", call.resource.plural)));
        };
        let connection = Connection {
            kind,
            user: call.user.clone(),
            object: entry.object.clone(),
            container,
            options,
            path: request.info.parts.get(3..).unwrap_or_default().join("/"),
            method: request.method.clone(),
            headers: request.headers.clone(),
            upgrade: request.upgrade.clone(),
            body: request.body.clone(),
            api: self.clone(),
        };
        connector.connect(connection).await
    }
}

/// Reads the options of a connection from the query.
fn options(call: &Call, request: &ResourceRequest<'_>) -> Result<Value, Status> {
    let (kind, flags, numbers, texts): (&str, &[&str], &[&str], &[&str]) = match call.subresource.as_str() {
        "log" => (
            "PodLogOptions",
            &["follow", "previous", "timestamps", "insecureSkipTLSVerifyBackend"],
            &["sinceSeconds", "tailLines", "limitBytes"],
            &["container", "sinceTime", "stream"],
        ),
        "exec" => ("PodExecOptions", &["stdin", "stdout", "stderr", "tty"], &[], &["container"]),
        "attach" => ("PodAttachOptions", &["stdin", "stdout", "stderr", "tty"], &[], &["container"]),
        "portforward" => ("PodPortForwardOptions", &[], &[], &[]),
        _ if call.resource.plural == "nodes" => ("NodeProxyOptions", &[], &[], &["path"]),
        _ if call.resource.plural == "services" => ("ServiceProxyOptions", &[], &[], &["path"]),
        _ => ("PodProxyOptions", &[], &[], &["path"]),
    };
    let query = request.query;
    let mut options = json!({ "kind": kind, "apiVersion": "v1" });
    for flag in flags {
        if query.flag(flag) {
            options[*flag] = true.into();
        }
    }
    for number in numbers {
        if let Some(value) = query.number(number)? {
            options[*number] = value.into();
        }
    }
    for text in texts {
        if !query.text(text).is_empty() {
            options[*text] = query.text(text).into();
        }
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    let ports: Vec<i64> =
        query.all("ports").flat_map(|p| p.split(',')).filter_map(|p| p.parse().ok()).collect();
    if !ports.is_empty() {
        options["ports"] = json!(ports);
    }
    if kind == "PodLogOptions" {
        let errors = crate::sim::validation::pod::log_options(&options);
        if !errors.is_empty() {
            return Err(Status::invalid("", "PodLogOptions", &call.name, &errors));
        }
    }
    Ok(options)
}

/// Settles which container is meant, or says which there are.
fn choose_container(pod: &Value, pod_name: &str, wanted: &str) -> Result<String, Status> {
    let names = ["initContainers", "containers", "ephemeralContainers"];
    let mut names =
        names.iter().flat_map(|list| pod["spec"].items(list)).map(|container| container.text("name"));
    if !wanted.is_empty() {
        if names.any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}")));
    }
    if let [only] = pod["spec"].items("containers") {
        return Ok(only.text("name").to_owned());
    }
    Err(Status::bad_request(format!(
        "a container name must be specified for pod {pod_name}, choose one of: [{}]",
        names.collect::<Vec<_>>().join(" ")
    )))
}
