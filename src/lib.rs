//! OpenTofu and Terraform provider for Karpenter on Amazon EKS.
//!
//! Read top-down: [`plugin`] is the process, [`server`] the gRPC service, [`tofu`] the framework, a crate of its own that knows
//! neither AWS nor Kubernetes, [`provider`] turns the provider block into clients, [`resources`] holds one file per HCL type.

pub mod aws;
pub mod bundle;
pub mod commands;
pub mod docs;
pub mod error;
pub mod export;
pub mod helm;
pub mod kubernetes;
pub mod permissions;
pub mod plugin;
pub mod provider;
pub mod proxies;
pub mod resources;
pub mod server;

pub use error::{Error, Kind};
pub use tofu;
