//! The codes of everything that can be wrong with a scenario, each with a severity and a sentence of explanation.
//! An error keeps a scenario from being used; a warning keeps it from being accepted.

use crate::diag::Severity;

macro_rules! codes {
    ($(#[$doc:meta])* $($severity:ident { $($code:literal $variant:ident: $text:literal,)* })*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $text] $variant,)*)*
        }

        impl Code {
            /// Every code, errors first.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            /// Returns the code as it is shown.
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $code,)*)* }
            }

            /// Returns how bad it is.
            pub fn severity(self) -> Severity {
                match self { $($(Self::$variant => Severity::$severity,)*)* }
            }

            /// Returns what it means and what to do.
            pub fn describe(self) -> &'static str {
                match self { $($(Self::$variant => $text,)*)* }
            }
        }
    };
}

pub(crate) use codes;

codes! {
    /// What is wrong with a scenario.
    Error {
        "yaml-syntax" YamlSyntax: "The file is not YAML.",
        "yaml-bomb" YamlBomb: "The file expands to more than a scenario can need.",
        "duplicate-key" DuplicateKey: "A map has a key twice.",
        "unknown-field" UnknownField: "A map has a key that does not belong there.",
        "missing-field" MissingField: "A map lacks a key that must be there.",
        "wrong-type" WrongType: "A value is of another type than the one that is expected.",
        "unknown-value" UnknownValue: "A value is none of those that are known, such as a kind of check or a capability.",
        "template-syntax" TemplateSyntax: "A template does not parse or fails while it is rendered.",
        "undefined-variable" UndefinedVariable: "A template uses a variable that `vars` does not have.",
        "template-statement" TemplateStatement: "`scenario.yaml` uses a template statement or a value of several lines; it may use `{{ … }}` within a line only, so that lines stay where they are.",
        "template-in-header" TemplateInHeader: "A key that listings show uses a variable; it must be the same for every variant.",
        "bad-variable" BadVariable: "A variable cannot be drawn: nothing to choose from, an empty range, a name that is no identifier.",
        "values-collide" ValuesCollide: "Two variables of one variant would have the same text; there are too few to choose from.",
        "bad-id" BadId: "An id is not kebab-case, or the scenario's id is not the name of its folder.",
        "duplicate-id" DuplicateId: "Two scenarios have the same id.",
        "duplicate-check" DuplicateCheck: "Two checks have the same id.",
        "unknown-topic" UnknownTopic: "The topic is in no track of the curriculum.",
        "wrong-domain" WrongDomain: "The scenario does not lie in the folder of its topic's domain in the newest track.",
        "unknown-resource" UnknownResource: "A study resource is in no track of the curriculum.",
        "empty-text" EmptyText: "A text that is shown or run is empty.",
        "bad-points" BadPoints: "A check has neither points nor gate, or both, or a cost without being a gate, or zero of either.",
        "no-points" NoPoints: "All checks together earn nothing.",
        "points-not-plain" PointsNotPlain: "The points of checks are not plain numbers, each on a line `points: 3` of its own; listings read them without rendering.",
        "faulty-check" FaultyCheck: "A check could not fail, or its specification contradicts itself, or its CEL does not compile.",
        "unknown-check" UnknownCheck: "A proof names a check that does not exist, or earns a gate, or breaks what is no gate.",
        "missing-needs" MissingNeeds: "A check or a step of the seed needs what `needs` does not name.",
        "missing-file" MissingFile: "A file that is referred to does not exist.",
        "bad-path" BadPath: "A path leaves the folder that it is relative to, or a path on a node is not absolute.",
        "bad-mode" BadMode: "Permission bits are not three or four octal digits.",
        "bad-manifest" BadManifest: "A manifest does not parse, or an object in it lacks `apiVersion`, `kind` or a name.",
    }
    Warning {
        "unused-variable" UnusedVariable: "A variable is drawn and used nowhere.",
        "unreferenced-file" UnreferencedFile: "A file in the scenario's folder is used nowhere.",
        "minutes-difficulty" MinutesDifficulty: "The minutes are not those of the difficulty: quick up to 4, core up to 9, deep up to 14.",
        "no-gate" NoGate: "No check is a gate, so that a fix which destroys the work could pass.",
        "missing-why" MissingWhy: "A check does not say why it matters.",
        "few-hints" FewHints: "There are fewer than two hints.",
        "no-alternative" NoAlternative: "There is no other right fix among the proofs.",
        "few-wrong-proofs" FewWrongProofs: "There are fewer than three wrong fixes among the proofs.",
        "gate-unproven" GateUnproven: "No wrong fix breaks the gate, so that nothing shows it can be broken.",
        "check-unproven" CheckUnproven: "Every wrong fix that leaves the gates whole earns the check; nothing but doing nothing shows that it tells right from wrong.",
        "indistinct-attack" IndistinctAttack: "The attack's `before` and `after` could both be true of one run.",
        "name-not-in-task" NameNotInTask: "A name that is graded is not in the task text.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_kebab_case() {
        let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in codes {
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code}");
        }
    }
}
