//! `systemctl`: the units of a node.

use super::options::Options;
use super::table::{columns, span};
use super::{Cx, Done, journalctl};
use crate::sim::node::host::{Active, Enablement, Load, Unit, UnitError};

const KNOWN: &[super::options::Known] = &[
    ("now", None, false),
    ("no-pager", None, false),
    ("no-legend", None, false),
    ("plain", None, false),
    ("all", Some('a'), false),
    ("full", Some('l'), false),
    ("quiet", Some('q'), false),
    ("type", Some('t'), true),
    ("state", None, true),
    ("lines", Some('n'), true),
    ("property", Some('p'), true),
    ("value", None, false),
    ("system", None, false),
    ("force", Some('f'), false),
    ("no-block", None, false),
    ("version", None, false),
];

pub(super) fn run(cx: &Cx) -> Done {
    let options = match Options::read(cx.args(), KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    if options.has("version") {
        return Done::out("systemd 252 (252.36-1~deb12u1)\n");
    }
    let mut words = options.rest.iter().map(String::as_str);
    let verb = words.next().unwrap_or("list-units");
    let names: Vec<String> = words.map(full_name).collect();
    if let Some(other) = names.iter().find(|name| !name.ends_with(".service")) {
        return cx.not_simulated(&format!("a unit that is no service, such as `{other}`,"));
    }
    let needs_names = !matches!(verb, "status" | "list-units" | "list-unit-files" | "daemon-reload" | "show");
    if needs_names && names.is_empty() {
        return match verb {
            "reboot" | "poweroff" | "halt" | "kexec" => cx.not_simulated(&format!("`{verb}`")),
            _ => Done::fail(1, "Too few arguments.\n"),
        };
    }
    match verb {
        "status" => status(cx, &names, &options),
        "start" | "stop" | "restart" | "reload" | "try-restart" | "reload-or-restart" => {
            change(cx, verb, &names)
        }
        "enable" | "disable" | "reenable" | "mask" | "unmask" => {
            install(cx, verb, &names, options.has("now"))
        }
        "is-active" => {
            ask(cx, &names, &options, 3, |unit| (active_word(unit), unit.active == Active::Active))
        }
        "is-failed" => {
            ask(cx, &names, &options, 1, |unit| (active_word(unit), unit.active == Active::Failed))
        }
        "is-enabled" => is_enabled(cx, &names, &options),
        "daemon-reload" => {
            cx.host.reload_units();
            Done::default()
        }
        "list-units" => list(cx, &options),
        "list-unit-files" => list_files(cx, &options, &names),
        "cat" => cat(cx, &names),
        "show" => show(cx, &names, &options),
        verb => cx.not_simulated(&format!("`{verb}`")),
    }
}

fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

fn active_word(unit: &Unit) -> &'static str {
    match unit.active {
        Active::Active => "active",
        Active::Inactive => "inactive",
        Active::Failed => "failed",
        Active::Activating => "activating",
    }
}

fn load_word(unit: &Unit) -> &'static str {
    match unit.load {
        Load::Loaded => "loaded",
        Load::NotFound => "not-found",
        Load::Masked => "masked",
        Load::BadSetting => "bad-setting",
    }
}

fn enabled_word(unit: &Unit) -> &'static str {
    match unit.enabled {
        Enablement::Enabled => "enabled",
        Enablement::Disabled => "disabled",
        Enablement::Static => "static",
        Enablement::Masked => "masked",
    }
}

fn reload_warning(unit: &Unit) -> String {
    if !unit.needs_reload {
        return String::new();
    }
    format!(
        "Warning: The unit file, source configuration file or drop-ins of {} changed on disk. Run 'systemctl \
         daemon-reload' to reload units.\n",
        unit.name
    )
}

fn change(cx: &Cx, verb: &str, names: &[String]) -> Done {
    let mut done = Done::default();
    let word = match verb {
        "try-restart" | "reload-or-restart" => "restart",
        verb => verb,
    };
    for name in names {
        let unit = cx.host.unit(name);
        if let Some(unit) = &unit {
            done.err.push_str(&reload_warning(unit));
        }
        let running = unit.as_ref().is_some_and(|unit| unit.active == Active::Active);
        let result = match verb {
            "start" => cx.host.start_unit(name),
            "stop" => cx.host.stop_unit(name),
            "try-restart" if !running => Ok(()),
            "reload" => match unit {
                None => Err(UnitError::NotFound(name.clone())),
                Some(_) => {
                    done.err.push_str(&format!(
                        "Failed to reload {name}: Job type reload is not applicable for unit {name}.\n"
                    ));
                    done.status = 1;
                    continue;
                }
            },
            _ => cx.host.restart_unit(name),
        };
        if let Err(error) = result {
            let (text, status) = match &error {
                UnitError::Failed(_) => (
                    format!(
                        "{error}\nSee \"systemctl status {name}\" and \"journalctl -xeu {name}\" for details.\n"
                    ),
                    1,
                ),
                UnitError::NotFound(_) => (format!("Failed to {word} {name}: {error}\n"), 5),
                UnitError::BadSetting(_) => (
                    format!(
                        "Failed to {word} {name}: {error}\nSee system logs and 'systemctl status {name}' for \
                         details.\n"
                    ),
                    1,
                ),
                UnitError::Masked(_) | UnitError::Files(..) => {
                    (format!("Failed to {word} {name}: {error}\n"), 1)
                }
            };
            done.err.push_str(&text);
            done.status = status;
        }
    }
    done
}

fn install(cx: &Cx, verb: &str, names: &[String], now: bool) -> Done {
    let mut done = Done::default();
    let created = |link: &str, target: &str| format!("Created symlink {link} → {target}.\n");
    let removed = |link: &str| format!("Removed \"{link}\".\n");
    for name in names {
        let result = match verb {
            "enable" | "reenable" => cx.host.enable_unit(name).map(|links| {
                let is_static = cx.host.unit(name).is_some_and(|unit| unit.enabled == Enablement::Static);
                if is_static {
                    return "The unit files have no installation config (WantedBy=, RequiredBy=, Also=,\nAlias= \
                            settings in the [Install] section, and DefaultInstance= for template\nunits). This \
                            means they are not meant to be enabled or disabled using systemctl.\n"
                        .to_owned();
                }
                links.iter().map(|(link, target)| created(link, target)).collect()
            }),
            "disable" => {
                cx.host.disable_unit(name).map(|links| links.iter().map(|link| removed(link)).collect())
            }
            "mask" => cx.host.mask_unit(name).map(|link| created(&link, "/dev/null")),
            _ => cx.host.unmask_unit(name).map(|link| link.map(|link| removed(&link)).unwrap_or_default()),
        };
        match result {
            Ok(said) => done.err.push_str(&said),
            Err(error) => {
                let text = match error {
                    UnitError::NotFound(name) => {
                        format!("Failed to {verb} unit: Unit file {name} does not exist.\n")
                    }
                    UnitError::Masked(name) => {
                        format!("Failed to {verb} unit: Unit file /etc/systemd/system/{name} is masked.\n")
                    }
                    UnitError::Files(_, text) => format!("Failed to {verb} unit: {text}\n"),
                    other => format!("Failed to {verb} unit: {other}\n"),
                };
                done.err.push_str(&text);
                done.status = 1;
            }
        }
    }
    if now && done.status == 0 {
        let verb = if matches!(verb, "enable" | "reenable" | "unmask") { "start" } else { "stop" };
        let then = change(cx, verb, names);
        done.err.push_str(&then.err);
        done.status = then.status;
    }
    done
}

fn ask(
    cx: &Cx,
    names: &[String],
    options: &Options,
    otherwise: u8,
    answer: impl Fn(&Unit) -> (&'static str, bool),
) -> Done {
    let mut done = Done { status: otherwise, ..Done::default() };
    for name in names {
        let (word, holds) = match cx.host.unit(name) {
            Some(unit) => answer(&unit),
            None => {
                if otherwise == 3 {
                    done.status = 4;
                }
                ("inactive", false)
            }
        };
        if !options.has("quiet") {
            done.say(&format!("{word}\n"));
        }
        if holds {
            done.status = 0;
        }
    }
    done
}

fn is_enabled(cx: &Cx, names: &[String], options: &Options) -> Done {
    let mut done = Done { status: 1, ..Done::default() };
    for name in names {
        match cx.host.unit(name) {
            Some(unit) => {
                if !options.has("quiet") {
                    done.say(&format!("{}\n", enabled_word(&unit)));
                }
                if matches!(unit.enabled, Enablement::Enabled | Enablement::Static) {
                    done.status = 0;
                }
            }
            None => done
                .err
                .push_str(&format!("Failed to get unit file state for {name}: No such file or directory\n")),
        }
    }
    done
}

fn status(cx: &Cx, names: &[String], options: &Options) -> Done {
    let mut done = Done::default();
    if names.is_empty() {
        return cx.not_simulated("`status` of the whole machine");
    }
    let lines = options.get("lines").and_then(|lines| lines.parse().ok()).unwrap_or(10);
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            done.say("\n");
        }
        match cx.host.unit(name) {
            Some(unit) => {
                done.err.push_str(&reload_warning(&unit));
                done.say(&describe(cx, &unit, lines));
                if unit.active != Active::Active {
                    done.status = 3;
                }
            }
            None => {
                done.err.push_str(&format!("Unit {name} could not be found.\n"));
                done.status = 4;
            }
        }
    }
    done
}

/// A unit as `systemctl status` shows it.
fn describe(cx: &Cx, unit: &Unit, lines: usize) -> String {
    let mut out = String::new();
    let dot = match unit.active {
        Active::Failed => '×',
        Active::Inactive => '○',
        Active::Active | Active::Activating => '●',
    };
    let mut line = |name: &str, value: &str| out.push_str(&format!("{name:>12} {value}\n"));
    let loaded = match unit.load {
        Load::Loaded => {
            format!("loaded ({}; {}; preset: enabled)", unit.path, enabled_word(unit))
        }
        Load::Masked => format!("masked (Reason: Unit {} is masked.)", unit.name),
        Load::NotFound => format!("not-found (Reason: Unit {} not found.)", unit.name),
        Load::BadSetting => format!("bad-setting (Reason: Unit {} has a bad unit file setting.)", unit.name),
    };
    line("Loaded:", &loaded);
    let mut folders: Vec<(&str, Vec<&str>)> = Vec::new();
    for drop_in in &unit.drop_ins {
        let (folder, file) = drop_in.rsplit_once('/').unwrap_or(("", drop_in));
        match folders.iter_mut().find(|(known, _)| *known == folder) {
            Some((_, files)) => files.push(file),
            None => folders.push((folder, vec![file])),
        }
    }
    for (index, (folder, files)) in folders.iter().enumerate() {
        line(if index == 0 { "Drop-In:" } else { "" }, folder);
        line("", &format!("└─{}", files.join(", ")));
    }
    let now = cx.host.now();
    let since = unit.since.map(|at| {
        let ago = now.as_second() - at.as_second();
        format!(" since {}; {} ago", at.strftime("%a %Y-%m-%d %H:%M:%S UTC"), span(ago))
    });
    let since = since.unwrap_or_default();
    let result = match (&unit.exit, unit.active) {
        (Some(exit), Active::Failed | Active::Activating) => {
            format!(" (Result: {})", if exit.status == 0 { "success" } else { "exit-code" })
        }
        _ => String::new(),
    };
    line("Active:", &format!("{} ({}){result}{since}", active_word(unit), unit.sub));
    for (index, docs) in unit.docs.iter().enumerate() {
        line(if index == 0 { "Docs:" } else { "" }, docs);
    }
    if let Some(exit) = unit.exit.as_ref().filter(|_| unit.active != Active::Active) {
        let word = if exit.status == 0 { "SUCCESS" } else { exit.word.as_str() };
        let ended = format!("(code=exited, status={}/{word})", exit.status);
        let command = unit.exec_start.last().map(String::as_str).unwrap_or_default();
        line("Process:", &format!("{} ExecStart={command} {ended}", exit.pid));
        line("Main PID:", &format!("{} {ended}", exit.pid));
    }
    if let Some(pid) = unit.main_pid {
        let program = unit.command.first().map(String::as_str).unwrap_or_default();
        let program: String = program.rsplit('/').next().unwrap_or_default().chars().take(15).collect();
        line("Main PID:", &format!("{pid} ({program})"));
        line("Tasks:", "12 (limit: 28909)");
        line("Memory:", "40.0M");
        line("CGroup:", &format!("/system.slice/{}", unit.name));
        line("", &format!("└─{pid} {}", unit.command.join(" ")));
    }
    let journal = cx.host.journal(Some(&unit.name), 0);
    let last: Vec<String> = journal
        .iter()
        .skip(journal.len().saturating_sub(lines))
        .map(|entry| journalctl::short(cx.host.name(), entry))
        .collect();
    let tail = if last.is_empty() { String::new() } else { format!("\n{}\n", last.join("\n")) };
    format!("{dot} {} - {}\n{out}{tail}", unit.name, unit.description)
}

fn list(cx: &Cx, options: &Options) -> Done {
    if let Some(kind) = options.get("type").filter(|kind| *kind != "service") {
        return cx.not_simulated(&format!("listing units of type `{kind}`"));
    }
    let state = options.get("state");
    let shown = |unit: &Unit| match state {
        Some(state) => state
            .split(',')
            .any(|state| [active_word(unit), unit.sub.as_str(), load_word(unit)].contains(&state)),
        None => options.has("all") || !matches!(unit.active, Active::Inactive),
    };
    let units: Vec<Unit> = cx.host.units().into_iter().filter(shown).collect();
    let mark =
        |unit: &Unit| if unit.active == Active::Failed || unit.load != Load::Loaded { "●" } else { " " };
    let mut rows = Vec::new();
    if !options.has("no-legend") {
        rows.push(["  UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"].map(str::to_owned).to_vec());
    }
    rows.extend(units.iter().map(|unit| {
        vec![
            format!("{} {}", mark(unit), unit.name),
            load_word(unit).to_owned(),
            active_word(unit).to_owned(),
            unit.sub.clone(),
            unit.description.clone(),
        ]
    }));
    let mut out = columns(&rows, 0, 1);
    if !options.has("no-legend") {
        out.push_str(&format!(
            "\nLOAD   = Reflects whether the unit definition was properly loaded.\nACTIVE = The high-level unit \
             activation state, i.e. generalization of SUB.\nSUB    = The low-level unit activation state, values \
             depend on unit type.\n{} loaded units listed.\n",
            units.len()
        ));
        if !options.has("all") && state.is_none() {
            out.truncate(out.trim_end().len());
            out.push_str(" Pass --all to see loaded but inactive units, too.\n");
            out.push_str("To show all installed unit files use 'systemctl list-unit-files'.\n");
        }
    }
    Done::out(out)
}

fn list_files(cx: &Cx, options: &Options, names: &[String]) -> Done {
    if let Some(kind) = options.get("type").filter(|kind| *kind != "service") {
        return cx.not_simulated(&format!("listing unit files of type `{kind}`"));
    }
    let state = options.get("state");
    let shown = |unit: &Unit| {
        state.is_none_or(|state| state.split(',').any(|state| state == enabled_word(unit)))
            && (names.is_empty() || names.contains(&unit.name))
    };
    let units: Vec<Unit> = cx.host.units().into_iter().filter(shown).collect();
    let mut rows = Vec::new();
    if !options.has("no-legend") {
        rows.push(["UNIT FILE", "STATE", "PRESET"].map(str::to_owned).to_vec());
    }
    rows.extend(units.iter().map(|unit| {
        let preset = if unit.enabled == Enablement::Static { "-" } else { "enabled" };
        vec![unit.name.clone(), enabled_word(unit).to_owned(), preset.to_owned()]
    }));
    let mut out = columns(&rows, 0, 1);
    if !options.has("no-legend") {
        out.push_str(&format!("\n{} unit files listed.\n", units.len()));
    }
    Done::out(out)
}

fn cat(cx: &Cx, names: &[String]) -> Done {
    let mut done = Done::default();
    for name in names {
        let Some(unit) = cx.host.unit(name) else {
            done.err.push_str(&format!("No files found for {name}.\n"));
            done.status = 1;
            continue;
        };
        for (index, path) in std::iter::once(&unit.path).chain(&unit.drop_ins).enumerate() {
            let text = cx.host.tree().read_text(path).unwrap_or_default();
            let gap = if index > 0 { "\n" } else { "" };
            done.say(&format!("{gap}# {path}\n{}\n", text.trim_end_matches('\n')));
        }
    }
    done
}

fn show(cx: &Cx, names: &[String], options: &Options) -> Done {
    let wanted: Vec<&str> = options.all("property").iter().flat_map(|list| list.split(',')).collect();
    let mut done = Done::default();
    if names.is_empty() {
        return cx.not_simulated("`show` without a unit");
    }
    for name in names {
        let unit = cx.host.unit(name);
        let text = |value: Option<String>| value.unwrap_or_default();
        let at = |unit: &Unit| unit.since.map(|at| at.strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string());
        let known: Vec<(&str, String)> = match &unit {
            None => vec![
                ("Id", name.clone()),
                ("LoadState", "not-found".to_owned()),
                ("ActiveState", "inactive".to_owned()),
                ("SubState", "dead".to_owned()),
                ("UnitFileState", String::new()),
                ("MainPID", "0".to_owned()),
            ],
            Some(unit) => vec![
                ("Id", unit.name.clone()),
                ("Names", unit.name.clone()),
                ("Description", unit.description.clone()),
                ("Documentation", unit.docs.join(" ")),
                ("LoadState", load_word(unit).to_owned()),
                ("ActiveState", active_word(unit).to_owned()),
                ("SubState", unit.sub.clone()),
                ("FragmentPath", unit.path.clone()),
                ("DropInPaths", unit.drop_ins.join(" ")),
                ("UnitFileState", enabled_word(unit).to_owned()),
                ("MainPID", unit.main_pid.unwrap_or_default().to_string()),
                ("ExecMainStatus", unit.exit.as_ref().map_or(0, |exit| exit.status).to_string()),
                ("NRestarts", unit.restarts.to_string()),
                ("NeedDaemonReload", if unit.needs_reload { "yes" } else { "no" }.to_owned()),
                ("ActiveEnterTimestamp", text(at(unit).filter(|_| unit.active == Active::Active))),
                ("ExecStart", unit.exec_start.join(" ; ")),
            ],
        };
        if let Some(missing) = wanted.iter().find(|wanted| !known.iter().any(|(name, _)| name == *wanted))
            && unit.is_some()
        {
            return cx.not_simulated(&format!("property `{missing}`"));
        }
        for (name, value) in known.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
            let line = if options.has("value") { format!("{value}\n") } else { format!("{name}={value}\n") };
            done.say(&line);
        }
    }
    done
}
