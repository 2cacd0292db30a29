//! The configuration that `kind create cluster` is given, rendered from `templates/kind/`.

use crate::cluster::{ClusterSpec, ProviderError, SESSION_LABEL};

const TEMPLATE: &str = include_str!("../../../templates/kind/cluster.yaml");

/// Renders the configuration for `spec`.
pub(super) fn render(spec: &ClusterSpec) -> Result<String, ProviderError> {
    let mut context = tera::Context::new();
    context.insert("workers", &(1..=spec.workers).collect::<Vec<u32>>());
    context.insert("label", SESSION_LABEL);
    context.insert("cluster", &spec.name);
    tera::Tera::one_off(TEMPLATE, &context, false).map_err(|source| ProviderError::Failed {
        message: "failed to render the kind configuration".to_owned(),
        source: Some(Box::new(source)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_control_plane_and_the_workers_asked_for() {
        let spec = ClusterSpec { name: "lab-1".to_owned(), workers: 2, ..ClusterSpec::default() };
        let config: serde_json::Value = serde_saphyr::from_str(&render(&spec).unwrap()).unwrap();
        let roles: Vec<&str> =
            config["nodes"].as_array().unwrap().iter().map(|node| node["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["control-plane", "worker", "worker"]);
        assert_eq!(config["nodes"][2]["labels"][SESSION_LABEL], "lab-1");
        assert_eq!(config["networking"]["apiServerAddress"], "127.0.0.1");
    }
}
