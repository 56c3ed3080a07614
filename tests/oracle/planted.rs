//! Each rule is broken once on purpose: the oracle must name it, or its silence elsewhere would mean nothing.

use karpenter::tofu::path::{Path, Step};
use karpenter::tofu::schema::{Attribute, Block, Constraints, Mode, NestedBlock, Outdates, Since, Text, Type};
use karpenter::tofu::value::{Refinements, Value};

use super::proposed::proposed_new;
use super::refinements::{self, Known};
use super::rules::{self, Action, Violation};

fn attribute(name: &str, ty: Type, mode: Mode) -> Attribute {
    Attribute {
        name: name.into(),
        ty,
        mode,
        sensitive: false,
        description: String::new(),
        json: vec![name.into()],
        required_by_validate: false,
        requires_replace: false,
        default: None,
        server_default: None,
        set: false,
        open: false,
        text: Text::Plain,
        since: Since::default(),
        outdates: Outdates::None,
        constraints: Constraints::default(),
    }
}

/// `name`, `size` (optional + computed), `id` (computed), `tags`, and repeated `disk { path, kind }`.
fn block() -> Block {
    let disk = Block {
        attributes: vec![attribute("kind", Type::String, Mode::OptionalComputed), attribute("path", Type::String, Mode::Required)],
        ..Block::default()
    };
    let nested = NestedBlock {
        name: "disk".into(),
        block: disk,
        min_items: 0,
        max_items: 0,
        json: vec![],
        single: false,
        required_by_validate: false,
        set: false,
        server_default: None,
        since: Since::default(),
        outdates: Outdates::None,
    };
    Block {
        attributes: vec![
            attribute("id", Type::String, Mode::Computed),
            attribute("name", Type::String, Mode::Required),
            attribute("size", Type::String, Mode::OptionalComputed),
            attribute("tags", Type::Map(Box::new(Type::String)), Mode::Optional),
        ],
        blocks: vec![nested],
        ..Block::default()
    }
}

fn disk(path: &str, kind: Value) -> Value {
    Value::object([("path", Value::from(path)), ("kind", kind)])
}

/// An object with one disk; what is given stands instead.
fn object<const N: usize>(given: [(&str, Value); N]) -> Value {
    let mut object = Value::object([
        ("id", Value::from("i-1")),
        ("name", Value::from("a")),
        ("size", Value::from("big")),
        ("tags", Value::Null),
        ("disk", Value::List(vec![disk("/a", Value::from("ssd"))])),
    ]);
    given.into_iter().for_each(|(name, value)| object.set(name, value));
    object
}

fn config<const N: usize>(given: [(&str, Value); N]) -> Value {
    let mut config = object([("id", Value::Null), ("size", Value::Null), ("disk", Value::List(vec![disk("/a", Value::Null)]))]);
    given.into_iter().for_each(|(name, value)| config.set(name, value));
    config
}

#[track_caller]
fn names(rule: &str, place: &str, found: &[Violation]) {
    let there = found.iter().any(|v| v.rule == rule && v.path.to_string() == place);
    assert!(there, "{rule} at {place:?} was not found, but {found:?}");
}

fn plan(prior: &Value, config: &Value, planned: &Value) -> Vec<Violation> {
    rules::plan_valid(&block(), prior, config, planned)
}

#[test]
fn what_keeps_the_rules_passes() {
    let unknown = object([("id", Value::unknown()), ("size", Value::unknown()), ("disk", Value::List(vec![disk("/a", Value::unknown())]))]);
    assert_eq!(plan(&Value::Null, &config([]), &unknown), []);
    assert_eq!(plan(&object([]), &config([]), &object([])), []);
    // another text of the same meaning may stay as it was
    assert_eq!(plan(&object([("name", Value::from("A"))]), &config([]), &object([("name", Value::from("A"))])), []);
    assert_eq!(plan(&object([]), &Value::Null, &Value::Null), []);
    assert_eq!(rules::applied(&block(), &unknown, &object([])), []);
    assert_eq!(rules::applied(&block(), &Value::Null, &Value::Null), []);
    assert_eq!(rules::completes(&block(), (&unknown, Action::Update), (&object([]), Action::NoOp)), []);
    assert_eq!(rules::replaces(&block(), &config([]), (&unknown, &[]), &unknown), []);
}

#[test]
fn p1_planned_is_null_exactly_when_the_configuration_is() {
    names("P1", "", &plan(&object([]), &config([]), &Value::Null));
    names("P1", "", &plan(&object([]), &Value::Null, &object([])));
    let null_disk = object([("disk", Value::List(vec![Value::Null]))]);
    names("P1", "disk[0]", &plan(&object([]), &config([]), &null_disk));
}

#[test]
fn p2_every_attribute_is_there() {
    let Value::Map(mut entries) = object([]) else { unreachable!() };
    entries.remove("size");
    names("P2", "size", &plan(&object([]), &config([]), &Value::Map(entries)));
    names("P2", "colour", &plan(&object([]), &config([]), &object([("colour", Value::from("red"))])));
    names("P2", "name", &plan(&object([]), &config([]), &object([("name", Value::from(1))])));
}

#[test]
fn p3_an_attribute_is_as_configured_as_before_or_computed() {
    let prior = object([("name", Value::from("before"))]);
    names("P3", "name", &plan(&prior, &config([]), &object([("name", Value::from("else"))])));
    names("P3", "name", &plan(&Value::Null, &config([]), &object([("name", Value::unknown())])));
    names("P3", "tags", &plan(&prior, &config([]), &object([("tags", Value::object([("k", Value::from("v"))]))])));
    // computed, but configured
    names("P3", "size", &plan(&prior, &config([("size", Value::from("small"))]), &object([("size", Value::from("middle"))])));
    let kind = config([("disk", Value::List(vec![disk("/a", Value::from("hdd"))]))]);
    let planned = object([("disk", Value::List(vec![disk("/a", Value::from("tape"))]))]);
    names("P3", "disk[0].kind", &plan(&prior, &kind, &planned));
    // a null prior excuses nothing
    names("P3", "tags", &plan(&object([]), &config([("tags", Value::object([("k", Value::from("v"))]))]), &object([])));
}

#[test]
fn p4_what_is_write_only_is_in_no_state() {
    names("P4", "size", &rules::write_only(&["size"], &object([])));
    assert_eq!(rules::write_only(&["tags"], &object([])), []);
}

#[test]
fn p5_unknown_blocks_come_back_and_known_ones_keep_their_number() {
    let refined = Value::Unknown(refinements::write(&[Known::Null(false), Known::LeastLength(1)]));
    names("P5", "disk", &plan(&object([]), &config([("disk", refined.clone())]), &object([])));
    names("P5", "disk", &plan(&object([]), &config([("disk", refined.clone())]), &object([("disk", Value::unknown())])));
    assert_eq!(plan(&object([]), &config([("disk", refined.clone())]), &object([("disk", refined)])), []);
    names("P5", "disk", &plan(&object([]), &config([]), &object([("disk", Value::unknown())])));
    names("P5", "disk", &plan(&object([]), &config([]), &object([("disk", Value::Null)])));
    names("P5", "disk", &plan(&object([]), &config([]), &object([("disk", Value::List(vec![]))])));
    names("P5", "disk[0]", &plan(&object([]), &config([]), &object([("disk", Value::List(vec![Value::unknown()]))])));
}

#[test]
fn p6_replacements_are_of_something() {
    let lost = Path::attribute("disk").index(3).child("path");
    let there = Path(vec![Step::Attribute("disk".into()), Step::Index(0), Step::Attribute("path".into())]);
    let found = rules::replacements_resolve(&object([]), &object([]), &[there, lost]);
    assert_eq!(found.len(), 1);
    names("P6", "disk[3].path", &found);
}

#[test]
fn p7_the_second_plan_completes_the_first() {
    let (first, second) = (object([("size", Value::unknown())]), object([("name", Value::from("b")), ("size", Value::unknown())]));
    names("P7", "name", &rules::completes(&block(), (&first, Action::Update), (&second, Action::Update)));
    names("P7", "", &rules::completes(&block(), (&first, Action::Update), (&first, Action::Replace)));
    let forgot = object([("id", Value::unknown())]);
    names("P7", "id", &rules::completes(&block(), (&object([]), Action::Update), (&forgot, Action::Update)));
    let promised = object([("size", Value::Unknown(refinements::write(&[Known::Null(false), Known::Prefix("sm".into())])))]);
    names("P7", "size", &rules::completes(&block(), (&promised, Action::Update), (&object([]), Action::Update)));
    let null = object([("size", Value::Null)]);
    names("P7", "size", &rules::completes(&block(), (&promised, Action::Update), (&null, Action::Update)));
}

#[test]
fn p8_a_satisfied_configuration_changes_nothing() {
    names("P8", "disk[0].kind", &rules::unchanged("P8", &object([]), &object([("disk", Value::List(vec![disk("/a", Value::unknown())]))])));
}

#[test]
fn p9_a_replacement_is_planned_as_a_create() {
    let path = [Path::attribute("name")];
    names("P9", "name", &rules::replaces(&block(), &config([]), (&object([]), &path), &object([])));
    // without prior, nothing excuses a value that is not configured
    names(
        "P9",
        "tags",
        &rules::replaces(&block(), &config([]), (&object([("tags", Value::object([("k", Value::from("v"))]))]), &[]), &object([])),
    );
    names("P9", "size", &rules::replaces(&block(), &config([]), (&object([]), &[]), &object([("size", Value::from("small"))])));
}

#[test]
fn a1_everything_is_known_after_an_apply() {
    let tags = Value::object([("k", Value::unknown())]);
    let planned = object([("tags", tags.clone())]);
    names("A1", "tags.k", &rules::applied(&block(), &planned, &object([("tags", tags)])));
}

#[test]
fn a2_what_was_planned_is_what_comes() {
    let applied = |planned: &Value, new: &Value| rules::applied(&block(), planned, new);
    names("A2", "name", &applied(&object([]), &object([("name", Value::from("b"))])));
    names("A2", "size", &applied(&object([]), &object([("size", Value::Null)])));
    names("A2", "tags", &applied(&object([]), &object([("tags", Value::object([("k", Value::from("v"))]))])));
    names("A2", "disk", &applied(&object([]), &object([("disk", Value::List(vec![]))])));
    names("A2", "disk[0].kind", &applied(&object([]), &object([("disk", Value::List(vec![disk("/a", Value::from("hdd"))]))])));
    let tags = |key: &str| object([("tags", Value::object([(key, Value::from("v"))]))]);
    names("A2", "tags[\"a\"]", &applied(&tags("a"), &tags("b")));
    names("A2", "tags[\"b\"]", &applied(&tags("a"), &tags("b")));
}

#[test]
fn a3_only_a_delete_ends_in_nothing() {
    names("A3", "", &rules::applied(&block(), &object([]), &Value::Null));
    names("A3", "", &rules::applied(&block(), &Value::Null, &object([])));
}

#[test]
fn a4_an_answer_can_be_decoded() {
    names("A4", "name", &rules::survives_the_wire(&block(), &object([("name", Value::List(vec![]))])));
    let Value::Map(mut entries) = object([]) else { unreachable!() };
    entries.remove("id");
    names("A4", "id", &rules::survives_the_wire(&block(), &Value::Map(entries)));
    assert_eq!(rules::survives_the_wire(&block(), &object([("id", Value::Unknown(Refinements(Some(vec![0x81, 1, 0xc2]))))])), []);
}

#[test]
fn a5_a_failure_loses_nothing() {
    names("A5", "", &rules::failed(Action::Delete, &object([]), &Value::Null));
    names("A5", "", &rules::failed(Action::Update, &object([]), &Value::Null));
    names("A5", "id", &rules::failed(Action::Create, &Value::Null, &object([("id", Value::unknown())])));
    assert_eq!(rules::failed(Action::Create, &Value::Null, &object([])), []);
}

#[test]
fn r2_a_read_sees_what_was_applied() {
    names("R2", "size", &rules::unchanged("R2", &object([]), &object([("size", Value::from("small"))])));
}

#[test]
fn the_client_proposes_configuration_and_computed_values_as_they_were() {
    let two = Value::List(vec![disk("/b", Value::Null), disk("/c", Value::Null)]);
    let proposed = proposed_new(&block(), &object([]), &config([("name", Value::from("b")), ("disk", two)]));
    let disks = Value::List(vec![disk("/b", Value::from("ssd")), disk("/c", Value::Null)]);
    assert_eq!(proposed, object([("name", Value::from("b")), ("disk", disks)]));
    assert_eq!(proposed_new(&block(), &Value::Null, &config([])), config([]));
    assert_eq!(proposed_new(&block(), &object([]), &Value::Null), object([]));
    assert_eq!(proposed_new(&block(), &object([]), &config([("disk", Value::unknown())])).attr("disk"), &Value::unknown());
}
