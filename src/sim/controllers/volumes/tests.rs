use serde_json::json;

use super::super::testing::Lab;
use super::*;

fn claim(name: &str, class: &str, size: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], \
         {class} resources: {{requests: {{storage: {size}}}}}}}}}"
    )
}

fn volume(name: &str, size: &str, policy: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], \
         capacity: {{storage: {size}}}, storageClassName: manual, persistentVolumeReclaimPolicy: {policy}, hostPath: {{path: \
         /mnt/data}}}}}}"
    )
}

fn user(name: &str, claim: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: app, image: 'busybox:1.36', command: [sleep, '3600'], volumeMounts: [{{name: v, mountPath: /v}}]}}], \
         volumes: [{{name: v, persistentVolumeClaim: {{claimName: {claim}}}}}]}}}}"
    )
}

fn phase(object: &Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_claim_gets_the_smallest_volume_that_suits() {
    let lab = Lab::new(0).await;
    for (name, size) in [("big", "10Gi"), ("fits", "2Gi"), ("small", "500Mi")] {
        lab.apply(&volume(name, size, "Retain")).await;
    }
    lab.wait("persistentvolumes", "big", |v| phase(v) == "Available").await;
    lab.apply(&claim("data", "storageClassName: manual,", "1Gi")).await;
    let claim = lab.wait("persistentvolumeclaims", "t/data", |c| phase(c) == "Bound").await;
    assert_eq!(claim["spec"]["volumeName"], "fits");
    assert_eq!(claim["status"]["capacity"], json!({"storage": "2Gi"}));
    assert_eq!(
        claim["metadata"]["annotations"],
        json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"})
    );
    let volume = lab.the("persistentvolumes", "fits");
    assert_eq!((phase(&volume), &volume["spec"]["claimRef"]["name"]), ("Bound", &json!("data")));
    assert_eq!(
        lab.row("/api/v1/persistentvolumes/fits").await.split(' ').take(6).collect::<Vec<_>>(),
        ["fits", "2Gi", "RWO", "Retain", "Bound", "t/data"]
    );
    // A volume in use is protected; with the claim gone it is released, and may go.
    lab.delete("persistentvolumes", "fits", None).await;
    lab.pass(5).await;
    assert!(meta::is_deleting(&lab.the("persistentvolumes", "fits")));
    lab.delete("persistentvolumeclaims", "t/data", None).await;
    lab.gone("persistentvolumeclaims", "t/data").await;
    lab.gone("persistentvolumes", "fits").await;
    assert_eq!(phase(&lab.the("persistentvolumes", "big")), "Available");
}

#[tokio::test(start_paused = true)]
async fn what_a_claim_waits_for_is_said() {
    let lab = Lab::new(0).await;
    for (name, class) in [("manual", "no-provisioner"), ("foreign", "example.com/disks")] {
        let provisioner = if class == "no-provisioner" { "kubernetes.io/no-provisioner" } else { class };
        lab.apply(&format!(
            "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, provisioner: {provisioner}}}"
        ))
        .await;
    }
    for (name, class) in [
        ("a", "storageClassName: manual,"),
        ("b", "storageClassName: nosuch,"),
        ("c", "storageClassName: '',"),
        ("d", "storageClassName: foreign,"),
        ("e", ""),
    ] {
        lab.apply(&claim(name, class, "1Gi")).await;
    }
    lab.pass(3).await;
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(phase(&lab.the("persistentvolumeclaims", &format!("t/{name}"))), "Pending", "{name}");
    }
    assert_eq!(
        lab.events("a"),
        ["Warning ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner"]
    );
    assert_eq!(
        lab.events("b"),
        ["Warning ProvisioningFailed storageclass.storage.k8s.io \"nosuch\" not found"]
    );
    assert_eq!(
        lab.events("c"),
        ["Normal FailedBinding no persistent volumes available for this claim and no storage class is set"]
    );
    assert_eq!(
        lab.events("d"),
        [
            "Normal ExternalProvisioning Waiting for a volume to be created either by the external provisioner \
          'example.com/disks' or manually by the system administrator. If volume creation is delayed, please verify that \
          the provisioner is running and correctly registered."
        ]
    );
    assert_eq!(
        lab.events("e"),
        ["Normal WaitForFirstConsumer waiting for first consumer to be created before binding"],
        "the default class waits"
    );
    // A volume by hand helps the first.
    lab.apply(&volume("by-hand", "1Gi", "Retain")).await;
    lab.wait("persistentvolumeclaims", "t/a", |c| phase(c) == "Bound").await;
}

#[tokio::test(start_paused = true)]
async fn the_default_class_makes_a_volume_once_the_node_is_known() {
    let lab = Lab::new(1).await;
    lab.apply(&claim("data", "", "10Mi")).await;
    lab.pass(2).await;
    lab.apply(&user("first", "data")).await;
    lab.phase("first", "Running").await;
    let claim = lab.the("persistentvolumeclaims", "t/data");
    let name = format!("pvc-{}", meta::uid(&claim));
    assert_eq!((phase(&claim), claim["spec"]["volumeName"].as_str()), ("Bound", Some(name.as_str())));
    let reasons: Vec<String> =
        lab.events("data").iter().map(|e| e.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(
        reasons,
        ["WaitForFirstConsumer", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"]
    );
    let volume = lab.the("persistentvolumes", &name);
    let term = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!(term["values"], json!(["worker-1"]));
    // The claim stays while the Pod uses it.
    lab.delete("persistentvolumeclaims", "t/data", None).await;
    lab.pass(5).await;
    assert!(meta::is_deleting(&lab.the("persistentvolumeclaims", "t/data")));
    lab.delete("pods", "t/first", None).await;
    lab.gone("persistentvolumeclaims", "t/data").await;
    lab.gone("persistentvolumes", &name).await;
}

#[tokio::test(start_paused = true)]
async fn a_made_volume_stays_where_its_class_says_so_and_is_for_one_node() {
    let lab = Lab::new(1).await;
    lab.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: keeping}, provisioner: \
         rancher.io/local-path, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer}",
    )
    .await;
    lab.apply(&claim("data", "storageClassName: keeping,", "10Mi")).await;
    lab.apply(&user("first", "data")).await;
    lab.phase("first", "Running").await;
    let name = format!("pvc-{}", meta::uid(&lab.the("persistentvolumeclaims", "t/data")));
    lab.delete("pods", "t/first", None).await;
    lab.delete("persistentvolumeclaims", "t/data", None).await;
    lab.wait("persistentvolumes", &name, |v| phase(v) == "Released").await;
    lab.pass(60).await;
    assert!(lab.get("persistentvolumes", &name).is_some());
    let shared = claim("shared", "", "10Mi").replace("ReadWriteOnce", "ReadWriteMany");
    lab.apply(&shared).await;
    lab.apply(&user("second", "shared")).await;
    let why = "Warning ProvisioningFailed failed to provision volume with StorageClass \"standard\": NodePath only supports \
               ReadWriteOnce and ReadWriteOncePod (1.22+) access modes";
    lab.until("the refusal", |lab| lab.events("shared").contains(&why.to_owned()).then_some(())).await;
    assert_eq!(phase(&lab.the("persistentvolumeclaims", "t/shared")), "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_released_volume_goes_by_its_policy() {
    let lab = Lab::new(0).await;
    for (name, policy) in [("kept", "Retain"), ("dropped", "Delete")] {
        lab.apply(&volume(name, "1Gi", policy)).await;
        lab.wait("persistentvolumes", name, |v| phase(v) == "Available").await;
        lab.apply(&claim(name, "storageClassName: manual,", "1Gi")).await;
        lab.wait("persistentvolumes", name, |v| phase(v) == "Bound").await;
        lab.delete("persistentvolumeclaims", &format!("t/{name}"), None).await;
    }
    lab.wait("persistentvolumes", "kept", |v| phase(v) == "Released").await;
    let failed = lab.wait("persistentvolumes", "dropped", |v| phase(v) == "Failed").await;
    let why = "host_path deleter only supports /tmp/.+ but received provided /mnt/data";
    assert_eq!(failed["status"]["message"], why);
    assert_eq!(lab.events("dropped"), [format!("Warning VolumeFailedDelete {why}")]);
    // Released is not available: the next claim waits.
    lab.apply(&claim("next", "storageClassName: manual,", "1Gi")).await;
    lab.pass(60).await;
    assert_eq!(phase(&lab.the("persistentvolumeclaims", "t/next")), "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_volume_is_gone_is_lost() {
    let lab = Lab::new(0).await;
    lab.apply(&volume("v", "1Gi", "Retain")).await;
    lab.apply(&claim("data", "storageClassName: manual,", "1Gi")).await;
    lab.wait("persistentvolumeclaims", "t/data", |c| phase(c) == "Bound").await;
    lab.patch("persistentvolumes", "v", "", "{metadata: {finalizers: null}}").await;
    lab.delete("persistentvolumes", "v", None).await;
    lab.wait("persistentvolumeclaims", "t/data", |c| phase(c) == "Lost").await;
    assert_eq!(
        lab.events("data"),
        ["Warning ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
    );
}
