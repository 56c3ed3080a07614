//! Offline checks of the provider block: each value by its declaration, then what contradicts what.

use crate::aws::arn::ClusterRef;
use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::schema::Schema;
use crate::tofu::validate::validate_plain;
use crate::tofu::value::Value;

/// Arguments of which at most one may be set, with the reason: the block's name, or the root where empty.
const EXCLUSIVE: &[(&str, &[&str], &str)] = &[
    ("kubernetes", &["token", "username", "client_certificate", "exec"], "the API server takes one identity"),
    ("kubernetes", &["cluster_ca_certificate", "insecure"], "a certificate that is not checked needs no authority"),
    ("kubernetes", &["config_path", "config_paths"], "`config_paths` alone can name several files"),
    ("kubernetes", &["insecure", "tls_server_name"], "a certificate that is not checked needs no name"),
    ("assume_role_with_web_identity", &["web_identity_token", "web_identity_token_file"], "one token is sent"),
    ("", &["access_key", "profile"], "both say whose credentials count"),
    ("", &["access_key", "assume_role_with_web_identity"], "both say whose credentials count"),
    ("", &["profile", "assume_role_with_web_identity"], "both say whose credentials count"),
    ("", &["allowed_account_ids", "forbidden_account_ids"], "what is not allowed is forbidden"),
];

/// Arguments that need another one.
const TOGETHER: &[(&str, &str, &str)] = &[
    ("kubernetes", "client_certificate", "client_key"),
    ("kubernetes", "client_key", "client_certificate"),
    ("kubernetes", "username", "password"),
    ("kubernetes", "password", "username"),
    ("", "access_key", "secret_key"),
    ("", "secret_key", "access_key"),
    ("", "token", "access_key"),
];

/// Offline checks.
pub fn validate(schema: &Schema, config: &Value) -> Diagnostics {
    let mut diagnostics = validate_plain(&schema.block, config);
    if let Some(name) = config.attr("cluster_name").as_str()
        && let Err(error) = ClusterRef::parse(name)
    {
        diagnostics.extend(error.at(Path::attribute("cluster_name")).into());
    }
    for (block, names, reason) in EXCLUSIVE {
        let (value, path) = place(config, block);
        let written: Vec<&str> = names.iter().copied().filter(|name| is_set(value.attr(name))).collect();
        if let [_, second, ..] = written[..] {
            let all = written.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            let detail = format!("{all} exclude each other: {reason}. Remove all but one.");
            diagnostics.error(path(second), format!("conflicting arguments {all}"), detail);
        }
    }
    for (block, one, other) in TOGETHER {
        let (value, path) = place(config, block);
        if is_set(value.attr(one)) && value.attr(other).is_null() {
            diagnostics.error(path(one), format!("missing argument {}", path(other)), format!("`{one}` needs `{other}`: set it, too."));
        }
    }
    transitive_tags(config, &mut diagnostics);
    diagnostics
}

/// The value of the first block of that name, and the paths of what is in it.
fn place<'a>(config: &'a Value, block: &'static str) -> (&'a Value, impl Fn(&str) -> Path) {
    let value = if block.is_empty() { config } else { config.attr(block).first() };
    let path = move |name: &str| match block {
        "" => Path::attribute(name),
        block => Path::attribute(block).index(0).child(name),
    };
    (value, path)
}

/// What is unknown may turn out to be null: a module's variable is unknown to `validate`, and null for who does not use it.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Unknown(_) => false,
        Value::List(items) => !items.is_empty(),
        Value::Map(_) | Value::String(_) | Value::Number(_) | Value::Bool(true) => true,
    }
}

/// STS refuses transitive keys of tags that the session does not get.
fn transitive_tags(config: &Value, diagnostics: &mut Diagnostics) {
    for name in ["assume_role", "cluster_assume_role"] {
        for (i, role) in config.attr(name).items().iter().enumerate() {
            let tags = role.attr("tags");
            for (k, key) in role.attr("transitive_tag_keys").items().iter().enumerate() {
                let Some(key) = key.as_str() else { continue };
                if !tags.is_unknown() && !tags.entries().any(|(tag, _)| tag == key) {
                    let path = Path::attribute(name).index(i).child("transitive_tag_keys").index(k);
                    let detail = format!("{key:?} is no key of `tags`. Add it there, or remove it here.");
                    diagnostics.error(path.clone(), format!("invalid value for {path}"), detail);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn block(entries: &[(&str, Value)]) -> Value {
        Value::List(vec![Value::object(entries.iter().cloned())])
    }

    fn refused(config: &[(&str, Value)]) -> Vec<String> {
        let found = validate(&schema(), &Value::object(config.iter().cloned()));
        assert!(found.0.iter().all(|d| !d.detail.is_empty()));
        found.0.iter().filter_map(|d| Some(d.path.as_ref()?.to_string())).collect()
    }

    #[test]
    fn contradictions_are_refused_with_their_path() {
        let paths = refused(&[
            ("cluster_name", Value::from("a b")),
            ("kubernetes", block(&[("token", Value::from("t")), ("client_certificate", Value::from("c"))])),
            ("assume_role", block(&[("role_arn", Value::from("x")), ("duration", Value::from("5m"))])),
        ]);
        for expected in ["cluster_name", "kubernetes[0].client_certificate", "assume_role[0].role_arn", "assume_role[0].duration"] {
            assert!(paths.iter().any(|p| p == expected), "{expected} in {paths:?}");
        }
    }

    #[test]
    fn every_pair_that_excludes_each_other_is_refused_at_the_second() {
        for (at, names, _) in EXCLUSIVE {
            let exec = block(&[("api_version", Value::from("client.authentication.k8s.io/v1")), ("command", Value::from("x"))]);
            let value = |name: &&str| match *name {
                "exec" => exec.clone(),
                "insecure" => Value::Bool(true),
                "assume_role_with_web_identity" => block(&[]),
                "config_paths" | "allowed_account_ids" | "forbidden_account_ids" => Value::List(vec![Value::from("111122223333")]),
                _ => Value::from("x"),
            };
            let entries: Vec<(&str, Value)> = names[..2].iter().map(|name| (*name, value(name))).collect();
            let (config, expected) = match *at {
                "" => (entries, names[1].to_owned()),
                at => (vec![(at, block(&entries))], format!("{at}[0].{}", names[1])),
            };
            assert!(refused(&config).contains(&expected), "{at} {names:?}: {:?}", refused(&config));
            let unknown: Vec<(&str, Value)> = names[..2].iter().map(|name| (*name, Value::unknown())).collect();
            let unknown = if at.is_empty() { unknown } else { vec![(*at, block(&unknown))] };
            assert_eq!(refused(&unknown), [""; 0], "either may be null");
        }
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        assert_eq!(refused(&[("access_key", Value::from("AKIA"))]), ["access_key"]);
        assert_eq!(refused(&[("kubernetes", block(&[("username", Value::from("u"))]))]), ["kubernetes[0].username"]);
        assert_eq!(refused(&[("kubernetes", block(&[("insecure", Value::Bool(false)), ("tls_server_name", Value::from("x"))]))]), [""; 0]);
        let role = [
            ("role_arn", Value::from("arn:aws:iam::111122223333:role/x")),
            ("transitive_tag_keys", Value::List(vec![Value::from("team")])),
        ];
        assert_eq!(refused(&[("assume_role", block(&role))]), ["assume_role[0].transitive_tag_keys[0]"]);
    }
}
