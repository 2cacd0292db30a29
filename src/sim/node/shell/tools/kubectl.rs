//! `kubectl` in a container: get, auth, delete, create and apply by requests to the API with the Pod's token. What else it
//! can do it says is not simulated.

use serde_json::{Value, json};

use super::super::bytes::to_text;
use super::super::outside::{Ask, HttpAnswer, HttpRequest, ROUND_TRIP, Reply, Told, Transport, Trust};
use super::super::{Flow, Machine, Step};
use super::network::Failure;

/// Where a Pod finds its credentials.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A command line, read.
#[derive(Default)]
struct Options {
    plain: Vec<String>,
    namespace: Option<String>,
    all: bool,
    output: String,
    selector: String,
    file: Option<String>,
    raw: Option<String>,
    user: Option<String>,
    token: Option<String>,
    bare: bool,
}

impl Options {
    /// Reads a command line, or names the option that is not simulated.
    fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if !word.starts_with('-') || word == "-" {
                options.plain.push(word.clone());
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => match ["-n", "-o", "-l", "-f"]
                    .iter()
                    .find(|short| word.len() > 2 && word.starts_with(**short))
                {
                    Some(short) => ((*short).to_owned(), Some(word[2..].to_owned())),
                    None => (word.clone(), None),
                },
            };
            let mut value = || value.clone().or_else(|| rest.next().cloned()).unwrap_or_default();
            match name.as_str() {
                "-n" | "--namespace" => options.namespace = Some(value()),
                "-A" | "--all-namespaces" => options.all = true,
                "-o" | "--output" => options.output = value(),
                "-l" | "--selector" => options.selector = value(),
                "-f" | "--filename" => options.file = Some(value()),
                "--raw" => options.raw = Some(value()),
                "--as" => options.user = Some(value()),
                "--token" => options.token = Some(value()),
                "--no-headers" => options.bare = true,
                "-q" | "--quiet" | "--client" => {}
                other => return Err(other.to_owned()),
            }
        }
        Ok(options)
    }
}

/// A resource as discovery tells of it.
struct Resource {
    path: String,
    name: String,
    kind: String,
    group: String,
    namespaced: bool,
}

impl Resource {
    /// Returns the name that kubectl writes before a slash.
    fn full_name(&self) -> String {
        let singular = self.kind.to_lowercase();
        if self.group.is_empty() { singular } else { format!("{singular}.{}", self.group) }
    }

    fn url(&self, namespace: &str, name: &str) -> String {
        let scope = if self.namespaced && !namespace.is_empty() {
            format!("/namespaces/{namespace}")
        } else {
            String::new()
        };
        let name = if name.is_empty() { String::new() } else { format!("/{name}") };
        format!("{}{scope}/{}{name}", self.path, self.name)
    }
}

/// Why a command has ended: what it says, and its exit code.
struct Failed(String, i32);

type Tried<T> = Result<Result<T, Failed>, Flow>;

/// Goes on with what was found, or ends with why not.
macro_rules! found {
    ($tried:expr) => {
        match $tried {
            Ok(found) => found,
            Err(failed) => return Ok(Err(failed)),
        }
    };
}

impl Machine<'_> {
    pub(super) fn kubectl(&mut self, words: &[String]) -> Step {
        match self.kubectl_inside(words)? {
            Ok(code) => Ok(code),
            Err(Failed(text, code)) => self.fail(text, code),
        }
    }

    fn kubectl_inside(&mut self, words: &[String]) -> Tried<i32> {
        let unknown =
            |what: &str| Failed(format!("error: kubectl {what} is not simulated in a container\n"), 1);
        let options = match Options::read(words) {
            Ok(options) => options,
            Err(option) => return Ok(Err(unknown(&option))),
        };
        let plain: Vec<&str> = options.plain.iter().map(String::as_str).collect();
        match plain.as_slice() {
            [] | ["help"] => {
                self.say("kubectl controls the Kubernetes cluster manager.\n");
                Ok(Ok(0))
            }
            ["version"] => {
                self.say("Client Version: v1.34.1\nKustomize Version: v5.7.1\n");
                Ok(Ok(0))
            }
            ["get"] if options.raw.is_some() => {
                let path = options.raw.clone().unwrap_or_default();
                let answer = found!(self.call(&options, "GET", &path, "application/json", None)?);
                self.say(&to_text(&answer.body));
                Ok(Ok(0))
            }
            ["get", kinds, names @ ..] => self.get_objects(&options, kinds, names),
            ["auth", "whoami"] => {
                let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
                let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
                let review = found!(self.json(&options, "POST", path, Some(&body))?);
                let user = &review["status"]["userInfo"];
                let list = |value: &Value| {
                    let items: Vec<&str> =
                        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                    items.join(" ")
                };
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let mut rows = vec![
                    vec!["ATTRIBUTE".to_owned(), "VALUE".to_owned()],
                    vec!["Username".to_owned(), text(&user["username"])],
                    vec!["UID".to_owned(), text(&user["uid"])],
                    vec!["Groups".to_owned(), format!("[{}]", list(&user["groups"]))],
                ];
                for (key, value) in user["extra"].as_object().into_iter().flatten() {
                    rows.push(vec![format!("Extra: {key}"), format!("[{}]", list(value))]);
                }
                rows.retain(|row| !row[1].is_empty());
                self.say(&columns(&rows));
                Ok(Ok(0))
            }
            ["auth", "can-i", verb, what, name @ ..] => self.can_i(&options, verb, what, name),
            ["delete", kind, names @ ..] if options.file.is_none() => {
                let (kind, names): (&str, Vec<&str>) = match kind.split_once('/') {
                    Some((kind, name)) => (kind, vec![name]),
                    None => (kind, names.to_vec()),
                };
                if names.is_empty() {
                    return Ok(Err(unknown("delete without a name")));
                }
                let resource = found!(self.resource(&options, kind)?);
                let namespace = self.namespace(&options);
                for name in names {
                    let path = resource.url(&namespace, name);
                    found!(self.json(&options, "DELETE", &path, None)?);
                    self.say(&format!("{} {name:?} deleted\n", resource.full_name()));
                }
                Ok(Ok(0))
            }
            [verb @ ("create" | "apply")] if options.file.is_some() => self.make_objects(&options, verb),
            [verb, ..] => Ok(Err(unknown(verb))),
        }
    }

    fn get_objects(&mut self, options: &Options, kinds: &str, names: &[&str]) -> Tried<i32> {
        let (kinds, names) = match kinds.split_once('/') {
            Some((kind, name)) => (kind, vec![name]),
            None => (kinds, names.to_vec()),
        };
        let namespace = if options.all { String::new() } else { self.namespace(options) };
        let form = options.output.split('=').next().unwrap_or_default();
        let as_table = matches!(form, "" | "wide");
        if !matches!(form, "" | "wide" | "name" | "json" | "yaml" | "jsonpath") {
            return Ok(Err(Failed(format!("error: kubectl -o {form} is not simulated in a container\n"), 1)));
        }
        for kind in kinds.split(',') {
            let resource = found!(self.resource(options, kind)?);
            let wanted: Vec<&str> = if names.is_empty() { vec![""] } else { names.clone() };
            for name in wanted {
                let mut path = resource.url(&namespace, name);
                if !options.selector.is_empty() {
                    path.push_str(&format!("?labelSelector={}", escaped(&options.selector)));
                }
                let accept = if as_table { TABLE } else { "application/json" };
                let answer = found!(self.call(options, "GET", &path, accept, None)?);
                let object: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let text = match form {
                    "name" => {
                        let items =
                            object["items"].as_array().cloned().unwrap_or_else(|| vec![object.clone()]);
                        let names = items.iter().filter_map(|item| item["metadata"]["name"].as_str());
                        names.map(|name| format!("{}/{name}\n", resource.full_name())).collect()
                    }
                    "json" => serde_json::to_string_pretty(&object).unwrap_or_default() + "\n",
                    "yaml" => serde_saphyr::to_string(&object).unwrap_or_default(),
                    "jsonpath" => {
                        let template = options.output.split_once('=').map_or("", |(_, template)| template);
                        match filled(template, &object) {
                            Some(text) => text,
                            None => {
                                let text = format!(
                                    "error: the template {template} is not simulated in a container\n"
                                );
                                return Ok(Err(Failed(text, 1)));
                            }
                        }
                    }
                    _ => {
                        let rows = rows(&object, form == "wide", options);
                        if rows.len() <= usize::from(!options.bare) {
                            let text = match namespace.as_str() {
                                "" => "No resources found\n".to_owned(),
                                _ if !resource.namespaced => "No resources found\n".to_owned(),
                                namespace => format!("No resources found in {namespace} namespace.\n"),
                            };
                            self.complain(&text);
                            continue;
                        }
                        columns(&rows)
                    }
                };
                self.say(&text);
            }
        }
        Ok(Ok(0))
    }

    fn can_i(&mut self, options: &Options, verb: &str, what: &str, name: &[&str]) -> Tried<i32> {
        let attributes = if what.starts_with('/') {
            json!({"nonResourceAttributes": {"verb": verb, "path": what}})
        } else {
            let (what, own_name) =
                what.split_once('/').map_or((what, None), |(what, name)| (what, Some(name)));
            let name = own_name.or(name.first().copied()).unwrap_or_default();
            let namespace = if options.all { String::new() } else { self.namespace(options) };
            let known = if what == "*" { None } else { self.resource(options, what)?.ok() };
            let (group, plural) = match &known {
                Some(resource) => (resource.group.as_str(), resource.name.as_str()),
                None => ("*", what),
            };
            if known.is_none() && what != "*" {
                self.complain(&format!("Warning: the server doesn't have a resource type '{what}'\n\n"));
            }
            let group = if known.is_none() && what != "*" { "" } else { group };
            let namespaced = known.as_ref().is_none_or(|resource| resource.namespaced);
            let namespace = if namespaced { namespace } else { String::new() };
            json!({"resourceAttributes": {"verb": verb, "group": group, "resource": plural, "namespace": namespace, "name": name}})
        };
        let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": attributes});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let review = found!(self.json(options, "POST", path, Some(&body))?);
        let allowed = review["status"]["allowed"] == true;
        self.say(if allowed { "yes\n" } else { "no\n" });
        Ok(Ok(i32::from(!allowed)))
    }

    fn make_objects(&mut self, options: &Options, verb: &str) -> Tried<i32> {
        let file = options.file.clone().unwrap_or_default();
        let text = match file.as_str() {
            "-" => Some(self.given()?),
            file => self.read(file),
        };
        let Some(text) = text else {
            return Ok(Err(Failed(format!("error: the path {file:?} does not exist\n"), 1)));
        };
        for document in text
            .split("\n---")
            .map(|part| part.trim_start_matches('-').trim())
            .filter(|part| !part.is_empty())
        {
            let Ok(object) = crate::sim::api::parse_yaml(document) else {
                return Ok(Err(Failed(format!("error: error parsing {file}: it is no YAML\n"), 1)));
            };
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            let resource = found!(self.resource(options, &kind)?);
            let own = object["metadata"]["namespace"].as_str().map(str::to_owned);
            let namespace = own.unwrap_or_else(|| self.namespace(options));
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if verb == "create" {
                found!(self.json(options, "POST", &resource.url(&namespace, ""), Some(&object))?);
                self.say(&format!("{}/{name} created\n", resource.full_name()));
                continue;
            }
            let path = resource.url(&namespace, &name);
            let there = self.json(options, "GET", &path, None)?.is_ok();
            let apply = format!("{path}?fieldManager=kubectl&force=true");
            found!(self.json(options, "PATCH", &apply, Some(&object))?);
            self.say(&format!(
                "{}/{name} {}\n",
                resource.full_name(),
                if there { "configured" } else { "created" }
            ));
        }
        Ok(Ok(0))
    }

    fn namespace(&self, options: &Options) -> String {
        let own = || self.read(&format!("{FOLDER}/namespace")).map(|text| text.trim().to_owned());
        options.namespace.clone().or_else(own).unwrap_or_else(|| "default".to_owned())
    }

    /// Finds a resource by any of its names.
    fn resource(&mut self, options: &Options, wanted: &str) -> Tried<Resource> {
        let (name, group) =
            wanted.split_once('.').map_or((wanted, None), |(name, group)| (name, Some(group)));
        let name = name.to_lowercase();
        for root in ["/api", "/apis"] {
            let answer = found!(self.call(options, "GET", root, DISCOVERY, None)?);
            let groups: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let items = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
            for item in items(&groups, "items") {
                let own = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if group.is_some_and(|group| group != own) {
                    continue;
                }
                for version in items(&item, "versions") {
                    let number = version["version"].as_str().unwrap_or_default().to_owned();
                    for resource in items(&version, "resources") {
                        let plural = resource["resource"].as_str().unwrap_or_default().to_owned();
                        let kind = resource["responseKind"]["kind"].as_str().unwrap_or_default().to_owned();
                        let short =
                            items(&resource, "shortNames").iter().any(|short| *short == name.as_str());
                        if plural != name
                            && resource["singularResource"] != name.as_str()
                            && kind.to_lowercase() != name
                            && !short
                        {
                            continue;
                        }
                        let path = if own.is_empty() {
                            format!("/api/{number}")
                        } else {
                            format!("/apis/{own}/{number}")
                        };
                        let namespaced = resource["scope"] == "Namespaced";
                        return Ok(Ok(Resource { path, name: plural, kind, group: own, namespaced }));
                    }
                }
            }
        }
        Ok(Err(Failed(format!("error: the server doesn't have a resource type {wanted:?}\n"), 1)))
    }

    fn json(&mut self, options: &Options, method: &str, path: &str, body: Option<&Value>) -> Tried<Value> {
        let answer = found!(self.call(options, method, path, "application/json", body)?);
        Ok(Ok(serde_json::from_slice(&answer.body).unwrap_or_default()))
    }

    /// Makes one request to the API as the Pod's service account.
    fn call(
        &mut self,
        options: &Options,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<&Value>,
    ) -> Tried<HttpAnswer> {
        let host = self.variables.get("KUBERNETES_SERVICE_HOST").cloned();
        let token = options.token.clone().or_else(|| self.read(&format!("{FOLDER}/token")));
        let (Some(host), Some(token)) = (host, token) else {
            let text = "The connection to the server localhost:8080 was refused - did you specify the right host or port?\n";
            return Ok(Err(Failed(text.to_owned(), 1)));
        };
        let to = match self.reach(&host, 443, Transport::Tcp, None)? {
            Ok(to) => to,
            Err(Failure::Refused) => {
                let text = format!(
                    "The connection to the server {host}:443 was refused - did you specify the right host or port?\n"
                );
                return Ok(Err(Failed(text, 1)));
            }
            Err(_) => {
                let text = format!("Unable to connect to the server: dial tcp {host}:443: i/o timeout\n");
                return Ok(Err(Failed(text, 1)));
            }
        };
        let mut headers = vec![
            ("Host".to_owned(), format!("{host}:443")),
            ("Accept".to_owned(), accept.to_owned()),
            ("User-Agent".to_owned(), "kubectl/v1.34.1 (linux/amd64) kubernetes/93248f9".to_owned()),
            ("Authorization".to_owned(), format!("Bearer {}", token.trim())),
        ];
        if let Some(user) = &options.user {
            headers.push(("Impersonate-User".to_owned(), user.clone()));
        }
        if body.is_some() {
            let kind = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = HttpRequest { method: method.to_owned(), path: path.to_owned(), headers, body };
        let told = self.ask(&Ask::Http { to, tls: Some(Trust::Anybody), request })?;
        self.spend(ROUND_TRIP)?;
        let Told::Replied(Reply::Http(answer)) = told else {
            return Ok(Err(Failed("Unable to connect to the server: EOF\n".to_owned(), 1)));
        };
        if answer.status < 400 {
            return Ok(Ok(answer));
        }
        let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reason = status["reason"].as_str().unwrap_or("InternalError");
        let message = status["message"].as_str().map_or_else(|| to_text(&answer.body), str::to_owned);
        let text = match reason {
            "Unauthorized" => "error: You must be logged in to the server (Unauthorized)\n".to_owned(),
            "Invalid" => format!("The {message}\n"),
            reason => format!("Error from server ({reason}): {message}\n"),
        };
        Ok(Err(Failed(text, 1)))
    }
}

/// Returns the rows of a Table, the headings first.
fn rows(table: &Value, wide: bool, options: &Options) -> Vec<Vec<String>> {
    let definitions = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let shown: Vec<bool> = definitions
        .iter()
        .map(|column| wide || column["priority"].as_i64().unwrap_or_default() == 0)
        .collect();
    let kept = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| cell).collect()
    };
    let mut rows = Vec::new();
    if !options.bare {
        let names =
            definitions.iter().map(|column| column["name"].as_str().unwrap_or_default().to_uppercase());
        let mut row = kept(names.collect());
        if options.all {
            row.insert(0, "NAMESPACE".to_owned());
        }
        rows.push(row);
    }
    for entry in table["rows"].as_array().into_iter().flatten() {
        let cells = entry["cells"].as_array().into_iter().flatten().map(|cell| match cell {
            Value::String(text) => text.clone(),
            Value::Null => "<none>".to_owned(),
            other => other.to_string(),
        });
        let mut row = kept(cells.collect());
        if options.all {
            row.insert(0, entry["object"]["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
        }
        rows.push(row);
    }
    rows
}

/// Sets rows in columns.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count() + 3).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or_default().max(6)).collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if at + 1 == row.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:<0$}", widths[at]));
            }
        }
        text.push('\n');
    }
    text
}

/// Fills in `{.a.b}`, `{.items[*].a}` and `{.a[0]}`; nothing where a template has more.
fn filled(template: &str, object: &Value) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (path, after) = after.split_once('}')?;
        rest = after;
        if let Some(text) = path.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            out.push_str(&text.replace("\\n", "\n").replace("\\t", "\t"));
            continue;
        }
        let mut values = vec![object.clone()];
        let path = path.strip_prefix('.')?.replace("\\.", "\u{1}");
        if path.contains(['?', '@', '$', ' ', ':']) || path.contains("..") {
            return None;
        }
        for step in path.split('.').filter(|step| !step.is_empty()) {
            let (key, index) = match step.split_once('[') {
                Some((key, index)) => (key, Some(index.strip_suffix(']')?)),
                None => (step, None),
            };
            let key = key.replace('\u{1}', ".");
            if !key.is_empty() {
                values =
                    values.iter().map(|value| value[&key].clone()).filter(|value| !value.is_null()).collect();
            }
            match index {
                Some("*") => {
                    values = values
                        .iter()
                        .flat_map(|value| value.as_array().cloned().unwrap_or_default())
                        .collect()
                }
                Some(number) => {
                    let number: usize = number.parse().ok()?;
                    values = values.iter().filter_map(|value| value.get(number).cloned()).collect();
                }
                None => {}
            }
        }
        let texts: Vec<String> = values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        out.push_str(&texts.join(" "));
    }
    out.push_str(rest);
    Some(out)
}

/// Writes text as a value of a query.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_paths_are_filled_in_and_others_refused() {
        let object = json!({"data": {"a.b": "1", "c": "2"}, "items": [{"n": "x"}, {"n": "y"}]});
        let of = |template: &str| filled(template, &object);
        assert_eq!(of("{.data.c}").as_deref(), Some("2"));
        assert_eq!(of("{.data.a\\.b}").as_deref(), Some("1"));
        assert_eq!(of("<{.items[*].n}>{\"\\n\"}").as_deref(), Some("<x y>\n"));
        assert_eq!(of("{.items[1].n}").as_deref(), Some("y"));
        assert_eq!(of("{.nothing}").as_deref(), Some(""));
        assert_eq!(of("{range .items[*]}{.n}{end}"), None);
        assert_eq!(of("{.items[?(@.n==\"x\")].n}"), None);
    }
}
