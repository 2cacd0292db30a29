//! The `cks-lab` binary: hands the arguments over and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cks_lab::cli::run(std::env::args_os())
}
