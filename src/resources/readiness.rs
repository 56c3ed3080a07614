//! Whether Karpenter reports an object as Ready, and what is said where it does not.

use kube::core::DynamicObject;
use serde_json::Value as Json;

/// What an object's conditions say, of its present generation only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// `True`, `False`, `Unknown`, or empty where Karpenter has not looked at this generation yet.
    pub ready: String,
    /// Conditions other than True: type, status, reason and message.
    pub unmet: Vec<String>,
}

impl Readiness {
    /// Reads `status.conditions`.
    pub fn of(object: &DynamicObject) -> Readiness {
        let generation = object.metadata.generation;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let present = |c: &&Json| c["observedGeneration"].as_i64().is_none() || c["observedGeneration"].as_i64() == generation;
        let mut readiness = Readiness::default();
        for condition in conditions.iter().filter(present) {
            let field = |key: &str| condition[key].as_str().unwrap_or_default();
            match (field("type"), field("status")) {
                ("Ready", status) => status.clone_into(&mut readiness.ready),
                (_, "True") => {}
                (kind, status) => readiness.unmet.push(format!("{kind}={status} ({}): {}", field("reason"), field("message"))),
            }
        }
        readiness
    }

    /// Whether Karpenter reports this generation as Ready.
    pub fn is_ready(&self) -> bool {
        self.ready == "True"
    }

    /// Whether waiting longer is pointless.
    pub fn is_final(&self) -> bool {
        self.ready == "True" || self.ready == "False"
    }
}

/// What a warning says of an object that is not Ready.
pub(super) fn not_ready(readiness: &Readiness, operation: &str) -> String {
    let state = match readiness.ready.as_str() {
        "" => "Karpenter has not looked at it yet. Check that its controller runs and watches this cluster.".to_owned(),
        "Unknown" => format!(
            "Karpenter has not decided within timeouts.{operation}. Where no reason is given, check the node role, the AMI alias's \
             version, and the controller's log."
        ),
        _ => "Karpenter refuses it for now.".to_owned(),
    };
    let conditions: Vec<String> = readiness.unmet.iter().map(|c| format!("  {c}")).collect();
    format!("{state} `ready` is false; nothing needs to be applied again once the cause is gone.\n{}", conditions.join("\n"))
        .trim_end()
        .to_owned()
}
