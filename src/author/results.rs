//! What proving scenarios came to: proofs in columns, for a table or JSON.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::scenario::{ScenarioId, Variant};

/// What a proof is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Column {
    /// Nothing was done: nothing is earned, and no check passes but gates.
    Untouched,
    /// The attack works before the fix and is refused after it.
    Attack,
    /// The solution earns everything.
    Solution,
    /// Another fix earns everything.
    Right,
    /// A wrong fix earns and breaks exactly what it says.
    Wrong,
    /// Grading twice gives the same.
    Repeat,
    /// With the API server gone, nothing is judged.
    ApiDown,
}

impl Column {
    /// Every column, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Untouched,
        Self::Attack,
        Self::Solution,
        Self::Right,
        Self::Wrong,
        Self::Repeat,
        Self::ApiDown,
    ];

    /// Returns the head of the column.
    pub fn title(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Attack => "attack",
            Self::Solution => "solution",
            Self::Right => "alternatives",
            Self::Wrong => "wrong fixes",
            Self::Repeat => "repeat",
            Self::ApiDown => "API down",
        }
    }
}

/// One thing that was to be shown.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What it is about.
    pub column: Column,
    /// Which of its sort, in the author's words.
    pub describe: String,
    /// Why it was not shown; nothing when it was.
    pub problems: Vec<String>,
}

/// The proofs of one variant of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The scenario.
    #[schemars(with = "String")]
    pub scenario: ScenarioId,
    /// The variant.
    #[schemars(with = "u32")]
    pub variant: Variant,
    /// Why nothing was tried: the scenario has faults, or the provider lacks what it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_tried: Option<String>,
    /// The proofs, in the order of the columns.
    pub proofs: Vec<Proof>,
    /// How long its proofs took together, in seconds of work.
    pub seconds: f64,
}

/// What a cell of the table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// There is nothing of the sort to show.
    Nothing,
    /// So many of so many were shown.
    Shown {
        /// How many were.
        shown: usize,
        /// How many there are.
        of: usize,
    },
}

impl Trial {
    /// Returns the cell of a column.
    pub fn cell(&self, column: Column) -> Cell {
        let of = self.proofs.iter().filter(|proof| proof.column == column);
        let (all, shown) =
            of.fold((0, 0), |(all, shown), proof| (all + 1, shown + usize::from(proof.problems.is_empty())));
        if all == 0 { Cell::Nothing } else { Cell::Shown { shown, of: all } }
    }

    /// Tells whether everything was shown.
    pub fn passed(&self) -> bool {
        self.not_tried.is_none() && self.proofs.iter().all(|proof| proof.problems.is_empty())
    }
}

/// What proving scenarios came to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestReport {
    /// The provider.
    pub provider: String,
    /// Whether everything was shown.
    pub passed: bool,
    /// One entry for each scenario and variant.
    pub trials: Vec<Trial>,
    /// Files outside the scratch folder that changed meanwhile.
    #[schemars(with = "Vec<String>")]
    pub strays: Vec<PathBuf>,
    /// How long it took, in seconds.
    pub seconds: f64,
}
