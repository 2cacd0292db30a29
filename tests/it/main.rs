//! The one integration-test binary.

mod checks;
mod scenarios;
