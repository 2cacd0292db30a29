//! Programs that reach beyond the container: what they ask of the world, how long they wait, what they say of it. Who
//! answers, and whether anybody may, is the host's to know.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::bytes::{to_bytes, to_text};
use super::super::outside::{Ask, Found, NoName, NoWay, ROUND_TRIP, Reply, Told, Transport};
use super::super::{Flow, Machine, Serves, Step};
use super::Words;

/// Their names.
pub(super) const TOOLS: &[&str] = &[
    "curl",
    "dig",
    "getent",
    "host",
    "httpd",
    "ifconfig",
    "ip",
    "kubectl",
    "nc",
    "ncat",
    "netcat",
    "netstat",
    "nslookup",
    "ping",
    "ss",
    "telnet",
    "traceroute",
    "wget",
];

/// The longest that anything is waited for, whatever a program would be ready to.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no such name.
    NoName,
    /// Nobody answered when asked for the name.
    NameSilence,
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Silence,
    /// There is nothing beyond the cluster.
    Unreachable,
}

impl Failure {
    /// Says what the system says.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoName | Self::NameSilence => "Name does not resolve",
            Self::Refused => "Connection refused",
            Self::Silence => "Connection timed out",
            Self::Unreachable => "Network is unreachable",
        }
    }
}

impl Machine<'_> {
    pub(super) fn network_tool(&mut self, name: &str, words: &Words<'_>) -> Step {
        match name {
            "curl" => self.curl(words.all),
            "wget" => self.wget(words.all),
            "kubectl" => self.kubectl(words.all),
            "httpd" => self.httpd(words),
            "nc" | "ncat" | "netcat" if words.has('l') => self.listen(words),
            "nc" | "ncat" | "netcat" => self.nc(words.all),
            "nslookup" => self.nslookup(words),
            "dig" | "host" => self.dig(name, words),
            "getent" => self.getent(words),
            "ping" => self.ping(words),
            "telnet" => self.telnet(words),
            "hostname" => Ok(0),
            "netstat" | "ss" => {
                self.say("Active Internet connections (only servers)\nProto Recv-Q Send-Q Local Address           Foreign Address         State       \n");
                let ports = self.trace.listens.clone();
                for port in ports {
                    let local = format!("0.0.0.0:{port}");
                    self.say(&format!(
                        "tcp        0      0 {local:<23} 0.0.0.0:*               LISTEN      \n"
                    ));
                }
                Ok(0)
            }
            "ip" | "ifconfig" => {
                let address = self.own_address();
                self.say(&format!(
                    "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue qlen 1000\n    inet 127.0.0.1/8 scope host lo\n2: \
                     eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1500 qdisc noqueue \n    inet {address}/24 brd \
                     10.244.255.255 scope global eth0\n"
                ));
                Ok(0)
            }
            _ => self.fail(format!("{name}: not simulated in a container\n"), 1),
        }
    }

    /// Returns the address of the container, as its hosts file has it.
    fn own_address(&self) -> String {
        let hosts = self.read("/etc/hosts").unwrap_or_default();
        let own = hosts.lines().find(|line| line.split_whitespace().nth(1) == Some(&self.start.hostname));
        own.and_then(|line| line.split_whitespace().next()).unwrap_or("127.0.0.1").to_owned()
    }

    /// Finds the addresses of a name.
    pub(super) fn find_name(&mut self, name: &str) -> Result<Result<Found, Failure>, Flow> {
        if let Ok(address) = name.trim_matches(['[', ']']).parse() {
            return Ok(Ok(Found { name: name.to_owned(), addresses: vec![address], server: None }));
        }
        self.ask_name(name, None, false)
    }

    pub(super) fn ask_name(
        &mut self,
        name: &str,
        server: Option<IpAddr>,
        exact: bool,
    ) -> Result<Result<Found, Failure>, Flow> {
        let told = self.ask(&Ask::Name { name: name.to_owned(), server, exact })?;
        self.spend(ROUND_TRIP)?;
        Ok(match told {
            Told::Name(Ok(found)) => Ok(found),
            Told::Name(Err(NoName::Silence)) => Err(Failure::NameSilence),
            _ => Err(Failure::NoName),
        })
    }

    /// Connects to a host and waits no longer than a limit for it; says where to, or why not and after how long.
    pub(super) fn reach(
        &mut self,
        host: &str,
        port: u16,
        transport: Transport,
        limit: Option<Duration>,
    ) -> Result<Result<SocketAddr, Failure>, Flow> {
        let patience = limit.unwrap_or(PATIENCE).min(PATIENCE);
        let found = match self.find_name(host)? {
            Ok(found) => found,
            Err(failure) => {
                if failure == Failure::NameSilence {
                    self.spend(patience)?;
                }
                return Ok(Err(failure));
            }
        };
        let Some(address) = found.addresses.first() else { return Ok(Err(Failure::NoName)) };
        let to = SocketAddr::new(*address, port);
        let told = self.ask(&Ask::Connect(to, transport))?;
        let failure = match told {
            Told::Connected(Ok(())) => {
                self.spend(ROUND_TRIP)?;
                return Ok(Ok(to));
            }
            Told::Connected(Err(NoWay::Silence)) => {
                self.spend(patience)?;
                Failure::Silence
            }
            Told::Connected(Err(NoWay::Unreachable)) => Failure::Unreachable,
            _ => Failure::Refused,
        };
        Ok(Err(failure))
    }

    /// Says bytes to a server and returns what it says.
    fn talk(&mut self, to: SocketAddr, data: &str) -> Result<Option<String>, Flow> {
        let told = self.ask(&Ask::Say(to, to_bytes(data)))?;
        self.spend(ROUND_TRIP)?;
        Ok(match told {
            Told::Replied(Reply::Bytes(bytes)) => Some(to_text(&bytes)),
            _ => None,
        })
    }

    fn httpd(&mut self, words: &Words<'_>) -> Step {
        let port = words.after("-p").and_then(|p| p.rsplit(':').next()?.parse().ok()).unwrap_or(80);
        let folder = words.after("-h").unwrap_or(".");
        let folder = self.absolute(folder);
        self.trace.listens.push(port);
        self.trace.serves.insert(port, Serves::Files(folder));
        if words.has('f') { Err(Flow::Pause) } else { Ok(0) }
    }

    /// `nc -l`: says what it is given to whoever connects. It is never seen to end, so that it can be asked again.
    fn listen(&mut self, words: &Words<'_>) -> Step {
        let port = words.all.iter().position(|a| a.starts_with('-') && a.ends_with('p'));
        let port = port.and_then(|at| words.all.get(at + 1)).or_else(|| words.plain.last().copied());
        let Some(port) = port.and_then(|port| port.parse().ok()) else {
            return self.fail("nc: no port\n".to_owned(), 1);
        };
        let text = self.stdin.clone().unwrap_or_default();
        self.trace.listens.push(port);
        self.trace.serves.insert(port, Serves::Text(text));
        Err(Flow::Pause)
    }

    fn nc(&mut self, all: &[String]) -> Step {
        let (mut zero, mut loud, mut udp, mut limit) = (false, false, false, None);
        let mut plain: Vec<&str> = Vec::new();
        let mut rest = all.iter();
        while let Some(word) = rest.next() {
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                plain.push(word);
                continue;
            };
            for (at, letter) in letters.char_indices() {
                match letter {
                    'z' => zero = true,
                    'v' => loud = true,
                    'u' => udp = true,
                    'w' => {
                        let value = &letters[at + 1..];
                        let value =
                            if value.is_empty() { rest.next().map_or("", |value| value) } else { value };
                        limit = value.parse().ok().map(Duration::from_secs);
                        break;
                    }
                    'n' | '4' | '6' | 'N' | 'k' | 't' => {}
                    other => {
                        return self.fail(format!("nc: -{other} is not simulated in a container\n"), 1);
                    }
                }
            }
        }
        let [host, port] = plain.as_slice() else {
            return self.fail("nc: a host and a port are needed\n".to_owned(), 1);
        };
        let host = (*host).to_owned();
        let (from, to) = port.split_once('-').unwrap_or((port, port));
        let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else {
            return self.fail(format!("nc: bad port '{port}'\n"), 1);
        };
        let mut status = 1;
        for port in from..=to.min(from.saturating_add(1000)) {
            let transport = if udp { Transport::Udp } else { Transport::Tcp };
            let reached = self.reach(&host, port, transport, limit)?;
            let reached = match reached {
                // Who sends by UDP learns nothing of its being lost.
                Err(Failure::Silence) if udp => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
                reached => reached,
            };
            match reached {
                Ok(address) => {
                    status = 0;
                    if loud {
                        let text = if self.start.gnu {
                            format!(
                                "Connection to {host} ({}) {port} port [tcp/*] succeeded!\n",
                                address.ip()
                            )
                        } else {
                            format!("{host} ({}:{port}) open\n", address.ip())
                        };
                        self.complain(&text);
                    }
                    if !zero {
                        let data = self.given()?;
                        if let Some(reply) = self.talk(address, &data)? {
                            self.say(&reply);
                        }
                    }
                }
                Err(failure) => {
                    let known = self.find_name(&host)?.ok();
                    let address = known.and_then(|found| found.addresses.first().copied());
                    let address = address.map_or_else(|| host.clone(), |address| address.to_string());
                    let text = match (self.start.gnu, failure) {
                        (false, Failure::NoName | Failure::NameSilence) => {
                            format!("nc: bad address '{host}'\n")
                        }
                        (false, Failure::Silence) if limit.is_some() => "nc: timed out\n".to_owned(),
                        (false, failure) if loud => {
                            format!("nc: {host} ({address}:{port}): {}\n", failure.text())
                        }
                        (false, failure) => {
                            format!("nc: can't connect to remote host ({address}): {}\n", failure.text())
                        }
                        (true, Failure::NoName | Failure::NameSilence) => {
                            format!(
                                "nc: getaddrinfo for host \"{host}\" port {port}: Name or service not known\n"
                            )
                        }
                        (true, failure) => {
                            format!(
                                "nc: connect to {host} ({address}) port {port} (tcp) failed: {}\n",
                                failure.text()
                            )
                        }
                    };
                    if loud || !self.start.gnu {
                        self.complain(&text);
                    }
                    status = 1;
                }
            }
        }
        Ok(status)
    }

    fn telnet(&mut self, words: &Words<'_>) -> Step {
        let Some(host) = words.plain.first().map(|host| (*host).clone()) else { return Ok(1) };
        let port = words.plain.get(1).and_then(|port| port.parse().ok()).unwrap_or(23);
        match self.reach(&host, port, Transport::Tcp, None)? {
            Ok(_) => {
                self.say(&format!("Connected to {host}\n"));
                self.complain("Connection closed by foreign host\n");
                Ok(1)
            }
            Err(Failure::NoName | Failure::NameSilence) => {
                self.fail(format!("telnet: bad address '{host}'\n"), 1)
            }
            Err(failure) => {
                let text = format!("telnet: can't connect to remote host: {}\n", failure.text());
                self.fail(text, 1)
            }
        }
    }

    fn ping(&mut self, words: &Words<'_>) -> Step {
        let counted: Option<u32> = words.after("-c").and_then(|count| count.parse().ok());
        let limit = words
            .after("-W")
            .or(words.after("-w"))
            .and_then(|limit| limit.parse().ok())
            .map(Duration::from_secs);
        let values: Vec<&str> =
            ["-c", "-W", "-w", "-i", "-s"].into_iter().filter_map(|flag| words.after(flag)).collect();
        let host = words
            .plain
            .iter()
            .rev()
            .find(|word| !values.contains(&word.as_str()))
            .map(|host| (*host).clone());
        let Some(host) = host else { return Ok(1) };
        let address = match self.find_name(&host)? {
            Ok(found) => match found.addresses.first() {
                Some(address) => *address,
                None => return Ok(1),
            },
            Err(failure) => {
                if failure == Failure::NameSilence {
                    self.spend(PATIENCE)?;
                }
                let text = if self.start.gnu {
                    format!("ping: {host}: Name or service not known\n")
                } else {
                    format!("ping: bad address '{host}'\n")
                };
                return self.fail(text, if self.start.gnu { 2 } else { 1 });
            }
        };
        self.say(&format!("PING {host} ({address}): 56 data bytes\n"));
        let to = SocketAddr::new(address, 0);
        let answers = match self.ask(&Ask::Connect(to, Transport::Icmp))? {
            Told::Connected(Ok(())) => true,
            Told::Connected(Err(NoWay::Unreachable)) => {
                return self.fail("ping: sendto: Network is unreachable\n".to_owned(), 1);
            }
            _ => false,
        };
        // Without `-c` it goes on for ever.
        let count = counted.unwrap_or(u32::MAX);
        for number in 0..count {
            if answers {
                self.say(&format!("64 bytes from {address}: seq={number} ttl=63 time=0.087 ms\n"));
            }
            if number + 1 < count {
                self.spend(Duration::from_secs(1))?;
            }
        }
        if !answers {
            self.spend(limit.unwrap_or(PATIENCE).min(PATIENCE))?;
        }
        let (received, loss) = if answers { (count, 0) } else { (0, 100) };
        self.say(&format!(
            "\n--- {host} ping statistics ---\n{count} packets transmitted, {received} packets received, {loss}% packet loss\n"
        ));
        if answers {
            self.say("round-trip min/avg/max = 0.087/0.087/0.087 ms\n");
        }
        Ok(i32::from(!answers))
    }
}

/// A URL, as far as these programs look at it.
#[derive(Debug, Clone)]
pub(super) struct Url {
    pub scheme: String,
    pub user: Option<String>,
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl Url {
    /// Reads a URL; without a scheme it is of HTTP.
    pub fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let scheme = scheme.to_ascii_lowercase();
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        let usual = match scheme.as_str() {
            "https" => 443,
            "telnet" => 23,
            _ => 80,
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        (!host.is_empty()).then(|| Self { scheme, user, host: host.to_owned(), port, path })
    }

    /// Returns host and port, as the `Host` header has them.
    pub fn authority(&self) -> String {
        match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}
