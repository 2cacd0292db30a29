//! CronJobs: a Job at each scheduled time, as the concurrency policy allows, and no more finished ones than wanted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::job::{JOBS, finished};
use super::queue::{Key, Queue};
use crate::sim::client::DeleteOptions;
use crate::sim::cron::{self, Schedule};
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const CRON_JOBS: GroupResource = GroupResource::of("batch", "cronjobs");
/// How many missed times are looked for at most.
const MISSED: usize = 100;

/// Keeps CronJobs.
#[derive(Debug)]
pub(crate) struct CronJobs;

#[async_trait]
impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![CRON_JOBS, JOBS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&CRON_JOBS) {
            queue.add(notice.key());
        } else if let Some(owner) = meta::controller(notice.object).filter(|owner| owner["kind"] == "CronJob")
        {
            let name = owner["name"].as_str().unwrap_or_default();
            queue.add(Key::new(meta::namespace(notice.object), name));
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(cron) = cx.get(&CRON_JOBS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let mut jobs = cx.list(&JOBS, Some(&key.namespace));
        jobs.retain(|job| meta::is_controlled_by(job, &cron));
        let mut status = if cron["status"].is_object() { cron["status"].clone() } else { json!({}) };
        observe(cx, &cron, &jobs, &mut status);
        clean_up(cx, &cron, &jobs).await?;
        let next = if meta::is_deleting(&cron) || cron["spec"]["suspend"] == true {
            Ok(Next::Done)
        } else {
            start_due(cx, &cron, &jobs, &mut status).await
        };
        if !object::equal(&status, &cron["status"]) {
            let mut updated = Value::clone(&cron);
            updated["status"] = status;
            cx.client.update_status(&CRON_JOBS, &key.namespace, &key.name, updated).await?;
        }
        next
    }
}

fn active(status: &Value) -> Vec<Value> {
    meta::items(&status["active"]).cloned().collect()
}

/// Brings the list of active Jobs up to date.
fn observe(cx: &Cx, cron: &Value, jobs: &[Arc<Value>], status: &mut Value) {
    let mut list = active(status);
    for job in jobs {
        let name = meta::name(job);
        let listed = list.iter().position(|entry| entry["uid"] == job["metadata"]["uid"]);
        match (listed, finished(job)) {
            (None, None) => {
                let text = format!("Saw a job that the controller did not create or forgot: {name}");
                cx.recorder.warning(cron, "UnexpectedJob", text);
            }
            (Some(index), Some(condition)) => {
                list.remove(index);
                let kind = condition["type"].as_str().unwrap_or_default();
                let text = format!("Saw completed job: {name}, condition: {kind}");
                cx.recorder.normal(cron, "SawCompletedJob", text);
            }
            _ => {}
        }
        if let Some(done) = meta::time(&job["status"]["completionTime"])
            && finished(job).is_some_and(|c| c["type"] == "Complete")
            && meta::time(&status["lastSuccessfulTime"]).is_none_or(|last| last < done)
        {
            status["lastSuccessfulTime"] = meta::seconds(done).into();
        }
    }
    list.retain(|entry| {
        let there = jobs.iter().any(|job| job["metadata"]["uid"] == entry["uid"]);
        if !there {
            let name = entry["name"].as_str().unwrap_or_default();
            cx.recorder.normal(cron, "MissingJob", format!("Active job went missing: {name}"));
        }
        there
    });
    meta::set_omitempty(status, "active", list);
}

async fn clean_up(cx: &Cx, cron: &Value, jobs: &[Arc<Value>]) -> Result<(), Status> {
    for (kind, limit) in [("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")] {
        let Some(limit) = cron["spec"][limit].as_u64() else { continue };
        let mut ended: Vec<&Arc<Value>> =
            jobs.iter().filter(|job| finished(job).is_some_and(|c| c["type"] == kind)).collect();
        ended.sort_by_key(|job| {
            (job["status"]["startTime"].as_str().map(str::to_owned), meta::name(job).to_owned())
        });
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for job in ended.into_iter().take(surplus).filter(|job| !meta::is_deleting(job)) {
            delete(cx, cron, job).await?;
        }
    }
    Ok(())
}

async fn delete(cx: &Cx, cron: &Value, job: &Value) -> Result<(), Status> {
    let name = meta::name(job);
    let options =
        DeleteOptions { propagation_policy: Some("Background".to_owned()), ..DeleteOptions::default() };
    match cx.client.delete(&JOBS, meta::namespace(job), name, options).await {
        Err(status) if status.code != 404 => {
            cx.recorder.warning(cron, "FailedDelete", format!("Deleted job: {status}"));
            Err(status)
        }
        _ => {
            cx.recorder.normal(cron, "SuccessfulDelete", format!("Deleted job {name}"));
            Ok(())
        }
    }
}

/// Starts the Job whose time has come, if there is one, and tells when the next will have.
async fn start_due(cx: &Cx, cron: &Value, jobs: &[Arc<Value>], status: &mut Value) -> Result<Next, Status> {
    let spec = &cron["spec"];
    let text = spec["schedule"].as_str().unwrap_or_default();
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(why) => {
            cx.recorder.warning(
                cron,
                "UnparseableSchedule",
                format!("unparseable schedule: {text:?} : {why}"),
            );
            return Ok(Next::Done);
        }
    };
    let zone = spec["timeZone"].as_str().and_then(cron::time_zone).unwrap_or(TimeZone::UTC);
    let now = cx.clock().now();
    let next = schedule.next(now, &zone).and_then(|at| cx.until(at)).unwrap_or(Duration::from_secs(60));
    let next = Next::After(next + Duration::from_millis(100));
    let deadline = spec["startingDeadlineSeconds"].as_i64();
    let Some(due) = latest_due(cron, status, &schedule, &zone, now) else { return Ok(next) };
    if deadline.is_some_and(|seconds| now.duration_since(due) > SignedDuration::from_secs(seconds)) {
        let shown = due.strftime("%a, %d %b %Y %H:%M:%S +0000");
        cx.recorder.warning(cron, "MissSchedule", format!("Missed scheduled time to start a job: {shown}"));
        return Ok(next);
    }
    let name = format!("{}-{}", meta::name(cron), due.as_second() / 60);
    let running = active(status);
    if running.iter().any(|entry| entry["name"] == name.as_str()) {
        return Ok(next);
    }
    match spec["concurrencyPolicy"].as_str() {
        Some("Forbid") if !running.is_empty() => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            cx.recorder.normal(cron, "JobAlreadyActive", text);
            return Ok(next);
        }
        Some("Replace") => {
            for entry in &running {
                if let Some(job) = jobs.iter().find(|job| job["metadata"]["uid"] == entry["uid"]) {
                    delete(cx, cron, job).await?;
                }
            }
            meta::set_omitempty(status, "active", Vec::<Value>::new());
        }
        _ => {}
    }
    let job = build(cron, &name, due, &zone);
    match cx.client.create(&JOBS, meta::namespace(cron), job).await {
        Ok(job) => {
            cx.recorder.normal(cron, "SuccessfulCreate", format!("Created job {name}"));
            let mut list = active(status);
            list.push(json!({
                "apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": meta::namespace(cron),
                "resourceVersion": job["metadata"]["resourceVersion"], "uid": meta::uid(&job),
            }));
            status["active"] = list.into();
        }
        Err(status) if super::pods::is_namespace_going(&status) => return Ok(Next::Done),
        // A Job of this name was made before, and is not forgotten.
        Err(status) if status.reason == "AlreadyExists" => {}
        Err(status) => {
            cx.recorder.warning(cron, "FailedCreate", format!("Error creating job: {status}"));
            return Err(status);
        }
    }
    status["lastScheduleTime"] = meta::seconds(due).into();
    Ok(next)
}

/// Returns the last scheduled time that has come since the last one that was served.
fn latest_due(
    cron: &Value,
    status: &Value,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut since = meta::time(&status["lastScheduleTime"]).or_else(|| meta::created(cron))?;
    if let Some(seconds) = cron["spec"]["startingDeadlineSeconds"].as_i64() {
        since = since.max(now.checked_sub(SignedDuration::from_secs(seconds)).ok()?);
    }
    let mut due = None;
    let mut moment = since;
    for _ in 0..MISSED {
        match schedule.next(moment, zone) {
            Some(next) if next <= now => {
                due = Some(next);
                moment = next;
            }
            _ => return due,
        }
    }
    // After a long pause the times just passed are what matters.
    let recent = now.checked_sub(SignedDuration::from_hours(1)).ok()?;
    let mut moment = recent;
    while let Some(next) = schedule.next(moment, zone).filter(|next| *next <= now) {
        due = Some(next);
        moment = next;
    }
    due
}

fn build(cron: &Value, name: &str, due: Timestamp, zone: &TimeZone) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let mut meta_of_job = json!({
        "name": name, "namespace": meta::namespace(cron), "ownerReferences": [meta::controller_reference(cron)],
    });
    for field in ["labels", "annotations"] {
        if !template["metadata"][field].is_null() {
            meta_of_job[field] = template["metadata"][field].clone();
        }
    }
    let shown =
        due.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    meta_of_job["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = shown.into();
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta_of_job, "spec": template["spec"]})
}

#[cfg(test)]
mod tests;
