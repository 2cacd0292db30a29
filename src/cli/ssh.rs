//! `cks-lab ssh`: to the host of an exam's task.

use std::ffi::OsString;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, exam, shell};

/// Go to the host of a task of the exam
#[derive(Debug, clap::Args)]
pub(super) struct SshArgs {
    #[command(flatten)]
    session: SessionArg,
    /// The host, as the task names it
    host: String,
    /// Run this there instead of a shell, such as `-- kubectl get pods`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) async fn run(cx: &Cx, args: &SshArgs) -> Result<Exit, CliError> {
    if let Some(host) = &cx.environment.host {
        return Err(CliError::usage(format!(
            "this is `{host}` already, and hosts are not reached from hosts"
        ))
        .hint("`exit` leads back"));
    }
    let lab = cx.lab();
    let view = lab.exam_host(args.session.get(), &args.host).await?;
    exam::keep_time(cx, &lab, &view.session)?;
    shell::open(cx, &view, &args.command).await
}
