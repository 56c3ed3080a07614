//! AWS: where clients and credentials come from, the EKS bearer token, and how errors are classified.

pub mod arn;
pub mod assume;
pub mod config;
pub mod ec2;
pub mod error;
pub mod http;
pub mod token;
pub mod xml;

use aws_config::{Region, SdkConfig};

use crate::provider::config::Endpoints;

/// One client per service, for one region and one identity. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Amazon EKS.
    pub eks: aws_sdk_eks::Client,
    /// IAM, a global service.
    pub iam: aws_sdk_iam::Client,
    /// Amazon SQS.
    pub sqs: aws_sdk_sqs::Client,
    /// Amazon EventBridge.
    pub eventbridge: aws_sdk_eventbridge::Client,
    /// AWS STS.
    pub sts: aws_sdk_sts::Client,
}

impl Clients {
    /// Clients for a region, which send to `endpoints` where it names one; STS may be asked in a region of its own.
    pub fn new(sdk: &SdkConfig, endpoints: &Endpoints, sts_region: Option<&Region>) -> Self {
        let Endpoints { eks, iam, sqs, eventbridge, sts } = endpoints;
        // An endpoint set here wins over AWS_ENDPOINT_URL_<SERVICE>, which wins over AWS_ENDPOINT_URL; the SDK reads those two.
        macro_rules! client {
            ($service:ident, $endpoint:expr) => {
                client!($service, $endpoint, None::<&Region>)
            };
            ($service:ident, $endpoint:expr, $region:expr) => {{
                let mut builder = $service::config::Builder::from(sdk).retry_classifier(error::QuotaIsFinal);
                if let Some(region) = $region {
                    builder = builder.region(region.clone());
                }
                if let Some(url) = $endpoint {
                    builder = builder.endpoint_url(url);
                }
                $service::Client::from_conf(builder.build())
            }};
        }
        Clients {
            eks: client!(aws_sdk_eks, eks),
            iam: client!(aws_sdk_iam, iam),
            sqs: client!(aws_sdk_sqs, sqs),
            eventbridge: client!(aws_sdk_eventbridge, eventbridge),
            sts: client!(aws_sdk_sts, sts, sts_region),
        }
    }
}
