//! The plugin framework: values, schemas, plans. Knows neither AWS nor Kubernetes.

pub mod convert;
pub mod decode;
pub mod diagnostics;
pub mod docs;
pub mod hcl;
pub mod identity;
pub mod json;
pub mod msgpack;
mod number;
pub mod path;
pub mod plan;
pub mod resource;
pub mod schema;
pub mod validate;
pub mod value;
