//! The tools that one uses on a node. One program is behind all of them: what it is called tells which. It asks the
//! server, which knows the node; an option that is not simulated is refused, never taken for done.

/// The names that this program goes by on a node.
pub const NAMES: [&str; 0] = [];

/// The folder beside a node's root that holds the socket of its tools.
pub const SOCKET_FOLDER: &str = "run";
/// The socket of a node's tools in that folder.
pub const SOCKET: &str = "node.sock";
/// The variable that names the socket where it is not at its usual place.
pub const SOCKET_VARIABLE: &str = "CKS_LAB_NODE_SOCKET";
