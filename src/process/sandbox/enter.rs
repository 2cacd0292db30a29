//! Outside: makes the namespaces, starts what goes into them, waits for it and hands its exit status on.
//! When this process ends, however it does, the kernel ends everything inside.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getegid, geteuid, tcgetpgrp, tcsetpgrp};

use super::{Sandbox, SandboxError, failed};

/// Runs a command in namespaces of its own.
pub(super) fn run(surroundings: &Sandbox, argv: &[OsString]) -> Result<u8, SandboxError> {
    namespaces()?;
    let json = serde_json::to_string(surroundings).map_err(|_| SandboxError::Usage)?;
    let mut args: Vec<OsString> = vec![super::SUBCOMMAND.into(), "build".into(), json.into()];
    args.push(std::process::id().to_string().into());
    args.extend(argv.iter().cloned());
    let terminal = Terminal::remember();
    let status = start(&args);
    terminal.restore();
    Ok(code(status?))
}

/// Gives this process root's power over the files of its own user, and no other power.
pub(super) fn command_own_files() -> Result<(), SandboxError> {
    if geteuid().is_root() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|error| SandboxError::Unsupported(error.to_string()))?;
    map(user, group)?;
    super::capabilities::drop_all_but_those_of_files()
}

/// Finds out whether there are namespaces, by making them.
pub(super) fn probe() -> Result<u8, SandboxError> {
    namespaces()?;
    Ok(code(start(&[super::SUBCOMMAND.into(), "try".into()])?))
}

fn namespaces() -> Result<(), SandboxError> {
    let unsupported = |error: std::io::Error| SandboxError::Unsupported(error.to_string());
    let (user, group) = (geteuid(), getegid());
    let flags = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    nix::sched::unshare(flags).map_err(|error| unsupported(error.into()))?;
    map(user, group)?;
    let none: Option<&str> = None;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| unsupported(error.into()))
}

/// Makes the user of this process root in its own namespace, and knows of no other user there.
fn map(user: nix::unistd::Uid, group: nix::unistd::Gid) -> Result<(), SandboxError> {
    let unsupported = |error: std::io::Error| SandboxError::Unsupported(error.to_string());
    std::fs::write("/proc/self/setgroups", "deny").map_err(unsupported)?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1")).map_err(unsupported)?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1")).map_err(unsupported)
}

/// Starts this program again as the first process of the new namespace and waits for it. What the keyboard sends is
/// for the command; what asks this process to end ends the command.
fn start(args: &[OsString]) -> Result<ExitStatus, SandboxError> {
    use tokio::signal::unix::{SignalKind, signal};

    // One thread alone: the new process namespace is that of this thread's children.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("wait for the command"))?;
    runtime.block_on(async {
        let listen = |kind| signal(kind).map_err(failed("heed signals"));
        let (mut interrupt, mut quit) = (listen(SignalKind::interrupt())?, listen(SignalKind::quit())?);
        let (mut end, mut hangup) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
        let mut child =
            own_command().args(args).kill_on_drop(true).spawn().map_err(failed("start the first process"))?;
        loop {
            tokio::select! {
                status = child.wait() => return status.map_err(failed("wait for the command")),
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
                _ = end.recv() => { let _ = child.start_kill(); }
                _ = hangup.recv() => { let _ = child.start_kill(); }
            }
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the child must be this very process's, without a group of its own"
)]
fn own_command() -> tokio::process::Command {
    tokio::process::Command::new("/proc/self/exe")
}

/// Which process group has the terminal: a shell in there takes it and, from its namespace, cannot give it back.
struct Terminal(Option<(File, nix::unistd::Pid)>);

impl Terminal {
    fn remember() -> Self {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok();
        Self(terminal.and_then(|terminal| tcgetpgrp(&terminal).ok().map(|group| (terminal, group))))
    }

    fn restore(self) {
        let Some((terminal, group)) = self.0 else { return };
        let mut stopped = SigSet::empty();
        stopped.add(Signal::SIGTTOU);
        if stopped.thread_block().is_ok() {
            // The group may be gone with whoever waited for this command.
            let _ = tcsetpgrp(&terminal, group);
        }
    }
}

/// An exit status as shells count it.
pub(super) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}
