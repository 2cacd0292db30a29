//! The fields of Falco's events that conditions and outputs may name, with their types. Data; evaluates nothing.

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    Address,
    Network,
    /// A text that is a path or a buffer is one like any other here.
    Any,
}

/// Names of a class with the kind of their values; `name+` takes an argument, as `evt.arg.path` or `proc.aname[2]`.
const FIELDS: &[(&str, Kind, &str)] = &[
    (
        "evt.",
        Kind::Number,
        "num rawtime rawtime.s rawtime.ns reltime reltime.s reltime.ns latency latency.s latency.ns deltatime \
         deltatime.s deltatime.ns type.is+ cpu buflen rawres wait_latency count count.error count.error.file \
         count.error.net count.error.memory count.error.other count.exit count.procinfo count.threadinfo around+",
    ),
    (
        "evt.",
        Kind::Text,
        "time time.s time.iso8601 datetime datetime.s pluginname plugininfo source asynctype latency.human dir type \
         category args arg+ info buffer res io_dir abspath+ hostname latency.quantized deltatime.human",
    ),
    ("evt.", Kind::Any, "rawarg+"),
    (
        "evt.",
        Kind::Bool,
        "is_async failed is_io is_io_read is_io_write is_wait is_syslog is_open_read is_open_write is_open_exec \
         is_open_create",
    ),
    ("syscall.", Kind::Text, "type"),
    (
        "proc.",
        Kind::Text,
        "exe pexe aexe+ exepath pexepath aexepath+ name pname aname+ args cmdline pcmdline acmdline+ exeline env+ \
         aenv+ cwd sname sid.exe sid.exepath vpgid.name vpgid.exe vpgid.exepath pgid.name pgid.exe pgid.exepath \
         stdin.type stdin.name stdout.type stdout.name stderr.type stderr.name",
    ),
    (
        "proc.",
        Kind::Number,
        "cmdnargs cmdlenargs loginshellid tty pid ppid apid+ vpid pvpid sid vpgid pgid duration ppid.duration pid.ts \
         ppid.ts exe_ino exe_ino.ctime exe_ino.mtime exe_ino.ctime_duration_proc_start \
         exe_ino.ctime_duration_pidns_start pidns_init_start_ts fdopencount fdlimit fdusage vmsize vmrss vmswap \
         nthreads nchilds",
    ),
    (
        "proc.",
        Kind::Bool,
        "is_exe_writable is_exe_upper_layer is_exe_lower_layer is_exe_from_memfd is_sid_leader is_vpgid_leader \
         is_pgid_leader is_container_healthcheck is_container_liveness_probe is_container_readiness_probe \
         is_container_probe",
    ),
    ("thread.", Kind::Text, "cap_permitted cap_inheritable cap_effective cgroups cgroup+ name"),
    (
        "thread.",
        Kind::Number,
        "pfmajor pfminor tid vtid exectime totexectime cpu cpu.user cpu.system vmsize vmrss",
    ),
    ("thread.", Kind::Bool, "ismain"),
    ("user.", Kind::Number, "uid loginuid"),
    ("user.", Kind::Text, "name homedir shell loginname"),
    ("group.", Kind::Number, "gid"),
    ("group.", Kind::Text, "name"),
    (
        "container.",
        Kind::Text,
        "id full_id name image image.id type mounts mount+ mount.source+ mount.dest+ mount.mode+ mount.rdwr+ \
         mount.propagation+ image.repository image.tag image.digest healthcheck liveness_probe readiness_probe ip \
         cni.json info label+ labels",
    ),
    ("container.", Kind::Number, "start_ts duration"),
    ("container.", Kind::Bool, "privileged host_pid host_network host_ipc"),
    ("fd.", Kind::Number, "num port cport sport lport rport dev dev.major dev.minor ino"),
    (
        "fd.",
        Kind::Text,
        "type types+ typechar name directory filename l4proto sockfamily uid containername containerdirectory proto \
         cproto sproto lproto rproto cip.name sip.name lip.name rip.name nameraw",
    ),
    ("fd.", Kind::Address, "ip cip sip lip rip"),
    ("fd.", Kind::Network, "net cnet snet lnet rnet"),
    ("fd.", Kind::Bool, "is_server connected name_changed is_upper_layer is_lower_layer"),
    ("fs.path.", Kind::Text, "name nameraw source sourceraw target targetraw"),
    ("syslog.", Kind::Text, "facility.str severity.str message"),
    ("syslog.", Kind::Number, "facility severity"),
    ("fdlist.", Kind::Text, "nums names cips sips cports sports"),
    (
        "k8s.",
        Kind::Text,
        "pod.name pod.id pod.uid pod.sandbox_id pod.full_sandbox_id pod.label+ pod.labels pod.ip pod.cni.json \
         rc.name rc.id rc.label+ rc.labels svc.name svc.id svc.label+ svc.labels ns.name ns.id ns.label+ ns.labels \
         rs.name rs.id rs.label+ rs.labels deployment.name deployment.id deployment.label+ deployment.labels",
    ),
    (
        "k8smeta.",
        Kind::Text,
        "pod.name pod.uid pod.label+ pod.labels pod.ip ns.name ns.uid ns.label+ ns.labels deployment.name \
         deployment.uid deployment.label+ deployment.labels svc.name svc.uid svc.label+ svc.labels rs.name rs.uid \
         rs.label+ rs.labels rc.name rc.uid rc.label+ rc.labels",
    ),
    (
        "ka.",
        Kind::Text,
        "auditid stage auth.decision auth.reason auth.openshift.decision auth.openshift.username user.name \
         user.groups impuser.name verb uri uri.param+ target.name target.namespace target.resource \
         target.subresource target.pod.name req.binding.subjects req.binding.role req.binding.subject.has_name+ \
         req.configmap.name req.configmap.obj req.pod.containers.image req.container.image \
         req.pod.containers.image.repository req.container.image.repository req.pod.containers.host_port \
         req.pod.containers.add_capabilities req.pod.run_as_user req.pod.containers.run_as_user \
         req.pod.containers.eff_run_as_user req.pod.run_as_group req.pod.containers.run_as_group \
         req.pod.containers.eff_run_as_group req.role.rules req.role.rules.apiGroups \
         req.role.rules.nonResourceURLs req.role.rules.verbs req.role.rules.resources req.pod.fs_group \
         req.pod.supplemental_groups req.service.type req.service.ports req.pod.volumes.hostpath+ \
         req.volume.hostpath+ req.pod.volumes.flexvolume_driver req.pod.volumes.volume_type resp.name \
         response.code response.reason useragent sourceips cluster.name",
    ),
    (
        "ka.",
        Kind::Text,
        "req.pod.host_ipc req.pod.host_network req.container.host_network req.pod.host_pid \
         req.pod.containers.privileged req.container.privileged req.pod.containers.allow_privilege_escalation \
         req.pod.containers.read_only_fs req.pod.containers.proc_mount",
    ),
    ("jevt.", Kind::Text, "value+ time rawtime time.iso8601 obj"),
    ("json.", Kind::Text, "value+ obj rawtime"),
];

/// Returns the kind of a field's values, or `None` when there is no such field. `argument` tells whether one is given
/// in brackets.
pub(super) fn kind(name: &str, argument: bool) -> Option<Kind> {
    for (class, kind, names) in FIELDS {
        let Some(rest) = name.strip_prefix(class) else { continue };
        for known in names.split_whitespace() {
            let found = match known.strip_suffix('+') {
                Some(known) => {
                    rest == known
                        || rest
                            .strip_prefix(known)
                            .is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
                }
                None => rest == known && !argument,
            };
            if found {
                return Some(*kind);
            }
        }
    }
    None
}

/// Splits `name[argument]`.
pub(super) fn split(field: &str) -> (&str, Option<&str>) {
    match field.split_once('[').and_then(|(name, rest)| Some((name, rest.strip_suffix(']')?))) {
        Some((name, argument)) => (name, Some(argument)),
        None => (field, None),
    }
}

/// Tells whether a field may have several values, of which any may match: both ends of a connection, all ancestors.
pub(super) fn is_either(name: &str) -> bool {
    [
        "fd.ip",
        "fd.net",
        "fd.port",
        "fd.proto",
        "proc.aname",
        "proc.aexe",
        "proc.aexepath",
        "proc.acmdline",
        "proc.apid",
        "proc.aenv",
    ]
    .contains(&name)
}
