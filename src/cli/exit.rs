//! The exit codes: what each means. `docs/reference/exit-codes.md` is generated from here.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it should; of checks: all passed.
    Passed,
    /// Checks failed.
    Failed,
    /// It was used wrongly.
    Usage,
    /// A scenario or another input is unknown or not valid.
    Invalid,
    /// The provider or the cluster cannot be used now.
    Unavailable,
    /// The time is up.
    TimeUp,
    /// The program or the machine failed.
    Internal,
    /// It was interrupted.
    Interrupted,
    /// What a command that was run exits with.
    Other(u8),
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Passed,
        Self::Failed,
        Self::Usage,
        Self::Invalid,
        Self::Unavailable,
        Self::TimeUp,
        Self::Internal,
        Self::Interrupted,
    ];

    /// Returns the number.
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Unavailable => 4,
            Self::TimeUp => 5,
            Self::Internal => 70,
            Self::Interrupted => 130,
            Self::Other(code) => code,
        }
    }

    /// Returns what it means, for the reference.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Passed => {
                "Done. Of `check`, `submit`, `author lint`, `author test` and `report verify`: everything passed."
            }
            Self::Failed => {
                "Checks failed, a scenario did not prove itself, or a report was edited. The output says which and why."
            }
            Self::Usage => {
                "The command was used wrongly: an unknown option, no such session, a session that is not running, \
                 a question that nobody was there to answer."
            }
            Self::Invalid => {
                "A scenario, or a file that was given, is unknown or not valid; state that a newer version wrote."
            }
            Self::Unavailable => {
                "The provider or the cluster cannot be used now, checks could not be judged, or another command \
                 works on the session."
            }
            Self::TimeUp => "The time was up. Verdicts are shown all the same.",
            Self::Internal => {
                "The program has a bug, or the machine failed it: a full disk, a file that cannot be written."
            }
            Self::Interrupted => "Ctrl-C or a termination signal. What was being created is removed.",
            Self::Other(_) => "What the command exits with that was run.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
