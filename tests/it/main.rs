//! The one integration-test binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod architecture;
mod author;
mod browser;
mod catalog;
mod checks;
mod cli;
mod cli_comfort;
mod cli_console;
mod cli_exam;
mod cli_machine;
mod cli_node;
mod cli_progress;
mod cli_providers;
mod cli_reference;
mod cli_report;
mod cli_session;
mod cli_usage;
mod coverage;
mod golden;
mod kind;
mod policy;
mod scenarios;
mod seed;
mod sim_api;
mod sim_nodes;
