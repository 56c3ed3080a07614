//! Karpenter's installation on one cluster: what it should be ([`desired`], pure), and one file per object that makes it so.

pub mod arguments;
pub mod desired;
pub mod events;
pub mod names;
pub mod policies;
