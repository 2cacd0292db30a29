//! The seal of a report: a digest over its content in a canonical form, so that a change by hand shows. It proves no
//! more than that: whoever has the program can make a report and seal it. Knows no files.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Report;

/// What the seal shows and what it does not, for people.
pub const MEANING: &str = "A seal that fits shows that the report is as the program wrote it: nobody edited it by \
    hand. It does not show who did the work, that the clock was right, or that the report was not made with a changed \
    program: whoever has the program can make a sealed report. To be sure, watch the work being done or have it done \
    again with the same variant.";

/// The form of the seal that is made: the canonical form may change with it.
const FORM: u32 = 1;
/// Keeps digests of reports apart from digests of anything else.
const DOMAIN: &str = "cks-lab report seal 1\n";

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Seal {
    /// The form of the seal.
    pub form: u32,
    /// SHA-256, as hexadecimal digits, over the report without its seal: keys sorted, no spaces.
    pub digest: String,
}

/// What a seal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sealing {
    /// The report is as it was sealed.
    Sealed,
    /// It was changed since.
    Edited,
    /// It has no seal.
    Unsealed,
    /// It has a seal of a form that is not known here, of a newer version.
    Unknown,
}

impl Sealing {
    /// Returns it in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Sealed => "sealed and not edited",
            Self::Edited => "edited since it was sealed",
            Self::Unsealed => "not sealed",
            Self::Unknown => "sealed by a newer version, which this one cannot verify",
        }
    }
}

/// Seals a report; none where it cannot be written as JSON, which no report of this program is.
pub(super) fn seal(report: &Report) -> Option<Seal> {
    let value = serde_json::to_value(report).ok()?;
    Some(Seal { form: FORM, digest: digest(&value) })
}

/// Tells whether a report, as it was read, is as it was sealed. Fields that this version does not know count too.
pub fn verify(report: &Value) -> Sealing {
    let Some(seal) = report.get("seal").filter(|seal| !seal.is_null()) else { return Sealing::Unsealed };
    match (seal["form"].as_u64(), seal["digest"].as_str()) {
        (Some(form), _) if form > u64::from(FORM) => Sealing::Unknown,
        (Some(_), Some(sealed)) if sealed == digest(report) => Sealing::Sealed,
        _ => Sealing::Edited,
    }
}

/// Digests a report without its seal.
fn digest(report: &Value) -> String {
    let mut text = DOMAIN.to_owned();
    match report {
        Value::Object(fields) => object(fields.iter().filter(|(name, _)| *name != "seal"), &mut text),
        other => canonical(other, &mut text),
    }
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

/// Writes bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        // A number that is whole is the same with and without a fraction; the last digits of one that is not depend on
        // who read it.
        Value::Number(number) if number.is_f64() => {
            let text = format!("{:.6}", number.as_f64().unwrap_or_default());
            out.push_str(text.trim_end_matches('0').trim_end_matches('.'));
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => object(fields.iter(), out),
        other => out.push_str(&other.to_string()),
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut String) {
    let mut fields: Vec<_> = fields.collect();
    fields.sort_by_key(|(name, _)| *name);
    out.push('{');
    for (place, (name, value)) in fields.into_iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        canonical(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{kept, result};

    fn sealed() -> Value {
        serde_json::to_value(kept(vec![result()]).sealed()).unwrap()
    }

    #[test]
    fn a_report_is_sealed_until_anything_in_it_is_changed() {
        let report = sealed();
        assert_eq!(verify(&report), Sealing::Sealed);
        let again: Value = serde_json::from_str(&serde_json::to_string_pretty(&report).unwrap()).unwrap();
        assert_eq!(verify(&again), Sealing::Sealed, "how it is laid out says nothing");
        for (place, value) in [
            ("/score", Value::from(9)),
            ("/passed", Value::from(true)),
            ("/tasks/0/variant", Value::from(8)),
            ("/tasks/0/digest", Value::from("")),
            ("/tasks/0/checks/1/outcome", Value::from("pass")),
            ("/tasks/0/checks/1/findings/0/actual", Value::from("denied")),
            ("/overtimeSeconds", Value::from(0)),
            ("/seal/digest", Value::from("0".repeat(64))),
            ("/seal/form", Value::from("1")),
        ] {
            let mut edited = sealed();
            let there = edited.pointer_mut(place).unwrap_or_else(|| panic!("{place}"));
            assert_ne!(*there, value);
            *there = value;
            assert_eq!(verify(&edited), Sealing::Edited, "{place}");
        }
    }

    #[test]
    fn what_was_added_or_taken_away_shows_too() {
        let mut more = sealed();
        more["bonus"] = Value::from(5);
        assert_eq!(verify(&more), Sealing::Edited);
        let mut less = sealed();
        less["tasks"][0]["checks"].as_array_mut().unwrap().pop();
        assert_eq!(verify(&less), Sealing::Edited);
        let mut bare = sealed();
        bare.as_object_mut().unwrap().remove("seal");
        assert_eq!(verify(&bare), Sealing::Unsealed);
        let mut newer = sealed();
        newer["seal"]["form"] = Value::from(2);
        assert_eq!(verify(&newer), Sealing::Unknown);
    }

    #[test]
    fn the_digest_of_a_form_stays_what_it_was() {
        // Reports that were sealed years ago must still be verified.
        let report = serde_json::json!({"b": [1, 2.50, 3.0], "a": "é\n\"", "seal": {"form": 1}, "c": null});
        let mut text = DOMAIN.to_owned();
        let Value::Object(fields) = &report else { unreachable!() };
        object(fields.iter().filter(|(name, _)| *name != "seal"), &mut text);
        assert_eq!(text, "cks-lab report seal 1\n{\"a\":\"é\\n\\\"\",\"b\":[1,2.5,3],\"c\":null}");
    }
}
