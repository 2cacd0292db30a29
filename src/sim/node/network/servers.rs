//! What containers answer at the ports that they serve: pages of HTTP, or the little that others say to a stranger.

use crate::sim::node::images::Speaks;
use crate::sim::node::process::Process;
use crate::sim::node::shell::bytes::{to_bytes, to_text};
use crate::sim::node::shell::outside::{HttpAnswer, HttpRequest, Reply, Trust};
use crate::sim::node::shell::{Host as _, Serves, Trace};

/// Answers a request at a port of a container.
pub(in super::super) fn http(
    process: &Process<'_>,
    trace: &Trace,
    port: u16,
    request: &HttpRequest,
    tls: Option<&Trust>,
) -> Reply {
    let speaks = process.image().map_or(Speaks::Http, |image| image.speaks);
    let secure = speaks == Speaks::Tls || (speaks == Speaks::Http && matches!(port, 443 | 6443 | 8443));
    match (tls, secure) {
        (Some(Trust::Anybody), true) | (None, false) => {}
        (Some(_), true) => return Reply::Untrusted,
        (Some(_), false) => return Reply::NoTls,
        (None, true) => {
            return page(400, "text/plain", "Client sent an HTTP request to an HTTPS server.\n".into());
        }
    }
    match trace.serves.get(&port) {
        Some(Serves::Files(root)) => {
            return file(process, trace, root, request, "").unwrap_or_else(not_found);
        }
        Some(Serves::Text(text)) => return spoken(text),
        None => {}
    }
    let Some(image) = process.image() else { return named(process) };
    match speaks {
        Speaks::Http | Speaks::Tls => {}
        Speaks::Redis | Speaks::Greeting => {
            let line = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
            return raw(process, trace, port, line.as_bytes());
        }
        Speaks::Nothing => return Reply::Nothing,
    }
    if image.page.is_empty() && image.root.is_empty() {
        return match &image.pages {
            Some(pages) if !pages.iter().any(|page| page == bare(&request.path)) => not_found(),
            _ => named(process),
        };
    }
    let headers = |mut reply: Reply| {
        if let Reply::Http(answer) = &mut reply
            && !image.server.is_empty()
        {
            let version = process.tag().split('-').next().unwrap_or_default().to_owned();
            let known = version.starts_with(|first: char| first.is_ascii_digit());
            let server = match known {
                true => format!("{}/{version}", image.server),
                false => image.server.clone(),
            };
            answer.headers.insert(0, ("Server".to_owned(), server));
        }
        reply
    };
    if !image.root.is_empty()
        && let Some(reply) = file(process, trace, &image.root, request, &image.page)
    {
        return headers(reply);
    }
    match &image.pages {
        Some(pages) if !pages.iter().any(|page| page == bare(&request.path)) => headers(not_found()),
        _ => headers(page(200, &image.kind, process.filled(&image.page, request))),
    }
}

/// Answers bytes at a port of a container.
pub(in super::super) fn raw(process: &Process<'_>, trace: &Trace, port: u16, bytes: &[u8]) -> Reply {
    if let Some(Serves::Text(text)) = trace.serves.get(&port) {
        return if text.is_empty() { Reply::Nothing } else { Reply::Bytes(to_bytes(text)) };
    }
    let speaks = process.image().map_or(Speaks::Http, |image| image.speaks);
    match speaks {
        Speaks::Http => match read(bytes) {
            Some(request) => match http(process, trace, port, &request, None) {
                Reply::Http(answer) => Reply::Bytes(written(&answer, &request)),
                other => other,
            },
            None if bytes.is_empty() => Reply::Nothing,
            None => Reply::Bytes(written(
                &HttpAnswer { status: 400, ..HttpAnswer::default() },
                &HttpRequest::default(),
            )),
        },
        Speaks::Tls | Speaks::Nothing => Reply::Nothing,
        Speaks::Greeting => Reply::Bytes(to_bytes(process.image().map_or("", |image| &image.page))),
        Speaks::Redis => redis(process, bytes),
    }
}

/// What a Redis says to a few commands.
fn redis(process: &Process<'_>, bytes: &[u8]) -> Reply {
    let locked = process.words().iter().any(|word| word == "--requirepass");
    let text = String::from_utf8_lossy(bytes);
    let mut said = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['*', '$'])) {
        let command = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        said.push_str(match command.as_str() {
            "QUIT" => "+OK\r\n",
            _ if locked => "-NOAUTH Authentication required.\r\n",
            "PING" => "+PONG\r\n",
            "GET" | "POST" if line.contains("HTTP/") => {
                "-ERR wrong number of arguments for 'get' command\r\n"
            }
            "SET" | "AUTH" | "SELECT" => "+OK\r\n",
            "GET" => "$-1\r\n",
            _ => "-ERR unknown command\r\n",
        });
    }
    if said.is_empty() { Reply::Nothing } else { Reply::Bytes(said.into_bytes()) }
}

/// Returns what lies in a folder under the path of a request; `index` stands for an index that nobody has put there.
fn file(
    process: &Process<'_>,
    trace: &Trace,
    root: &str,
    request: &HttpRequest,
    index: &str,
) -> Option<Reply> {
    let path = bare(&request.path);
    let safe: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    let root = root.trim_end_matches('/');
    let mut name = safe.join("/");
    if name.is_empty() || path.ends_with('/') {
        name = format!("{name}/index.html").trim_start_matches('/').to_owned();
    }
    let whole = format!("{root}/{name}");
    let left = process.left();
    let written = left.get(&whole).or_else(|| trace.files.get(&whole)).cloned();
    let text = match written {
        Some(written) => written,
        None => process.read(&whole),
    };
    let kind = match name.rsplit('.').next() {
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        _ => "application/octet-stream",
    };
    match text {
        Some(text) => Some(page(200, kind, to_bytes(&text))),
        // A volume in its place hides what the image has.
        None if name == "index.html" && !index.is_empty() && process.list(root).is_none() => None,
        None if index.is_empty() => None,
        None => Some(if process.list(root).is_some() && name == "index.html" {
            page(
                403,
                "text/html",
                "<html>\r\n<head><title>403 Forbidden</title></head>\r\n</html>\r\n".into(),
            )
        } else {
            not_found()
        }),
    }
}

fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn page(status: u16, kind: &str, body: Vec<u8>) -> Reply {
    let kind = if kind.is_empty() { "text/plain" } else { kind };
    let headers = vec![
        ("Content-Type".to_owned(), kind.to_owned()),
        ("Content-Length".to_owned(), body.len().to_string()),
    ];
    Reply::Http(HttpAnswer { status, headers, body })
}

fn not_found() -> Reply {
    let body = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not \
                Found</h1></center>\r\n</body>\r\n</html>\r\n";
    page(404, "text/html", body.into())
}

/// The plain line of a server that nobody knows more of.
fn named(process: &Process<'_>) -> Reply {
    page(200, "text/plain", format!("{}\n", process.full_name()).into_bytes())
}

/// What a program says that was given its words beforehand: HTTP if they look like it.
fn spoken(text: &str) -> Reply {
    let Some(rest) = text.strip_prefix("HTTP/") else {
        return if text.is_empty() { Reply::Nothing } else { Reply::Bytes(to_bytes(text)) };
    };
    let rest = rest.replace("\r\n", "\n");
    let (head, body) = rest.split_once("\n\n").unwrap_or((&rest, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(200);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    Reply::Http(HttpAnswer { status, headers, body: to_bytes(body) })
}

/// Reads a request from bytes, when all of its head is there.
pub(in super::super) fn read(bytes: &[u8]) -> Option<HttpRequest> {
    let text = to_text(bytes);
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n")?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path, version) = (first.next()?, first.next()?, first.next()?);
    if !version.starts_with("HTTP/") || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    Some(HttpRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect(),
        body: to_bytes(body),
    })
}

/// Writes an answer as it goes over the wire.
pub(in super::super) fn written(answer: &HttpAnswer, request: &HttpRequest) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", answer.status, answer.reason());
    for (name, value) in &answer.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.header("content-length").is_none() {
        text.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    text.push_str("Connection: close\r\n\r\n");
    let mut bytes = text.into_bytes();
    if request.method != "HEAD" {
        bytes.extend_from_slice(&answer.body);
    }
    bytes
}
