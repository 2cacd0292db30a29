//! The one integration-test binary.

mod checks;
mod golden;
mod kind;
mod scenarios;
mod seed;
