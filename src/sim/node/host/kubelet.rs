//! What the kubelet of a node goes by: its flags over its drop-ins over its file over the defaults, or why it does not start;
//! and what its ports answer with that.

use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::services::KUBELET;
use super::{NodeHost, State, tree};
use crate::sim::api::parse_yaml;
use crate::sim::flags::{self, Flags, Program};
use crate::sim::node::kubelet::static_pods::yaml_error;
use crate::sim::object::Fields as _;

static DEFAULTS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("kubelet/defaults.json")).unwrap_or_default());
/// Fields that are not shown where they are empty, each with an empty value of its type.
static OMITTED: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("kubelet/omitted.json")).unwrap_or_default());

/// Flags that say the same as a field of the file.
const FLAGS: [(&str, &str); 33] = [
    ("address", "/address"),
    ("anonymous-auth", "/authentication/anonymous/enabled"),
    ("authentication-token-webhook", "/authentication/webhook/enabled"),
    ("authorization-mode", "/authorization/mode"),
    ("cgroup-driver", "/cgroupDriver"),
    ("client-ca-file", "/authentication/x509/clientCAFile"),
    ("cluster-dns", "/clusterDNS"),
    ("cluster-domain", "/clusterDomain"),
    ("container-log-max-files", "/containerLogMaxFiles"),
    ("container-log-max-size", "/containerLogMaxSize"),
    ("container-runtime-endpoint", "/containerRuntimeEndpoint"),
    ("enable-debugging-handlers", "/enableDebuggingHandlers"),
    ("enable-server", "/enableServer"),
    ("event-burst", "/eventBurst"),
    ("event-qps", "/eventRecordQPS"),
    ("fail-swap-on", "/failSwapOn"),
    ("file-check-frequency", "/fileCheckFrequency"),
    ("healthz-bind-address", "/healthzBindAddress"),
    ("healthz-port", "/healthzPort"),
    ("make-iptables-util-chains", "/makeIPTablesUtilChains"),
    ("max-pods", "/maxPods"),
    ("pod-manifest-path", "/staticPodPath"),
    ("pod-max-pids", "/podPidsLimit"),
    ("port", "/port"),
    ("protect-kernel-defaults", "/protectKernelDefaults"),
    ("read-only-port", "/readOnlyPort"),
    ("rotate-certificates", "/rotateCertificates"),
    ("rotate-server-certificates", "/serverTLSBootstrap"),
    ("seccomp-default", "/seccompDefault"),
    ("streaming-connection-idle-timeout", "/streamingConnectionIdleTimeout"),
    ("tls-cert-file", "/tlsCertFile"),
    ("tls-cipher-suites", "/tlsCipherSuites"),
    ("tls-min-version", "/tlsMinVersion"),
];

/// The structs of Go that fields lie in, by the path to them.
const STRUCTS: [(&str, &str); 8] = [
    ("authentication.anonymous", "KubeletAnonymousAuthentication"),
    ("authentication.webhook", "KubeletWebhookAuthentication"),
    ("authentication.x509", "KubeletX509Authentication"),
    ("authentication", "KubeletAuthentication"),
    ("authorization.webhook", "KubeletWebhookAuthorization"),
    ("authorization", "KubeletAuthorization"),
    ("logging", "LoggingConfiguration"),
    ("", "KubeletConfiguration"),
];

/// Kernel parameters that `protectKernelDefaults` insists on, as the kubelet names them.
const KERNEL: [(&str, &str, &str); 5] = [
    ("vm/overcommit_memory", "vm.overcommit_memory", "1"),
    ("vm/panic_on_oom", "vm.panic_on_oom", "0"),
    ("kernel/panic", "kernel.panic", "10"),
    ("kernel/panic_on_oops", "kernel.panic_on_oops", "1"),
    ("kernel/keys/root_maxbytes", "kernel.keys.root_maxbytes", "25000000"),
];

/// What a kubelet that runs goes by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    /// The whole configuration, as `/configz` shows it.
    pub configuration: Value,
}

/// A request to a port of a kubelet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeletRequest {
    /// The port: 10250, 10255 or 10248, or what the configuration says.
    pub port: u16,
    /// `GET`, `POST`.
    pub method: String,
    /// The path, such as `/pods`, with its query.
    pub path: String,
    /// The client's certificate, as PEM.
    pub certificate: Option<String>,
    /// The client's token.
    pub token: Option<String>,
}

/// What a port of a kubelet answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KubeletAnswer {
    /// Nobody listens.
    Refused,
    /// An answer over HTTP/2, or HTTP/1.1 where the port is one without TLS.
    Answered {
        /// The status code.
        code: u16,
        /// `Content-Type`.
        content_type: String,
        /// The body.
        body: String,
        /// Whether the port speaks TLS.
        tls: bool,
    },
}

/// Who asks a kubelet, as far as the API can tell.
pub(in crate::sim) enum Asks {
    /// Nobody that is known.
    Anonymous,
    /// A user.
    User(crate::sim::attributes::UserInfo),
    /// Somebody with credentials that are no good.
    Nobody,
}

/// Reads a kubelet's configuration by its command line; what is only remarkable goes to `remark`.
///
/// # Errors
/// What it says before it ends.
pub(super) fn read(
    host: &NodeHost,
    command: &[String],
    sysctl: &dyn Fn(&str) -> String,
    remark: &mut dyn FnMut(String),
) -> Result<Running, String> {
    let flags = Flags::parse(Program::Kubelet, command.get(1..).unwrap_or_default())
        .map_err(|why| format!("failed to parse kubelet flag: {why}"))?;
    let mut configuration = DEFAULTS.clone();
    let path = flags.text("config");
    if !path.is_empty() {
        let failed = |why: String| {
            format!(
                "failed to load kubelet config file, path: {path}, error: failed to load Kubelet config file {path}, error \
                 {why}"
            )
        };
        merge_file(host, path, &mut configuration, remark).map_err(failed)?;
    }
    let folder = flags.text("config-dir");
    if !folder.is_empty() {
        let names = host.tree().list(folder).unwrap_or_default();
        for name in names.into_iter().filter(|name| name.ends_with(".conf")) {
            let file = format!("{folder}/{name}");
            let failed = |why: String| {
                format!(
                    "failed to merge kubelet configs: failed to walk through kubelet dropin directory {folder:?}: failed to load kubelet dropin file, path: {file}, error: {why}"
                )
            };
            merge_file(host, &file, &mut configuration, remark).map_err(failed)?;
        }
    }
    for (flag, pointer) in FLAGS {
        if flags.has(flag) {
            set(&mut configuration, pointer, &flags, flag);
        }
    }
    check(host, &configuration, &flags, sysctl)?;
    Ok(Running { configuration })
}

fn merge_file(
    host: &NodeHost,
    path: &str,
    configuration: &mut Value,
    remark: &mut dyn FnMut(String),
) -> Result<(), String> {
    let text = host.tree().read_text(path).map_err(|error| {
        format!("failed to read kubelet config file {path:?}, error: open {path}: {}", tree::reason(&error))
    })?;
    let decode = |why: String| format!("failed to decode: {why}");
    if text.trim().is_empty() {
        return Err(format!("kubelet config file {path:?} was empty"));
    }
    let document = parse_yaml(&text).map_err(|why| decode(yaml_error(&why)))?;
    let (version, kind) = (document.text("apiVersion"), document.text("kind"));
    if kind.is_empty() {
        return Err(decode("Object 'Kind' is missing".to_owned()));
    }
    if kind != "KubeletConfiguration" || version != "kubelet.config.k8s.io/v1beta1" {
        return Err(decode(format!(
            "no kind {kind:?} is registered for version {version:?} in scheme \"pkg/kubelet/apis/config/scheme/scheme.go:33\""
        )));
    }
    let mut unknown = Vec::new();
    let mut given = document;
    if let Some(fields) = given.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    merge(configuration, &DEFAULTS, &OMITTED, &given, "", &mut unknown).map_err(decode)?;
    if !unknown.is_empty() {
        let faults: Vec<String> = unknown.iter().map(|field| format!("unknown field {field:?}")).collect();
        let why = format!("strict decoding error: {}", faults.join(", "));
        remark(format!("\"Using lenient decoding as strict decoding failed\" err={why:?}"));
    }
    Ok(())
}

/// Lays what a file says over what is there.
fn merge(
    into: &mut Value,
    defaults: &Value,
    omitted: &Value,
    given: &Value,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    for (name, value) in given.as_object().into_iter().flatten() {
        let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let (default, empty) = (defaults.at(name), omitted.at(name));
        let model = if default.is_null() { empty } else { default };
        if model.is_null() {
            unknown.push(here);
            continue;
        }
        if value.is_null() {
            continue;
        }
        let is_struct = model.is_object() && STRUCTS.iter().any(|(at, _)| *at == here);
        if is_struct && value.is_object() {
            if !into[name].is_object() {
                into[name] = json!({});
            }
            merge(&mut into[name], default, empty, value, &here, unknown)?;
            continue;
        }
        fits(model, value, &here)?;
        // A duration or a number of nothing stands for the default.
        let nothing =
            matches!(value.as_str(), Some("0s" | "")) || *value == json!(0) && name != "readOnlyPort";
        if nothing && !default.is_null() {
            continue;
        }
        if is_empty(value) && default.is_null() {
            if let Some(fields) = into.as_object_mut() {
                fields.remove(name);
            }
            continue;
        }
        into[name] = match (model, value) {
            (Value::String(_), Value::String(text)) if is_duration(model) => {
                flags::duration(text).map_or_else(|_| text.clone().into(), |span| go_span(span).into())
            }
            _ => value.clone(),
        };
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Null => true,
    }
}

fn is_duration(model: &Value) -> bool {
    model.as_str().is_some_and(|text| text.ends_with(['s', 'm', 'h']) && flags::duration(text).is_ok())
}

/// Writes a duration as Go does.
fn go_span(span: Duration) -> String {
    let (hours, minutes, seconds) = (span.as_secs() / 3600, span.as_secs() / 60 % 60, span.as_secs() % 60);
    match (hours, minutes) {
        (0, 0) if span.as_secs() == 0 && span.subsec_millis() > 0 => format!("{}ms", span.subsec_millis()),
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Holds a value to the type of its field.
fn fits(model: &Value, value: &Value, path: &str) -> Result<(), String> {
    let kind = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    };
    let wanted = match model {
        Value::Bool(_) => "bool",
        Value::Number(_) => "int32",
        Value::String(_) if is_duration(model) => "Duration",
        Value::String(_) => "string",
        Value::Array(_) => "[]string",
        _ => "map[string]string",
    };
    // This one duration may also be a number of nanoseconds.
    if path == "logging.flushFrequency" && value.is_number() {
        return Ok(());
    }
    if kind(model) == kind(value) {
        return match (wanted, value.as_str()) {
            ("Duration", Some(text)) if !text.is_empty() => flags::duration(text).map(drop),
            _ => Ok(()),
        };
    }
    let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
    let holder =
        STRUCTS.iter().find(|(at, _)| *at == parent).map_or("KubeletConfiguration", |(_, name)| name);
    Err(format!(
        "json: cannot unmarshal {} into Go struct field {holder}.{path} of type {wanted}",
        kind(value)
    ))
}

fn set(configuration: &mut Value, pointer: &str, flags: &Flags, flag: &str) {
    let names: Vec<&str> = pointer.trim_start_matches('/').split('/').collect();
    let model = DEFAULTS.pointer(pointer).or_else(|| OMITTED.pointer(pointer));
    let value: Value = match model {
        Some(Value::Bool(_)) => flags.truth(flag, false).into(),
        Some(Value::Number(_)) => flags.number(flag, 0).into(),
        Some(Value::Array(_)) => flags.list(flag).into(),
        _ => flags.text(flag).into(),
    };
    let mut at = configuration;
    for name in &names {
        at = &mut at[*name];
    }
    *at = value;
}

/// Checks what a kubelet cannot run with.
fn check(
    host: &NodeHost,
    configuration: &Value,
    flags: &Flags,
    sysctl: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    let open = |path: &str| {
        host.tree()
            .read_text(path)
            .map(drop)
            .map_err(|error| format!("open {path}: {}", tree::reason(&error)))
    };
    let kubeconfig = flags.text("kubeconfig");
    if !kubeconfig.is_empty()
        && let Err(why) = open(kubeconfig)
    {
        let bootstrap = flags.text("bootstrap-kubeconfig");
        let why = if bootstrap.is_empty() {
            format!("invalid kubeconfig: {}", why.replacen("open ", "stat ", 1))
        } else {
            let why = open(bootstrap).err().unwrap_or_default().replacen("open ", "stat ", 1);
            format!("unable to load bootstrap kubeconfig: {why}")
        };
        return Err(format!("failed to run Kubelet: {why}"));
    }
    let authority = configuration.dig(&["authentication", "x509"]).text("clientCAFile");
    if !authority.is_empty()
        && let Err(why) = open(authority)
    {
        return Err(format!(
            "failed to construct kubelet dependencies: unable to load client CA file {authority}: {why}"
        ));
    }
    let mode = configuration["authorization"].text("mode");
    if !matches!(mode, "AlwaysAllow" | "Webhook") {
        return Err(format!("failed to run Kubelet: unknown authorization mode {mode}"));
    }
    if configuration["protectKernelDefaults"] == true {
        let wrong: Vec<String> = KERNEL
            .iter()
            .filter(|(_, name, wanted)| sysctl(name) != *wanted)
            .map(|(shown, name, wanted)| {
                format!(
                    "invalid kernel flag: {shown}, expected value: {wanted}, actual value: {}",
                    sysctl(name)
                )
            })
            .collect();
        if !wrong.is_empty() {
            return Err(format!("failed to run Kubelet: [{}]", wrong.join(", ")));
        }
    }
    Ok(())
}

/// Tells whether a user may do something with the node: the verb, and its subresources; an error when nobody can be asked.
type Allows<'a> = dyn Fn(&crate::sim::attributes::UserInfo, &str, &[&str]) -> Result<bool, ()> + 'a;

impl NodeHost {
    /// Lets the kubelet read its configuration; on failure its journal says why.
    pub(super) fn kubelet_started(&self, state: &mut State, command: &[String], pid: u32) -> Result<(), ()> {
        let now = self.now();
        let mut remarks = Vec::new();
        let sysctls = state.kernel.sysctls.clone();
        let sysctl = |name: &str| sysctls.get(name).cloned().unwrap_or_default();
        let read = read(self, command, &sysctl, &mut |remark| remarks.push(remark));
        let mut say = |severity, place: &str, text: &str| {
            let line = super::klog(severity, now, pid, place, text);
            state.journal.add(now, KUBELET, "kubelet", pid, line);
        };
        for remark in remarks {
            say('I', "codec.go:102", &remark);
        }
        match read {
            Ok(running) => {
                say(
                    'I',
                    "server.go:530",
                    &format!("\"Kubelet version\" kubeletVersion={:?}", crate::sim::api::VERSION),
                );
                say('I', "kubelet.go:2438", "\"Starting kubelet main sync loop\"");
                state.kubelet = Some(running);
                Ok(())
            }
            Err(why) => {
                say('E', "run.go:72", &format!("\"command failed\" err={why:?}"));
                state.kubelet = None;
                Err(())
            }
        }
    }

    /// Returns what the kubelet goes by while it runs.
    fn kubelet_configuration(&self) -> Option<Value> {
        self.lock().kubelet.as_ref().map(|running| running.configuration.clone())
    }

    /// Returns what `/configz` answers; nothing while the kubelet does not run.
    pub fn configz(&self) -> Option<Value> {
        Some(json!({ "kubeletconfig": self.kubelet_configuration()? }))
    }

    /// Returns where the kubelet listens.
    pub(super) fn kubelet_ports(&self) -> Vec<(String, u16)> {
        let Some(configuration) = self.kubelet_configuration() else { return Vec::new() };
        let port =
            |name: &str| u16::try_from(configuration[name].as_u64().unwrap_or_default()).unwrap_or_default();
        let bound = |address: &str| if address == "0.0.0.0" { "*".to_owned() } else { address.to_owned() };
        let address = bound(configuration.text("address"));
        let ports = [
            (bound(configuration.text("healthzBindAddress")), port("healthzPort")),
            (address.clone(), port("port")),
            (address, port("readOnlyPort")),
        ];
        ports.into_iter().filter(|(_, port)| *port != 0).collect()
    }

    /// Returns the folder of the static Pods, where the kubelet has one.
    pub(in crate::sim::node) fn manifests(&self) -> Option<String> {
        let configuration = self.kubelet_configuration()?;
        Some(configuration.text("staticPodPath").to_owned()).filter(|path| !path.is_empty())
    }

    /// Answers a request to a port of the kubelet. `identify` tells who somebody is by certificate and token, `allows`
    /// whether they may do with the node what the path asks for: verb and subresource; an error when the API cannot be
    /// asked.
    pub(in crate::sim) fn kubelet_answers(
        &self,
        request: &KubeletRequest,
        identify: &dyn Fn(&KubeletRequest, &str) -> Asks,
        allows: &Allows<'_>,
    ) -> KubeletAnswer {
        let Some(configuration) = self.kubelet_configuration() else { return KubeletAnswer::Refused };
        if !self.kubelet_ports().iter().any(|(_, port)| *port == request.port) {
            return KubeletAnswer::Refused;
        }
        let is = |name: &str| configuration[name].as_u64() == Some(u64::from(request.port));
        let answered = |code: u16, content_type: &str, body: String| KubeletAnswer::Answered {
            code,
            content_type: content_type.to_owned(),
            body,
            tls: is("port"),
        };
        let text = |code: u16, body: &str| answered(code, "text/plain; charset=utf-8", body.to_owned());
        let path = request.path.split('?').next().unwrap_or_default();
        if is("healthzPort") {
            return if path == "/healthz" { text(200, "ok") } else { text(404, "404 page not found\n") };
        }
        if is("readOnlyPort") {
            return match path {
                "/pods" => answered(200, "application/json", self.pod_list()),
                "/healthz" => text(200, "ok"),
                "/metrics" => {
                    text(200, "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n")
                }
                _ => text(404, "404 page not found\n"),
            };
        }
        let authority = configuration.dig(&["authentication", "x509"]).text("clientCAFile");
        let authority = self.tree().read_text(authority).unwrap_or_default();
        let anonymous = configuration.dig(&["authentication", "anonymous"])["enabled"] == true;
        let user = match identify(request, &authority) {
            Asks::User(user) => user,
            Asks::Anonymous if anonymous => crate::sim::authn::anonymous(),
            Asks::Anonymous | Asks::Nobody => return text(401, "Unauthorized"),
        };
        let verb = match request.method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "get",
        };
        let subresources: &[&str] = match path.split('/').nth(1).unwrap_or_default() {
            "stats" => &["stats"],
            "metrics" => &["metrics"],
            "logs" => &["log"],
            "checkpoint" => &["checkpoint"],
            "pods" | "runningpods" => &["pods", "proxy"],
            "healthz" => &["healthz", "proxy"],
            "configz" => &["configz", "proxy"],
            _ => &["proxy"],
        };
        if configuration["authorization"].text("mode") == "Webhook" {
            match allows(&user, verb, subresources) {
                Ok(true) => {}
                Ok(false) => {
                    let body = format!(
                        "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
                        user.username,
                        subresources.join(" ")
                    );
                    return text(403, &body);
                }
                Err(()) => {
                    let body = format!(
                        "Authorization error (user={}, verb={verb}, resource=nodes, subresource={})\n",
                        user.username, subresources[0]
                    );
                    return text(500, &body);
                }
            }
        }
        match path {
            "/healthz" => text(200, "ok"),
            "/pods" => answered(200, "application/json", self.pod_list()),
            "/configz" => answered(200, "application/json", self.configz().unwrap_or_default().to_string()),
            "/metrics" => {
                text(200, "# HELP kubelet_running_pods Number of pods that have a running pod sandbox\n")
            }
            _ => text(404, "404 page not found\n"),
        }
    }

    /// Returns the Pods of the node as the kubelet lists them.
    fn pod_list(&self) -> String {
        let mut items: Vec<Value> = self.pods().iter().map(|pod| Value::clone(pod)).collect();
        let statics = self.lock().runtime.pods.clone();
        items.extend(statics.into_values());
        for item in &mut items {
            if let Some(fields) = item.as_object_mut() {
                fields.retain(|name, _| matches!(name.as_str(), "metadata" | "spec" | "status"));
            }
        }
        let mut list = Map::new();
        list.insert("kind".to_owned(), "PodList".into());
        list.insert("apiVersion".to_owned(), "v1".into());
        list.insert("metadata".to_owned(), json!({}));
        list.insert("items".to_owned(), items.into());
        Value::Object(list).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str) -> Result<(Value, Vec<String>), String> {
        let mut configuration = DEFAULTS.clone();
        let mut unknown = Vec::new();
        let given = parse_yaml(text).unwrap();
        merge(&mut configuration, &DEFAULTS, &OMITTED, &given, "", &mut unknown)?;
        Ok((configuration, unknown))
    }

    #[test]
    fn a_file_is_laid_over_the_defaults() {
        let text = "authentication: {anonymous: {enabled: true}, x509: {clientCAFile: /ca}}\nsyncFrequency: 0s\n\
                    streamingConnectionIdleTimeout: 300s\nreadOnlyPort: 10255\nprotectKernelDefaults: false\n";
        let (configuration, unknown) = merged(text).unwrap();
        assert_eq!(unknown, [""; 0]);
        assert_eq!(configuration["authentication"]["anonymous"]["enabled"], true);
        assert_eq!(configuration["authentication"]["webhook"]["enabled"], true);
        assert_eq!(configuration["syncFrequency"], "1m0s");
        assert_eq!(configuration["streamingConnectionIdleTimeout"], "5m0s");
        assert_eq!(configuration["readOnlyPort"], 10255);
        assert!(configuration.get("protectKernelDefaults").is_none());
    }

    #[test]
    fn a_value_of_another_type_is_refused_and_an_unknown_field_told() {
        assert_eq!(
            merged("authentication: {anonymous: {enabled: \"nope\"}}").unwrap_err(),
            "json: cannot unmarshal string into Go struct field \
             KubeletAnonymousAuthentication.authentication.anonymous.enabled of type bool"
        );
        assert_eq!(merged("readOnlyPrt: 0").unwrap().1, ["readOnlyPrt"]);
    }

    #[test]
    fn what_kubeadm_writes_is_read() {
        let text = include_str!("layout/kubelet.yaml");
        let (configuration, unknown) = merged(text).unwrap();
        assert_eq!(unknown, [""; 0]);
        assert_eq!(configuration["staticPodPath"], "/etc/kubernetes/manifests");
        assert_eq!(configuration["rotateCertificates"], true);
    }
}
