use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::sim::admission::pods::PODS;
use crate::sim::admission::testing::{Cluster, create, update};

static SECRETS: GroupResource = GroupResource::of("", "secrets");
static SERVICES: GroupResource = GroupResource::of("", "services");
static CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
static DEPLOYMENTS: GroupResource = GroupResource::of("apps", "deployments");

fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"hard": hard}})
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"},
        "spec": {"containers": [{"name": "c", "resources": resources}]}})
}

fn plugin() -> ResourceQuota {
    ResourceQuota::new(Arc::default())
}

/// Does what the API does: judges, stores, keeps the charge.
fn make(
    cluster: &Cluster,
    plugin: &ResourceQuota,
    resource: &GroupResource,
    object: Value,
) -> Result<(), String> {
    let mut request = create(&resource.group, &resource.resource, object.clone());
    cluster.validate(plugin, &mut request).map_err(|refusal| refusal.message)?;
    cluster.put(resource, object);
    request.commit();
    Ok(())
}

fn used(cluster: &Cluster, name: &str) -> Value {
    cluster.get(&QUOTAS, "n", name)["status"]["used"].clone()
}

fn recount(cluster: &Cluster, ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ledger.recount(&cluster.store, &cluster.clock, "n")).unwrap();
}

#[test]
fn pods_are_charged_and_refused_in_upstreams_words() {
    let cluster = Cluster::new().with(&QUOTAS, quota("q", json!({"pods": "2", "requests.cpu": "300m"})));
    let plugin = plugin();
    let make = |name: &str, resources: Value| make(&cluster, &plugin, &PODS, pod(name, resources));
    assert_eq!(
        make("a", json!({})).unwrap_err(),
        r#"pods "a" is forbidden: failed quota: q: must specify requests.cpu for: c"#
    );
    make("a", json!({"requests": {"cpu": "100m"}})).unwrap();
    assert_eq!(used(&cluster, "q"), json!({"pods": "1", "requests.cpu": "100m"}));
    assert_eq!(
        make("b", json!({"requests": {"cpu": "250m"}})).unwrap_err(),
        r#"pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=250m, used: requests.cpu=100m, limited: requests.cpu=300m"#
    );
    make("b", json!({"requests": {"cpu": "100m"}})).unwrap();
    assert_eq!(
        make("c", json!({"requests": {"cpu": "200m"}})).unwrap_err(),
        r#"pods "c" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=200m, used: pods=2,requests.cpu=200m, limited: pods=2,requests.cpu=300m"#
    );
}

#[test]
fn what_is_missing_is_named_by_resource_and_container() {
    let hard = json!({"limits.memory": "1Gi", "requests.cpu": "1", "memory": "1Gi", "requests.ephemeral-storage": "1"});
    let cluster = Cluster::new().with(&QUOTAS, quota("q", hard));
    let mut object = pod("p", json!({"requests": {"memory": "1"}}));
    object["spec"]["initContainers"] = json!([{"name": "b"}, {"name": "a"}]);
    assert_eq!(
        make(&cluster, &plugin(), &PODS, object).unwrap_err(),
        r#"pods "p" is forbidden: failed quota: q: must specify limits.memory for: a,b,c; memory for: a,b; requests.cpu for: a,b,c"#
    );
}

#[test]
fn every_kind_can_be_counted() {
    let hard = json!({"secrets": "1", "count/deployments.apps": "1", "count/secrets": "5"});
    let cluster = Cluster::new().with(&QUOTAS, quota("q", hard));
    let plugin = plugin();
    let object = |name: &str| json!({"metadata": {"name": name, "namespace": "n"}});
    make(&cluster, &plugin, &SECRETS, object("a")).unwrap();
    assert_eq!(
        make(&cluster, &plugin, &SECRETS, object("b")).unwrap_err(),
        r#"secrets "b" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=1, limited: secrets=1"#
    );
    make(&cluster, &plugin, &DEPLOYMENTS, object("a")).unwrap();
    assert_eq!(
        make(&cluster, &plugin, &DEPLOYMENTS, object("b")).unwrap_err(),
        r#"deployments.apps "b" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"#
    );
    assert_eq!(
        used(&cluster, "q"),
        json!({"secrets": "1", "count/deployments.apps": "1", "count/secrets": "1"})
    );
}

#[test]
fn services_are_charged_for_node_ports_and_load_balancers() {
    let cluster = Cluster::new()
        .with(&QUOTAS, quota("q", json!({"services.nodeports": "0", "services.loadbalancers": "0"})));
    let plugin = plugin();
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"type": kind, "ports": [{"port": 1}, {"port": 2}]}});
    make(&cluster, &plugin, &SERVICES, service("inner", "ClusterIP")).unwrap();
    assert_eq!(
        make(&cluster, &plugin, &SERVICES, service("np", "NodePort")).unwrap_err(),
        r#"services "np" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=0"#
    );
    assert_eq!(
        make(&cluster, &plugin, &SERVICES, service("lb", "LoadBalancer")).unwrap_err(),
        r#"services "lb" is forbidden: exceeded quota: q, requested: services.loadbalancers=1,services.nodeports=2, used: services.loadbalancers=0,services.nodeports=0, limited: services.loadbalancers=0,services.nodeports=0"#
    );
    let mut change = update("", "services", service("inner", "ClusterIP"), service("inner", "NodePort"));
    let message = cluster.validate(&plugin, &mut change).unwrap_err().message;
    assert!(message.contains("requested: services.nodeports=2"), "{message}");
    let mut same = update("", "services", service("inner", "ClusterIP"), service("inner", "ClusterIP"));
    cluster.validate(&plugin, &mut same).unwrap();
}

#[test]
fn claims_are_charged_by_size_and_class() {
    let hard = json!({"requests.storage": "3Gi", "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
        "persistentvolumeclaims": "9"});
    let cluster = Cluster::new().with(&QUOTAS, quota("q", hard));
    let plugin = plugin();
    let claim = |name: &str, class: &str, size: &str| {
        json!({"metadata": {"name": name, "namespace": "n"},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
    };
    make(&cluster, &plugin, &CLAIMS, claim("a", "gold", "1Gi")).unwrap();
    let message = make(&cluster, &plugin, &CLAIMS, claim("b", "gold", "1Gi")).unwrap_err();
    assert!(
        message.contains("requested: gold.storageclass.storage.k8s.io/requests.storage=1Gi"),
        "{message}"
    );
    make(&cluster, &plugin, &CLAIMS, claim("b", "tin", "1Gi")).unwrap();
    let mut grown = update("", "persistentvolumeclaims", claim("b", "tin", "1Gi"), claim("b", "tin", "3Gi"));
    let message = cluster.validate(&plugin, &mut grown).unwrap_err().message;
    assert!(message.contains("requested: requests.storage=2Gi, used: requests.storage=2Gi"), "{message}");
    let mut grown = update("", "persistentvolumeclaims", claim("b", "tin", "1Gi"), claim("b", "tin", "2Gi"));
    cluster.validate(&plugin, &mut grown).unwrap();
    grown.commit();
    assert_eq!(used(&cluster, "q")["requests.storage"], "3Gi");
}

#[test]
fn scopes_choose_the_pods() {
    let scoped = |scope: Value| {
        let mut quota = quota("q", json!({"pods": "0"}));
        quota["spec"].as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        quota
    };
    let selector = |operator: &str, values: Value| {
        json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
    };
    let refused = |scope: Value, spec: Value| {
        let cluster = Cluster::new().with(&QUOTAS, scoped(scope));
        let mut object = pod("p", json!({}));
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        make(&cluster, &plugin(), &PODS, object).is_err()
    };
    let deadline = json!({"activeDeadlineSeconds": 5});
    assert!(refused(json!({"scopes": ["Terminating"]}), deadline.clone()));
    assert!(!refused(json!({"scopes": ["Terminating"]}), json!({})));
    assert!(!refused(json!({"scopes": ["NotTerminating"]}), deadline));
    assert!(refused(json!({"scopes": ["NotTerminating"]}), json!({})));
    assert!(refused(json!({"scopes": ["BestEffort"]}), json!({})));
    assert!(!refused(json!({"scopes": ["NotBestEffort"]}), json!({})));
    let high = json!({"priorityClassName": "high"});
    assert!(refused(selector("In", json!(["high"])), high.clone()));
    assert!(!refused(selector("In", json!(["low"])), high.clone()));
    assert!(!refused(selector("NotIn", json!(["high"])), high.clone()));
    assert!(refused(selector("Exists", json!([])), high.clone()));
    assert!(refused(selector("DoesNotExist", json!([])), json!({})));
    assert!(!refused(selector("DoesNotExist", json!([])), high));
    let affinity = json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["other"]}]}}});
    assert!(refused(json!({"scopes": ["CrossNamespacePodAffinity"]}), affinity));
    assert!(!refused(json!({"scopes": ["CrossNamespacePodAffinity"]}), json!({})));
    // What has no scopes at all falls into none.
    let cluster = Cluster::new().with(&QUOTAS, {
        let mut quota = quota("q", json!({"pods": "0", "services": "0"}));
        quota["spec"]["scopes"] = json!(["BestEffort"]);
        quota
    });
    make(&cluster, &plugin(), &SERVICES, json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {}}))
        .unwrap();
}

#[test]
fn a_write_that_fails_costs_nothing() {
    let cluster = Cluster::new().with(&QUOTAS, quota("q", json!({"secrets": "1"})));
    let plugin = plugin();
    let object = json!({"metadata": {"name": "a", "namespace": "n"}});
    for _ in 0..2 {
        let mut request = create("", "secrets", object.clone());
        cluster.validate(&plugin, &mut request).unwrap();
        drop(request);
    }
    let mut dry = create("", "secrets", object.clone());
    dry.dry_run = true;
    cluster.validate(&plugin, &mut dry).unwrap();
    assert!(dry.reservations.is_empty());
    make(&cluster, &plugin, &SECRETS, object).unwrap();
    let mut dry = create("", "secrets", json!({"metadata": {"name": "b", "namespace": "n"}}));
    dry.dry_run = true;
    assert!(cluster.validate(&plugin, &mut dry).is_err(), "a dry run is judged all the same");
}

#[test]
fn the_room_of_one_is_not_given_to_two() {
    let cluster = Cluster::new().with(&QUOTAS, quota("q", json!({"secrets": "1"})));
    let plugin = plugin();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let authorizer = crate::sim::authz::Authorizer::new(vec![], Arc::new(cluster.store.clone()));
    let authorizer = Arc::new(authorizer);
    let resources = Arc::new(crate::sim::api::resources::Resources::builtin());
    let cx = AdmissionCx { store: &cluster.store, authorizer, resources, clock: &cluster.clock };
    let attempt = async |name: &str| {
        let object = json!({"metadata": {"name": name, "namespace": "n"}});
        let mut request = create("", "secrets", object.clone());
        plugin.validate(&cx, &mut request).await.map_err(|refusal| refusal.message)?;
        tokio::task::yield_now().await;
        cluster.put(&SECRETS, object);
        request.commit();
        Ok::<(), String>(())
    };
    let (a, b) = runtime.block_on(async { futures::join!(attempt("a"), attempt("b")) });
    assert!(a.is_ok() && b.is_err(), "{a:?} {b:?}");
}

#[test]
fn recounting_finds_what_became_free() {
    let hard = json!({"pods": "5", "count/pods": "9", "requests.cpu": "1", "requests.example.com/gpu": "4", "foo": "1"});
    let cluster = Cluster::new().with(&QUOTAS, quota("q", hard.clone()));
    let ledger = Ledger::default();
    cluster.put(&PODS, pod("a", json!({"requests": {"cpu": "100m", "example.com/gpu": "2"}})));
    let mut done = pod("done", json!({"requests": {"cpu": "100m"}}));
    done["status"] = json!({"phase": "Succeeded"});
    cluster.put(&PODS, done);
    let mut going = pod("going", json!({"requests": {"cpu": "100m"}}));
    going["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    going["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    cluster.put(&PODS, going);
    recount(&cluster, &ledger);
    let status = cluster.get(&QUOTAS, "n", "q")["status"].clone();
    assert_eq!(amounts(&status["hard"]), amounts(&hard));
    assert_eq!(
        status["used"],
        json!({"pods": "2", "count/pods": "3", "requests.cpu": "200m", "requests.example.com/gpu": "2"})
    );
    let clock: &ManualClock = &cluster.clock;
    clock.advance(std::time::Duration::from_secs(31));
    recount(&cluster, &ledger);
    assert_eq!(used(&cluster, "q")["requests.cpu"], "100m");
    let before = cluster.store.revision();
    recount(&cluster, &ledger);
    assert_eq!(cluster.store.revision(), before, "nothing to write");
}

#[test]
fn a_changed_limit_holds_at_once() {
    let cluster = Cluster::new().with(&QUOTAS, quota("q", json!({"secrets": "1"})));
    let plugin = plugin();
    let object = |name: &str| json!({"metadata": {"name": name, "namespace": "n"}});
    make(&cluster, &plugin, &SECRETS, object("a")).unwrap();
    assert!(make(&cluster, &plugin, &SECRETS, object("b")).is_err());
    let mut wider = cluster.get(&QUOTAS, "n", "q");
    wider["spec"]["hard"] = json!({"secrets": "2"});
    cluster.put(&QUOTAS, wider);
    make(&cluster, &plugin, &SECRETS, object("b")).unwrap();
    assert_eq!(
        cluster.get(&QUOTAS, "n", "q")["status"],
        json!({"hard": {"secrets": "2"}, "used": {"secrets": "2"}})
    );
}
