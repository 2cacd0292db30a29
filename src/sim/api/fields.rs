//! Field selectors: which fields of a kind can be selected by, and what they are.

use serde_json::Value;

use super::resources::Resource;
use crate::sim::object::Fields as _;
use crate::sim::selectors::{FieldRequirement, ParseError, Selector, parse_fields};
use crate::sim::status::Status;

/// Which objects of a collection are meant.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    labels: Selector,
    fields: Vec<FieldRequirement>,
}

impl Selection {
    /// Reads the selectors of a query.
    ///
    /// # Errors
    /// BadRequest when a selector does not parse, or the kind has no such field to select by.
    pub(crate) fn read(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Status> {
        let refuse = |error: ParseError| Status::bad_request(error.to_string());
        let labels = Selector::parse(labels).map_err(refuse)?;
        let fields = parse_fields(fields).map_err(refuse)?;
        for requirement in &fields {
            check(resource, &requirement.field)?;
        }
        Ok(Self { labels, fields })
    }

    /// Adds that the name must be this one.
    pub(crate) fn only(&mut self, name: &str) {
        let field = "metadata.name".to_owned();
        self.fields.push(FieldRequirement { field, value: name.to_owned(), equal: true });
    }

    /// Tells whether every object is meant.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty()
    }

    /// Tells whether a stored object is meant.
    pub(crate) fn matches(&self, resource: &Resource, object: &Value) -> bool {
        self.labels.matches(&object["metadata"]["labels"])
            && self.fields.iter().all(|r| (value(resource, object, &r.field) == r.value) == r.equal)
    }
}

const EVENT: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];
const NEW_EVENT: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

/// Returns the fields beside name and namespace, and how a kind words that it has no other.
fn supported(resource: &Resource) -> Option<(&'static [&'static str], &'static str)> {
    const PLAIN: &str = "field label not supported: ";
    Some(match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => (
            &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ],
            PLAIN,
        ),
        ("", "nodes") => (&["spec.unschedulable"], PLAIN),
        ("", "namespaces") => (&["status.phase", "name"], PLAIN),
        ("", "secrets") => (&["type"], PLAIN),
        ("", "services") => (&["spec.clusterIP", "spec.type"], PLAIN),
        ("", "replicationcontrollers") => (&["status.replicas"], PLAIN),
        ("", "events") => (EVENT, PLAIN),
        ("events.k8s.io", "events") => (NEW_EVENT, PLAIN),
        ("apps", "replicasets") => (&["status.replicas"], PLAIN),
        ("batch", "jobs") => (&["status.successful"], "field label not supported for Job: "),
        ("certificates.k8s.io", "certificatesigningrequests") => {
            (&["spec.signerName"], "field label not supported for CertificateSigningRequest: ")
        }
        ("resource.k8s.io", "resourceslices") => (&["spec.nodeName", "spec.driver"], PLAIN),
        ("apps", "statefulsets") => (&[], "field label not supported for StatefulSet: "),
        _ => return None,
    })
}

fn check(resource: &Resource, field: &str) -> Result<(), Status> {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return Ok(());
    }
    if let Some(version) = resource.definition_version() {
        let path = |f: &Value| f.text("jsonPath").trim_start_matches('.') == field;
        return match version.items("selectableFields").iter().any(path) {
            true => Ok(()),
            false => Err(Status::bad_request(format!("field label not supported: {field}"))),
        };
    }
    match supported(resource) {
        Some((fields, _)) if fields.contains(&field) => Ok(()),
        Some((_, words)) => Err(Status::bad_request(format!("{words}{field}"))),
        None => Err(Status::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ))),
    }
}

/// Returns a field as selectors compare it.
fn value(resource: &Resource, object: &Value, field: &str) -> String {
    let plain = match (resource.plural.as_str(), field) {
        ("events", "source") => {
            let component = object["source"].text("component");
            return if component.is_empty() { object.text("reportingComponent") } else { component }
                .to_owned();
        }
        ("events", "reportingController") => &object["reportingComponent"],
        ("events", field) if field.starts_with("regarding.") => {
            object["involvedObject"].at(&field["regarding.".len()..])
        }
        ("jobs", "status.successful") => &object["status"]["succeeded"],
        ("namespaces", "name") => &object["metadata"]["name"],
        ("pods", "status.podIPs") => &object["status"]["podIPs"][0]["ip"],
        _ => field.split('.').fold(object, |value, name| value.at(name)),
    };
    match plain {
        Value::String(text) => text.clone(),
        Value::Null => match field {
            "spec.hostNetwork" | "spec.unschedulable" => "false".to_owned(),
            "status.replicas" | "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::api::resources::Resources;

    fn selects(group: &str, plural: &str, fields: &str, object: &Value) -> Result<bool, String> {
        let all = Resources::builtin();
        let resource = all.find(group, "v1", plural).unwrap();
        let selection = Selection::read(resource, "", fields).map_err(|status| status.message)?;
        Ok(selection.matches(resource, object))
    }

    #[test]
    fn fields_select_by_their_value_or_its_default() {
        let pod =
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}});
        for (fields, expected) in [
            ("status.phase=Running", true),
            ("status.phase!=Running", false),
            ("spec.nodeName=n,metadata.name=a", true),
            ("spec.hostNetwork=false", true),
            ("status.podIP=", true),
        ] {
            assert_eq!(selects("", "pods", fields, &pod), Ok(expected), "{fields}");
        }
        let event = json!({"involvedObject": {"kind": "Pod"}, "source": {"component": "kubelet"}});
        assert_eq!(selects("", "events", "involvedObject.kind=Pod,source=kubelet", &event), Ok(true));
        assert_eq!(selects("events.k8s.io", "events", "regarding.kind=Pod", &event), Ok(true));
    }

    #[test]
    fn unknown_fields_are_refused_in_the_kind_s_words() {
        let refusal = |group, plural, fields| selects(group, plural, fields, &Value::Null).unwrap_err();
        assert_eq!(refusal("", "pods", "spec.containers=x"), "field label not supported: spec.containers");
        assert_eq!(
            refusal("", "configmaps", "data.a=x"),
            "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
}
