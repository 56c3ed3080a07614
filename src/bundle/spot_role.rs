//! The account's service-linked role for spot instances: made once where it is missing, never deleted.

use crate::aws::Clients;
use crate::aws::error::from_sdk;
use crate::{Error, Kind};

const SERVICE: &str = "spot.amazonaws.com";

/// Whether the account has it. Found by its path, which belongs to the service alone.
///
/// # Errors
/// What IAM says.
pub async fn observe(aws: &Clients) -> Result<bool, Error> {
    // IAM may answer an empty page although there is more
    let mut roles = aws.iam.list_roles().path_prefix(format!("/aws-service-role/{SERVICE}/")).into_paginator().items().send();
    roles.next().await.transpose().map(|found| found.is_some()).map_err(|e| from_sdk("iam:ListRoles", e))
}

/// Makes it. That it exists comes as `InvalidInput`: then all is well.
///
/// # Errors
/// What IAM says, where the role is not there afterwards.
pub async fn create(aws: &Clients) -> Result<(), Error> {
    let sent = aws.iam.create_service_linked_role().aws_service_name(SERVICE);
    match sent.send().await.map_err(|e| from_sdk(format!("iam:CreateServiceLinkedRole {SERVICE}"), e)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind, Kind::AlreadyExists | Kind::Invalid) => Ok(()),
        // without the permission, an account that has the role can be used all the same
        Err(error) if error.kind == Kind::Forbidden && observe(aws).await.unwrap_or(false) => Ok(()),
        Err(error) => Err(error),
    }
}
