//! The Kubernetes API of a simulated cluster: what is served where, and in which form it is answered.

pub mod discovery;
pub mod resources;
