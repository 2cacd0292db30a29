//! Jobs: Pods until enough of them have succeeded, each counted exactly once by a finalizer that it carries until then.
//! What the counts mean is in `verdict`, which index does what in `indexed`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::claim::claim;
use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::workload;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;
use verdict::Verdict;

mod indexed;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) const JOBS: GroupResource = GroupResource::of("batch", "jobs");
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The longest delay before a failed Pod is replaced.
const BACK_OFF_MOST: Duration = Duration::from_secs(600);

/// Keeps Jobs.
#[derive(Debug)]
pub(crate) struct Jobs;

fn selector(job: &Value) -> Selector {
    Selector::from_label_selector(&job["spec"]["selector"]).unwrap_or_else(|_| Selector::nothing())
}

/// Returns the condition that a Job has ended with.
pub(crate) fn finished(job: &Value) -> Option<&Value> {
    ["Complete", "Failed"]
        .iter()
        .filter_map(|kind| meta::condition(job, kind))
        .find(|condition| condition["status"] == "True")
}

#[async_trait]
impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![JOBS, PODS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&PODS) {
            workload::owners_of_pod(cx, notice, &JOBS, "Job", selector, queue);
        } else {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(job) = cx.get(&JOBS, &key.namespace, &key.name) else {
            return release_orphans(cx, key).await;
        };
        let candidates = cx.list(&PODS, Some(&key.namespace));
        let mine = claim(cx, &PODS, &job, &selector(&job), candidates).await?;
        if finished(&job).is_some() || meta::is_deleting(&job) {
            for pod in &mine {
                untrack(cx, pod).await?;
            }
            return Ok(Next::Done);
        }
        Round { cx, job: Value::clone(&job), pods: mine, now: cx.clock().now() }.run().await
    }
}

/// Pods of a Job that is gone need not be counted any more.
async fn release_orphans(cx: &Cx, key: &Key) -> Result<Next, Status> {
    for pod in cx.list(&PODS, Some(&key.namespace)) {
        let of_job =
            meta::controller(&pod).is_none_or(|o| o["kind"] == "Job" && o["name"] == key.name.as_str());
        if of_job {
            untrack(cx, &pod).await?;
        }
    }
    Ok(Next::Done)
}

async fn untrack(cx: &Cx, pod: &Value) -> Result<(), Status> {
    if !meta::has_finalizer(pod, FINALIZER) {
        return Ok(());
    }
    let rest = meta::finalizers_without(pod, FINALIZER);
    let patch = json!({"metadata": {
        "uid": meta::uid(pod), "resourceVersion": pod["metadata"]["resourceVersion"],
        "finalizers": if rest.is_empty() { Value::Null } else { rest.into() },
    }});
    match cx.client.merge_patch(&PODS, meta::namespace(pod), meta::name(pod), "", patch).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Tells how a Pod counts: a Pod that is deleted before it succeeded has failed.
fn outcome(pod: &Value) -> Option<bool> {
    match pods::phase(pod) {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ if meta::is_deleting(pod) => Some(false),
        _ => None,
    }
}

/// One working off of one Job.
struct Round<'a> {
    cx: &'a Cx,
    job: Value,
    pods: Vec<Arc<Value>>,
    now: Timestamp,
}

impl Round<'_> {
    async fn run(&mut self) -> Result<Next, Status> {
        self.count().await?;
        let suspended = self.job["spec"]["suspend"] == true;
        let mut status = self.job["status"].clone();
        if !suspended && status["startTime"].is_null() {
            status["startTime"] = meta::seconds(self.now).into();
        }
        let mut verdict =
            if self.decided().is_some() { None } else { verdict::judge(&self.job, &self.pods, self.now) };
        let mut next = Next::Done;
        let mut managed = Ok(());
        if verdict.is_some() || self.decided().is_some() || suspended {
            managed = self.delete_active().await;
        } else {
            match self.manage().await {
                Ok(wait) => next = next.or_after(wait),
                Err(failure) => managed = Err(failure),
            }
        }
        if let Some(verdict) = &verdict {
            verdict.announce(&mut status, self.now);
        }
        if verdict.is_none() {
            verdict = self.decided();
        }
        self.set_suspended(&mut status, suspended);
        let (active, terminating) = self.write_counts(&mut status);
        let mut ended = None;
        if let Some(verdict) = verdict.filter(|_| active == 0 && terminating == 0) {
            verdict.conclude(&mut status, self.now);
            ended = Some(verdict);
        }
        if !object::equal(&status, &self.job["status"]) {
            self.write(status).await?;
        }
        match ended {
            Some(Verdict::Complete { .. }) => {
                self.cx.recorder.normal(&self.job, "Completed", "Job completed")
            }
            Some(Verdict::Failed { reason, message }) => self.cx.recorder.warning(&self.job, reason, message),
            None => {}
        }
        managed?;
        let deadline = verdict::deadline(&self.job).filter(|_| !suspended);
        Ok(next.or_after(deadline.and_then(|at| self.cx.until(at))))
    }

    /// Returns the verdict that is announced but not concluded.
    fn decided(&self) -> Option<Verdict> {
        Verdict::announced(&self.job)
    }

    /// Counts Pods that have ended: noted as uncounted, then freed of the finalizer, then counted. Broken off anywhere, it
    /// goes on from there.
    async fn count(&mut self) -> Result<(), Status> {
        let lists = ["succeeded", "failed"];
        let uncounted = |job: &Value, list: &str| -> BTreeSet<String> {
            let uids = meta::items(&job["status"]["uncountedTerminatedPods"][list]).filter_map(Value::as_str);
            uids.map(str::to_owned).collect()
        };
        let mut sets = lists.map(|list| uncounted(&self.job, list));
        let mut fresh = false;
        for pod in &self.pods {
            let tracked = meta::has_finalizer(pod, FINALIZER);
            let Some(good) = outcome(pod).filter(|_| tracked) else { continue };
            if !good && verdict::is_ignored(&self.job, pod) {
                untrack(self.cx, pod).await?;
                continue;
            }
            let known = sets.iter().any(|set| set.contains(meta::uid(pod)));
            if !known {
                sets[usize::from(!good)].insert(meta::uid(pod).to_owned());
                fresh = true;
            }
        }
        if sets.iter().all(BTreeSet::is_empty) {
            return Ok(());
        }
        if fresh {
            let mut status = self.job["status"].clone();
            let mut shown = json!({});
            for (list, set) in lists.iter().zip(&sets) {
                meta::set_omitempty(
                    &mut shown,
                    list,
                    set.iter().cloned().map(Value::from).collect::<Vec<_>>(),
                );
            }
            status["uncountedTerminatedPods"] = shown;
            self.write(status).await?;
        }
        for pod in &self.pods {
            if sets.iter().any(|set| set.contains(meta::uid(pod))) {
                untrack(self.cx, pod).await?;
            }
        }
        let mut status = self.job["status"].clone();
        for (list, set) in lists.iter().zip(&sets) {
            let count = meta::int(&status[*list], 0) + set.len() as i64;
            meta::set_omitempty(&mut status, list, count);
        }
        indexed::note(&self.job, &self.pods, &mut status);
        status["uncountedTerminatedPods"] = json!({});
        self.write(status).await
    }

    fn active(&self) -> Vec<&Arc<Value>> {
        self.pods.iter().filter(|pod| pods::is_active(pod)).collect()
    }

    async fn delete_active(&self) -> Result<(), Status> {
        let mut outcome = Ok(());
        for pod in self.active() {
            outcome = outcome.and(pods::delete(self.cx, &self.job, pod).await);
        }
        outcome
    }

    /// Makes or deletes Pods; tells how long it is until a failed one may be replaced.
    async fn manage(&self) -> Result<Option<Duration>, Status> {
        let spec = &self.job["spec"];
        let active = self.active();
        let succeeded = meta::int(&self.job["status"]["succeeded"], 0);
        let parallelism = meta::int(&spec["parallelism"], 1);
        let wanted = match spec["completions"].as_i64() {
            None if succeeded > 0 => active.len() as i64,
            None => parallelism,
            Some(completions) => (completions - succeeded).min(parallelism).max(0),
        };
        let count = active.len() as i64;
        if count > wanted {
            let mut ranked: Vec<Arc<Value>> = active.into_iter().cloned().collect();
            pods::by_deletion_rank(&mut ranked, &[], self.now);
            for pod in ranked.iter().take(usize::try_from(count - wanted).unwrap_or_default()) {
                pods::delete(self.cx, &self.job, pod).await?;
            }
            return Ok(None);
        }
        let mut missing = usize::try_from(wanted - count).unwrap_or_default();
        if spec["podReplacementPolicy"] == "Failed" {
            let terminating =
                self.pods.iter().filter(|p| meta::is_deleting(p) && !pods::is_finished(p)).count();
            missing = missing.saturating_sub(terminating);
        }
        if missing == 0 {
            return Ok(None);
        }
        if let Some(wait) = self.back_off() {
            return Ok(Some(wait));
        }
        let mut template = pods::from_template(&spec["template"], &self.job);
        template["metadata"]["finalizers"] = {
            let mut finalizers: Vec<Value> =
                meta::items(&template["metadata"]["finalizers"]).cloned().collect();
            finalizers.push(FINALIZER.into());
            finalizers.into()
        };
        if spec["completionMode"] != "Indexed" {
            pods::create_slowly(self.cx, &self.job, &template, missing).await?;
            return Ok(None);
        }
        for index in indexed::open(&self.job, &self.pods).into_iter().take(missing) {
            let pod = indexed::pod(&self.job, template.clone(), index, &self.pods);
            match pods::create(self.cx, &self.job, pod).await {
                Err(status) if pods::is_namespace_going(&status) => return Ok(None),
                other => other?,
            };
        }
        Ok(None)
    }

    /// Tells how long it is until a Pod may follow those that failed one after the other.
    fn back_off(&self) -> Option<Duration> {
        let ends = |pod: &Value| {
            let ended = meta::items(&pod["status"]["containerStatuses"])
                .filter_map(|c| meta::time(&c["state"]["terminated"]["finishedAt"]))
                .max();
            ended.or_else(|| meta::time(&pod["metadata"]["deletionTimestamp"])).or_else(|| meta::created(pod))
        };
        let mut ended: Vec<(Timestamp, bool)> =
            self.pods.iter().filter_map(|pod| Some((ends(pod)?, outcome(pod)?))).collect();
        ended.sort();
        let failures = ended.iter().rev().take_while(|(_, good)| !good).count();
        let (last, _) = ended.last().filter(|_| failures > 0)?;
        let factor = 1_u32.checked_shl(u32::try_from(failures - 1).unwrap_or(31).min(31)).unwrap_or(u32::MAX);
        let delay = self.cx.settings.job_back_off.saturating_mul(factor).min(BACK_OFF_MOST);
        self.cx.until(last.checked_add(SignedDuration::try_from(delay).ok()?).ok()?)
    }

    fn set_suspended(&self, status: &mut Value, suspended: bool) {
        let known = meta::items(&status["conditions"]).find(|c| c["type"] == "Suspended");
        let was = known.is_some_and(|c| c["status"] == "True");
        if suspended == was {
            return;
        }
        if suspended {
            verdict::set(status, "Suspended", "True", "JobSuspended", "Job suspended", self.now);
            self.cx.recorder.normal(&self.job, "Suspended", "Job suspended");
            if let Some(map) = status.as_object_mut() {
                map.remove("startTime");
            }
        } else {
            verdict::set(status, "Suspended", "False", "JobResumed", "Job resumed", self.now);
            self.cx.recorder.normal(&self.job, "Resumed", "Job resumed");
            status["startTime"] = meta::seconds(self.now).into();
        }
    }

    /// Writes what runs into the status, as it is after this round; returns the numbers of active and terminating Pods.
    fn write_counts(&self, status: &mut Value) -> (usize, usize) {
        let namespace = meta::namespace(&self.job);
        let mut now = self.cx.list(&PODS, Some(namespace));
        now.retain(|pod| meta::is_controlled_by(pod, &self.job));
        let active = now.iter().filter(|pod| pods::is_active(pod)).count();
        let ready = now.iter().filter(|pod| pods::is_active(pod) && pods::is_ready(pod)).count();
        let terminating = now.iter().filter(|pod| meta::is_deleting(pod) && !pods::is_finished(pod)).count();
        meta::set_omitempty(status, "active", active);
        status["ready"] = ready.into();
        status["terminating"] = terminating.into();
        if status["uncountedTerminatedPods"].is_null() {
            status["uncountedTerminatedPods"] = json!({});
        }
        (active, terminating)
    }

    async fn write(&mut self, status: Value) -> Result<(), Status> {
        let (namespace, name) = (meta::namespace(&self.job).to_owned(), meta::name(&self.job).to_owned());
        let mut job = self.job.clone();
        job["status"] = status;
        let written = self.cx.client.update_status(&JOBS, &namespace, &name, job).await?;
        self.job = Value::clone(&written);
        Ok(())
    }
}
