//! The one integration-test binary.

mod author;
mod checks;
mod golden;
mod kind;
mod scenarios;
mod seed;
