//! `ufw` and `iptables`: sets of rules that are kept and shown. No packet ever meets them.

use super::options::{Known, Options};
use super::{Cx, Done};

const UFW: &str = "/etc/ufw/ufw.conf";
const UFW_RULES: &str = "/etc/ufw/user.rules";
const UFW_DEFAULTS: &str = "/etc/default/ufw";
/// Services that ufw knows by name.
const SERVICES: [(&str, &str); 8] = [
    ("ssh", "22/tcp"),
    ("openssh", "22/tcp"),
    ("http", "80/tcp"),
    ("https", "443/tcp"),
    ("dns", "53"),
    ("domain", "53"),
    ("ntp", "123/udp"),
    ("smtp", "25/tcp"),
];

/// A rule of ufw, as its own file has it behind `### tuple ###`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    action: String,
    protocol: String,
    to_port: String,
    to: String,
    from_port: String,
    from: String,
    direction: String,
}

impl Rule {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.strip_prefix("### tuple ### ")?.split_whitespace().collect();
        let [action, protocol, to_port, to, from_port, from, direction] = words.as_slice() else {
            return None;
        };
        let own = |text: &&str| (*text).to_owned();
        Some(Self {
            action: own(action),
            protocol: own(protocol),
            to_port: own(to_port),
            to: own(to),
            from_port: own(from_port),
            from: own(from),
            direction: own(direction),
        })
    }

    fn line(&self) -> String {
        let Self { action, protocol, to_port, to, from_port, from, direction } = self;
        format!("### tuple ### {action} {protocol} {to_port} {to} {from_port} {from} {direction}")
    }

    /// Its three columns in `ufw status`.
    fn cells(&self, verbose: bool) -> (String, String, String) {
        let side = |address: &str, port: &str| {
            let protocol = if self.protocol == "any" { String::new() } else { format!("/{}", self.protocol) };
            match (address, port) {
                (ANY, "any") => "Anywhere".to_owned(),
                (ANY, port) => format!("{port}{protocol}"),
                (address, "any") => address.to_owned(),
                (address, port) => format!("{address} {port}{protocol}"),
            }
        };
        let direction = match (self.direction.as_str(), verbose) {
            ("out", _) => " OUT",
            (_, true) => " IN",
            _ => "",
        };
        let action = format!("{}{direction}", self.action.to_uppercase());
        (side(&self.to, &self.to_port), action, side(&self.from, &self.from_port))
    }
}

const ANY: &str = "0.0.0.0/0";

fn rules(cx: &Cx) -> Vec<Rule> {
    let text = cx.host.tree().read_text(UFW_RULES).unwrap_or_default();
    text.lines().filter_map(Rule::read).collect()
}

fn save(cx: &Cx, rules: &[Rule]) -> Result<(), Done> {
    let body: String = rules.iter().map(|rule| format!("\n{}\n", rule.line())).collect();
    let text = format!(
        "*filter\n:ufw-user-input - [0:0]\n:ufw-user-output - [0:0]\n### RULES ###\n{body}\n### END RULES ###\nCOMMIT\n"
    );
    write(cx, UFW_RULES, &text, 0o640)
}

fn write(cx: &Cx, path: &str, text: &str, mode: u32) -> Result<(), Done> {
    cx.host
        .tree()
        .write(path, text, mode)
        .map_err(|error| Done::fail(1, format!("ERROR: couldn't write '{path}': {error}\n")))
}

fn setting(cx: &Cx, path: &str, name: &str) -> Option<String> {
    let text = cx.host.tree().read_text(path).ok()?;
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned))?;
    Some(line.trim_matches('"').to_owned())
}

fn set(cx: &Cx, path: &str, name: &str, value: &str) -> Result<(), Done> {
    let text = cx.host.tree().read_text(path).unwrap_or_default();
    let other = text.lines().filter(|line| !line.trim().starts_with(&format!("{name}=")));
    let text: String = other.map(|line| format!("{line}\n")).collect();
    write(cx, path, &format!("{text}{name}={value}\n"), 0o644)
}

/// `ufw`.
pub(super) fn ufw(cx: &Cx) -> Done {
    ufw_result(cx).unwrap_or_else(|done| done)
}

fn ufw_result(cx: &Cx) -> Result<Done, Done> {
    let mut words: Vec<&str> = cx.args().iter().map(String::as_str).collect();
    let force = words.first() == Some(&"--force");
    if force {
        words.remove(0);
    }
    if words.first() == Some(&"--dry-run") {
        return Err(cx.not_simulated("option `--dry-run`"));
    }
    let enabled = setting(cx, UFW, "ENABLED").as_deref() == Some("yes");
    let ask = |question: &str| -> Result<bool, Done> {
        if force || !cx.ask.terminal {
            return Ok(true);
        }
        Err(Done::fail(
            1,
            format!("{question} this question is not asked here: use `ufw --force {}`\n", words.join(" ")),
        ))
    };
    match words.as_slice() {
        ["status"] => Ok(ufw_status(cx, enabled, false, false)),
        ["status", "verbose"] => Ok(ufw_status(cx, enabled, true, false)),
        ["status", "numbered"] => Ok(ufw_status(cx, enabled, false, true)),
        ["enable"] => {
            ask("Command may disrupt existing ssh connections.")?;
            set(cx, UFW, "ENABLED", "yes")?;
            Ok(Done::out("Firewall is active and enabled on system startup\n"))
        }
        ["disable"] => {
            set(cx, UFW, "ENABLED", "no")?;
            Ok(Done::out("Firewall stopped and disabled on system startup\n"))
        }
        ["reload"] => Ok(Done::out(if enabled {
            "Firewall reloaded\n"
        } else {
            "Firewall not enabled (skipping reload)\n"
        })),
        ["reset"] => {
            ask("Resetting all rules to installed defaults.")?;
            save(cx, &[])?;
            set(cx, UFW, "ENABLED", "no")?;
            Ok(Done::out("Resetting all rules to installed defaults.\n"))
        }
        ["default", policy] => default(cx, policy, "incoming"),
        ["default", policy, direction] => default(cx, policy, direction),
        ["delete", number] if number.parse::<usize>().is_ok() => {
            let mut all = rules(cx);
            let index: usize = number.parse().unwrap_or_default();
            if index == 0 || index > all.len() {
                return Err(Done::fail(1, format!("ERROR: Could not find rule '{number}'\n")));
            }
            all.remove(index - 1);
            save(cx, &all)?;
            Ok(Done::out("Rule deleted\n"))
        }
        ["delete", rest @ ..] => {
            let rule = rule(cx, rest)?;
            let mut all = rules(cx);
            let before = all.len();
            all.retain(|other| *other != rule);
            if all.len() == before {
                return Err(Done::fail(1, "Could not delete non-existent rule\n".to_owned()));
            }
            save(cx, &all)?;
            Ok(Done::out("Rule deleted\n"))
        }
        ["insert", number, rest @ ..] => {
            let rule = rule(cx, rest)?;
            let mut all = rules(cx);
            let index: usize = number.parse().unwrap_or_default();
            if index == 0 || index > all.len() {
                return Err(Done::fail(1, format!("ERROR: Invalid position '{number}'\n")));
            }
            all.insert(index - 1, rule);
            save(cx, &all)?;
            Ok(Done::out("Rule inserted\n"))
        }
        [action, ..] if ["allow", "deny", "reject", "limit"].contains(action) => {
            let rule = rule(cx, &words)?;
            let mut all = rules(cx);
            if all.contains(&rule) {
                return Ok(Done::out("Skipping adding existing rule\n"));
            }
            all.push(rule);
            save(cx, &all)?;
            Ok(Done::out(if enabled { "Rule added\n" } else { "Rules updated\n" }))
        }
        [] => Err(Done::fail(1, "ERROR: not enough args\n".to_owned())),
        [verb, ..] => Err(cx.not_simulated(&format!("`{verb}`"))),
    }
}

fn default(cx: &Cx, policy: &str, direction: &str) -> Result<Done, Done> {
    let value = match policy {
        "allow" => "ACCEPT",
        "deny" => "DROP",
        "reject" => "REJECT",
        _ => return Err(Done::fail(1, "ERROR: Invalid syntax\n".to_owned())),
    };
    let (name, word) = match direction {
        "incoming" | "in" | "input" => ("DEFAULT_INPUT_POLICY", "incoming"),
        "outgoing" | "out" | "output" => ("DEFAULT_OUTPUT_POLICY", "outgoing"),
        "routed" => ("DEFAULT_FORWARD_POLICY", "routed"),
        _ => return Err(Done::fail(1, "ERROR: Invalid syntax\n".to_owned())),
    };
    set(cx, UFW_DEFAULTS, name, &format!("\"{value}\""))?;
    Ok(Done::out(format!(
        "Default {word} policy changed to '{policy}'\n(be sure to update your rules accordingly)\n"
    )))
}

/// Reads `allow [in|out] [proto P] [from A [port N]] [to B [port N]]` and the short `allow 22/tcp`.
fn rule(cx: &Cx, words: &[&str]) -> Result<Rule, Done> {
    let wrong = || Done::fail(1, "ERROR: Invalid syntax\n".to_owned());
    let (action, mut rest) = words.split_first().ok_or_else(wrong)?;
    let mut rule = Rule {
        action: (*action).to_owned(),
        protocol: "any".to_owned(),
        to_port: "any".to_owned(),
        to: ANY.to_owned(),
        from_port: "any".to_owned(),
        from: ANY.to_owned(),
        direction: "in".to_owned(),
    };
    if let [direction @ ("in" | "out"), after @ ..] = rest {
        (*direction).clone_into(&mut rule.direction);
        rest = after;
    }
    if rest.first() == Some(&"on") {
        return Err(cx.not_simulated("a rule for one interface"));
    }
    if let [one] = rest {
        let known =
            SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(one)).map_or(*one, |(_, port)| port);
        let (port, protocol) = known.split_once('/').unwrap_or((known, "any"));
        if !is_port(port) || !["tcp", "udp", "any"].contains(&protocol) {
            return Err(Done::fail(1, format!("ERROR: Could not find a profile matching '{one}'\n")));
        }
        port.clone_into(&mut rule.to_port);
        protocol.clone_into(&mut rule.protocol);
        return Ok(rule);
    }
    let mut side = "";
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(wrong);
        match *word {
            "proto" => value()?.clone_into(&mut rule.protocol),
            "from" | "to" => {
                side = word;
                let address = value()?;
                let address = if address == "any" { ANY } else { address };
                if address.parse::<std::net::IpAddr>().is_err() && address.parse::<ipnet::IpNet>().is_err() {
                    return Err(Done::fail(1, "ERROR: Bad source address\n".to_owned()));
                }
                address.clone_into(if side == "from" { &mut rule.from } else { &mut rule.to });
            }
            "port" => {
                let port = value()?;
                if !is_port(port) {
                    return Err(Done::fail(1, format!("ERROR: Bad port '{port}'\n")));
                }
                port.clone_into(if side == "from" { &mut rule.from_port } else { &mut rule.to_port });
            }
            "comment" => {
                value()?;
            }
            _ => return Err(wrong()),
        }
    }
    Ok(rule)
}

fn is_port(text: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    text.split(',').all(|part| match part.split_once(':') {
        Some((first, last)) => number(first) && number(last),
        None => number(part),
    })
}

fn ufw_status(cx: &Cx, enabled: bool, verbose: bool, numbered: bool) -> Done {
    if !enabled {
        return Done::out("Status: inactive\n");
    }
    let mut out = "Status: active\n".to_owned();
    if verbose {
        let word = |name: &str, fallback: &str| match setting(cx, UFW_DEFAULTS, name).as_deref() {
            Some("ACCEPT") => "allow".to_owned(),
            Some("DROP") => "deny".to_owned(),
            Some("REJECT") => "reject".to_owned(),
            _ => fallback.to_owned(),
        };
        out.push_str(&format!(
            "Logging: on (low)\nDefault: {} (incoming), {} (outgoing), {} (routed)\nNew profiles: skip\n",
            word("DEFAULT_INPUT_POLICY", "deny"),
            word("DEFAULT_OUTPUT_POLICY", "allow"),
            word("DEFAULT_FORWARD_POLICY", "disabled")
        ));
    }
    let all = rules(cx);
    if all.is_empty() {
        return Done::out(out);
    }
    let pad = if numbered { "     " } else { "" };
    out.push_str(&format!("\n{pad}{:<27}{:<12}{}\n", "To", "Action", "From"));
    out.push_str(&format!("{pad}{:<27}{:<12}{}\n", "--", "------", "----"));
    for (index, rule) in all.iter().enumerate() {
        let (to, action, from) = rule.cells(verbose || numbered);
        let number = if numbered { format!("[{:>2}] ", index + 1) } else { String::new() };
        out.push_str(&format!("{number}{to:<26} {action:<12}{from}\n"));
    }
    out.push('\n');
    Done::out(out)
}

/// Where the rules of a table are kept, as `iptables-save` writes them.
fn table_file(table: &str) -> String {
    format!("/run/xtables/{table}")
}

const TABLES: [(&str, &[&str]); 3] = [
    ("filter", &["INPUT", "FORWARD", "OUTPUT"]),
    ("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]),
    ("mangle", &["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]),
];

/// A table: its chains with their policies, and the rules as they were given.
struct Table {
    name: String,
    chains: Vec<(String, String)>,
    rules: Vec<(String, Vec<String>)>,
}

impl Table {
    fn read(cx: &Cx, name: &str) -> Option<Self> {
        let (_, builtin) = TABLES.iter().find(|(table, _)| *table == name)?;
        let mut chains: Vec<(String, String)> =
            builtin.iter().map(|chain| ((*chain).to_owned(), "ACCEPT".to_owned())).collect();
        let mut rules = Vec::new();
        for line in cx.host.tree().read_text(&table_file(name)).unwrap_or_default().lines() {
            if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split_whitespace().map(str::to_owned);
                let (chain, policy) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                match chains.iter_mut().find(|(known, _)| *known == chain) {
                    Some(known) => known.1 = policy,
                    None => chains.push((chain, policy)),
                }
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let mut words = crate::sim::node::host::split_words(rule).into_iter();
                rules.push((words.next().unwrap_or_default(), words.collect()));
            }
        }
        Some(Self { name: name.to_owned(), chains, rules })
    }

    fn save(&self, cx: &Cx) -> Result<(), Done> {
        let mut text: String =
            self.chains.iter().map(|(chain, policy)| format!(":{chain} {policy} [0:0]\n")).collect();
        for (chain, rule) in &self.rules {
            text.push_str(&format!("-A {chain} {}\n", quoted(rule)));
        }
        write(cx, &table_file(&self.name), &text, 0o600)
    }

    fn has(&self, chain: &str) -> bool {
        self.chains.iter().any(|(name, _)| name == chain)
    }

    fn in_chain(&self, chain: &str) -> Vec<usize> {
        let numbered = self.rules.iter().enumerate();
        numbered.filter(|(_, (name, _))| name == chain).map(|(index, _)| index).collect()
    }
}

fn quoted(words: &[String]) -> String {
    let quote = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// `iptables`.
pub(super) fn iptables(cx: &Cx) -> Done {
    iptables_result(cx).unwrap_or_else(|done| done)
}

fn iptables_result(cx: &Cx) -> Result<Done, Done> {
    let mut words: Vec<String> = cx.args().to_vec();
    let mut name = "filter".to_owned();
    if let Some(at) = words.iter().position(|word| word == "-t" || word == "--table") {
        name = words.get(at + 1).cloned().unwrap_or_default();
        words.drain(at..(at + 2).min(words.len()));
    }
    words.retain(|word| word != "-w" && word != "--wait");
    let version = "iptables v1.8.9 (nf_tables)";
    if words.iter().any(|word| word == "-V" || word == "--version") {
        return Ok(Done::out(format!("{version}\n")));
    }
    let fail = |text: String| {
        Done::fail(
            2,
            format!("{version}: {text}\nTry `iptables -h' or 'iptables --help' for more information.\n"),
        )
    };
    let Some(mut table) = Table::read(cx, &name) else {
        return Err(Done::fail(
            3,
            format!(
                "{version}: can't initialize iptables table `{name}': Table does not exist (do you need to insmod?)\nPerhaps iptables or your kernel needs to be upgraded.\n"
            ),
        ));
    };
    let known: [(&str, &str); 12] = [
        ("-A", "--append"),
        ("-I", "--insert"),
        ("-D", "--delete"),
        ("-C", "--check"),
        ("-L", "--list"),
        ("-S", "--list-rules"),
        ("-P", "--policy"),
        ("-F", "--flush"),
        ("-N", "--new-chain"),
        ("-X", "--delete-chain"),
        ("-R", "--replace"),
        ("-Z", "--zero"),
    ];
    // `-nvL`, `-Ln`: the listing with its own letters.
    let listing = words.iter().position(|word| {
        word.starts_with('-')
            && !word.starts_with("--")
            && word.contains('L')
            && word.chars().skip(1).all(|c| "Lnvx".contains(c))
    });
    if let Some(at) = listing {
        let mut letters: Vec<String> =
            words[at].chars().skip(1).filter(|c| *c != 'L').map(|c| format!("-{c}")).collect();
        let mut rest = words.clone();
        rest.remove(at);
        rest.append(&mut letters);
        return list(cx, &table, &rest).map_err(fail);
    }
    let position =
        words.iter().position(|word| known.iter().any(|(short, long)| word == short || word == long));
    let Some(at) = position else { return Err(fail("no command specified".to_owned())) };
    let verb = known
        .iter()
        .find(|(short, long)| words[at] == *short || words[at] == *long)
        .map_or("", |(short, _)| *short);
    let before: Vec<String> = words.drain(..at).collect();
    words.remove(0);
    words.extend(before);
    let chain = words.first().filter(|word| !word.starts_with('-')).cloned();
    let missing = || Done::fail(1, "iptables: No chain/target/match by that name.\n".to_owned());
    let need = || chain.clone().ok_or_else(|| fail(format!("option \"{verb}\" requires an argument")));
    match verb {
        "-L" => return list(cx, &table, &words).map_err(fail),
        "-S" => {
            let mut out = String::new();
            for (name, policy) in &table.chains {
                if chain.as_ref().is_none_or(|chain| chain == name) {
                    out.push_str(&if policy == "-" {
                        format!("-N {name}\n")
                    } else {
                        format!("-P {name} {policy}\n")
                    });
                }
            }
            if out.is_empty() {
                return Err(missing());
            }
            for (name, rule) in &table.rules {
                if chain.as_ref().is_none_or(|chain| chain == name) {
                    out.push_str(&format!("-A {name} {}\n", quoted(rule)));
                }
            }
            return Ok(Done::out(out));
        }
        "-P" => {
            let (chain, policy) = (need()?, words.get(1).cloned().unwrap_or_default());
            if !["ACCEPT", "DROP"].contains(&policy.as_str()) {
                return Err(Done::fail(
                    1,
                    "iptables: Bad policy name. Run `dmesg' for more information.\n".to_owned(),
                ));
            }
            match table.chains.iter_mut().find(|(name, policy)| *name == chain && policy != "-") {
                Some(known) => known.1 = policy,
                None => return Err(Done::fail(1, "iptables: Bad built-in chain name.\n".to_owned())),
            }
        }
        "-F" => match &chain {
            None => table.rules.clear(),
            Some(chain) if table.has(chain) => table.rules.retain(|(name, _)| name != chain),
            Some(_) => return Err(missing()),
        },
        "-Z" => {}
        "-N" => {
            let chain = need()?;
            if table.has(&chain) {
                return Err(Done::fail(1, "iptables: Chain already exists.\n".to_owned()));
            }
            table.chains.push((chain, "-".to_owned()));
        }
        "-X" => {
            let chain = need()?;
            if !table.has(&chain) {
                return Err(missing());
            }
            if !table.in_chain(&chain).is_empty() {
                return Err(Done::fail(1, "iptables: Directory not empty.\n".to_owned()));
            }
            table.chains.retain(|(name, policy)| *name != chain || policy != "-");
        }
        _ => {
            let chain = need()?;
            if !table.has(&chain) {
                return Err(missing());
            }
            let mut rule: Vec<String> = words.get(1..).unwrap_or_default().to_vec();
            let number = rule.first().and_then(|word| word.parse::<usize>().ok());
            if number.is_some() && verb != "-A" && verb != "-C" {
                rule.remove(0);
            }
            check_rule(cx, &table, &rule)?;
            let places = table.in_chain(&chain);
            let same = places.iter().copied().find(|index| table.rules[*index].1 == rule);
            match (verb, number) {
                ("-A", _) => table.rules.push((chain, rule)),
                ("-I", number) => {
                    let number = number.unwrap_or(1);
                    if number == 0 || number > places.len() + 1 {
                        return Err(Done::fail(1, "iptables: Index of insertion too big.\n".to_owned()));
                    }
                    let at = places.get(number - 1).copied().unwrap_or(table.rules.len());
                    table.rules.insert(at, (chain, rule));
                }
                ("-D", Some(number)) if rule.is_empty() => match number
                    .checked_sub(1)
                    .and_then(|n| places.get(n))
                {
                    Some(index) => drop(table.rules.remove(*index)),
                    None => return Err(Done::fail(1, "iptables: Index of deletion too big.\n".to_owned())),
                },
                ("-R", Some(number)) => match number.checked_sub(1).and_then(|n| places.get(n)) {
                    Some(index) => table.rules[*index].1 = rule,
                    None => {
                        return Err(Done::fail(1, "iptables: Index of replacement too big.\n".to_owned()));
                    }
                },
                ("-D" | "-C", _) => match same {
                    Some(index) => {
                        if verb == "-D" {
                            table.rules.remove(index);
                        }
                    }
                    None => {
                        return Err(Done::fail(
                            1,
                            "iptables: Bad rule (does a matching rule exist in that chain?).\n".to_owned(),
                        ));
                    }
                },
                _ => return Err(fail(format!("option \"{verb}\" requires a rule number"))),
            }
        }
    }
    if verb != "-C" {
        table.save(cx)?;
    }
    Ok(Done::default())
}

/// Sees that a rule says only what is understood.
fn check_rule(cx: &Cx, table: &Table, rule: &[String]) -> Result<(), Done> {
    const VALUED: [&str; 26] = [
        "-p",
        "--protocol",
        "-s",
        "--source",
        "-d",
        "--destination",
        "-j",
        "--jump",
        "-i",
        "--in-interface",
        "-o",
        "--out-interface",
        "-m",
        "--match",
        "--dport",
        "--sport",
        "--destination-port",
        "--source-port",
        "--dports",
        "--sports",
        "--state",
        "--ctstate",
        "--comment",
        "--reject-with",
        "--to-destination",
        "--limit",
    ];
    const TARGETS: [&str; 9] =
        ["ACCEPT", "DROP", "REJECT", "RETURN", "LOG", "MASQUERADE", "DNAT", "SNAT", "REDIRECT"];
    let mut words = rule.iter();
    while let Some(word) = words.next() {
        if word == "!" || word == "--syn" {
            continue;
        }
        if !VALUED.contains(&word.as_str()) {
            return Err(cx.not_simulated(&format!("`{word}` in a rule")));
        }
        let Some(value) = words.next() else {
            return Err(Done::fail(
                2,
                format!("iptables v1.8.9 (nf_tables): option \"{word}\" requires an argument\n"),
            ));
        };
        if matches!(word.as_str(), "-j" | "--jump") && !TARGETS.contains(&value.as_str()) && !table.has(value)
        {
            return Err(Done::fail(
                2,
                format!("iptables v1.8.9 (nf_tables): Chain '{value}' does not exist\n"),
            ));
        }
    }
    Ok(())
}

fn list(cx: &Cx, table: &Table, words: &[String]) -> Result<Done, String> {
    let known: &[Known] = &[
        ("numeric", Some('n'), false),
        ("verbose", Some('v'), false),
        ("exact", Some('x'), false),
        ("line-numbers", None, false),
    ];
    let options = Options::read(words, known).map_err(|option| format!("unknown option \"{option}\""))?;
    if options.has("verbose") {
        return Ok(cx.not_simulated("counters (`-v`)"));
    }
    let only = options.rest.first();
    let mut out = String::new();
    for (name, policy) in &table.chains {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        let head = if policy == "-" { "0 references".to_owned() } else { format!("policy {policy}") };
        let number = if options.has("line-numbers") { "num  " } else { "" };
        out.push_str(&format!(
            "Chain {name} ({head})\n{number}target     prot opt source               destination         \n"
        ));
        for (index, place) in table.in_chain(name).into_iter().enumerate() {
            let number =
                if options.has("line-numbers") { format!("{:<5}", index + 1) } else { String::new() };
            out.push_str(&format!("{number}{}\n", row(&table.rules[place].1, options.has("numeric"))));
        }
    }
    if out.is_empty() {
        return Ok(Done::fail(1, "iptables: No chain/target/match by that name.\n"));
    }
    Ok(Done::out(out))
}

fn row(rule: &[String], numeric: bool) -> String {
    let any = if numeric { "0.0.0.0/0" } else { "anywhere" };
    let (mut target, mut protocol) = (String::new(), if numeric { "0".to_owned() } else { "all".to_owned() });
    let (mut source, mut destination, mut rest) = (any.to_owned(), any.to_owned(), Vec::new());
    let mut words = rule.iter();
    let mut not = "";
    while let Some(word) = words.next() {
        if word == "!" {
            not = "!";
            continue;
        }
        if word == "--syn" {
            rest.push(format!("tcp flags:{not}0x17/0x02"));
            not = "";
            continue;
        }
        let value = words.next().map(String::as_str).unwrap_or_default();
        match word.as_str() {
            "-j" | "--jump" => value.clone_into(&mut target),
            "-p" | "--protocol" => {
                protocol = match (numeric, value) {
                    (true, "tcp") => format!("{not}6"),
                    (true, "udp") => format!("{not}17"),
                    (true, "icmp") => format!("{not}1"),
                    _ => format!("{not}{value}"),
                };
            }
            "-s" | "--source" => source = format!("{not}{value}"),
            "-d" | "--destination" => destination = format!("{not}{value}"),
            "--dport" | "--destination-port" => rest.push(format!("tcp dpt:{not}{value}")),
            "--sport" | "--source-port" => rest.push(format!("tcp spt:{not}{value}")),
            "--dports" => rest.push(format!("multiport dports {not}{value}")),
            "--sports" => rest.push(format!("multiport sports {not}{value}")),
            "--state" => rest.push(format!("{not}state {value}")),
            "--ctstate" => rest.push(format!("{not}ctstate {value}")),
            "--comment" => rest.push(format!("/* {value} */")),
            "--reject-with" => rest.push(format!("reject-with {value}")),
            "--to-destination" => rest.push(format!("to:{value}")),
            _ => {}
        }
        not = "";
    }
    if target == "REJECT" && !rest.iter().any(|part| part.starts_with("reject-with")) {
        rest.push("reject-with icmp-port-unreachable".to_owned());
    }
    format!("{target:<10} {protocol:<4} --  {source:<20} {destination:<20} {}", rest.join(" "))
}

/// `iptables-save`.
pub(super) fn iptables_save(cx: &Cx) -> Done {
    if let Some(word) = cx.args().first() {
        return cx.not_simulated(&format!("`{word}`"));
    }
    let mut out = String::new();
    for (name, _) in TABLES {
        let Some(table) = Table::read(cx, name) else { continue };
        if table.rules.is_empty() && name != "filter" {
            continue;
        }
        out.push_str(&format!("# Generated by iptables-save v1.8.9 (nf_tables)\n*{name}\n"));
        for (chain, policy) in &table.chains {
            out.push_str(&format!(":{chain} {policy} [0:0]\n"));
        }
        for (chain, rule) in &table.rules {
            out.push_str(&format!("-A {chain} {}\n", quoted(rule)));
        }
        out.push_str("COMMIT\n");
    }
    Done::out(out)
}
