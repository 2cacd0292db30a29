//! The configuration of ImagePolicyWebhook, and the kubeconfig that says where the backend is. Files are read by whoever
//! knows the machine that they are on.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::sim::api::parse_yaml;
use crate::sim::object::Fields as _;
use crate::sim::outbound::{Identity, Target, Trust};

/// What the plugin is configured with.
#[derive(Debug, Clone)]
pub struct Configuration {
    pub(super) target: Target,
    pub(super) allow_ttl: Duration,
    pub(super) deny_ttl: Duration,
    pub(super) retry_backoff: Duration,
    pub(super) default_allow: bool,
}

/// One of the times in the configuration: its unit, what it may be, and what it is when nothing is said.
struct Bounds {
    unit: Duration,
    least: Duration,
    most: Duration,
    default: Duration,
}

const TTL_MOST: Duration = Duration::from_secs(30 * 60);

impl Bounds {
    fn read(&self, value: Option<i64>) -> Result<Duration, String> {
        let value = match value {
            Some(-1) => return Ok(Duration::ZERO),
            None | Some(0) => return Ok(self.default),
            Some(value) => value,
        };
        let time = u32::try_from(value).ok().map(|times| self.unit * times);
        match time.filter(|time| (self.least..=self.most).contains(time)) {
            Some(time) => Ok(time),
            None => Err(format!(
                "valid value is between {} and {}, got {}",
                shown(self.least.as_millis()),
                shown(self.most.as_millis()),
                shown(u128::from(value.unsigned_abs()) * self.unit.as_millis())
            )),
        }
    }
}

/// Writes a time as Go does.
fn shown(millis: u128) -> String {
    let (minutes, seconds) = (millis / 60_000, millis / 1000 % 60);
    match millis {
        0..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{seconds}s"),
        _ if minutes >= 60 => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
        _ => format!("{minutes}m{seconds}s"),
    }
}

impl Configuration {
    /// Reads the plugin's configuration: a document with `imagePolicy`. `read` returns the content of a file.
    ///
    /// # Errors
    /// Why the server would not start with it.
    pub fn read(document: &Value, read: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let policy = document.at("imagePolicy");
        let second = Duration::from_secs(1);
        let ttl = |default| Bounds { unit: second, least: second, most: TTL_MOST, default };
        let millis = Duration::from_millis(1);
        let backoff = Bounds {
            unit: millis,
            least: millis,
            most: 5 * 60 * second,
            default: Duration::from_millis(500),
        };
        let retry_backoff = backoff.read(policy.int("retryBackoff"))?;
        let allow_ttl = ttl(5 * 60 * second).read(policy.int("allowTTL"))?;
        let deny_ttl = ttl(30 * second).read(policy.int("denyTTL"))?;
        let path = policy.text("kubeConfigFile");
        if path.is_empty() {
            return Err("invalid configuration: no configuration has been provided, try setting \
                        KUBERNETES_MASTER environment variable"
                .to_owned());
        }
        let text = read(path).ok_or_else(|| format!("stat {path}: no such file or directory"))?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = target(&text, &|file| {
            let file = if file.starts_with('/') { file.to_owned() } else { format!("{folder}/{file}") };
            read(&file).ok_or_else(|| format!("open {file}: no such file or directory"))
        })?;
        let default_allow = policy.truth("defaultAllow").unwrap_or_default();
        Ok(Self { target, allow_ttl, deny_ttl, retry_backoff, default_allow })
    }
}

/// Finds the backend in a kubeconfig.
fn target(kubeconfig: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Target, String> {
    let config = parse_yaml(kubeconfig)?;
    let invalid = |what: String| format!("invalid configuration: {what}");
    let named = |list: &str, name: &str| -> Option<Value> {
        config.items(list).iter().find(|entry| entry.text("name") == name).cloned()
    };
    let current = config.text("current-context");
    let context = named("contexts", current).map(|context| context.at("context").clone());
    let context = match (context, current) {
        (Some(context), _) => context,
        (None, "") => return Err(invalid("no server found for cluster \"\"".to_owned())),
        (None, name) => return Err(invalid(format!("context was not found for specified context: {name}"))),
    };
    let (cluster, user) = (context.text("cluster"), context.text("user"));
    let found = named("clusters", cluster)
        .ok_or_else(|| invalid(format!("cluster {cluster:?} does not exist")))?
        .at("cluster")
        .clone();
    let user = named("users", user).map(|user| user.at("user").clone()).unwrap_or_default();
    // Data in the file itself goes before a file that it names.
    let material = |of: &Value, field: &str| -> Result<String, String> {
        match (of.text(&format!("{field}-data")), of.text(field)) {
            ("", "") => Ok(String::new()),
            ("", path) => read(path),
            (data, _) => {
                let bytes = STANDARD.decode(data).map_err(|error| error.to_string())?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    };
    let authority = material(&found, "certificate-authority")?;
    let trust = if found.truth("insecure-skip-tls-verify") == Some(true) {
        Trust::Anything
    } else {
        Trust::SignedBy(&authority)
    };
    let identity =
        Identity { certificate: material(&user, "client-certificate")?, key: material(&user, "client-key")? };
    let identity = (!identity.certificate.is_empty()).then_some(&identity);
    let server = found.text("server");
    if server.is_empty() {
        return Err(invalid(format!("no server found for cluster {cluster:?}")));
    }
    let target = Target::url(server, trust, identity)?;
    Ok(match (user.text("token"), user.text("username"), user.text("password")) {
        ("", "", _) => target,
        ("", name, password) => {
            target.with_authorization(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
        }
        (token, ..) => target.with_authorization(format!("Bearer {token}")),
    })
}
