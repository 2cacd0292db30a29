//! Inside, before the command: puts the new root together, gives the old one up, and with it every privilege that
//! could bring it back. Whatever cannot be done safely ends it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;

use super::{Mount, Sandbox, SandboxError, capabilities, failed, limits};

/// Where the old root is while the new one is put together.
const OLD: &str = "/old";
/// Where the new one is.
const NEW: &str = "/new";
/// Where something in memory can be mounted that hides nothing anybody needs; every Linux has it.
const STAGE: &str = "/tmp";
/// The devices that are harmless.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const NONE: Option<&str> = None;

/// Puts the root together and becomes the first process in it.
pub(super) fn build(surroundings: &Sandbox, parent: u32, argv: &[OsString]) -> Result<u8, SandboxError> {
    end_with(parent)?;
    nix::unistd::sethostname(&surroundings.hostname).map_err(failed("set the host name"))?;
    stage()?;
    let root = old(&surroundings.root)?;
    bind(&root, Path::new(NEW), true)?;
    for part in &surroundings.mounts {
        put(part)?;
    }
    devices()?;
    proc()?;
    seal(surroundings)?;
    leave()?;
    limits::apply()?;
    capabilities::drop_all_but_those_of_files()?;
    // What is to be seen of this machine's paths ends here.
    let inside = Sandbox { mounts: Vec::new(), root: PathBuf::new(), ..surroundings.clone() };
    let json = serde_json::to_string(&inside).map_err(|_| SandboxError::Usage)?;
    Err(failed("start the first process")(become_reaper(surroundings, json, argv)))
}

/// Mounts what every root needs, to see whether that is allowed.
pub(super) fn attempt() -> Result<u8, SandboxError> {
    let unsupported = |error: SandboxError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        SandboxError::Unsupported(format!("{error}{cause}"))
    };
    let all = || {
        stage()?;
        bind(Path::new("/old/usr"), Path::new(NEW), false)?;
        fs::create_dir("/proc").map_err(failed("make a folder"))?;
        mount_proc(Path::new("/proc"))
    };
    all().map_err(unsupported)?;
    Ok(0)
}

/// Sees that this process ends with the one that waits for it, even if that has ended meanwhile.
fn end_with(parent: u32) -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(failed("end with the caller"))?;
    // This is still the old namespace's view, in which the parent has a number.
    let stat = fs::read_to_string("/proc/self/stat").map_err(failed("find the caller"))?;
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let actual: Option<u32> = fields.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
    if actual == Some(parent) {
        return Ok(());
    }
    Err(failed("find the caller")(io::Error::from(io::ErrorKind::NotFound)))
}

/// Makes an empty root in memory with the old one in [`OLD`].
fn stage() -> Result<(), SandboxError> {
    let what = || failed::<nix::errno::Errno>("prepare a new root");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), STAGE, Some("tmpfs"), flags, Some("mode=0755,size=1m")).map_err(what())?;
    for folder in [OLD, NEW] {
        fs::create_dir(format!("{STAGE}{folder}")).map_err(failed("prepare a new root"))?;
    }
    nix::unistd::chdir(STAGE).map_err(what())?;
    pivot_root(STAGE, "old").map_err(what())?;
    nix::unistd::chdir("/").map_err(what())
}

/// Finds a path of this machine in the staging root, with its links resolved as this machine resolves them.
fn old(path: &Path) -> Result<PathBuf, SandboxError> {
    // Sources were made independent of links by whoever described them; one that is a link now is not followed.
    let below = path.strip_prefix("/").map_err(|_| SandboxError::Usage)?;
    Ok(Path::new(OLD).join(below))
}

fn new(path: &Path) -> Result<PathBuf, SandboxError> {
    let below = path.strip_prefix("/").map_err(|_| SandboxError::Usage)?;
    Ok(Path::new(NEW).join(below))
}

fn put(part: &Mount) -> Result<(), SandboxError> {
    let at = new(part.at())?;
    match part {
        Mount::Shown { from, .. } => {
            let from = old(from)?;
            match fs::symlink_metadata(&from) {
                Ok(_) => bind(&from, &at, false),
                Err(_) => Ok(()),
            }
        }
        Mount::Lent { from, .. } => {
            // A folder of this machine that has no such place in it takes none.
            if at.is_dir() { bind(&old(from)?, &at, true) } else { Ok(()) }
        }
        Mount::Stacked { from, .. } => {
            let mut names = Vec::new();
            for (index, path) in from.iter().enumerate() {
                // Short names without any character that means something to the kernel.
                let name = format!("/layer{}-{index}", at.as_os_str().len());
                std::os::unix::fs::symlink(old(path)?, &name).map_err(failed("stack folders"))?;
                names.push(name);
            }
            check_target(&at, true)?;
            let options = format!("lowerdir={},userxattr", names.join(":"));
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
            match (mount(Some("overlay"), &at, Some("overlay"), flags, Some(options.as_str())), from.last()) {
                (Ok(()), _) | (Err(_), None) => Ok(()),
                (Err(_), Some(last)) => bind(&old(last)?, &at, false),
            }
        }
        Mount::Fresh { links, .. } => {
            check_target(&at, true)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("tmpfs"), &at, Some("tmpfs"), flags, Some("mode=0755,size=1m"))
                .map_err(failed("make a folder in memory"))?;
            for (name, target) in links {
                let link = at.join(name);
                if let Some(folder) = link.parent() {
                    fs::create_dir_all(folder).map_err(failed("make a folder in memory"))?;
                }
                std::os::unix::fs::symlink(target, link).map_err(failed("make a link in memory"))?;
            }
            Ok(())
        }
    }
}

/// Mounts one path upon another, which is made if it is missing in memory. Not to be written takes a second step, see
/// [`seal`].
fn bind(from: &Path, at: &Path, writable: bool) -> Result<(), SandboxError> {
    let what = || format!("mount `{}`", from.strip_prefix(OLD).unwrap_or(from).display());
    let source = fs::metadata(from).map_err(failed(what()))?;
    check_target(at, source.is_dir())?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), at, NONE, flags, NONE).map_err(failed(what()))?;
    if writable {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let kept = flags_of(at)?;
        mount(NONE, at, NONE, flags | kept, NONE).map_err(failed(what()))?;
    }
    Ok(())
}

/// Sees that a place is there to mount upon and is no link, which would lead elsewhere.
fn check_target(at: &Path, folder: bool) -> Result<(), SandboxError> {
    let what = || format!("mount upon `/{}`", at.strip_prefix(NEW).unwrap_or(at).display());
    match fs::symlink_metadata(at) {
        Ok(found) if found.is_dir() == folder && !found.is_symlink() => Ok(()),
        Ok(_) => Err(failed(what())(io::Error::from(io::ErrorKind::AlreadyExists))),
        Err(_) if folder => fs::create_dir_all(at).map_err(failed(what())),
        Err(_) => {
            if let Some(parent) = at.parent() {
                fs::create_dir_all(parent).map_err(failed(what()))?;
            }
            fs::File::create_new(at).map(drop).map_err(failed(what()))
        }
    }
}

/// A `/dev` with harmless devices and terminals of its own.
fn devices() -> Result<(), SandboxError> {
    let what = || failed::<io::Error>("make /dev");
    let dev = Path::new(NEW).join("dev");
    check_target(&dev, true)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), &dev, Some("tmpfs"), flags, Some("mode=0755,size=1m"))
        .map_err(failed("make /dev"))?;
    for device in DEVICES {
        let at = dev.join(device);
        fs::File::create_new(&at).map_err(what())?;
        let from = Path::new(OLD).join("dev").join(device);
        mount(Some(&from), &at, NONE, MsFlags::MS_BIND, NONE).map_err(failed("make /dev"))?;
    }
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ];
    for (name, target) in links {
        std::os::unix::fs::symlink(target, dev.join(name)).map_err(what())?;
    }
    fs::create_dir(dev.join("pts")).map_err(what())?;
    fs::create_dir(dev.join("shm")).map_err(what())?;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), &dev.join("pts"), Some("devpts"), flags, options)
        .map_err(failed("make /dev/pts"))?;
    let flags = flags | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), &dev.join("shm"), Some("tmpfs"), flags, Some("mode=1777,size=64m"))
        .map_err(failed("make /dev/shm"))
}

fn proc() -> Result<(), SandboxError> {
    let proc = Path::new(NEW).join("proc");
    check_target(&proc, true)?;
    mount_proc(&proc)
}

/// Mounts the new process namespace's view. It is only for reading: much of what is below `/proc/sys` is the whole
/// machine's, and writable for its root.
fn mount_proc(at: &Path) -> Result<(), SandboxError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), at, Some("proc"), flags, NONE).map_err(failed("mount /proc"))?;
    limits::of_namespace(at);
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NONE, at, NONE, flags, NONE).map_err(failed("protect /proc"))
}

/// Takes the right to write from all that is only shown, with what is mounted below it.
fn seal(surroundings: &Sandbox) -> Result<(), SandboxError> {
    let shown = |path: &Path| {
        let nearest = surroundings
            .mounts
            .iter()
            .filter(|part| path.starts_with(part.at()))
            .max_by_key(|part| part.at().components().count());
        nearest.is_some_and(|part| !matches!(part, Mount::Lent { .. }))
    };
    for (at, kept) in mounted()? {
        let Ok(path) = at.strip_prefix(NEW) else { continue };
        if !shown(&Path::new("/").join(path)) {
            continue;
        }
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
        mount(NONE, &at, NONE, flags | MsFlags::MS_NODEV | kept, NONE)
            .map_err(failed(format!("protect `/{}`", path.display())))?;
    }
    Ok(())
}

/// Goes into the new root and lets go of everything else.
fn leave() -> Result<(), SandboxError> {
    let what = || failed::<nix::errno::Errno>("enter the new root");
    umount2(OLD, MntFlags::MNT_DETACH).map_err(what())?;
    nix::unistd::chdir(NEW).map_err(what())?;
    pivot_root(".", ".").map_err(what())?;
    umount2(".", MntFlags::MNT_DETACH).map_err(what())?;
    nix::unistd::chdir("/").map_err(what())
}

/// Runs this program again, from within: as the first process it is what `/proc/1/exe` leads to.
#[expect(clippy::disallowed_methods, reason = "it becomes the process itself")]
fn become_reaper(surroundings: &Sandbox, json: String, argv: &[OsString]) -> io::Error {
    let done: Result<Infallible, io::Error> = Err(std::process::Command::new(&surroundings.program)
        .env_clear()
        .args([super::SUBCOMMAND, "reap", &json])
        .args(argv)
        .exec());
    match done {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// Lists what is mounted in the staging root, with the flags that a change must keep.
fn mounted() -> Result<Vec<(PathBuf, MsFlags)>, SandboxError> {
    let text = [Path::new(NEW).join("proc/self/mountinfo"), Path::new(OLD).join("proc/self/mountinfo")]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .ok_or_else(|| failed("list mounts")(io::Error::from(io::ErrorKind::NotFound)))?;
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(4);
        let (at, options) = (fields.next()?, fields.next()?);
        let flags = options.split(',').map(|option| match option {
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            _ => MsFlags::empty(),
        });
        Some((PathBuf::from(unescape(at)), flags.fold(MsFlags::empty(), |all, flag| all | flag)))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn flags_of(at: &Path) -> Result<MsFlags, SandboxError> {
    let found = mounted()?.into_iter().rev().find(|(path, _)| path == at);
    Ok(found.map_or(MsFlags::empty(), |(_, flags)| flags))
}

/// Reads a path of the mount list: space, tab, line end and backslash are octal there.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok());
        out.push(code.map_or('\\', char::from));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out + rest
}
