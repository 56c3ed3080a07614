//! IAM policies, trust policies, queue policies and event patterns compared by what they say, however they are written. Pure.

use serde_json::{Map, Value as Json, json};

/// Whether two documents say the same: ids are names only, lists have no order, and one value stands for a list of it.
pub fn say_the_same(one: &Json, other: &Json) -> bool {
    one == other || canonical(one) == canonical(other)
}

fn canonical(value: &Json) -> Json {
    match value {
        Json::Object(entries) => {
            let named = entries.iter().filter(|(key, _)| *key != "Sid" && *key != "Id");
            Json::Object(named.map(|(key, value)| (key.clone(), entry(key, value))).collect::<Map<_, _>>())
        }
        // IAM reads both in a condition
        Json::Bool(_) | Json::Number(_) => Json::String(value.to_string()),
        Json::Array(_) => list(value),
        Json::String(_) | Json::Null => value.clone(),
    }
}

fn entry(key: &str, value: &Json) -> Json {
    match value {
        Json::String(all) if key == "Principal" && all == "*" => json!({"AWS": ["*"]}),
        Json::Object(_) if key != "Statement" => canonical(value),
        value => list(value),
    }
}

fn list(value: &Json) -> Json {
    let mut items: Vec<Json> = match value {
        Json::Array(items) => items.iter().map(canonical).collect(),
        one => vec![canonical(one)],
    };
    items.sort_by_key(Json::to_string);
    items.dedup();
    Json::Array(items)
}

/// Every action that a policy document's statements name, and whether all of them allow, by actions that are written out.
pub fn allowed(document: &Json) -> Option<Vec<String>> {
    let list = |value: &Json| match value {
        Json::Array(items) => items.clone(),
        Json::Null => vec![],
        one => vec![one.clone()],
    };
    let mut actions = vec![];
    for statement in list(&document["Statement"]) {
        if statement["Effect"] != "Allow" || statement.get("NotAction").is_some() {
            return None;
        }
        actions.extend(list(&statement["Action"]).iter().filter_map(|action| action.as_str().map(str::to_owned)));
    }
    Some(actions)
}

/// The resources that a document lets its bearer pass to EC2 as a role, as far as they are whole ARNs.
pub fn passed_roles(document: &Json) -> Vec<String> {
    let mut roles = vec![];
    let statements = match &document["Statement"] {
        Json::Array(items) => items.clone(),
        one => vec![one.clone()],
    };
    for statement in statements.iter().filter(|statement| allowed(&json!({"Statement": statement})).is_some_and(|a| a == ["iam:PassRole"]))
    {
        let resources = list(&statement["Resource"]);
        roles.extend(
            resources.as_array().into_iter().flatten().filter_map(Json::as_str).filter(|arn| !arn.contains('*')).map(str::to_owned),
        );
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_and_lists_of_one_do_not_matter() {
        let ours = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "A", "Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]}, "Action": "sqs:SendMessage"},
            {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        ]});
        let theirs = json!({"Id": "x", "Version": "2012-10-17", "Statement": [
            {"Sid": "DenyHTTP", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": ["sqs:*"], "Condition": {"Bool": {"aws:SecureTransport": false}}},
            {"Effect": "Allow", "Principal": {"Service": ["sqs.amazonaws.com", "events.amazonaws.com"]}, "Action": ["sqs:SendMessage"]},
        ]});
        assert!(say_the_same(&ours, &theirs));
        let mut other = theirs.clone();
        other["Statement"][0]["Condition"]["Bool"]["aws:SecureTransport"] = json!(true);
        assert!(!say_the_same(&ours, &other));
    }

    #[test]
    fn a_single_statement_is_a_list_of_one() {
        assert!(say_the_same(&json!({"Statement": {"Effect": "Allow"}}), &json!({"Statement": [{"Sid": "x", "Effect": "Allow"}]})));
        assert!(!say_the_same(&Json::Null, &json!({"Statement": []})));
    }

    #[test]
    fn a_document_that_denies_or_excepts_says_nothing_of_what_it_allows() {
        assert_eq!(allowed(&json!({"Statement": {"Effect": "Allow", "Action": "a:B"}})), Some(vec!["a:B".to_owned()]));
        assert_eq!(allowed(&json!({"Statement": [{"Effect": "Deny", "Action": "a:B"}]})), None);
        assert_eq!(allowed(&json!({"Statement": [{"Effect": "Allow", "NotAction": "a:B"}]})), None);
    }

    #[test]
    fn only_whole_arns_are_roles_that_are_passed() {
        let passes =
            |resource: Json| passed_roles(&json!({"Statement": [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": resource}]}));
        assert_eq!(passes(json!("arn:aws:iam::1:role/n")), ["arn:aws:iam::1:role/n"]);
        assert!(passes(json!(["arn:aws:iam::1:role/n-*"])).is_empty());
    }
}
