//! What is refused: by RBAC, by the API server, by validate.

use super::{ADDRESS, KIND, lab, small, workspace};
use crate::common::{Fault, Tofu};

#[test]
fn rbac_s_refusals_are_told_with_what_to_do() {
    let lab = lab();
    let as_account = |token: &str| {
        let provider = format!("cluster_name = \"{}\"\n  kubernetes {{\n    token = \"{token}\"\n  }}", lab.cluster_name());
        Tofu::new(lab, &format!("provider \"karpenter\" {{\n  {provider}\n}}\n{}", small("forbidden", "")))
    };
    let reader = as_account(&lab.limited_token("class-reader", "get,list,watch"));
    let outcome = reader.apply().err();
    let error = outcome.errors()[0];
    assert_eq!(error.summary, "could not apply EC2NodeClass \"forbidden\"");
    for words in
        ["system:serviceaccount:default:class-reader", "cannot patch resource \"ec2nodeclasses\"", "Give this identity the permission"]
    {
        assert!(error.detail.contains(words), "no {words:?} in {}", error.detail);
    }
    assert_eq!(reader.resource(ADDRESS), serde_json::Value::Null);
    let admin = workspace(&small("forbidden", ""));
    admin.apply().ok();
    // refreshed by somebody who may not even read
    let blind = as_account(&lab.limited_token("class-unseeing", ""));
    std::fs::copy(admin.dir().join("terraform.tfstate"), blind.dir().join("terraform.tfstate")).unwrap();
    let outcome = blind.plan().outcome.err();
    assert_eq!(outcome.errors()[0].summary, "could not read EC2NodeClass \"forbidden\"");
    assert!(outcome.errors()[0].detail.contains("cannot get resource \"ec2nodeclasses\""), "{:#?}", outcome.errors());
    for tofu in [&reader, &as_account(&lab.limited_token("class-blind", ""))] {
        std::fs::copy(admin.dir().join("terraform.tfstate"), tofu.dir().join("terraform.tfstate")).unwrap();
        let outcome = tofu.destroy().err();
        assert!(outcome.errors()[0].detail.contains("ec2nodeclasses"), "{:#?}", outcome.errors());
        assert_eq!(tofu.resource(ADDRESS)["name"], "forbidden", "still in the state");
    }
    assert!(lab.exists(&[KIND, "forbidden"]));
    admin.destroy().ok();
}

#[test]
fn malformed_arguments_are_refused_at_their_place() {
    let broken = small(
        "fine",
        "tags = { Name = \"{{ cluster }}\" }\n  block_device_mapping {\n    device_name = \"/dev/xvda\"\n    ebs {\n      volume_size = \"1 GiB\"\n    }\n  }\n  \
         metadata_options {\n    http_put_response_hop_limit = 65\n    http_tokens = \"maybe\"\n  }",
    );
    let outcome = Tofu::offline(&broken, "http://127.0.0.1:9").validate().err();
    let told: Vec<_> = outcome.errors().iter().map(|e| (e.code(), e.summary.clone(), e.detail.clone())).collect();
    let size = "a whole number and one of Gi (1 to 59000), G (1 to 64000), Ti (1 to 58, but none that ends in 8 or 9 above 10) and T (1 to 64), \
                such as \"100Gi\"";
    let known = "text whose placeholders are {{ cluster_name }} or {{ ext_account_id }}, not {{ cluster }}";
    let expected = [
        ("tags = { Name = \"{{ cluster }}\" }", "tags[\"Name\"]", "\"{{ cluster }}\"", known),
        ("volume_size = \"1 GiB\"", "block_device_mapping[0].ebs[0].volume_size", "\"1 GiB\"", size),
        ("http_put_response_hop_limit = 65", "metadata_options[0].http_put_response_hop_limit", "65", "between 1 and 64"),
        ("http_tokens = \"maybe\"", "metadata_options[0].http_tokens", "\"maybe\"", "one of \"required\", \"optional\""),
    ]
    .map(|(code, path, value, right)| (code, format!("invalid value for {path}"), format!("{path} is {value}; it must be {right}.")));
    assert_eq!(told, expected);
}

#[test]
fn each_cause_of_the_api_server_shows_at_its_attribute() {
    let lab = lab();
    let proxy = lab.proxy();
    let tofu =
        workspace(&small("refused", "tags = { a = \"b\" }\n  metadata_options {\n    http_tokens = \"required\"\n  }")).through(&proxy);
    let fields = [
        ("spec.tags[a]", "tags = { a = \"b\" }"),
        ("spec.role", "role = \"node-role\""),
        ("spec.amiSelectorTerms[0].alias", "alias = \"al2023@latest\""),
        ("spec.metadataOptions.httpTokens", "http_tokens = \"required\""),
    ];
    let causes =
        fields.map(|(field, _)| format!(r#"{{"reason":"FieldValueInvalid","message":"no good: {field}","field":"{field}"}}"#)).join(",");
    let status = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","reason":"Invalid","code":422,"message":"invalid",
            "details":{{"name":"refused","group":"karpenter.k8s.aws","kind":"EC2NodeClass","causes":[{causes}]}}}}"#
    );
    proxy.fault(Fault::on("kubernetes:PATCH .*/ec2nodeclasses/refused").body(422, &status));
    let outcome = tofu.apply().err();
    for (field, code) in fields {
        let told: Vec<_> = outcome.errors().into_iter().filter(|e| e.detail.contains(&format!("no good: {field}"))).collect();
        assert_eq!(told.len(), 1, "{field}: {:#?}", outcome.errors());
        assert_eq!(told[0].code(), code, "{field}");
    }
    assert_eq!(proxy.count("kubernetes:PATCH"), 1);
    assert!(!lab.exists(&[KIND, "refused"]));
}
