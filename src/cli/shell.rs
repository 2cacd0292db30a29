//! `cks-lab shell`: the learner's own shell with the session's kubeconfig, a prompt with the task and the time left,
//! and completion. The learner's own start-up files are read first; nothing of theirs is changed.

use std::path::Path;

use indoc::{formatdoc, indoc};

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::error::LabError;
use crate::lab::view::EnvView;
use crate::persist;
use crate::process::{HostCommand, quote};

/// Open a shell to work on the task
#[derive(Debug, clap::Args)]
pub(super) struct ShellArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Run this instead, such as `-- kubectl get pods`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

pub(super) async fn run(cx: &Cx, args: &ShellArgs) -> Result<Exit, CliError> {
    let view = cx.lab().env(args.session.get()).await?;
    open(cx, &view, &args.command).await
}

/// Runs a command, or the learner's shell where there is none, on a task.
pub(super) async fn open(cx: &Cx, view: &EnvView, command: &[std::ffi::OsString]) -> Result<Exit, CliError> {
    let process = match command.split_first() {
        Some((program, rest)) => HostCommand::new(program).args(rest),
        None => {
            let files = cx.lab().sessions().dir(&view.session).join("shell");
            let process = shell(cx, &files)?;
            cx.ui.note(&format!("A shell for {}; `exit` leaves it.", view.scenario));
            process
        }
    };
    cx.ui.settle();
    let process = with_variables(process, view).cwd(&view.task_dir);
    let status = process.on_terminal().await.map_err(LabError::from)?;
    // The status of the last command typed says nothing about the shell; that of a given command is the answer.
    match (command.is_empty(), status) {
        (true, _) | (false, 0) => Ok(Exit::Passed),
        (false, status) => Ok(Exit::Other(u8::try_from(status).unwrap_or(u8::MAX))),
    }
}

fn with_variables(command: HostCommand, view: &EnvView) -> HostCommand {
    view.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
}

fn shell(cx: &Cx, files: &Path) -> Result<HostCommand, CliError> {
    let shell = &cx.environment.shell;
    let program = quote(&cx.environment.program);
    let write = |name: &str, text: String| -> Result<std::path::PathBuf, CliError> {
        persist::create_dir(files).map_err(LabError::from)?;
        let path = files.join(name);
        persist::write_atomic(&path, text.as_bytes()).map_err(LabError::from)?;
        Ok(path)
    };
    let command = HostCommand::new(shell);
    Ok(match shell.file_name().and_then(|name| name.to_str()) {
        Some("bash") => {
            let file = write("bashrc", bash(&program))?;
            command.arg("--rcfile").arg(file).arg("-i")
        }
        Some("zsh") => {
            write(".zshrc", zsh(&program))?;
            let own = cx.environment.zdotdir.clone().unwrap_or_else(|| cx.environment.home.clone());
            command.env("ZDOTDIR", files).env("CKS_LAB_ZDOTDIR", own).arg("-i")
        }
        Some("fish") => command.arg("--init-command").arg(fish(&program)),
        // POSIX shells expand commands in PS1 before each prompt.
        _ => command.env("PS1", format!("[$({program} prompt 2>/dev/null)] $ ")).arg("-i"),
    })
}

fn bash(program: &str) -> String {
    let rest = indoc! {r#"
        if command -v kubectl >/dev/null 2>&1; then
          alias k=kubectl
          if ! complete -p kubectl >/dev/null 2>&1; then source <(kubectl completion bash 2>/dev/null); fi
          complete -o default -F __start_kubectl k 2>/dev/null
        fi
    "#};
    formatdoc! {r#"
        [ -f /etc/bash.bashrc ] && . /etc/bash.bashrc
        [ -f "$HOME/.bashrc" ] && . "$HOME/.bashrc"
        source <({program} completions bash 2>/dev/null)
        PS1='\[\e[36m\][$({program} prompt 2>/dev/null)]\[\e[0m\] \W\$ '
        {rest}"#}
}

fn zsh(program: &str) -> String {
    let rest = indoc! {r#"
        if command -v kubectl >/dev/null 2>&1; then
          alias k=kubectl
          (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
          source <(kubectl completion zsh 2>/dev/null)
        fi
    "#};
    formatdoc! {r#"
        ZDOTDIR=$CKS_LAB_ZDOTDIR
        [ -f "$ZDOTDIR/.zshrc" ] && . "$ZDOTDIR/.zshrc"
        setopt PROMPT_SUBST
        PROMPT='%F{{cyan}}[$({program} prompt 2>/dev/null)]%f %1~%# '
        {rest}"#}
}

fn fish(program: &str) -> String {
    formatdoc! {r#"
        functions -q fish_prompt; and functions -c fish_prompt cks_lab_own_prompt
        function fish_prompt; set_color cyan; echo -n "["({program} prompt 2>/dev/null)"] "; set_color normal; cks_lab_own_prompt; end
        alias k=kubectl
        type -q kubectl; and kubectl completion fish | source
    "#}
}
