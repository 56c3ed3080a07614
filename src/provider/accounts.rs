//! `allowed_account_ids` and `forbidden_account_ids`: a guard against credentials of the wrong account.

use super::cluster::identify;
use super::config::ProviderConfig;
use crate::aws::config::Chain;
use crate::{Error, Kind};

/// Whether the provider block says anything about accounts.
pub fn is_guarded(config: &ProviderConfig) -> bool {
    let ProviderConfig { allowed_account_ids, forbidden_account_ids, .. } = config;
    allowed_account_ids.is_some() || forbidden_account_ids.is_some()
}

/// Asks STS whose credentials they are. Only called where [`is_guarded`].
///
/// # Errors
/// [`Kind::Invalid`] for an account that is not allowed; what AWS says.
pub async fn check(config: &ProviderConfig, chain: &Chain, region: &str) -> Result<(), Error> {
    let account = identify(&chain.clients(region), region).await?.account_id;
    let ProviderConfig { allowed_account_ids: allowed, forbidden_account_ids: forbidden, .. } = config;
    let refused = |argument: &str, list: &[String], says: &str| {
        Err(Error::new(
            Kind::Invalid,
            "check the AWS account",
            format!("the credentials are of account {account}, which `{argument}` {says} ({})", list.join(", ")),
        )
        .remedy(format!(
            "Use credentials of another account, for instance by `profile` or `assume_role`, or change the provider's `{argument}`."
        )))
    };
    match (allowed, forbidden) {
        (Some(allowed), _) if !allowed.contains(&account) => refused("allowed_account_ids", allowed, "does not name"),
        (_, Some(forbidden)) if forbidden.contains(&account) => refused("forbidden_account_ids", forbidden, "names"),
        _ => Ok(()),
    }
}
