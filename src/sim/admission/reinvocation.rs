//! Who is asked a second time: webhooks and policies that want to see what others have changed after them. The chain
//! runs once more at most.

use std::collections::BTreeSet;

use serde_json::Value;

/// What one pass through the chain leaves for the next.
#[derive(Debug, Default)]
pub(crate) struct Reinvocation {
    /// This is the second pass.
    again: bool,
    wanted: bool,
    /// The webhooks.
    pub(crate) webhooks: Turns,
    /// The policies.
    pub(crate) policies: Turns,
}

/// Who of one plugin has had a turn, and who is to have another.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    had: BTreeSet<String>,
    due: BTreeSet<String>,
    output: Option<Value>,
}

impl Reinvocation {
    /// Begins the second pass, if one is wanted.
    pub(crate) fn begin(&mut self) -> bool {
        self.again = self.wanted;
        self.again
    }

    /// Tells whether this is the second pass.
    pub(crate) fn is_second(&self) -> bool {
        self.again
    }

    /// Asks for a second pass.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }
}

impl Turns {
    /// Takes note of what the object is when the plugin begins its second pass.
    pub(crate) fn resume(&mut self, object: Option<&Value>) {
        if self.output.as_ref() != object {
            self.call_again();
        }
    }

    /// Takes note of what the plugin leaves the object as.
    pub(crate) fn finish(&mut self, object: Option<&Value>) {
        self.output = object.cloned();
    }

    /// The object has changed: all that have had their turn are due again.
    pub(crate) fn call_again(&mut self) {
        self.due.append(&mut self.had);
    }

    /// Someone that wants to be asked again has had a turn.
    pub(crate) fn had(&mut self, who: &str) {
        self.had.insert(who.to_owned());
    }

    /// Tells whether someone is due in the second pass.
    pub(crate) fn is_due(&self, who: &str) -> bool {
        self.due.contains(who)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_had_a_turn_before_a_change_is_due_and_nobody_else() {
        let mut turns = Turns::default();
        turns.had("first");
        turns.call_again();
        turns.had("second");
        assert!(turns.is_due("first") && !turns.is_due("second") && !turns.is_due("third"));
    }

    #[test]
    fn a_change_by_somebody_else_between_the_passes_counts() {
        let mut turns = Turns::default();
        turns.had("hook");
        turns.finish(Some(&json!(1)));
        turns.resume(Some(&json!(1)));
        assert!(!turns.is_due("hook"), "nothing has changed");
        turns.resume(Some(&json!(2)));
        assert!(turns.is_due("hook"));
    }
}
