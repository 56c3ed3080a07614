//! The HCL writer on random configurations: what the client reads is what was written, and `fmt` leaves it as it is.

use std::sync::Arc;

use karpenter::provider::Connections;
use karpenter::resources::nodeclass::NodeClassKind;
use karpenter::resources::nodepool::NodePoolKind;
use karpenter::resources::object::{ApiObject, Kind};
use karpenter::tofu::schema::{Block, Mode};
use karpenter::tofu::value::Value;
use karpenter::tofu::{hcl, json};
use serde_json::Value as Json;

use super::generate::{Generator, Taste};
use super::lab;
use super::random::Random;
use crate::common::Tofu;

/// Configurations of each kind.
const CASES: u64 = 40;

#[test]
fn random_configurations_are_read_as_they_were_written() {
    let mut text = super::provider();
    let mut written: Vec<(String, Value, Block)> = vec![];
    written.extend(configurations::<NodePoolKind>(&mut text));
    written.extend(configurations::<NodeClassKind>(&mut text));
    let tofu = Tofu::new(lab(), &text);
    let formatted = tofu.run(&["fmt", "-check", "-diff"]);
    assert_eq!((formatted.code, formatted.stdout.as_str()), (0, ""), "{}", formatted.stderr);
    let plan = tofu.plan().ok();
    assert_eq!(plan.changes().len(), written.len());
    for (address, config, block) in written {
        let read = plan.change(&address)["after"].clone();
        let wanted: Json = serde_json::from_slice(&json::encode(&config, &block.ty())).unwrap();
        compare(&block, &config, &wanted, &read, &address);
    }
}

fn configurations<K: Kind>(text: &mut String) -> Vec<(String, Value, Block)> {
    let types = ApiObject::<K>::new(Arc::new(Connections::new()));
    let block = K::schema().block;
    let generator = Generator::new(&block);
    let mut written = vec![];
    for seed in 1.. {
        let random = &mut Random::new(seed);
        let config = generator.config(Taste { set: 2, garbage: 0 }, random);
        let Some(mut config) = generator.repair(config, &|c| types.check(c), random) else { continue };
        let name = format!("n{}", written.len());
        for (attribute, value) in [
            ("cluster_name", Value::Null),
            ("manifest", Value::Null),
            ("name", Value::from(name.clone())),
            ("metadata_annotations", Value::object([("example.com/nasty", Value::from(nasty(random)))])),
            ("user_data", Value::from(nasty(random))),
        ] {
            if block.attribute(attribute).is_some() {
                config.set(attribute, value);
            }
        }
        if types.check(&config).has_errors() {
            continue;
        }
        text.push('\n');
        text.push_str(&hcl::block(&format!("resource \"{}\" \"{name}\"", K::TYPE_NAME), &block, &config, &|_| None));
        written.push((format!("{}.{name}", K::TYPE_NAME), config, block.clone()));
        if written.len() as u64 == CASES {
            break;
        }
    }
    written
}

/// Text that is hard to write: templates, quotes, line ends, ends of heredocs.
fn nasty(random: &mut Random) -> String {
    const PARTS: [&str; 24] = [
        "${",
        "%{",
        "$${",
        "%%{",
        "$",
        "%",
        "{",
        "}",
        "\\",
        "\"",
        "\n",
        "\n",
        "\r\n",
        "\t",
        "EOT\n",
        "\nEOT",
        "{{ ds }}",
        " ",
        "a",
        "ß",
        "日本",
        "\u{7}",
        "#",
        "\u{1F600}",
    ];
    (0..random.below(12)).filter_map(|_| random.pick(&PARTS)).copied().collect()
}

/// What the configuration says is what was read. What it leaves to the provider, and what equals a default, is not compared.
fn compare(block: &Block, config: &Value, wanted: &Json, read: &Json, at: &str) {
    for attribute in &block.attributes {
        let defaults = [&attribute.default, &attribute.server_default];
        let is_default = defaults.into_iter().any(|default| default.as_ref() == Some(config.attr(&attribute.name)));
        if attribute.mode == Mode::Computed
            || attribute.mode == Mode::OptionalComputed && (config.attr(&attribute.name).is_null() || is_default)
        {
            continue;
        }
        assert_eq!(read[&attribute.name], wanted[&attribute.name], "{at}.{}", attribute.name);
    }
    for nested in &block.blocks {
        let items = config.attr(&nested.name).items();
        assert_eq!(read[&nested.name].as_array().map_or(0, Vec::len), items.len(), "{at}.{}", nested.name);
        for (i, item) in items.iter().enumerate() {
            compare(&nested.block, item, &wanted[&nested.name][i], &read[&nested.name][i], &format!("{at}.{}[{i}]", nested.name));
        }
    }
}
