//! BusyBox's `wget`.

use std::time::Duration;

use super::super::bytes::{to_bytes, to_text};
use super::super::outside::{Ask, HttpRequest, ROUND_TRIP, Reply, Told, Transport, Trust};
use super::super::{Machine, Step};
use super::network::{Failure, Url};

#[derive(Default)]
struct Options {
    quiet: bool,
    output: Option<String>,
    timeout: Option<Duration>,
    spider: bool,
    show: bool,
    headers: Vec<(String, String)>,
    data: Option<String>,
    urls: Vec<String>,
}

impl Options {
    /// Reads a command line, or names what is not known.
    fn read(words: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let mut value = || value.clone().or_else(|| rest.next().cloned()).unwrap_or_default();
                match name {
                    "quiet" => options.quiet = true,
                    "spider" => options.spider = true,
                    "server-response" => options.show = true,
                    "no-check-certificate" | "no-verbose" | "continue" => {}
                    "timeout" => options.timeout = value().parse().ok().map(Duration::from_secs),
                    "tries" => drop(value()),
                    "output-document" => options.output = Some(value()),
                    "header" => options.headers.extend(header(&value())),
                    "user-agent" => options.headers.push(("User-Agent".to_owned(), value())),
                    "post-data" => options.data = Some(value()),
                    _ => return Err(format!("unrecognized option: {name}")),
                }
                continue;
            }
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                options.urls.push(word.clone());
                continue;
            };
            for (at, letter) in letters.char_indices() {
                let mut value = || match &letters[at + letter.len_utf8()..] {
                    "" => rest.next().cloned().unwrap_or_default(),
                    value => value.to_owned(),
                };
                match letter {
                    'q' => options.quiet = true,
                    'S' => options.show = true,
                    'c' => {}
                    'O' => options.output = Some(value()),
                    'T' => options.timeout = value().parse().ok().map(Duration::from_secs),
                    't' | 'P' | 'Y' | 'o' => drop(value()),
                    'U' => options.headers.push(("User-Agent".to_owned(), value())),
                    other => return Err(format!("unrecognized option: {other}")),
                }
                if matches!(letter, 'O' | 'T' | 't' | 'P' | 'Y' | 'o' | 'U') {
                    break;
                }
            }
        }
        Ok(options)
    }
}

/// Reads a line of a header.
pub(super) fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

impl Machine<'_> {
    pub(super) fn wget(&mut self, words: &[String]) -> Step {
        let options = match Options::read(words) {
            Ok(options) => options,
            Err(why) => return self.fail(format!("wget: {why}\n"), 1),
        };
        let mut status = 0;
        if options.urls.is_empty() {
            return self.fail("wget: missing URL\n".to_owned(), 1);
        }
        for url in &options.urls {
            status = self.wget_one(url, &options)?;
        }
        Ok(status)
    }

    fn wget_one(&mut self, text: &str, options: &Options) -> Step {
        let Some(url) = Url::read(text).filter(|url| matches!(url.scheme.as_str(), "http" | "https")) else {
            return self.fail(format!("wget: not an http or ftp url: {text}\n"), 1);
        };
        let shown = format!("{}:{}", url.host, url.port);
        let loud = !options.quiet;
        let to = match self.reach(&url.host, url.port, Transport::Tcp, options.timeout)? {
            Ok(to) => to,
            Err(Failure::NoName | Failure::NameSilence) => {
                let shown = if url.authority() == url.host { &url.host } else { &shown };
                return self.fail(format!("wget: bad address '{shown}'\n"), 1);
            }
            Err(failure) => {
                let address =
                    self.find_name(&url.host)?.ok().and_then(|found| found.addresses.first().copied());
                let address = address.map(|address| address.to_string()).unwrap_or_default();
                if loud {
                    self.complain(&format!("Connecting to {} ({address}:{})\n", url.authority(), url.port));
                }
                return match failure {
                    Failure::Silence => self.fail("wget: download timed out\n".to_owned(), 1),
                    failure => {
                        let text =
                            format!("wget: can't connect to remote host ({address}): {}\n", failure.text());
                        self.fail(text, 1)
                    }
                };
            }
        };
        if loud {
            self.complain(&format!("Connecting to {} ({to})\n", url.authority()));
        }
        let tls = url.scheme == "https";
        if tls {
            self.complain("wget: note: TLS certificate validation not implemented\n");
        }
        let mut headers = vec![("Host".to_owned(), url.authority())];
        if !options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            headers.push(("User-Agent".to_owned(), "Wget".to_owned()));
        }
        headers.extend(options.headers.clone());
        let method = match (&options.data, options.spider) {
            (Some(_), _) => "POST",
            (None, true) => "HEAD",
            (None, false) => "GET",
        };
        if options.data.is_some()
            && !options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        }
        let request = HttpRequest {
            method: method.to_owned(),
            path: url.path.clone(),
            headers,
            body: to_bytes(options.data.as_deref().unwrap_or_default()),
        };
        let told = self.ask(&Ask::Http { to, tls: tls.then_some(Trust::Anybody), request })?;
        self.spend(ROUND_TRIP)?;
        let answer = match told {
            Told::Replied(Reply::Http(answer)) => answer,
            Told::Replied(Reply::NoTls) => {
                return self
                    .fail("wget: TLS error from peer (alert code 80): internal error\n".to_owned(), 1);
            }
            _ => return self.fail("wget: error getting response\n".to_owned(), 1),
        };
        let line = format!("HTTP/1.1 {} {}", answer.status, answer.reason());
        if options.show {
            self.complain(&format!("  {line}\n"));
            for (name, value) in &answer.headers {
                self.complain(&format!("  {name}: {value}\n"));
            }
        }
        if answer.status >= 300 {
            return self.fail(format!("wget: server returned error: {line}\n"), 1);
        }
        if options.spider {
            if loud {
                self.complain("remote file exists\n");
            }
            return Ok(0);
        }
        let body = to_text(&answer.body);
        let base = url.path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let file = options.output.clone().unwrap_or_else(|| match base {
            "" => "index.html".to_owned(),
            base => base.to_owned(),
        });
        let bar = format!(
            "{file:<20} 100% |********************************| {:>5}  0:00:00 ETA\n",
            answer.body.len()
        );
        if file == "-" {
            if loud {
                self.complain("writing to stdout\n");
            }
            self.say(&body);
            if loud {
                self.complain(&bar);
                self.complain("written to stdout\n");
            }
            return Ok(0);
        }
        if options.output.is_none() && self.kind(&file).is_some() {
            return self.fail(format!("wget: can't open '{file}': File exists\n"), 1);
        }
        if let Some(why) = self.refusal(&file) {
            return self.fail(format!("wget: can't open '{file}': {why}\n"), 1);
        }
        if loud {
            self.complain(&format!("saving to '{file}'\n"));
        }
        self.write(&file, body, false);
        if loud {
            self.complain(&bar);
            self.complain(&format!("'{file}' saved\n"));
        }
        Ok(0)
    }
}
