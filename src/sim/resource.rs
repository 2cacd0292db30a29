//! Names of resources. Storage and in-process clients speak of a group and a plural; versions are the API's edge.

use std::borrow::Cow;
use std::fmt;

/// A resource's group and plural name, such as `apps` and `deployments`; the core group is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The API group.
    pub group: Cow<'static, str>,
    /// The plural.
    pub resource: Cow<'static, str>,
}

impl GroupResource {
    /// Names a built-in resource.
    pub const fn of(group: &'static str, resource: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), resource: Cow::Borrowed(resource) }
    }

    /// Names a resource known only at run time.
    pub fn named(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: Cow::Owned(group.into()), resource: Cow::Owned(resource.into()) }
    }
}

impl fmt::Display for GroupResource {
    /// Writes `pods` or `deployments.apps`, as in upstream's messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}
