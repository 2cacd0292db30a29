//! Image names as container runtimes read them: `nginx` is `docker.io/library/nginx:latest`.

use std::sync::OnceLock;

use regex::Regex;

/// An image name taken apart and completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// Registry and path, such as `docker.io/library/nginx`.
    pub repository: String,
    /// The tag; `latest` when neither a tag nor a digest is given, empty when only a digest is.
    pub tag: String,
    /// The digest, such as `sha256:...`, or empty.
    pub digest: String,
}

impl ImageName {
    /// Parses a name, or returns nothing when it has not the form of one.
    pub fn parse(name: &str) -> Option<Self> {
        static FORM: OnceLock<Option<Regex>> = OnceLock::new();
        let form = FORM.get_or_init(|| {
            let host = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
            let part = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
            // Letters of ASCII, as in Go; those of all scripts would make this the largest thing in memory.
            Regex::new(&format!(
                r"^(?:((?:{host}(?:\.{host})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?)/)?({part}(?:/{part})*)(?::([0-9A-Za-z_][0-9A-Za-z_.-]{{0,127}}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{{32,}}))?$"
            ))
            .ok()
        });
        let is_id = name.len() == 64 && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            return None;
        }
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest))
                if first.contains(['.', ':'])
                    || first == "localhost"
                    || first.chars().any(|c| c.is_ascii_uppercase()) =>
            {
                (first, rest)
            }
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !rest.contains('/') {
            format!("library/{rest}")
        } else {
            rest.to_owned()
        };
        let whole = format!("{registry}/{path}");
        let found = form.as_ref()?.captures(&whole)?;
        let group = |index: usize| found.get(index).map_or("", |m| m.as_str()).to_owned();
        let digest = group(4);
        let tag = match group(3) {
            tag if tag.is_empty() && digest.is_empty() => "latest".to_owned(),
            tag => tag,
        };
        Some(Self { repository: format!("{}/{}", group(1), group(2)), tag, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (name, repository, tag) in [
            ("nginx", "docker.io/library/nginx", "latest"),
            ("nginx:1.27", "docker.io/library/nginx", "1.27"),
            ("team/app", "docker.io/team/app", "latest"),
            ("localhost:5000/app:x", "localhost:5000/app", "x"),
            ("r.example.com/a/b", "r.example.com/a/b", "latest"),
        ] {
            let parsed = ImageName::parse(name).expect(name);
            assert_eq!((parsed.repository.as_str(), parsed.tag.as_str()), (repository, tag));
        }
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(ImageName::parse(&digest).map(|name| name.tag), Some(String::new()));
    }

    #[test]
    fn what_has_no_form_is_no_name() {
        for name in ["", "Nginx", "nginx:é", "nginx:-x", "nginx:1.22:3", " nginx", "a//b", &"a".repeat(64)] {
            assert_eq!(ImageName::parse(name), None, "{name:?}");
        }
    }
}
