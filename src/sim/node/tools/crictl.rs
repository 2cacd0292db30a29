//! `crictl`: the container runtime of a node.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::options::{Known, Options};
use super::table::{ago, wide};
use super::{Cx, Done};
use crate::sim::node::LogLine;
use crate::sim::node::host::{Active, Container, ContainerState, NodeImage, PodSandbox};

/// How much of an id is shown.
const SHORT: usize = 13;
const GLOBAL: [Known; 6] = [
    ("runtime-endpoint", Some('r'), true),
    ("image-endpoint", Some('i'), true),
    ("timeout", Some('t'), true),
    ("debug", Some('D'), false),
    ("config", Some('c'), true),
    ("version", Some('v'), false),
];

pub(super) fn run(cx: &Cx) -> Done {
    // Options before the verb are the client's own.
    let mut start = 0;
    while let Some(arg) = cx.args().get(start).filter(|arg| arg.starts_with('-')) {
        let name = arg.trim_start_matches('-').split('=').next().unwrap_or_default();
        let known = GLOBAL
            .iter()
            .find(|(long, short, _)| *long == name || short.is_some_and(|c| name == c.to_string()));
        match known {
            Some((_, _, true)) if !arg.contains('=') => start += 2,
            Some(_) => start += 1,
            None if matches!(name, "h" | "help") => return Done::out(HELP),
            None => return cx.not_simulated(&format!("option `{arg}`")),
        }
    }
    if cx.args().iter().take(start).any(|arg| arg == "--version" || arg == "-v") {
        return Done::out("crictl version v1.34.0\n");
    }
    let Some(verb) = cx.args().get(start) else { return Done::out(HELP) };
    let args = cx.args().get(start + 1..).unwrap_or_default();
    if cx.host.unit("containerd").is_some_and(|unit| unit.active != Active::Active) && verb != "help" {
        return fatal(
            cx,
            "validate service connection: validate CRI v1 runtime API for endpoint \
             \"unix:///run/containerd/containerd.sock\": rpc error: code = Unavailable desc = connection error: desc = \
             \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
        );
    }
    match verb.as_str() {
        "ps" => ps(cx, args),
        "pods" => pods(cx, args),
        "images" | "image" | "img" => images(cx, args),
        "logs" => logs(cx, args),
        "inspect" => inspect(cx, args, "container"),
        "inspectp" => inspect(cx, args, "sandbox"),
        "inspecti" => inspect_image(cx, args),
        "version" => Done::out(
            "Version:  0.1.0\nRuntimeName:  containerd\nRuntimeVersion:  1.7.24\nRuntimeApiVersion:  v1\n",
        ),
        "info" => info(),
        "help" => Done::out(HELP),
        verb => cx.not_simulated(&format!("`{verb}`")),
    }
}

const HELP: &str = "NAME:\n   crictl - client for CRI\n\nUSAGE:\n   crictl [global options] command [command options] \
[arguments...]\n\nCOMMANDS:\n   images, image, img  List images\n   info                Display information of the \
container runtime\n   inspect             Display the status of one or more containers\n   inspecti            Return \
the status of one or more images\n   inspectp            Display the status of one or more pods\n   logs                \
Fetch the logs of a container\n   pods                List pods\n   ps                  List containers\n   version             \
Display runtime version information\n\nOther commands are not simulated.\n";

/// An error as crictl's logger writes it, with the time where nobody watches.
fn fatal(cx: &Cx, message: &str) -> Done {
    if cx.ask.terminal {
        return Done::fail(1, format!("FATA[0000] {message} \n"));
    }
    let at = cx.host.now().strftime("%Y-%m-%dT%H:%M:%SZ");
    Done::fail(1, format!("time=\"{at}\" level=fatal msg={}\n", Value::from(message)))
}

fn short(id: &str) -> String {
    id.chars().take(SHORT).collect()
}

fn state_word(container: &Container) -> &'static str {
    match container.state {
        ContainerState::Created => "Created",
        ContainerState::Running => "Running",
        ContainerState::Exited => "Exited",
    }
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// Prints what was found in the form that was asked for.
fn show(cx: &Cx, options: &Options, data: impl FnOnce() -> Value, table: impl FnOnce() -> String) -> Done {
    match options.get("output").unwrap_or("table") {
        "table" => Done::out(table()),
        "json" => Done::out(format!("{:#}\n", data())),
        other => cx.not_simulated(&format!("output `{other}`")),
    }
}

fn pattern(cx: &Cx, options: &Options) -> Result<Option<regex::Regex>, Done> {
    let built = options.get("name").map(regex::Regex::new).transpose();
    built.map_err(|error| fatal(cx, &format!("{error}")))
}

fn ps(cx: &Cx, args: &[String]) -> Done {
    const KNOWN: &[Known] = &[
        ("all", Some('a'), false),
        ("quiet", Some('q'), false),
        ("no-trunc", None, false),
        ("name", None, true),
        ("id", None, true),
        ("pod", Some('p'), true),
        ("namespace", None, true),
        ("state", Some('s'), true),
        ("label", None, true),
        ("image", None, true),
        ("latest", Some('l'), false),
        ("last", Some('n'), true),
        ("output", Some('o'), true),
        ("resolve-image-path", Some('r'), false),
    ];
    let options = match Options::read(&long(args), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}` of `ps`")),
    };
    let name = match pattern(cx, &options) {
        Ok(name) => name,
        Err(done) => return done,
    };
    let state = options.get("state").map(str::to_lowercase);
    if let Some(state) =
        state.as_deref().filter(|state| !["created", "running", "exited", "unknown"].contains(state))
    {
        return fatal(
            cx,
            &format!(
                "listing containers: --state should be one of created, running, exited or unknown, not {state}"
            ),
        );
    }
    let last = options.get("last").and_then(|last| last.parse().ok());
    let last = if options.has("latest") { Some(1) } else { last };
    let all = options.has("all") || last.is_some() || state.is_some();
    let mut containers = cx.host.containers();
    containers.retain(|container| {
        let labels = labels(container);
        (all || container.state == ContainerState::Running)
            && state.as_deref().is_none_or(|state| state_word(container).eq_ignore_ascii_case(state))
            && name.as_ref().is_none_or(|name| name.is_match(&container.name))
            && options.get("id").is_none_or(|id| container.id.starts_with(id))
            && options.get("pod").is_none_or(|id| container.sandbox.starts_with(id))
            && options.get("namespace").is_none_or(|namespace| container.namespace == namespace)
            && options.get("image").is_none_or(|image| {
                container.image == image
                    || container.image_id.starts_with(image.trim_start_matches("sha256:"))
            })
            && options.all("label").iter().all(|label| {
                label
                    .split_once('=')
                    .is_some_and(|(name, value)| labels.get(name).is_some_and(|have| *have == value))
            })
    });
    if let Some(last) = last {
        containers.truncate(last);
    }
    if options.has("quiet") {
        return Done::out(containers.iter().map(|c| format!("{}\n", c.id)).collect::<String>());
    }
    let cut = |id: &str| if options.has("no-trunc") { id.to_owned() } else { short(id) };
    let table = || {
        let mut rows = vec![row(&[
            "CONTAINER",
            "IMAGE",
            "CREATED",
            "STATE",
            "NAME",
            "ATTEMPT",
            "POD ID",
            "POD",
            "NAMESPACE",
        ])];
        rows.extend(containers.iter().map(|container| {
            vec![
                cut(&container.id),
                if options.has("no-trunc") {
                    format!("sha256:{}", container.image_id)
                } else {
                    short(&container.image_id)
                },
                ago(cx.host.now(), container.created),
                state_word(container).to_owned(),
                container.name.clone(),
                container.attempt.to_string(),
                cut(&container.sandbox),
                container.pod.clone(),
                container.namespace.clone(),
            ]
        }));
        wide(&rows)
    };
    let data = || {
        let each = containers.iter().map(|container| {
            json!({
                "annotations": {}, "createdAt": container.created.as_nanosecond().to_string(), "id": container.id,
                "image": { "annotations": {}, "image": format!("sha256:{}", container.image_id), "runtimeHandler": "",
                    "userSpecifiedImage": container.image },
                "imageId": format!("sha256:{}", container.image_id),
                "imageRef": format!("sha256:{}", container.image_id),
                "labels": labels(container),
                "metadata": { "attempt": container.attempt, "name": container.name },
                "podSandboxId": container.sandbox,
                "state": format!("CONTAINER_{}", state_word(container).to_uppercase()),
            })
        });
        json!({ "containers": each.collect::<Vec<_>>() })
    };
    show(cx, &options, data, table)
}

fn labels(container: &Container) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([
        ("io.kubernetes.container.name", container.name.as_str()),
        ("io.kubernetes.pod.name", container.pod.as_str()),
        ("io.kubernetes.pod.namespace", container.namespace.as_str()),
        ("io.kubernetes.pod.uid", container.pod_uid.as_str()),
    ])
}

/// The client takes long options with one dash too.
fn long(args: &[String]) -> Vec<String> {
    let long = |arg: &String| match arg.strip_prefix('-') {
        Some(name) if name.chars().take_while(|c| c.is_ascii_alphabetic()).count() > 2 => format!("--{name}"),
        _ => arg.clone(),
    };
    args.iter().map(long).collect()
}

fn pods(cx: &Cx, args: &[String]) -> Done {
    const KNOWN: &[Known] = &[
        ("quiet", Some('q'), false),
        ("no-trunc", None, false),
        ("verbose", Some('v'), false),
        ("name", None, true),
        ("id", None, true),
        ("namespace", None, true),
        ("state", Some('s'), true),
        ("label", None, true),
        ("latest", Some('l'), false),
        ("last", Some('n'), true),
        ("output", Some('o'), true),
    ];
    let options = match Options::read(&long(args), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}` of `pods`")),
    };
    let name = match pattern(cx, &options) {
        Ok(name) => name,
        Err(done) => return done,
    };
    let word = |pod: &PodSandbox| if pod.ready { "Ready" } else { "NotReady" };
    let mut pods = cx.host.sandboxes();
    pods.retain(|pod| {
        name.as_ref().is_none_or(|name| name.is_match(&pod.name))
            && options.get("id").is_none_or(|id| pod.id.starts_with(id))
            && options.get("namespace").is_none_or(|namespace| pod.namespace == namespace)
            && options.get("state").is_none_or(|state| word(pod).eq_ignore_ascii_case(state))
            && options.all("label").iter().all(|label| {
                label
                    .split_once('=')
                    .is_some_and(|(name, value)| pod.labels.get(name).is_some_and(|have| have == value))
            })
    });
    let last = options.get("last").and_then(|last| last.parse().ok());
    if let Some(last) = if options.has("latest") { Some(1) } else { last } {
        pods.truncate(last);
    }
    if options.has("quiet") {
        return Done::out(pods.iter().map(|pod| format!("{}\n", pod.id)).collect::<String>());
    }
    let table = || {
        let mut rows = vec![row(&["POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"])];
        rows.extend(pods.iter().map(|pod| {
            vec![
                if options.has("no-trunc") { pod.id.clone() } else { short(&pod.id) },
                ago(cx.host.now(), pod.created),
                word(pod).to_owned(),
                pod.name.clone(),
                pod.namespace.clone(),
                pod.attempt.to_string(),
                if pod.runtime.is_empty() { "(default)".to_owned() } else { pod.runtime.clone() },
            ]
        }));
        wide(&rows)
    };
    let data = || {
        let each = pods.iter().map(|pod| {
            json!({
                "annotations": pod.annotations, "createdAt": pod.created.as_nanosecond().to_string(), "id": pod.id,
                "labels": pod.labels,
                "metadata": { "attempt": pod.attempt, "name": pod.name, "namespace": pod.namespace, "uid": pod.uid },
                "runtimeHandler": pod.runtime,
                "state": format!("SANDBOX_{}", word(pod).to_uppercase()),
            })
        });
        json!({ "items": each.collect::<Vec<_>>() })
    };
    show(cx, &options, data, table)
}

fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    // Three digits that count.
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

fn image_data(image: &NodeImage) -> Value {
    let pinned = image.repository.ends_with("/pause");
    json!({
        "id": format!("sha256:{}", image.id), "pinned": pinned,
        "repoDigests": [format!("{}@sha256:{}", image.repository, image.id)],
        "repoTags": [format!("{}:{}", image.repository, image.tag)],
        "size": image.size.to_string(), "spec": null, "uid": null, "username": "",
    })
}

fn images(cx: &Cx, args: &[String]) -> Done {
    const KNOWN: &[Known] = &[
        ("quiet", Some('q'), false),
        ("no-trunc", None, false),
        ("digests", None, false),
        ("verbose", Some('v'), false),
        ("output", Some('o'), true),
    ];
    let options = match Options::read(&long(args), KNOWN) {
        Ok(options) if !options.has("verbose") => options,
        Ok(_) => return cx.not_simulated("option `--verbose` of `images`"),
        Err(option) => return cx.not_simulated(&format!("option `{option}` of `images`")),
    };
    let mut images = cx.host.images();
    if let Some(wanted) = options.rest.first() {
        let (repository, tag) = match wanted.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (wanted.as_str(), None),
        };
        images.retain(|image| {
            (image.repository == repository || image.repository.ends_with(&format!("/{repository}")))
                && tag.is_none_or(|tag| image.tag == tag)
        });
    }
    if options.has("quiet") {
        return Done::out(images.iter().map(|image| format!("sha256:{}\n", image.id)).collect::<String>());
    }
    let digests = options.has("digests");
    let cut = |id: &str| if options.has("no-trunc") { format!("sha256:{id}") } else { short(id) };
    let table = || {
        let head: &[&str] = if digests {
            &["IMAGE", "TAG", "DIGEST", "IMAGE ID", "SIZE"]
        } else {
            &["IMAGE", "TAG", "IMAGE ID", "SIZE"]
        };
        let mut rows = vec![row(head)];
        rows.extend(images.iter().map(|image| {
            let mut row = vec![image.repository.clone(), image.tag.clone()];
            if digests {
                row.push(cut(&image.id));
            }
            row.extend([cut(&image.id), size(image.size)]);
            row
        }));
        wide(&rows)
    };
    let data = || json!({ "images": images.iter().map(image_data).collect::<Vec<_>>() });
    show(cx, &options, data, table)
}

fn logs(cx: &Cx, args: &[String]) -> Done {
    const KNOWN: &[Known] = &[
        ("follow", Some('f'), false),
        ("tail", None, true),
        ("since", None, true),
        ("timestamps", Some('t'), false),
        ("previous", Some('p'), false),
        ("limit-bytes", None, true),
    ];
    let options = match Options::read(&long(args), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}` of `logs`")),
    };
    if options.has("limit-bytes") {
        return cx.not_simulated("option `--limit-bytes` of `logs`");
    }
    let Some(id) = options.rest.first() else { return fatal(cx, "ID cannot be empty") };
    let missing = || not_found(cx, id);
    let Some(container) = cx.host.container(id) else { return missing() };
    let container = match options.has("previous") {
        false => container,
        true => {
            let before = cx.host.containers().into_iter().find(|other| {
                other.pod_uid == container.pod_uid
                    && other.name == container.name
                    && other.attempt + 1 == container.attempt
            });
            match before {
                Some(before) => before,
                None => return fatal(cx, "previous terminated container not found"),
            }
        }
    };
    let Some(mut lines) = cx.host.container_log(&container.id, &cx.logs) else { return missing() };
    if let Some(since) = options.get("since") {
        let Some(from) = since_when(since, cx.host.now()) else {
            return fatal(cx, &format!("failed to parse timestamp from \"{since}\""));
        };
        lines.retain(|line| line.at >= from);
    }
    let total = lines.len();
    if let Some(tail) = options.get("tail").and_then(|tail| tail.parse::<usize>().ok()) {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let stamped = options.has("timestamps");
    let show = move |line: &LogLine| match stamped {
        true => format!("{} {}\n", line.at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"), line.text),
        false => format!("{}\n", line.text),
    };
    let mut done = Done::default();
    for line in &lines {
        match line.error {
            true => done.err.push_str(&show(line)),
            false => done.say(&show(line)),
        }
    }
    if options.has("follow") {
        let cx = cx.clone();
        let mut seen = total;
        let (out, err) = (std::mem::take(&mut done.out), std::mem::take(&mut done.err));
        let mut follow = Done::follow(String::new(), move || {
            let lines = cx.host.container_log(&container.id, &cx.logs).unwrap_or_default();
            let new: String = lines.iter().skip(seen).map(&show).collect();
            seen = lines.len().max(seen);
            new
        });
        (follow.out, follow.err) = (out, err);
        return follow;
    }
    done
}

fn since_when(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let span: jiff::Span = text.parse().ok()?;
    now.checked_sub(SignedDuration::try_from(span).ok()?).ok()
}

fn not_found(cx: &Cx, id: &str) -> Done {
    fatal(
        cx,
        &format!(
            "rpc error: code = NotFound desc = an error occurred when try to find container \"{id}\": not found"
        ),
    )
}

fn inspect(cx: &Cx, args: &[String], what: &str) -> Done {
    const KNOWN: &[Known] = &[("output", Some('o'), true), ("quiet", Some('q'), false)];
    let options = match Options::read(&long(args), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}` of `inspect`")),
    };
    if let Some(output) = options.get("output").filter(|output| *output != "json") {
        return cx.not_simulated(&format!("output `{output}`"));
    }
    if options.rest.is_empty() {
        return fatal(cx, "ID cannot be empty");
    }
    let mut done = Done::default();
    for id in &options.rest {
        let described = if what == "container" { cx.host.inspect(id) } else { cx.host.inspect_sandbox(id) };
        match described {
            Some(described) => done.say(&format!("{described:#}\n")),
            None if what == "container" => return not_found(cx, id),
            None => {
                return fatal(
                    cx,
                    &format!(
                        "getting the status of the pod sandbox \"{id}\": rpc error: code = NotFound desc = an error \
                         occurred when try to find sandbox: not found"
                    ),
                );
            }
        }
    }
    done
}

fn inspect_image(cx: &Cx, args: &[String]) -> Done {
    let Some(wanted) = args.iter().find(|arg| !arg.starts_with('-')) else {
        return fatal(cx, "ID cannot be empty");
    };
    let id = wanted.trim_start_matches("sha256:");
    let found = cx.host.images().into_iter().find(|image| {
        image.id.starts_with(id)
            || format!("{}:{}", image.repository, image.tag) == *wanted
            || format!("{}:{}", image.repository, image.tag) == format!("docker.io/library/{wanted}")
    });
    match found {
        Some(image) => Done::out(format!("{:#}\n", json!({ "status": image_data(&image) }))),
        None => fatal(cx, &format!("no such image \"{wanted}\" present")),
    }
}

fn info() -> Done {
    let condition = |kind: &str| json!({ "message": "", "reason": "", "status": true, "type": kind });
    let data = json!({
        "config": { "containerdEndpoint": "/run/containerd/containerd.sock", "containerdRootDir": "/var/lib/containerd",
            "enableSelinux": false, "sandboxImage": "registry.k8s.io/pause:3.10.1" },
        "golang": "go1.22.10",
        "status": { "conditions": [condition("RuntimeReady"), condition("NetworkReady")] },
    });
    Done::out(format!("{data:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (152_000_000, "152MB"),
            (23_553_000, "23.6MB"),
            (736_000, "736kB"),
            (1_200_000_000, "1.2GB"),
            (5, "5B"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
