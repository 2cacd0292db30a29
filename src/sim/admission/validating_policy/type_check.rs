//! Type checking of a policy against the kinds that it names: what its status warns of. Nothing is refused for it, as
//! the kinds may change.

use serde_json::{Value, json};

use crate::cel::{Shape, Type};
use crate::sim::admission::expression::{Gives, Names};
use crate::sim::api::resources::{Resource, Resources, split_api_version};
use crate::sim::object::Fields as _;
use crate::sim::schema::{self, Schema};

/// The most kinds that are checked.
const MOST: usize = 10;

/// Returns the `expressionWarnings` of a policy.
pub(crate) fn warnings(resources: &Resources, policy: &Value) -> Vec<Value> {
    let spec = policy.at("spec");
    let kinds = kinds(resources, spec);
    let mut warnings = Vec::new();
    for (index, validation) in spec.items("validations").iter().enumerate() {
        for (field, gives) in [("expression", Gives::Bool), ("messageExpression", Gives::Text)] {
            let source = validation.text(field);
            if source.is_empty() {
                continue;
            }
            let faults: Vec<String> = kinds
                .iter()
                .filter_map(|kind| {
                    let fault = fault(spec, source, gives, kind)?;
                    let gvk = kind.gvk();
                    Some(format!("{}/{}, Kind={}: {fault}", gvk.group, gvk.version, gvk.kind))
                })
                .collect();
            if !faults.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{index}].{field}"),
                    "warning": faults.join("\n"),
                }));
            }
        }
    }
    warnings
}

/// Compiles an expression as if objects were of the kind.
fn fault(spec: &Value, source: &str, gives: Gives, kind: &Resource) -> Option<String> {
    let object = type_of(kind)?;
    let authorizer = gives == Gives::Bool;
    let mut names =
        Names { params: spec.has("paramKind"), authorizer, constructs: false, variables: Vec::new() };
    for variable in spec.items("variables") {
        let of = names.compile_typed(variable.text("expression"), Gives::Anything, Some(&object));
        let of = of.map_or(Type::Dyn, |program| program.output().clone());
        names.variables.push((variable.text("name").to_owned(), of));
    }
    let fault = names.compile_typed(source, gives, Some(&object)).err()?;
    Some(fault.strip_prefix("compilation failed: ").unwrap_or(&fault).to_owned())
}

/// Returns the kinds that the rules name without wildcards.
fn kinds<'r>(resources: &'r Resources, spec: &Value) -> Vec<&'r Resource> {
    let mut kinds: Vec<&Resource> = Vec::new();
    for rule in spec.at("matchConstraints").items("resourceRules") {
        let sorted = |field: &str| {
            let mut all = rule.texts(field);
            all.sort_unstable();
            all
        };
        let (groups, versions, plurals) = (sorted("apiGroups"), sorted("apiVersions"), sorted("resources"));
        let wild = groups.iter().chain(&versions).any(|text| text.contains('*'))
            || plurals.iter().any(|text| text.contains(['*', '/']));
        if wild {
            continue;
        }
        for group in &groups {
            for version in &versions {
                for plural in &plurals {
                    if let Some(found) = resources.find(group, version, plural)
                        && !kinds.iter().any(|known| known.gvk() == found.gvk())
                        && kinds.len() < MOST
                    {
                        kinds.push(found);
                    }
                }
            }
        }
    }
    kinds.sort_by_key(|kind| (kind.gvk().group, kind.gvk().version, kind.gvk().kind));
    kinds
}

/// Returns the type of the kind's objects, as far as it is known.
fn type_of(resource: &Resource) -> Option<Type> {
    if let Some(version) = resource.definition_version() {
        let shape = Shape::of_root(version.dig(&["schema", "openAPIV3Schema"]));
        return Some(shape.type_of(&resource.gvk().kind));
    }
    let gvk = resource.gvk();
    let api_version = gvk.api_version();
    let (group, version) = split_api_version(&api_version);
    schema::of(group, version, &gvk.kind).map(|schema| of_schema(schema, &mut Vec::new()))
}

fn of_schema(schema: &'static Schema, within: &mut Vec<&'static str>) -> Type {
    // A schema of schemas has no end.
    if within.contains(&schema.name) {
        return Type::Dyn;
    }
    within.push(schema.name);
    let fields: Vec<(String, Type)> = schema
        .fields
        .iter()
        .filter_map(|field| Some((crate::cel::escape(field.name)?, of_field(&field.kind, within))))
        .collect();
    within.pop();
    Type::object(&schema.openapi_name(), fields)
}

fn of_field(kind: &schema::Type, within: &mut Vec<&'static str>) -> Type {
    match kind {
        schema::Type::String => Type::String,
        schema::Type::Int32 | schema::Type::Int64 => Type::Int,
        schema::Type::Bool => Type::Bool,
        schema::Type::Double => Type::Double,
        schema::Type::Bytes => Type::Bytes,
        schema::Type::Time | schema::Type::MicroTime => Type::Timestamp,
        schema::Type::Object(id) => of_schema(id.get(), within),
        schema::Type::List(of) => Type::list(of_field(of, within)),
        schema::Type::Map(of) => Type::map(Type::String, of_field(of, within)),
        schema::Type::Quantity
        | schema::Type::IntOrString
        | schema::Type::Any
        | schema::Type::SchemaOrList
        | schema::Type::SchemaOrBool
        | schema::Type::SchemaOrStrings => Type::Dyn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(validation: Value, plural: &str) -> Vec<Value> {
        let policy = json!({"spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": [plural]}]},
            "variables": [{"name": "n", "expression": "object.spec.replicas"}],
            "validations": [validation],
        }});
        warnings(&Resources::builtin(), &policy)
    }

    #[test]
    fn a_field_that_the_kind_does_not_have_is_warned_of() {
        assert_eq!(
            warned(json!({"expression": "object.replicas > 1"}), "deployments"),
            [json!({
                "fieldRef": "spec.validations[0].expression",
                "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^",
            })]
        );
        assert_eq!(
            warned(json!({"expression": "object.spec.replicas > 1 && variables.n < 9"}), "deployments"),
            [Value::Null; 0]
        );
        let found =
            warned(json!({"expression": "true", "messageExpression": "'a' + variables.n"}), "deployments");
        assert_eq!(found[0]["fieldRef"], "spec.validations[0].messageExpression");
        assert_eq!(warned(json!({"expression": "object.nothing"}), "*"), [Value::Null; 0]);
    }
}
