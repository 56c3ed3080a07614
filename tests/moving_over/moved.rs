//! `moved {}` from the untyped resources that held a pool or a class before. Those providers are not here: the state is as they leave
//! it, and a binary of their name stands for them, which the client starts for its schema and asks nothing else.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::fixture::manifests;
use super::{alone, clean_up, lab, provider};
use crate::common::{Engine, Tofu};

/// A provider that moved resources come from.
struct Source {
    address: &'static str,
    type_name: &'static str,
    /// How it writes on the object.
    apply: &'static [&'static str],
    manager: &'static str,
}

const SOURCES: [Source; 3] = [
    Source {
        address: "hashicorp/kubernetes",
        type_name: "kubernetes_manifest",
        apply: &["--server-side", "--field-manager=Terraform"],
        manager: "Terraform",
    },
    Source { address: "gavinbunney/kubectl", type_name: "kubectl_manifest", apply: &[], manager: "kubectl-client-side-apply" },
    Source {
        address: "alekc/kubectl",
        type_name: "kubectl_manifest",
        apply: &["--server-side", "--field-manager=kubectl"],
        manager: "kubectl",
    },
];

/// A kind, its address here, its configuration with a line that is removed afterwards, and where that is in the API.
struct Subject {
    kind: &'static str,
    name: &'static str,
    address: &'static str,
    hcl: &'static str,
    line: &'static str,
    field: &'static str,
}

const SUBJECTS: [Subject; 2] = [
    Subject {
        kind: "nodepools.karpenter.sh",
        name: "trino.xsmall",
        address: "karpenter_nodepool.this",
        hcl: "resource \"karpenter_nodepool\" \"this\" {\n  name = \"trino.xsmall\"\n  weight = 7\n  template {\n    expire_after = \"Never\"\n    \
              node_class_ref {\n      name = \"4th.class\"\n    }\n    requirements = { \"kubernetes.io/os\" = [\"linux\"] }\n  }\n}\n",
        line: "  weight = 7\n",
        field: "weight",
    },
    Subject {
        kind: "ec2nodeclasses.karpenter.k8s.aws",
        name: "4th-class",
        address: "karpenter_nodeclass.this",
        hcl: "resource \"karpenter_nodeclass\" \"this\" {\n  name = \"4th-class\"\n  role = \"nodes\"\n  detailed_monitoring = true\n  \
              user_data = \"[settings.kubernetes]\\n\\\"node-labels\\\" = { a = \\\"b\\\" }\"\n  ami_selector_term {\n    alias = \"bottlerocket@v1.20.3\"\n  }\n  \
              subnet_selector_term {\n    tags = { Name = \"private\" }\n  }\n  security_group_selector_term {\n    tags = { Name = \"node\" }\n  }\n}\n",
        line: "  detailed_monitoring = true\n",
        field: "detailedMonitoring",
    },
];

#[test]
fn what_other_providers_hold_is_moved_and_theirs_no_more() {
    let _alone = alone();
    for source in &SOURCES {
        for subject in &SUBJECTS {
            moves(source, subject, Engine::Tofu);
        }
    }
    if let Some(terraform) = Engine::terraform() {
        SUBJECTS.iter().for_each(|subject| moves(&SOURCES[0], subject, terraform));
    }
}

/// The manifest of the subject alone, as a document, with the field that is removed later.
fn manifest(subject: &Subject) -> (String, Value) {
    let all = manifests(lab().cluster_name());
    let text = all.split("\n---\n").find(|text| text.contains(&format!("{{name: {}}}", subject.name))).unwrap();
    let value = if subject.field == "weight" { "7" } else { "true" };
    let text = text.replace("spec:\n", &format!("spec:\n  {}: {value}\n", subject.field)).replacen(
        "\n    spec:\n  weight: 7\n",
        "\n    spec:\n",
        1,
    );
    let json = karpenter::helm::yaml::parse(&text).unwrap();
    (text, json)
}

fn moves(source: &Source, subject: &Subject, engine: Engine) {
    let lab = lab();
    let at = format!("{} of {}, {engine:?}", subject.kind, source.address);
    clean_up();
    let proxy = lab.proxy();
    let config = |line: &str| {
        let moved = format!("moved {{\n  from = {}.old\n  to   = {}\n}}\n", source.type_name, subject.address);
        provider() + &subject.hcl.replace(subject.line, line) + &moved
    };
    let tofu = Tofu::new(lab, &config(subject.line)).engine(engine).through(&proxy);
    let (text, json) = manifest(subject);
    let file = tofu.dir().join("manifest.yaml");
    std::fs::write(&file, &text).unwrap();
    lab.kubectl_text(&[&["apply", "-f", file.to_str().unwrap()], source.apply].concat());
    let live = lab.kubectl(&["get", subject.kind, subject.name]);
    let host = if engine == Engine::Tofu { "registry.opentofu.org" } else { "registry.terraform.io" };
    stand_in(tofu.dir(), &format!("{host}/{}", source.address));
    let state = state(source, host, &text, &json, &live);
    std::fs::write(tofu.dir().join("terraform.tfstate"), state.to_string()).unwrap();

    let plan = tofu.plan().ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{at}: {:#}", plan.change(subject.address));
    let changes = plan.json["resource_changes"].as_array().unwrap();
    assert_eq!(changes[0]["previous_address"], format!("{}.old", source.type_name), "{at}");
    tofu.apply_planned().ok();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating && c.service == "kubernetes").count(), 0, "{at}");
    assert_eq!(tofu.resource(subject.address)["name"], subject.name, "{at}");
    tofu.plan().empty();

    // the first write takes the former manager's entries over: what is removed here is removed there
    tofu.write("main.tf", &config(""));
    assert_eq!(tofu.plan().ok().changes(), [format!("{}: update", subject.address)], "{at}");
    tofu.apply_planned().ok();
    let live = lab.kubectl(&["get", subject.kind, subject.name, "--show-managed-fields"]);
    assert_eq!(live["spec"][subject.field], Value::Null, "{at}");
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    let holds_spec = |manager: &str| entries.iter().any(|e| e["manager"] == manager && e["fieldsV1"]["f:spec"].is_object());
    assert!(holds_spec("terraform-provider-karpenter") && !holds_spec(source.manager), "{at}: {entries:#?}");
    tofu.plan().empty();
}

/// The client looks for the former provider, since the state names it.
fn stand_in(directory: &Path, address: &str) {
    let binaries = directory.join(".former");
    std::fs::create_dir_all(&binaries).unwrap();
    let name = address.rsplit('/').next().unwrap();
    symlink(env!("CARGO_BIN_EXE_terraform-provider-karpenter"), binaries.join(format!("terraform-provider-{name}"))).unwrap();
    let rc = directory.join(".tofurc");
    let text = std::fs::read_to_string(&rc).unwrap();
    let text = text.replace("dev_overrides {\n", &format!("dev_overrides {{\n    \"{address}\" = \"{}\"\n", binaries.display()));
    std::fs::write(&rc, text).unwrap();
}

/// A state as the former provider leaves it.
fn state(source: &Source, host: &str, text: &str, manifest: &Value, live: &Value) -> Value {
    let uid = &live["metadata"]["uid"];
    let (attributes, identity) = if source.type_name == "kubernetes_manifest" {
        let dynamic = |value: &Value| json!({"value": value, "type": type_of(value)});
        let attributes = json!({
            "computed_fields": null, "field_manager": [], "manifest": dynamic(manifest), "object": dynamic(live), "timeouts": [], "wait": [], "wait_for": null,
        });
        let identity = json!({"api_version": manifest["apiVersion"], "kind": manifest["kind"], "name": manifest["metadata"]["name"], "namespace": null});
        (attributes, identity)
    } else {
        (
            json!({"yaml_body": text, "yaml_body_parsed": text, "uid": uid, "live_uid": uid, "name": manifest["metadata"]["name"]}),
            Value::Null,
        )
    };
    let mut instance = json!({"schema_version": 1, "attributes": attributes, "sensitive_attributes": []});
    if !identity.is_null() {
        instance["identity"] = identity;
        instance["identity_schema_version"] = json!(1);
    }
    json!({
        "version": 4, "terraform_version": "1.11.0", "serial": 1, "lineage": "6a3e0b9e-3c5c-4a57-9c9f-0d1f5d3a1e11", "outputs": {}, "check_results": null,
        "resources": [{"mode": "managed", "type": source.type_name, "name": "old", "provider": format!("provider[\"{host}/{}\"]", source.address),
            "instances": [instance]}],
    })
}

/// The client's notation of a JSON value's type.
fn type_of(value: &Value) -> Value {
    match value {
        Value::Null => json!("dynamic"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => json!(["tuple", items.iter().map(type_of).collect::<Vec<_>>()]),
        Value::Object(entries) => {
            json!(["object", entries.iter().map(|(k, v)| (k.clone(), type_of(v))).collect::<serde_json::Map<_, _>>()])
        }
    }
}
