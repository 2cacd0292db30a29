//! The keeper of an exam's clock: a process without a terminal, which tells the desktop how little time is left.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::Cx;
use super::super::error::CliError;
use crate::lab::error::LabError;
use crate::lab::event::{Event, Observer};
use crate::process::HostCommand;
use crate::ui;

/// Tells the desktop, where there is one; that it cannot be told is no matter for the exam.
struct Desktop {
    tool: Option<Tool>,
    log: PathBuf,
}

/// What tells a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    /// Any desktop that knows freedesktop notifications.
    NotifySend,
    /// macOS.
    Osascript,
}

pub(super) async fn keep(cx: &Cx, session: &str) -> Result<(), CliError> {
    let tools = [(Tool::NotifySend, "notify-send"), (Tool::Osascript, "osascript")];
    let tool = tools.into_iter().find(|(_, program)| cx.environment.has(program));
    let lab = cx.lab();
    let id = lab.sessions().resolve(Some(session)).map_err(LabError::from)?;
    let log = lab.sessions().dir(&id).join("clock.log");
    let desktop = Desktop { tool: tool.map(|(tool, _)| tool), log };
    let lab = cx.lab_for(Arc::new(desktop));
    let mut interrupt = cx.interrupt.clone();
    tokio::select! {
        kept = lab.exam_keep(session) => Ok(kept?),
        // Whoever ends it wants it gone; the next command of the exam starts another one.
        () = interrupt.pulled() => Ok(()),
    }
}

impl Observer for Desktop {
    fn observe(&self, event: Event) {
        let (Event::Alert { minutes, left_seconds }, Some(tool)) = (event, self.tool) else { return };
        let text = ui::exam::alert(minutes, left_seconds);
        let _ = command(tool, &text, minutes <= 5).spawn_detached(&self.log);
    }
}

fn command(tool: Tool, text: &str, urgent: bool) -> HostCommand {
    match tool {
        Tool::NotifySend => HostCommand::new("notify-send").args([
            "--app-name=cks-lab",
            if urgent { "--urgency=critical" } else { "--urgency=normal" },
            "cks-lab exam",
            text,
        ]),
        // The text is ours alone: it has neither quotes nor backslashes.
        Tool::Osascript => HostCommand::new("osascript")
            .arg("-e")
            .arg(format!("display notification \"{text}\" with title \"cks-lab exam\"")),
    }
}
