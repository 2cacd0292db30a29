//! Command lines of the cluster's own programs, read as pflag reads them: which flags each knows, of which type, and what
//! it says of one that it does not take. Knows nothing of what flags do.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A program of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// `kube-apiserver`
    ApiServer,
    /// `kube-controller-manager`
    ControllerManager,
    /// `kube-scheduler`
    Scheduler,
    /// `etcd`
    Etcd,
    /// `kubelet`
    Kubelet,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Float,
    Duration,
    Ip,
    Range,
    Map,
    /// Comma-separated; given again, it adds.
    List,
    /// One value each time.
    Array,
    Text,
}

type Table = BTreeMap<&'static str, Kind>;

static TABLES: LazyLock<BTreeMap<Program, Table>> = LazyLock::new(|| {
    let common = include_str!("flags/common.txt");
    let texts: [(Program, &[&'static str]); 5] = [
        (Program::ApiServer, &[include_str!("flags/kube-apiserver.txt")]),
        (Program::ControllerManager, &[include_str!("flags/kube-controller-manager.txt"), common]),
        (Program::Scheduler, &[include_str!("flags/kube-scheduler.txt"), common]),
        (Program::Etcd, &[include_str!("flags/etcd.txt")]),
        (Program::Kubelet, &[include_str!("flags/kubelet.txt")]),
    ];
    texts
        .into_iter()
        .map(|(program, texts)| (program, texts.iter().copied().flat_map(table).collect()))
        .collect()
});

fn table(text: &'static str) -> impl Iterator<Item = (&'static str, Kind)> {
    text.lines().filter_map(|line| {
        let (name, kind) = line.split_once(' ')?;
        let kind = match kind {
            "bool" => Kind::Bool,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "duration" => Kind::Duration,
            "ip" => Kind::Ip,
            "range" => Kind::Range,
            "map" => Kind::Map,
            "list" => Kind::List,
            "array" => Kind::Array,
            _ => Kind::Text,
        };
        Some((name, kind))
    })
}

impl Program {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Etcd => "etcd",
            Self::Kubelet => "kubelet",
        }
    }

    /// Finds the program that a command starts.
    pub fn of(command: &str) -> Option<Self> {
        let base = command.rsplit('/').next().unwrap_or_default();
        [Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Etcd, Self::Kubelet]
            .into_iter()
            .find(|program| program.name() == base)
    }
}

/// Returns the lines in which a program lists its flags.
pub(in crate::sim) fn usage(program: Program) -> Vec<String> {
    let flags = TABLES.get(&program).into_iter().flatten();
    let line = |(name, kind): (&&str, &Kind)| {
        let kind = match kind {
            Kind::Bool => "",
            Kind::Int => " int",
            Kind::Float => " float",
            Kind::Duration => " duration",
            Kind::Ip => " ip",
            Kind::Range => " portRange",
            Kind::Map => " mapStringString",
            Kind::List => " strings",
            Kind::Array => " stringArray",
            Kind::Text => " string",
        };
        format!("      --{name}{kind}")
    };
    flags.map(line).collect()
}

/// The flags of a command line, with their values in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<&'static str, Vec<String>>);

/// Why a command line was refused; worded as the program words it, without `Error: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FlagError(String);

impl Flags {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    /// [`FlagError`] for a flag that the program does not know or a value that it does not take.
    pub fn parse(program: Program, arguments: &[String]) -> Result<Self, FlagError> {
        let none = Table::new();
        let table = TABLES.get(&program).unwrap_or(&none);
        let mut flags = Self::default();
        let mut left = arguments.iter();
        let mut others: Vec<&str> = Vec::new();
        let fail = |text: String| Err(FlagError(text));
        while let Some(word) = left.next() {
            if word == "--" {
                others.extend(left.by_ref().map(String::as_str));
                break;
            }
            let long = match (word.strip_prefix("--"), program) {
                (Some(rest), _) => rest,
                // The standard library's flags take one dash as well.
                (None, Program::Etcd) if word.len() > 1 && word.starts_with('-') => &word[1..],
                (None, _) if word.len() > 1 && word.starts_with('-') => {
                    let rest = &word[1..];
                    if let Some(level) = rest.strip_prefix('v') {
                        let level = level.strip_prefix('=').unwrap_or(level);
                        let level = match level {
                            "" => left.next().map(String::as_str).unwrap_or_default(),
                            level => level,
                        };
                        flags.0.entry("v").or_default().push(level.to_owned());
                        continue;
                    }
                    let letter = rest.chars().next().unwrap_or_default();
                    return fail(format!("unknown shorthand flag: {letter:?} in -{rest}"));
                }
                (None, _) => {
                    others.push(word);
                    continue;
                }
            };
            let (given, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            if given.is_empty() || given.starts_with(['-', '=']) {
                return fail(format!("bad flag syntax: {word}"));
            }
            let name = given.replace('_', "-");
            let Some((&name, &kind)) = table.get_key_value(name.as_str()) else {
                return fail(match program {
                    Program::Etcd => format!("flag provided but not defined: -{given}"),
                    _ => format!("unknown flag: --{given}"),
                });
            };
            let value = match (value, kind) {
                (Some(value), _) => value,
                // What follows a boolean is not its value.
                (None, Kind::Bool) => "true".to_owned(),
                (None, _) if name == "version" => "true".to_owned(),
                (None, _) => match left.next() {
                    Some(value) => value.clone(),
                    None => return fail(format!("flag needs an argument: --{given}")),
                },
            };
            if let Err(why) = check(kind, &value) {
                return fail(format!("invalid argument {value:?} for \"--{name}\" flag: {why}"));
            }
            flags.0.entry(name).or_default().push(value);
        }
        if let (false, false) = (others.is_empty(), program == Program::Etcd) {
            let all: Vec<String> = others.iter().map(|word| format!("{word:?}")).collect();
            return fail(match program {
                Program::Kubelet => format!("unknown command {}", all.first().cloned().unwrap_or_default()),
                _ => format!("{:?} does not take any arguments, got [{}]", program.name(), all.join(" ")),
            });
        }
        if let (Some(first), Program::Etcd) = (others.first(), program) {
            return fail(format!("'{first}' is not a valid flag"));
        }
        Ok(flags)
    }

    /// Tells whether a flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the value of a flag; of several the last one counts. Empty where it was not given.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(|values| values.last()).map_or("", String::as_str)
    }

    /// Returns every value of a flag.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Returns the parts of a comma-separated flag; those of several are put together.
    pub fn list(&self, name: &str) -> Vec<String> {
        let parts = self.all(name).iter().flat_map(|value| value.split(','));
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Returns a boolean flag.
    pub fn truth(&self, name: &str, default: bool) -> bool {
        match self.text(name) {
            "" => default,
            text => matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True"),
        }
    }

    /// Returns a number.
    pub fn number(&self, name: &str, default: i64) -> i64 {
        self.text(name).parse().unwrap_or(default)
    }
}

fn check(kind: Kind, value: &str) -> Result<(), String> {
    let number = |function: &str| format!("strconv.{function}: parsing {value:?}: invalid syntax");
    match kind {
        Kind::Bool => {
            const KNOWN: [&str; 12] =
                ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
            if KNOWN.contains(&value) { Ok(()) } else { Err(number("ParseBool")) }
        }
        Kind::Int => {
            let digits = value.strip_prefix("0x").unwrap_or(value);
            value
                .parse::<i64>()
                .map(drop)
                .or_else(|_| i64::from_str_radix(digits, 16).map(drop))
                .map_err(|_| number("ParseInt"))
        }
        Kind::Float => value.parse::<f64>().map(drop).map_err(|_| number("ParseFloat")),
        Kind::Duration => duration(value).map(drop),
        Kind::Ip => {
            let parsed = value.trim().parse::<std::net::IpAddr>();
            parsed.map(drop).map_err(|_| format!("failed to parse IP: {value:?}"))
        }
        Kind::Map => {
            let bad = value.split(',').map(str::trim).find(|pair| !pair.is_empty() && !pair.contains('='));
            bad.map_or(Ok(()), |pair| Err(format!("malformed pair, expect string=string: {pair}")))
        }
        Kind::Range | Kind::List | Kind::Array | Kind::Text => Ok(()),
    }
}

/// Reads a duration as Go does.
///
/// # Errors
/// In the words of Go's `time` package.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut sum = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        if rest.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        sum += number
            * match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        rest = &rest[letters..];
    }
    std::time::Duration::try_from_secs_f64(sum).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(Program::ApiServer, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn values_come_with_an_equals_sign_or_as_the_next_word_and_the_last_one_counts() {
        let flags = parse("--secure-port 6443 --profiling=true --profiling=false --v=2 -v 4").unwrap();
        assert_eq!(flags.text("secure-port"), "6443");
        assert!(!flags.truth("profiling", true));
        assert_eq!(flags.text("v"), "4");
        let flags = parse("--enable-admission-plugins=A,B --enable-admission-plugins C").unwrap();
        assert_eq!(flags.list("enable-admission-plugins"), ["A", "B", "C"]);
        assert!(flags.has("enable-admission-plugins") && !flags.has("audit-log-path"));
    }

    #[test]
    fn what_is_not_taken_is_refused_in_the_words_of_the_program() {
        for (line, words) in [
            ("--audit-log-pth=/x", "unknown flag: --audit-log-pth"),
            ("--insecure-port=0", "unknown flag: --insecure-port"),
            (
                "--profiling=maybe",
                r#"invalid argument "maybe" for "--profiling" flag: strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            (
                "--audit-log-maxage=x",
                r#"invalid argument "x" for "--audit-log-maxage" flag: strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            ("--profiling false", r#""kube-apiserver" does not take any arguments, got ["false"]"#),
            ("--audit-log-path", "flag needs an argument: --audit-log-path"),
            ("-x", "unknown shorthand flag: 'x' in -x"),
        ] {
            assert_eq!(parse(line).unwrap_err(), words, "{line}");
        }
    }

    #[test]
    fn the_flags_of_kubeadm_are_known() {
        let address = crate::sim::bootstrap::node_address(0);
        for (_, text) in crate::sim::bootstrap::manifests("c", "n", address) {
            let pod = crate::sim::api::parse_yaml(&text).unwrap();
            let command: Vec<String> = pod["spec"]["containers"][0]["command"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect();
            let program = Program::of(&command[0]).unwrap();
            Flags::parse(program, &command[1..]).unwrap();
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("1h2m3.5s").unwrap(), std::time::Duration::from_millis(3_723_500));
        assert_eq!(duration("5").unwrap_err(), r#"time: missing unit in duration "5""#);
        assert_eq!(duration("5x").unwrap_err(), r#"time: unknown unit "x" in duration "5x""#);
    }
}
