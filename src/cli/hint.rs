//! `cks-lab hint`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::view::HintView;
use crate::layout::{FAINT, paint};

/// Give the next hint
#[derive(Debug, clap::Args)]
pub(super) struct HintArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) fn run(cx: &Cx, args: &HintArgs) -> Result<Exit, CliError> {
    let view = cx.lab().hint(args.session.get())?;
    cx.show(&view, || text(cx, &view))?;
    if cx.is_text() && view.number == view.total && !view.new {
        cx.ui.note("That was the last hint.");
        cx.ui.next(&[("cks-lab solution", "the way to do it")]);
    }
    Ok(Exit::Passed)
}

fn text(cx: &Cx, view: &HintView) -> String {
    match &view.text {
        None => "This scenario has no hints.\n".to_owned(),
        Some(hint) => {
            let number = paint(FAINT, format!("Hint {} of {}", view.number, view.total));
            format!("{number}\n{}", cx.ui.markdown(hint))
        }
    }
}
