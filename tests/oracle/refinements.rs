//! What the client knows of an unknown value, as it travels: a msgpack map from small numbers to bounds.

use karpenter::tofu::value::{Number, Refinements, Value};
use rmp::decode::{NumValueReadError, RmpRead, ValueReadError, read_array_len, read_bool, read_int, read_map_len, read_str_len};
use rmp::encode::{write_array_len, write_bool, write_map_len, write_sint, write_str};

use super::random::Random;

/// One thing known of an unknown value. Bounds are inclusive, as the generator writes them.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// It will be null, or it will not.
    Null(bool),
    /// Text that starts so.
    Prefix(String),
    /// A number not below.
    LeastNumber(f64),
    /// A number not above.
    MostNumber(f64),
    /// A collection of at least so many elements.
    LeastLength(usize),
    /// A collection of at most so many elements.
    MostLength(usize),
}

/// True things about a value that is going to be unknown; sometimes none.
pub fn of(value: &Value, random: &mut Random) -> Refinements {
    if value.is_null() || random.once_in(2) {
        return Refinements::default();
    }
    let mut known = vec![Known::Null(false)];
    if random.once_in(2) {
        match value {
            Value::String(text) => {
                let length = random.below(text.chars().count() + 1);
                known.push(Known::Prefix(text.chars().take(length).collect()));
            }
            Value::Number(Number::Int(n)) => {
                known.extend([Known::LeastNumber(n.saturating_sub(1) as f64), Known::MostNumber(n.saturating_add(2) as f64)])
            }
            Value::List(items) => known.extend([Known::LeastLength(items.len() / 2), Known::MostLength(items.len() + 1)]),
            Value::Map(items) => known.push(Known::LeastLength(items.len())),
            _ => {}
        }
    }
    write(&known)
}

/// As the client sends it.
pub fn write(known: &[Known]) -> Refinements {
    let mut out = Vec::new();
    write_map_len(&mut out, known.len() as u32).unwrap();
    for one in known {
        let (key, number) = match one {
            Known::Null(is) => {
                write_sint(&mut out, 1).unwrap();
                write_bool(&mut out, *is).unwrap();
                continue;
            }
            Known::Prefix(prefix) => {
                write_sint(&mut out, 2).unwrap();
                write_str(&mut out, prefix).unwrap();
                continue;
            }
            Known::LeastNumber(n) => (3, *n as i64),
            Known::MostNumber(n) => (4, *n as i64),
            Known::LeastLength(n) => (5, *n as i64),
            Known::MostLength(n) => (6, *n as i64),
        };
        write_sint(&mut out, key).unwrap();
        if key < 5 {
            write_array_len(&mut out, 2).unwrap();
        }
        write_sint(&mut out, number).unwrap();
        if key < 5 {
            write_bool(&mut out, true).unwrap();
        }
    }
    Refinements(Some(out))
}

/// What the bytes say. Bytes that say nothing readable say nothing.
pub fn read(refinements: &Refinements) -> Vec<Known> {
    let Some(bytes) = &refinements.0 else { return vec![] };
    let mut rest = bytes.as_slice();
    let mut known = Vec::new();
    for _ in 0..read_map_len(&mut rest).unwrap_or(0) {
        match one(&mut rest) {
            Ok(one) => known.push(one),
            Err(_) => break,
        }
    }
    known
}

struct Unreadable;

impl<E: rmp::decode::RmpReadErr> From<ValueReadError<E>> for Unreadable {
    fn from(_: ValueReadError<E>) -> Self {
        Unreadable
    }
}

impl<E: rmp::decode::RmpReadErr> From<NumValueReadError<E>> for Unreadable {
    fn from(_: NumValueReadError<E>) -> Self {
        Unreadable
    }
}

fn one(rest: &mut &[u8]) -> Result<Known, Unreadable> {
    let key: i64 = read_int(rest)?;
    Ok(match key {
        1 => Known::Null(read_bool(rest)?),
        2 => {
            let mut text = vec![0; read_str_len(rest)? as usize];
            rest.read_exact_buf(&mut text).map_err(|_| Unreadable)?;
            Known::Prefix(String::from_utf8(text).map_err(|_| Unreadable)?)
        }
        3 | 4 => {
            read_array_len(rest)?;
            let number: i64 = read_int(rest)?;
            read_bool(rest)?;
            if key == 3 { Known::LeastNumber(number as f64) } else { Known::MostNumber(number as f64) }
        }
        5 => Known::LeastLength(read_int(rest)?),
        6 => Known::MostLength(read_int(rest)?),
        _ => return Err(Unreadable),
    })
}
