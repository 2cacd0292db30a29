//! The first process in there: starts the command, buries whatever dies, and ends with the command's status. With it
//! ends everything else.

use std::ffi::OsString;
use std::io;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Sandbox, SandboxError, failed, limits};

pub(super) fn run(surroundings: &Sandbox, argv: &[OsString]) -> Result<u8, SandboxError> {
    let Some((program, args)) = argv.split_first() else { return Err(SandboxError::Usage) };
    close_inherited();
    limits::watch();
    // A folder that was removed meanwhile is no reason to stay outside.
    if std::env::set_current_dir(&surroundings.cwd).is_err() {
        std::env::set_current_dir("/").map_err(failed("enter the working folder"))?;
    }
    let child = match command(program, args, surroundings).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SandboxError::NotFound(program.display().to_string()));
        }
        Err(error) => return Err(failed(format!("start `{}`", program.display()))(error)),
    };
    let child = i32::try_from(child.id()).map(Pid::from_raw).map_err(|_| SandboxError::Usage)?;
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(u8::try_from(code & 0xff).unwrap_or(1));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(failed("wait for the command")(error)),
        }
    }
}

/// Closes what whoever started all this has left open: a folder of the machine among it would be a way out.
fn close_inherited() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // That of the list itself is closed already.
        let _ = nix::unistd::close(number);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "its children are for this process to bury, with no runtime between"
)]
fn command(program: &OsString, args: &[OsString], surroundings: &Sandbox) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.args(args).env_clear();
    command.envs(surroundings.env.iter().map(|(name, value)| (name, value)));
    command
}
