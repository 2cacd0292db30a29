//! Tokens that Secrets keep: made by the cluster, good for its API, and gone with their account.

use super::kubectl::Shell;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_given_a_token_that_lives_as_long_as_its_account() {
    let shell = Shell::new().await;
    shell.ok("kubectl create sa robot").await;
    shell
        .ok("kubectl apply -f - <<'EOF'\napiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n\
             metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}\nEOF")
        .await;
    shell.ok("kubectl wait --for=jsonpath='{.data.token}' secret/robot-token --timeout=20s").await;
    let data =
        |key: &str| format!("kubectl get secret robot-token -o jsonpath='{{.data.{key}}}' | base64 -d");
    assert_eq!(shell.ok(&data("namespace")).await, "default");
    assert!(shell.ok(&data("ca\\.crt")).await.starts_with("-----BEGIN CERTIFICATE-----"));
    let uids = "kubectl get secret robot-token -o jsonpath='{.metadata.annotations.kubernetes\\.io/service-account\\.uid}'";
    assert_eq!(shell.ok(uids).await, shell.ok("kubectl get sa robot -o jsonpath={.metadata.uid}").await);
    let token = shell.ok(&data("token")).await;
    let server = shell.ok("kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'").await;
    let as_robot = format!(
        "KUBECONFIG=/dev/null kubectl --server={server} --insecure-skip-tls-verify --token={token} auth whoami -o \
         jsonpath={{.status.userInfo.username}}"
    );
    assert_eq!(shell.ok(&as_robot).await, "system:serviceaccount:default:robot");
    let used = "kubectl get secret robot-token -o jsonpath='{.metadata.labels.kubernetes\\.io/legacy-token-last-used}'";
    assert_eq!(shell.ok(used).await.len(), "2026-11-23".len());
    shell.ok("kubectl delete sa robot").await;
    shell.ok("kubectl wait --for=delete secret/robot-token --timeout=20s").await;
    let (success, _, err) = shell.run(&as_robot).await;
    assert!(!success && err.contains("Unauthorized"), "{err}");
}
