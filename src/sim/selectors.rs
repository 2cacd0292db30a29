//! Label selectors: what `metav1.LabelSelector` objects select, by upstream's rules of evaluation.
//! Knows labels, not objects: callers hand over `metadata.labels`.

mod parse;
#[cfg(test)]
mod properties;

use serde_json::Value;

pub use parse::{FieldRequirement, ParseError, parse_fields};

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// The label is one of the values.
    In,
    /// The label is absent or none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// The label is an integer greater than the one value.
    Gt,
    /// The label is an integer less than the one value.
    Lt,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What it is compared with; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<String>,
}

impl Requirement {
    /// Tells whether a label of this value, or its absence, meets the requirement.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let one_of = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In => value.is_some_and(one_of),
            Operator::NotIn => !value.is_some_and(one_of),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self.integers(value).is_some_and(|(label, bound)| label > bound),
            Operator::Lt => self.integers(value).is_some_and(|(label, bound)| label < bound),
        }
    }

    fn integers(&self, value: Option<&str>) -> Option<(i64, i64)> {
        let [bound] = self.values.as_slice() else { return None };
        Some((value?.parse().ok()?, bound.parse().ok()?))
    }

    /// Reads an element of `matchExpressions`; node selectors share the shape.
    ///
    /// # Errors
    /// When the operator is unknown or the number of values does not fit it.
    pub fn from_expression(expression: &Value) -> Result<Self, SelectorError> {
        let operator = match expression["operator"].as_str().unwrap_or_default() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::Gt,
            "Lt" => Operator::Lt,
            other => return Err(SelectorError::Operator(other.to_owned())),
        };
        let values: Vec<String> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(Into::into)
            .collect();
        let fits = match operator {
            Operator::In | Operator::NotIn => !values.is_empty(),
            Operator::Exists | Operator::DoesNotExist => values.is_empty(),
            Operator::Gt | Operator::Lt => values.len() == 1,
        };
        if !fits {
            return Err(SelectorError::Values { operator, count: values.len() });
        }
        Ok(Self { key: expression["key"].as_str().unwrap_or_default().to_owned(), operator, values })
    }
}

/// Why a selector cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The operator is not one of the known ones.
    #[error("`{0}` is not a valid label selector operator")]
    Operator(String),
    /// The operator wants another number of values.
    #[error("`{operator:?}` cannot take {count} values")]
    Values {
        /// The operator.
        operator: Operator,
        /// How many values were given.
        count: usize,
    },
}

/// A set of requirements that must all hold, or the selector that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Option<Vec<Requirement>>,
}

impl Selector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Selects what meets all of the requirements.
    pub fn all_of(requirements: Vec<Requirement>) -> Self {
        Self { requirements: Some(requirements) }
    }

    /// Selects by equality with each entry of a map, as a Service's selector or `matchLabels`.
    pub fn from_map(labels: &Value) -> Self {
        Self::all_of(map_requirements(labels).collect())
    }

    /// Reads a `metav1.LabelSelector`: null selects nothing, an empty one everything.
    ///
    /// # Errors
    /// When an expression cannot be evaluated.
    pub fn from_label_selector(selector: &Value) -> Result<Self, SelectorError> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements: Vec<Requirement> = map_requirements(&selector["matchLabels"]).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            requirements.push(Requirement::from_expression(expression)?);
        }
        Ok(Self::all_of(requirements))
    }

    /// Tells whether `labels` (an object, or null for none) are selected.
    pub fn matches(&self, labels: &Value) -> bool {
        self.requirements
            .as_ref()
            .is_some_and(|all| all.iter().all(|r| r.holds(labels[r.key.as_str()].as_str())))
    }

    /// Tells whether this selects every object.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Returns the requirements; none for the selector that selects nothing, which [`Self::is_nothing`] tells.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    /// Tells whether this selects no object, whatever its labels.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }
}

fn map_requirements(labels: &Value) -> impl Iterator<Item = Requirement> + '_ {
    labels.as_object().into_iter().flatten().map(|(key, value)| Requirement {
        key: key.clone(),
        operator: Operator::In,
        values: vec![value.as_str().unwrap_or_default().to_owned()],
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: Value, labels: Value) -> bool {
        Selector::from_label_selector(&selector).unwrap().matches(&labels)
    }

    #[test]
    fn null_selects_nothing_and_empty_everything() {
        assert!(!selects(Value::Null, json!({})));
        assert!(selects(json!({}), Value::Null));
        assert!(selects(json!({}), json!({"a": "b"})));
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let selector = json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}],
        });
        assert!(selects(selector.clone(), json!({"app": "web", "tier": "back"})));
        assert!(!selects(selector.clone(), json!({"app": "web"})));
        assert!(!selects(selector, json!({"app": "db", "tier": "back"})));
    }

    #[test]
    fn not_in_holds_for_an_absent_label() {
        let selector = json!({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]});
        assert!(selects(selector.clone(), json!({})));
        assert!(selects(selector.clone(), json!({"env": "dev"})));
        assert!(!selects(selector, json!({"env": "prod"})));
    }

    #[test]
    fn an_empty_value_is_present() {
        let exists = json!({"matchExpressions": [{"key": "env", "operator": "Exists"}]});
        let absent = json!({"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]});
        assert!(selects(exists.clone(), json!({"env": ""})));
        assert!(!selects(exists, json!({})));
        assert!(selects(absent.clone(), json!({})));
        assert!(!selects(absent, json!({"env": ""})));
    }

    #[test]
    fn comparisons_need_integers() {
        let more =
            Requirement::from_expression(&json!({"key": "n", "operator": "Gt", "values": ["3"]})).unwrap();
        assert!(more.holds(Some("4")));
        assert!(!more.holds(Some("3")));
        assert!(!more.holds(Some("many")));
        assert!(!more.holds(None));
    }

    #[test]
    fn unknown_operators_and_missing_values_are_errors() {
        let of =
            |expression: Value| Selector::from_label_selector(&json!({"matchExpressions": [expression]}));
        assert_eq!(
            of(json!({"key": "a", "operator": "Is"})).unwrap_err().to_string(),
            "`Is` is not a valid label selector operator"
        );
        assert!(of(json!({"key": "a", "operator": "In"})).is_err());
        assert!(of(json!({"key": "a", "operator": "Exists", "values": ["x"]})).is_err());
    }
}
