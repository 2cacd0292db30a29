//! The simulated cluster: a Kubernetes v1.34 API with controllers and modelled nodes, in this process.
//! Knows nothing of scenarios, checks or exams: it could be lifted out to test any Kubernetes client.

pub mod admission;
pub mod api;
pub mod attributes;
pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod client;
pub mod control_plane;
pub mod controllers;
pub mod crd;
pub mod cron;
pub mod defaults;
mod events;
pub mod field;
pub mod image;
pub mod managed_fields;
mod meta;
pub mod netpol;
pub mod node;
pub mod object;
pub mod pki;
pub mod pod_refs;
pub mod pod_resources;
pub mod quantity;
pub(crate) mod random;
pub mod rbac;
pub mod resource;
mod scheduler;
pub mod schema;
pub mod selectors;
pub mod server;
pub mod status;
pub mod store;
pub mod strategy;
pub mod validation;
pub mod view;
