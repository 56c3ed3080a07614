//! `ignore_tags`: tags that others put on what we own, and that we neither report nor remove.

use schemars::JsonSchema;
use serde::Deserialize;

/// Tags that are left as they are on objects that exist, as in the aws provider: neither set, changed, removed nor reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct IgnoreTags {
    /// Keys of such tags.
    pub keys: Option<Vec<String>>,
    /// What keys of such tags start with.
    pub key_prefixes: Option<Vec<String>>,
}

impl IgnoreTags {
    /// Whether the tag is left as it is. The tags by which a bundle knows its own objects never are.
    pub fn ignores(&self, key: &str) -> bool {
        let named = self.keys.iter().flatten().any(|ignored| ignored == key);
        let begins = self.key_prefixes.iter().flatten().any(|prefix| key.starts_with(prefix.as_str()));
        (named || begins) && !key.starts_with("karpenter-tofu/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_prefixes_are_ignored_but_never_our_own() {
        let ignore = IgnoreTags { keys: Some(vec!["owner".into()]), key_prefixes: Some(vec!["audit:".into(), "karpenter".into()]) };
        assert!(ignore.ignores("owner") && ignore.ignores("audit:x") && ignore.ignores("karpenter.sh/x"));
        assert!(!ignore.ignores("Owner") && !ignore.ignores("x-audit:") && !ignore.ignores("karpenter-tofu/cluster"));
    }
}
