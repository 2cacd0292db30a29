//! Which privileges a command has in its own user namespace: those of root over files and processes, and none that
//! mounts, traces, loads or makes namespaces.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{SandboxError, failed};

/// Drops every privilege but those, for good.
pub(super) fn drop_all_but_those_of_files() -> Result<(), SandboxError> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    for capability in CapabilitySet::all().difference(kept).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A kernel that does not know it does not give it either.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(failed("drop privileges")(error)),
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed("drop privileges"))?;
    rustix::thread::set_no_new_privs(true).map_err(failed("drop privileges"))
}
