//! The functions that templates may call: those of Karpenter's charts, and their nearest relatives. No other one is known.

use base64::Engine;

use super::format;
use super::semver;
use super::value::Val;
use crate::helm::yaml;

/// What a function answers; the error is a sentence without the function's name.
pub type Outcome = Result<Val, String>;

type Function = fn(&[Val]) -> Outcome;

/// Those that need the engine itself.
pub const ENGINE: &[&str] = &["include", "tpl", "and", "or"];

/// Name, fewest and most arguments, function.
const TABLE: &[(&str, usize, usize, Function)] = &[
    ("append", 2, 2, append),
    ("b64dec", 1, 1, b64dec),
    ("b64enc", 1, 1, |a| Ok(Val::str(base64::engine::general_purpose::STANDARD.encode(str(a, 0)?)))),
    ("coalesce", 0, MANY, |a| Ok(a.iter().find(|v| v.truth()).cloned().unwrap_or(Val::Nil))),
    ("contains", 2, 2, |a| Ok(Val::Bool(str(a, 1)?.contains(str(a, 0)?)))),
    ("default", 1, 2, |a| Ok(if a[a.len() - 1].truth() && a.len() == 2 { a[1].clone() } else { a[0].clone() })),
    ("dict", 0, MANY, dict),
    ("empty", 1, 1, |a| Ok(Val::Bool(!a[0].truth()))),
    ("eq", 2, MANY, eq),
    ("fail", 1, 1, |a| Err(str(a, 0)?.to_owned())),
    ("first", 1, 1, |a| Ok(items(a, 0)?.first().cloned().unwrap_or(Val::Nil))),
    ("float64", 1, 1, |a| Ok(Val::Float(to_float(&a[0])))),
    ("fromJson", 1, 1, from_yaml),
    ("fromYaml", 1, 1, from_yaml),
    ("ge", 2, 2, |a| Ok(Val::Bool(order(a)? != std::cmp::Ordering::Less))),
    ("get", 2, 2, |a| Ok(entries(a, 0)?.borrow().get(str(a, 1)?).cloned().unwrap_or_else(|| Val::str("")))),
    ("gt", 2, 2, |a| Ok(Val::Bool(order(a)? == std::cmp::Ordering::Greater))),
    ("has", 2, 2, has),
    ("hasKey", 2, 2, |a| Ok(Val::Bool(entries(a, 0)?.borrow().contains_key(str(a, 1)?)))),
    ("hasPrefix", 2, 2, |a| Ok(Val::Bool(str(a, 1)?.starts_with(str(a, 0)?)))),
    ("hasSuffix", 2, 2, |a| Ok(Val::Bool(str(a, 1)?.ends_with(str(a, 0)?)))),
    ("indent", 2, 2, |a| Ok(Val::str(indent(int(a, 0)?, str(a, 1)?)))),
    ("index", 1, MANY, index),
    ("int", 1, 1, |a| Ok(Val::Int(to_float(&a[0]) as i64))),
    ("int64", 1, 1, |a| Ok(Val::Int(to_float(&a[0]) as i64))),
    ("join", 2, 2, join),
    ("keys", 0, MANY, keys),
    ("kindIs", 2, 2, |a| Ok(Val::Bool(str(a, 0)? == a[1].kind()))),
    ("kindOf", 1, 1, |a| Ok(Val::str(a[0].kind()))),
    ("last", 1, 1, |a| Ok(items(a, 0)?.last().cloned().unwrap_or(Val::Nil))),
    ("le", 2, 2, |a| Ok(Val::Bool(order(a)? != std::cmp::Ordering::Greater))),
    ("len", 1, 1, len),
    ("list", 0, MANY, |a| Ok(Val::list(a.to_vec()))),
    ("lower", 1, 1, |a| Ok(Val::str(str(a, 0)?.to_lowercase()))),
    ("lt", 2, 2, |a| Ok(Val::Bool(order(a)? == std::cmp::Ordering::Less))),
    ("merge", 1, MANY, merge),
    ("ne", 2, 2, |a| Ok(Val::Bool(!eq(a)?.truth()))),
    ("nindent", 2, 2, |a| Ok(Val::str(format!("\n{}", indent(int(a, 0)?, str(a, 1)?))))),
    ("not", 1, 1, |a| Ok(Val::Bool(!a[0].truth()))),
    ("print", 0, MANY, |a| Ok(Val::str(format::sprint(a)))),
    ("printf", 1, MANY, |a| Ok(Val::str(format::sprintf(str(a, 0)?, &a[1..])))),
    ("println", 0, MANY, |a| Ok(Val::str(a.iter().map(format::display).collect::<Vec<_>>().join(" ") + "\n"))),
    ("quote", 0, MANY, |a| Ok(Val::str(each(a, format::quote)))),
    ("replace", 3, 3, |a| Ok(Val::str(str(a, 2)?.replace(str(a, 0)?, str(a, 1)?)))),
    ("required", 2, 2, required),
    ("semverCompare", 2, 2, |a| semver::compare(str(a, 0)?, str(a, 1)?).map(Val::Bool)),
    ("set", 3, 3, set),
    ("sortAlpha", 1, 1, sort_alpha),
    ("squote", 0, MANY, |a| Ok(Val::str(each(a, |s| format!("'{s}'"))))),
    ("ternary", 3, 3, |a| match &a[2] {
        Val::Bool(test) => Ok(a[usize::from(!test)].clone()),
        other => Err(format!("wrong type for value; expected bool; got {}", other.type_name())),
    }),
    // Go's encoder escapes what could end a script in HTML
    ("toJson", 1, 1, |a| {
        let text = a[0].to_json()?.to_string();
        Ok(Val::str(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")))
    }),
    ("toString", 1, 1, |a| Ok(Val::str(format::display(&a[0])))),
    ("toYaml", 1, 1, |a| yaml::write(&a[0].to_json()?).map(|text| Val::str(text.strip_suffix('\n').unwrap_or(&text)))),
    ("trim", 1, 1, |a| Ok(Val::str(str(a, 0)?.trim()))),
    ("trimPrefix", 2, 2, |a| Ok(Val::str(str(a, 1)?.strip_prefix(str(a, 0)?).unwrap_or(str(a, 1)?)))),
    ("trimSuffix", 2, 2, |a| Ok(Val::str(str(a, 1)?.strip_suffix(str(a, 0)?).unwrap_or(str(a, 1)?)))),
    ("trunc", 2, 2, trunc),
    ("unset", 2, 2, unset),
    ("upper", 1, 1, |a| Ok(Val::str(str(a, 0)?.to_uppercase()))),
];

const MANY: usize = usize::MAX;

/// Whether a function of that name exists.
pub fn known(name: &str) -> bool {
    ENGINE.contains(&name) || TABLE.iter().any(|(n, ..)| *n == name)
}

/// Calls a function that needs no engine.
pub fn call(name: &str, args: &[Val]) -> Outcome {
    let (_, fewest, most, function) =
        TABLE.iter().find(|(n, ..)| *n == name).ok_or_else(|| format!("function {name:?} is not supported"))?;
    if args.len() < *fewest || args.len() > *most {
        let want = if *most == MANY { format!("at least {fewest}") } else { fewest.to_string() };
        return Err(format!("wrong number of args: want {want} got {}", args.len()));
    }
    function(args)
}

fn wrong_type(want: &str, got: &Val) -> String {
    match got {
        Val::Nil => format!("invalid value; expected {want}"),
        got => format!("wrong type for value; expected {want}; got {}", got.type_name()),
    }
}

fn str(args: &[Val], index: usize) -> Result<&str, String> {
    match &args[index] {
        Val::Str(text) => Ok(text),
        other => Err(wrong_type("string", other)),
    }
}

fn int(args: &[Val], index: usize) -> Result<i64, String> {
    match &args[index] {
        Val::Int(number) => Ok(*number),
        other => Err(wrong_type("int", other)),
    }
}

fn entries(args: &[Val], index: usize) -> Result<&super::value::Shared, String> {
    match &args[index] {
        Val::Map(map) => Ok(map),
        other => Err(wrong_type("map[string]interface {}", other)),
    }
}

fn items(args: &[Val], index: usize) -> Result<&[Val], String> {
    match &args[index] {
        Val::List(list) => Ok(list),
        other => Err(wrong_type("[]interface {}", other)),
    }
}

fn to_float(value: &Val) -> f64 {
    match value {
        Val::Int(i) => *i as f64,
        Val::Float(f) => f.trunc(),
        Val::Bool(b) => f64::from(u8::from(*b)),
        Val::Str(s) => s.trim().parse().unwrap_or_default(),
        Val::Nil | Val::List(_) | Val::Map(_) | Val::Struct(_) => 0.0,
    }
}

/// `quote` and `squote`: what is nil is left out.
fn each(args: &[Val], quoted: impl Fn(&str) -> String) -> String {
    let present = args.iter().filter(|v| !matches!(v, Val::Nil));
    present.map(|v| quoted(&format::display(v))).collect::<Vec<_>>().join(" ")
}

fn indent(spaces: i64, text: &str) -> String {
    let pad = " ".repeat(usize::try_from(spaces).unwrap_or_default().min(1000));
    format!("{pad}{}", text.replace('\n', &format!("\n{pad}")))
}

fn append(args: &[Val]) -> Outcome {
    let Val::List(list) = &args[0] else { return Err(format!("Cannot push on type {}", args[0].kind())) };
    Ok(Val::list(list.iter().chain([&args[1]]).cloned().collect()))
}

fn b64dec(args: &[Val]) -> Outcome {
    let bytes = base64::engine::general_purpose::STANDARD.decode(str(args, 0)?).map_err(|e| e.to_string())?;
    Ok(Val::str(String::from_utf8_lossy(&bytes)))
}

fn dict(args: &[Val]) -> Outcome {
    Ok(Val::map(args.chunks(2).map(|pair| (format::display(&pair[0]), pair.get(1).cloned().unwrap_or_else(|| Val::str(""))))))
}

fn from_yaml(args: &[Val]) -> Outcome {
    // Helm answers a map with the key Error; a chart that reads such text is broken either way
    match yaml::parse(str(args, 0)?)? {
        value @ serde_json::Value::Object(_) => Ok(Val::from_json(&value)),
        serde_json::Value::Null => Ok(Val::map([])),
        other => Err(format!("want a mapping, got {other}")),
    }
}

fn has(args: &[Val]) -> Outcome {
    match &args[1] {
        Val::Nil => Ok(Val::Bool(false)),
        _ => Ok(Val::Bool(items(args, 1)?.iter().any(|item| same(item, &args[0])))),
    }
}

/// Deep equality; an int and a float differ, as in Go.
fn same(a: &Val, b: &Val) -> bool {
    a.type_name() == b.type_name() && a.to_json().is_ok_and(|a| b.to_json().is_ok_and(|b| a == b))
}

fn join(args: &[Val]) -> Outcome {
    let separator = str(args, 0)?;
    Ok(Val::str(match &args[1] {
        Val::Nil => String::new(),
        Val::List(list) => list.iter().filter(|v| !matches!(v, Val::Nil)).map(format::display).collect::<Vec<_>>().join(separator),
        other => format::display(other),
    }))
}

fn keys(args: &[Val]) -> Outcome {
    let mut keys = vec![];
    for index in 0..args.len() {
        keys.extend(entries(args, index)?.borrow().keys().map(Val::str));
    }
    Ok(Val::list(keys))
}

fn len(args: &[Val]) -> Outcome {
    let count = match &args[0] {
        Val::Str(text) => text.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.borrow().len(),
        Val::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Val::Int(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn index(args: &[Val]) -> Outcome {
    let mut value = args[0].clone();
    for key in &args[1..] {
        value = match (&value, key) {
            (Val::Map(map), Val::Str(key)) => map.borrow().get(&**key).cloned().unwrap_or(Val::Nil),
            (Val::List(list), Val::Int(i)) => {
                let found = usize::try_from(*i).ok().and_then(|i| list.get(i)).cloned();
                found.ok_or_else(|| format!("index out of range: {i}"))?
            }
            (Val::Nil, _) => return Err("index of untyped nil".to_owned()),
            (Val::Map(_) | Val::List(_), key) => return Err(format!("cannot index with type {}", key.type_name())),
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

/// What the first map has not, or has empty, comes from the later ones; by reference, and in place.
fn merge(args: &[Val]) -> Outcome {
    for index in 1..args.len() {
        merge_into(entries(args, 0)?, entries(args, index)?, 0)?;
    }
    Ok(args[0].clone())
}

fn merge_into(to: &super::value::Shared, from: &super::value::Shared, depth: usize) -> Result<(), String> {
    if std::rc::Rc::ptr_eq(to, from) {
        return Ok(());
    }
    if depth > 100 {
        return Err("a map contains itself".to_owned());
    }
    let pairs: Vec<(String, Val)> = from.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    for (key, value) in pairs {
        let mine = to.borrow().get(&key).cloned();
        match (mine, &value) {
            (_, Val::Nil) => {}
            (Some(Val::Map(mine)), Val::Map(theirs)) => merge_into(&mine, theirs, depth + 1)?,
            (Some(mine), _) if mine.truth() => {}
            _ => drop(to.borrow_mut().insert(key, value)),
        }
    }
    Ok(())
}

fn required(args: &[Val]) -> Outcome {
    match &args[1] {
        Val::Nil => Err(str(args, 0)?.to_owned()),
        Val::Str(text) if text.is_empty() => Err(str(args, 0)?.to_owned()),
        value => Ok(value.clone()),
    }
}

fn set(args: &[Val]) -> Outcome {
    entries(args, 0)?.borrow_mut().insert(str(args, 1)?.to_owned(), args[2].clone());
    Ok(args[0].clone())
}

fn unset(args: &[Val]) -> Outcome {
    entries(args, 0)?.borrow_mut().remove(str(args, 1)?);
    Ok(args[0].clone())
}

fn sort_alpha(args: &[Val]) -> Outcome {
    let mut texts: Vec<String> = items(args, 0)?.iter().map(format::display).collect();
    texts.sort();
    Ok(Val::list(texts.into_iter().map(Val::str).collect()))
}

/// Bytes, as in sprig; a character cut in two becomes a replacement character.
fn trunc(args: &[Val]) -> Outcome {
    let (count, text) = (int(args, 0)?, str(args, 1)?);
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let bytes = text.as_bytes();
    Ok(Val::str(String::from_utf8_lossy(match count {
        _ if size >= bytes.len() => bytes,
        0.. => &bytes[..size],
        _ => &bytes[bytes.len() - size..],
    })))
}

/// Go's basic kinds: values of different ones cannot be compared, but with nil.
fn eq(args: &[Val]) -> Outcome {
    for other in &args[1..] {
        let equal = match (&args[0], other) {
            (Val::Nil, Val::Nil) => true,
            (Val::Nil, _) | (_, Val::Nil) => false,
            (Val::Bool(a), Val::Bool(b)) => a == b,
            (Val::Int(a), Val::Int(b)) => a == b,
            (Val::Float(a), Val::Float(b)) => a == b,
            (Val::Str(a), Val::Str(b)) => a == b,
            (Val::List(_) | Val::Map(_), Val::List(_) | Val::Map(_)) => return Err("non-comparable types".to_owned()),
            _ => return Err("incompatible types for comparison".to_owned()),
        };
        if equal {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}

fn order(args: &[Val]) -> Result<std::cmp::Ordering, String> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => Ok(a.cmp(b)),
        (Val::Float(a), Val::Float(b)) => a.partial_cmp(b).ok_or_else(|| "not a number".to_owned()),
        (Val::Str(a), Val::Str(b)) => Ok(a.cmp(b)),
        (Val::Bool(_) | Val::Nil | Val::List(_) | Val::Map(_) | Val::Struct(_), _) => Err("invalid type for comparison".to_owned()),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}
