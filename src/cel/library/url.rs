//! URLs, read by the rules of Go's `url.ParseRequestURI`: an absolute URI or an absolute path.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Library, fail, text};
use crate::cel::opaque::Opaque;
use crate::cel::value::{Key, Map, Text, Val};

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub(in crate::cel) text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

pub(super) fn declare(library: &mut Library) {
    library.add("url(string) -> kubernetes.URL", |args| match Url::parse(text(args, 0)) {
        Ok(url) => Ok(Val::Opaque(Opaque::Url(Arc::new(url)))),
        Err(reason) => fail(format!(
            "URL parse error during conversion from string: parse {:?}: {reason}",
            text(args, 0)
        )),
    });
    library.add("isURL(string) -> bool", |args| Ok(Url::parse(text(args, 0)).is_ok().into()));
    macro_rules! part {
        ($($name:literal => $part:expr,)*) => {
            $(library.add(concat!("kubernetes.URL.", $name, "() -> string"), |args| match &args[0] {
                Val::Opaque(Opaque::Url(url)) => Ok(Val::text(&$part(url))),
                _ => fail("no such overload"),
            });)*
        };
    }
    part! {
        "getScheme" => |url: &Url| url.scheme.clone(),
        "getHost" => |url: &Url| url.host.clone(),
        "getHostname" => |url: &Url| url.hostname().to_owned(),
        "getPort" => |url: &Url| url.port().to_owned(),
        "getEscapedPath" => |url: &Url| url.escaped_path(),
    }
    library.add("kubernetes.URL.getQuery() -> map(string, list(string))", |args| match &args[0] {
        Val::Opaque(Opaque::Url(url)) => {
            let mut query: BTreeMap<String, Vec<Val<'_>>> = BTreeMap::new();
            for pair in url.query.split('&').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                query.entry(unescape(key)).or_default().push(unescape(value).into());
            }
            let entries = query
                .into_iter()
                .map(|(key, values)| (Key::String(Text::Shared(Arc::from(key))), values.into()));
            Ok(Val::Map(Map::Entries(Arc::new(entries.collect()))))
        }
        _ => fail("no such overload"),
    });
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("empty url");
        }
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("net/url: invalid control character in URL");
        }
        let (without_fragment, _) = text.split_once('#').unwrap_or((text, ""));
        let (rest, query) = without_fragment.split_once('?').unwrap_or((without_fragment, ""));
        let (scheme, rest) = match rest.find(':') {
            Some(at)
                if rest.starts_with(|c: char| c.is_ascii_alphabetic())
                    && rest[..at]
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) =>
            {
                (rest[..at].to_ascii_lowercase(), &rest[at + 1..])
            }
            Some(0) => return Err("missing protocol scheme"),
            _ => (String::new(), rest),
        };
        if !rest.starts_with('/') {
            if scheme.is_empty() {
                return Err("invalid URI for request");
            }
            // Opaque, such as `mailto:x`.
            return Ok(Self {
                text: text.to_owned(),
                scheme,
                host: String::new(),
                path: String::new(),
                query: query.to_owned(),
            });
        }
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) if !scheme.is_empty() || !rest.starts_with("///") => {
                let end = after.find('/').unwrap_or(after.len());
                (&after[..end], &after[end..])
            }
            _ => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        valid_host(host)?;
        if !valid_escapes(path) {
            return Err("invalid URL escape");
        }
        Ok(Self {
            text: text.to_owned(),
            scheme,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    fn hostname(&self) -> &str {
        if let Some(inner) = self.host.strip_prefix('[') {
            return inner.split(']').next().unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    fn escaped_path(&self) -> String {
        let mut escaped = String::new();
        for byte in self.path.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*%[]".contains(&byte);
            if plain {
                escaped.push(byte as char);
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
        escaped
    }
}

fn valid_host(host: &str) -> Result<(), &'static str> {
    if host.contains(' ') {
        return Err("invalid character \" \" in host name");
    }
    let port = if host.starts_with('[') {
        let Some((_, after)) = host.split_once(']') else { return Err("missing ']' in host") };
        after
    } else {
        match host.find(':') {
            Some(at) => &host[at..],
            None => "",
        }
    };
    let digits = port.strip_prefix(':');
    let valid = port.is_empty() || digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit()));
    if valid { Ok(()) } else { Err("invalid port after host") }
}

fn valid_escapes(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = after;
        match (byte, escaped) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
