//! What the rules of a definition may cost: each for itself and all of a schema together, estimated before any is
//! evaluated. By the rules of k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation.

use serde_json::Value;

use crate::cel::{Environment, Program, Sizes};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::Fields as _;

/// What one expression may cost in the largest object.
const EXPRESSION_LIMIT: u64 = 10_000_000;
/// What all expressions of one schema may cost.
const SCHEMA_LIMIT: u64 = 100_000_000;
/// So many of the dearest expressions are named.
const NAMED: usize = 4;

/// How often a place of a schema can be in one object: nothing where that is not bounded.
pub type Cardinality = Option<u64>;

/// What the expressions of one schema cost.
#[derive(Debug, Default)]
pub struct Costs {
    total: u64,
    dearest: Vec<(Path, u64)>,
    /// The schema is one that was taken before; only its total is held against it.
    known: bool,
}

/// One place of a schema with its expressions.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) environment: &'a Environment,
    pub(super) sizes: Option<Sizes>,
    pub(super) cardinality: Cardinality,
}

/// Returns how often what stands within a schema can be in one object, where the schema itself can be so often.
pub fn within(schema: &Value, cardinality: Cardinality) -> Cardinality {
    let bound = |field: &str| schema.int(field).map(|bound| u64::try_from(bound).unwrap_or(0));
    let factor = match schema.text("type") {
        "object" if schema.has("additionalProperties") => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    };
    Some(cardinality?.saturating_mul(factor?))
}

impl Costs {
    /// Begins to add up; `known` tells that the schema was taken before.
    pub fn of(known: bool) -> Self {
        Self { known, ..Self::default() }
    }

    /// Takes note of a rule, which is evaluated at each occurrence of its place.
    pub(super) fn rule(&mut self, site: &Site<'_>, program: &Program, at: &Path, errors: &mut ErrorList) {
        let Some(sizes) = &site.sizes else { return };
        let once = site.environment.estimate(program, sizes);
        let cost = once.saturating_mul(site.cardinality.unwrap_or_else(|| sizes.most_in_a_request()));
        self.observe("estimated rule cost", cost, at, errors);
    }

    /// Takes note of the expression of a message, which is evaluated once.
    pub(super) fn message(&mut self, site: &Site<'_>, program: &Program, at: &Path, errors: &mut ErrorList) {
        let Some(sizes) = &site.sizes else { return };
        let cost = site.environment.estimate(program, sizes);
        self.observe("estimated messageExpression cost", cost, at, errors);
    }

    fn observe(&mut self, what: &str, cost: u64, at: &Path, errors: &mut ErrorList) {
        if cost > EXPRESSION_LIMIT && !self.known {
            errors.push(FieldError::forbidden(at, exceeded(what, cost, EXPRESSION_LIMIT)));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_LIMIT / 100 {
            self.dearest.push((at.clone(), cost));
            self.dearest.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.dearest.truncate(NAMED);
        }
    }

    /// Says whether all expressions of the schema at `path` are too dear together.
    pub fn finish(self, path: &Path) -> ErrorList {
        if self.total <= SCHEMA_LIMIT {
            return ErrorList::new();
        }
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let total = FieldError::forbidden(path, exceeded(what, self.total, SCHEMA_LIMIT));
        let each = self.dearest.iter().map(|(at, _)| FieldError::forbidden(at, why));
        each.chain([total]).collect()
    }
}

fn exceeded(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
