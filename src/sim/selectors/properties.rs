//! Selectors against the plain reading of what they say, in every form in which they can be written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

type Labels = BTreeMap<String, String>;

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("app"), Just("tier"), Just("lab.example.com/zone"), Just("in"), Just("x_1.y-z")]
        .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![Just(""), Just("a"), Just("B-2"), Just("7"), Just("12"), Just("notin")]
        .prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(key(), value(), 0..5)
}

/// A requirement as one means it.
#[derive(Debug, Clone)]
struct Meant {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

fn requirement() -> impl Strategy<Value = Meant> {
    let operator = prop_oneof![
        Just(Operator::In),
        Just(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist),
        Just(Operator::Gt),
        Just(Operator::Lt),
    ];
    (key(), operator, proptest::collection::vec(value(), 1..4), 0..20i64).prop_map(
        |(key, operator, values, number)| {
            // Said twice in a row, an empty value is a fault.
            let mut seen = std::collections::BTreeSet::new();
            let values = match operator {
                Operator::In | Operator::NotIn => {
                    values.into_iter().filter(|value| seen.insert(value.clone())).collect()
                }
                Operator::Exists | Operator::DoesNotExist => Vec::new(),
                Operator::Gt | Operator::Lt => vec![number.to_string()],
            };
            Meant { key, operator, values }
        },
    )
}

fn holds(meant: &Meant, labels: &Labels) -> bool {
    let number = |text: &String| text.parse::<i64>().ok();
    match (meant.operator, labels.get(&meant.key)) {
        (Operator::In, label) => label.is_some_and(|label| meant.values.contains(label)),
        (Operator::NotIn, label) => label.is_none_or(|label| !meant.values.contains(label)),
        (Operator::Exists, label) => label.is_some(),
        (Operator::DoesNotExist, label) => label.is_none(),
        (Operator::Gt, label) => label.and_then(number).is_some_and(|n| Some(n) > number(&meant.values[0])),
        (Operator::Lt, label) => label.and_then(number).is_some_and(|n| Some(n) < number(&meant.values[0])),
    }
}

/// Writes a requirement in the query syntax; `style` chooses among the ways to do so.
fn written(meant: &Meant, style: u8) -> String {
    let Meant { key, values, .. } = meant;
    let space = if style & 1 == 0 { "" } else { " " };
    let set = values.join(&format!("{space},{space}"));
    match meant.operator {
        Operator::In if values.len() == 1 && style & 2 == 0 => {
            format!("{key}{space}{}{space}{}", if style & 4 == 0 { "=" } else { "==" }, values[0])
        }
        Operator::NotIn if values.len() == 1 && style & 2 == 0 => {
            format!("{key}{space}!={space}{}", values[0])
        }
        Operator::In => format!("{key} in {space}({set})"),
        Operator::NotIn => format!("{key} notin{space} ({set})"),
        Operator::Exists => key.clone(),
        Operator::DoesNotExist => format!("!{space}{key}"),
        Operator::Gt => format!("{key}{space}>{space}{}", values[0]),
        Operator::Lt => format!("{key}{space}<{space}{}", values[0]),
    }
}

fn expression(meant: &Meant) -> Value {
    let operator = format!("{:?}", meant.operator);
    match meant.values.is_empty() {
        true => json!({ "key": meant.key, "operator": operator }),
        false => json!({ "key": meant.key, "operator": operator, "values": meant.values }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_form_selects_what_it_says(
        meant in proptest::collection::vec(requirement(), 0..4),
        styles in proptest::collection::vec(any::<u8>(), 4),
        labels in proptest::collection::vec(labels(), 1..6),
    ) {
        let texts: Vec<String> = meant.iter().zip(&styles).map(|(meant, style)| written(meant, *style)).collect();
        let text = texts.join(if styles[0] & 8 == 0 { "," } else { " , " });
        let parsed = Selector::parse(&text).unwrap();
        let expressions: Vec<Value> = meant.iter().map(expression).collect();
        let object = Selector::from_label_selector(&json!({ "matchExpressions": expressions })).unwrap();
        for labels in labels {
            let expected = meant.iter().all(|meant| holds(meant, &labels));
            prop_assert_eq!(parsed.matches(&json!(labels)), expected, "{} on {:?}", text, labels);
            prop_assert_eq!(object.matches(&json!(labels)), expected, "{:?} on {:?}", object, labels);
        }
    }

    #[test]
    fn a_map_selects_what_has_all_of_it(wanted in labels(), labels in labels()) {
        let expected = wanted.iter().all(|(key, value)| labels.get(key) == Some(value));
        prop_assert_eq!(Selector::from_map(&json!(wanted)).matches(&json!(labels)), expected);
        let selector = json!({ "matchLabels": wanted });
        prop_assert_eq!(Selector::from_label_selector(&selector).unwrap().matches(&json!(labels)), expected);
        let text: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
        prop_assert_eq!(Selector::parse(&text.join(",")).unwrap().matches(&json!(labels)), expected);
    }

    #[test]
    fn escaped_field_values_come_back(value in "[a-c\\\\,= é]{0,8}", other in "[a-z]{1,4}") {
        let escaped: String =
            value.chars().flat_map(|c| matches!(c, '\\' | ',' | '=').then_some('\\').into_iter().chain([c])).collect();
        let parsed = parse_fields(&format!("metadata.name={escaped},spec.x!={other}")).unwrap();
        prop_assert_eq!(&parsed[0].value, &value);
        prop_assert!(parsed[0].equal && !parsed[1].equal);
        prop_assert_eq!(&parsed[1].value, &other);
    }
}
