//! Karpenter's installation on one cluster: what it should be ([`desired`], pure), one file per object that makes it so, and
//! the paths through them: [`observe`](mod@observe), [`converge`](mod@converge), [`remove`](mod@remove).

pub mod access_entry;
pub mod arguments;
pub mod association;
pub mod chart;
pub mod chart_values;
pub mod context;
pub mod converge;
pub mod desired;
pub mod documents;
pub mod events;
pub mod found;
pub mod import;
pub mod import_aws;
pub mod import_nodes;
pub mod instance_profile;
pub mod interim;
pub mod names;
pub mod nodes;
pub mod observe;
pub mod orphans;
pub mod owned;
pub mod place;
pub mod plan;
pub mod pods;
pub mod policies;
pub mod policy;
pub mod queue;
pub mod record;
pub mod remove;
pub mod role;
pub mod rules;
pub mod spot_role;
pub mod statement;
pub mod supported;
pub mod transition;
