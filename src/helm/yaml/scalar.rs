//! What scalars mean in YAML 1.1 as Go reads it.

use serde_json::{Number, Value};

/// What a scalar means under its tag.
pub(super) fn scalar(tag: Option<&str>, text: &str, plain: bool) -> Result<Value, String> {
    let kind = tag.unwrap_or_default().trim_start_matches("tag:yaml.org,2002:");
    match kind {
        "" if plain => resolve(text),
        "" | "!" | "str" => Ok(Value::String(text.to_owned())),
        "int" | "float" | "bool" | "null" => {
            let value = resolve(text)?;
            let fits = match &value {
                Value::Null => kind == "null",
                Value::Bool(_) => kind == "bool",
                Value::Number(n) => kind == "float" || (kind == "int" && !n.is_f64()),
                _ => false,
            };
            if fits { Ok(value) } else { Err(format!("cannot decode {text:?} as a !!{kind}")) }
        }
        "binary" => {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.split_whitespace().collect::<String>());
            let bytes = bytes.map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// What a plain scalar means in YAML 1.1 as Go reads it.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Ok(Value::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err("not a number (.nan) is no JSON value".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" => {
            return Err("infinity (.inf) is no JSON value".to_owned());
        }
        _ => {}
    }
    let string = || Ok(Value::String(text.to_owned()));
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) || timestamp(text) {
        return string();
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    if let Some(integer) = integer(&plain) {
        return Ok(integer);
    }
    if !decimal(&plain) {
        return string();
    }
    match plain.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(number(float)),
        _ => string(),
    }
}

/// A float as JSON has it: whole numbers are integers, as Go's encoder writes them.
pub fn number(float: f64) -> Value {
    // the shortest digits, as Go prints them, and not the float's exact value
    if float.fract() == 0.0 && float.abs() < 1e21 {
        // a negative zero is a zero
        if let Some(whole) = integer(&format!("{}", float + 0.0)) {
            return whole;
        }
    }
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

/// Go's ParseInt with base 0: a sign, then 0x, 0o, 0b, a leading 0 for octal, or decimal.
fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return i64::try_from(-i128::from(magnitude)).ok().map(|n| Value::Number(n.into()));
    }
    // Go's ParseUint takes no sign
    (i64::try_from(magnitude).is_ok() || !text.starts_with('+')).then(|| Value::Number(magnitude.into()))
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn decimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa = digits(whole) && digits(fraction) && (!whole.is_empty() || !fraction.is_empty());
    mantissa && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// Could a reader of version 1.1 take it for a date? Such a scalar stays text, but is written in quotes.
pub(super) fn timestamp(text: &str) -> bool {
    let date = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use serde_json::json;

    #[test]
    fn scalars_mean_what_go_reads() {
        let cases = [
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!(true)),
            ("010", json!(8)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("08", json!(8)),
            ("1e3", json!(1000)),
            (".5", json!(0.5)),
            ("12345678901234567890123", json!(1.2345678901234568e22)),
            ("1e19", json!(10_000_000_000_000_000_000_u64)),
            ("-0.0", json!(0)),
            ("1.", json!(1)),
            ("18446744073709551615", json!(u64::MAX)),
            ("~", json!(null)),
            ("", json!(null)),
            ("2020-01-01", json!("2020-01-01")),
            ("1:20", json!("1:20")),
            ("\"1\"", json!("1")),
            ("1Gi", json!("1Gi")),
            ("-", json!([null])),
            ("-5", json!(-5)),
            ("+7", json!(7)),
            ("!!str 5", json!("5")),
            ("0o17", json!(15)),
            ("1.5e-7", json!(1.5e-7)),
            ("v1", json!("v1")),
            ("-x", json!("-x")),
            ("<<", json!("<<")),
            ("{a: 1, a: 2}", json!({"a": 2})),
            ("{1: a, true: b, 1.5: c}", json!({"1": "a", "true": "b", "1.5": "c"})),
            ("!local x", json!("x")),
        ];
        for (text, value) in cases {
            assert_eq!(parse(text).unwrap(), value, "{text}");
        }
        assert!(parse(".nan").is_err());
        assert!(parse("a: b: c").is_err());
        assert!(parse("{? : 1}").is_err());
    }
}
