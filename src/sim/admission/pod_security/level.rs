//! The levels and versions of the Pod Security Standards, and what a namespace's labels ask for.

use std::fmt;

use serde_json::Value;

use crate::sim::field::{ErrorList, FieldError, Path};

/// The prefix of the labels and audit annotations.
pub(super) const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything goes.
    Privileged,
    /// Known privilege escalations are closed.
    Baseline,
    /// Hardened by current practice.
    Restricted,
}

impl Level {
    /// Reads a level's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// A version of the standards, named after the minor release of Kubernetes 1 that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `v1.N`
    Minor(u64),
    /// `latest`
    Latest,
}

impl Version {
    /// Reads `latest` or `v1.N`.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "latest" {
            return Some(Self::Latest);
        }
        let digits = name.strip_prefix("v1.")?;
        let plain =
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        if plain {
            digits.parse().ok().filter(|minor| *minor <= i64::MAX as u64).map(Self::Minor)
        } else {
            None
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// A level at a version: `baseline:v1.34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl LevelVersion {
    /// What holds where nothing is asked for.
    pub const PRIVILEGED: Self = Self { level: Level::Privileged, version: Version::Latest };
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks for in each mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What refuses a Pod.
    pub enforce: LevelVersion,
    /// What is noted in the audit log.
    pub audit: LevelVersion,
    /// What warns the client.
    pub warn: LevelVersion,
}

impl Default for Policy {
    fn default() -> Self {
        let privileged = LevelVersion::PRIVILEGED;
        Self { enforce: privileged, audit: privileged, warn: privileged }
    }
}

impl Policy {
    /// Reads a namespace's labels over the defaults of the cluster. A policy always results: what cannot be read is
    /// taken as restricted and latest for enforcing, as privileged for audit and warn.
    pub fn of_labels(labels: &Value, defaults: &Self) -> (Self, ErrorList) {
        let mut errors = ErrorList::new();
        let path = Path::new("metadata").child("labels");
        let policy = Self::read(
            defaults,
            |name| labels.get(format!("{PREFIX}{name}")).and_then(Value::as_str),
            |name| path.key(&format!("{PREFIX}{name}")),
            &mut errors,
        );
        (policy, errors)
    }

    pub(super) fn read<'a>(
        defaults: &Self,
        value: impl Fn(&str) -> Option<&'a str>,
        path: impl Fn(&str) -> Path,
        errors: &mut ErrorList,
    ) -> Self {
        let mut policy = *defaults;
        let modes = [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut policy.audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ];
        for (mode, slot, fallback) in modes {
            if let Some(name) = value(mode) {
                slot.level = Level::parse(name).unwrap_or_else(|| {
                    let detail = "must be one of privileged, baseline, restricted";
                    errors.push(FieldError::invalid(&path(mode), name, detail));
                    fallback
                });
            }
            let version = format!("{mode}-version");
            if let Some(name) = value(&version) {
                slot.version = Version::parse(name).unwrap_or_else(|| {
                    let detail = r#"must be "latest" or "v1.x""#;
                    errors.push(FieldError::invalid(&path(&version), name, detail));
                    Version::Latest
                });
            }
        }
        policy
    }
}
