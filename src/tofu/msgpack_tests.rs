//! The dialect, byte by byte where it matters, and against random input.

use proptest::prelude::*;

use super::*;

fn object(attributes: &[(&str, Type)]) -> Type {
    Type::Object(attributes.iter().map(|(name, ty)| ((*name).to_owned(), ty.clone())).collect())
}

fn list(element: Type) -> Type {
    Type::List(Box::new(element))
}

fn ty() -> Type {
    object(&[
        ("name", Type::String),
        ("weight", Type::Number),
        ("ready", Type::Bool),
        ("limits", Type::Map(Box::new(Type::String))),
        ("taint", list(object(&[("key", Type::String)]))),
        ("any", Type::Dynamic),
    ])
}

fn decoded(hex: &str, ty: &Type) -> Result<Value, String> {
    let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    decode(&bytes, ty).map_err(|error| error.to_string())
}

#[test]
fn scalars_have_the_clients_bytes() {
    for (hex, ty, value) in [
        ("c0", Type::String, Value::Null),
        ("c3", Type::Bool, Value::Bool(true)),
        ("a1 61", Type::String, Value::from("a")),
        ("d9 01 61", Type::String, Value::from("a")),
        ("07", Type::Number, Value::from(7)),
        ("ff", Type::Number, Value::from(-1)),
        ("cd 03 e8", Type::Number, Value::from(1000)),
        ("d3 80 00 00 00 00 00 00 00", Type::Number, Value::from(i64::MIN)),
        ("cf 80 00 00 00 00 00 00 00", Type::Number, Value::Number(Number::Decimal("9223372036854775808".into()))),
        ("cb 3f e0 00 00 00 00 00 00", Type::Number, Value::Number(Number::Decimal("0.5".into()))),
        ("cb 40 08 00 00 00 00 00 00", Type::Number, Value::from(3)),
        ("a3 30 2e 31", Type::Number, Value::Number(Number::Decimal("0.1".into()))),
        ("d4 00 00", Type::Number, Value::unknown()),
        ("c7 00 00", Type::String, Value::unknown()),
        ("c7 03 0c 81 01 c2", Type::String, Value::Unknown(Refinements(Some(vec![0x81, 1, 0xc2])))),
        ("92 c4 08 22 73 74 72 69 6e 67 22 a1 61", Type::Dynamic, Value::from("a")),
        ("90", list(Type::String), Value::List(vec![])),
        ("81 a1 61 a1 62", Type::Map(Box::new(Type::String)), Value::object([("a", Value::from("b"))])),
    ] {
        assert_eq!(decoded(hex, &ty), Ok(value), "{hex}");
    }
}

#[test]
fn unknowns_are_echoed_byte_for_byte() {
    for bytes in [vec![0xd4, 0, 0], vec![0xc7, 3, 12, 0x81, 1, 0xc2], [vec![0xc7, 200, 12], vec![7; 200]].concat()] {
        let value = decode(&bytes, &Type::String).unwrap();
        assert_eq!(encode(&value, &Type::String), bytes);
    }
}

#[test]
fn described_values_may_be_sets_and_tuples() {
    let described = |ty: &str, value: &[u8]| {
        let mut bytes = vec![0x92];
        write_bin(&mut bytes, ty.as_bytes()).unwrap();
        bytes.extend(value);
        decode(&bytes, &Type::Dynamic).map_err(|error| error.to_string())
    };
    assert_eq!(described(r#"["set","number"]"#, &[0x91, 0xa1, b'7']), Ok(Value::List(vec![Value::from(7)])));
    assert_eq!(described(r#"["tuple",["bool","string"]]"#, &[0x92, 0xc2, 0xc0]), Ok(Value::List(vec![Value::from(false), Value::Null])));
    assert_eq!(
        described(r#"["object",{"a":"dynamic"},["a"]]"#, &[0x81, 0xa1, b'a', 0xd4, 0, 0]),
        Ok(Value::object([("a", Value::unknown())]))
    );
    for (ty, value) in
        [("\"colour\"", &[0xa0][..]), ("[", &[0xa0]), (r#"["tuple",["bool"]]"#, &[0x90]), (r#"["object",{}]"#, &[0x81, 0xa1, b'a', 0xc0])]
    {
        assert!(described(ty, value).is_err(), "{ty}");
    }
    let nested = "[\"list\",".repeat(100_000);
    assert!(described(&nested, &[0x90]).is_err());
}

#[test]
fn errors_say_where() {
    let taint = object(&[("taint", list(object(&[("key", Type::String)])))]);
    for (hex, message) in [
        ("81 a5 74 61 69 6e 74 91 81 a3 6b 65 79 07", "taint[0].key: want a string, found a number"),
        ("81 a5 74 61 69 6e 74 91 80", "taint[0].key: the attribute is missing"),
        ("81 a5 74 61 69 6e 74 91 81 a3 6b 65 7a 07", "taint[0].kez: there is no such attribute"),
        ("81 a5 74 61 69 6e 74 dd ff ff ff ff", "taint[0]: the message ends too early"),
        ("c0 c0", "the value: 1 bytes follow the value"),
        ("c1", "the value: the byte c1 has no meaning"),
        ("", "the value: the message ends too early"),
    ] {
        assert_eq!(decoded(hex, &taint), Err(message.into()), "{hex}");
    }
    assert!(decoded("cb 7f f0 00 00 00 00 00 00", &Type::Number).is_err(), "infinity");
    assert!(decoded("a1 ff", &Type::String).is_err(), "UTF-8");
    assert!(decoded("82 a1 61 c0 a1 61 c0", &Type::Map(Box::new(Type::String))).is_err(), "twice the same key");
}

fn values() -> impl Strategy<Value = Value> {
    let unknown =
        prop_oneof![Just(None), prop::collection::vec(any::<u8>(), 0..40).prop_map(Some)].prop_map(|r| Value::Unknown(Refinements(r)));
    let gap = move |s: BoxedStrategy<Value>| prop_oneof![6 => s, 1 => Just(Value::Null), 1 => unknown.clone()].boxed();
    let string = gap(any::<String>().prop_map(Value::from).boxed());
    let number = prop_oneof![any::<i64>().prop_map(Number::Int), any::<f64>().prop_filter_map("finite", Number::from_f64)];
    let number = gap(number.prop_map(Value::Number).boxed());
    let ready = gap(any::<bool>().prop_map(Value::from).boxed());
    let limits = gap(prop::collection::btree_map(any::<String>(), string.clone(), 0..20).prop_map(Value::Map).boxed());
    let key = string.clone().prop_map(|key| Value::object([("key", key)]));
    let taint = gap(prop::collection::vec(key, 0..20).prop_map(Value::List).boxed());
    (string.clone(), number, ready, limits, taint, string).prop_map(|(name, weight, ready, limits, taint, any)| {
        Value::object([("name", name), ("weight", weight), ("ready", ready), ("limits", limits), ("taint", taint), ("any", any)])
    })
}

proptest! {
    #[test]
    fn every_value_comes_back(value in values()) {
        prop_assert_eq!(decode(&encode(&value, &ty()), &ty()), Ok(value));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &ty());
        let _ = decode(&bytes, &Type::Dynamic);
    }

    #[test]
    fn no_damage_panics_and_no_truncation_passes(value in values(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&value, &ty());
        let at = at.index(bytes.len());
        prop_assert!(decode(&bytes[..at], &ty()).is_err());
        bytes[at] = byte;
        let _ = decode(&bytes, &ty());
    }
}
