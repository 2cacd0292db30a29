//! What this program is when it was not called as itself: a part of a sandbox, which it must be before it has a second
//! thread, or a tool of a node.

use std::ffi::OsString;
use std::process::ExitCode;

use super::error::CliError;
use super::exit::Exit;
use super::tool;
use crate::process::sandbox::{self, SandboxError};
use crate::ui::{Settings, Ui};

/// Runs as what the arguments say, where that is not the command line proper.
pub(super) fn run(args: &[OsString]) -> Option<ExitCode> {
    if let Some(name) = tool::called(args) {
        return Some(tool::run(name, args.get(1..).unwrap_or_default()));
    }
    if args.get(1).is_some_and(|arg| arg == crate::sim::server::SUBCOMMAND) {
        // The server reads and writes the files of nodes, whatever bits their root gave them. Without it goes as well
        // as with the bits that kubeadm sets.
        let _ = sandbox::command_own_files();
    }
    if args.get(1).is_some_and(|arg| arg == sandbox::SUBCOMMAND) {
        return Some(part_of_sandbox(args.get(2..).unwrap_or_default()));
    }
    None
}

fn part_of_sandbox(args: &[OsString]) -> ExitCode {
    let error = match sandbox::main(args) {
        Ok(status) => return status.into(),
        Err(error) => error,
    };
    let exit = match &error {
        SandboxError::NotFound(_) => sandbox::NOT_FOUND,
        SandboxError::Usage => Exit::Usage.code(),
        SandboxError::Unsupported(_) | SandboxError::Failed { .. } => sandbox::BROKEN,
    };
    CliError::new(Exit::Other(exit), error).print(&Ui::new(Settings::default()));
    exit.into()
}
