//! Clients other than kubectl, as they come: curl and the Python client.

use std::sync::Arc;

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::SimulatedCluster;
use cks_lab::sim::server::simulated::ADMIN;

struct Client {
    cluster: SimulatedCluster,
    dir: tempfile::TempDir,
}

impl Client {
    async fn new() -> Self {
        let mut cluster = SimulatedCluster::in_memory(Arc::new(SystemClock)).await.unwrap();
        cluster.listen().await.unwrap();
        Self { cluster, dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs a program in a thread of its own, so that the cluster goes on.
    #[expect(clippy::disallowed_methods, reason = "the client under test is a program")]
    async fn run(&self, program: &str, args: &[String]) -> String {
        let mut command = std::process::Command::new(program);
        command.args(args).env("HOME", self.dir.path());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs curl with the administrator's certificate.
    async fn curl(&self, args: &[&str]) -> String {
        let pki = self.cluster.api().pki();
        let (user, group) = ADMIN;
        let credentials = pki.client(user, &[group], self.cluster.api().clock().now()).unwrap();
        let mut all = vec!["-sS".to_owned(), "--max-time".to_owned(), "20".to_owned()];
        for (option, content) in [
            ("cacert", pki.authority_pem()),
            ("cert", credentials.certificate.as_str()),
            ("key", credentials.key.as_str()),
        ] {
            all.extend([format!("--{option}"), self.file(option, content)]);
        }
        all.extend(args.iter().map(|arg| arg.replace("{url}", &self.cluster.url())));
        self.run("curl", &all).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_and_writes() {
    let client = Client::new().await;
    assert_eq!(client.curl(&["{url}/readyz"]).await, "ok");
    assert_eq!(client.curl(&["--http1.1", "{url}/livez"]).await, "ok");
    let pretty = client.curl(&["{url}/api"]).await;
    assert!(pretty.starts_with("{\n  \"kind\": \"APIVersions\",\n"), "{pretty}");
    let head = client.curl(&["--head", "{url}/version"]).await;
    assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: "), "{head}");
    let maps = "{url}/api/v1/namespaces/default/configmaps";
    let yaml = "content-type: application/yaml";
    let made = client.curl(&["-H", yaml, "-d", "{metadata: {name: x}, data: {a: b}}", maps]).await;
    assert!(made.contains("\"manager\": \"curl\""), "{made}");
    let form = client.curl(&["-d", "{}", "-w", "%{http_code}", maps]).await;
    assert!(form.contains("UnsupportedMediaType") && form.ends_with("415"), "{form}");
    let watch =
        client.curl(&["-N", &format!("{maps}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name=x")]).await;
    assert!(watch.starts_with("{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\""), "{watch}");
    let anonymous = client.run("curl", &["-sSk".to_owned(), format!("{}/api", client.cluster.url())]).await;
    assert!(
        anonymous.contains("forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/api\\\""),
        "{anonymous}"
    );
    let plain = client.cluster.url().replace("https://", "http://");
    let refused = client.run("curl", &["-sS".to_owned(), "--http1.0".to_owned(), plain]).await;
    assert_eq!(refused, "Client sent an HTTP request to an HTTPS server.\n");
}

const TOLD: &str = "\
version True
namespace Active
created {'a': 'one'}
merged {'a': 'one', 'b': 'two'}
patched {'b': 'two'}
secret admin
ready MODIFIED
scaled 1
dynamic web
bot lists True
bot deletes 403 Forbidden
absent 404 Not Found
exists 409 Conflict
invalid 422 Unprocessable Entity
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_client_does_its_work() {
    let client = Client::new().await;
    let kubeconfig = client.file("kubeconfig", &client.cluster.admin_kubeconfig().unwrap());
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clients/client.py");
    // The system's own Python is the one for which Debian has the client.
    assert_eq!(client.run("/usr/bin/python3", &[program.to_owned(), kubeconfig]).await, TOLD);
}
