//! What the tests stand on: a lab of real servers, a proxy that counts and breaks calls, and `tofu` as users run it.
//!
//! ```ignore
//! let lab = Lab::shared();                              // one lab for this test binary, started by the first who asks
//! let tofu = Tofu::new(lab, r#"provider "karpenter" { cluster_name = "harbor" } ..."#);
//! tofu.apply().ok();
//! assert_eq!(tofu.plan().ok().changes(), Vec::<String>::new());
//! let pool = lab.kubectl(&["get", "nodepool", "trino-xsmall"]);
//! ```

// every test binary compiles this module and uses its own part of it
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boto3;
mod karpenter;
mod lab;
mod outcome;
mod proxy;
mod recorder;
mod tofu;

pub use karpenter::Condition;
pub use lab::{Lab, Options, lab_home, repository};
pub use outcome::{Diagnostic, Outcome, Plan};
pub use proxy::{Call, Fault, Proxy};
pub use recorder::{Recorder, Seen};
pub use tofu::{Engine, Running, Tofu};
