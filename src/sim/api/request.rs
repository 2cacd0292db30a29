//! What a request asks for, read from its method, path and query by the rules of apiserver's RequestInfo.

use http::Method;

use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::selectors::parse_fields;
use crate::sim::status::Status;

/// The decoded query of a request, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// Returns the first value of a parameter.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a parameter, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Reads a boolean as upstream's query conversion does: there and neither `false` nor `0`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !matches!(value, "false" | "0"))
    }

    /// Reads a whole number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }
}

/// Decodes `%xx`, and `+` as a space.
pub(crate) fn decode(text: &str) -> String {
    unescape(text, true)
}

fn unescape(text: &str, plus: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus && bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Whether it is about a resource, as against a path such as `/healthz`.
    pub(crate) is_resource: bool,
    pub(crate) path: String,
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    /// The name for authorization; for a list of one by field selector, that one's.
    pub(crate) name: String,
    /// The field selector of a request for several, as written.
    pub(crate) field_selector: String,
    /// The path from the resource on.
    pub(crate) parts: Vec<String>,
    /// The name stands in the path.
    pub(crate) is_named: bool,
}

impl RequestInfo {
    pub(crate) fn read(method: &Method, path: &str, query: &Query) -> Result<Self, Status> {
        let mut info =
            Self { path: path.to_owned(), verb: method.as_str().to_lowercase(), ..Self::default() };
        let parts: Vec<String> =
            path.trim_matches('/').split('/').map(|part| unescape(part, false)).collect();
        if parts.len() < 3 {
            return Ok(info);
        }
        let mut rest = match parts[0].as_str() {
            "api" => &parts[1..],
            "apis" if parts.len() >= 4 => {
                info.group.clone_from(&parts[1]);
                &parts[2..]
            }
            _ => return Ok(info),
        };
        info.is_resource = true;
        info.version.clone_from(&rest[0]);
        rest = &rest[1..];
        let special = matches!(rest[0].as_str(), "proxy" | "watch");
        if special {
            if rest.len() < 2 {
                return Err(Status::internal(format!(
                    "unable to determine kind and namespace from url, {path}"
                )));
            }
            info.verb.clone_from(&rest[0]);
            rest = &rest[1..];
        } else {
            info.verb = match method.as_str() {
                "POST" => "create",
                "GET" | "HEAD" => "get",
                "PUT" => "update",
                "PATCH" => "patch",
                "DELETE" => "delete",
                _ => "",
            }
            .to_owned();
        }
        if rest[0] == "namespaces" && rest.len() > 1 {
            info.namespace.clone_from(&rest[1]);
            if rest.len() > 2 && !matches!(rest[2].as_str(), "status" | "finalize") {
                rest = &rest[2..];
            }
        }
        info.parts = rest.to_vec();
        info.resource.clone_from(&rest[0]);
        if let Some(name) = rest.get(1) {
            info.name.clone_from(name);
            info.is_named = true;
        }
        if let (Some(subresource), false) = (rest.get(2), special) {
            info.subresource.clone_from(subresource);
        }
        if info.name.is_empty() {
            if info.verb == "get" {
                info.verb = if query.flag("watch") { "watch" } else { "list" }.to_owned();
            } else if info.verb == "delete" {
                "deletecollection".clone_into(&mut info.verb);
            }
        }
        if !info.is_named && matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
            query.text("fieldSelector").clone_into(&mut info.field_selector);
            // A selector that is none is refused later, where it can be said.
            let fields = parse_fields(query.text("fieldSelector")).unwrap_or_default();
            let one = fields.into_iter().find(|f| f.field == "metadata.name" && f.equal);
            if let Some(one) = one.filter(|f| !f.value.is_empty() && !f.value.contains(['/', '%'])) {
                info.name = one.value;
            }
        }
        Ok(info)
    }

    /// Returns what authorization goes by.
    pub(crate) fn attributes(&self, user: &UserInfo) -> Attributes {
        Attributes {
            user: user.clone(),
            verb: self.verb.clone(),
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            field_selector: self.field_selector.clone(),
            path: self.path.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, url: &str) -> RequestInfo {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        RequestInfo::read(&method.parse().unwrap(), path, &Query::parse(query)).unwrap()
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        // method, url, verb, group, namespace, resource, subresource, name
        for (method, url, expected) in [
            ("GET", "/api/v1/namespaces", "list||||namespaces||"),
            ("GET", "/api/v1/namespaces/x", "get||x||namespaces||x"),
            ("PUT", "/api/v1/namespaces/x/finalize", "update||x||namespaces|finalize|x"),
            ("GET", "/api/v1/namespaces/x/pods", "list||x||pods||"),
            ("GET", "/api/v1/namespaces/x/pods?watch=true", "watch||x||pods||"),
            ("GET", "/api/v1/pods?watch=0&fieldSelector=metadata.name%3Da", "list||||pods||a"),
            ("GET", "/api/v1/namespaces/x/pods/p/log", "get||x||pods|log|p"),
            ("POST", "/api/v1/namespaces/x/pods/p/exec", "create||x||pods|exec|p"),
            ("DELETE", "/apis/apps/v1/namespaces/x/deployments", "deletecollection|apps|x||deployments||"),
            ("PATCH", "/apis/apps/v1/namespaces/x/deployments/d/scale", "patch|apps|x||deployments|scale|d"),
            ("GET", "/api/v1/watch/namespaces/x/pods/p", "watch||x||pods||p"),
            ("GET", "/api/v1/nodes/n%20x", "get||||nodes||n x"),
        ] {
            let info = read(method, url);
            assert!(info.is_resource, "{url}");
            let got = [
                &info.verb,
                &info.group,
                &info.namespace,
                &String::new(),
                &info.resource,
                &info.subresource,
                &info.name,
            ]
            .map(String::as_str)
            .join("|");
            assert_eq!(got, expected, "{url}");
        }
    }

    #[test]
    fn other_paths_are_no_resources() {
        for url in ["/", "/api", "/api/v1", "/apis", "/apis/apps/v1", "/healthz/ping/x", "/version"] {
            let info = read("GET", url);
            assert!(!info.is_resource, "{url}");
            assert_eq!(info.verb, "get");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=x%2Cy&b=1+2&c&a=z&dryRun=All");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["x,y", "z"]);
        assert_eq!((query.text("b"), query.flag("c"), query.flag("d")), ("1 2", true, false));
        assert!(query.number("b").is_err());
    }
}
