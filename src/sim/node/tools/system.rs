//! Small tools of a node's system: `ip`, `dmesg`, `docker`, and those that would change more than is simulated.

use super::{Cx, Done};
use crate::sim::node::host::Active;

/// `ip addr`, `ip -br addr`, `ip route`.
pub(super) fn ip(cx: &Cx) -> Done {
    let mut words: Vec<&str> = cx.args().iter().map(String::as_str).collect();
    let brief = words.iter().any(|word| *word == "-br" || *word == "-brief");
    words.retain(|word| !matches!(*word, "-br" | "-brief" | "-4" | "show" | "list" | "-c" | "-color"));
    let address = cx.host.spec().address;
    match words.as_slice() {
        ["a" | "ad" | "addr" | "address"] if brief => Done::out(format!(
            "lo               UNKNOWN        127.0.0.1/8 ::1/128 \neth0             UP             {address}/16 \n"
        )),
        ["a" | "ad" | "addr" | "address"] => Done::out(format!(
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback \
             00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft \
             forever\n2: eth0@if8: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default\n    \
             link/ether 02:42:ac:12:00:{:02x} brd ff:ff:ff:ff:ff:ff link-netnsid 0\n    inet {address}/16 brd 172.18.255.255 scope \
             global eth0\n       valid_lft forever preferred_lft forever\n",
            address.octets()[3]
        )),
        ["r" | "ro" | "route"] => Done::out(format!(
            "default via 172.18.0.1 dev eth0 \n172.18.0.0/16 dev eth0 proto kernel scope link src {address} \n"
        )),
        _ => cx.not_simulated(&format!("`{}`", cx.args().join(" "))),
    }
}

/// `dmesg`: what the kernel of the node has said.
pub(super) fn dmesg(cx: &Cx) -> Done {
    if let Some(option) = cx.args().iter().find(|arg| !matches!(arg.as_str(), "-T" | "--ctime")) {
        return cx.not_simulated(&format!("option `{option}`"));
    }
    let booted = cx.host.booted();
    let clock = !cx.args().is_empty();
    let lines = cx.host.journal(None, 0).into_iter().filter(|line| line.identifier == "kernel");
    Done::out(
        lines
            .map(|line| match clock {
                true => format!("[{}] {}\n", line.at.strftime("%a %b %e %H:%M:%S %Y"), line.text),
                false => {
                    let micros = (line.at.as_microsecond() - booted.as_microsecond()).max(0);
                    format!("[{:>5}.{:06}] {}\n", micros / 1_000_000, micros % 1_000_000, line.text)
                }
            })
            .collect::<String>(),
    )
}

/// `docker`, on a node that has it as a unit.
pub(super) fn docker(cx: &Cx) -> Done {
    let Some(unit) = cx.host.unit("docker") else {
        return Done::fail(127, "bash: docker: command not found\n");
    };
    if unit.active != Active::Active {
        return Done::fail(
            1,
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
        );
    }
    match cx.args() {
        [] => cx.not_simulated("`docker` without a command"),
        [verb] if verb == "ps" => {
            Done::out("CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n")
        }
        [verb] if verb == "images" => Done::out("REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"),
        [verb] if verb == "--version" => Done::out("Docker version 26.1.5, build a72d7cd\n"),
        [verb, ..] => cx.not_simulated(&format!("`{verb}`")),
    }
}

/// What a node of this kind does not do.
pub(super) fn refused(cx: &Cx) -> Done {
    match cx.ask.tool.as_str() {
        "reboot" | "shutdown" | "poweroff" | "halt" => {
            cx.not_simulated("ending or restarting the whole machine with this")
        }
        "apt" | "apt-get" | "dpkg" | "yum" | "dnf" => {
            cx.not_simulated("installing and removing packages with this")
        }
        _ => cx.not_simulated("this"),
    }
}
