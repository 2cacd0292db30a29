//! The folder of static Pods as a kubelet reads it: each change at once, and the whole folder from time to time. Every file
//! counts whose name does not begin with a dot.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::pod::after;
use crate::sim::api::parse_yaml;
use crate::sim::controllers::queue::Key;
use crate::sim::defaults;
use crate::sim::meta;
use crate::sim::node::host::{NodeHost, Tree};
use crate::sim::node::tree::{Facts, Kind};
use crate::sim::object::Fields as _;
use crate::sim::pod_refs;
use crate::sim::random::hex;
use crate::sim::validation;

/// A Pod that a file describes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sim) struct StaticPod {
    /// The hash of its content, its file and its node.
    pub uid: String,
    /// Its namespace and name on this node.
    pub key: Key,
    /// The Pod, with defaults, as the kubelet has it.
    pub pod: Value,
}

/// What is known of the folder.
#[derive(Debug, Default)]
pub(super) struct Source {
    folder: String,
    files: BTreeMap<String, Facts>,
    /// Which Pod a file was last read as.
    by_file: BTreeMap<String, Key>,
    pods: BTreeMap<Key, StaticPod>,
    next_listing: Option<Timestamp>,
}

impl Source {
    /// Returns the Pods that are to run.
    pub fn pods(&self) -> &BTreeMap<Key, StaticPod> {
        &self.pods
    }

    /// Looks at the folder; `every` is the time between two listings.
    pub fn look(&mut self, host: &NodeHost, folder: &str, every: Duration, now: Timestamp) {
        if self.folder != folder {
            *self = Self { folder: folder.to_owned(), ..Self::default() };
        }
        let tree = host.tree();
        let files = stamps(tree, folder);
        let first = self.next_listing.is_none();
        if self.next_listing.is_none_or(|at| at <= now) {
            self.next_listing = Some(after(now, every));
            self.list(host, &files, now);
        } else if files != self.files {
            self.follow(host, &files, now);
        }
        if first && tree.kind(folder).is_none() {
            let text = format!(
                "\"Unable to read config path\" err=\"path does not exist, ignoring\" path={folder:?}"
            );
            host.kubelet_log('E', "file_linux.go:60", &text);
        }
        self.files = files;
    }

    /// Reads all files; those that cannot be read are left out.
    fn list(&mut self, host: &NodeHost, files: &BTreeMap<String, Facts>, now: Timestamp) {
        let mut pods = BTreeMap::new();
        let mut by_file = BTreeMap::new();
        for (name, stamp) in files {
            if stamp.kind == Kind::Folder {
                continue;
            }
            let path = format!("{}/{name}", self.folder);
            match read(host, &path, now) {
                Ok(pod) => {
                    by_file.insert(name.clone(), pod.key.clone());
                    pods.insert(pod.key.clone(), self.same(pod));
                }
                Err(why) => {
                    let text = format!("\"Could not process manifest file\" err={why:?} path={path:?}");
                    host.kubelet_log('E', "file.go:188", &text);
                }
            }
        }
        self.pods = pods;
        self.by_file = by_file;
    }

    /// Keeps what is known of a Pod that is the same as before: when it was first seen.
    fn same(&self, pod: StaticPod) -> StaticPod {
        match self.pods.get(&pod.key) {
            Some(known) if known.uid == pod.uid => known.clone(),
            _ => pod,
        }
    }

    /// Reads what has changed; a file that cannot be read changes nothing.
    fn follow(&mut self, host: &NodeHost, files: &BTreeMap<String, Facts>, now: Timestamp) {
        let failed = |why: &str| {
            host.kubelet_log('E', "file.go:109", &format!("\"Unable to process watch event\" err={why:?}"));
        };
        let gone: Vec<String> =
            self.files.keys().filter(|name| !files.contains_key(*name)).cloned().collect();
        for name in gone {
            let Some(key) = self.by_file.remove(&name) else { continue };
            if self.pods.remove(&key).is_none() {
                failed(&format!("the pod with key {}/{} doesn't exist in cache", key.namespace, key.name));
            }
        }
        for (name, stamp) in files {
            if stamp.kind == Kind::Folder || self.files.get(name) == Some(stamp) {
                continue;
            }
            let path = format!("{}/{name}", self.folder);
            match read(host, &path, now) {
                Ok(pod) => {
                    self.by_file.insert(name.clone(), pod.key.clone());
                    let pod = self.same(pod);
                    self.pods.insert(pod.key.clone(), pod);
                }
                Err(why) => failed(&format!("can't process config file {path:?}: {why}")),
            }
        }
    }
}

fn stamps(tree: &Tree, folder: &str) -> BTreeMap<String, Facts> {
    let Ok(files) = tree.files() else { return BTreeMap::new() };
    let names = files.list(folder).unwrap_or_default().into_iter().filter(|name| !name.starts_with('.'));
    names.filter_map(|name| Some((name.clone(), files.lstat(&format!("{folder}/{name}")).ok()?))).collect()
}

fn read(host: &NodeHost, path: &str, now: Timestamp) -> Result<StaticPod, String> {
    let text = host
        .tree()
        .read_text(path)
        .map_err(|error| format!("open {path}: {}", crate::sim::node::host::tree::reason(&error)))?;
    parse(&text, path, host.name(), now)
}

/// Reads a manifest as the kubelet of a node does.
///
/// # Errors
/// In the kubelet's words.
pub(in crate::sim) fn parse(text: &str, path: &str, node: &str, now: Timestamp) -> Result<StaticPod, String> {
    let refused = |why: String| format!("{path}: couldn't parse as pod({why}), please check config file");
    let mut pod = parse_yaml(text).map_err(|why| refused(yaml_error(&why)))?;
    if pod["kind"].as_str().unwrap_or_default().is_empty() {
        let shown = serde_json::to_string(&pod).unwrap_or_default();
        return Err(refused(format!("Object 'Kind' is missing in '{shown}'")));
    }
    let (version, kind) = (pod.text("apiVersion").to_owned(), pod.text("kind").to_owned());
    if version.is_empty() {
        let shown = serde_json::to_string(&pod).unwrap_or_default();
        return Err(refused(format!("Object 'apiVersion' is missing in '{shown}'")));
    }
    if (version.as_str(), kind.as_str()) != ("v1", "Pod") {
        let known = crate::sim::schema::of("", &version, &kind).is_some();
        return Err(refused(match known {
            true => format!("invalid pod: &{kind}{{}}"),
            false => format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \
                 \"pkg/api/legacyscheme/scheme.go:30\""
            ),
        }));
    }
    normalize(&mut pod).map_err(refused)?;
    let uid = match pod["metadata"].text("uid") {
        "" => uid_of(&pod, path, node),
        own => own.to_owned(),
    };
    let metadata = &mut pod["metadata"];
    let name = format!("{}-{}", metadata.text("name"), node.to_lowercase());
    let namespace = match metadata.text("namespace") {
        "" => "default".to_owned(),
        namespace => namespace.to_owned(),
    };
    metadata["name"] = name.clone().into();
    metadata["namespace"] = namespace.clone().into();
    metadata["uid"] = uid.clone().into();
    metadata["annotations"]["kubernetes.io/config.hash"] = uid.clone().into();
    metadata["annotations"]["kubernetes.io/config.seen"] =
        now.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string().into();
    metadata["annotations"]["kubernetes.io/config.source"] = "file".into();
    if let Some(object) = pod.as_object_mut() {
        object.remove("status");
    }
    pod["spec"]["nodeName"] = node.into();
    let tolerations = &mut pod["spec"]["tolerations"];
    let own = json!({ "operator": "Exists", "effect": "NoExecute" });
    match tolerations.as_array_mut() {
        Some(list) if !list.contains(&own) => list.push(own),
        Some(_) => {}
        None => *tolerations = json!([own]),
    }
    defaults::apply("", "v1", "Pod", &mut pod);
    let errors = validation::create("", "v1", "Pod", &pod);
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let shown = if errors.len() == 1 { errors.concat() } else { format!("[{}]", errors.join(", ")) };
        return Err(refused(format!("invalid pod: {shown}")));
    }
    let spec = &pod["spec"];
    let refers = if pod_refs::secrets(spec).next().is_some() {
        Some("secrets")
    } else if pod_refs::config_maps(spec).next().is_some() {
        Some("configmaps")
    } else if !spec.text("serviceAccountName").is_empty() {
        Some("serviceaccounts")
    } else if !pod_refs::claims(&pod).is_empty() {
        Some("persistentvolumeclaims")
    } else if pod_refs::resource_claims(spec).next().is_some() {
        Some("resourceclaims")
    } else {
        None
    };
    if let Some(what) = refers {
        return Err(format!("static pods may not reference {what}"));
    }
    Ok(StaticPod { uid, key: Key::new(&namespace, &name), pod })
}

/// Brings a manifest into the form of a Pod: numbers that are text and the like are refused, unknown fields are dropped.
fn normalize(pod: &mut Value) -> Result<(), String> {
    let Some(schema) = crate::sim::schema::of("", "v1", "Pod") else { return Ok(()) };
    let text = serde_json::to_vec(pod).map_err(|error| error.to_string())?;
    let document = crate::sim::schema::document::Document::parse(&text).map_err(|error| error.to_string())?;
    let read = crate::sim::schema::decode::decode(schema, &document).map_err(|error| error.to_string())?;
    *pod = read.object;
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    Ok(())
}

/// Makes the uid of a static Pod: what it says, where it lies and on which node.
fn uid_of(pod: &Value, path: &str, node: &str) -> String {
    let mut content = serde_json::to_vec(pod).unwrap_or_default();
    content.extend_from_slice(format!("host:{node}file:{path}").as_bytes());
    hex(&ring::digest::digest(&ring::digest::SHA256, &content).as_ref()[..16])
}

/// Brings a fault of the YAML parser into the words of Go's: `yaml: line 15: did not find expected key`.
pub(in crate::sim) fn yaml_error(error: &str) -> String {
    const KNOWN: [&str; 9] = [
        "mapping values are not allowed in this context",
        "did not find expected key",
        "did not find expected '-' indicator",
        "did not find expected node content",
        "could not find expected ':'",
        "found character that cannot start any token",
        "found unexpected end of stream",
        "found unknown escape character",
        "block sequence entries are not allowed in this context",
    ];
    let lower = error.to_lowercase();
    let line = lower.split("line ").nth(1).and_then(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    let what = if lower.contains("duplicate") {
        return match line {
            Some(line) => format!(
                "error converting YAML to JSON: yaml: unmarshal errors:\n  line {line}: mapping key already defined"
            ),
            None => "error converting YAML to JSON: yaml: mapping key already defined".to_owned(),
        };
    } else if lower.contains("tab") {
        "found character that cannot start any token"
    } else {
        KNOWN.into_iter().find(|known| lower.contains(known)).unwrap_or("did not find expected key")
    };
    match line {
        // Go tells the item before.
        Some(line) if what == "did not find expected key" => {
            format!("yaml: line {}: {what}", line.saturating_sub(1).max(1))
        }
        Some(line) => format!("yaml: line {line}: {what}"),
        None => format!("yaml: {what}"),
    }
}

/// Returns what the API shows of a static Pod: its mirror.
pub(in crate::sim) fn mirror(pod: &StaticPod, node: Option<&Value>) -> Value {
    let mut mirror = pod.pod.clone();
    let metadata = &mut mirror["metadata"];
    if let Some(fields) = metadata.as_object_mut() {
        fields.remove("uid");
    }
    metadata["annotations"]["kubernetes.io/config.mirror"] = pod.uid.clone().into();
    if let Some(node) = node {
        metadata["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "Node", "name": meta::name(node),
            "uid": meta::uid(node), "controller": true }]);
    }
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: c, image: nginx}\n";

    fn read(text: &str, path: &str) -> Result<StaticPod, String> {
        parse(text, path, "n1", "2026-11-23T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_uid_is_the_content_and_the_file_but_no_comment() {
        let pod = read(POD, "/m/web.yaml").unwrap();
        assert_eq!((pod.key.namespace.as_str(), pod.key.name.as_str()), ("default", "web-n1"));
        assert_eq!(pod.uid.len(), 32);
        let commented = format!("# a comment\n{POD}# --profiling=false\n");
        assert_eq!(read(&commented, "/m/web.yaml").unwrap().uid, pod.uid);
        assert_ne!(read(POD, "/m/copy.yaml").unwrap().uid, pod.uid);
        assert_ne!(read(&POD.replace("nginx", "httpd"), "/m/web.yaml").unwrap().uid, pod.uid);
    }

    #[test]
    fn what_is_no_pod_is_refused_in_the_words_of_the_kubelet() {
        let why = |text: &str| read(text, "/m/f").unwrap_err();
        assert_eq!(
            why(""),
            "/m/f: couldn't parse as pod(Object 'Kind' is missing in 'null'), please check config file"
        );
        let secret = POD.replace("image: nginx", "image: nginx, envFrom: [{secretRef: {name: s}}]");
        assert_eq!(why(&secret), "static pods may not reference secrets");
        assert!(
            why("a: b: c").contains("mapping values are not allowed in this context"),
            "{}",
            why("a: b: c")
        );
        assert!(why(&POD.replace("Pod", "Podd")).contains("no kind \"Podd\" is registered"));
    }

    #[test]
    fn a_wrong_indentation_is_told_with_the_line_before() {
        let address = crate::sim::bootstrap::node_address(0);
        let manifests = crate::sim::bootstrap::manifests("c", "n1", address);
        let (_, text) = manifests.iter().find(|(file, _)| file == "kube-apiserver.yaml").unwrap();
        let wrong = text.replace("    - --allow-privileged=true", "   - --allow-privileged=true");
        assert_eq!(
            read(&wrong, "/m/f").unwrap_err(),
            "/m/f: couldn't parse as pod(yaml: line 15: did not find expected key), please check config file"
        );
    }
}
