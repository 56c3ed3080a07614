//! `import` blocks with `-generate-config-out`: the client writes the configuration, and it plans no change in the API.

use super::fixture::manifests;
use super::{alone, differences, lab, provider};
use crate::common::{Engine, Proxy, Tofu};

/// Labels and types of what is imported, with the names.
const IMPORTS: [(&str, &str); 6] = [
    ("karpenter_nodeclass.a", "default"),
    ("karpenter_nodeclass.b", "4th.class"),
    ("karpenter_nodeclass.c", "4th-class"),
    ("karpenter_nodepool.a", "trino-xsmall"),
    ("karpenter_nodepool.b", "trino.xsmall"),
    ("karpenter_nodepool.c", "for"),
];

fn generated(tofu: &Tofu, proxy: &Proxy) {
    proxy.reset();
    // what the client writes is applied as it is: no argument of it may say more than the object
    let plan = tofu.plan_with(&["-generate-config-out=generated.tf"]).ok();
    assert_eq!(plan.changes(), Vec::<String>::new(), "{}", differences(&plan));
    tofu.apply_planned().ok();
    tofu.plan().empty();
    tofu.plan_with(&["-refresh=false"]).empty();
    assert_eq!(proxy.calls().iter().filter(|c| c.mutating && c.service == "kubernetes").count(), 0);
}

#[test]
fn generated_configuration_plans_no_change() {
    let _alone = alone();
    let lab = lab();
    // OpenTofu itself writes a key that is a keyword without quotes, and cannot read it back
    lab.kubectl_apply(&manifests(lab.cluster_name()).replace(", for: null-ish", ""));
    let proxy = lab.proxy();
    let blocks = IMPORTS.map(|(to, name)| format!("import {{\n  to = {to}\n  id = \"{name}\"\n}}\n")).concat();
    let hcl = provider() + &blocks;
    generated(&Tofu::new(lab, &hcl).through(&proxy), &proxy);
    if let Some(terraform) = Engine::terraform() {
        generated(&Tofu::new(lab, &hcl).engine(terraform).through(&proxy), &proxy);
    }
}
