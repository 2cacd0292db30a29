//! `cks-lab cp`: files to and from nodes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::error::LabError;
use crate::lab::node::NodeHandle;
use crate::process::HostCommand;

/// Copy a file to a node or from one
#[derive(Debug, clap::Args)]
pub(super) struct CpArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Copy folders with all that is in them
    #[arg(short, long)]
    recursive: bool,
    /// What is copied; on a node it begins with the node's name, such as `control-plane:/etc/hosts`
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to; what begins without `/` on a node is in `/root`
    #[arg(value_name = "TO")]
    to: String,
}

pub(super) async fn run(cx: &Cx, args: &CpArgs) -> Result<Exit, CliError> {
    let (from, to) = (side(&args.from), side(&args.to));
    let (node, path, local, upload) = match (from, to) {
        (Some((node, path)), None) => (node, path, Path::new(&args.to), false),
        (None, Some((node, path))) => (node, path, Path::new(&args.from), true),
        (Some(_), Some(_)) => {
            return Err(CliError::usage("files are copied to a node or from one, not between nodes")
                .hint("copy it here first"));
        }
        (None, None) => {
            return Err(CliError::usage("neither of the two is on a node")
                .hint("a path on a node has the node's name before it: `control-plane:/etc/hosts`"));
        }
    };
    let handle = cx.lab().node(args.session.get(), cx.environment.host.as_deref(), node).await?;
    match (upload, args.recursive) {
        (true, false) => put(&handle, local, &path).await,
        (false, false) => get(&handle, &path, local).await,
        (true, true) => put_folder(&handle, local, &path).await,
        (false, true) => get_folder(&handle, &path, local).await,
    }?;
    Ok(Exit::Passed)
}

/// Reads `node:path`. As with scp, what has a `/` before the colon is a path of this machine.
fn side(text: &str) -> Option<(&str, String)> {
    let (node, path) = text.split_once(':')?;
    if node.is_empty() || node.contains('/') {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/root/{path}") };
    Some((node, path))
}

async fn put(handle: &NodeHandle, local: &Path, path: &str) -> Result<(), CliError> {
    let facts = std::fs::metadata(local).map_err(|error| unreadable(local, error))?;
    if facts.is_dir() {
        return Err(CliError::usage(format!("`{}` is a folder", local.display())).hint("`-r` copies folders"));
    }
    let content = std::fs::read(local).map_err(|error| unreadable(local, error))?;
    let path = if is_folder(handle, path).await? { below(path, local)? } else { path.to_owned() };
    let mode = facts.permissions().mode() & 0o777;
    let written = handle.cluster.node_write(&handle.node, &path, &content, mode, "root:root").await;
    Ok(written.map_err(LabError::from)?)
}

async fn get(handle: &NodeHandle, path: &str, local: &Path) -> Result<(), CliError> {
    if is_folder(handle, path).await? {
        return Err(CliError::usage(format!("`{path}` is a folder")).hint("`-r` copies folders"));
    }
    let content = output(handle, &["cat", "--", path]).await?;
    let to = if local.is_dir() { local.join(name(Path::new(path))?) } else { local.to_owned() };
    std::fs::write(&to, content).map_err(|error| unwritable(&to, error))
}

async fn put_folder(handle: &NodeHandle, local: &Path, path: &str) -> Result<(), CliError> {
    let (folder, name) = split(local)?;
    let packed = HostCommand::new("tar").args(["-C", &*folder.to_string_lossy(), "-cf", "-", "--", &name]);
    let packed = packed.run().await.map_err(LabError::from)?.stdout;
    let (into, renamed) = match is_folder(handle, path).await? {
        true => (path.trim_end_matches('/').to_owned(), None),
        false => match path.trim_end_matches('/').rsplit_once('/') {
            Some((above, new)) => (above.to_owned(), Some(new.to_owned())),
            None => (String::new(), None),
        },
    };
    let archive = format!("/tmp/.cks-lab-cp-{}.tar", std::process::id());
    let sent = handle.cluster.node_write(&handle.node, &archive, &packed, 0o600, "root:root").await;
    sent.map_err(LabError::from)?;
    let into = if into.is_empty() { "/".to_owned() } else { into };
    let unpack = match &renamed {
        None => "tar -C \"$2\" -xof \"$1\"; status=$?; rm -f \"$1\"; exit $status",
        Some(_) => {
            "t=$(mktemp -d) && tar -C \"$t\" -xof \"$1\" && mv \"$t\"/* \"$2/$3\"; status=$?; \
             rm -rf \"$1\" \"$t\"; exit $status"
        }
    };
    output(handle, &["sh", "-c", unpack, "sh", &archive, &into, renamed.as_deref().unwrap_or("")]).await?;
    Ok(())
}

async fn get_folder(handle: &NodeHandle, path: &str, local: &Path) -> Result<(), CliError> {
    let (folder, name) = split(Path::new(path))?;
    let packed = output(handle, &["tar", "-C", &folder.to_string_lossy(), "-cf", "-", "--", &name]).await?;
    // What comes from a node is not trusted with a name of its own: it is unpacked apart, then put in its place.
    let (into, new) = match local.is_dir() {
        true => (local.to_owned(), name.clone()),
        false => split(local)?,
    };
    let apart = tempfile::tempdir_in(&into).map_err(|error| unwritable(&into, error))?;
    HostCommand::new("tar")
        .args(["-C", &*apart.path().to_string_lossy(), "-xof", "-"])
        .stdin(packed)
        .run()
        .await
        .map_err(LabError::from)?;
    let to = into.join(new);
    std::fs::rename(apart.path().join(&name), &to).map_err(|error| unwritable(&to, error))
}

async fn is_folder(handle: &NodeHandle, path: &str) -> Result<bool, CliError> {
    let asked =
        handle.cluster.node_exec(&handle.node, &["test", "-d", path]).await.map_err(LabError::from)?;
    Ok(asked.status == 0)
}

async fn output(handle: &NodeHandle, argv: &[&str]) -> Result<Vec<u8>, CliError> {
    let output = handle.cluster.node_exec(&handle.node, argv).await.map_err(LabError::from)?;
    if output.status != 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(CliError::new(Exit::Failed, said.trim().to_owned()));
    }
    Ok(output.stdout)
}

fn split(path: &Path) -> Result<(PathBuf, String), CliError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.map_or_else(|| PathBuf::from("."), Path::to_owned), name(path)?))
}

fn below(folder: &str, local: &Path) -> Result<String, CliError> {
    Ok(format!("{}/{}", folder.trim_end_matches('/'), name(local)?))
}

fn name(path: &Path) -> Result<String, CliError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| CliError::usage(format!("`{}` names no file", path.display())))
}

fn unreadable(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(Exit::Invalid, format!("`{}` cannot be read: {error}", path.display()))
}

fn unwritable(path: &Path, error: std::io::Error) -> CliError {
    CliError::new(Exit::Internal, format!("`{}` cannot be written: {error}", path.display()))
}
