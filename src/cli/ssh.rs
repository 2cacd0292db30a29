//! `cks-lab ssh`: to a node of the session's cluster, or to the host of an exam's task.

use std::ffi::OsString;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, complete, exam, shell};
use crate::cluster::Terminal;
use crate::lab::error::LabError;

/// Go to a node of the cluster, or to the host of a task of the exam
#[derive(Debug, clap::Args)]
pub(super) struct SshArgs {
    #[command(flatten)]
    session: SessionArg,
    /// The node, such as `control-plane`; in an exam the host that the task names, from which its nodes are reached
    #[arg(value_name = "NODE", add = complete::hosts())]
    name: String,
    /// Run this there instead of a shell, such as `-- systemctl status kubelet`; one word with spaces is a line for a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) async fn run(cx: &Cx, args: &SshArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let session = args.session.get();
    let host = cx.environment.host.as_deref();
    if host.is_none() && lab.is_exam(session)? {
        return to_host(cx, args).await;
    }
    let handle = match lab.node(session, host, &args.name).await {
        // A scenario was started after the exam, which goes on all the same.
        Err(error) if host.is_none() && session.is_none() => {
            return match to_host(cx, args).await {
                Ok(exit) => Ok(exit),
                Err(_) => Err(error.into()),
            };
        }
        found => found?,
    };
    if host.is_some() {
        exam::keep_time(cx, &lab, &handle.session)?;
    }
    let terminal = Terminal {
        kind: cx.environment.terminal.clone(),
        colours: cx.environment.terminal_colours.clone(),
        interactive: cx.ui.interactive(),
    };
    let way = handle.cluster.node_shell(&handle.node, &line(&args.command), &terminal).await;
    let way = way.map_err(LabError::from)?;
    if let Some(note) = &way.note {
        cx.ui.warn(note);
    }
    cx.ui.settle();
    // Nothing is left to do, and whoever ends this process means the shell.
    match way.command.replace() {
        Ok(never) => match never {},
        Err(error) => Err(LabError::from(error).into()),
    }
}

async fn to_host(cx: &Cx, args: &SshArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let view = lab.exam_host(args.session.get(), &args.name).await?;
    exam::keep_time(cx, &lab, &view.session)?;
    shell::open(cx, &view, &args.command).await
}

/// What is given as one word with spaces is meant for a shell, as ssh has it.
fn line(command: &[OsString]) -> Vec<OsString> {
    match command {
        [only] if only.to_string_lossy().contains(char::is_whitespace) => {
            vec!["sh".into(), "-c".into(), only.clone()]
        }
        command => command.to_vec(),
    }
}
