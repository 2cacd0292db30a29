//! An API and nodes made of what a case says: plain reads of its objects, access reviews by RBAC over them, and
//! answers to everything else as the case gives them. It stores nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cks_lab::cluster::{Capabilities, Cluster, ClusterError, ExecOutput, Peer, Probe, Reach};
use cks_lab::sim::api::discovery::{self, Form};
use cks_lab::sim::api::resources::Resources;
use cks_lab::sim::attributes::{Attributes, UserInfo};
use cks_lab::sim::authz::{Authorizer, Mode};
use cks_lab::sim::rbac::bootstrap;
use cks_lab::sim::resource::GroupResource;
use cks_lab::sim::selectors::Selector;
use cks_lab::sim::status::Status;
use cks_lab::sim::view::{Objects, View};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde_json::{Value, json};

/// An answer given instead of the API's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    method: String,
    /// Part of the path with its query.
    path: String,
    /// Part of the body or of the impersonation headers, where that matters.
    #[serde(default)]
    body: String,
    status: u16,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// The body as it is, instead of a Status.
    #[serde(default)]
    raw: Option<String>,
}

/// A file on a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeFile {
    node: String,
    path: String,
    mode: String,
    owner: String,
    group: String,
    text: String,
    /// What the shell complains instead.
    error: Option<String>,
}

impl Default for NodeFile {
    fn default() -> Self {
        Self {
            node: String::new(),
            path: String::new(),
            mode: "644".to_owned(),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            text: String::new(),
            error: None,
        }
    }
}

/// What a command gives: the first whose text is in the command line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Command {
    /// The node, or `namespace/pod`.
    on: String,
    /// Part of the command line.
    command: String,
    status: i32,
    stdout: String,
    stderr: String,
    /// It cannot be run at all.
    unreachable: bool,
}

/// What the network says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReachAnswer {
    /// `namespace/pod`.
    from: String,
    /// `namespace/name` of a Pod or Service, or an address.
    to: String,
    port: u16,
    /// `open`, `blocked`, `broken` or `unknown`.
    is: String,
}

pub struct FakeCluster {
    state: Arc<State>,
    capabilities: Capabilities,
    pub node_files: Vec<NodeFile>,
    pub commands: Vec<Command>,
    pub reach: Vec<ReachAnswer>,
}

struct State {
    objects: Shared,
    authorizer: Authorizer,
    resources: Resources,
    answers: Mutex<Vec<Answer>>,
    down: Mutex<bool>,
    writes: Mutex<Vec<String>>,
    /// Method and target of requests that were marked, with their audit IDs.
    marked: Mutex<Vec<(String, String)>>,
}

/// The objects, as the authorizer sees them too.
#[derive(Clone)]
struct Shared(Arc<Mutex<Objects>>);

impl View for Shared {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.lock().unwrap().get(resource, namespace, name)
    }

    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.0.lock().unwrap().list(resource, namespace)
    }

    fn revision_of(&self, resource: &GroupResource) -> u64 {
        self.0.lock().unwrap().revision_of(resource)
    }
}

impl FakeCluster {
    pub fn new(seed: &[Value]) -> Self {
        let mut objects = Objects::default();
        for (resource, object) in bootstrap::objects() {
            objects.insert(&resource, object);
        }
        let objects = Shared(Arc::new(Mutex::new(objects)));
        let state = State {
            authorizer: Authorizer::new(vec![Mode::Rbac], Arc::new(objects.clone())),
            objects,
            resources: Resources::builtin(),
            answers: Mutex::default(),
            down: Mutex::new(false),
            writes: Mutex::default(),
            marked: Mutex::default(),
        };
        let cluster = Self {
            state: Arc::new(state),
            capabilities: Capabilities::default(),
            node_files: Vec::new(),
            commands: Vec::new(),
            reach: Vec::new(),
        };
        for name in ["default", "kube-system"] {
            cluster.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        }
        seed.iter().for_each(|object| cluster.put(object));
        cluster
    }

    fn resource(&self, kind: &str) -> GroupResource {
        let resource = self.state.resources.all().find(|resource| resource.gvk().kind == kind);
        resource.unwrap_or_else(|| panic!("{kind} is unknown")).group_resource()
    }

    /// Adds or replaces an object; one without uid gets one from its name.
    pub fn put(&self, object: &Value) {
        let mut object = object.clone();
        let kind = object["kind"].as_str().unwrap().to_owned();
        if object["metadata"]["uid"].is_null() {
            let meta = &object["metadata"];
            let place = meta["namespace"].as_str().unwrap_or_default();
            let uid = format!("{kind}/{place}/{}", meta["name"].as_str().unwrap());
            object["metadata"]["uid"] = uid.into();
        }
        self.state.objects.0.lock().unwrap().insert(&self.resource(&kind), object);
    }

    /// Deletes `Kind namespace/name` or `Kind name`.
    pub fn delete(&self, what: &str) {
        let (kind, key) = what.split_once(' ').unwrap();
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let resource = self.resource(kind);
        let mut objects = self.state.objects.0.lock().unwrap();
        assert!(objects.get(&resource, namespace, name).is_some(), "there is no {what} to delete");
        objects.remove(&resource, namespace, name);
    }

    pub fn disturb(&self, answers: &[Answer], down: bool) {
        *self.state.answers.lock().unwrap() = answers.to_vec();
        *self.state.down.lock().unwrap() = down;
    }

    /// Returns what a command gives, where the case says so.
    fn command(&self, on: &str, argv: &[&str]) -> Option<Result<ExecOutput, ClusterError>> {
        let line = argv.join(" ");
        let given = self.commands.iter().find(|given| given.on == on && line.contains(&given.command))?;
        if given.unreachable {
            let message = format!("{on} does not answer");
            return Some(Err(ClusterError::Failed { message, source: None }));
        }
        Some(Ok(ExecOutput {
            status: given.status,
            stdout: given.stdout.clone().into_bytes(),
            stderr: given.stderr.clone().into_bytes(),
        }))
    }

    /// Puts the audit ID of the last marked request on a path in the place of `{id PATH}`.
    fn with_ids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (target, id) in self.state.marked.lock().unwrap().iter().rev() {
            text = text.replace(&format!("{{id {target}}}"), id);
        }
        text
    }

    /// Returns every request that would have changed something.
    pub fn writes(&self) -> Vec<String> {
        self.state.writes.lock().unwrap().clone()
    }
}

#[async_trait]
impl Cluster for FakeCluster {
    fn client(&self) -> kube::Client {
        let state = self.state.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let state = state.clone();
            async move { state.answer(request).await }
        });
        kube::Client::new(service, "default")
    }

    fn kubeconfig(&self) -> &Path {
        Path::new("/nonexistent")
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn pod_exec(
        &self,
        namespace: &str,
        pod: &str,
        _container: Option<&str>,
        argv: &[&str],
    ) -> Result<ExecOutput, ClusterError> {
        let message = format!("{namespace}/{pod} does not answer");
        self.command(&format!("{namespace}/{pod}"), argv)
            .unwrap_or(Err(ClusterError::Failed { message, source: None }))
    }

    async fn node_exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        if let Some(given) = self.command(node, argv) {
            return given;
        }
        let path = argv.last().copied().unwrap_or_default();
        let file = self.node_files.iter().find(|file| file.node == node && file.path == path);
        let failed = |text: &str| ExecOutput {
            status: 1,
            stdout: Vec::new(),
            stderr: format!("{}: cannot stat '{path}': {text}\n", argv[0]).into_bytes(),
        };
        let stdout = match file {
            None => return Ok(failed("No such file or directory")),
            Some(NodeFile { error: Some(error), .. }) if error == "unreachable" => {
                let message = format!("{node} does not answer");
                return Err(ClusterError::Failed { message, source: None });
            }
            Some(NodeFile { error: Some(error), .. }) => return Ok(failed(error)),
            Some(file) if argv[0] == "stat" => {
                format!("{} {} {} {} regular file\n", file.mode, file.owner, file.group, file.text.len())
            }
            Some(file) => self.with_ids(&file.text),
        };
        Ok(ExecOutput { status: 0, stdout: stdout.into_bytes(), stderr: Vec::new() })
    }

    async fn reach(&self, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        let name = |peer: &Peer| match peer {
            Peer::Pod { namespace, name } | Peer::Service { namespace, name } => {
                format!("{namespace}/{name}")
            }
            Peer::Address(address) => IpAddr::to_string(address),
        };
        let answer = |probe: &Probe| {
            let (from, to) = (name(&probe.from), name(&probe.to));
            let found = self
                .reach
                .iter()
                .find(|answer| answer.from == from && answer.to == to && answer.port == probe.port);
            match found.map_or("open", |answer| answer.is.as_str()) {
                "open" => Ok(Reach::Open),
                "blocked" => Ok(Reach::Blocked { by: "NetworkPolicy deny".to_owned() }),
                "broken" => Ok(Reach::Broken { reason: "nothing listens".to_owned() }),
                _ => {
                    Err(ClusterError::Failed { message: "the probe did not start".to_owned(), source: None })
                }
            }
        };
        probes.iter().map(answer).collect()
    }
}

impl State {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        if *self.down.lock().unwrap() {
            return Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused"));
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let target = head.uri.path_and_query().map_or("", |target| target.as_str()).to_owned();
        if let Some(id) = head.headers.get("audit-id") {
            let path = head.uri.path().to_owned();
            self.marked.lock().unwrap().push((path, id.to_str().unwrap().to_owned()));
        }
        let mut text = String::from_utf8_lossy(&body).into_owned();
        if let Some(user) = head.headers.get("impersonate-user") {
            text.push_str(user.to_str().unwrap());
        }
        let given = self.answers.lock().unwrap().iter().find_map(|answer| {
            let hit = answer.method == head.method.as_str()
                && target.contains(&answer.path)
                && text.contains(&answer.body);
            hit.then(|| answer.clone())
        });
        // Reviews are asked by a POST and store nothing.
        let review = target.starts_with("/apis/authorization.k8s.io/")
            || target == "/apis/authentication.k8s.io/v1/tokenreviews";
        if head.method != Method::GET && !review && !target.contains("dryRun=All") {
            self.writes.lock().unwrap().push(format!("{} {target}", head.method));
        }
        if let Some(answer) = given {
            let mut response = Response::builder().status(answer.status);
            for warning in &answer.warnings {
                response = response.header("warning", format!("299 - {warning:?}"));
            }
            let body = answer.raw.clone().unwrap_or_else(|| {
                let kind = if answer.status < 300 { "Pod" } else { "Status" };
                let body = json!({
                    "kind": kind, "apiVersion": "v1", "metadata": {}, "code": answer.status,
                    "reason": answer.reason, "message": answer.message,
                });
                body.to_string()
            });
            return Ok(response.body(Body::from(body.into_bytes())).unwrap());
        }
        let (code, body) = match self.plain(&head.method, &target, &body) {
            Ok(body) => (200, body),
            Err(status) => (status.code, status.to_json()),
        };
        let body = serde_json::to_vec(&body).map_err(std::io::Error::other)?;
        Ok(Response::builder().status(code).body(Body::from(body)).unwrap())
    }

    fn plain(&self, method: &Method, target: &str, body: &[u8]) -> Result<Value, Status> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<&str, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key, decode(value)))
            .collect();
        let parts: Vec<String> = path.split('/').skip(1).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["version"] => return Ok(json!({"gitVersion": "v1.34.0"})),
            ["api"] => return Ok(discovery::api(&self.resources, Form::Legacy, "127.0.0.1:1")),
            ["apis"] => return Ok(discovery::apis(&self.resources, Form::Legacy)),
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Status::no_such_path()),
        };
        if rest.is_empty() {
            return discovery::resource_list(&self.resources, group, version)
                .ok_or_else(Status::no_such_path);
        }
        if *method == Method::POST && rest == ["subjectaccessreviews"] {
            return Ok(self.review(body));
        }
        if *method != Method::GET {
            return Ok(serde_json::from_slice(body).unwrap_or_default());
        }
        let (namespace, plural, name) = match rest {
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
            [plural] => (None, *plural, None),
            [plural, name] => (None, *plural, Some(*name)),
            _ => return Err(Status::no_such_path()),
        };
        let found = self.resources.find(group, version, plural).ok_or_else(Status::no_such_path)?;
        let resource = found.group_resource();
        let objects = self.objects.0.lock().unwrap();
        if let Some(name) = name {
            let object = objects.get(&resource, namespace.unwrap_or_default(), name);
            return object
                .map(|object| object.as_ref().clone())
                .ok_or_else(|| Status::not_found(&resource, name));
        }
        let selector = match query.get("labelSelector") {
            Some(text) => Selector::parse(text).map_err(|error| Status::bad_request(error.to_string()))?,
            None => Selector::everything(),
        };
        let items: Vec<Value> = objects
            .list(&resource, namespace)
            .iter()
            .filter(|object| selector.matches(&object["metadata"]["labels"]))
            .map(|object| object.as_ref().clone())
            .collect();
        let kind = format!("{}List", found.gvk().kind);
        Ok(json!({"kind": kind, "apiVersion": found.api_version(), "metadata": {}, "items": items}))
    }

    fn review(&self, body: &[u8]) -> Value {
        let mut review: Value = serde_json::from_slice(body).unwrap();
        let spec = &review["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let user = UserInfo {
            username: text(&spec["user"]),
            groups: spec["groups"].as_array().unwrap().iter().map(text).collect(),
            ..UserInfo::default()
        };
        let asked = &spec["resourceAttributes"];
        let path = &spec["nonResourceAttributes"];
        let attributes = Attributes {
            user,
            verb: text(if asked.is_null() { &path["verb"] } else { &asked["verb"] }),
            group: text(&asked["group"]),
            version: text(&asked["version"]),
            resource: text(&asked["resource"]),
            subresource: text(&asked["subresource"]),
            namespace: text(&asked["namespace"]),
            name: text(&asked["name"]),
            path: text(&path["path"]),
            ..Attributes::default()
        };
        let decision = self.authorizer.authorize(&attributes);
        review["status"] = json!({"allowed": decision.is_allowed(), "reason": decision.reason()});
        review
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
