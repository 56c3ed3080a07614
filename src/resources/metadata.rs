//! The object's own metadata, the same for both kinds.

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// Name, labels and annotations of the object itself.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
pub struct Metadata {
    /// Annotations of the object itself. Those that Karpenter writes are never ours.
    #[schemars(extend("x-tofu" = {"name": "metadata_annotations", "keys": "annotation_key", "open": true, "text": "lenient"}))]
    annotations: Option<BTreeMap<String, String>>,
    /// Labels of the object itself, not of the nodes.
    #[schemars(extend("x-tofu" = {"name": "metadata_labels", "keys": "label_key", "values": "label_value", "open": true}))]
    labels: Option<BTreeMap<String, String>>,
    /// Name of the object; the manifest's where there is one. Another name is another object: changing it replaces.
    #[schemars(extend("x-tofu" = {"computed": true, "optional": true, "requires_replace": true, "format": "object_name", "text": "plain"}))]
    name: Option<String>,
}
