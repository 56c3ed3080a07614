//! Roles: what STS is sent, with whose credentials, and who the cluster then sees.

use serde_json::{Value as Json, json};

use super::{Ask, Came, Case, World};
use crate::common::Seen;

/// The cases.
pub fn cases(world: &World) -> Vec<Case> {
    let roles = world.lab.boto3(
        "
         trust = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': {'AWS': '*'}, 'Action': 'sts:AssumeRole'}]}
         make = lambda name: iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))['Role']['Arn']
         result = [make('rows-first'), make('rows-second')]",
    );
    let token = world.file("web-token", "token-in-a-file\n");
    let config = |name: &str, block: Json| json!({"cluster_name": world.cluster(), name: block});
    let mut cases = chained(world, &roles);
    cases.extend(federated(&roles, &token, &config));
    cases
}

/// A role with every argument, and what STS must be sent for it.
fn full(arn: &Json) -> Json {
    json!({
        "role_arn": arn, "session_name": "night-shift", "external_id": "from-the-trust-policy", "duration": "20m",
        "policy": r#"{"Version":"2012-10-17","Statement":[]}"#, "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "tags": {"team": "night"}, "transitive_tag_keys": ["team"], "source_identity": "alice",
    })
}

fn has_all(seen: &Seen) {
    for (name, value) in [
        ("RoleSessionName", "night-shift"),
        ("ExternalId", "from-the-trust-policy"),
        ("DurationSeconds", "1200"),
        ("Policy", r#"{"Version":"2012-10-17","Statement":[]}"#),
        ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "night"),
        ("TransitiveTagKeys.member.1", "team"),
        ("SourceIdentity", "alice"),
    ] {
        assert_eq!(seen.form.get(name).map(String::as_str), Some(value), "{name} in {:?}", seen.form);
    }
}

const LAB_KEY: &str = "LAB00000000000000KEY";

fn chained(world: &World, roles: &Json) -> Vec<Case> {
    let (first, second) = (roles[0].clone(), roles[1].clone());
    let chain = json!([full(&first), {"role_arn": second, "session_name": "second"}]);
    let arns = (first.as_str().unwrap().to_owned(), second.as_str().unwrap().to_owned());
    let assumed = move |came: &Came| {
        let calls = came.actions("AssumeRole");
        let told: Vec<&str> = calls.iter().map(|seen| seen.form["RoleArn"].as_str()).collect();
        assert_eq!(told, [arns.0.as_str(), arns.1.as_str()], "each once, in order");
        has_all(calls[0]);
        assert_eq!((calls[0].key.as_str(), calls[0].session.as_str()), (LAB_KEY, ""));
        assert!(calls[1].key.starts_with("ASIA") && !calls[1].session.is_empty(), "with the first role's session: {:?}", calls[1]);
        assert!(came.ok().ends_with(":assumed-role/rows-second/second"), "the cluster sees {}", came.ok());
    };
    let of_aws = assumed.clone();
    let rows = |block: &'static str| -> Vec<&'static str> {
        let all = karpenter::provider::table::ROWS.iter().map(|row| row.argument);
        all.filter(|argument| argument.split_once('.').is_some_and(|(start, _)| start == block)).collect()
    };
    vec![
        Case::of(&rows("assume_role"), json!({"cluster_name": world.cluster(), "assume_role": chain})).ask(Ask::Whoami).then(move |came| {
            of_aws(came);
            assert!(came.call("eks").key.starts_with("ASIA"), "AWS is called as the role");
        }),
        Case::of(&rows("cluster_assume_role"), json!({"cluster_name": world.cluster(), "cluster_assume_role": chain}))
            .ask(Ask::Whoami)
            .then(move |came| {
                assumed(came);
                assert_eq!(came.call("eks").key, LAB_KEY, "AWS is called without the role");
            }),
        // a role of another account that was not to be assumed: the error says which, and where it stands
        Case::of(&["assume_role.role_arn"], json!({"cluster_name": world.cluster(), "assume_role": full(&first), "endpoints": {"sts": "http://127.0.0.1:9"}, "max_retries": 0}))
            .then(move |came| assert!(came.err().contains("sts:AssumeRole") && came.err().contains("assume_role[0]"), "{}", came.err())),
    ]
}

fn federated(roles: &Json, token: &str, config: &dyn Fn(&str, Json) -> Json) -> Vec<Case> {
    const BLOCK: &str = "assume_role_with_web_identity";
    let role = roles[0].clone();
    let check = |token: &'static str, session: &'static str| {
        let role = role.as_str().unwrap().to_owned();
        move |came: &Came| {
            came.ok();
            let calls = came.actions("AssumeRoleWithWebIdentity");
            assert_eq!(calls.len(), 1, "{:?}", came.seen);
            let form = &calls[0].form;
            assert_eq!((&form["RoleArn"], form["WebIdentityToken"].as_str(), form["RoleSessionName"].as_str()), (&role, token, session));
            assert!(calls[0].authorization.is_empty(), "the token is all there is");
            assert!(came.call("eks").key.starts_with("ASIA"), "{:?}", came.seen);
        }
    };
    let limited = json!({"role_arn": role, "web_identity_token": "token-in-the-block", "session_name": "night", "duration": "1h",
        "policy": "{}", "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]});
    let full = check("token-in-the-block", "night");
    vec![
        Case::of(
            &[
                "assume_role_with_web_identity.role_arn",
                "assume_role_with_web_identity.web_identity_token",
                "assume_role_with_web_identity.session_name",
                "assume_role_with_web_identity.duration",
                "assume_role_with_web_identity.policy",
                "assume_role_with_web_identity.policy_arns",
            ],
            config(BLOCK, limited),
        )
        .then(move |came| {
            full(came);
            let form = &came.actions("AssumeRoleWithWebIdentity")[0].form;
            assert_eq!((form["DurationSeconds"].as_str(), form["Policy"].as_str()), ("3600", "{}"));
            assert_eq!(form["PolicyArns.member.1.arn"], "arn:aws:iam::aws:policy/ReadOnlyAccess");
        }),
        Case::of(
            &["assume_role_with_web_identity.web_identity_token_file"],
            config(BLOCK, json!({"role_arn": role, "web_identity_token_file": token})),
        )
        .then(check("token-in-a-file", "terraform-provider-karpenter")),
        Case::of(&["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME"], config(BLOCK, json!({})))
            .env("AWS_ROLE_ARN", role.as_str().unwrap())
            .env("AWS_WEB_IDENTITY_TOKEN_FILE", token)
            .env("AWS_ROLE_SESSION_NAME", "from-the-shell")
            .then(check("token-in-a-file", "from-the-shell")),
        Case::of(&["AWS_WEB_IDENTITY_TOKEN_FILE"], config(BLOCK, json!({"role_arn": role})))
            .then(|came| assert!(came.err().contains("AWS_WEB_IDENTITY_TOKEN_FILE"), "{}", came.err())),
    ]
}
