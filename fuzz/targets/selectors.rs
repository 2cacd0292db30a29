//! Selectors, in queries and in objects, and what reads the rest of a query.

#![no_main]

use cks_lab::sim::selectors::{Selector, parse_fields};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let labels = json!({ "app": "web", "tier": "front", "n": "5" });
    if let Ok(selector) = Selector::parse(text) {
        let _ = selector.matches(&labels);
        // What is parsed can be said again as an object, and then means the same.
        let expressions: Vec<Value> = selector
            .requirements()
            .iter()
            .map(|r| match r.values.is_empty() {
                true => json!({ "key": r.key, "operator": format!("{:?}", r.operator) }),
                false => json!({ "key": r.key, "operator": format!("{:?}", r.operator), "values": r.values }),
            })
            .collect();
        let same = Selector::from_label_selector(&json!({ "matchExpressions": expressions })).unwrap();
        assert_eq!(same.matches(&labels), selector.matches(&labels));
    }
    let _ = parse_fields(text);
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && let Ok(selector) = Selector::from_label_selector(&value)
    {
        let _ = selector.matches(&labels);
    }
});
