//! The configuration of ImagePolicyWebhook, and the kubeconfig that says where the backend is. Files are read by whoever
//! knows the machine that they are on.

use std::time::Duration;

use serde_json::Value;

use crate::sim::object::Fields as _;
use crate::sim::outbound::Target;

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
        let target = Target::from_kubeconfig(&text, &|file| {
            let file = if file.starts_with('/') { file.to_owned() } else { format!("{folder}/{file}") };
            read(&file).ok_or_else(|| format!("open {file}: no such file or directory"))
        })?;
        let default_allow = policy.truth("defaultAllow").unwrap_or_default();
        Ok(Self { target, allow_ttl, deny_ttl, retry_backoff, default_allow })
    }
}
