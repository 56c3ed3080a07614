//! Code generated from `proto/`.
#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Plugin protocol 5.
pub mod tfplugin5 {
    tonic::include_proto!("tfplugin5");
}

/// What go-plugin's clients ask of every plugin.
pub mod control {
    tonic::include_proto!("plugin");
}

/// gRPC's health check.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
