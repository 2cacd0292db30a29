//! Kubeconfig files: one cluster, one user with embedded credentials, one context.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sim::pki::Credentials;

/// Writes a kubeconfig for `user` of the cluster.
pub(super) fn render(
    cluster: &str,
    server: &str,
    authority: &str,
    user: &str,
    credentials: &Credentials,
) -> String {
    let context = format!("{user}@{cluster}");
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: {server}\n  \
         name: {cluster}\ncontexts:\n- context:\n    cluster: {cluster}\n    user: {user}\n  name: {context}\n\
         current-context: {context}\nusers:\n- name: {user}\n  user:\n    client-certificate-data: {}\n    \
         client-key-data: {}\n",
        STANDARD.encode(authority),
        STANDARD.encode(&credentials.certificate),
        STANDARD.encode(&credentials.key),
    )
}
