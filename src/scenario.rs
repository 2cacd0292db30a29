//! A scenario as the rest of the lab uses it: one variant, rendered and found valid. How it is written, parsed,
//! checked and found lies in the modules below; nothing here touches a cluster.

mod blocks;
pub mod catalog;
pub mod code;
pub(crate) mod fault;
mod files;
mod lint;
mod load;
pub(crate) mod raw;
mod render;
pub mod schema;
pub(crate) mod structure;
mod validate;
mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::CheckKind;
use crate::cluster::Capability;
use crate::curriculum::{ResourceId, TopicId};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Names a scenario; unique in a catalog, and the name of its folder.
    ScenarioId
}
name! {
    /// Names a check; unique in its scenario.
    CheckId
}

/// The number that names and values are drawn from: the same number gives the same draw on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Variant(pub u32);

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What checks are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Points(pub u32);

impl std::ops::Add for Points {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Points {
    type Output = Self;

    /// Subtracts, never below zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Points {
    fn sum<I: Iterator<Item = Self>>(points: I) -> Self {
        points.fold(Self::default(), std::ops::Add::add)
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much a scenario asks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// Up to 4 minutes.
    Quick,
    /// Up to 9 minutes.
    Core,
    /// Up to 14 minutes.
    Deep,
}

impl Difficulty {
    /// Returns the longest time that is still of this difficulty.
    pub fn most_minutes(self) -> u32 {
        match self {
            Self::Quick => 4,
            Self::Core => 9,
            Self::Deep => 14,
        }
    }

    /// Returns the difficulty that a time belongs to; none for a time beyond every difficulty.
    pub fn of_minutes(minutes: u32) -> Option<Self> {
        [Self::Quick, Self::Core, Self::Deep].into_iter().find(|level| minutes <= level.most_minutes())
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quick => "quick",
            Self::Core => "core",
            Self::Deep => "deep",
        })
    }
}

/// One variant of a scenario, rendered and valid.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub id: ScenarioId,
    /// Its title; the same for every variant.
    pub title: String,
    /// The topic that it trains; track, domain, weight and study links follow from it.
    pub topic: TopicId,
    /// How much it asks for.
    pub difficulty: Difficulty,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// What it needs of a cluster.
    pub needs: BTreeSet<Capability>,
    /// The number that it was drawn from.
    pub variant: Variant,
    /// What was drawn, by the name of the variable.
    pub values: BTreeMap<String, String>,
    /// The task text, Markdown.
    pub task: String,
    /// What brings a cluster into the state that the task starts from, in order.
    pub seed: Vec<SeedStep>,
    /// What an attacker does with the state before the fix.
    pub attack: Option<Attack>,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<CheckItem>,
    /// The hints, in the order in which they are given.
    pub hints: Vec<String>,
    /// The solution.
    pub solution: Solution,
    /// What proves that the checks tell right from wrong.
    pub proofs: Proofs,
    /// Files that solution, attack and proofs may use, by their path in the scenario's folder.
    pub step_files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Scenario {
    /// Returns what all checks together are worth.
    pub fn points(&self) -> Points {
        self.checks.iter().map(CheckItem::points).sum()
    }

    /// Finds a check.
    pub fn check(&self, id: &CheckId) -> Option<&CheckItem> {
        self.checks.iter().find(|check| check.id == *id)
    }
}

/// One check: what is asked, what it is worth, and what to tell the learner.
#[derive(Debug, Clone)]
pub struct CheckItem {
    /// Its name.
    pub id: CheckId,
    /// What it does to the score.
    pub role: Role,
    /// What must hold, in words.
    pub describe: String,
    /// Why it matters.
    pub why: String,
    /// What to read; never empty.
    pub read: Vec<ResourceId>,
    /// How it is judged.
    pub assert: CheckKind,
    /// How long judging may take.
    pub deadline: Duration,
}

impl CheckItem {
    /// Returns what it is worth; nothing for a gate.
    pub fn points(&self) -> Points {
        match self.role {
            Role::Scored(points) => points,
            Role::Gate(_) => Points::default(),
        }
    }

    /// Tells whether it is a gate.
    pub fn is_gate(&self) -> bool {
        matches!(self.role, Role::Gate(_))
    }
}

/// What a check does to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It earns points when it passes; at least one.
    Scored(Points),
    /// It is true before anything is done and earns nothing; when it fails, something was broken.
    Gate(GateCost),
}

/// What a broken gate costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateCost {
    /// Everything: the task earns nothing.
    Everything,
    /// That many points, at least one.
    Points(Points),
}

/// One step of the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedStep {
    /// Objects to apply, each document in order.
    Apply {
        /// The manifest's path in the scenario's folder, for messages.
        file: PathBuf,
        /// The objects, each with an apiVersion, a kind and a name.
        objects: Vec<serde_json::Value>,
    },
    /// Waits until all workloads of a namespace are ready.
    WaitReady {
        /// The namespace.
        namespace: String,
        /// How long.
        timeout: Duration,
    },
    /// Writes a file into the learner's task folder.
    TaskFile {
        /// The path in the task folder.
        to: PathBuf,
        /// The content.
        content: Vec<u8>,
        /// The permission bits.
        mode: u32,
    },
    /// Writes a file onto a node.
    NodeFile {
        /// The node's name.
        node: String,
        /// The absolute path there.
        to: String,
        /// The content.
        content: Vec<u8>,
        /// The permission bits.
        mode: u32,
        /// `user:group`.
        owner: String,
    },
    /// Runs a shell script on a node as root; it must end with 0.
    NodeRun {
        /// The node's name.
        node: String,
        /// The script.
        script: String,
    },
}

/// What the seed lets an attacker do: works before the fix, is refused after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack {
    /// What it does, in words; shown with the grade.
    pub describe: String,
    /// What the attacker types.
    pub run: String,
    /// What it must give before the fix.
    pub before: Expectation,
    /// What it must give after the fix.
    pub after: Expectation,
}

/// What a run of steps must give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// The exit status.
    pub exit: i32,
    /// Texts that stdout contains.
    pub output: Vec<String>,
    /// Texts that stderr contains.
    pub error: Vec<String>,
}

impl Expectation {
    /// Says how an output differs from what is expected; nothing when it does not.
    pub fn mismatch(&self, exit: i32, stdout: &str, stderr: &str) -> Option<String> {
        if exit != self.exit {
            return Some(format!("exit status {exit}, expected {}", self.exit));
        }
        let missing = |texts: &[String], all: &str| texts.iter().find(|text| !all.contains(*text)).cloned();
        if let Some(text) = missing(&self.output, stdout) {
            return Some(format!("stdout does not contain `{text}`"));
        }
        missing(&self.error, stderr).map(|text| format!("stderr does not contain `{text}`"))
    }
}

/// The solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// The explanation, Markdown.
    pub explain: String,
    /// What a learner would type.
    pub run: String,
}

/// What proves that the checks tell right from wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Other fixes, which must earn everything.
    pub right: Vec<RightProof>,
    /// Fixes that must not.
    pub wrong: Vec<WrongProof>,
}

/// Another fix that must earn everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightProof {
    /// What it does.
    pub describe: String,
    /// What a learner would type.
    pub run: String,
}

/// A fix that must not earn everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongProof {
    /// What it does.
    pub describe: String,
    /// What a learner would type.
    pub run: String,
    /// Exactly the checks whose points are awarded.
    pub earns: BTreeSet<CheckId>,
    /// Exactly the gates that it breaks.
    pub breaks: BTreeSet<CheckId>,
}
