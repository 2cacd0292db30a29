//! The one integration-test binary.

mod checks;
mod golden;
mod scenarios;
mod seed;
