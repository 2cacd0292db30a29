//! What the machine has: a folder to keep things in, kubectl, the providers.

use std::time::Duration;

use super::Lab;
use super::event::Event;
use super::view::{DoctorFinding, DoctorView, Health};
use crate::cluster::Availability;
use crate::persist;
use crate::process::HostCommand;

impl Lab {
    /// Looks at what is needed.
    pub async fn doctor(&self) -> DoctorView {
        self.tell(Event::Stage { text: "looking at this machine".to_owned() });
        let mut findings = vec![self.state_folder(), kubectl().await, self.kept_sessions()];
        let mut usable = findings.iter().all(|finding| finding.health != Health::Bad);
        let mut any = false;
        for provider in self.registry.iter() {
            let name = format!("provider {}", provider.name());
            findings.push(match provider.probe().await {
                Availability::Ready => {
                    any = true;
                    let has: Vec<_> =
                        provider.capabilities().0.keys().map(|capability| capability.words()).collect();
                    finding(&name, Health::Ok, format!("can be used; has {}", has.join(", ")), None)
                }
                Availability::Missing { reason, hint } => finding(&name, Health::Missing, reason, Some(hint)),
            });
        }
        usable &= any;
        DoctorView { usable, findings }
    }

    fn state_folder(&self) -> DoctorFinding {
        let name = "state folder";
        let probe = self.state.join(".doctor");
        let tried = persist::create_dir(&self.state)
            .and_then(|()| persist::write_atomic(&probe, b"probe"))
            .and_then(|()| persist::remove(&probe));
        match tried {
            Ok(()) => finding(name, Health::Ok, self.state.display().to_string(), None),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                let detail = format!("{error}{}", cause.unwrap_or_default());
                let hint = "make room or set CKS_LAB_HOME to a folder that can be written".to_owned();
                finding(name, Health::Bad, detail, Some(hint))
            }
        }
    }

    fn kept_sessions(&self) -> DoctorFinding {
        let name = "sessions";
        match self.store.list() {
            Ok(listing) if listing.unreadable.is_empty() => {
                finding(name, Health::Ok, format!("{} kept", listing.sessions.len()), None)
            }
            Ok(listing) => {
                let all: Vec<String> =
                    listing.unreadable.iter().map(|(_, error)| error.to_string()).collect();
                let hint = "use the newer version, or move the named folder away".to_owned();
                finding(name, Health::Missing, all.join("; "), Some(hint))
            }
            Err(error) => finding(name, Health::Bad, error.to_string(), None),
        }
    }
}

async fn kubectl() -> DoctorFinding {
    // The learner's own kubeconfig is not to be read, not even for this.
    let command = HostCommand::new("kubectl")
        .args(["version", "--client", "--output=json"])
        .env("KUBECONFIG", "/dev/null")
        .timeout(Duration::from_secs(10));
    match command.run().await {
        Ok(output) => {
            let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let version = version["clientVersion"]["gitVersion"].as_str().unwrap_or("unknown version");
            finding("kubectl", Health::Ok, version.to_owned(), None)
        }
        Err(error) => {
            let hint = "install it: https://kubernetes.io/docs/tasks/tools/".to_owned();
            finding("kubectl", Health::Bad, error.to_string(), Some(hint))
        }
    }
}

fn finding(name: &str, health: Health, detail: String, hint: Option<String>) -> DoctorFinding {
    DoctorFinding { name: name.to_owned(), health, detail, hint: hint.filter(|hint| !hint.is_empty()) }
}
