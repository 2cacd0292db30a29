//! This program as a tool of a node: it hands its command line to the server, writes what comes back and ends as it is
//! told. `sudo` alone needs nobody's answer: on a node one is root.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::environment::ToolSurroundings;
use crate::process::{HostCommand, ProcessError};
use crate::sim::node::tools::{self, Ask, Frame, SocketPath};
use crate::ui::raw;

/// The longest piece that the server sends.
const LONGEST: u32 = 256 * 1024 * 1024;
/// What a shell answers for a command that it does not find.
const NOT_FOUND: u8 = 127;
/// The status of a tool that could not do its work for a reason of ours.
const BROKEN: u8 = 125;

/// Returns the tool that this program is called as.
pub(super) fn called(args: &[OsString]) -> Option<&'static str> {
    let name = std::path::Path::new(args.first()?).file_name()?.to_str()?;
    tools::NAMES.into_iter().find(|tool| *tool == name)
}

/// Runs as a tool.
pub(super) fn run(tool: &str, args: &[OsString]) -> ExitCode {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if tool == "sudo" {
        return sudo(&args).into();
    }
    match talk(tool, args) {
        Ok(status) => status.into(),
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{tool}: this node does not answer: {error}\n"));
            BROKEN.into()
        }
    }
}

fn say(text: &str) {
    // Nobody can be told that nobody can be told.
    let _ = raw::err(text.as_bytes());
}

fn talk(tool: &str, args: Vec<String>) -> std::io::Result<u8> {
    let surroundings = ToolSurroundings::read();
    let ask = Ask {
        tool: tool.to_owned(),
        args,
        cwd: surroundings.cwd,
        env: surroundings.env,
        terminal: raw::is_terminal(),
        stdin: None,
    };
    let socket = SocketPath::of(&surroundings.socket_folder, tools::SOCKET)?;
    let mut server = UnixStream::connect(&socket.path)?;
    let mut line = serde_json::to_vec(&ask)?;
    line.push(b'\n');
    server.write_all(&line)?;
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
        if length > LONGEST {
            return Err(broken());
        }
        let mut payload = vec![0; usize::try_from(length).map_err(|_| broken())?];
        server.read_exact(&mut payload)?;
        match Frame::of(kind).ok_or_else(broken)? {
            Frame::Out => raw::out(&payload)?,
            Frame::Err => raw::err(&payload)?,
            Frame::Exit => return Ok(payload.first().copied().unwrap_or(1)),
            Frame::Stdin => {
                let bytes = raw::read()?;
                server.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes())?;
                server.write_all(&bytes)?;
            }
            Frame::Run => return Ok(become_program(&serde_json::from_slice::<Vec<String>>(&payload)?)),
        }
    }
}

fn become_program(argv: &[String]) -> u8 {
    let Some((program, args)) = argv.split_first() else { return 0 };
    match HostCommand::new(program).args(args.iter().cloned()).replace() {
        Ok(never) => match never {},
        Err(error @ ProcessError::NotFound { .. }) => {
            say(&format!("bash: {program}: command not found\n"));
            drop(error);
            NOT_FOUND
        }
        Err(error) => {
            say(&format!("{error}\n"));
            BROKEN
        }
    }
}

/// `sudo [-E] [-n] [-i|-s] [-u root] [VAR=VALUE...] COMMAND`.
fn sudo(args: &[String]) -> u8 {
    let mut rest = args;
    let mut shell = false;
    while let Some((word, after)) = rest.split_first() {
        match word.as_str() {
            "-E" | "-n" | "-H" | "-S" | "-k" | "--preserve-env" | "--" => {}
            "-i" | "-s" | "--login" | "--shell" | "su"
                if word != "su" || after.is_empty() || after == ["-"] =>
            {
                shell = true;
                if word == "su" {
                    rest = &[];
                    break;
                }
            }
            "-u" | "--user" => match after.split_first() {
                Some((user, more)) if user == "root" => {
                    rest = more;
                    continue;
                }
                _ => {
                    say("sudo: another user than root is not simulated on this node\n");
                    return 2;
                }
            },
            option if option.starts_with('-') => {
                say(&format!("sudo: option `{option}` is not simulated on this node\n"));
                return 2;
            }
            _ => break,
        }
        rest = after;
    }
    let variables = rest.iter().take_while(|word| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    });
    let count = variables.count();
    let (variables, command) = rest.split_at(count);
    let argv: Vec<String> = match (command.is_empty(), shell) {
        (true, true) => vec!["bash".to_owned(), "-l".to_owned()],
        (true, false) => {
            say("usage: sudo [-E] [-n] [-i] [-u root] command\n");
            return 1;
        }
        (false, _) => command.to_vec(),
    };
    match variables.is_empty() {
        true => become_program(&argv),
        false => become_program(&[vec!["env".to_owned()], variables.to_vec(), argv].concat()),
    }
}
