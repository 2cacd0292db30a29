//! Deployments: a ReplicaSet for each revision of the template, and the replicas moved between them by the strategy.
//! The arithmetic is in `rollout`, the status and its conditions in `progress`, revisions and annotations in `revision`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::claim::claim;
use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::replica_set::REPLICA_SETS;
use super::workload;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

mod progress;
mod revision;
mod rollout;
#[cfg(test)]
mod tests;

pub(crate) const DEPLOYMENTS: GroupResource = GroupResource::of("apps", "deployments");

/// Keeps Deployments.
#[derive(Debug)]
pub(crate) struct Deployments;

fn selector(deployment: &Value) -> Selector {
    Selector::from_label_selector(&deployment["spec"]["selector"]).unwrap_or_else(|_| Selector::nothing())
}

/// A ReplicaSet's wanted replicas.
fn replicas(set: &Value) -> i64 {
    meta::int(&set["spec"]["replicas"], 1)
}

#[async_trait]
impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![DEPLOYMENTS, REPLICA_SETS, PODS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&DEPLOYMENTS) {
            queue.add(notice.key());
        } else if notice.is(&REPLICA_SETS) {
            workload::owners_of_pod(cx, notice, &DEPLOYMENTS, "Deployment", selector, queue);
        } else if notice.is_gone() {
            // Recreate waits until the last old Pod is gone.
            let namespace = meta::namespace(notice.object);
            let set = meta::controller(notice.object).and_then(|owner| {
                cx.get(&REPLICA_SETS, namespace, owner["name"].as_str().unwrap_or_default())
            });
            if let Some(owner) = set.as_deref().and_then(meta::controller) {
                queue.add(Key::new(namespace, owner["name"].as_str().unwrap_or_default()));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(deployment) = cx.get(&DEPLOYMENTS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let selector = selector(&deployment);
        let mut round = Round { cx, deployment: Value::clone(&deployment), sets: Vec::new() };
        if selector.is_everything() {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            cx.recorder.warning(&round.deployment, "SelectingAll", text);
            if meta::int(&round.deployment["status"]["observedGeneration"], 0)
                < meta::generation(&round.deployment)
            {
                let mut status = round.deployment["status"].clone();
                status["observedGeneration"] = meta::generation(&round.deployment).into();
                round.write_status(status).await?;
            }
            return Ok(Next::Done);
        }
        let candidates = cx.list(&REPLICA_SETS, Some(&key.namespace));
        round.sets = claim(cx, &REPLICA_SETS, &deployment, &selector, candidates).await?;
        round.run().await
    }
}

/// One working off of one Deployment. `deployment` and `sets` are kept as they were last written.
struct Round<'a> {
    cx: &'a Cx,
    deployment: Value,
    sets: Vec<Arc<Value>>,
}

impl Round<'_> {
    async fn run(&mut self) -> Result<Next, Status> {
        if meta::is_deleting(&self.deployment) {
            let (new, old) = self.revisions(false).await?;
            return self.sync_status(new.as_ref(), &old, false).await;
        }
        if let Some(status) = progress::paused_or_resumed(&self.deployment, self.cx.clock().now()) {
            self.write_status(status).await?;
        }
        let paused = self.deployment["spec"]["paused"] == true;
        if paused || rollout::is_scaling(&self.deployment, &self.sets) {
            let (mut new, mut old) = self.revisions(false).await?;
            self.scale(&mut new, &mut old).await?;
            if paused {
                self.clean_up(&old).await?;
            }
            return self.sync_status(new.as_ref(), &old, false).await;
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            self.recreate().await
        } else {
            self.roll().await
        }
    }

    async fn roll(&mut self) -> Result<Next, Status> {
        let (mut new, mut old) = self.revisions(true).await?;
        let Some(set) = new.as_mut() else { return self.sync_status(None, &old, true).await };
        let wanted = replicas(&self.deployment);
        let current = replicas(set);
        let target = if current > wanted {
            wanted
        } else {
            let total = current + old.iter().map(replicas).sum::<i64>();
            rollout::new_set_replicas(&self.deployment, total, current)
        };
        let mut scaled = false;
        if current != wanted {
            scaled = self.scale_set(set, target).await?;
        }
        if !scaled {
            let plan = rollout::old_set_replicas(&self.deployment, set, &old);
            for (set, target) in old.iter_mut().zip(plan) {
                for step in target {
                    scaled |= self.scale_set(set, step).await?;
                }
            }
        }
        if !scaled && progress::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up(&old).await?;
        }
        self.sync_status(new.as_ref(), &old, true).await
    }

    async fn recreate(&mut self) -> Result<Next, Status> {
        let (mut new, mut old) = self.revisions(false).await?;
        let mut scaled = false;
        for set in &mut old {
            if replicas(set) != 0 {
                scaled |= self.scale_set(set, 0).await?;
            }
        }
        if scaled || self.old_pods_remain(new.as_ref(), &old) {
            return self.sync_status(new.as_ref(), &old, true).await;
        }
        if new.is_none() {
            (new, old) = self.revisions(true).await?;
        }
        if let Some(set) = new.as_mut() {
            self.scale_set(set, replicas(&self.deployment)).await?;
        }
        if progress::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up(&old).await?;
        }
        self.sync_status(new.as_ref(), &old, true).await
    }

    fn old_pods_remain(&self, new: Option<&Value>, old: &[Value]) -> bool {
        if old.iter().any(|set| meta::int(&set["status"]["replicas"], 0) > 0) {
            return true;
        }
        self.cx.list(&PODS, Some(meta::namespace(&self.deployment))).iter().any(|pod| {
            !pods::is_finished(pod)
                && new.is_none_or(|set| !meta::is_controlled_by(pod, set))
                && self.sets.iter().any(|set| meta::is_controlled_by(pod, set))
        })
    }

    /// Returns the ReplicaSet of the current template, made when there is none and `create` is set, and all others.
    async fn revisions(&mut self, create: bool) -> Result<(Option<Value>, Vec<Value>), Status> {
        let mut sets: Vec<Value> = self.sets.iter().map(|set| Value::clone(set)).collect();
        sets.sort_by(|a, b| {
            (&a["metadata"]["creationTimestamp"].as_str(), meta::name(a))
                .cmp(&(&b["metadata"]["creationTimestamp"].as_str(), meta::name(b)))
        });
        let position = sets.iter().position(|set| revision::is_same_template(&self.deployment, set));
        let existing = position.map(|index| sets.remove(index));
        let next = sets.iter().map(revision::of).max().unwrap_or_default() + 1;
        let new = match existing {
            Some(set) => Some(self.refresh(set, next).await?),
            None if create => self.create_set(&sets, next).await?,
            None => None,
        };
        Ok((new, sets))
    }

    async fn refresh(&mut self, set: Value, next: i64) -> Result<Value, Status> {
        let mut updated = set.clone();
        let mut changed = revision::annotate(&self.deployment, &mut updated, next, true);
        let min_ready = &self.deployment["spec"]["minReadySeconds"];
        if meta::int(min_ready, 0) != meta::int(&set["spec"]["minReadySeconds"], 0) {
            updated["spec"]["minReadySeconds"] = min_ready.clone();
            changed = true;
        }
        if changed {
            return self.update_set(updated).await;
        }
        let mut deployment = self.deployment.clone();
        let mut write = revision::annotate_deployment(&mut deployment, revision::of(&set));
        if progress::has_deadline(&deployment) && meta::condition(&deployment, "Progressing").is_none() {
            let text = format!("Found new replica set {:?}", meta::name(&set));
            progress::set(
                &mut deployment["status"],
                "Progressing",
                "True",
                "FoundNewReplicaSet",
                &text,
                self.now(),
            );
            write = true;
        }
        if write {
            self.write(deployment).await?;
        }
        Ok(set)
    }

    async fn create_set(&mut self, old: &[Value], next: i64) -> Result<Option<Value>, Status> {
        let namespace = meta::namespace(&self.deployment).to_owned();
        let collisions = self.deployment["status"]["collisionCount"].as_i64();
        let hash = meta::template_hash(&self.deployment["spec"]["template"], collisions);
        let mut set = revision::new_set(&self.deployment, &hash);
        let total = old.iter().map(replicas).sum::<i64>();
        let count = rollout::new_set_replicas(&self.deployment, total, 0);
        set["spec"]["replicas"] = count.into();
        revision::annotate(&self.deployment, &mut set, next, false);
        let name = meta::name(&set).to_owned();
        let created = match self.cx.client.create(&REPLICA_SETS, &namespace, set).await {
            Ok(created) => created,
            Err(status) if status.code == 409 && status.reason == "AlreadyExists" => {
                let there = self.cx.get(&REPLICA_SETS, &namespace, &name);
                match there {
                    Some(there)
                        if meta::is_controlled_by(&there, &self.deployment)
                            && revision::is_same_template(&self.deployment, &there) =>
                    {
                        there
                    }
                    _ => {
                        let mut deployment = self.deployment.clone();
                        deployment["status"]["collisionCount"] = (collisions.unwrap_or_default() + 1).into();
                        self.write(deployment).await?;
                        return Err(status);
                    }
                }
            }
            Err(status) if pods::is_namespace_going(&status) => return Ok(None),
            Err(status) => {
                let text = format!("Failed to create new replica set {name:?}: {status}");
                if progress::has_deadline(&self.deployment) {
                    let mut deployment = self.deployment.clone();
                    let now = self.now();
                    progress::set(
                        &mut deployment["status"],
                        "Progressing",
                        "False",
                        "ReplicaSetCreateError",
                        &text,
                        now,
                    );
                    self.write(deployment).await?;
                }
                self.cx.recorder.warning(&self.deployment, "ReplicaSetCreateError", text);
                return Err(status);
            }
        };
        self.sets.push(created.clone());
        if count > 0 {
            let text = format!("Scaled up replica set {name} from 0 to {count}");
            self.cx.recorder.normal(&self.deployment, "ScalingReplicaSet", text);
        }
        let mut deployment = self.deployment.clone();
        let mut write = revision::annotate_deployment(&mut deployment, next);
        if progress::has_deadline(&deployment) {
            let text = format!("Created new replica set {name:?}");
            progress::set(
                &mut deployment["status"],
                "Progressing",
                "True",
                "NewReplicaSetCreated",
                &text,
                self.now(),
            );
            write = true;
        }
        if write {
            self.write(deployment).await?;
        }
        Ok(Some(Value::clone(&created)))
    }

    /// Spreads the wanted replicas over the sets there are, in proportion when more than one is active.
    async fn scale(&mut self, new: &mut Option<Value>, old: &mut [Value]) -> Result<(), Status> {
        let wanted = replicas(&self.deployment);
        let active = old.iter().filter(|set| replicas(set) > 0).count();
        let new_active = new.as_ref().is_some_and(|set| replicas(set) > 0);
        if active + usize::from(new_active) <= 1 {
            let only = if new_active || (active == 0 && new.is_some()) {
                new.as_mut()
            } else if active == 1 {
                old.iter_mut().find(|set| replicas(set) > 0)
            } else {
                old.last_mut()
            };
            if let Some(set) = only {
                self.scale_set(set, wanted).await?;
            }
            return Ok(());
        }
        if new.as_ref().is_some_and(|set| rollout::is_saturated(&self.deployment, set)) {
            for set in old.iter_mut().filter(|set| replicas(set) > 0) {
                self.scale_set(set, 0).await?;
            }
            return Ok(());
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            return Ok(());
        }
        let all: Vec<&Value> = old.iter().chain(new.iter()).filter(|set| replicas(set) > 0).collect();
        let sizes: BTreeMap<String, i64> = rollout::proportions(&self.deployment, &all);
        for set in old.iter_mut().chain(new.iter_mut()) {
            if let Some(&size) = sizes.get(meta::name(set)) {
                self.scale_set(set, size).await?;
            }
        }
        Ok(())
    }

    /// Sets a ReplicaSet's size and the annotations that remember the Deployment's; tells whether the size changed.
    async fn scale_set(&mut self, set: &mut Value, size: i64) -> Result<bool, Status> {
        let before = replicas(set);
        let mut updated = set.clone();
        updated["spec"]["replicas"] = size.into();
        let annotated = revision::annotate_size(&self.deployment, &mut updated);
        if before == size && !annotated {
            return Ok(false);
        }
        *set = self.update_set(updated).await?;
        if before != size {
            let direction = if size > before { "up" } else { "down" };
            let name = meta::name(set);
            let text = format!("Scaled {direction} replica set {name} from {before} to {size}");
            self.cx.recorder.normal(&self.deployment, "ScalingReplicaSet", text);
        }
        Ok(before != size)
    }

    async fn clean_up(&mut self, old: &[Value]) -> Result<(), Status> {
        let Some(limit) = self.deployment["spec"]["revisionHistoryLimit"].as_i64() else { return Ok(()) };
        let mut cleanable: Vec<&Value> = old.iter().filter(|set| !meta::is_deleting(set)).collect();
        let surplus = cleanable.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        cleanable.sort_by_key(|set| revision::of(set));
        for set in cleanable.into_iter().take(surplus) {
            let status = &set["status"];
            let observed = meta::int(&status["observedGeneration"], 0) >= meta::generation(set);
            if meta::int(&status["replicas"], 0) != 0 || replicas(set) != 0 || !observed {
                continue;
            }
            let options = DeleteOptions { uid: Some(meta::uid(set).to_owned()), ..DeleteOptions::default() };
            match self.cx.client.delete(&REPLICA_SETS, meta::namespace(set), meta::name(set), options).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => self.sets.retain(|other| meta::uid(other) != meta::uid(set)),
            }
        }
        Ok(())
    }

    /// Writes the status; with `rollout` the progress conditions too.
    async fn sync_status(
        &mut self,
        new: Option<&Value>,
        old: &[Value],
        rollout: bool,
    ) -> Result<Next, Status> {
        let all: Vec<&Value> = old.iter().chain(new).collect();
        let now = self.now();
        let mut status = progress::counts(&self.deployment, &all, new, now);
        if rollout {
            progress::judge(&self.deployment, &mut status, &all, new, now);
        }
        if !crate::sim::object::equal(&status, &self.deployment["status"]) {
            self.write_status(status).await?;
        }
        let deadline = progress::deadline(&self.deployment);
        Ok(Next::Done
            .or_after(deadline.map(|at| self.cx.until(at).unwrap_or_default() + Duration::from_millis(1001))))
    }

    fn now(&self) -> jiff::Timestamp {
        self.cx.clock().now()
    }

    async fn write_status(&mut self, status: Value) -> Result<(), Status> {
        let mut deployment = self.deployment.clone();
        deployment["status"] = status;
        self.write(deployment).await
    }

    async fn write(&mut self, deployment: Value) -> Result<(), Status> {
        let (namespace, name) = (meta::namespace(&deployment).to_owned(), meta::name(&deployment).to_owned());
        let written = self.cx.client.update_status(&DEPLOYMENTS, &namespace, &name, deployment).await?;
        self.deployment = Value::clone(&written);
        Ok(())
    }

    async fn update_set(&mut self, set: Value) -> Result<Value, Status> {
        let (namespace, name) = (meta::namespace(&set).to_owned(), meta::name(&set).to_owned());
        let written = self.cx.client.update(&REPLICA_SETS, &namespace, &name, set).await?;
        for known in &mut self.sets {
            if meta::uid(known) == meta::uid(&written) {
                *known = written.clone();
            }
        }
        Ok(Value::clone(&written))
    }
}
