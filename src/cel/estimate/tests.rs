use serde_json::{Value, json};

use crate::cel::{Environment, Shape, Sizes};

/// Estimates a rule at the root of a schema that has these properties.
fn estimate(rule: &str, properties: Value) -> u64 {
    let schema = json!({"type": "object", "properties": properties});
    let own = Shape::of(&schema).type_of("selfType");
    let environment = Environment::new().with("self", own.clone()).with("oldSelf", own);
    let program = environment.compile(rule).unwrap();
    environment.estimate(&program, &Sizes::of(&schema, false).unwrap())
}

#[test]
fn loops_cost_by_the_bounds_of_what_they_go_through() {
    let list = |length: u64, items: u64| json!({"l": {"type": "array", "maxItems": items, "items": {"type": "string", "maxLength": length}}});
    let rule = "self.l.all(x, x.contains('gpu'))";
    // The largest lists that an API server takes for this rule.
    for (length, items) in [(16, 909_090), (63, 333_333), (253, 94_339), (1024, 24_154)] {
        assert!(estimate(rule, list(length, items)) <= 10_000_000, "{length}");
        assert!(estimate(rule, list(length, items + 1)) > 10_000_000, "{length}");
    }
    let unbounded = json!({"l": {"type": "array", "items": {"type": "string"}}});
    assert!(estimate(rule, unbounded) > 1_000_000_000);
}

#[test]
fn what_does_not_grow_is_cheap() {
    let fields = json!({"min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
        "mode": {"type": "string", "enum": ["on", "off"]}, "part": {"type": "object", "properties": {}}});
    for (rule, cost) in [
        // Two names and two fields, and the comparison.
        ("self.min <= self.max", 5),
        ("has(self.min)", 1),
        ("self.name == 'abc'", 3),
        ("self.part == oldSelf.part", 4),
        ("self.mode.startsWith('o')", 3),
        ("!has(self.min) || self.min > 0", 5),
    ] {
        assert_eq!(estimate(rule, fields.clone()), cost, "{rule}");
    }
}

#[test]
fn texts_of_unknown_length_are_dear() {
    let fields = json!({"min": {"type": "integer"}, "short": {"type": "string", "maxLength": 10},
        "long": {"type": "string"}});
    assert!(estimate("('min ' + string(self.min)) == ''", fields.clone()) > 1_000_000_000);
    assert_eq!(estimate("'min %d'.format([self.min]) == ''", fields.clone()), 13);
    // 41 characters, each a tenth and rounded up, times three characters of the pattern, each a quarter.
    assert_eq!(estimate("self.short.matches('^a$')", fields.clone()), 2 + 5);
    assert!(estimate("self.long.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", fields) > 2_000_000);
}

#[test]
fn maps_and_literals_have_entries_of_their_own() {
    let map = json!({"m": {"type": "object", "maxProperties": 10,
        "additionalProperties": {"type": "string", "maxLength": 5}}});
    // Keys of a schema have no length.
    assert_eq!(estimate("self.m.all(k, k.startsWith('a'))", map.clone()), 2 + 10 * (2 + 1 + 1 + 1) + 1);
    assert_eq!(estimate("self.m.all(k, self.m[k] != '')", map.clone()), 2 + 10 * (2 + 1 + 1 + 2 + 1) + 1);
    assert_eq!(estimate("'a' in ['a', 'b', 'c']", map), 10 + 3);
}
