//! The plugin framework: values, schemas, plans. Knows neither AWS nor Kubernetes.

pub mod diagnostics;
pub mod path;
pub mod resource;
pub mod schema;
pub mod value;
