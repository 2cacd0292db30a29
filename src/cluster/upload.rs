//! Files onto nodes, through the shell that every node has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Cluster, ClusterError, ExecOutput};

/// How many bytes go with one command; what a kernel takes as one argument is 128 KiB, and base64 adds a third.
const PIECE: usize = 60 * 1024;

const BEGIN: &str =
    r#"set -e; mkdir -p "$(dirname "$1")"; rm -f "$1.seeding"; : > "$1.seeding"; chmod 600 "$1.seeding""#;
const ADD: &str = r#"set -e; printf %s "$2" | base64 -d >> "$1.seeding""#;
const END: &str = r#"set -e; chown "$3" "$1.seeding"; chmod "$2" "$1.seeding"; mv "$1.seeding" "$1""#;

/// Writes a file whole or not at all.
pub(super) async fn write<C: Cluster + ?Sized>(
    cluster: &C,
    node: &str,
    to: &str,
    content: &[u8],
    mode: u32,
    owner: &str,
) -> Result<(), ClusterError> {
    shell(cluster, node, to, &[BEGIN, "sh", to]).await?;
    for piece in content.chunks(PIECE) {
        shell(cluster, node, to, &[ADD, "sh", to, &STANDARD.encode(piece)]).await?;
    }
    shell(cluster, node, to, &[END, "sh", to, &format!("{mode:o}"), owner]).await
}

async fn shell<C: Cluster + ?Sized>(
    cluster: &C,
    node: &str,
    what: &str,
    args: &[&str],
) -> Result<(), ClusterError> {
    let argv: Vec<&str> = ["sh", "-c"].into_iter().chain(args.iter().copied()).collect();
    ended(what, cluster.node_exec(node, &argv).await?)
}

/// Takes any other status than 0 for an error. `what` is what was run, or the file that it was about.
///
/// # Errors
/// [`ClusterError::Ended`].
pub fn ended(what: &str, output: ExecOutput) -> Result<(), ClusterError> {
    let ExecOutput { status, stderr, .. } = output;
    if status == 0 {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&stderr);
    let end: Vec<&str> = stderr.lines().rev().take(3).collect();
    Err(ClusterError::Ended {
        what: format!("`{what}`"),
        status,
        stderr: end.into_iter().rev().collect::<Vec<_>>().join("; "),
    })
}
