//! `curl`, with the options that one tests connections and asks APIs with.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::bytes::{to_bytes, to_text};
use super::super::outside::{Ask, HttpAnswer, HttpRequest, ROUND_TRIP, Reply, Told, Transport, Trust};
use super::super::{Flow, Machine, Step};
use super::network::{Failure, Url};
use super::wget::header;

#[derive(Default)]
struct Options {
    silent: bool,
    errors: bool,
    insecure: bool,
    head: bool,
    verbose: bool,
    fail: bool,
    include: bool,
    get: bool,
    output: Option<String>,
    remote_name: bool,
    form: Option<String>,
    limit: Option<Duration>,
    connect_limit: Option<Duration>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    data: Vec<String>,
    user: Option<String>,
    agent: Option<String>,
    authority: Option<String>,
    resolve: Vec<(String, u16, IpAddr)>,
    urls: Vec<String>,
}

/// Short options and their long names.
const SHORT: [(char, &str); 27] = [
    ('s', "silent"),
    ('S', "show-error"),
    ('k', "insecure"),
    ('I', "head"),
    ('v', "verbose"),
    ('f', "fail"),
    ('i', "include"),
    ('G', "get"),
    ('L', "location"),
    ('N', "no-buffer"),
    ('4', "ipv4"),
    ('6', "ipv6"),
    ('g', "globoff"),
    ('#', "progress-bar"),
    ('O', "remote-name"),
    ('q', "disable"),
    ('o', "output"),
    ('w', "write-out"),
    ('m', "max-time"),
    ('X', "request"),
    ('H', "header"),
    ('d', "data"),
    ('u', "user"),
    ('A', "user-agent"),
    ('E', "cert"),
    ('e', "referer"),
    ('V', "version"),
];

/// Options with a value.
const VALUED: [&str; 22] = [
    "output",
    "write-out",
    "max-time",
    "request",
    "header",
    "data",
    "user",
    "user-agent",
    "cert",
    "referer",
    "connect-timeout",
    "data-raw",
    "data-binary",
    "json",
    "cacert",
    "key",
    "resolve",
    "retry",
    "retry-delay",
    "noproxy",
    "url",
    "max-redirs",
];

impl Options {
    /// Reads a command line, or says what is wrong with it.
    fn read(
        words: &[String],
        read: &mut dyn FnMut(&str) -> Result<Option<String>, Flow>,
    ) -> Result<Result<Self, String>, Flow> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut set: Vec<(String, Option<String>)> = Vec::new();
            if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
                let value = if VALUED.contains(&long) { rest.next().cloned() } else { None };
                set.push((long.to_owned(), value));
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                for (at, letter) in letters.char_indices() {
                    let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == letter) else {
                        return Ok(Err(format!("option -{letter}: is unknown")));
                    };
                    if !VALUED.contains(name) {
                        set.push(((*name).to_owned(), None));
                        continue;
                    }
                    let value = match &letters[at + letter.len_utf8()..] {
                        "" => rest.next().cloned(),
                        value => Some(value.to_owned()),
                    };
                    set.push(((*name).to_owned(), value));
                    break;
                }
            } else {
                options.urls.push(word.clone());
            }
            for (name, value) in set {
                if VALUED.contains(&name.as_str()) && value.is_none() {
                    return Ok(Err(format!("option {word}: requires parameter")));
                }
                if let Err(why) = options.set(&name, value.unwrap_or_default(), read)? {
                    return Ok(Err(format!("option {word}: {why}")));
                }
            }
        }
        Ok(Ok(options))
    }

    fn set(
        &mut self,
        name: &str,
        value: String,
        read: &mut dyn FnMut(&str) -> Result<Option<String>, Flow>,
    ) -> Result<Result<(), String>, Flow> {
        let seconds =
            |value: &str| value.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
        match name {
            "silent" => self.silent = true,
            "show-error" => self.errors = true,
            "insecure" => self.insecure = true,
            "head" => self.head = true,
            "verbose" => self.verbose = true,
            "fail" | "fail-with-body" => self.fail = true,
            "include" | "show-headers" => self.include = true,
            "get" => self.get = true,
            "remote-name" => self.remote_name = true,
            "output" => self.output = Some(value),
            "write-out" => self.form = Some(value),
            "max-time" | "connect-timeout" => {
                let Some(limit) = seconds(&value) else {
                    return Ok(Err("expected a proper numerical parameter".to_owned()));
                };
                if name == "max-time" {
                    self.limit = Some(limit);
                } else {
                    self.connect_limit = Some(limit);
                }
            }
            "request" => self.method = Some(value),
            "header" => self.headers.extend(header(&value)),
            "data" | "data-raw" | "data-binary" | "json" => {
                let text = match value.strip_prefix('@').filter(|_| name != "data-raw") {
                    Some(file) => match read(file)? {
                        Some(text) if name == "data" => text.replace(['\n', '\r'], ""),
                        Some(text) => text,
                        None => return Ok(Err(format!("error encountered when reading a file: {file}"))),
                    },
                    None => value,
                };
                self.data.push(text);
                if name == "json" {
                    for name in ["Content-Type", "Accept"] {
                        self.headers.push((name.to_owned(), "application/json".to_owned()));
                    }
                }
            }
            "user" => self.user = Some(value),
            "user-agent" => self.agent = Some(value),
            "referer" => self.headers.push(("Referer".to_owned(), value)),
            "cacert" => self.authority = Some(value),
            "url" => self.urls.push(value),
            "resolve" => {
                let parts: Vec<&str> = value.splitn(3, ':').collect();
                if let [host, port, address] = parts.as_slice()
                    && let (Ok(port), Ok(address)) = (port.parse(), address.parse())
                {
                    self.resolve.push(((*host).to_owned(), port, address));
                }
            }
            "location" | "no-buffer" | "ipv4" | "ipv6" | "globoff" | "progress-bar" | "disable" | "retry"
            | "retry-delay" | "noproxy" | "max-redirs" | "compressed" | "http1.1" | "http2"
            | "no-progress-meter" | "tlsv1.2" | "tlsv1.3" => {}
            "cert" | "key" => return Ok(Err("is not simulated in a container".to_owned())),
            _ => return Ok(Err("is unknown".to_owned())),
        }
        Ok(Ok(()))
    }
}

/// How one transfer went.
#[derive(Default)]
struct Outcome {
    code: i32,
    error: String,
    answer: Option<HttpAnswer>,
    to: Option<SocketAddr>,
    took: Duration,
}

impl Machine<'_> {
    pub(super) fn curl(&mut self, words: &[String]) -> Step {
        if matches!(words, [only] if only == "--version" || only == "-V") {
            self.say("curl 8.10.1 (x86_64-pc-linux-musl) libcurl/8.10.1 OpenSSL/3.3.2\n");
            return Ok(0);
        }
        let mut read = |file: &str| if file == "-" { self.given().map(Some) } else { Ok(self.read(file)) };
        let options = match Options::read(words, &mut read)? {
            Ok(options) => options,
            Err(why) => {
                let text =
                    format!("curl: {why}\ncurl: try 'curl --help' or 'curl --manual' for more information\n");
                return self.fail(text, 2);
            }
        };
        if options.urls.is_empty() {
            let text = "curl: (2) no URL specified\ncurl: try 'curl --help' or 'curl --manual' for more information\n";
            return self.fail(text.to_owned(), 2);
        }
        let mut status = 0;
        for text in &options.urls {
            status = self.curl_one(text, &options)?;
        }
        Ok(status)
    }

    fn curl_one(&mut self, text: &str, options: &Options) -> Step {
        let Some(url) = Url::read(text) else {
            return self.fail("curl: (3) URL rejected: No host part in the URL\n".to_owned(), 3);
        };
        let begun = self.now;
        let mut outcome = self.transfer(&url, options)?;
        outcome.took = self.now.saturating_sub(begun);
        if !options.silent && !self.start.tty {
            self.meter(&outcome);
        }
        let mut code = outcome.code;
        if let Some(answer) = outcome.answer.clone() {
            code = self.deliver(&url, options, &answer)?;
            if code == 22 {
                outcome.error = format!("The requested URL returned error: {}", answer.status);
            }
        }
        if code != 0 && !outcome.error.is_empty() && (!options.silent || options.errors) {
            let text = format!("curl: ({code}) {}\n", outcome.error);
            self.complain(&text);
        }
        if let Some(form) = &options.form {
            let text = written_out(form, text, &outcome, code);
            self.say(&text);
        }
        Ok(code)
    }

    fn transfer(&mut self, url: &Url, options: &Options) -> Result<Outcome, Flow> {
        let failed = |code, error: String| Ok(Outcome { code, error, ..Outcome::default() });
        if !matches!(url.scheme.as_str(), "http" | "https" | "telnet") {
            return failed(1, format!("Protocol \"{}\" not supported", url.scheme));
        }
        let limit = match (options.limit, options.connect_limit) {
            (Some(whole), Some(connect)) => Some(whole.min(connect)),
            (whole, connect) => whole.or(connect),
        };
        let fixed = options.resolve.iter().find(|(host, port, _)| *host == url.host && *port == url.port);
        let host = fixed.map_or_else(|| url.host.clone(), |(.., address)| address.to_string());
        let millis = limit.map_or(0, |limit| limit.as_millis());
        let to = match self.reach(&host, url.port, Transport::Tcp, limit)? {
            Ok(to) => to,
            Err(failure) => {
                return match failure {
                    Failure::NameSilence if limit.is_some() => {
                        failed(28, format!("Resolving timed out after {millis} milliseconds"))
                    }
                    Failure::NoName | Failure::NameSilence => {
                        failed(6, format!("Could not resolve host: {}", url.host))
                    }
                    Failure::Silence if limit.is_some() => {
                        failed(28, format!("Connection timed out after {millis} milliseconds"))
                    }
                    Failure::Silence => failed(
                        28,
                        format!(
                            "Failed to connect to {} port {} after 134212 ms: Could not connect to server",
                            url.host, url.port
                        ),
                    ),
                    Failure::Refused | Failure::Unreachable => {
                        if options.verbose {
                            self.complain(&format!(
                                "* connect to {host} port {} failed: {}\n",
                                url.port,
                                failure.text()
                            ));
                        }
                        failed(
                            7,
                            format!(
                                "Failed to connect to {} port {} after 1 ms: Could not connect to server",
                                url.host, url.port
                            ),
                        )
                    }
                };
            }
        };
        if options.verbose {
            self.complain(&format!("* Connected to {} ({}) port {}\n", url.host, to.ip(), to.port()));
        }
        if url.scheme == "telnet" {
            return Ok(Outcome { to: Some(to), ..Outcome::default() });
        }
        let tls = match (url.scheme.as_str(), options.insecure, &options.authority) {
            ("https", true, _) => Some(Trust::Anybody),
            ("https", false, None) => Some(Trust::System),
            ("https", false, Some(file)) => match self.read(file) {
                Some(pem) => Some(Trust::Authority(pem)),
                None => {
                    return failed(77, format!("error setting certificate file: {file}"));
                }
            },
            _ => None,
        };
        let request = request(url, options);
        let version = if tls.is_some() { "HTTP/2" } else { "HTTP/1.1" };
        if options.verbose {
            self.complain(&format!("> {} {} {version}\n", request.method, request.path));
            for (name, value) in &request.headers {
                self.complain(&format!("> {name}: {value}\n"));
            }
            self.complain("> \n");
        }
        let told = self.ask(&Ask::Http { to, tls: tls.clone(), request })?;
        self.spend(ROUND_TRIP)?;
        let failed = |code, error: &str| {
            Ok(Outcome { code, error: error.to_owned(), to: Some(to), ..Outcome::default() })
        };
        match told {
            Told::Replied(Reply::Http(answer)) => {
                if options.verbose {
                    self.complain(&format!("< {version} {} {}\n", answer.status, reason(version, &answer)));
                    for (name, value) in &answer.headers {
                        self.complain(&format!("< {name}: {value}\n"));
                    }
                    self.complain("< \n");
                }
                Ok(Outcome { answer: Some(answer), to: Some(to), ..Outcome::default() })
            }
            Told::Replied(Reply::NoTls) => {
                failed(35, "TLS connect error: error:0A0000C6:SSL routines::packet length too long")
            }
            Told::Replied(Reply::Untrusted) => failed(
                60,
                "SSL certificate problem: unable to get local issuer certificate\nMore details here: \
                 https://curl.se/docs/sslcerts.html",
            ),
            Told::Replied(Reply::Bytes(_)) => failed(1, "Received HTTP/0.9 when not allowed"),
            _ => failed(52, "Empty reply from server"),
        }
    }

    /// Puts an answer where it was wanted.
    fn deliver(&mut self, url: &Url, options: &Options, answer: &HttpAnswer) -> Step {
        let version = if url.scheme == "https" { "HTTP/2" } else { "HTTP/1.1" };
        if options.fail && answer.status >= 400 {
            return Ok(22);
        }
        let mut text = String::new();
        if options.include || options.head {
            text.push_str(&format!("{version} {} {}\r\n", answer.status, reason(version, answer)));
            for (name, value) in &answer.headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
        }
        if !options.head {
            text.push_str(&to_text(&answer.body));
        }
        let base = url.path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let file = options.output.clone().or_else(|| options.remote_name.then(|| base.to_owned()));
        match file.as_deref() {
            None | Some("-") => self.say(&text),
            Some(file) => {
                if let Some(why) = self.refusal(file) {
                    self.complain(&format!("Warning: Failed to open the file {file}: {why}\n"));
                    return self.fail("curl: (23) client returned ERROR on write\n".to_owned(), 23);
                }
                self.write(file, text, false);
            }
        }
        Ok(0)
    }

    /// The table that curl draws of its progress.
    fn meter(&mut self, outcome: &Outcome) {
        let size = outcome.answer.as_ref().map_or(0, |answer| answer.body.len());
        let part = if size > 0 { 100 } else { 0 };
        self.complain(&format!(
            "  % Total    % Received % Xferd  Average Speed   Time    Time     Time  Current\n                                 \
             Dload  Upload   Total   Spent    Left  Speed\n\r  0     0    0     0    0     0      0      0 --:--:-- --:--:-- \
             --:--:--     0\r{part:3} {size:5}  {part:3} {size:5}    0     0   {size:4}      0 --:--:-- --:--:-- --:--:--  \
             {size:4}\n"
        ));
    }
}

fn reason<'a>(version: &str, answer: &'a HttpAnswer) -> &'a str {
    if version == "HTTP/2" { "" } else { answer.reason() }
}

fn request(url: &Url, options: &Options) -> HttpRequest {
    let data = options.data.join("&");
    let has_data = !options.data.is_empty();
    let given = |name: &str| options.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut headers = Vec::new();
    if !given("host") {
        headers.push(("Host".to_owned(), url.authority()));
    }
    if let Some(user) = options.user.as_ref().or(url.user.as_ref()).filter(|_| !given("authorization")) {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(user);
        headers.push(("Authorization".to_owned(), format!("Basic {encoded}")));
    }
    if !given("user-agent") {
        let agent = options.agent.clone().unwrap_or_else(|| "curl/8.10.1".to_owned());
        headers.push(("User-Agent".to_owned(), agent));
    }
    if !given("accept") {
        headers.push(("Accept".to_owned(), "*/*".to_owned()));
    }
    // A header without a value is one that is not to be sent.
    headers.extend(options.headers.iter().filter(|(_, value)| !value.is_empty()).cloned());
    let posts = has_data && !options.get;
    if posts && !given("content-type") {
        headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
    }
    let usual = match (options.head, posts) {
        (true, _) => "HEAD",
        (_, true) => "POST",
        _ => "GET",
    };
    let path = match (options.get && has_data, url.path.contains('?')) {
        (true, true) => format!("{}&{data}", url.path),
        (true, false) => format!("{}?{data}", url.path),
        _ => url.path.clone(),
    };
    HttpRequest {
        method: options.method.clone().unwrap_or_else(|| usual.to_owned()),
        path,
        headers,
        body: if posts { to_bytes(&data) } else { Vec::new() },
    }
}

/// Fills in the text of `-w`.
fn written_out(form: &str, url: &str, outcome: &Outcome, code: i32) -> String {
    let answer = outcome.answer.as_ref();
    let status = answer.map_or(0, |answer| answer.status);
    let seconds = format!("{:.6}", outcome.took.as_secs_f64());
    let values = [
        ("http_code", format!("{status:03}")),
        ("response_code", format!("{status:03}")),
        ("http_connect", "000".to_owned()),
        ("time_total", seconds.clone()),
        ("time_connect", seconds),
        ("remote_ip", outcome.to.map(|to| to.ip().to_string()).unwrap_or_default()),
        ("remote_port", outcome.to.map(|to| to.port().to_string()).unwrap_or_default()),
        ("size_download", answer.map_or(0, |answer| answer.body.len()).to_string()),
        (
            "content_type",
            answer.and_then(|answer| answer.header("content-type")).unwrap_or_default().to_owned(),
        ),
        ("exitcode", code.to_string()),
        ("errormsg", outcome.error.clone()),
        ("url_effective", url.to_owned()),
        ("num_redirects", "0".to_owned()),
    ];
    let mut text = form.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r");
    for (name, value) in values {
        text = text.replace(&format!("%{{{name}}}"), &value);
    }
    text
}
