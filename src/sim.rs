//! The simulated cluster: a Kubernetes v1.34 API with controllers and modelled nodes, in this process.
//! Knows nothing of scenarios, checks or exams: it could be lifted out to test any Kubernetes client.

pub mod admission;
pub mod api;
pub mod attributes;
pub mod authz;
pub mod client;
pub mod crd;
pub mod defaults;
pub mod field;
pub mod image;
pub mod netpol;
pub mod object;
pub mod pod_resources;
pub mod quantity;
pub mod rbac;
pub mod resource;
pub mod schema;
pub mod selectors;
pub mod status;
pub mod store;
pub mod strategy;
pub mod validation;
pub mod view;
