//! The codes of what can be wrong with a blueprint beyond its structure, whose faults have the codes of scenarios.

use crate::diag::Severity;
use crate::scenario::code::codes;

codes! {
    /// What is wrong with a blueprint.
    Error {
        "empty-text" EmptyText: "The title is empty.",
        "unknown-track" UnknownTrack: "There is no such track.",
        "unknown-domain" UnknownDomain: "The track has no such domain.",
        "unknown-scenario" UnknownScenario: "There is no such scenario.",
        "unknown-provider" UnknownProvider: "No exam can have its clusters from there.",
        "duplicate-task" DuplicateTask: "A scenario is fixed twice.",
        "bad-number" BadNumber: "A number is out of its range: minutes 1 to 600, percent 1 to 100, tasks 1 to 60.",
        "bad-link" BadLink: "An allowed link is not the beginning of a web address.",
        "bad-weights" BadWeights: "The weights do not add up to 100 percent, or leave nothing to the tasks without one.",
        "too-few" TooFew: "More tasks of a domain are drawn than there are scenarios.",
        "too-long" TooLong: "The fixed tasks alone take longer than there is time.",
    }
}
