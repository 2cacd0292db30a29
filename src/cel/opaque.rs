//! Values that only functions of the library know: quantities, addresses, URLs, versions, formats and questions to
//! the authorizer, which the host answers.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::library::formats::Format;
use super::library::quantity::Quantity;
use super::library::url::Url;
use super::types::Type;

/// The names of the types.
pub(super) const TYPES: &[&str] = &[
    "kubernetes.Quantity",
    "net.IP",
    "net.CIDR",
    "kubernetes.URL",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

/// A value of the library.
#[derive(Debug, Clone)]
pub enum Opaque<'a> {
    /// A resource quantity.
    Quantity(Quantity),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(IpNet),
    /// A URL.
    Url(Arc<Url>),
    /// A version.
    Semver(Arc<semver::Version>),
    /// A named format of texts.
    Format(&'static Format),
    /// The authorizer, asked for some user.
    Authorizer(Authorizer<'a>),
    /// A question about a path.
    PathCheck(Authorizer<'a>, Arc<Access>),
    /// A question about a group's resources, not yet complete.
    GroupCheck(Authorizer<'a>, Arc<Access>),
    /// A question about a resource.
    ResourceCheck(Authorizer<'a>, Arc<Access>),
    /// The authorizer's answer.
    Decision(Arc<Decision>),
}

/// The authorizer and for whom it is asked.
#[derive(Debug, Clone)]
pub struct Authorizer<'a> {
    /// Who answers.
    pub(super) host: &'a dyn Authorize,
    /// The service account that is asked about instead of the user of the request.
    pub(super) service_account: Option<Arc<(String, String)>>,
}

impl<'a> Authorizer<'a> {
    /// Asks `host` about the user of the request.
    pub fn new(host: &'a dyn Authorize) -> Self {
        Self { host, service_account: None }
    }
}

/// Answers whether access is allowed.
pub trait Authorize: Send + Sync {
    /// Decides for the user of the request, or for the service account in namespace and name.
    fn authorize(&self, service_account: Option<(&str, &str)>, access: &Access) -> Decision;
}

impl std::fmt::Debug for dyn Authorize + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorize")
    }
}

/// What is asked: a path, or a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The path, for what is no resource.
    pub path: String,
    /// The verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The plural.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// A field selector that the request would carry.
    pub field_selector: String,
    /// A label selector that the request would carry.
    pub label_selector: String,
}

/// What the authorizer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong.
    pub error: Option<String>,
}

impl Opaque<'_> {
    /// Returns the type.
    pub fn type_of(&self) -> Type {
        Type::Opaque(match self {
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::PathCheck(..) => "kubernetes.authorization.PathCheck",
            Self::GroupCheck(..) => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck(..) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        })
    }

    pub(super) fn equals(&self, other: &Opaque<'_>) -> bool {
        match (self, other) {
            (Self::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Self::Ip(a), Opaque::Ip(b)) => a == b,
            (Self::Cidr(a), Opaque::Cidr(b)) => a == b,
            (Self::Url(a), Opaque::Url(b)) => a == b,
            (Self::Semver(a), Opaque::Semver(b)) => a.cmp_precedence(b).is_eq(),
            (Self::Format(a), Opaque::Format(b)) => a.name == b.name,
            (Self::Decision(a), Opaque::Decision(b)) => a == b,
            (
                Self::PathCheck(_, a) | Self::GroupCheck(_, a) | Self::ResourceCheck(_, a),
                Opaque::PathCheck(_, b) | Opaque::GroupCheck(_, b) | Opaque::ResourceCheck(_, b),
            ) => a == b && self.type_of() == other.type_of(),
            _ => false,
        }
    }

    pub(super) fn to_json(&self) -> Option<Value> {
        match self {
            Self::Ip(address) => Some(address.to_string().into()),
            Self::Cidr(network) => Some(network.to_string().into()),
            Self::Url(url) => Some(url.text.clone().into()),
            Self::Semver(version) => Some(version.to_string().into()),
            Self::Quantity(quantity) => Some(quantity.to_string().into()),
            _ => None,
        }
    }
}
