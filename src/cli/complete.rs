//! What a shell offers while a command is typed: the program itself is asked, so that scenarios and sessions are those
//! that there are. A name that cannot be found out is not offered; nothing is said in the middle of a line.

use std::ffi::OsString;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::command;
use super::environment::{Environment, absolute};
use crate::config::Config;
use crate::curriculum::Curriculum;
use crate::scenario::catalog::Catalog;
use crate::session::store::SessionStore;

/// Says to the program that a shell asks what could be typed; its value is the shell.
pub(super) const VARIABLE: &str = "CKS_LAB_COMPLETE";

/// Answers a shell that asks what could be typed; tells whether one did.
///
/// # Errors
/// The parser's, for a shell that is not known.
pub(super) fn answer(args: &[OsString]) -> clap::error::Result<bool> {
    let folder = absolute(std::path::Path::new("."));
    CompleteEnv::with_factory(command).var(VARIABLE).try_complete(args.to_vec(), Some(&folder))
}

/// Returns the script that makes a shell ask.
///
/// # Errors
/// The writer's, or that the shell is not known.
pub(super) fn script(shell: &str, program: &str) -> std::io::Result<String> {
    let shells = Shells::builtins();
    let shell = shells.completer(shell).ok_or_else(|| std::io::Error::other("the shell is not known"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "cks-lab", "cks-lab", program, &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Offers the scenarios.
pub(super) fn scenarios() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(environment) = Environment::read() else { return Vec::new() };
        let folder = environment.scenarios.clone();
        let folder = folder.or_else(|| Config::load(&environment.config).ok()?.scenarios);
        let catalog = match folder {
            Some(folder) => Catalog::open(&absolute(&folder)).ok(),
            None => Some(Catalog::embedded()),
        };
        let summaries = catalog.iter().flat_map(|catalog| catalog.summaries());
        summaries.map(|one| candidate(one.id.as_str(), &one.title)).collect()
    })
}

/// Offers the sessions.
pub(super) fn sessions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(environment) = Environment::read() else { return Vec::new() };
        let listing = SessionStore::new(environment.state.join("sessions")).list().unwrap_or_default();
        let title = |session: &crate::session::Session| match session.tasks.as_slice() {
            [task] => task.title.clone(),
            tasks => format!("{} tasks", tasks.len()),
        };
        listing.sessions.iter().map(|session| candidate(session.id.as_str(), &title(session))).collect()
    })
}

/// Offers the hosts of exams.
pub(super) fn hosts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let Ok(environment) = Environment::read() else { return Vec::new() };
        let listing = SessionStore::new(environment.state.join("sessions")).list().unwrap_or_default();
        let desks = listing.sessions.iter().filter_map(|session| session.sitting.as_ref());
        // A title would tell what is trained.
        desks.flat_map(|sitting| &sitting.desks).map(|desk| CompletionCandidate::new(&desk.host)).collect()
    })
}

/// Offers the domains.
pub(super) fn domains() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let domains = Curriculum::builtin().newest().domains.iter();
        domains.map(|domain| candidate(domain.id.as_str(), &domain.title)).collect()
    })
}

/// Offers the tracks.
pub(super) fn tracks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let tracks = Curriculum::builtin().tracks().iter();
        tracks.map(|track| candidate(track.id.as_str(), &track.title)).collect()
    })
}

fn candidate(value: &str, help: &str) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(help.to_owned().into()))
}
