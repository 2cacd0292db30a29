//! What a use case tells while it works: the contract for every front end, on a terminal or elsewhere.

use serde::Serialize;

/// Something that happened on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A stage begins; the text is a present participle such as `starting the control plane`.
    Stage {
        /// What is being done.
        text: String,
    },
    /// A line of detail within the stage.
    Detail {
        /// The detail.
        text: String,
    },
    /// Something is not as it should be, but the work goes on.
    Warning {
        /// What, as a sentence.
        text: String,
    },
    /// Little time is left of an exam, or none.
    Alert {
        /// The alert that was reached, in minutes; 0 when the time is up.
        minutes: u32,
        /// The seconds that are left.
        left_seconds: u64,
    },
    /// A line that a command wrote which is run for the learner.
    Output {
        /// The line.
        text: String,
    },
}

/// Takes events as they come. Implemented by front ends.
pub trait Observer: Send + Sync {
    /// Takes one.
    fn observe(&self, event: Event);
}

/// Turns a provider's progress into events.
pub(crate) struct Reporting<'a>(pub(crate) &'a dyn Observer);

impl crate::cluster::Progress for Reporting<'_> {
    fn stage(&self, text: &str) {
        self.0.observe(Event::Stage { text: text.to_owned() });
    }

    fn detail(&self, text: &str) {
        self.0.observe(Event::Detail { text: text.to_owned() });
    }
}
