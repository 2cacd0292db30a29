//! What may not grow without end in there: processes, files, memory of a process.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};

use super::{SandboxError, failed};

/// How many processes and threads there may be. `kubectl` alone has a dozen.
const PROCESSES: u64 = 1024;
/// The same where the kernel counts all processes of the user, those of the desktop included.
const PROCESSES_OF_USER: u64 = 16 * 1024;
/// The largest file, in bytes.
const FILE: u64 = 256 * 1024 * 1024;
/// The most memory of one process, in bytes.
const MEMORY: u64 = 2 * 1024 * 1024 * 1024;
/// How many files one process may have open.
const OPEN: u64 = 4096;

/// The first kernel that counts processes of each user namespace.
const COUNTS_BY_NAMESPACE: (u32, u32) = (5, 14);
/// The first kernel in which the highest process id belongs to the process namespace.
const NUMBERS_BY_NAMESPACE: (u32, u32) = (6, 14);

/// Sets the limits of this process and all that come from it.
pub(super) fn apply() -> Result<(), SandboxError> {
    let processes = if kernel() >= COUNTS_BY_NAMESPACE { PROCESSES } else { PROCESSES_OF_USER };
    for (resource, limit) in [
        (Resource::RLIMIT_NPROC, processes),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_DATA, MEMORY),
        (Resource::RLIMIT_NOFILE, OPEN),
        (Resource::RLIMIT_CORE, 0),
    ] {
        let (_, hard) = nix::sys::resource::getrlimit(resource).map_err(failed("read limits"))?;
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit).map_err(failed("set limits"))?;
    }
    Ok(())
}

/// Sets the limits of the namespaces, through a `/proc` of theirs: no user namespace within this one, in which a process
/// would have every privilege again, and no more processes than numbers. The latter holds for the machine's root too,
/// whose processes nothing else counts; where the number is the whole machine's it is left alone.
pub(super) fn of_namespace(proc: &Path) {
    // What cannot be limited here is limited by the privileges that are dropped.
    let _ = fs::write(proc.join("sys/user/max_user_namespaces"), "0");
    if kernel() >= NUMBERS_BY_NAMESPACE {
        let _ = fs::write(proc.join("sys/kernel/pid_max"), PROCESSES.to_string());
    }
}

/// Ends everything in the namespace when there are too many processes, where no kernel limit counts them: those of the
/// machine's root, before process namespaces had their own numbers. To be called by the first process in there.
pub(super) fn watch() {
    const INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_root = map.split_whitespace().nth(1) == Some("0");
    if !is_root || kernel() >= NUMBERS_BY_NAMESPACE {
        return;
    }
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(INTERVAL);
            let processes = fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| {
                entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
            });
            if processes.count() as u64 > PROCESSES {
                let all = nix::unistd::Pid::from_raw(-1);
                let _ = nix::sys::signal::kill(all, nix::sys::signal::Signal::SIGKILL);
            }
        }
    });
}

fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
