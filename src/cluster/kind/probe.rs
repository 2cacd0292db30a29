//! Connectivity, probed for real: the connection is opened from inside the source Pod's network namespace, so no Pod
//! needs a tool of its own. A connection that fails counts as blocked only if the destination answers itself.

use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};

use super::{KindCluster, docker};
use crate::cluster::{ClusterError, Peer, Probe, Reach};

/// How many probes run at once.
const AT_ONCE: usize = 16;
/// How long a connection may take before it counts as not possible.
const SECONDS: &str = "3";

/// Where a probe is run from: a network namespace on a node.
struct Site {
    node: String,
    container: String,
    ip: IpAddr,
    namespace: String,
    name: String,
}

/// A destination: the address to connect to, and who must answer there for the probe to mean something.
struct Target {
    ip: IpAddr,
    port: u16,
    answers: Vec<(Site, u16)>,
}

enum Attempt {
    Open,
    Refused,
    TimedOut,
}

pub(super) async fn run(cluster: &KindCluster, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
    let answers: Vec<_> = probes.iter().map(|probe| one(cluster, probe)).collect();
    futures::stream::iter(answers).buffered(AT_ONCE).try_collect().await
}

async fn one(cluster: &KindCluster, probe: &Probe) -> Result<Reach, ClusterError> {
    if probe.protocol != "TCP" && !(probe.protocol == "UDP" && probe.port == 53) {
        return Err(ClusterError::Failed {
            message: format!("a {} connection to port {} cannot be probed", probe.protocol, probe.port),
            source: None,
        });
    }
    let Peer::Pod { namespace, name } = &probe.from else {
        return Err(ClusterError::Failed {
            message: "only Pods can be probed from".to_owned(),
            source: None,
        });
    };
    let source = match site(cluster, namespace, name).await? {
        Ok(site) => site,
        Err(reason) => return Ok(Reach::Broken { reason }),
    };
    let target = match target(cluster, probe).await? {
        Ok(target) => target,
        Err(reason) => return Ok(Reach::Broken { reason }),
    };
    let attempt = connect(cluster, &source, target.ip, target.port, &probe.protocol).await?;
    if matches!(attempt, Attempt::Open) {
        return Ok(Reach::Open);
    }
    for (site, port) in &target.answers {
        // A Pod may always talk to itself, whatever the policies say.
        if !matches!(connect(cluster, site, site.ip, *port, &probe.protocol).await?, Attempt::Open) {
            let reason = format!(
                "nothing answers on {port}/{} in Pod {}/{}",
                probe.protocol, site.namespace, site.name
            );
            return Ok(Reach::Broken { reason });
        }
    }
    if target.answers.is_empty() {
        // An address outside: the node itself shows whether anybody is there.
        let control =
            connect_from_node(cluster, &source.node, target.ip, target.port, &probe.protocol).await?;
        if !matches!(control, Attempt::Open) {
            let reason = format!("{}:{} does not answer the node either", target.ip, target.port);
            return Ok(Reach::Broken { reason });
        }
    }
    let by = match attempt {
        Attempt::Refused => "the connection is refused, while the destination answers itself",
        _ => "the connection times out, while the destination answers itself",
    };
    Ok(Reach::Blocked { by: by.to_owned() })
}

/// Finds a Pod's network namespace; the inner error says what is wrong with the Pod.
async fn site(
    cluster: &KindCluster,
    namespace: &str,
    name: &str,
) -> Result<Result<Site, String>, ClusterError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let Some(pod) = pods.get_opt(name).await.map_err(api)? else {
        return Ok(Err(format!("Pod {namespace}/{name} does not exist")));
    };
    Ok(site_of(&pod).ok_or_else(|| format!("Pod {namespace}/{name} is not running")))
}

fn site_of(pod: &Pod) -> Option<Site> {
    let status = pod.status.as_ref()?;
    let running = status
        .container_statuses
        .as_ref()?
        .iter()
        .find(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))?;
    let container = running.container_id.as_deref()?.rsplit('/').next()?.to_owned();
    Some(Site {
        node: pod.spec.as_ref()?.node_name.clone()?,
        container,
        ip: status.pod_ip.as_deref()?.parse().ok()?,
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
    })
}

async fn target(cluster: &KindCluster, probe: &Probe) -> Result<Result<Target, String>, ClusterError> {
    match &probe.to {
        Peer::Address(ip) => Ok(Ok(Target { ip: *ip, port: probe.port, answers: Vec::new() })),
        Peer::Pod { namespace, name } => Ok(site(cluster, namespace, name).await?.map(|site| Target {
            ip: site.ip,
            port: probe.port,
            answers: vec![(site, probe.port)],
        })),
        Peer::Service { namespace, name } => service(cluster, namespace, name, probe).await,
    }
}

async fn service(
    cluster: &KindCluster,
    namespace: &str,
    name: &str,
    probe: &Probe,
) -> Result<Result<Target, String>, ClusterError> {
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let Some(service) = services.get_opt(name).await.map_err(api)? else {
        return Ok(Err(format!("Service {namespace}/{name} does not exist")));
    };
    let spec = service.spec.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let wanted = |port: &&k8s_openapi::api::core::v1::ServicePort| {
        port.port == i32::from(probe.port) && port.protocol.as_deref().unwrap_or("TCP") == probe.protocol
    };
    let Some(port) = ports.iter().find(wanted) else {
        return Ok(Err(format!("Service {namespace}/{name} has no port {}/{}", probe.port, probe.protocol)));
    };
    let Some(ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()) else {
        return Ok(Err(format!("Service {namespace}/{name} has no address of its own")));
    };
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
    let mut answers = Vec::new();
    for slice in slices.list(&of_service).await.map_err(api)? {
        let target_port = slice
            .ports
            .iter()
            .flatten()
            .find(|p| p.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default());
        let Some(target_port) = target_port.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else {
            continue;
        };
        for endpoint in slice.endpoints {
            let ready = endpoint.conditions.and_then(|conditions| conditions.ready) != Some(false);
            let pod = endpoint.target_ref.and_then(|target| target.name);
            if let (true, Some(pod)) = (ready, pod)
                && let Ok(site) = site(cluster, namespace, &pod).await?
            {
                answers.push((site, target_port));
            }
        }
    }
    if answers.is_empty() {
        return Ok(Err(format!("Service {namespace}/{name} has no ready endpoints")));
    }
    Ok(Ok(Target { ip, port: probe.port, answers }))
}

async fn connect(
    cluster: &KindCluster,
    site: &Site,
    ip: IpAddr,
    port: u16,
    protocol: &str,
) -> Result<Attempt, ClusterError> {
    let inside = "pid=$(crictl inspect --output go-template --template '{{.info.pid}}' \"$4\") || exit 97; \
                  exec nsenter --target \"$pid\" --net timeout \"$5\" bash -c \"$6\" probe \"$1\" \"$2\"";
    let argv = [
        "bash",
        "-c",
        inside,
        "probe",
        &ip.to_string(),
        &port.to_string(),
        protocol,
        &site.container,
        SECONDS,
        script(protocol),
    ];
    attempt(cluster, &site.node, &argv).await
}

async fn connect_from_node(
    cluster: &KindCluster,
    node: &str,
    ip: IpAddr,
    port: u16,
    protocol: &str,
) -> Result<Attempt, ClusterError> {
    let argv =
        ["timeout", SECONDS, "bash", "-c", script(protocol), "probe", &ip.to_string(), &port.to_string()];
    attempt(cluster, node, &argv).await
}

/// Opens the connection with what every node image has: bash. For DNS it waits for the answer to a query, since
/// sending alone says nothing over UDP.
fn script(protocol: &str) -> &'static str {
    if protocol == "UDP" {
        r#"exec 3<>"/dev/udp/$1/$2" || exit 1
printf '\x1a\x2b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01' >&3 || exit 1
head -c 1 <&3 >/dev/null"#
    } else {
        r#"exec 3<>"/dev/tcp/$1/$2""#
    }
}

async fn attempt(cluster: &KindCluster, node: &str, argv: &[&str]) -> Result<Attempt, ClusterError> {
    let output = docker::exec(&cluster.docker, node, argv).await?;
    match output.status {
        0 => Ok(Attempt::Open),
        124 => Ok(Attempt::TimedOut),
        1 => Ok(Attempt::Refused),
        status => Err(ClusterError::Failed {
            message: format!(
                "the probe on node `{node}` ended with status {status}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            source: None,
        }),
    }
}

fn api(error: kube::Error) -> ClusterError {
    ClusterError::Failed {
        message: "failed to ask the cluster's API".to_owned(),
        source: Some(Box::new(error)),
    }
}
