//! `kubeadm` and `kubelet`: what they say of a node and its certificates.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::options::{Known, Options};
use super::table::columns;
use super::{Cx, Done};

/// What the cluster is.
const VERSION: &str = "v1.34.9";
const GLOBAL: [Known; 6] = [
    ("kubeconfig", None, true),
    ("cert-dir", None, true),
    ("config", None, true),
    ("v", Some('v'), true),
    ("rootfs", None, true),
    ("output", Some('o'), true),
];

/// Certificates with where they are, whose they are.
const CERTIFICATES: [(&str, &str, &str); 11] = [
    ("admin.conf", "/etc/kubernetes/admin.conf", "ca"),
    ("apiserver", "/etc/kubernetes/pki/apiserver.crt", "ca"),
    ("apiserver-etcd-client", "/etc/kubernetes/pki/apiserver-etcd-client.crt", "etcd-ca"),
    ("apiserver-kubelet-client", "/etc/kubernetes/pki/apiserver-kubelet-client.crt", "ca"),
    ("controller-manager.conf", "/etc/kubernetes/controller-manager.conf", "ca"),
    ("etcd-healthcheck-client", "/etc/kubernetes/pki/etcd/healthcheck-client.crt", "etcd-ca"),
    ("etcd-peer", "/etc/kubernetes/pki/etcd/peer.crt", "etcd-ca"),
    ("etcd-server", "/etc/kubernetes/pki/etcd/server.crt", "etcd-ca"),
    ("front-proxy-client", "/etc/kubernetes/pki/front-proxy-client.crt", "front-proxy-ca"),
    ("scheduler.conf", "/etc/kubernetes/scheduler.conf", "ca"),
    ("super-admin.conf", "/etc/kubernetes/super-admin.conf", "ca"),
];
const AUTHORITIES: [(&str, &str); 3] = [
    ("ca", "/etc/kubernetes/pki/ca.crt"),
    ("etcd-ca", "/etc/kubernetes/pki/etcd/ca.crt"),
    ("front-proxy-ca", "/etc/kubernetes/pki/front-proxy-ca.crt"),
];

/// `kubelet --version`; a node's kubelet is a unit, and is started as one.
pub(super) fn kubelet(cx: &Cx) -> Done {
    match cx.args() {
        [option] if option == "--version" || option == "--version=true" => {
            Done::out(format!("Kubernetes {VERSION}\n"))
        }
        _ => cx.not_simulated("running the kubelet by hand: it is the unit `kubelet`, and this"),
    }
}

/// `kubeadm`.
pub(super) fn kubeadm(cx: &Cx) -> Done {
    let known: Vec<Known> = [
        GLOBAL.as_slice(),
        &[
            ("print-join-command", None, false),
            ("ttl", None, true),
            ("description", None, true),
            ("usages", None, true),
            ("groups", None, true),
            ("certificate-key", None, true),
            ("yes", Some('y'), false),
            ("dry-run", None, false),
            ("allow-experimental-upgrades", None, false),
            ("ignore-preflight-errors", None, true),
            ("print-config", None, false),
        ],
    ]
    .concat();
    let options = match Options::read(cx.args(), &known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    for refused in ["certificate-key", "config", "rootfs", "cert-dir", "print-config"] {
        if options.has(refused) {
            return cx.not_simulated(&format!("option `--{refused}`"));
        }
    }
    let words: Vec<&str> = options.rest.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version"] => version(cx, &options),
        ["certs", "check-expiration"] => expiration(cx),
        ["token", "create", rest @ ..] => create_token(cx, &options, rest.first().copied()),
        ["token", "list"] => list_tokens(cx, &options),
        ["token", "generate"] => Done::out(format!("{}\n", fresh_token())),
        ["token", "delete", tokens @ ..] if !tokens.is_empty() => delete_tokens(cx, tokens),
        ["upgrade", "plan", rest @ ..] => plan(cx, rest.first().copied()),
        ["upgrade", "apply", version] => upgrade(cx, version),
        ["upgrade", "node"] => upgrade_node(cx),
        [] => Done::out(
            "kubeadm bootstraps clusters. Simulated are: certs check-expiration, token, upgrade, version\n",
        ),
        words => cx.not_simulated(&format!("`{}`", words.join(" "))),
    }
}

fn version(cx: &Cx, options: &Options) -> Done {
    let (major, minor) = ("1", "34");
    match options.get("output") {
        None => Done::out(format!(
            "kubeadm version: &version.Info{{Major:\"{major}\", Minor:\"{minor}\", GitVersion:\"{VERSION}\", \
             GitTreeState:\"clean\", Compiler:\"gc\", Platform:\"linux/amd64\"}}\n"
        )),
        Some("short") => Done::out(format!("{VERSION}\n")),
        Some("json") => Done::out(format!(
            "{:#}\n",
            json!({ "clientVersion": { "major": major, "minor": minor, "gitVersion": VERSION, "platform": "linux/amd64" } })
        )),
        Some(other) => cx.not_simulated(&format!("output `{other}`")),
    }
}

/// What the API server would answer when it is not there.
fn refused(cx: &Cx, what: &str) -> Option<Done> {
    if cx.api_answers() {
        return None;
    }
    let server = cx.server();
    let host = server.trim_start_matches("https://");
    Some(Done::fail(
        1,
        format!(
            "{what}: Get \"{server}/api/v1/namespaces/kube-system/configmaps/kubeadm-config?timeout=10s\": dial tcp {host}: \
             connect: connection refused\nTo see the stack trace of this error execute with --v=5 or higher\n"
        ),
    ))
}

/// Reads a certificate out of a file: PEM, or a kubeconfig that holds it.
fn certificate(cx: &Cx, path: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;

    let text = cx.host.tree().read_text(path).ok()?;
    let pem = match text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data:")) {
        Some(data) => base64::engine::general_purpose::STANDARD.decode(data.trim()).ok()?,
        None => text.into_bytes(),
    };
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    Some(pem.contents)
}

fn end(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

/// How long it is until then, as kubeadm shortens it.
fn left(now: Timestamp, then: Timestamp) -> String {
    let seconds = then.duration_since(now).as_secs();
    if then < now {
        return "<invalid>".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    match (hours, days, years) {
        (0, ..) if minutes == 0 => format!("{seconds}s"),
        (0, ..) => format!("{minutes}m"),
        (1..24, ..) => format!("{hours}h"),
        (_, 1..365, _) => format!("{days}d"),
        _ => format!("{years}y"),
    }
}

fn expiration(cx: &Cx) -> Done {
    let now = cx.host.now();
    let intro = match cx.api_answers() {
        true => {
            "[check-expiration] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \
                 \"kube-system\"...\n[check-expiration] Use 'kubeadm init phase upload-config kubeadm --config \
                 your-config-file' to re-upload it.\n\n"
        }
        false => {
            "[check-expiration] Reading configuration from the \"kubeadm-config\" ConfigMap in namespace \
                  \"kube-system\"...\n[check-expiration] Error reading configuration from the Cluster. Falling back to \
                  default configuration\n\n"
        }
    };
    let day = |at: Timestamp| at.strftime("%b %d, %Y %H:%M UTC").to_string();
    let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![text(&[
        "CERTIFICATE",
        "EXPIRES",
        "RESIDUAL TIME",
        "CERTIFICATE AUTHORITY",
        "EXTERNALLY MANAGED",
    ])];
    for (name, path, authority) in CERTIFICATES {
        match certificate(cx, path).and_then(|der| end(&der)) {
            Some(at) => rows.push(vec![
                name.to_owned(),
                day(at),
                left(now, at),
                authority.to_owned(),
                "no      ".to_owned(),
            ]),
            None => rows.push(text(&["!MISSING!", name, "", "", ""])),
        }
    }
    let mut authorities =
        vec![text(&["CERTIFICATE AUTHORITY", "EXPIRES", "RESIDUAL TIME", "EXTERNALLY MANAGED"])];
    for (name, path) in AUTHORITIES {
        match certificate(cx, path).and_then(|der| end(&der)) {
            Some(at) => {
                authorities.push(vec![name.to_owned(), day(at), left(now, at), "no      ".to_owned()])
            }
            None => authorities.push(text(&["!MISSING!", name, "", ""])),
        }
    }
    Done::out(format!("{intro}{}\n{}", columns(&rows, 0, 3), columns(&authorities, 0, 3)))
}

fn fresh_token() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let bytes = crate::sim::random::bytes::<22>();
    let text: String =
        bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    format!("{}.{}", &text[..6], &text[6..])
}

/// The digest by which a joining node knows the authority.
fn authority_digest(cx: &Cx) -> Option<String> {
    let der = certificate(cx, "/etc/kubernetes/pki/ca.crt")?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate.public_key().raw);
    Some(crate::sim::random::hex(digest.as_ref()))
}

/// Reads `24h0m0s`, `0`, `90m`.
fn lifetime(text: &str) -> Option<SignedDuration> {
    if text == "0" {
        return Some(SignedDuration::ZERO);
    }
    let span: jiff::Span = text.parse().ok()?;
    SignedDuration::try_from(span).ok()
}

fn create_token(cx: &Cx, options: &Options, given: Option<&str>) -> Done {
    if let Some(done) = refused(cx, "failed to create or update bootstrap token with name bootstrap-token") {
        return done;
    }
    let token = given.map_or_else(fresh_token, str::to_owned);
    let parts = token.split_once('.').filter(|(id, secret)| {
        let fits = |text: &str, length| {
            text.len() == length && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        fits(id, 6) && fits(secret, 16)
    });
    let Some((id, secret)) = parts else {
        return Done::fail(
            1,
            format!(
                "error: the bootstrap token {token:?} was not of the form \"\\\\A([a-z0-9]{{6}})\\\\.([a-z0-9]{{16}})\\\\z\"\n"
            ),
        );
    };
    let Some(ttl) = lifetime(options.get("ttl").unwrap_or("24h")) else {
        return Done::fail(1, "error: invalid argument for \"--ttl\" flag: time: invalid duration\n");
    };
    let usages = options.get("usages").unwrap_or("signing,authentication");
    let mut data: BTreeMap<String, String> = BTreeMap::from([
        ("token-id".to_owned(), id.to_owned()),
        ("token-secret".to_owned(), secret.to_owned()),
        (
            "auth-extra-groups".to_owned(),
            options.get("groups").unwrap_or("system:bootstrappers:kubeadm:default-node-token").to_owned(),
        ),
    ]);
    for usage in usages.split(',') {
        if !["signing", "authentication"].contains(&usage) {
            return Done::fail(
                1,
                format!(
                    "error: invalid bootstrap token usage string: {usage}, valid usage options: [authentication signing]\n"
                ),
            );
        }
        data.insert(format!("usage-bootstrap-{usage}"), "true".to_owned());
    }
    if !ttl.is_zero() {
        let end = cx.host.now().checked_add(ttl).unwrap_or(Timestamp::MAX);
        data.insert("expiration".to_owned(), end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    if let Some(description) = options.get("description") {
        data.insert("description".to_owned(), description.to_owned());
    }
    let secret_object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "stringData": data,
    });
    if !options.has("dry-run")
        && let Err(message) = cx.create(secret_object)
    {
        return Done::fail(
            1,
            format!(
                "error: failed to create or update bootstrap token with name bootstrap-token-{id}: {message}\n"
            ),
        );
    }
    if options.has("print-join-command") {
        let server = cx.server();
        let Some(digest) = authority_digest(cx) else {
            return Done::fail(1, "error: couldn't load CA certificate\n");
        };
        return Done::out(format!(
            "kubeadm join {} --token {token} --discovery-token-ca-cert-hash sha256:{digest} \n",
            server.trim_start_matches("https://")
        ));
    }
    Done::out(format!("{token}\n"))
}

fn tokens(cx: &Cx) -> Vec<BTreeMap<String, String>> {
    use base64::Engine as _;

    let decode = |value: &Value| {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(value.as_str().unwrap_or_default())
            .unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let secrets = cx
        .list("secrets", "kube-system")
        .into_iter()
        .filter(|secret| secret["type"] == "bootstrap.kubernetes.io/token");
    secrets
        .filter_map(|secret| {
            let data = secret["data"].as_object()?;
            Some(data.iter().map(|(name, value)| (name.clone(), decode(value))).collect())
        })
        .collect()
}

fn list_tokens(cx: &Cx, options: &Options) -> Done {
    if let Some(done) = refused(cx, "failed to list bootstrap tokens") {
        return done;
    }
    if let Some(output) = options.get("output").filter(|output| *output != "text") {
        return cx.not_simulated(&format!("output `{output}`"));
    }
    let now = cx.host.now();
    let mut rows = vec![
        ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"].map(str::to_owned).to_vec(),
    ];
    for data in tokens(cx) {
        let text = |name: &str| data.get(name).cloned().unwrap_or_default();
        let end: Option<Timestamp> = data.get("expiration").and_then(|at| at.parse().ok());
        let usages: Vec<&str> = ["authentication", "signing"]
            .into_iter()
            .filter(|usage| data.contains_key(&format!("usage-bootstrap-{usage}")))
            .collect();
        let or_none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
        rows.push(vec![
            format!("{}.{}", text("token-id"), text("token-secret")),
            end.map_or_else(|| "<forever>".to_owned(), |end| left(now, end)),
            end.map_or_else(|| "<never>".to_owned(), |_| text("expiration")),
            or_none(usages.join(",")),
            or_none(text("description")),
            or_none(text("auth-extra-groups")),
        ]);
    }
    if rows.len() == 1 {
        return Done::default();
    }
    Done::out(columns(&rows, 0, 3))
}

fn delete_tokens(cx: &Cx, given: &[&str]) -> Done {
    if let Some(done) = refused(cx, "failed to delete bootstrap token") {
        return done;
    }
    let mut done = Done::default();
    for token in given {
        let id = token.split('.').next().unwrap_or_default();
        match cx.delete("secrets", "kube-system", &format!("bootstrap-token-{id}")) {
            Ok(()) => done.say(&format!("bootstrap token {id:?} deleted\n")),
            Err(message) => {
                done.err.push_str(&format!("error: failed to delete bootstrap token {id:?}: {message}\n"));
                done.status = 1;
            }
        }
    }
    done
}

/// What is said before anything about versions.
fn preflight() -> String {
    "[preflight] Running pre-flight checks.\n[upgrade/config] Reading configuration from the \"kubeadm-config\" ConfigMap in \
     namespace \"kube-system\"...\n[upgrade/config] Use 'kubeadm init phase upload-config kubeadm --config your-config-file' to \
     re-upload it.\n[upgrade] Running cluster health checks\n"
        .to_owned()
}

fn plan(cx: &Cx, wanted: Option<&str>) -> Done {
    if let Some(done) = refused(cx, "[upgrade/health] FATAL: couldn't create a Kubernetes client from file") {
        return done;
    }
    if let Some(version) = wanted.filter(|version| *version != VERSION) {
        return Done::fail(
            1,
            format!(
                "{}error: this node has kubeadm {VERSION} alone, and {version} is not to be had\n",
                preflight()
            ),
        );
    }
    let bare = VERSION.trim_start_matches('v');
    Done::out(format!(
        "{}[upgrade] Fetching available versions to upgrade to\n[upgrade/versions] Cluster version: {bare}\n[upgrade/versions] \
         kubeadm version: {VERSION}\n[upgrade/versions] Target version: {VERSION}\n[upgrade/versions] Latest version in the v1.34 \
         series: {VERSION}\n",
        preflight()
    ))
}

fn upgrade(cx: &Cx, wanted: &str) -> Done {
    if let Some(done) = refused(cx, "[upgrade/health] FATAL: couldn't create a Kubernetes client from file") {
        return done;
    }
    let wanted = if wanted.starts_with('v') { wanted.to_owned() } else { format!("v{wanted}") };
    if wanted == VERSION {
        return cx.not_simulated(&format!(
            "writing the manifests of {VERSION} anew, which the cluster has already,"
        ));
    }
    Done::fail(
        1,
        format!(
            "{}[upgrade/version] FATAL: the --version argument is invalid due to these errors:\n\n\t- Specified version to upgrade \
             to {wanted:?} is not the version of kubeadm, {VERSION:?}; no other is to be had on this node\n",
            preflight()
        ),
    )
}

fn upgrade_node(cx: &Cx) -> Done {
    if let Some(done) = refused(cx, "[upgrade] FATAL: couldn't create a Kubernetes client from file") {
        return done;
    }
    cx.not_simulated(&format!("`upgrade node`: every node has {VERSION} already, and this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_its_largest_unit() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, text) in [
            (-5, "<invalid>"),
            (59, "59s"),
            (7200, "2h"),
            (86_000, "23h"),
            (31_449_600, "364d"),
            (315_000_000, "9y"),
        ] {
            assert_eq!(left(at(0), at(seconds)), text);
        }
    }

    #[test]
    fn a_token_has_the_form_that_the_api_asks_for() {
        let token = fresh_token();
        let form = regex::Regex::new("^[a-z0-9]{6}\\.[a-z0-9]{16}$").unwrap();
        assert!(form.is_match(&token), "{token}");
        assert_ne!(token, fresh_token());
    }
}
