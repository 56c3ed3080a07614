//! What a policy document lets its bearer do, as far as its statements say it plainly. Pure.

use serde_json::Value as Json;

/// Every action that the statements name; `None` where one of them denies, or excepts instead of naming.
pub fn allowed(document: &Json) -> Option<Vec<String>> {
    let mut actions = vec![];
    for statement in many(&document["Statement"]) {
        actions.extend(actions_of(statement)?);
    }
    Some(actions)
}

/// The resources that a document lets its bearer pass to EC2 as a role, as far as they are whole ARNs.
pub fn passed_roles(document: &Json) -> Vec<String> {
    let passing = |statement: &&Json| actions_of(statement).is_some_and(|actions| actions == ["iam:PassRole"]);
    let statements = many(&document["Statement"]).iter().filter(passing);
    let arns = statements.flat_map(|statement| many(&statement["Resource"])).filter_map(Json::as_str);
    arns.filter(|arn| !arn.contains('*')).map(str::to_owned).collect()
}

fn actions_of(statement: &Json) -> Option<Vec<String>> {
    if statement["Effect"] != "Allow" || statement.get("NotAction").is_some() {
        return None;
    }
    Some(many(&statement["Action"]).iter().filter_map(Json::as_str).map(str::to_owned).collect())
}

/// IAM takes one for a list of it, and nothing for none.
fn many(value: &Json) -> &[Json] {
    match value {
        Json::Array(items) => items,
        Json::Null => &[],
        one => std::slice::from_ref(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
