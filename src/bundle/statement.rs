//! Statements of IAM policies as users write them: the blocks of `aws_iam_policy_document`, in the bundle's own arguments.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// A statement of an IAM policy, as in `aws_iam_policy_document`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Statement {
    /// Its id, letters and digits.
    #[schemars(regex(pattern = r"^[A-Za-z0-9]+$"))]
    pub sid: Option<String>,
    /// `Allow` unless set, or `Deny`.
    pub effect: Option<Effect>,
    /// Actions that it is about.
    pub actions: Option<Vec<String>>,
    /// Actions that it is not about.
    pub not_actions: Option<Vec<String>>,
    /// Resources that it is about.
    pub resources: Option<Vec<String>>,
    /// Resources that it is not about.
    pub not_resources: Option<Vec<String>>,
    /// Who it is about, where the policy belongs to a role's trust or to a queue.
    pub principals: Option<Vec<Principals>>,
    /// Who it is not about.
    pub not_principals: Option<Vec<Principals>>,
    /// When it holds.
    pub condition: Option<Vec<Condition>>,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Effect {
    /// Permit.
    #[default]
    Allow,
    /// Forbid.
    Deny,
}

/// Identities of one type. All is required in HCL; `Option` because a plan may not know it yet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Principals {
    /// `AWS`, `Service`, `Federated`, `CanonicalUser`, or `*` for everybody.
    #[schemars(required)]
    pub r#type: Option<String>,
    /// ARNs, service names, or `*`.
    #[schemars(required)]
    pub identifiers: Option<Vec<String>>,
}

/// One condition. All is required in HCL; `Option` because a plan may not know it yet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Condition {
    /// Operator, such as `StringEquals`.
    #[schemars(required)]
    pub test: Option<String>,
    /// Key, such as `aws:SourceAccount`.
    #[schemars(required)]
    pub variable: Option<String>,
    /// Values of which one must match.
    #[schemars(required)]
    pub values: Option<Vec<String>>,
}

impl Statement {
    /// The statement as IAM keeps it; a single element stands without its list.
    pub fn json(&self) -> Json {
        let Statement { sid, effect, actions, not_actions, resources, not_resources, principals, not_principals, condition } = self;
        let mut statement = Map::new();
        if let Some(sid) = sid {
            statement.insert("Sid".into(), json!(sid));
        }
        statement.insert("Effect".into(), json!(if *effect == Some(Effect::Deny) { "Deny" } else { "Allow" }));
        for (key, principals) in [("Principal", principals), ("NotPrincipal", not_principals)] {
            statement.extend(principals.as_deref().filter(|p| !p.is_empty()).map(|p| (key.to_owned(), self::principals(p))));
        }
        for (key, texts) in [("Action", actions), ("NotAction", not_actions), ("Resource", resources), ("NotResource", not_resources)] {
            statement.extend(texts.as_deref().filter(|t| !t.is_empty()).map(|t| (key.to_owned(), one_or_many(t))));
        }
        // IAM has one list for each test of a variable: those of several blocks are one
        let mut tests: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
        for Condition { test, variable, values } in condition.iter().flatten() {
            let (test, variable) = (test.as_deref().unwrap_or_default(), variable.as_deref().unwrap_or_default());
            tests.entry(test).or_default().entry(variable).or_default().extend_from_slice(values.as_deref().unwrap_or_default());
        }
        if !tests.is_empty() {
            let listed = |variables: BTreeMap<&str, Vec<String>>| -> Json {
                variables.into_iter().map(|(variable, values)| (variable.to_owned(), one_or_many(&values))).collect::<Map<_, _>>().into()
            };
            let tests: Map<_, _> = tests.into_iter().map(|(test, variables)| (test.to_owned(), listed(variables))).collect();
            statement.insert("Condition".into(), tests.into());
        }
        Json::Object(statement)
    }

    /// [`Statement::json`] of a policy that belongs to a resource: that one is meant where the statement names none.
    pub fn json_about(&self, resource: &str) -> Json {
        let mut statement = self.json();
        if statement.get("Resource").is_none() && statement.get("NotResource").is_none() {
            statement["Resource"] = json!(resource);
        }
        statement
    }
}

fn principals(principals: &[Principals]) -> Json {
    if principals.iter().any(|p| p.r#type.as_deref() == Some("*")) {
        return json!("*");
    }
    let mut types: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Principals { r#type, identifiers } in principals {
        types.entry(r#type.as_deref().unwrap_or_default()).or_default().extend(identifiers.iter().flatten().cloned());
    }
    types.into_iter().map(|(kind, identifiers)| (kind.to_owned(), one_or_many(&identifiers))).collect::<Map<_, _>>().into()
}

fn one_or_many(texts: &[String]) -> Json {
    match texts {
        [one] => json!(one),
        many => json!(many),
    }
}

/// Whether two documents say the same, however they are written: policies, trust policies, event patterns. Ids are names only, lists
/// have no order, one value stands for a list of it, and a condition's booleans and numbers are texts.
pub fn same(a: &Json, b: &Json) -> bool {
    a == b || canonical(a) == canonical(b)
}

fn canonical(value: &Json) -> Json {
    match value {
        Json::Object(entries) => {
            let said = entries.iter().filter(|(key, _)| *key != "Sid" && *key != "Id");
            said.map(|(key, value)| (key.clone(), entry(key, value))).collect()
        }
        Json::Bool(_) | Json::Number(_) => Json::String(value.to_string()),
        Json::Array(_) => list(value),
        Json::String(_) | Json::Null => value.clone(),
    }
}

fn entry(key: &str, value: &Json) -> Json {
    match value {
        Json::String(all) if key == "Principal" && all == "*" => json!({"AWS": ["*"]}),
        Json::Object(_) if key != "Statement" => canonical(value),
        value if key == "AWS" => list(&accounts(value)),
        value => list(value),
    }
}

/// An account is named by its id or by the ARN of its root; IAM answers with the latter.
fn accounts(value: &Json) -> Json {
    match value {
        Json::String(text) => {
            let account =
                text.split_once(":iam::").filter(|(start, _)| start.starts_with("arn:")).and_then(|(_, rest)| rest.strip_suffix(":root"));
            Json::from(account.unwrap_or(text))
        }
        Json::Array(all) => all.iter().map(accounts).collect(),
        other => other.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_its_root() {
        let trusted = |who: Json| json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": who}, "Action": "sts:AssumeRole"}]});
        assert!(same(&trusted(json!("111122223333")), &trusted(json!("arn:aws:iam::111122223333:root"))));
        assert!(same(&trusted(json!(["111122223333", "*"])), &trusted(json!(["*", "arn:aws-cn:iam::111122223333:root"]))));
        assert!(!same(&trusted(json!("111122223333")), &trusted(json!("arn:aws:iam::111122223333:role/root"))));
        assert!(!same(&trusted(json!("111122223333")), &trusted(json!("arn:aws:iam::444455556666:root"))));
    }

    #[test]
    fn a_statement_is_what_iam_keeps() {
        let statement: Statement = serde_json::from_value(json!({
            "sid": "Mine", "actions": ["kms:Decrypt"], "resources": ["a", "b"],
            "principals": [{"type": "Service", "identifiers": ["x.amazonaws.com"]}, {"type": "AWS", "identifiers": ["1", "2"]}],
            "condition": [
                {"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["1"]},
                {"test": "StringEquals", "variable": "aws:SourceArn", "values": ["x"]},
                {"test": "StringEquals", "variable": "aws:SourceArn", "values": ["y"]},
            ],
        }))
        .unwrap();
        assert_eq!(
            statement.json(),
            json!({
                "Sid": "Mine", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": ["a", "b"],
                "Principal": {"Service": "x.amazonaws.com", "AWS": ["1", "2"]},
                "Condition": {"StringEquals": {"aws:SourceAccount": "1", "aws:SourceArn": ["x", "y"]}},
            })
        );
    }

    #[test]
    fn a_queues_statement_is_about_the_queue() {
        let deny: Statement = serde_json::from_value(json!({
            "effect": "Deny", "actions": ["sqs:*"], "principals": [{"type": "*", "identifiers": ["*"]}],
        }))
        .unwrap();
        assert_eq!(deny.json_about("q"), json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "q"}));
    }

    #[test]
    fn documents_that_iam_rewrites_are_the_same() {
        let sent = json!({"Statement": [{"Action": ["a", "b"], "Resource": "r"}]});
        assert!(same(&sent, &json!({"Statement": {"Action": ["b", "a"], "Resource": ["r"]}})));
        assert!(!same(&sent, &json!({"Statement": [{"Action": ["a"], "Resource": "r"}]})));
    }

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
        assert!(same(&ours, &theirs));
        let mut other = theirs.clone();
        other["Statement"][0]["Condition"]["Bool"]["aws:SecureTransport"] = json!(true);
        assert!(!same(&ours, &other));
    }

    #[test]
    fn a_single_statement_is_a_list_of_one() {
        assert!(same(&json!({"Statement": {"Effect": "Allow"}}), &json!({"Statement": [{"Sid": "x", "Effect": "Allow"}]})));
        assert!(!same(&Json::Null, &json!({"Statement": []})));
    }
}
