//! Indexed Jobs: which index a Pod has, which are done, and what their status says. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::outcome;
use crate::sim::controllers::pods;
use crate::sim::meta;

const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

fn is_indexed(job: &Value) -> bool {
    job["spec"]["completionMode"] == "Indexed"
}

fn index_of(pod: &Value) -> Option<i64> {
    meta::annotation(pod, INDEX)?.parse().ok()
}

/// Returns how often the index of a Pod had failed before it.
fn failures(pod: &Value) -> i64 {
    meta::annotation(pod, FAILURES).and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Reads `0-2,5`.
fn parse(text: &str) -> BTreeSet<i64> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<i64>().ok()?..=last.parse::<i64>().ok()?)
        })
        .flatten()
        .collect()
}

/// Writes `0-2,5`.
fn format(indexes: &BTreeSet<i64>) -> String {
    let mut parts: Vec<(i64, i64)> = Vec::new();
    for &index in indexes {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => parts.push((index, index)),
        }
    }
    let shown = parts.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(",")
}

fn known(job: &Value, field: &str) -> BTreeSet<i64> {
    parse(job["status"][field].as_str().unwrap_or_default())
}

/// Notes the indexes that have succeeded or failed for good; the count of successes is that of indexes.
pub(super) fn note(job: &Value, pods: &[Arc<Value>], status: &mut Value) {
    if !is_indexed(job) {
        return;
    }
    let completions = meta::int(&job["spec"]["completions"], 0);
    let mut done = known(job, "completedIndexes");
    done.extend(
        pods.iter()
            .filter(|pod| outcome(pod) == Some(true))
            .filter_map(|p| index_of(p))
            .filter(|i| *i < completions),
    );
    meta::set_omitempty(status, "completedIndexes", format(&done));
    meta::set_omitempty(status, "succeeded", done.len());
    if let Some(limit) = job["spec"]["backoffLimitPerIndex"].as_i64() {
        let mut failed = known(job, "failedIndexes");
        failed.extend(
            pods.iter()
                .filter(|pod| outcome(pod) == Some(false))
                .filter_map(|pod| index_of(pod).filter(|_| failures(pod) >= limit)),
        );
        status["failedIndexes"] = format(&failed).into();
    }
}

/// Lists the indexes that no Pod works on and that are not done.
pub(super) fn open(job: &Value, pods: &[Arc<Value>]) -> Vec<i64> {
    let taken: BTreeSet<i64> =
        pods.iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| index_of(pod)).collect();
    let (done, failed) = (known(job, "completedIndexes"), known(job, "failedIndexes"));
    (0..meta::int(&job["spec"]["completions"], 0))
        .filter(|index| !taken.contains(index) && !done.contains(index) && !failed.contains(index))
        .collect()
}

/// Makes the Pod of an index; `pods` are those that there were, whose failures it carries on.
pub(super) fn pod(job: &Value, mut pod: Value, index: i64, pods: &[Arc<Value>]) -> Value {
    let text = index.to_string();
    let name = meta::name(job);
    pod["metadata"]["generateName"] = format!("{name}-{index}-").into();
    pod["metadata"]["annotations"][INDEX] = text.clone().into();
    pod["metadata"]["labels"][INDEX] = text.into();
    if job["spec"]["backoffLimitPerIndex"].is_i64() {
        let failed = pods.iter().filter(|pod| index_of(pod) == Some(index) && outcome(pod) == Some(false));
        let counted = failed.map(|pod| failures(pod) + 1).max().unwrap_or_default();
        pod["metadata"]["annotations"][FAILURES] = counted.to_string().into();
    }
    pod["spec"]["hostname"] = format!("{name}-{index}").into();
    let variable = json!({
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{INDEX}']")}},
    });
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let mut env: Vec<Value> = meta::items(&container["env"]).cloned().collect();
            if !env.iter().any(|v| v["name"] == "JOB_COMPLETION_INDEX") {
                env.push(variable.clone());
            }
            container["env"] = env.into();
        }
    }
    pod
}

/// Says why a Job with failed indexes has failed: too many of them, or nothing left to do.
pub(super) fn failure(job: &Value, active: usize) -> Option<(&'static str, &'static str)> {
    let failed = known(job, "failedIndexes");
    if failed.is_empty() {
        return None;
    }
    if job["spec"]["maxFailedIndexes"].as_i64().is_some_and(|most| failed.len() as i64 > most) {
        return Some((
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        ));
    }
    let all = known(job, "completedIndexes").len() + failed.len();
    let done = all as i64 >= meta::int(&job["spec"]["completions"], 0) && active == 0;
    done.then_some(("FailedIndexes", "Job has failed indexes"))
}

/// Tells whether the indexes that have succeeded are enough by the Job's success policy.
pub(super) fn meets_success_policy(job: &Value) -> bool {
    let done = known(job, "completedIndexes");
    meta::items(&job["spec"]["successPolicy"]["rules"]).any(|rule| {
        let among = match rule["succeededIndexes"].as_str() {
            Some(text) => parse(text),
            None => (0..meta::int(&job["spec"]["completions"], 0)).collect(),
        };
        let count = among.intersection(&done).count() as i64;
        match rule["succeededCount"].as_i64() {
            Some(enough) => count >= enough,
            None => count == among.len() as i64 && !among.is_empty(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_read_and_written_as_ranges() {
        for text in ["", "0", "0,1", "0-2,4", "1,3,5-9"] {
            assert_eq!(format(&parse(text)), text);
        }
    }
}
