//! Custom resources in versions other than the one they are stored in: by their definition's webhook (ConversionReview),
//! or by nothing but another name. By the rules of k8s.io/apiextensions-apiserver/pkg/apiserver/conversion.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Api;
use super::resources::{Resource, split_api_version};
use crate::sim::crd::{CustomVersion, go_type};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::Fields as _;
use crate::sim::outbound::Target;
use crate::sim::random;
use crate::sim::status::Status;
use crate::sim::store::{Entry, Event, Store};
use crate::sim::validation::cursor::At;
use crate::sim::validation::metadata as rules;

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "ConversionReview";
/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How the API server names itself to webhooks.
const AGENT: &str = "kube-apiserver-admission";

impl Api {
    /// Returns what the store holds as requests of `resource` see it.
    pub(crate) async fn loaded(&self, resource: &Resource, entry: Arc<Entry>) -> Result<Arc<Entry>, Status> {
        let mut entries = vec![entry];
        self.load(resource, &mut entries).await?;
        entries.pop().ok_or_else(|| Status::internal("a conversion lost its object"))
    }

    /// As [`Self::loaded`] for many, which a webhook is asked for at once.
    pub(crate) async fn load(&self, resource: &Resource, entries: &mut [Arc<Entry>]) -> Result<(), Status> {
        if resource.definition.is_none() {
            return Ok(());
        }
        let custom = self.custom(resource);
        let wanted = resource.api_version();
        let other = |entry: &Entry| entry.object.text("apiVersion") != wanted;
        let places: Vec<usize> = (0..entries.len()).filter(|&at| other(&entries[at])).collect();
        if !places.is_empty() {
            let objects: Vec<Arc<Value>> = places.iter().map(|&at| entries[at].object.clone()).collect();
            let converted = converted(self.store(), resource, &wanted, &objects).await?;
            for (at, mut object) in places.into_iter().zip(converted) {
                if let Some(custom) = &custom {
                    custom.prune(&mut object);
                }
                entries[at] = entries[at].as_object(object);
            }
        }
        // What the schema has had a default for only since the object was written, shows it, too.
        if let Some(custom) = custom.filter(|custom| custom.has_defaults()) {
            for entry in entries {
                let mut object = Value::clone(&entry.object);
                custom.apply_defaults(&mut object);
                if object != *entry.object {
                    *entry = entry.as_object(object);
                }
            }
        }
        Ok(())
    }

    /// Returns a change as requests of `resource` see it.
    pub(crate) async fn loaded_event(
        &self,
        resource: &Resource,
        event: Arc<Event>,
    ) -> Result<Arc<Event>, Status> {
        if resource.definition.is_none() {
            return Ok(event);
        }
        let entry = self.loaded(resource, event.entry.clone()).await?;
        let previous = match &event.previous {
            Some(previous) => Some(self.loaded(resource, previous.clone()).await?),
            None => None,
        };
        let same = Arc::ptr_eq(&entry, &event.entry)
            && previous.as_ref().map(Arc::as_ptr) == event.previous.as_ref().map(Arc::as_ptr);
        Ok(if same { event } else { Arc::new(event.with(entry, previous)) })
    }

    /// Returns an object as it is to be stored.
    pub(crate) async fn saved(&self, resource: &Resource, object: Value) -> Result<Value, Status> {
        let wanted = resource.storage_kind.api_version();
        if resource.definition.is_none() || object.text("apiVersion") == wanted {
            return Ok(object);
        }
        let converted = converted(self.store(), resource, &wanted, &[Arc::new(object)]).await?;
        let mut object = converted.into_iter().next().unwrap_or_default();
        let mut stored = resource.clone();
        stored.version.clone_from(&resource.storage_kind.version);
        if let Some(custom) = self.custom(&stored) {
            custom.prune(&mut object);
        }
        Ok(object)
    }
}

/// Returns an object of a custom resource in the version of `resource`, pruned and with its defaults.
pub(crate) async fn in_version(store: &Store, resource: &Resource, object: &Value) -> Result<Value, Status> {
    let wanted = resource.api_version();
    if object.text("apiVersion") == wanted {
        return Ok(object.clone());
    }
    let converted = converted(store, resource, &wanted, &[Arc::new(object.clone())]).await?;
    let mut object = converted.into_iter().next().unwrap_or_default();
    if let Some(custom) = CustomVersion::of(resource) {
        custom.prune(&mut object);
        custom.apply_defaults(&mut object);
    }
    Ok(object)
}

/// Converts objects, none of which is of the wanted version.
async fn converted(
    store: &Store,
    resource: &Resource,
    wanted: &str,
    objects: &[Arc<Value>],
) -> Result<Vec<Value>, Status> {
    let conversion =
        resource.definition.as_ref().map_or(&Value::Null, |crd| crd.dig(&["spec", "conversion"]));
    if conversion.text("strategy") != "Webhook" {
        let renamed = objects.iter().map(|object| {
            let mut object = Value::clone(object);
            object["apiVersion"] = wanted.into();
            object
        });
        return Ok(renamed.collect());
    }
    let webhook = conversion.at("webhook");
    let target = Target::configured(store, webhook.at("clientConfig"))
        .map_err(|_| Status::internal("error resolving resource"))?;
    let asked = ask(&target, &webhook.texts("conversionReviewVersions"), wanted, objects).await;
    asked.map_err(|why| Status::new(500, "", why))
}

/// Asks a webhook and holds its answer to what it may do.
async fn ask(
    target: &Target,
    versions: &[&str],
    wanted: &str,
    objects: &[Arc<Value>],
) -> Result<Vec<Value>, String> {
    let kind = objects.first().map(|object| kind_of(object)).unwrap_or_default();
    let known = versions.iter().find(|version| matches!(**version, "v1" | "v1beta1"));
    let version = known.ok_or("no supported conversion review versions")?;
    let uid = random::uuid();
    let body = json!({ "kind": KIND, "apiVersion": format!("{GROUP}/{version}"),
        "request": { "uid": uid, "desiredAPIVersion": wanted,
            "objects": objects.iter().map(|object| &**object).collect::<Vec<_>>() },
        "response": { "uid": "", "convertedObjects": null, "result": { "metadata": {} } } });
    let failed = |why: String| format!("conversion webhook for {kind} failed: {why}");
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let answer = target.post(body, Some(TIMEOUT), AGENT).await.map_err(failed)?;
    let answer = answer.success().map_err(failed)?;
    let converted = read(&answer, version, &uid).map_err(failed)?;
    if converted.len() != objects.len() {
        let (found, expected) = (converted.len(), objects.len());
        return Err(format!("conversion webhook for {kind} returned {found} objects, expected {expected}"));
    }
    let one = objects.len() == 1;
    let check = |(at, (original, mut new)): (usize, (&Arc<Value>, Value))| {
        let place =
            if one { "object at index 0".to_owned() } else { format!("converted object at index {at}") };
        let refuse =
            |why: String| Err(format!("conversion webhook for {kind} returned invalid {place}: {why}"));
        let found = new.text("apiVersion");
        if found != wanted {
            return refuse(format!("invalid groupVersion (expected {wanted}, received {found})"));
        }
        let (expected, found) = (original.text("kind"), new.text("kind"));
        if found != expected {
            return refuse(format!("invalid kind (expected {expected}, received {found})"));
        }
        if let Err(why) = same_object(original, &new) {
            let object = if one { "object" } else { &place };
            return Err(format!("conversion webhook for {kind} returned invalid {object}: {why}"));
        }
        if let Err(why) = restore_metadata(original, &mut new) {
            let within = if one { String::new() } else { format!(" in object at index {at}") };
            return Err(format!("conversion webhook for {kind} returned invalid metadata{within}: {why}"));
        }
        Ok(new)
    };
    objects.iter().zip(converted).enumerate().map(check).collect()
}

/// Reads what a webhook has answered.
fn read(answer: &[u8], version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let mut review: Value = serde_json::from_slice(answer)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    let expected = format!("{GROUP}/{version}");
    if version == "v1" && (review.text("apiVersion"), review.text("kind")) != (&*expected, KIND) {
        let found = kind_of(&review);
        return Err(format!("expected webhook response of {expected}, Kind={KIND}, got {found}"));
    }
    let response = review.at("response");
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let answered = response.text("uid");
    if version == "v1" && answered != uid {
        return Err(format!("expected response.uid={uid:?}, got {answered:?}"));
    }
    let result = response.at("result");
    if result.text("status") != "Success" {
        return Err(match result.text("message") {
            "" => format!("response.result.status was '{}', not 'Success'", result.text("status")),
            message => message.to_owned(),
        });
    }
    match review["response"]["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Writes group, version and kind as Go prints them.
fn kind_of(object: &Value) -> String {
    let (group, version) = split_api_version(object.text("apiVersion"));
    format!("{group}/{version}, Kind={}", object.text("kind"))
}

fn same_object(original: &Value, new: &Value) -> Result<(), String> {
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (expected, found) = (original["metadata"].text(field), new["metadata"].text(field));
        if expected != found {
            return Err(format!("must have the same {shown}: {expected} != {found}"));
        }
    }
    Ok(())
}

/// Undoes what a webhook has changed of the metadata, but for labels and annotations.
fn restore_metadata(original: &Value, new: &mut Value) -> Result<(), String> {
    let Some(answered) = new.as_object_mut().and_then(|new| new.remove("metadata")) else {
        return Err("missing metadata in converted object".to_owned());
    };
    if !answered.is_object() {
        return Err(format!("invalid metadata of type {} in converted object", go_type(&answered)));
    }
    let mut metadata = match original.at("metadata") {
        Value::Null => json!({}),
        metadata => metadata.clone(),
    };
    for field in ["labels", "annotations"] {
        let given = answered.at(field);
        if given.is_null() {
            metadata.as_object_mut().map(|metadata| metadata.remove(field));
            continue;
        }
        if !given.is_object() {
            return Err(format!("invalid metadata.{field} of type {} in converted object", go_type(given)));
        }
        for (key, value) in given.as_object().into_iter().flatten() {
            if !value.is_string() {
                let found = go_type(value);
                return Err(format!(
                    "metadata.{field}[{key}] must be a string, but is {found} in converted object"
                ));
            }
        }
        if metadata.at(field) != given {
            let (mut errors, path) = (ErrorList::new(), Path::new("metadata"));
            match field {
                "labels" => rules::labels(&mut errors, &At::new(path.child(field), given)),
                _ => rules::annotations(&mut errors, &At::new(path.child("annotation"), given)),
            }
            let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
            match words.as_slice() {
                [] => {}
                [one] => return Err(one.clone()),
                many => return Err(format!("[{}]", many.join(", "))),
            }
        }
        metadata[field] = given.clone();
    }
    new["metadata"] = metadata;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(metadata: Value) -> Value {
        json!({"apiVersion": "a.example.com/v1", "kind": "Widget", "metadata": metadata})
    }

    #[test]
    fn a_webhook_changes_labels_and_annotations_and_nothing_else_of_the_metadata() {
        let original = object(json!({"name": "w", "uid": "1", "resourceVersion": "7",
            "labels": {"a": "1"}, "annotations": {"b": "2"}, "finalizers": ["x/y"]}));
        let mut new = object(json!({"name": "w", "uid": "1", "labels": {"a": "2"}, "finalizers": []}));
        restore_metadata(&original, &mut new).unwrap();
        assert_eq!(
            new["metadata"],
            json!({"name": "w", "uid": "1", "resourceVersion": "7", "labels": {"a": "2"}, "finalizers": ["x/y"]})
        );
        let mut bad = object(json!({"name": "w", "labels": {"a": 1}}));
        assert_eq!(
            restore_metadata(&original, &mut bad).unwrap_err(),
            "metadata.labels[a] must be a string, but is int64 in converted object"
        );
        let mut bad = object(json!({"name": "w", "labels": {"-": "1"}}));
        let why = restore_metadata(&original, &mut bad).unwrap_err();
        assert!(why.starts_with("metadata.labels: Invalid value: \"-\": name part must consist of"), "{why}");
        let renamed = object(json!({"name": "v", "uid": "1"}));
        assert_eq!(same_object(&original, &renamed).unwrap_err(), "must have the same name: w != v");
    }

    #[test]
    fn an_answer_must_be_one_to_the_question() {
        let answer = |change: &dyn Fn(&mut Value)| {
            let mut review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                "response": {"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{}]}});
            change(&mut review);
            read(review.to_string().as_bytes(), "v1", "u")
        };
        assert_eq!(answer(&|_| {}).unwrap(), [json!({})]);
        for (change, why) in [
            (
                (&|review: &mut Value| review["kind"] = "X".into()) as &dyn Fn(&mut Value),
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got \
                 apiextensions.k8s.io/v1, Kind=X",
            ),
            (&|review| review["response"] = Value::Null, "no response provided"),
            (&|review| review["response"]["uid"] = "v".into(), "expected response.uid=\"u\", got \"v\""),
            (
                &|review| review["response"]["result"] = json!({"status": "Failed"}),
                "response.result.status was 'Failed', not 'Success'",
            ),
            (
                &|review| review["response"]["result"] = json!({"status": "Failed", "message": "no way"}),
                "no way",
            ),
        ] {
            assert_eq!(answer(change).unwrap_err(), why);
        }
    }
}
