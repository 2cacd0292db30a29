//! The API as checks ask it: plain JSON, each answer with its HTTP status. Whatever is no clear answer is an error,
//! so that a server that is gone, overloaded or refuses the grader never turns into a verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use super::CheckError;

/// Speaks to the API with the grader's credentials and remembers which resources are served.
pub(crate) struct Api {
    client: kube::Client,
    served: Mutex<BTreeMap<String, Arc<Vec<Kind>>>>,
}

/// A resource that is served, as discovery describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The group; empty for core.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// The kind.
    pub(crate) kind: String,
    /// The plural, with the subresource: `pods`, `pods/exec`.
    pub(crate) resource: String,
    /// Whether objects live in namespaces.
    pub(crate) namespaced: bool,
    /// The verbs that are served.
    pub(crate) verbs: Vec<String>,
}

/// What the API said.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The body; null when there is none.
    pub(crate) body: Value,
    /// The texts of warnings.
    pub(crate) warnings: Vec<String>,
}

/// A change that is only tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    /// The user to impersonate.
    pub(crate) user: Option<String>,
    /// The groups to impersonate.
    pub(crate) groups: Vec<String>,
}

impl Kind {
    /// Returns the path of the collection, or of an object in it.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(&encode(namespace));
        }
        path.push('/');
        path.push_str(&self.resource);
        if let Some(name) = name {
            path.push('/');
            path.push_str(&encode(name));
        }
        path
    }
}

impl Reply {
    /// Returns the Status' reason, such as `NotFound`.
    pub(crate) fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or_default()
    }

    /// Returns the Status' message.
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn is_status(&self) -> bool {
        self.body["kind"] == "Status"
    }
}

impl Api {
    /// Wraps a client.
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client, served: Mutex::default() }
    }

    /// Makes sure that somebody answers, for checks that would need no request.
    ///
    /// # Errors
    /// [`CheckError::Api`] when nobody does.
    pub(crate) async fn alive(&self) -> Result<(), CheckError> {
        let reply = self.send(Method::GET, "/version", None, &[]).await?;
        if reply.code == 200 && reply.body["gitVersion"].is_string() {
            return Ok(());
        }
        Err(unclear("/version", &reply))
    }

    /// Returns every resource of a group and version, or `None` when the group or version is not served.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it cannot be told.
    pub(crate) async fn resources(&self, api_version: &str) -> Result<Option<Arc<Vec<Kind>>>, CheckError> {
        if let Some(known) = self.served.lock().unwrap_or_else(PoisonError::into_inner).get(api_version) {
            return Ok(Some(known.clone()));
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if !self.group_versions().await?.iter().any(|known| known == api_version) {
            return Ok(None);
        }
        let path =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let reply = self.send(Method::GET, &path, None, &[]).await?;
        let Some(list) = reply.body["resources"].as_array().filter(|_| reply.code == 200) else {
            return Err(unclear(&path, &reply));
        };
        let kinds = list
            .iter()
            .map(|item| Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(&item["kind"]),
                resource: text(&item["name"]),
                namespaced: item["namespaced"] == true,
                verbs: item["verbs"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default(),
            })
            .collect();
        let kinds = Arc::new(kinds);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.insert(api_version.to_owned(), Arc::clone(&kinds));
        Ok(Some(kinds))
    }

    /// Returns every group and version that is served, each group's preferred one first.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it cannot be told.
    pub(crate) async fn group_versions(&self) -> Result<Vec<String>, CheckError> {
        let core = self.send(Method::GET, "/api", None, &[]).await?;
        let groups = self.send(Method::GET, "/apis", None, &[]).await?;
        let (Some(versions), Some(list)) = (
            core.body["versions"].as_array().filter(|_| core.code == 200),
            groups.body["groups"].as_array().filter(|_| groups.code == 200),
        ) else {
            return Err(unclear("/apis", if core.code == 200 { &groups } else { &core }));
        };
        let mut all: Vec<String> = versions.iter().map(text).collect();
        for group in list {
            let preferred = text(&group["preferredVersion"]["groupVersion"]);
            let versions = group["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let rest = versions.iter().map(|version| text(&version["groupVersion"]));
            all.extend(
                std::iter::once(preferred.clone()).chain(rest.filter(|version| *version != preferred)),
            );
        }
        Ok(all)
    }

    /// Returns the resource of a kind, or `None` when it is not served.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it cannot be told.
    pub(crate) async fn kind(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, CheckError> {
        let all = self.resources(api_version).await?;
        Ok(all.and_then(|all| {
            all.iter().find(|item| item.kind == kind && !item.resource.contains('/')).cloned()
        }))
    }

    /// Returns an object, or `None` when the API says that there is none of the name.
    ///
    /// # Errors
    /// [`CheckError::Api`] for any other answer.
    pub(crate) async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, CheckError> {
        let path = kind.path(namespace, Some(name));
        let reply = self.send(Method::GET, &path, None, &[]).await?;
        match reply.code {
            200 if reply.body["metadata"]["name"] == name => Ok(Some(reply.body)),
            404 if reply.is_status() && reply.reason() == "NotFound" => Ok(None),
            _ => Err(unclear(&path, &reply)),
        }
    }

    /// Returns an object of a well-known kind.
    ///
    /// # Errors
    /// [`CheckError::Api`] when the API does not answer or does not serve the kind.
    pub(crate) async fn get_known(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, CheckError> {
        let kind = self.known(api_version, kind).await?;
        self.get(&kind, namespace, name).await
    }

    /// Returns the objects of a well-known kind.
    ///
    /// # Errors
    /// [`CheckError::Api`] when the API does not answer or does not serve the kind.
    pub(crate) async fn list_known(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Value>, CheckError> {
        let kind = self.known(api_version, kind).await?;
        self.list(&kind, namespace, selector).await
    }

    async fn known(&self, api_version: &str, kind: &str) -> Result<Kind, CheckError> {
        let found = self.kind(api_version, kind).await?;
        found.ok_or_else(|| CheckError::Api(format!("it serves no {kind} in {api_version}")))
    }

    /// Returns all objects, ordered by namespace and name, each with `apiVersion` and `kind`.
    ///
    /// # Errors
    /// [`CheckError::Api`] when the API does not answer with a list.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<Value>, CheckError> {
        let base = kind.path(namespace, None);
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let mut path = format!("{base}?limit=500");
            if let Some(selector) = selector {
                path.push_str(&format!("&labelSelector={}", encode(selector)));
            }
            if !token.is_empty() {
                path.push_str(&format!("&continue={}", encode(&token)));
            }
            let mut reply = self.send(Method::GET, &path, None, &[]).await?;
            let is_list = reply.body["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
            if reply.code != 200 || !is_list {
                return Err(unclear(&path, &reply));
            }
            let token_now = text(&reply.body["metadata"]["continue"]);
            if let Value::Array(items) = reply.body["items"].take() {
                all.extend(items);
            }
            if token_now.is_empty() {
                break;
            }
            token = token_now;
        }
        let api_version = match kind.group.as_str() {
            "" => kind.version.clone(),
            group => format!("{group}/{}", kind.version),
        };
        for item in &mut all {
            item["apiVersion"] = api_version.as_str().into();
            item["kind"] = kind.kind.as_str().into();
        }
        all.sort_by_cached_key(|item| {
            (text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"]))
        });
        Ok(all)
    }

    /// Tells whether a namespace exists and is not on its way out.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it cannot be told.
    pub(crate) async fn has_namespace(&self, name: &str) -> Result<bool, CheckError> {
        let namespace = self.get_known("v1", "Namespace", None, name).await?;
        Ok(namespace.is_some_and(|found| found["metadata"]["deletionTimestamp"].is_null()))
    }

    /// Asks the API to review something, such as an access; returns the review's `status`.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it does not.
    pub(crate) async fn review(&self, path: &str, review: &Value) -> Result<Value, CheckError> {
        let mut reply = self.send(Method::POST, path, Some(("application/json", review)), &[]).await?;
        if !matches!(reply.code, 200 | 201) || !reply.body["status"].is_object() {
            return Err(unclear(path, &reply));
        }
        Ok(reply.body["status"].take())
    }

    /// Tries a change by dry-run. Any answer is returned that says something about the change.
    ///
    /// # Errors
    /// [`CheckError::Api`] when the API is in no state to answer, or refuses the grader.
    pub(crate) async fn try_change(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: &Value,
        trial: &Trial,
    ) -> Result<Reply, CheckError> {
        let path = format!("{path}?dryRun=All&fieldManager=cks-lab&fieldValidation=Strict");
        let mut headers = Vec::new();
        if let Some(user) = &trial.user {
            headers.push(("impersonate-user", user.clone()));
            headers.extend(trial.groups.iter().map(|group| ("impersonate-group", group.clone())));
        }
        let reply = self.send(method, &path, Some((content_type, body)), &headers).await?;
        let called_webhook = reply.message().contains("failed calling webhook");
        let unusable = match reply.code {
            401 | 429 => true,
            403 => reply.message().contains(" cannot impersonate resource "),
            409 => reply.reason() == "Conflict",
            code => code >= 500 && !called_webhook,
        };
        if unusable || (reply.code >= 400 && !reply.is_status() && reply.code != 404) {
            return Err(unclear(&path, &reply));
        }
        Ok(reply)
    }

    /// Reads a path that answers with JSON.
    ///
    /// # Errors
    /// [`CheckError::Api`] when it gives anything else.
    pub(crate) async fn read(&self, path: &str) -> Result<Value, CheckError> {
        let reply = self.send(Method::GET, path, None, &[]).await?;
        if reply.code == 200 { Ok(reply.body) } else { Err(unclear(path, &reply)) }
    }

    /// Makes a request that changes nothing, and returns the audit ID that it was given. A refusal is an answer too.
    ///
    /// # Errors
    /// [`CheckError::Api`] when there is none.
    pub(crate) async fn marked(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<String, CheckError> {
        let id = uuid();
        let reply = self.send(method, path, body, &[("audit-id", id.clone())]).await?;
        if reply.code >= 500 || matches!(reply.code, 401 | 429) {
            return Err(unclear(path, &reply));
        }
        Ok(id)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, &Value)>,
        headers: &[(&'static str, String)],
    ) -> Result<Reply, CheckError> {
        let mut request =
            Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let bytes = match body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                serde_json::to_vec(body).map_err(|error| CheckError::Spec(error.to_string()))?
            }
            None => Vec::new(),
        };
        let request = request.body(Body::from(bytes)).map_err(|error| CheckError::Spec(error.to_string()))?;
        let response = self.client.send(request).await?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let warnings = head
            .headers
            .get_all(header::WARNING)
            .iter()
            .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok().and_then(warning_text))
            .collect();
        // A text that is no JSON, as of a proxy or an unknown path, is kept: the callers look at the code.
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
        Ok(Reply { code: head.status.as_u16(), body, warnings })
    }
}

/// Returns an id that no other request has.
fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    // The generator of a running system does not fail; zeros would at worst find a request of long ago.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// An answer that tells nothing about the question.
fn unclear(path: &str, reply: &Reply) -> CheckError {
    let path = path.split('?').next().unwrap_or(path);
    let said = match &reply.body {
        Value::String(text) => text.trim(),
        _ => reply.message(),
    };
    let said: String = said.chars().take(200).collect();
    CheckError::Api(format!("{path} gave {}{}{said}", reply.code, if said.is_empty() { "" } else { ": " }))
}

/// Takes the text out of `299 - "text"`.
fn warning_text(value: &str) -> Option<String> {
    let start = value.find('"')? + 1;
    let mut text = String::new();
    let mut chars = value[start..].chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => break,
            '\\' => text.extend(chars.next()),
            other => text.push(other),
        }
    }
    Some(text)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Percent-encodes what has a meaning in a path or a query.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        let value = r#"299 - "would violate PodSecurity \"restricted:latest\": x""#;
        assert_eq!(
            warning_text(value).as_deref(),
            Some("would violate PodSecurity \"restricted:latest\": x")
        );
    }

    #[test]
    fn names_of_roles_with_colons_go_into_paths() {
        assert_eq!(encode("system:node a/b"), "system%3Anode%20a%2Fb");
    }
}
