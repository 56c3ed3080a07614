//! What is refused: by RBAC, by the API server, by validate.

use super::{ADDRESS, lab, small, workspace};
use crate::common::{Fault, Outcome, Tofu};

fn as_account(token: &str, hcl: &str) -> Tofu {
    let provider = format!("cluster_name = \"{}\"\n  kubernetes {{\n    token = \"{token}\"\n  }}", lab().cluster_name());
    Tofu::new(lab(), &format!("provider \"karpenter\" {{\n  {provider}\n}}\n{hcl}"))
}

#[test]
fn rbac_s_refusals_are_told_with_what_to_do() {
    let lab = lab();
    let tofu = as_account(&lab.limited_token("pool-reader", "get,list,watch"), &small("forbidden", "", ""));
    let outcome = tofu.apply().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not apply NodePool \"forbidden\"");
    for words in ["system:serviceaccount:default:pool-reader", "cannot patch resource \"nodepools\"", "Give this identity the permission"] {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(tofu.resource(ADDRESS), serde_json::Value::Null);

    // made by somebody who may; then refreshed, changed and destroyed by those who may not
    let admin = workspace(&small("forbidden", "", ""));
    admin.apply().ok();
    let state = |tofu: Tofu| {
        std::fs::copy(admin.dir().join("terraform.tfstate"), tofu.dir().join("terraform.tfstate")).unwrap();
        tofu
    };
    let blind = state(as_account(&lab.limited_token("pool-blind", ""), &small("forbidden", "", "")));
    let outcome = blind.plan().outcome.err();
    assert_eq!(outcome.errors()[0].summary, "could not read NodePool \"forbidden\"");
    assert!(outcome.errors()[0].detail.contains("cannot get resource \"nodepools\""), "{:#?}", outcome.errors());

    let reader = state(tofu);
    reader.plan().empty();
    let outcome = reader.destroy().err();
    assert_eq!(outcome.errors()[0].summary, "could not delete NodePool \"forbidden\"");
    assert!(outcome.errors()[0].detail.contains("cannot delete resource \"nodepools\""), "{:#?}", outcome.errors());
    assert_eq!(reader.resource(ADDRESS)["name"], "forbidden", "still in the state");
    admin.destroy().ok();
}

/// Each error's place in the configuration, path, value, and what would be right.
fn assert_told(outcome: &Outcome, expected: &[(&str, &str, &str, &str)]) {
    let told: Vec<_> = outcome.errors().iter().map(|e| (e.code(), e.summary.clone(), e.detail.clone())).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(code, path, value, right)| (*code, format!("invalid value for {path}"), format!("{path} is {value}; it must be {right}.")))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn malformed_arguments_are_refused_at_their_place() {
    let broken = small(
        "Not_A_Name",
        "weight = 101\n  limits = { cpu = \"many\" }\n  disruption {\n    consolidate_after = \"soon\"\n    budget {\n      nodes = \"half\"\n    }\n  }",
        "expire_after = \"1y\"\n    taint {\n      key = \"a\"\n      effect = \"Sometimes\"\n    }",
    );
    let outcome = Tofu::offline(&broken, "http://127.0.0.1:9").validate().err();
    let duration = "\"Never\" or a duration in whole hours, minutes and seconds such as \"720h\" or \"1h30m\"";
    let name = "an object's name: up to 253 lower-case letters, digits, \"-\" or \".\" that start and end with a letter or digit";
    let expected = [
        ("name = \"Not_A_Name\"", "name", "\"Not_A_Name\"", name),
        ("limits = { cpu = \"many\" }", "limits[\"cpu\"]", "\"many\"", "a Kubernetes quantity such as \"1000m\", \"16\" or \"64Gi\""),
        ("weight = 101", "weight", "101", "between 1 and 100"),
        ("consolidate_after = \"soon\"", "disruption[0].consolidate_after", "\"soon\"", duration),
        (
            "nodes = \"half\"",
            "disruption[0].budget[0].nodes",
            "\"half\"",
            "a number of nodes such as \"5\", or a percentage from \"0%\" to \"100%\"",
        ),
        ("expire_after = \"1y\"", "template[0].expire_after", "\"1y\"", duration),
        (
            "effect = \"Sometimes\"",
            "template[0].taint[0].effect",
            "\"Sometimes\"",
            "one of \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
    ];
    assert_told(&outcome, &expected);
}

#[test]
fn each_cause_of_the_api_server_shows_at_its_attribute() {
    let lab = lab();
    let proxy = lab.proxy();
    let hcl = small(
        "refused",
        "limits = { cpu = \"1\" }",
        "labels = { team = \"a\" }\n    requirement {\n      key = \"kubernetes.io/arch\"\n      operator = \"Exists\"\n    }\n    taint {\n      key = \"t\"\n      effect = \"NoSchedule\"\n    }",
    );
    let tofu = workspace(&hcl).through(&proxy);
    let cause = |field: &str| format!(r#"{{"reason":"FieldValueInvalid","message":"no good: {field}","field":"{field}"}}"#);
    let fields = [
        ("spec.limits[cpu]", "limits = { cpu = \"1\" }"),
        ("spec.template.metadata.labels[team]", "labels = { team = \"a\" }"),
        ("spec.template.spec.requirements[0].operator", "operator = \"Exists\""),
        ("spec.template.spec.requirements[1].values", "requirements = { \"kubernetes.io/os\" = [\"linux\"] }"),
        ("spec.template.spec.taints[0].key", "key = \"t\""),
    ];
    let causes = fields.map(|(field, _)| cause(field)).join(",");
    let status = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","reason":"Invalid","code":422,"message":"invalid",
            "details":{{"name":"refused","group":"karpenter.sh","kind":"NodePool","causes":[{causes}]}}}}"#
    );
    proxy.fault(Fault::on("kubernetes:PATCH .*/nodepools/refused").body(422, &status));
    let outcome = tofu.apply().err();
    for (field, code) in fields {
        let told: Vec<_> = outcome.errors().into_iter().filter(|e| e.detail.contains(&format!("no good: {field}"))).collect();
        assert_eq!(told.len(), 1, "{field}: {:#?}", outcome.errors());
        assert_eq!(told[0].code(), code, "{field}");
    }
    assert_eq!(proxy.count("kubernetes:PATCH"), 1);
}
