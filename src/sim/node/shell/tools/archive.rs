//! `tar`, with which `kubectl cp` copies: packing files of the container to stdout, and unpacking from stdin.

use std::io::Read as _;

use super::super::bytes::{to_bytes, to_text};
use super::super::{Machine, Step};
use super::files::Kind;

/// What the words of a command line ask for.
#[derive(Default)]
struct Job {
    pack: bool,
    unpack: bool,
    list: bool,
    verbose: bool,
    folder: String,
    file: String,
    members: Vec<String>,
}

impl Job {
    /// Reads a command line, or names the option that is not known.
    fn read(words: &[String]) -> Result<Self, String> {
        let mut job = Self { folder: ".".to_owned(), ..Self::default() };
        let mut words = words.iter();
        let mut first = true;
        while let Some(word) = words.next() {
            let letters = match word.strip_prefix('-') {
                Some(letters) if !letters.is_empty() => letters,
                None if first => word,
                _ => {
                    job.members.push(word.clone());
                    continue;
                }
            };
            first = false;
            if let Some(long) = letters.strip_prefix('-') {
                match long {
                    // Owners and modes are not kept in any case.
                    "no-same-permissions" | "no-same-owner" | "no-overwrite-dir" | "touch" => {}
                    _ => return Err(word.clone()),
                }
                continue;
            }
            for letter in letters.chars() {
                match letter {
                    'c' => job.pack = true,
                    'x' => job.unpack = true,
                    't' => job.list = true,
                    'v' => job.verbose = true,
                    'f' => job.file = words.next().cloned().unwrap_or_default(),
                    'C' => job.folder = words.next().cloned().unwrap_or_default(),
                    'm' | 'p' | 'o' | 'h' | 'P' => {}
                    other => return Err(format!("-{other}")),
                }
            }
        }
        Ok(job)
    }
}

pub(super) fn run(machine: &mut Machine<'_>, words: &[String]) -> Step {
    let job = match Job::read(words) {
        Ok(job) => job,
        Err(option) => return machine.fail(format!("tar: {option} is not simulated in a container\n"), 1),
    };
    match (job.pack, job.unpack || job.list) {
        (true, false) => pack(machine, &job),
        (false, true) => unpack(machine, &job),
        _ => machine.fail("tar: must specify exactly one of -c, -x, -t\n".to_owned(), 1),
    }
}

fn pack(machine: &mut Machine<'_>, job: &Job) -> Step {
    let mut builder = tar::Builder::new(Vec::new());
    let (mut status, mut told) = (0, false);
    let at = u64::try_from(machine.start.at.as_second()).unwrap_or_default();
    for member in &job.members {
        if member.starts_with('/') && !std::mem::replace(&mut told, true) {
            machine.complain(if machine.start.gnu {
                "tar: Removing leading `/' from member names\n"
            } else {
                "tar: removing leading '/' from member names\n"
            });
        }
        let from = if member.starts_with('/') { member.clone() } else { format!("{}/{member}", job.folder) };
        if machine.kind(&from).is_none() {
            let text = if machine.start.gnu {
                format!("tar: {member}: Cannot stat: No such file or directory\n")
            } else {
                format!("tar: {member}: No such file or directory\n")
            };
            machine.complain(&text);
            status = if machine.start.gnu { 2 } else { 1 };
            continue;
        }
        for (path, kind) in machine.walk(&from) {
            let inside = path.strip_prefix(from.as_str()).unwrap_or_default();
            let name = format!("{}{inside}", member.trim_start_matches('/'));
            let name = if name.is_empty() { ".".to_owned() } else { name };
            let (mode, owner, group) = machine.facts(&path);
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_uid(owner.into());
            header.set_gid(group.into());
            header.set_mtime(at);
            let data = match (kind, machine.read(&path)) {
                (Kind::Folder, _) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    Vec::new()
                }
                (Kind::File, Some(text)) => to_bytes(&text),
                (Kind::File, None) => {
                    let text = machine.why_unread("tar", &path);
                    machine.complain(&text);
                    status = 2;
                    continue;
                }
            };
            header.set_size(data.len() as u64);
            if job.verbose {
                machine.complain(&format!("{name}\n"));
            }
            let name = if kind == Kind::Folder { format!("{}/", name.trim_end_matches('/')) } else { name };
            // Into memory, which has room.
            let _ = builder.append_data(&mut header, name, data.as_slice());
        }
    }
    if status != 0 && machine.start.gnu {
        machine.complain("tar: Exiting with failure status due to previous errors\n");
    } else if status != 0 {
        machine.complain("tar: error exit delayed from previous errors\n");
    }
    let text = to_text(&builder.into_inner().unwrap_or_default());
    match job.file.as_str() {
        "" | "-" => machine.say(&text),
        file => {
            if !machine.save("tar", file, text)? {
                return Ok(1);
            }
        }
    }
    Ok(status)
}

fn unpack(machine: &mut Machine<'_>, job: &Job) -> Step {
    let text = match job.file.as_str() {
        "" | "-" => machine.given()?,
        file => match machine.read(file) {
            Some(text) => text,
            None => return machine.fail(format!("tar: can't open '{file}': No such file or directory\n"), 1),
        },
    };
    if machine.list_folder(&job.folder).is_none() {
        let text = if machine.start.gnu {
            format!(
                "tar: {}: Cannot open: No such file or directory\ntar: Error is not recoverable: exiting now\n",
                job.folder
            )
        } else {
            format!("tar: can't change directory to '{}': No such file or directory\n", job.folder)
        };
        return machine.fail(text, if machine.start.gnu { 2 } else { 1 });
    }
    let bytes = to_bytes(&text);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let Ok(entries) = archive.entries() else {
        return machine.fail("tar: invalid tar magic\n".to_owned(), 1);
    };
    let mut status = 0;
    for entry in entries {
        let Ok(mut entry) = entry else { return machine.fail("tar: short read\n".to_owned(), 1) };
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        // As tar itself does: nothing leaves the folder that it unpacks into.
        let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
        let name = parts.join("/");
        if job.list || job.verbose {
            machine.say(&format!("{name}\n"));
        }
        if job.list || name.is_empty() {
            continue;
        }
        let path = format!("{}/{name}", job.folder.trim_end_matches('/'));
        if let Some(why) = machine.refusal(&path) {
            let text = if machine.start.gnu {
                format!("tar: {name}: Cannot open: {why}\n")
            } else {
                format!("tar: can't open '{name}': {why}\n")
            };
            machine.complain(&text);
            status = if machine.start.gnu { 2 } else { 1 };
            continue;
        }
        if entry.header().entry_type().is_dir() {
            machine.make_folder(&path);
        } else if entry.header().entry_type().is_file() {
            let mut data = Vec::new();
            if entry.read_to_end(&mut data).is_err() {
                return machine.fail("tar: short read\n".to_owned(), 1);
            }
            machine.write(&path, to_text(&data), false);
        }
    }
    if status != 0 && machine.start.gnu {
        machine.complain("tar: Exiting with failure status due to previous errors\n");
    }
    Ok(status)
}
