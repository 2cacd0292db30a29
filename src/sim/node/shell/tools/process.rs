//! Programs about processes, users, time and the machine.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::{Flow, Machine, Step};
use super::Words;

/// Their names.
pub(super) const TOOLS: &[&str] = &[
    "arch", "ash", "bash", "date", "dmesg", "env", "false", "free", "groups", "hostname", "id", "kill",
    "killall", "nice", "nohup", "nproc", "openssl", "pgrep", "pkill", "printenv", "ps", "pwd", "sh", "sleep",
    "su", "time", "timeout", "top", "true", "tty", "umask", "uname", "uptime", "usleep", "watch", "which",
    "who", "whoami", "xargs",
];

impl Machine<'_> {
    pub(super) fn process_tool(&mut self, name: &str, words: &Words<'_>) -> Step {
        let (arguments, plain) = (words.all, &words.plain);
        match name {
            "false" => Ok(1),
            "sleep" | "usleep" => {
                let mut total = Duration::ZERO;
                for argument in plain {
                    match duration(argument) {
                        Some(time) if name == "usleep" => total += time / 1_000_000,
                        Some(time) => total = total.saturating_add(time),
                        None => return self.fail(format!("sleep: invalid number '{argument}'\n"), 1),
                    }
                }
                self.pass(total).map(|()| 0)
            }
            "date" => {
                let text = dated(self.start.at, self.now, arguments.iter().find_map(|a| a.strip_prefix('+')));
                self.say(&text);
                Ok(0)
            }
            "hostname" => {
                let text = format!("{}\n", self.start.hostname);
                self.say(&text);
                Ok(0)
            }
            "whoami" => match (self.start.user, self.start.user_name.clone()) {
                (0, _) => self.tell("root"),
                (_, user) if !user.is_empty() => self.tell(&user),
                (id, _) if self.start.gnu => {
                    self.fail(format!("whoami: cannot find name for user ID {id}\n"), 1)
                }
                (id, _) => self.fail(format!("whoami: unknown uid {id}\n"), 1),
            },
            "id" | "groups" => {
                let group = self.start.groups.first().copied().unwrap_or_default();
                let named = |id: u32, name: String| {
                    if name == id.to_string() { name } else { format!("{id}({name})") }
                };
                let user = self.start.user;
                let names: Vec<String> =
                    self.start.groups.iter().map(|id| named(*id, self.user_name(*id))).collect();
                let text = match (name, words.has('u'), words.has('g'), words.has('G') || name == "groups") {
                    (_, true, ..) if words.has('n') => self.user_name(user),
                    (_, true, ..) => user.to_string(),
                    (_, _, true, _) if words.has('n') => self.user_name(group),
                    (_, _, true, _) => group.to_string(),
                    (.., true) => self.start.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
                    _ => format!(
                        "uid={} gid={} groups={}",
                        named(user, self.user_name(user)),
                        named(group, self.user_name(group)),
                        names.join(",")
                    ),
                };
                self.tell(&text)
            }
            "env" | "printenv" => {
                if let Some(name) = plain.first().filter(|_| name == "printenv") {
                    let value = self.variables.get(*name).cloned();
                    return match value {
                        Some(value) => {
                            self.say(&format!("{value}\n"));
                            Ok(0)
                        }
                        None => Ok(1),
                    };
                }
                let mut rest = arguments;
                while let Some((name, value)) = rest.first().and_then(|a| a.split_once('=')) {
                    self.assign(name, value.to_owned())?;
                    rest = &rest[1..];
                }
                if !rest.is_empty() {
                    return self.program(rest.to_vec());
                }
                let text: String =
                    self.variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
                self.say(&text);
                Ok(0)
            }
            "pwd" => {
                let text = format!("{}\n", self.folder);
                self.say(&text);
                Ok(0)
            }
            "uname" => {
                let text = if words.has('a') {
                    format!("Linux {} 6.18.44 #1 SMP x86_64 GNU/Linux\n", self.start.hostname)
                } else if words.has('r') {
                    "6.18.44\n".to_owned()
                } else if words.has('m') {
                    "x86_64\n".to_owned()
                } else {
                    "Linux\n".to_owned()
                };
                self.say(&text);
                Ok(0)
            }
            "arch" => {
                self.say("x86_64\n");
                Ok(0)
            }
            "nproc" => {
                self.say("2\n");
                Ok(0)
            }
            "timeout" => {
                let mut rest = arguments.iter().skip_while(|a| a.starts_with('-'));
                let limit = rest.next().and_then(|t| duration(t)).unwrap_or_default();
                let (until, deadline) = (self.until, self.now.saturating_add(limit));
                self.until = until.min(deadline);
                let outcome = self.program(rest.cloned().collect());
                self.until = until;
                match outcome {
                    Err(Flow::Pause) if deadline <= until => Ok(143),
                    other => other,
                }
            }
            "time" | "nice" | "nohup" => self.program(arguments.to_vec()),
            "su" => self.fail("su: must be suid to work properly\n".to_owned(), 1),
            "which" => {
                let mut status = 0;
                for program in plain {
                    if self.is_there(program) {
                        let folder = if self.start.gnu { "/usr/bin" } else { "/bin" };
                        self.say(&format!("{folder}/{program}\n"));
                    } else {
                        status = 1;
                    }
                }
                Ok(status)
            }
            "xargs" => {
                let mut argv: Vec<String> = arguments.to_vec();
                argv.extend(self.given()?.split_whitespace().map(str::to_owned));
                if arguments.is_empty() {
                    argv.insert(0, "echo".to_owned());
                }
                self.program(argv)
            }
            "tty" if self.start.tty => self.tell("/dev/pts/0"),
            "tty" => {
                self.say("not a tty\n");
                Ok(1)
            }
            "dmesg" if self.start.gnu => {
                self.fail("dmesg: read kernel buffer failed: Operation not permitted\n".to_owned(), 1)
            }
            "dmesg" => self.fail("dmesg: klogctl: Operation not permitted\n".to_owned(), 1),
            "ps" | "pgrep" => self.processes(name, words),
            "free" => {
                self.say(
                    "              total        used        free      shared  buff/cache   available\nMem:        8123456     \
                     1823456     3123456       12345     3176544     6012345\nSwap:             0           0           0\n",
                );
                Ok(0)
            }
            "uptime" => self.tell(" 10:00:00 up 1 day,  0 users,  load average: 0.10, 0.12, 0.09"),
            "openssl" => self.openssl(words),
            "top" | "watch" => Err(Flow::Pause),
            // What they change nobody sees: kill, killall, pkill, umask, true, who.
            _ => Ok(0),
        }
    }

    /// Says one line, and that all is well.
    fn tell(&mut self, line: &str) -> Step {
        self.say(&format!("{line}\n"));
        Ok(0)
    }

    /// The container's own process and the one that asks: there is nothing else in its namespace.
    fn processes(&mut self, name: &str, words: &Words<'_>) -> Step {
        let first = self.host.first_process();
        if name == "pgrep" {
            let wanted = words.plain.last().is_some_and(|wanted| first.contains(wanted.as_str()));
            if wanted {
                self.say("1\n");
            }
            return Ok(i32::from(!wanted));
        }
        let asks =
            std::iter::once("ps").chain(words.all.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        let user = self.user_name(self.start.user);
        let wide = words.all.iter().any(|word| word.contains('a') || word.contains('e'));
        let text = match (self.start.gnu, wide) {
            (true, true) => format!(
                "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n{user:<12} 1  0.0  0.0   4340   \
                 752 ?        Ss   10:00   0:00 {first}\n{user:<12} 7  0.0  0.0   8532  1204 ?        Rs   10:00   0:00 {asks}\n"
            ),
            (true, false) => "    PID TTY          TIME CMD\n".to_owned(),
            (false, _) => format!(
                "PID   USER     TIME  COMMAND\n    1 {user:<8}  0:00 {first}\n    7 {user:<8}  0:00 {asks}\n"
            ),
        };
        self.say(&text);
        Ok(0)
    }

    fn openssl(&mut self, words: &Words<'_>) -> Step {
        match words.all.first().map(String::as_str) {
            Some("version") => self.tell("OpenSSL 3.3.2 3 Sep 2024 (Library: OpenSSL 3.3.2 3 Sep 2024)"),
            Some("rand") => {
                let count = words.plain.last().and_then(|n| n.parse().ok()).unwrap_or(16_usize).min(1 << 16);
                let seed = crate::sim::random::uuid();
                let bytes: Vec<u8> = seed.bytes().cycle().take(count).collect();
                if words.all.iter().any(|word| word == "-hex") {
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    return self.tell(&hex);
                }
                use base64::Engine as _;
                self.tell(&base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Some(what) => self.fail(format!("openssl: {what} is not simulated in a container\n"), 1),
            None => Ok(0),
        }
    }
}

/// Reads a duration as `sleep` does: seconds, or with `s`, `m`, `h`, `d`; `infinity` never ends.
fn duration(text: &str) -> Option<Duration> {
    if matches!(text, "infinity" | "inf") {
        return Some(Duration::MAX);
    }
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (
            number,
            match &text[number.len()..] {
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => 1.0,
            },
        ),
        None => (text, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * factor).ok()
}

fn dated(start: Timestamp, passed: Duration, format: Option<&str>) -> String {
    let time =
        SignedDuration::try_from(passed).ok().and_then(|by| start.checked_add(by).ok()).unwrap_or(start);
    let format = format.unwrap_or("%a %b %e %H:%M:%S UTC %Y");
    format!("{}\n", jiff::fmt::strtime::format(format, time).unwrap_or_else(|_| format.to_owned()))
}
