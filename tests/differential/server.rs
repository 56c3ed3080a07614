//! What a real API server says about a body, in a dry run; through a client that the test makes itself.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value as Json;

use crate::common::Lab;

/// One kind at an API server that has the real CRDs.
#[derive(Clone)]
pub struct Server {
    api: Api<DynamicObject>,
}

impl Server {
    /// Connects as the cluster's admin, by client certificate.
    pub async fn connect(lab: &Lab, resource: &ApiResource) -> Server {
        let file = Kubeconfig::read_from(lab.var("KUBECONFIG")).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        Server { api: Api::all_with(client, resource) }
    }

    /// Whether the object could be made; otherwise what the API server says. Under server-side apply as ours does it, and as a plain
    /// create where the name is none that a URL can have.
    pub async fn verdict(&self, body: &Json) -> Result<(), String> {
        let name = body["metadata"]["name"].as_str().unwrap_or_default();
        let answer = if name == "case" {
            let params = PatchParams { field_validation: None, ..PatchParams::apply("differential").dry_run() };
            self.api.patch(name, &params, &Patch::Apply(body)).await
        } else {
            match serde_json::from_value::<DynamicObject>(body.clone()) {
                Ok(object) => self.api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await,
                Err(error) => return Err(error.to_string()),
            }
        };
        match answer {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if [400, 422, 500].contains(&status.code) => Err(status.message.clone()),
            Err(error) => panic!("the API server gave no verdict: {error}\n{body:#}"),
        }
    }
}
