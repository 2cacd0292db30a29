//! Jobs and CronJobs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cursor::{At, Faults, exported};
use super::metadata::{self, MetaRules, label_selector, selector_matches};
use super::{names, pod};
use crate::sim::cron::{self, Schedule};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, copy, equal, field_at};

const MOST: i64 = 100_000;

pub(super) fn job(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    generated_selector(&mut errors, object);
    let spec = At::field(object, "spec");
    job_spec_with_selector(&mut errors, &spec);
    let completions = spec.value.int("completions").unwrap_or_default();
    if spec.value.text("completionMode") == "Indexed" && completions > 0 {
        let name = object.at("metadata").text("name");
        let host = format!("{name}-{}", completions - 1);
        if !names::dns1123_label(&host).is_empty() {
            errors.invalid(
                &Path::new("metadata").child("name"),
                name,
                format!("will not able to create pod with invalid DNS label: {host}"),
            );
        }
    }
    errors
}

fn generated_selector(errors: &mut ErrorList, object: &Value) {
    let spec = object.at("spec");
    let selector = spec.at("selector");
    if spec.truth("manualSelector") == Some(true) || selector.is_null() {
        return;
    }
    let (uid, name) = (object.at("metadata").text("uid"), object.at("metadata").text("name"));
    if uid.is_empty() {
        errors.required(&Path::new("metadata").child("uid"), "");
    }
    let labels = At::new(
        Path::new("spec").child("template").child("metadata").child("labels"),
        spec.dig(&["template", "metadata", "labels"]),
    );
    let expected = [
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
        ("controller-uid", uid),
        ("job-name", name),
    ];
    for (key, value) in expected {
        let path = labels.path.key(key);
        match labels.value.at(key).as_str() {
            None => errors.required(&path, &format!("must be '{value}'")),
            Some(found) if found != value => {
                errors.invalid(&path, labels.value.clone(), format!("must be '{value}'"));
            }
            Some(_) => {}
        }
    }
    let expected: serde_json::Map<_, _> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    if !selector_matches(selector, &expected.into()) {
        errors.invalid(
            &Path::new("spec").child("selector"),
            selector.clone(),
            "`selector` not auto-generated",
        );
    }
}

fn job_spec_with_selector(errors: &mut ErrorList, spec: &At<'_>) {
    job_spec(errors, spec);
    let selector = spec.child("selector");
    if selector.is_null() {
        errors.required(&selector.path, "");
    } else {
        label_selector(errors, &selector);
    }
    let labels = spec.value.dig(&["template", "metadata", "labels"]);
    if selector.is_null() || !selector_matches(selector.value, labels) {
        errors.invalid(
            &spec.path.child("template").child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        );
    }
}

fn job_spec(errors: &mut ErrorList, spec: &At<'_>) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.negative(&spec.child(name));
    }
    let per_index = spec.child("backoffLimitPerIndex");
    let failed = spec.child("maxFailedIndexes");
    if failed.present() && per_index.is_null() {
        errors.required(&per_index.path, "when maxFailedIndexes is specified");
    }
    let manager = spec.child("managedBy");
    if manager.present() {
        domain_prefixed_path(errors, &manager);
        if manager.len() > 63 {
            errors.too_long(&manager.path, 63);
        }
    }
    completion_mode(errors, spec, &per_index, &failed);
    failure_policy(errors, spec);
    success_policy(errors, spec);
    let replacement = spec.child("podReplacementPolicy");
    if replacement.present() {
        let known: &[&str] =
            if spec.value.has("podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        if !known.contains(&replacement.str()) {
            errors.not_supported(&replacement.path, replacement.str(), known);
        }
    }
    let template = spec.child("template");
    pod::template(errors, &template);
    let policy = template.child("spec").child("restartPolicy");
    match policy.str() {
        "" | "Always" => errors.required(&policy.path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.value.has("podFailurePolicy") => errors.invalid(
            &policy.path,
            "OnFailure",
            "only \"Never\" is supported when podFailurePolicy is specified",
        ),
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&policy.path, other, &["OnFailure", "Never"]),
    }
}

fn completion_mode(errors: &mut ErrorList, spec: &At<'_>, per_index: &At<'_>, failed: &At<'_>) {
    let mode = spec.child("completionMode");
    let completions = spec.child("completions");
    match mode.str() {
        "Indexed" => {
            let Some(count) = completions.int() else {
                errors.required(&completions.path, "when completion mode is Indexed");
                return;
            };
            let parallelism = spec.child("parallelism");
            let above = format!("must be less than or equal to {MOST} when completion mode is Indexed");
            if parallelism.number() > MOST {
                errors.invalid(&parallelism.path, parallelism.number(), above);
            }
            if failed.number() > count {
                errors.invalid(&failed.path, failed.number(), "must be less than or equal to completions");
            }
            if failed.number() > MOST {
                errors.invalid(
                    &failed.path,
                    failed.number(),
                    format!("must be less than or equal to {MOST}"),
                );
            }
            if count > MOST && per_index.present() {
                if failed.is_null() {
                    errors.required(
                        &failed.path,
                        &format!("must be specified when completions is above {MOST}"),
                    );
                }
                if parallelism.number() > 10_000 {
                    errors.invalid(
                        &parallelism.path,
                        parallelism.number(),
                        format!("must be less than or equal to 10000 when completions are above {MOST} and used with backoff limit per index"),
                    );
                }
                if failed.number() > 10_000 {
                    errors.invalid(
                        &failed.path,
                        failed.number(),
                        format!("must be less than or equal to 10000 when completions are above {MOST} and used with backoff limit per index"),
                    );
                }
            }
        }
        "" | "NonIndexed" => {
            for field in [per_index, failed] {
                if field.present() {
                    errors.push(FieldError::invalid(
                        &field.path,
                        field.value.clone(),
                        "requires indexed completion mode",
                    ));
                }
            }
        }
        other => errors.not_supported(&mode.path, other, &["NonIndexed", "Indexed"]),
    }
}

fn omitted(errors: &mut ErrorList, path: &Path, detail: &str) {
    errors.push(FieldError::invalid(path, Value::Null, detail).showing(""));
}

fn failure_policy(errors: &mut ErrorList, spec: &At<'_>) {
    const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
    let policy = spec.child("podFailurePolicy");
    if policy.is_null() {
        return;
    }
    let rules = policy.child("rules");
    if rules.len() > 20 {
        errors.too_many(&rules.path, rules.len(), 20);
    }
    let template = spec.child("template").child("spec");
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| template.value.items(list))
        .map(|container| container.text("name"))
        .collect();
    for rule in rules.items() {
        let action = rule.child("action");
        match action.str() {
            "" => errors
                .required(&action.path, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            "FailIndex" if !spec.value.has("backoffLimitPerIndex") => {
                errors.invalid(&action.path, "FailIndex", "requires the backoffLimitPerIndex to be set");
            }
            other if !ACTIONS.contains(&other) => errors.not_supported(&action.path, other, &ACTIONS),
            _ => {}
        }
        let (codes, conditions) = (rule.child("onExitCodes"), rule.child("onPodConditions"));
        if codes.present() {
            exit_codes(errors, &codes, &containers);
        }
        if conditions.len() > 20 {
            errors.too_many(&conditions.path, conditions.len(), 20);
        }
        for condition in conditions.items() {
            let (kind, status) = (condition.child("type"), condition.child("status"));
            errors.all(&kind.path, kind.str(), names::qualified_name(kind.str()));
            match status.str() {
                "True" | "False" | "Unknown" => {}
                "" => errors.required(&status.path, "valid values: [\"False\" \"True\" \"Unknown\"]"),
                other => errors.not_supported(&status.path, other, &["False", "True", "Unknown"]),
            }
        }
        match (codes.present(), !conditions.is_empty()) {
            (true, true) => omitted(
                errors,
                &rule.path,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            ),
            (false, false) => {
                omitted(errors, &rule.path, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn exit_codes(errors: &mut ErrorList, at: &At<'_>, containers: &BTreeSet<&str>) {
    let (operator, values, container) = (at.child("operator"), at.child("values"), at.child("containerName"));
    match operator.str() {
        "In" | "NotIn" => {}
        "" => errors.required(&operator.path, "valid values: [\"In\" \"NotIn\"]"),
        other => errors.not_supported(&operator.path, other, &["In", "NotIn"]),
    }
    if container.present() && !containers.contains(container.str()) {
        errors.invalid(
            &container.path,
            container.str(),
            "must be one of the container or initContainer names in the pod template",
        );
    }
    if values.is_empty() {
        errors.invalid(&values.path, values.value.clone(), "at least one value is required");
    } else if values.len() > 255 {
        errors.too_many(&values.path, values.len(), 255);
    }
    let mut sorted = true;
    let mut before = None;
    let mut seen = BTreeSet::new();
    for value in values.items() {
        let code = value.number();
        if !seen.insert(code) {
            errors.duplicate(&value.path, code);
        } else if operator.str() == "In" && code == 0 {
            errors.invalid(&value.path, 0, "must not be 0 for the In operator");
        }
        sorted &= before.is_none_or(|before| before <= code);
        before = Some(code);
    }
    if !sorted {
        errors.invalid(&values.path, values.value.clone(), "must be ordered");
    }
}

fn success_policy(errors: &mut ErrorList, spec: &At<'_>) {
    let policy = spec.child("successPolicy");
    if policy.is_null() {
        return;
    }
    if spec.value.text("completionMode") != "Indexed" {
        errors.invalid_object(&policy.path, policy.value, "requires indexed completion mode");
        return;
    }
    let rules = policy.child("rules");
    if rules.is_empty() {
        errors.required(
            &rules.path,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if rules.len() > 20 {
        errors.too_many(&rules.path, rules.len(), 20);
    }
    for rule in rules.items() {
        let (indexes, count) = (rule.child("succeededIndexes"), rule.child("succeededCount"));
        if indexes.is_null() && count.is_null() {
            errors
                .required(&rule.path, "at least one of succeededCount or succeededIndexes must be specified");
        }
        if let Some(number) = count.int() {
            errors.negative(&count);
            let completions = spec.value.int("completions").unwrap_or_default();
            if number > completions {
                errors.invalid(
                    &count.path,
                    number,
                    format!(
                        "must be less than or equal to {completions} (the number of specified completions)"
                    ),
                );
            }
        }
    }
}

/// Validates a name such as `acme.io/foo`.
pub(super) fn domain_prefixed_path(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.required(&at.path, "");
        return;
    }
    match at.str().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            for message in names::dns1123_subdomain(host) {
                errors.invalid(&at.path, host, message);
            }
            let inner = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
            if !path.chars().all(inner) {
                errors.invalid(
                    &at.path,
                    path,
                    names::pattern_error("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]),
                );
            }
        }
        _ => errors.invalid(&at.path, at.str(), "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

pub(super) fn job_update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        let status = At::field(new, "status");
        for name in ["active", "succeeded", "failed", "ready", "terminating"] {
            errors.negative(&status.child(name));
        }
        return errors;
    }
    let (spec, before) = (At::field(new, "spec"), old.at("spec"));
    job_spec_with_selector(&mut errors, &spec);
    let completions = spec.child("completions");
    if spec.value.text("completionMode") != "Indexed" {
        errors.immutable(&completions.path, completions.value, before.at("completions"));
    } else if !equal(completions.value, before.at("completions"))
        && completions.int() != spec.value.int("parallelism")
    {
        errors.invalid(
            &completions.path,
            completions.value.clone(),
            "can only be modified in tandem with spec.parallelism",
        );
    }
    errors.immutable(&spec.path.child("selector"), spec.value.at("selector"), before.at("selector"));
    let mut template = spec.value.at("template").clone();
    let waits = before.truth("suspend") == Some(true) && !old.at("status").has("startTime");
    if waits {
        // A Job that has not begun may still be told where its Pods may run.
        let earlier = before.at("template");
        for name in ["labels", "annotations"] {
            copy(field_at(&mut template, "metadata"), earlier.at("metadata"), name);
        }
        let pod = field_at(&mut template, "spec");
        for name in ["nodeSelector", "tolerations", "schedulingGates"] {
            copy(pod, earlier.at("spec"), name);
        }
        let affinity = earlier.dig(&["spec", "affinity"]);
        if affinity.is_null() && pod.at("affinity").as_object().is_none_or(|map| map.len() <= 1) {
            copy(pod, earlier.at("spec"), "affinity");
        } else {
            copy(field_at(pod, "affinity"), affinity, "nodeAffinity");
        }
    }
    if !equal(&template, before.at("template")) {
        errors.push(FieldError::invalid(
            &spec.path.child("template"),
            exported(spec.value.at("template")),
            super::cursor::IMMUTABLE,
        ));
    }
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        let field = spec.child(name);
        if !equal(field.value, before.at(name)) {
            errors.push(FieldError::invalid(&field.path, exported(field.value), super::cursor::IMMUTABLE));
        }
    }
    errors
}

pub(super) fn cron_job(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    cron_job_spec(&mut errors, object, None);
    let name = object.at("metadata").text("name");
    if name.len() > 52 {
        errors.invalid(&Path::new("metadata").child("name"), name, names::too_long(52));
    }
    errors
}

pub(super) fn cron_job_update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource != "status" {
        cron_job_spec(&mut errors, new, Some(old.at("spec")));
    }
    errors
}

fn cron_job_spec(errors: &mut ErrorList, object: &Value, before: Option<&Value>) {
    let spec = At::field(object, "spec");
    let (schedule, zone) = (spec.child("schedule"), spec.child("timeZone"));
    if schedule.str().is_empty() {
        errors.required(&schedule.path, "");
    } else {
        if let Err(fault) = Schedule::parse(schedule.str()) {
            errors.invalid(&schedule.path, schedule.str(), fault);
        }
        let already = before.is_some_and(|before| before.text("schedule").contains("TZ"));
        if schedule.str().contains("TZ") {
            if !already {
                errors.invalid(
                    &schedule.path,
                    schedule.str(),
                    "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
                );
            } else if zone.present() {
                errors.invalid(
                    &schedule.path,
                    schedule.str(),
                    "cannot use both timeZone field and TZ or CRON_TZ in schedule",
                );
            }
        }
    }
    errors.negative(&spec.child("startingDeadlineSeconds"));
    if before.is_none_or(|before| before.at("timeZone") != zone.value) && zone.present() {
        time_zone(errors, &zone);
    }
    let concurrency = spec.child("concurrencyPolicy");
    match concurrency.str() {
        "Allow" | "Forbid" | "Replace" => {}
        "" => errors.required(&concurrency.path, ""),
        other => errors.not_supported(&concurrency.path, other, &["Allow", "Forbid", "Replace"]),
    }
    let job = spec.child("jobTemplate").child("spec");
    job_spec(errors, &job);
    let selector = job.child("selector");
    if selector.present() {
        errors.invalid(&selector.path, selector.value.clone(), "`selector` will be auto-generated");
    }
    let manual = job.child("manualSelector");
    if manual.is_true() {
        errors.not_supported(&manual.path, true, &["nil", "false"]);
    }
    errors.negative(&spec.child("successfulJobsHistoryLimit"));
    errors.negative(&spec.child("failedJobsHistoryLimit"));
}

fn time_zone(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.invalid(&at.path, "", "timeZone must be nil or non-empty string");
        return;
    }
    if at.str().eq_ignore_ascii_case("local") {
        errors.invalid(
            &at.path,
            at.str(),
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
    // Go knows `Local`, spelled like that, as a place.
    if at.str() != "Local" && cron::time_zone(at.str()).is_none() {
        errors.invalid(&at.path, at.str(), format!("unknown time zone {}", at.str()));
    }
}
