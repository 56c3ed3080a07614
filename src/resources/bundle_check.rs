//! What a schema cannot say of a bundle's configuration: offline checks, each at its attribute.

use super::object::check_cluster_name;
use crate::aws::arn;
use crate::bundle::chart::parse_version;
use crate::helm;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// Prefixes of tags that are AWS' or this provider's.
const RESERVED: [&str; 2] = ["aws:", "karpenter-tofu/"];

/// Rules that a schema cannot say.
pub(super) fn check(config: &Value, diagnostics: &mut Diagnostics) {
    diagnostics.extend(check_cluster_name(config));
    if let Some(Err(error)) = config.attr("version").as_str().map(parse_version) {
        diagnostics.extend(error.into());
    }
    check_controller_role(config.attr("controller_role").first(), diagnostics);
    check_paths(config, diagnostics);
    check_tags(config.attr("tags"), &Path::attribute("tags"), diagnostics);
    for block in ["controller_role", "node_role"] {
        check_tags(config.attr(block).first().attr("tags"), &Path::attribute(block).index(0).child("tags"), diagnostics);
    }
    check_arns(config, diagnostics);
    check_statements(config, diagnostics);
    check_queue(config.attr("interruption_queue").first(), diagnostics);
    for (at, text) in config.attr("chart").first().attr("values").items().iter().enumerate() {
        if let Some(Err(error)) = text.as_str().map(|text| helm::values::parse("read chart.values", &[text.to_owned()])) {
            diagnostics.extend(error.at(Path::attribute("chart").index(0).child("values").index(at)).into());
        }
    }
}

fn check_controller_role(role: &Value, diagnostics: &mut Diagnostics) {
    let at_role = Path::attribute("controller_role").index(0);
    match role.attr("create").as_bool() {
        Some(false) if role.attr("name").is_null() && role.attr("arn").is_null() => {
            diagnostics.error(at_role.clone(), "no controller role", "With create = false, name or arn says which role to use.");
        }
        Some(true) | None if !role.attr("create").is_unknown() && role.attr("arn").as_str().is_some() => {
            diagnostics.error(
                at_role.child("arn"),
                "a role that is made has no ARN yet",
                "Set create = false to use an existing role, or name instead of arn.",
            );
        }
        _ => {}
    }
}

fn check_paths(config: &Value, diagnostics: &mut Diagnostics) {
    for block in ["controller_role", "node_role", "instance_profile"] {
        let path = config.attr(block).first().attr("path").as_str();
        if let Some(path) = path.filter(|path| !(path.starts_with('/') && path.ends_with('/'))) {
            let detail = format!("{path:?} must start and end with a slash, such as \"/platform/\".");
            diagnostics.error(Path::attribute(block).index(0).child("path"), "not an IAM path", detail);
        }
    }
}

fn check_tags(tags: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    for (key, _) in tags.entries() {
        if let Some(prefix) = RESERVED.into_iter().find(|prefix| key.to_lowercase().starts_with(prefix)) {
            diagnostics.error(path.clone().key(key), "reserved tag", format!("Keys that start with {prefix:?} are taken."));
        }
    }
}

/// What names a policy or a role must be an ARN of that kind.
fn check_arns(config: &Value, diagnostics: &mut Diagnostics) {
    let mut check = |path: Path, value: &Value, kind: &str| {
        if let Some(text) = value.as_str().filter(|text| !is_iam_arn(text, kind)) {
            let detail = format!("{text:?} is no ARN of an IAM {kind}, such as \"arn:aws:iam::123456789012:{kind}/NAME\".");
            diagnostics.error(path, "not an ARN", detail);
        }
    };
    for block in ["controller_role", "node_role"] {
        let (role, path) = (config.attr(block).first(), Path::attribute(block).index(0));
        check(path.clone().child("permissions_boundary"), role.attr("permissions_boundary"), "policy");
        check(path.clone().child("arn"), role.attr("arn"), "role");
        for (key, arn) in role.attr("additional_policies").entries() {
            check(path.clone().child("additional_policies").key(key), arn, "policy");
        }
    }
}

fn is_iam_arn(text: &str, kind: &str) -> bool {
    let (partition, region, _) = arn::fields(text);
    let resource = text.splitn(6, ':').nth(5).unwrap_or_default();
    text.starts_with("arn:aws")
        && !partition.is_empty()
        && region.is_empty()
        && text.contains(":iam:")
        && resource.starts_with(&format!("{kind}/"))
}

/// A statement has actions, and names who it is about exactly where its policy belongs to a resource.
fn check_statements(config: &Value, diagnostics: &mut Diagnostics) {
    let kinds = [
        ("controller_role", "policy_statement", false),
        ("controller_role", "assume_role_statement", true),
        ("interruption_queue", "policy_statement", true),
    ];
    for (block, name, of_resource) in kinds {
        for (at, statement) in config.attr(block).first().attr(name).items().iter().enumerate() {
            let path = Path::attribute(block).index(0).child(name).index(at);
            // what is unknown may still become null
            let says = |argument: &str| {
                let value = statement.attr(argument);
                (!value.is_unknown()).then(|| !value.is_null() && *value != Value::List(vec![]))
            };
            let not_one_of = |one: &str, other: &str| says(one).is_some_and(|one| says(other) == Some(one));
            let mut no_place = |arguments: [&str; 2], why: &str| {
                for argument in arguments.into_iter().filter(|argument| says(argument) == Some(true)) {
                    diagnostics.error(path.clone().child(argument), format!("no place for {argument}"), why);
                }
            };
            if !of_resource {
                no_place(["principals", "not_principals"], "Permissions of a role are about that role.");
            }
            if name == "assume_role_statement" {
                no_place(["resources", "not_resources"], "A role's trust is about that role.");
            }
            if not_one_of("actions", "not_actions") {
                diagnostics.error(path.clone(), "what does it allow?", "A statement has either actions or not_actions.");
            }
            if of_resource && not_one_of("principals", "not_principals") {
                diagnostics.error(path.clone(), "who is it about?", "This statement needs either principals or not_principals.");
            }
            if !of_resource && not_one_of("resources", "not_resources") {
                diagnostics.error(path.clone(), "what is it about?", "This statement needs either resources or not_resources.");
            }
        }
    }
}

fn check_queue(queue: &Value, diagnostics: &mut Diagnostics) {
    let path = Path::attribute("interruption_queue").index(0);
    let key = queue.attr("kms_key_id");
    if !key.is_null() && !key.is_unknown() && queue.attr("sqs_managed_sse_enabled").as_bool() == Some(true) {
        let detail = "A queue is encrypted either by SQS' own key or by one of KMS.";
        diagnostics.error(path.clone().child("sqs_managed_sse_enabled"), "two keys", detail);
    }
    if key.as_str().is_some_and(|key| key.ends_with("alias/aws/sqs")) {
        let detail = "AWS manages that key, and its policy lets no EventBridge rule send to the queue. Use a key of yours, or none.";
        diagnostics.error(path.clone().child("kms_key_id"), "this key cannot be used", detail);
    }
    if queue.attr("create").as_bool() == Some(false) && queue.attr("name").is_null() {
        diagnostics.error(path, "no queue", "With create = false, name says which queue to use.");
    }
}
