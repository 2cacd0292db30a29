//! What programs ask of the world beyond their container: names, connections, answers. The questions only.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A transport that connections are made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// No ports at all: what `ping` sends.
    Icmp,
}

/// A request of HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer of HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// Returns a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the words that go with the status.
    pub fn reason(&self) -> &'static str {
        http::StatusCode::from_u16(self.status).ok().and_then(|code| code.canonical_reason()).unwrap_or("")
    }
}

/// Whose certificates a client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's.
    Anybody,
    /// Those of the authorities that the system knows.
    System,
    /// Those of an authority, in PEM.
    Authority(String),
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What addresses a name has, by the resolver of the Pod or by another server.
    Name {
        /// The name.
        name: String,
        /// The server that is asked instead of those of the Pod.
        server: Option<IpAddr>,
        /// Whether the search path and the hosts file are left out.
        exact: bool,
    },
    /// What name an address has.
    Pointer(IpAddr),
    /// Whether something takes a connection.
    Connect(SocketAddr, Transport),
    /// What a server answers to a request.
    Http {
        /// Where it is.
        to: SocketAddr,
        /// Whether TLS is spoken first, and who is trusted then.
        tls: Option<Trust>,
        /// The request.
        request: HttpRequest,
    },
    /// What a server says to bytes.
    Say(SocketAddr, Vec<u8>),
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoName {
    /// There is no such name.
    Unknown,
    /// Nobody answered.
    Silence,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Silence,
    /// There is nothing beyond the cluster.
    Unreachable,
}

/// A name that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name in full.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The server that knew it; nothing when it stood in a file.
    pub server: Option<IpAddr>,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An answer of HTTP.
    Http(HttpAnswer),
    /// Something else than HTTP.
    Bytes(Vec<u8>),
    /// Nothing: it closes the connection.
    Nothing,
    /// It speaks no TLS.
    NoTls,
    /// Its certificate is of an authority that the client does not trust.
    Untrusted,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// To [`Ask::Name`] and [`Ask::Pointer`].
    Name(Result<Found, NoName>),
    /// To [`Ask::Connect`].
    Connected(Result<(), NoWay>),
    /// To [`Ask::Http`] and [`Ask::Say`].
    Replied(Reply),
    /// Not before the time has come, or before somebody has found out.
    Later,
}

/// How long a round trip takes.
pub const ROUND_TRIP: Duration = Duration::from_millis(1);
