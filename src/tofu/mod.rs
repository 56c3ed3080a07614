//! The plugin framework: values, schemas, plans. Knows neither AWS nor Kubernetes.

pub mod convert;
pub mod diagnostics;
pub mod path;
pub mod plan;
pub mod resource;
pub mod schema;
pub mod validate;
pub mod value;
