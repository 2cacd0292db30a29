//! Where a Service leads, for who is not in the cluster's network: only names outside and endpoints outside can be
//! reached.

use std::net::IpAddr;

use serde_json::Value;

use super::{Dial, is_simulated};
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

const SERVICES: GroupResource = GroupResource::of("", "services");
const SLICES: GroupResource = GroupResource::of("discovery.k8s.io", "endpointslices");

/// Finds out what to connect to for a port of a Service.
///
/// # Errors
/// Why the Service leads nowhere, in upstream's words.
pub(super) fn resolve(store: &Store, namespace: &str, name: &str, port: u16) -> Result<Dial, String> {
    let service =
        store.get(&SERVICES, namespace, name).ok_or_else(|| format!("service {name:?} not found"))?;
    let spec = &service.object["spec"];
    if spec.text("type") == "ExternalName" {
        return Ok(Dial::To(spec.text("externalName").to_owned(), port));
    }
    let found = spec.items("ports").iter().find(|p| p.int("port") == Some(i64::from(port)));
    let found = found.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    if let Some((address, port)) = outside(store, namespace, name, found.text("name")) {
        return Ok(Dial::To(address.to_string(), port));
    }
    Ok(Dial::To(spec.text("clusterIP").to_owned(), port))
}

/// Returns a ready endpoint that is not in the simulated network.
fn outside(store: &Store, namespace: &str, service: &str, port: &str) -> Option<(IpAddr, u16)> {
    let slices = store.list(&SLICES, Some(namespace));
    let of_service =
        |slice: &Value| slice["metadata"]["labels"].text("kubernetes.io/service-name") == service;
    slices.iter().map(|entry| &*entry.object).filter(|slice| of_service(slice)).find_map(|slice| {
        let number = slice.items("ports").iter().find(|p| p.text("name") == port)?.int("port")?;
        let ready = |endpoint: &&Value| endpoint["conditions"].truth("ready") != Some(false);
        let mut addresses =
            slice.items("endpoints").iter().filter(ready).flat_map(|endpoint| endpoint.texts("addresses"));
        let address = addresses.find_map(|text| text.parse().ok().filter(|ip| !is_simulated(*ip)))?;
        Some((address, u16::try_from(number).ok()?))
    })
}
