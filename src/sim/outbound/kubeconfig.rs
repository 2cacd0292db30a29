//! Where a kubeconfig says that a backend is, and with which credentials it is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Identity, Target, Trust};
use crate::sim::api::parse_yaml;
use crate::sim::object::Fields as _;

impl Target {
    /// Aims at the server of a kubeconfig's current context; `read` returns the content of a file that it names.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig, in client-go's words.
    pub fn from_kubeconfig(
        kubeconfig: &str,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let config = parse_yaml(kubeconfig)?;
        let invalid = |what: String| format!("invalid configuration: {what}");
        let named = |list: &str, name: &str| -> Option<Value> {
            config.items(list).iter().find(|entry| entry.text("name") == name).cloned()
        };
        let current = config.text("current-context");
        let context = named("contexts", current).map(|context| context.at("context").clone());
        let context = match (context, current) {
            (Some(context), _) => context,
            (None, "") => return Err(invalid("no server found for cluster \"\"".to_owned())),
            (None, name) => {
                return Err(invalid(format!("context was not found for specified context: {name}")));
            }
        };
        let (cluster, user) = (context.text("cluster"), context.text("user"));
        let found = named("clusters", cluster)
            .ok_or_else(|| invalid(format!("cluster {cluster:?} does not exist")))?
            .at("cluster")
            .clone();
        let user = named("users", user).map(|user| user.at("user").clone()).unwrap_or_default();
        // Data in the file itself goes before a file that it names.
        let material = |of: &Value, field: &str| -> Result<String, String> {
            match (of.text(&format!("{field}-data")), of.text(field)) {
                ("", "") => Ok(String::new()),
                ("", path) => read(path),
                (data, _) => {
                    let bytes = STANDARD.decode(data).map_err(|error| error.to_string())?;
                    Ok(String::from_utf8_lossy(&bytes).into_owned())
                }
            }
        };
        let authority = material(&found, "certificate-authority")?;
        let trust = if found.truth("insecure-skip-tls-verify") == Some(true) {
            Trust::Anything
        } else {
            Trust::SignedBy(&authority)
        };
        let identity = Identity {
            certificate: material(&user, "client-certificate")?,
            key: material(&user, "client-key")?,
        };
        let identity = (!identity.certificate.is_empty()).then_some(&identity);
        let server = found.text("server");
        if server.is_empty() {
            return Err(invalid(format!("no server found for cluster {cluster:?}")));
        }
        let target = Target::url(server, trust, identity)?;
        Ok(match (user.text("token"), user.text("username"), user.text("password")) {
            ("", "", _) => target,
            ("", name, password) => {
                target.with_authorization(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
            }
            (token, ..) => target.with_authorization(format!("Bearer {token}")),
        })
    }
}
