//! The images of the simulated world, from `images.yaml`: whether a name can be pulled, and what the image is like.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::sim::image::ImageName;

/// What an image does when it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// It keeps running, whatever it is given.
    Service,
    /// It does what its command line says and ends with it.
    Tool,
    /// Nobody knows: without a command, or with one that nobody knows, it keeps running.
    Unknown,
}

/// What is known of an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    repository: String,
    #[serde(default)]
    tag: Option<String>,
    /// `USER`; empty for root.
    #[serde(default)]
    pub user: String,
    /// `ENTRYPOINT`.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// `CMD`.
    #[serde(default)]
    pub command: Vec<String>,
    /// What it does.
    pub runs: Runs,
    /// The ports it serves.
    #[serde(default)]
    pub listens: Vec<u16>,
    /// The paths it answers; all when absent.
    #[serde(default)]
    pub pages: Option<Vec<String>>,
    /// The exit code after SIGTERM, or `ignore`.
    #[serde(default)]
    pub term: Option<String>,
    /// Variables of which it needs one.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What it says when it has none of them.
    #[serde(default)]
    pub fails: String,
    /// Folders that it must be able to write to.
    #[serde(default)]
    pub writes: Vec<String>,
    #[serde(default)]
    tags: Option<String>,
    /// Whether it has a shell.
    #[serde(default = "yes")]
    pub shell: bool,
    /// The programs it has; all where that is not known.
    #[serde(default)]
    userland: Option<String>,
    /// Programs it has beside those.
    #[serde(default)]
    pub programs: Vec<String>,
    /// The id of a user that `user` names.
    #[serde(default)]
    pub uid: Option<u32>,
    /// What its ports speak.
    #[serde(default)]
    pub speaks: Speaks,
    /// The page that it answers with, or its greeting.
    #[serde(default)]
    pub page: String,
    /// The type of that page.
    #[serde(default)]
    pub kind: String,
    /// The folder whose files it serves.
    #[serde(default)]
    pub root: String,
    /// What it calls itself in its answers.
    #[serde(default)]
    pub server: String,
}

/// What is spoken at the ports of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaks {
    /// HTTP.
    #[default]
    Http,
    /// HTTP within TLS.
    Tls,
    /// The protocol of Redis.
    Redis,
    /// Something that begins with a greeting of the server.
    Greeting,
    /// Something to which a stranger gets no answer.
    Nothing,
}

impl Image {
    /// Returns the set of programs, by the image's tag where the image is built on several.
    fn userland(&self, tag: &str) -> Option<&str> {
        if tag.contains("alpine") { Some("alpine") } else { self.userland.as_deref() }
    }

    /// Tells whether a program is missing that could be there.
    pub fn lacks(&self, tag: &str, program: &str) -> bool {
        if self.programs.iter().any(|known| known == program) {
            return false;
        }
        let lacking = self.userland(tag).and_then(|name| CATALOGUE.as_ref()?.userlands.get(name));
        lacking.is_some_and(|lacking| lacking.iter().any(|missing| missing == program))
    }

    /// Tells whether its programs are those of GNU.
    pub fn is_gnu(&self, tag: &str) -> bool {
        self.userland(tag) == Some("debian")
    }
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
struct Hosts {
    unknown: Vec<String>,
    refused: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Catalogue {
    hosts: Hosts,
    missing: Vec<String>,
    present: Vec<String>,
    /// The programs that images of a kind do not have.
    userlands: BTreeMap<String, Vec<String>>,
    images: Vec<Image>,
}

static CATALOGUE: LazyLock<Option<Catalogue>> =
    LazyLock::new(|| serde_saphyr::from_str(include_str!("images.yaml")).ok());

/// Returns what is known of an image.
pub fn find(name: &ImageName) -> Option<&'static Image> {
    CATALOGUE.as_ref()?.images.iter().find(|image| {
        glob(&image.repository, &name.repository) && image.tag.as_ref().is_none_or(|tag| glob(tag, &name.tag))
    })
}

/// Tells whether nodes have an image from the start.
pub fn is_present(name: &ImageName) -> bool {
    let whole = full_name(name);
    CATALOGUE.as_ref().is_some_and(|catalogue| catalogue.present.contains(&whole))
}

/// Returns the images that nodes have from the start.
pub fn present() -> impl Iterator<Item = &'static str> {
    CATALOGUE.as_ref().into_iter().flat_map(|catalogue| catalogue.present.iter().map(String::as_str))
}

/// Returns the name as the runtime writes it: `docker.io/library/nginx:1.27`.
pub fn full_name(name: &ImageName) -> String {
    match (name.tag.as_str(), name.digest.as_str()) {
        ("", digest) => format!("{}@{digest}", name.repository),
        (tag, "") => format!("{}:{tag}", name.repository),
        (tag, digest) => format!("{}:{tag}@{digest}", name.repository),
    }
}

/// Returns the id that an image has once it is pulled: repository and digest.
pub fn image_id(name: &ImageName) -> String {
    if !name.digest.is_empty() {
        return format!("{}@{}", name.repository, name.digest);
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, full_name(name).as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}@sha256:{hex}", name.repository)
}

/// Pulls an image; the error is what the runtime says.
///
/// # Errors
/// When the registry or the image is not there.
pub fn pull(name: &ImageName) -> Result<(), String> {
    let Some(catalogue) = CATALOGUE.as_ref() else { return Ok(()) };
    let whole = full_name(name);
    let (host, path) = name.repository.split_once('/').unwrap_or(("", &name.repository));
    let what = if name.digest.is_empty() { &name.tag } else { &name.digest };
    let failed =
        format!("failed to pull and unpack image {whole:?}: failed to resolve reference {whole:?}: ");
    let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| glob(pattern, text));
    if any(&catalogue.hosts.refused, host) {
        let address = host.replace("localhost", "127.0.0.1");
        let address = if address.contains(':') { address } else { format!("{address}:443") };
        return Err(format!(
            "{failed}failed to do request: Head \"http://{host}/v2/{path}/manifests/{what}\": dial tcp {address}: connect: \
             connection refused"
        ));
    }
    if any(&catalogue.hosts.unknown, host) {
        return Err(format!(
            "{failed}failed to do request: Head \"https://{host}/v2/{path}/manifests/{what}\": dial tcp: lookup {host} on 172.18.0.1:53: no \
             such host"
        ));
    }
    let tag_exists = || {
        let pattern = find(name).and_then(|image| image.tags.as_ref());
        name.tag.is_empty()
            || pattern.is_none_or(|tags| Regex::new(tags).map_or(true, |tags| tags.is_match(&name.tag)))
    };
    if any(&catalogue.missing, path) || any(&catalogue.missing, &name.tag) || !tag_exists() {
        return Err(format!("rpc error: code = NotFound desc = {failed}{whole}: not found"));
    }
    Ok(())
}

/// Matches with `*` for any characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| glob(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        ImageName::parse(text).unwrap()
    }

    #[test]
    fn the_catalogue_is_read_whole() {
        let catalogue: Catalogue = serde_saphyr::from_str(include_str!("images.yaml")).unwrap();
        for image in &catalogue.images {
            if let Some(tags) = &image.tags {
                Regex::new(tags).unwrap();
            }
        }
        assert_eq!(find(&name("busybox:1.36")).unwrap().runs, Runs::Tool);
        assert_eq!(find(&name("example/thing")).unwrap().runs, Runs::Unknown);
        assert_eq!(find(&name("gcr.io/distroless/static:nonroot")).unwrap().user, "65532");
        assert!(is_present(&name("registry.k8s.io/pause:3.10.1")));
    }

    #[test]
    fn images_of_the_recordings_are_pulled_or_not_as_there() {
        for good in [
            "nginx:1.27",
            "nginx",
            "nginx:1.27-alpine",
            "redis:7",
            "busybox:1.36",
            "team/app:2",
            "ghcr.io/a/b:c",
        ] {
            assert_eq!(pull(&name(good)), Ok(()), "{good}");
        }
        assert_eq!(
            pull(&name("nginx:9.99")).unwrap_err(),
            "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/nginx:9.99\": failed to \
             resolve reference \"docker.io/library/nginx:9.99\": docker.io/library/nginx:9.99: not found"
        );
        assert_eq!(
            pull(&name("registry.example.com/team/app:1.0")).unwrap_err(),
            "failed to pull and unpack image \"registry.example.com/team/app:1.0\": failed to resolve reference \
             \"registry.example.com/team/app:1.0\": failed to do request: Head \
             \"https://registry.example.com/v2/team/app/manifests/1.0\": dial tcp: lookup registry.example.com on 172.18.0.1:53: no such host"
        );
        assert!(
            pull(&name("127.0.0.1:5000/app:1"))
                .unwrap_err()
                .ends_with("dial tcp 127.0.0.1:5000: connect: connection refused")
        );
    }
}
