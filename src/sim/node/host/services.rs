//! The units of a node as they run: what `systemctl` does to them, and what they do by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::units::{Active, Definition, Enablement, Exit, Load, Unit};
use super::{NodeHost, State, units};
use crate::sim::node::kubelet::after;

/// A unit that systemd has read.
#[derive(Debug)]
pub(super) struct Service {
    pub definition: Definition,
    pub active: Active,
    pub sub: &'static str,
    pub since: Option<Timestamp>,
    pub pid: Option<u32>,
    pub command: Vec<String>,
    pub exit: Option<Exit>,
    pub restarts: u32,
    /// Whether it is to run.
    pub wanted: bool,
    /// When it is started again by itself.
    pub again: Option<Timestamp>,
}

impl Service {
    fn new(definition: Definition) -> Self {
        Self {
            definition,
            active: Active::Inactive,
            sub: "dead",
            since: None,
            pid: None,
            command: Vec::new(),
            exit: None,
            restarts: 0,
            wanted: false,
            again: None,
        }
    }
}

/// Why systemd refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no such unit.
    #[error("Unit {0} not found.")]
    NotFound(String),
    /// The unit is masked.
    #[error("Unit {0} is masked.")]
    Masked(String),
    /// Its file cannot be used.
    #[error("Unit {0} has a bad unit file setting.")]
    BadSetting(String),
    /// Its process ended at once.
    #[error("Job for {0} failed because the control process exited with error code.")]
    Failed(String),
    /// A file could not be written.
    #[error("Failed to change the files of unit {0}: {1}")]
    Files(String, String),
}

/// How much shorter than in reality systemd waits before it starts something again.
const HASTE: u32 = 5;

impl NodeHost {
    /// Reads the units there are, and starts those that are to run.
    pub(super) fn boot(&self, stopped: &BTreeSet<String>, started: &BTreeSet<String>) {
        let mut names: BTreeSet<String> = started.clone();
        for folder in units::FOLDERS {
            let listed = self.tree().list(folder).unwrap_or_default();
            names.extend(listed.into_iter().filter(|name| name.ends_with(".service")));
        }
        let mut state = self.lock();
        for name in names {
            self.load(&mut state, &name);
            let Some(service) = state.services.get(&name) else { continue };
            let enabled = service.definition.enablement(self.tree(), &name) == Enablement::Enabled;
            if (enabled && !stopped.contains(&name)) || started.contains(&name) {
                // What cannot be started shows it in its state.
                let _ = self.launch(&mut state, &name);
            }
        }
    }

    /// Reads a unit that is not known yet.
    fn load(&self, state: &mut State, name: &str) {
        if state.services.contains_key(name) {
            return;
        }
        let definition = Definition::read(self.tree(), name);
        if !definition.path.is_empty() {
            state.services.insert(name.to_owned(), Service::new(definition));
        }
    }

    /// Returns the units that systemd knows or could read, by name.
    pub fn units(&self) -> Vec<Unit> {
        let mut names: BTreeSet<String> = self.lock().services.keys().cloned().collect();
        for folder in units::FOLDERS {
            let listed = self.tree().list(folder).unwrap_or_default();
            names.extend(listed.into_iter().filter(|name| name.ends_with(".service")));
        }
        names.iter().filter_map(|name| self.unit(name)).collect()
    }

    /// Returns a unit; `.service` may be left out. Nothing when there is none.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        let name = full_name(name);
        let mut state = self.lock();
        self.load(&mut state, &name);
        let service = state.services.get(&name)?;
        let now = Definition::read(self.tree(), &name);
        let definition = &service.definition;
        let description = match definition.text("Unit", "Description") {
            "" => name.clone(),
            text => text.to_owned(),
        };
        let texts = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        Some(Unit {
            description,
            load: load_of(definition),
            path: definition.path.clone(),
            drop_ins: definition.drop_ins.clone(),
            enabled: definition.enablement(self.tree(), &name),
            active: service.active,
            sub: service.sub.to_owned(),
            since: service.since,
            main_pid: service.pid,
            exec_start: texts(definition.list("Service", "ExecStart")),
            command: service.command.clone(),
            exit: service.exit.clone(),
            restarts: service.restarts,
            docs: definition
                .list("Unit", "Documentation")
                .iter()
                .flat_map(|line| line.split_whitespace())
                .map(str::to_owned)
                .collect(),
            needs_reload: now != *definition,
            name,
        })
    }

    /// Starts a unit.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn start_unit(&self, name: &str) -> Result<(), UnitError> {
        let name = full_name(name);
        let mut state = self.lock();
        self.load(&mut state, &name);
        if state.services.get(&name).is_some_and(|service| service.active == Active::Active) {
            return Ok(());
        }
        let done = self.launch(&mut state, &name);
        self.finish(&state);
        done
    }

    /// Stops a unit.
    ///
    /// # Errors
    /// [`UnitError::NotFound`].
    pub fn stop_unit(&self, name: &str) -> Result<(), UnitError> {
        let name = full_name(name);
        let mut state = self.lock();
        self.load(&mut state, &name);
        if !state.services.contains_key(&name) {
            return Err(UnitError::NotFound(name));
        }
        self.halt(&mut state, &name);
        if let Some(service) = state.services.get_mut(&name) {
            service.wanted = false;
        }
        self.finish(&state);
        Ok(())
    }

    /// Stops a unit and starts it.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn restart_unit(&self, name: &str) -> Result<(), UnitError> {
        let name = full_name(name);
        let mut state = self.lock();
        self.load(&mut state, &name);
        self.halt(&mut state, &name);
        if let Some(service) = state.services.get_mut(&name) {
            service.restarts = 0;
        }
        let done = self.launch(&mut state, &name);
        self.finish(&state);
        done
    }

    /// Reads all units anew, as `systemctl daemon-reload` does. What runs goes on as it was started.
    pub fn reload_units(&self) {
        let mut state = self.lock();
        let names: Vec<String> = state.services.keys().cloned().collect();
        for name in names {
            let definition = Definition::read(self.tree(), &name);
            let Some(service) = state.services.get_mut(&name) else { continue };
            if definition.path.is_empty() && service.pid.is_none() {
                state.services.remove(&name);
            } else {
                service.definition = definition;
            }
        }
    }

    /// Lets the targets that a unit names want it; returns the links that were made, each with its target.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn enable_unit(&self, name: &str) -> Result<Vec<(String, String)>, UnitError> {
        let name = full_name(name);
        let definition = Definition::read(self.tree(), &name);
        if definition.path.is_empty() {
            return Err(UnitError::NotFound(name));
        }
        if definition.masked {
            return Err(UnitError::Masked(name));
        }
        let mut made = Vec::new();
        for target in definition.targets() {
            let link = units::wanted(&target, &name);
            if self.tree().link_target(&link).is_none() {
                self.tree().link(&link, &definition.path).map_err(|error| files(&name, &error))?;
                made.push((link, definition.path.clone()));
            }
        }
        self.finish(&self.lock());
        Ok(made)
    }

    /// Takes a unit out of the targets that want it; returns the links that were removed.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn disable_unit(&self, name: &str) -> Result<Vec<String>, UnitError> {
        let name = full_name(name);
        let definition = Definition::read(self.tree(), &name);
        if definition.path.is_empty() {
            return Err(UnitError::NotFound(name));
        }
        let mut removed = Vec::new();
        for folder in self.tree().list("/etc/systemd/system").unwrap_or_default() {
            let link = format!("/etc/systemd/system/{folder}/{name}");
            if folder.ends_with(".wants") && self.tree().link_target(&link).is_some() {
                self.tree().remove(&link).map_err(|error| files(&name, &error))?;
                removed.push(link);
            }
        }
        self.finish(&self.lock());
        Ok(removed)
    }

    /// Makes a unit one that cannot be started; returns the link that does it. A unit whose file lies where the link
    /// would be cannot be masked.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn mask_unit(&self, name: &str) -> Result<String, UnitError> {
        let name = full_name(name);
        let link = format!("/etc/systemd/system/{name}");
        if self.tree().link_target(&link).is_none() && self.tree().kind(&link).is_some() {
            return Err(UnitError::Files(name, format!("File {link} already exists.")));
        }
        self.tree().link(&link, "/dev/null").map_err(|error| files(&name, &error))?;
        self.reload_units();
        Ok(link)
    }

    /// Takes back what [`NodeHost::mask_unit`] did; returns the link that was removed, if there was one.
    ///
    /// # Errors
    /// [`UnitError`].
    pub fn unmask_unit(&self, name: &str) -> Result<Option<String>, UnitError> {
        let name = full_name(name);
        let link = format!("/etc/systemd/system/{name}");
        if self.tree().link_target(&link).as_deref() != Some("/dev/null") {
            return Ok(None);
        }
        self.tree().remove(&link).map_err(|error| files(&name, &error))?;
        self.reload_units();
        Ok(Some(link))
    }

    /// Starts again what waits for it.
    pub(in crate::sim) fn tick_units(&self) {
        let now = self.now();
        let mut state = self.lock();
        let due = |service: &Service| service.again.is_some_and(|at| at <= now);
        let names: Vec<String> =
            state.services.iter().filter(|(_, service)| due(service)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let Some(service) = state.services.get_mut(&name) else { continue };
            service.again = None;
            service.restarts += 1;
            let text = format!("{name}: Scheduled restart job, restart counter is at {}.", service.restarts);
            state.journal.add(now, &name, "systemd", 1, text);
            let _ = self.launch(&mut state, &name);
        }
    }

    fn finish(&self, state: &State) {
        self.save(state);
        self.stir();
    }

    fn halt(&self, state: &mut State, name: &str) {
        let now = self.now();
        let Some(service) = state.services.get_mut(name) else { return };
        if service.active == Active::Inactive {
            return;
        }
        let (title, ran) = (title(name, &service.definition), service.pid.is_some());
        service.again = None;
        service.pid = None;
        service.active = Active::Inactive;
        service.sub = "dead";
        service.since = Some(now);
        service.exit = None;
        if ran {
            for text in [
                format!("Stopping {title}..."),
                format!("{name}: Deactivated successfully."),
                format!("Stopped {title}."),
            ] {
                state.journal.add(now, name, "systemd", 1, text);
            }
        }
        if name == KUBELET {
            state.kubelet = None;
        }
    }

    /// Starts the process of a unit.
    fn launch(&self, state: &mut State, name: &str) -> Result<(), UnitError> {
        let now = self.now();
        let Some(service) = state.services.get_mut(name) else {
            return Err(UnitError::NotFound(name.to_owned()));
        };
        if service.definition.masked {
            return Err(UnitError::Masked(name.to_owned()));
        }
        if load_of(&service.definition) == Load::BadSetting {
            return Err(UnitError::BadSetting(name.to_owned()));
        }
        service.wanted = true;
        let title = title(name, &service.definition);
        let kind = service.definition.text("Service", "Type").to_owned();
        let command = service.definition.command(self.tree());
        state.journal.add(now, name, "systemd", 1, format!("Started {title}."));
        let command = match command {
            Ok(command) => command,
            Err(why) => {
                let text = format!("{name}: Failed to load environment files: {why}");
                state.journal.add(now, name, "systemd", 1, text);
                return self.failed(state, name, 1, "RESOURCES");
            }
        };
        let program = command.first().cloned().unwrap_or_default();
        if !self.has_program(&program) {
            let text = format!("{name}: Failed to locate executable {program}: No such file or directory");
            state.journal.add(now, name, "systemd", 1, text);
            return self.failed(state, name, 203, "EXEC");
        }
        let pid = state.pids.fresh();
        if name == KUBELET {
            state.pids.set("unit:kubelet.service", pid);
            if self.kubelet_started(state, &command, pid).is_err() {
                if let Some(service) = state.services.get_mut(name) {
                    service.pid = Some(pid);
                }
                return self.failed(state, name, 1, "FAILURE");
            }
        }
        let Some(service) = state.services.get_mut(name) else { return Ok(()) };
        service.command = command;
        service.since = Some(now);
        service.active = Active::Active;
        service.exit = None;
        if kind == "oneshot" {
            service.pid = None;
            service.sub = "exited";
            if service.definition.text("Service", "RemainAfterExit") != "yes" {
                service.active = Active::Inactive;
                service.sub = "dead";
            }
        } else {
            service.pid = Some(pid);
            service.sub = "running";
        }
        Ok(())
    }

    /// Notes that the process of a unit ended by itself.
    fn failed(&self, state: &mut State, name: &str, status: i32, word: &str) -> Result<(), UnitError> {
        let now = self.now();
        let fresh = state.pids.fresh();
        let Some(service) = state.services.get_mut(name) else { return Ok(()) };
        let pid = service.pid.take().unwrap_or(fresh);
        service.exit = Some(Exit { pid, status, word: word.to_owned(), at: now });
        service.since = Some(now);
        let again = service.definition.restart();
        match again {
            Some(delay) => {
                service.active = Active::Activating;
                service.sub = "auto-restart";
                // A little at least, so that a unit without a pause does not keep the machine busy.
                let delay = (delay / HASTE).max(Duration::from_millis(500));
                service.again = Some(after(now, delay));
            }
            None => {
                service.active = Active::Failed;
                service.sub = "failed";
            }
        }
        let how = format!("{name}: Main process exited, code=exited, status={status}/{word}");
        state.journal.add(now, name, "systemd", 1, how);
        state.journal.add(now, name, "systemd", 1, format!("{name}: Failed with result 'exit-code'."));
        // Of a simple unit systemctl hears nothing more once its process was started.
        match again {
            None if status == 203 => Err(UnitError::Failed(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Tells whether a program is there: a file of the node, or one of the system's own.
    fn has_program(&self, path: &str) -> bool {
        let own = ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/lib/", "/usr/lib/"];
        path.starts_with('/')
            && (own.iter().any(|folder| path.starts_with(folder))
                || path == "/usr/local/bin/containerd"
                || self.tree().kind(path) == Some(crate::sim::node::PathKind::File))
    }

    /// Tells whether the kubelet runs.
    pub fn kubelet_runs(&self) -> bool {
        self.lock().services.get(KUBELET).is_some_and(|service| service.active == Active::Active)
    }
}

pub(super) const KUBELET: &str = "kubelet.service";

fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// What systemd calls a unit in its journal.
fn title(name: &str, definition: &Definition) -> String {
    match definition.text("Unit", "Description") {
        "" => name.to_owned(),
        text => format!("{name} - {text}"),
    }
}

fn load_of(definition: &Definition) -> Load {
    if definition.path.is_empty() {
        Load::NotFound
    } else if definition.masked {
        Load::Masked
    } else if definition.list("Service", "ExecStart").is_empty() {
        Load::BadSetting
    } else {
        Load::Loaded
    }
}

fn files(name: &str, error: &std::io::Error) -> UnitError {
    UnitError::Files(name.to_owned(), super::tree::reason(error))
}
