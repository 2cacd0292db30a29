//! Which programs of a cluster are alive, and may ask its API: loops wait where theirs is not. Knows no processes.

use std::sync::Arc;

use tokio::sync::watch;

use super::api::Api;
use super::authz::Mode;
use super::flags::Program;

/// The gates of all loops of a cluster. Clones share them.
#[derive(Debug, Clone)]
pub struct Gates {
    api: Api,
    alive: Arc<[(Program, watch::Sender<bool>); 3]>,
}

impl Gates {
    /// Opens all gates behind an API.
    pub fn new(api: &Api) -> Self {
        let open = |program| (program, watch::Sender::new(true));
        let alive = [Program::ControllerManager, Program::Scheduler, Program::Etcd].map(open);
        Self { api: api.clone(), alive: Arc::new(alive) }
    }

    /// Says whether a program is alive.
    pub fn set(&self, program: Program, alive: bool) {
        if let Some((_, sender)) = self.alive.iter().find(|(of, _)| *of == program) {
            sender.send_replace(alive);
        }
    }

    /// Tells whether a program is alive.
    pub fn is_alive(&self, program: Program) -> bool {
        match program {
            Program::ApiServer => self.api.is_up(),
            _ => self.alive.iter().find(|(of, _)| *of == program).is_none_or(|(_, alive)| *alive.borrow()),
        }
    }

    /// Waits until the loops of a program may work: it is alive, the API answers, and does not refuse it everything.
    pub async fn open(&self, program: Program) {
        loop {
            let mut up = self.api.up();
            let _ = up.wait_for(|up| *up).await;
            if let Some((_, sender)) = self.alive.iter().find(|(of, _)| *of == program) {
                let _ = sender.subscribe().wait_for(|alive| *alive).await;
            }
            let life = self.api.generation();
            if !*self.api.up().borrow() {
                continue;
            }
            if admits(life.authorizer.modes(), program) {
                return;
            }
            let _ = life.ended().wait_for(|ended| *ended).await;
        }
    }
}

/// Tells whether a program may do its work under these modes of authorization.
pub fn admits(modes: &[Mode], program: Program) -> bool {
    let mode = if program == Program::Kubelet { Mode::Node } else { Mode::Rbac };
    modes.contains(&mode) || modes.contains(&Mode::AlwaysAllow)
}
