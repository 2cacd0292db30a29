//! `ps`, `pgrep`, `pidof`, `ss` and `netstat`: the processes of a node and where they listen.

use super::options::{Known, Options};
use super::{Cx, Done};
use crate::sim::node::host::{Listener, NodeProcess};

/// `ps aux`, `ps -ef`, `ps -e -o pid,args`, `ps -C name`, `ps -p pid`.
pub(super) fn ps(cx: &Cx) -> Done {
    let mut args: Vec<String> = cx.args().to_vec();
    let mut bsd = String::new();
    // Letters without a dash are the other family of options.
    if let Some(first) = args.first().filter(|first| first.chars().all(|c| "auxwfeT".contains(c))) {
        bsd.clone_from(first);
        args.remove(0);
    }
    let known: &[Known] = &[
        ("every", Some('e'), false),
        ("all", Some('A'), false),
        ("full", Some('f'), false),
        ("extra", Some('F'), false),
        ("long", Some('l'), false),
        ("wide", Some('w'), false),
        ("format", Some('o'), true),
        ("pid", Some('p'), true),
        ("command", Some('C'), true),
        ("user", Some('u'), true),
        ("no-headers", None, false),
        ("sort", None, true),
        ("forest", None, false),
    ];
    // `-aux` is what many type for `aux`.
    if args.first().is_some_and(|arg| arg == "-aux" || arg == "-auxww") {
        "aux".clone_into(&mut bsd);
        args.remove(0);
    }
    let options = match Options::read(&args, known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    if let Some(word) = options.rest.first() {
        return cx.not_simulated(&format!("`{word}`"));
    }
    for refused in ["long", "extra", "sort", "forest"] {
        if options.has(refused) {
            return cx.not_simulated(&format!("option `{refused}`"));
        }
    }
    let mut all = cx.host.processes();
    if let Some(pids) = options.get("pid") {
        let pids: Vec<u32> = pids.split(',').filter_map(|pid| pid.trim().parse().ok()).collect();
        all.retain(|process| pids.contains(&process.pid));
    } else if let Some(name) = options.get("command") {
        all.retain(|process| process.name == name);
    } else if let Some(user) = options.get("user") {
        all.retain(|process| process.user == user);
    } else if bsd.is_empty() && !options.has("every") && !options.has("all") {
        return cx
            .not_simulated("`ps` of a terminal's own processes; `ps aux` and `ps -ef` show the node's,");
    }
    let none = all.is_empty();
    let started = cx.host.booted().strftime("%H:%M").to_string();
    let mut out = String::new();
    if let Some(format) = options.get("format") {
        let fields: Vec<&str> = format.split(',').map(|field| field.trim_end_matches('=')).collect();
        let value = |process: &NodeProcess, field: &str| match field {
            "pid" => Some(format!("{:>7}", process.pid)),
            "ppid" => Some(format!("{:>7}", process.parent)),
            "user" | "uname" | "euser" | "ruser" => Some(format!("{:<8}", process.user)),
            "comm" | "ucmd" => Some(format!("{:<15}", process.name)),
            "args" | "cmd" | "command" => Some(process.command.join(" ")),
            _ => None,
        };
        let head = |field: &str| match field {
            "pid" => "    PID".to_owned(),
            "ppid" => "   PPID".to_owned(),
            "user" | "uname" | "euser" | "ruser" => format!("{:<8}", "USER"),
            "comm" | "ucmd" => format!("{:<15}", "COMMAND"),
            "cmd" => "CMD".to_owned(),
            _ => "COMMAND".to_owned(),
        };
        let unknown = fields.iter().find(|field| {
            !["pid", "ppid", "user", "uname", "euser", "ruser", "comm", "ucmd", "args", "cmd", "command"]
                .contains(field)
        });
        if let Some(field) = unknown {
            return cx.not_simulated(&format!("column `{field}`"));
        }
        if !options.has("no-headers") && !format.ends_with('=') {
            let heads: Vec<String> = fields.iter().map(|field| head(field)).collect();
            out.push_str(&format!("{}\n", heads.join(" ").trim_end()));
        }
        for process in &all {
            let cells: Vec<String> = fields.iter().filter_map(|field| value(process, field)).collect();
            out.push_str(&format!("{}\n", cells.join(" ").trim_end()));
        }
    } else if bsd.contains('u') {
        out.push_str("USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n");
        for process in &all {
            out.push_str(&format!(
                "{:<8} {:>7}  0.1  0.4 125484 36420 ?        Ssl  {started}   0:01 {}\n",
                process.user,
                process.pid,
                process.command.join(" ")
            ));
        }
    } else if options.has("full") {
        out.push_str("UID          PID    PPID  C STIME TTY          TIME CMD\n");
        for process in &all {
            out.push_str(&format!(
                "{:<8} {:>7} {:>7}  0 {started} ?        00:00:01 {}\n",
                process.user,
                process.pid,
                process.parent,
                process.command.join(" ")
            ));
        }
    } else {
        out.push_str("    PID TTY          TIME CMD\n");
        for process in &all {
            out.push_str(&format!("{:>7} ?        00:00:01 {}\n", process.pid, process.name));
        }
    }
    Done { status: u8::from(none), ..Done::out(out) }
}

/// `pgrep [-a] [-f] [-l] [-x] PATTERN`.
pub(super) fn pgrep(cx: &Cx) -> Done {
    let known: &[Known] = &[
        ("list-full", Some('a'), false),
        ("full", Some('f'), false),
        ("list-name", Some('l'), false),
        ("exact", Some('x'), false),
    ];
    let options = match Options::read(cx.args(), known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    let [pattern] = options.rest.as_slice() else {
        return Done::fail(2, "pgrep: only one pattern can be provided\n");
    };
    let pattern = if options.has("exact") { format!("^(?:{pattern})$") } else { pattern.clone() };
    let Ok(pattern) = regex::Regex::new(&pattern) else {
        return Done::fail(2, "pgrep: bad pattern\n");
    };
    let mut out = String::new();
    for process in cx.host.processes() {
        let line = process.command.join(" ");
        let text = if options.has("full") { &line } else { &process.name };
        if pattern.is_match(text) {
            let rest = match (options.has("list-full"), options.has("list-name")) {
                (true, _) => format!(" {line}"),
                (false, true) => format!(" {}", process.name),
                _ => String::new(),
            };
            out.push_str(&format!("{}{rest}\n", process.pid));
        }
    }
    Done { status: u8::from(out.is_empty()), ..Done::out(out) }
}

/// `pidof NAME...`.
pub(super) fn pidof(cx: &Cx) -> Done {
    if let Some(option) = cx.args().iter().find(|arg| arg.starts_with('-')) {
        return cx.not_simulated(&format!("option `{option}`"));
    }
    let pids: Vec<String> = cx
        .host
        .processes()
        .iter()
        .rev()
        .filter(|process| {
            let program =
                process.command.first().map_or("", |word| word.rsplit('/').next().unwrap_or_default());
            cx.args().iter().any(|name| *name == process.name || name == program)
        })
        .map(|process| process.pid.to_string())
        .collect();
    match pids.is_empty() {
        true => Done { status: 1, ..Done::default() },
        false => Done::out(format!("{}\n", pids.join(" "))),
    }
}

/// `pkill`, `killall`: a node's processes are those of its units and containers, which are stopped by their own tools.
pub(super) fn kill(cx: &Cx) -> Done {
    cx.not_simulated("ending processes by name: stop their unit, or the Pod that they belong to,")
}

struct Wanted {
    tcp: bool,
    udp: bool,
    listening: bool,
    processes: bool,
}

fn wanted(cx: &Cx) -> Result<(Wanted, Vec<String>), Done> {
    let known: &[Known] = &[
        ("tcp", Some('t'), false),
        ("udp", Some('u'), false),
        ("listening", Some('l'), false),
        ("numeric", Some('n'), false),
        ("processes", Some('p'), false),
        ("all", Some('a'), false),
        ("programs", None, false),
        ("program", None, false),
        ("no-header", Some('H'), false),
        ("wide", Some('W'), false),
        ("ipv4", Some('4'), false),
        ("ipv6", Some('6'), false),
        ("extend", Some('e'), false),
        ("oneline", Some('O'), false),
    ];
    let options =
        Options::read(cx.args(), known).map_err(|option| cx.not_simulated(&format!("option `{option}`")))?;
    let both = !options.has("tcp") && !options.has("udp");
    let wanted = Wanted {
        tcp: options.has("tcp") || both,
        udp: options.has("udp") || both,
        listening: options.has("listening") || options.has("all"),
        processes: options.has("processes") || options.has("programs") || options.has("program"),
    };
    if !wanted.listening {
        return Err(cx.not_simulated("anything but listening sockets (`-l`)"));
    }
    Ok((wanted, options.rest))
}

fn chosen(cx: &Cx, wanted: &Wanted) -> Vec<Listener> {
    let mut all = cx.host.listeners();
    all.retain(|listener| match listener.protocol.as_str() {
        "udp" => wanted.udp,
        _ => wanted.tcp,
    });
    all
}

/// `ss -ltnp`, with `sport = :PORT` as its filter.
pub(super) fn ss(cx: &Cx) -> Done {
    let (wanted, rest) = match wanted(cx) {
        Ok(wanted) => wanted,
        Err(done) => return done,
    };
    let mut all = chosen(cx, &wanted);
    let filter = rest.join(" ");
    let filter = filter.trim_matches(['(', ')', ' ', '\'']);
    if !filter.is_empty() {
        let port =
            filter.strip_prefix("sport").map(|rest| rest.trim_start_matches([' ', '=', ':', 'e', 'q']));
        let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else {
            return cx.not_simulated(&format!("the filter `{filter}`"));
        };
        all.retain(|listener| listener.port == port);
    }
    let both = wanted.tcp && wanted.udp;
    let local = |listener: &Listener| format!("{}:{}", listener.address, listener.port);
    let peer = |listener: &Listener| if listener.address == "*" { "*:*" } else { "0.0.0.0:*" };
    let left = all.iter().map(|listener| listener.address.len()).max().unwrap_or(0).max(13);
    let mut out = String::new();
    if !cx.args().iter().any(|arg| arg.starts_with('-') && !arg.starts_with("--") && arg.contains('H')) {
        let netid = if both { "Netid " } else { "" };
        out.push_str(&format!(
            "{netid}State  Recv-Q Send-Q {:>left$}:Port  Peer Address:Port{}\n",
            "Local Address",
            if wanted.processes { "Process" } else { "" }
        ));
    }
    for listener in &all {
        let netid = if both { format!("{:<6}", listener.protocol) } else { String::new() };
        let (state, queue) = if listener.protocol == "udp" { ("UNCONN", "0") } else { ("LISTEN", "4096") };
        let users = match wanted.processes {
            true => format!("users:((\"{}\",pid={},fd=12))", listener.process, listener.pid),
            false => String::new(),
        };
        let address = local(listener);
        let width = left + 1 + listener.port.to_string().len();
        let line = format!(
            "{netid}{state:<6} 0      {queue:<6} {address:>width$} {:>pad$}    {users}",
            peer(listener),
            pad = 18_usize.saturating_sub(listener.port.to_string().len())
        );
        out.push_str(&format!("{}\n", line.trim_end()));
    }
    Done::out(out)
}

/// `netstat -tulpn`.
pub(super) fn netstat(cx: &Cx) -> Done {
    let (wanted, rest) = match wanted(cx) {
        Ok(wanted) => wanted,
        Err(done) => return done,
    };
    if let Some(word) = rest.first() {
        return cx.not_simulated(&format!("`{word}`"));
    }
    let mut out =
        "Active Internet connections (only servers)\nProto Recv-Q Send-Q Local Address           Foreign \
                   Address         State      "
            .to_owned();
    out.push_str(if wanted.processes { " PID/Program name    \n" } else { "\n" });
    for listener in chosen(cx, &wanted) {
        let any = listener.address == "*";
        let protocol = if any { format!("{}6", listener.protocol) } else { listener.protocol.clone() };
        let address = if any {
            format!(":::{}", listener.port)
        } else {
            format!("{}:{}", listener.address, listener.port)
        };
        let peer = if any { ":::*" } else { "0.0.0.0:*" };
        let state = if listener.protocol == "udp" { "" } else { "LISTEN" };
        let program = match wanted.processes {
            true => format!("{:<20}", format!("{}/{}", listener.pid, listener.process)),
            false => String::new(),
        };
        out.push_str(&format!(
            "{protocol:<5}      0      0 {address:<23} {peer:<23} {state:<11} {program}\n"
        ));
    }
    Done::out(out)
}
