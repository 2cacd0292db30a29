//! ResourceQuota: a request that would take a namespace over a quota is refused, one that fits is charged with its write.
//!
//! The lock of the namespace is held from the judgement to the write, so that no two requests count on the same room;
//! the controller that recounts takes it too.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::pods::{NAMESPACES, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin, Reservation};
use crate::clock::Clock;
use crate::sim::object::field_at;
use crate::sim::pod_resources::{Amounts, amounts};
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::{Store, StoreError};

mod count;
mod evaluate;

#[cfg(test)]
mod tests;

/// `resourcequotas`
pub static QUOTAS: GroupResource = GroupResource::of("", "resourcequotas");

/// The locks of the namespaces, and the recounting of their quotas.
#[derive(Debug, Default)]
pub struct Ledger {
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Ledger {
    async fn lock(&self, namespace: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(namespace.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// Recounts every quota of a namespace and writes their status where it changes, as the quota controller does.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn recount(&self, store: &Store, clock: &dyn Clock, namespace: &str) -> Result<(), StoreError> {
        let _guard = self.lock(namespace).await;
        for entry in store.list(&QUOTAS, Some(namespace)) {
            recount_one(store, clock, &entry.object)?;
        }
        Ok(())
    }
}

fn recount_one(store: &Store, clock: &dyn Clock, quota: &Value) -> Result<Value, StoreError> {
    let (namespace, name) = (text(&quota["metadata"], "namespace"), text(&quota["metadata"], "name"));
    loop {
        let Some(entry) = store.get(&QUOTAS, namespace, name) else { return Ok(quota.clone()) };
        let mut object = (*entry.object).clone();
        let status = count::status(store, clock.now(), &object);
        if object["status"] == status {
            return Ok(object);
        }
        object["status"] = status;
        match store.update(&QUOTAS, namespace, name, Some(entry.revision), object) {
            Ok(entry) => return Ok((*entry.object).clone()),
            Err(StoreError::Conflict) => {}
            Err(StoreError::NotFound) => return Ok(quota.clone()),
            Err(other) => return Err(other),
        }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ResourceQuota {
    ledger: Arc<Ledger>,
}

impl ResourceQuota {
    /// Creates the plugin over the cluster's ledger.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.namespace.is_empty() || request.concerns(&NAMESPACES) || !evaluate::handles(request) {
            return Ok(());
        }
        if cx.store.list(&QUOTAS, Some(&request.namespace)).is_empty() {
            return Ok(());
        }
        let guard = self.ledger.lock(&request.namespace).await;
        let quotas = current(cx, &request.namespace)?;
        let charges = charges(cx, request, &quotas)?;
        if !request.dry_run && !charges.is_empty() {
            let charge = Charge {
                store: cx.store.clone(),
                namespace: request.namespace.clone(),
                charges,
                _guard: guard,
            };
            request.reservations.push(Box::new(charge));
        }
        Ok(())
    }
}

/// Returns the quotas of a namespace, those counted that the controller has not come to yet.
fn current(cx: &AdmissionCx<'_>, namespace: &str) -> Result<Vec<Value>, Status> {
    let mut quotas = Vec::new();
    for entry in cx.store.list(&QUOTAS, Some(namespace)) {
        let quota = &entry.object;
        let is_counted = amounts(&quota["spec"]["hard"]) == amounts(&quota["status"]["hard"]);
        quotas.push(if is_counted {
            Value::clone(quota)
        } else {
            recount_one(cx.store, cx.clock, quota).map_err(Status::internal)?
        });
    }
    Ok(quotas)
}

/// Returns what the request adds to each quota, by name.
fn charges(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    quotas: &[Value],
) -> Result<BTreeMap<String, Amounts>, Status> {
    let resource = request.group_resource();
    let now = cx.clock.now();
    let mut interesting = Vec::new();
    for quota in quotas {
        if !evaluate::matches(&resource, quota, request.object()) {
            continue;
        }
        let name = text(&quota["metadata"], "name");
        let hard = amounts(&quota["status"]["hard"]);
        let restricted = evaluate::matching(&resource, hard.keys());
        if let Err(why) = evaluate::constraints(&resource, &restricted, request.object()) {
            return Err(request.forbidden(format!("failed quota: {name}: {why}")));
        }
        let used = amounts(&quota["status"]["used"]);
        if restricted.iter().any(|resource| !used.contains_key(resource)) {
            let mut names = restricted;
            names.sort();
            let why = format!("status unknown for quota: {name}, resources: {}", names.join(","));
            return Err(request.forbidden(why));
        }
        interesting.push((quota, name, hard, used));
    }
    let usage = evaluate::usage(&resource, request.object(), now);
    let negative: Vec<&str> =
        usage.iter().filter(|(_, amount)| amount.is_negative()).map(|(name, _)| name.as_str()).collect();
    if !negative.is_empty() {
        let why = format!("quota usage is negative for resource(s): {}", negative.join(","));
        return Err(request.forbidden(why));
    }
    let before =
        (request.operation == Operation::Update).then(|| evaluate::usage(&resource, request.old(), now));
    let mut charges = BTreeMap::new();
    for (quota, name, hard, used) in interesting {
        let mut delta = match &before {
            Some(before) if evaluate::matches(&resource, quota, request.old()) => growth(&usage, before),
            _ => usage.clone(),
        };
        delta.retain(|resource, amount| !amount.is_zero() && hard.contains_key(resource));
        if delta.is_empty() {
            continue;
        }
        let exceeded: Vec<&String> = delta
            .iter()
            .filter(|(resource, more)| {
                used.get(*resource).copied().unwrap_or(Quantity::ZERO).plus(**more) > hard[*resource]
            })
            .map(|(resource, _)| resource)
            .collect();
        if !exceeded.is_empty() {
            let show = |amounts: &Amounts| {
                let shown: Vec<String> = exceeded
                    .iter()
                    .filter_map(|name| amounts.get(*name).map(|amount| format!("{name}={amount}")))
                    .collect();
                shown.join(",")
            };
            return Err(request.forbidden(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                show(&delta),
                show(&used),
                show(&hard)
            )));
        }
        charges.insert(name.to_owned(), delta);
    }
    Ok(charges)
}

/// Subtracts, but never below nothing: what becomes free is for the recount to find.
fn growth(now: &Amounts, before: &Amounts) -> Amounts {
    now.iter()
        .map(|(name, amount)| {
            let more = amount.minus(before.get(name).copied().unwrap_or(Quantity::ZERO));
            (name.clone(), if more.is_negative() { Quantity::ZERO } else { more })
        })
        .collect()
}

/// What a write costs, kept with the namespace's lock until it has happened.
struct Charge {
    store: Store,
    namespace: String,
    charges: BTreeMap<String, Amounts>,
    _guard: OwnedMutexGuard<()>,
}

impl Reservation for Charge {
    fn commit(self: Box<Self>) {
        for (name, delta) in &self.charges {
            // A quota that is gone needs no charge, and one that cannot be written is recounted later.
            while let Some(entry) = self.store.get(&QUOTAS, &self.namespace, name) {
                let mut object = (*entry.object).clone();
                add(&mut object, delta);
                match self.store.update(&QUOTAS, &self.namespace, name, Some(entry.revision), object) {
                    Err(StoreError::Conflict) => {}
                    _ => break,
                }
            }
        }
    }
}

fn add(quota: &mut Value, delta: &Amounts) {
    let status = field_at(quota, "status");
    for (name, more) in delta {
        let before = Quantity::of(&status["used"][name]);
        status["used"][name] = json!(before.plus(*more).to_string());
    }
}

/// Returns the scopes of a quota as selectors.
fn scopes(quota: &Value) -> Vec<Value> {
    let plain =
        items(&quota["spec"]["scopes"]).map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    plain.chain(items(&quota["spec"]["scopeSelector"]["matchExpressions"]).cloned()).collect()
}
