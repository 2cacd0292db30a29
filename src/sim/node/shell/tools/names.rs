//! Programs that ask for names: `nslookup`, `dig`, `host`, `getent`.

use std::net::IpAddr;

use super::super::outside::{Ask, NoName, ROUND_TRIP, Told};
use super::super::{Machine, Step};
use super::Words;
use super::network::{Failure, PATIENCE};

impl Machine<'_> {
    pub(super) fn nslookup(&mut self, words: &Words<'_>) -> Step {
        let Some(name) = words.plain.first().map(|name| (*name).clone()) else { return Ok(1) };
        let asked = match words.plain.get(1) {
            Some(server) => match self.find_name(server)? {
                Ok(found) => found.addresses.first().copied(),
                Err(_) => return self.fail(format!("nslookup: bad address '{server}'\n"), 1),
            },
            None => None,
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            let told = self.ask(&Ask::Pointer(address))?;
            self.spend(ROUND_TRIP)?;
            return match told {
                Told::Name(Ok(found)) => {
                    self.server_lines(found.server.or(asked));
                    let octets: Vec<String> = name.split('.').rev().map(str::to_owned).collect();
                    self.say(&format!("{}.in-addr.arpa\tname = {}\n\n", octets.join("."), found.name));
                    Ok(0)
                }
                Told::Name(Err(NoName::Silence)) => self.no_server(),
                _ => {
                    self.server_lines(asked.or_else(|| self.resolver()));
                    self.say(&format!("** server can't find {name}: NXDOMAIN\n\n"));
                    Ok(1)
                }
            };
        }
        match self.ask_name(&name, asked, false)? {
            Ok(found) => {
                self.server_lines(found.server.or(asked).or_else(|| self.resolver()));
                for address in found.addresses {
                    self.say(&format!("Name:\t{}\nAddress: {address}\n", found.name));
                }
                self.say("\n");
                Ok(0)
            }
            Err(Failure::NameSilence) => self.no_server(),
            Err(_) => {
                self.server_lines(asked.or_else(|| self.resolver()));
                self.say(&format!("** server can't find {name}: NXDOMAIN\n\n"));
                Ok(1)
            }
        }
    }

    fn no_server(&mut self) -> Step {
        self.spend(PATIENCE)?;
        self.say(";; connection timed out; no servers could be reached\n\n");
        Ok(1)
    }

    fn server_lines(&mut self, server: Option<IpAddr>) {
        if let Some(server) = server {
            let text = if self.start.gnu {
                format!("Server:\t\t{server}\nAddress:\t{server}#53\n\n")
            } else {
                format!("Server:\t\t{server}\nAddress:\t{server}:53\n\n")
            };
            self.say(&text);
        }
    }

    /// Returns the first resolver of the container.
    fn resolver(&self) -> Option<IpAddr> {
        let text = self.read("/etc/resolv.conf")?;
        text.lines().find_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
    }

    pub(super) fn dig(&mut self, name: &str, words: &Words<'_>) -> Step {
        let short = words.all.iter().any(|word| word == "+short");
        let search = name == "host" || words.all.iter().any(|word| word == "+search");
        let server = words.plain.iter().find_map(|word| word.strip_prefix('@')).map(str::to_owned);
        let kinds = ["A", "AAAA", "ANY", "a"];
        let asked = words
            .plain
            .iter()
            .find(|word| !word.starts_with(['@', '+']) && !kinds.contains(&word.as_str()))
            .map(|name| (*name).clone());
        let Some(asked) = asked else { return Ok(1) };
        let server = match server {
            Some(server) => match self.find_name(&server)? {
                Ok(found) => found.addresses.first().copied(),
                Err(_) => {
                    return self.fail(format!("dig: couldn't get address for '{server}': not found\n"), 10);
                }
            },
            None => None,
        };
        match (self.ask_name(&asked, server, !search)?, name) {
            (Err(Failure::NameSilence), _) => {
                self.spend(PATIENCE)?;
                self.say(";; connection timed out; no servers could be reached\n");
                Ok(if name == "dig" { 9 } else { 1 })
            }
            (Ok(found), "host") => {
                for address in found.addresses {
                    self.say(&format!("{} has address {address}\n", found.name));
                }
                Ok(0)
            }
            (Err(_), "host") => {
                self.say(&format!("Host {asked} not found: 3(NXDOMAIN)\n"));
                Ok(1)
            }
            (Ok(found), _) if short => {
                for address in found.addresses {
                    self.say(&format!("{address}\n"));
                }
                Ok(0)
            }
            (Err(_), _) if short => Ok(0),
            (answer, _) => {
                let status = if answer.is_ok() { "NOERROR" } else { "NXDOMAIN" };
                let found = answer.ok();
                let count = found.as_ref().map_or(0, |found| found.addresses.len());
                self.say(&format!(
                    "\n; <<>> DiG 9.18 <<>> {asked}\n;; global options: +cmd\n;; Got answer:\n;; ->>HEADER<<- opcode: QUERY, \
                     status: {status}, id: 4711\n;; flags: qr aa rd; QUERY: 1, ANSWER: {count}, AUTHORITY: 0, ADDITIONAL: \
                     1\n\n;; QUESTION SECTION:\n;{asked}.\t\tIN\tA\n\n"
                ));
                if let Some(found) = found {
                    self.say(";; ANSWER SECTION:\n");
                    for address in found.addresses {
                        self.say(&format!("{}.\t30\tIN\tA\t{address}\n", found.name));
                    }
                    self.say("\n");
                }
                if let Some(server) = server.or_else(|| self.resolver()) {
                    self.say(&format!(";; Query time: 1 msec\n;; SERVER: {server}#53({server}) (UDP)\n\n"));
                }
                Ok(0)
            }
        }
    }

    pub(super) fn getent(&mut self, words: &Words<'_>) -> Step {
        let [database, key] = words.plain.as_slice() else { return Ok(1) };
        match database.as_str() {
            "hosts" | "ahosts" | "ahostsv4" => {
                let key = (*key).clone();
                match self.find_name(&key)? {
                    Ok(found) => {
                        for address in &found.addresses {
                            self.say(&format!("{:<15} {}\n", address.to_string(), found.name));
                        }
                        Ok(0)
                    }
                    Err(failure) => {
                        if failure == Failure::NameSilence {
                            self.spend(PATIENCE)?;
                        }
                        Ok(2)
                    }
                }
            }
            "passwd" | "group" => {
                let text = self.read(&format!("/etc/{database}")).unwrap_or_default();
                let line = text.lines().find(|line| {
                    let mut fields = line.split(':');
                    fields.next() == Some(key) || fields.nth(1) == Some(key)
                });
                match line {
                    Some(line) => {
                        let line = format!("{line}\n");
                        self.say(&line);
                        Ok(0)
                    }
                    None => Ok(2),
                }
            }
            other => self.fail(format!("Unknown database: {other}\n"), 1),
        }
    }
}
