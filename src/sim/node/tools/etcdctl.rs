//! `etcdctl`: what lies in etcd, for those who show certificates that it trusts.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::options::{Known, Options};
use super::{Cx, Done};
use crate::sim::node::host::{EtcdClient, EtcdKey};

/// How long a client waits for a server that does not answer it; five seconds in reality.
const PATIENCE: Duration = Duration::from_millis(1500);
const KNOWN: &[Known] = &[
    ("endpoints", None, true),
    ("cacert", None, true),
    ("cert", None, true),
    ("key", None, true),
    ("write-out", Some('w'), true),
    ("hex", None, false),
    ("prefix", None, false),
    ("from-key", None, false),
    ("keys-only", None, false),
    ("print-value-only", None, false),
    ("count-only", None, false),
    ("limit", None, true),
    ("command-timeout", None, true),
    ("dial-timeout", None, true),
    ("insecure-skip-tls-verify", None, false),
    ("insecure-transport", None, true),
    ("consistency", None, true),
    ("cluster", None, false),
];

pub(super) fn run(cx: &Cx) -> Done {
    let options = match Options::read(cx.args(), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    for refused in ["insecure-skip-tls-verify", "insecure-transport", "from-key"] {
        if options.has(refused) {
            return cx.not_simulated(&format!("option `--{refused}`"));
        }
    }
    let words: Vec<&str> = options.rest.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version"] => Done::out("etcdctl version: 3.5.16\nAPI version: 3.5\n"),
        ["get", key] => get(cx, &options, key),
        ["get", _, _] => cx.not_simulated("`get` of a range"),
        ["endpoint", "health"] => health(cx, &options),
        ["endpoint", "status"] => status(cx, &options),
        ["member", "list"] => members(cx, &options),
        ["snapshot", "save", file] => snapshot(cx, &options, file),
        [] => Done::fail(1, "etcdctl: a command is needed, such as `get`\n"),
        ["get"] => Done::fail(
            1,
            "Error: get command needs one argument as key and an optional argument as range_end\n",
        ),
        [verb, ..] => cx.not_simulated(&format!("`{verb}`")),
    }
}

/// Where to and with what, from options and, where they are missing, the environment.
fn client(cx: &Cx, options: &Options) -> Result<EtcdClient, Done> {
    let setting = |option: &str, variable: &str| {
        options.get(option).map(str::to_owned).or_else(|| cx.ask.env.get(variable).cloned())
    };
    let file = |option: &str, variable: &str| match setting(option, variable).filter(|path| !path.is_empty())
    {
        None => Ok(None),
        Some(path) => match cx.host.tree().read_text(&cx.path(&path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let reason = crate::sim::node::host::tree::reason(&error);
                Err(Done::fail(128, format!("Error: open {path}: {reason}\n")))
            }
        },
    };
    let endpoints = setting("endpoints", "ETCDCTL_ENDPOINTS").unwrap_or_else(|| "127.0.0.1:2379".to_owned());
    if endpoints.contains(',') {
        return Err(cx.not_simulated("more than one endpoint"));
    }
    let client = EtcdClient {
        endpoint: endpoints,
        authority: file("cacert", "ETCDCTL_CACERT")?,
        certificate: file("cert", "ETCDCTL_CERT")?,
        key: file("key", "ETCDCTL_KEY")?,
    };
    if client.certificate.is_some() != client.key.is_some() {
        let message = "Error: KeyFile and CertFile must both be present";
        return Err(Done::fail(128, format!("{message}\n")));
    }
    Ok(client)
}

fn address(client: &EtcdClient) -> &str {
    client.endpoint.split_once("://").map_or(client.endpoint.as_str(), |(_, address)| address)
}

/// The warning of the client's library before the error itself.
fn warning(cx: &Cx, client: &EtcdClient, why: &str) -> String {
    let ts = cx.host.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let error = format!(
        "rpc error: code = DeadlineExceeded desc = latest balancer error: last connection error: connection error: desc = \
         {why}"
    );
    // The order of the fields is the logger's own.
    let entry = format!(
        "{{\"level\":\"warn\",\"ts\":\"{ts}\",\"logger\":\"etcd-client\",\"caller\":\"v3/retry_interceptor.go:63\",\
         \"msg\":\"retrying of unary invoker failed\",\"target\":\"etcd-endpoints://0xc0000d7680/{}\",\"attempt\":0,\
         \"error\":{}}}",
        address(client),
        json!(error)
    );
    format!("{entry}\n")
}

fn unreachable(cx: &Cx, client: &EtcdClient, why: &str) -> Done {
    let mut done = Done::fail(1, format!("{}Error: context deadline exceeded\n", warning(cx, client, why)));
    done.after = PATIENCE;
    done
}

fn get(cx: &Cx, options: &Options, key: &str) -> Done {
    let client = match client(cx, options) {
        Ok(client) => client,
        Err(done) => return done,
    };
    let mut found = match cx.host.etcd(&client, key, options.has("prefix")) {
        Ok(found) => found,
        Err(why) => return unreachable(cx, &client, &why),
    };
    let count = found.len();
    if let Some(limit) = options.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0)
    {
        found.truncate(limit);
    }
    if options.has("keys-only") {
        found.iter_mut().for_each(|pair| pair.value.clear());
    }
    match options.get("write-out").unwrap_or("simple") {
        "simple" => simple(options, &found),
        "json" => {
            let kvs: Vec<_> = found
                .iter()
                .map(|pair| {
                    let mut kv = json!({
                        "key": STANDARD.encode(&pair.key), "create_revision": pair.revision,
                        "mod_revision": pair.revision, "version": 1,
                    });
                    if !pair.value.is_empty() {
                        kv["value"] = STANDARD.encode(&pair.value).into();
                    }
                    kv
                })
                .collect();
            let mut out = json!({ "header": header(&found) });
            if !kvs.is_empty() && !options.has("count-only") {
                out["kvs"] = kvs.into();
            }
            if count > 0 {
                out["count"] = count.into();
            }
            Done::out(format!("{out}\n"))
        }
        other => cx.not_simulated(&format!("output `{other}`")),
    }
}

fn header(found: &[EtcdKey]) -> serde_json::Value {
    let revision = found.iter().map(|pair| pair.revision).max().unwrap_or(1);
    json!({ "cluster_id": 17_237_436_991_929_493_444_u64, "member_id": 9_372_538_179_322_589_801_u64,
        "revision": revision, "raft_term": 2 })
}

fn simple(options: &Options, found: &[EtcdKey]) -> Done {
    let mut done = Done::default();
    let hex =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes();
    let print = |bytes: &[u8]| if options.has("hex") { hex(bytes) } else { bytes.to_vec() };
    if options.has("count-only") {
        return done;
    }
    for pair in found {
        if !options.has("print-value-only") {
            done.out.extend(print(pair.key.as_bytes()));
            done.out.push(b'\n');
        }
        done.out.extend(print(&pair.value));
        done.out.push(b'\n');
    }
    done
}

fn health(cx: &Cx, options: &Options) -> Done {
    let client = match client(cx, options) {
        Ok(client) => client,
        Err(done) => return done,
    };
    match cx.host.etcd_connect(&client) {
        Ok(()) => Done::out(format!(
            "{} is healthy: successfully committed proposal: took = 24.99744ms\n",
            client.endpoint
        )),
        Err(why) => {
            let warning = warning(cx, &client, &why).replace("etcd-client", "client");
            let mut done = Done::fail(
                1,
                format!(
                    "{warning}{} is unhealthy: failed to commit proposal: context deadline exceeded\nError: unhealthy \
                     cluster\n",
                    client.endpoint
                ),
            );
            done.after = PATIENCE;
            done
        }
    }
}

fn members(cx: &Cx, options: &Options) -> Done {
    let client = match client(cx, options) {
        Ok(client) => client,
        Err(done) => return done,
    };
    if let Err(why) = cx.host.etcd_connect(&client) {
        return unreachable(cx, &client, &why);
    }
    let (name, address) = (cx.host.name(), cx.host.spec().address);
    match options.get("write-out").unwrap_or("simple") {
        "simple" => Done::out(format!(
            "8211f1d0f64f3269, started, {name}, https://{address}:2380, https://{address}:2379, false\n"
        )),
        other => cx.not_simulated(&format!("output `{other}`")),
    }
}

fn status(cx: &Cx, options: &Options) -> Done {
    let client = match client(cx, options) {
        Ok(client) => client,
        Err(done) => return done,
    };
    if let Err(why) = cx.host.etcd_connect(&client) {
        return unreachable(cx, &client, &why);
    }
    if let Some(other) = options.get("write-out").filter(|output| *output != "simple") {
        return cx.not_simulated(&format!("output `{other}`"));
    }
    let keys = cx.host.etcd_keys("/registry/", true);
    let revision = keys.iter().map(|pair| pair.revision).max().unwrap_or(1);
    Done::out(format!(
        "{}, 8211f1d0f64f3269, 3.5.16, 17 MB, true, false, 2, {revision}, {revision}, \n",
        client.endpoint
    ))
}

fn snapshot(cx: &Cx, options: &Options, file: &str) -> Done {
    let client = match client(cx, options) {
        Ok(client) => client,
        Err(done) => return done,
    };
    let keys = match cx.host.etcd(&client, "/registry/", true) {
        Ok(keys) => keys,
        Err(why) => return unreachable(cx, &client, &why),
    };
    let mut content = Vec::new();
    for pair in keys {
        for part in [pair.key.as_bytes(), &pair.value] {
            content.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            content.extend(part);
        }
    }
    match cx.host.tree().write(&cx.path(file), &content, 0o600) {
        Ok(()) => Done::out(format!("Snapshot saved at {file}\n")),
        Err(error) => {
            let reason = crate::sim::node::host::tree::reason(&error);
            Done::fail(1, format!("Error: could not open {file}.part (open {file}.part: {reason})\n"))
        }
    }
}
