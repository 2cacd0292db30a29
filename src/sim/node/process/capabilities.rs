//! What a process may do: its capabilities and what else `/proc/self/status` says of its confinement.

use serde_json::Value;

use super::Process;
use crate::sim::meta;

impl Process<'_> {
    /// Returns what `/proc/self/status` says of the process, as far as security is concerned.
    pub(super) fn status_file(&self) -> String {
        let (user, ..) = self.identity();
        let own = &self.container["securityContext"];
        let privileged = own["privileged"] == true;
        let named = |list: &str| -> Vec<&str> {
            meta::items(&own["capabilities"][list]).filter_map(Value::as_str).collect()
        };
        let (add, drop) = (named("add"), named("drop"));
        let mut set: u64 = if privileged || add.contains(&"ALL") {
            (1 << CAPABILITIES.len()) - 1
        } else if drop.contains(&"ALL") {
            0
        } else {
            USUAL.iter().filter_map(|name| bit(name)).sum()
        };
        set = add.iter().filter_map(|name| bit(name)).fold(set, |set, bit| set | bit);
        if !privileged {
            set = drop.iter().filter_map(|name| bit(name)).fold(set, |set, bit| set & !bit);
        }
        let effective = if user == 0 { set } else { 0 };
        let no_new = u8::from(own["allowPrivilegeEscalation"] == false);
        let of_pod = &self.pod["spec"]["securityContext"]["seccompProfile"];
        let profile = if own["seccompProfile"].is_null() { of_pod } else { &own["seccompProfile"] };
        let filtered = !privileged && !profile.is_null() && profile["type"] != "Unconfined";
        format!(
            "Name:\tcat\nUid:\t{user}\t{user}\t{user}\t{user}\nCapInh:\t0000000000000000\nCapPrm:\t{effective:016x}\nCapEff:\t\
             {effective:016x}\nCapBnd:\t{set:016x}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{no_new}\nSeccomp:\t{}\n",
            if filtered { 2 } else { 0 }
        )
    }
}

/// The capabilities by their numbers.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those that containers have unless somebody says otherwise.
const USUAL: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

fn bit(name: &str) -> Option<u64> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    CAPABILITIES.iter().position(|known| *known == name).map(|at| 1 << at)
}
