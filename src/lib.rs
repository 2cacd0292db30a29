//! The library behind `cks-lab`. `docs/architecture.md` draws the modules and the direction of their use;
//! `tests/it/architecture.rs` holds them to it.

pub mod audit_policy;
pub mod author;
pub mod cel;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod curriculum;
pub mod diag;
pub mod exam;
pub mod grade;
pub mod history;
pub mod lab;
pub mod layout;
pub mod persist;
pub mod process;
pub mod random;
pub mod report;
pub mod scenario;
pub mod seed;
pub mod session;
pub mod sim;
pub mod tui;
pub mod ui;
pub mod verify;
