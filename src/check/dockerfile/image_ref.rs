//! References to images as Dockerfiles write them: repository, tag and digest. Knows no registry.

use super::super::object;

/// A reference, with Docker's own registry and its `library` left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageRef {
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
}

impl ImageRef {
    pub(super) fn parse(text: &str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let plain = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
            .iter()
            .find_map(|registry| repository.strip_prefix(registry))
            .unwrap_or(repository);
        let plain = plain.strip_prefix("library/").unwrap_or(plain);
        Self { repository: plain.to_owned(), tag, digest }
    }

    /// Tells whether the digest is one: an algorithm and enough hexadecimal digits.
    pub(super) fn has_digest(&self) -> bool {
        self.digest.as_deref().is_some_and(|digest| {
            let length = match digest.split_once(':') {
                Some(("sha256", hex)) => (hex, 64),
                Some(("sha512", hex)) => (hex, 128),
                _ => return false,
            };
            length.0.len() == length.1 && length.0.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }

    /// Tells whether a pattern means this image: without a tag in the pattern, any tag.
    pub(super) fn is(&self, pattern: &str) -> bool {
        let wanted = Self::parse(pattern);
        object::matches(&wanted.repository, &self.repository)
            && wanted.tag.is_none_or(|tag| object::matches(&tag, self.tag.as_deref().unwrap_or("latest")))
            && wanted.digest.is_none_or(|digest| self.digest.as_ref() == Some(&digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_tags_and_dockers_own_names_are_short() {
        let of = |text: &str| ImageRef::parse(text);
        assert_eq!((of("r:5000/a/b").repository.as_str(), of("r:5000/a/b").tag), ("r:5000/a/b", None));
        assert_eq!(of("docker.io/library/alpine:3.20"), of("alpine:3.20"));
        assert!(of("gcr.io/distroless/static:nonroot").is("gcr.io/distroless/*"));
        assert!(!of("gcr.io/distroless/static:debug").is("gcr.io/distroless/*:nonroot"));
        assert!(!of("alpine@sha256:abc").has_digest());
        assert!(of(&format!("alpine@sha256:{}", "a".repeat(64))).has_digest());
    }
}
