//! The nodes of a simulated cluster: the kubelet and what containers do. Time passes in them only when somebody looks.

pub mod images;
pub mod shell;
