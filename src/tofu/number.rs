//! Numbers from text, in their one canonical form.

use super::value::Number;

/// No number that a user can mean has a larger exponent; without a bound `1e999999999` would fill the memory.
const MAX_EXPONENT: i64 = 4096;

impl Number {
    /// Reads decimal text as JSON and the client write it, with or without fraction and exponent; `None` where it is no number.
    pub fn parse(text: &str) -> Option<Number> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok().filter(|e| e.abs() <= MAX_EXPONENT)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let point = whole.len() as i64 + exponent;
        Some(canonical(negative, &digits, point))
    }

    /// The exact value of a float, e.g. 0.5 and not 0.1, which no float is; `None` for infinities and NaN.
    pub fn from_f64(float: f64) -> Option<Number> {
        // 1074 digits after the point are the most that a double has
        float.is_finite().then(|| Number::parse(&format!("{float:.1074}"))).flatten()
    }
}

/// `0.DIGITS * 10^point`, where `point` counts digits before the point and may lie outside them.
fn canonical(negative: bool, digits: &str, point: i64) -> Number {
    let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0));
    let padded = format!("{}{digits}{}", zeros(-point), zeros(point - digits.len() as i64));
    let (whole, fraction) = padded.split_at(usize::try_from(point).unwrap_or(0));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if negative { "-" } else { "" };
    if fraction.is_empty() {
        let text = format!("{sign}{whole}");
        return match text.parse() {
            Ok(int) => Number::Int(int),
            Err(_) if whole.is_empty() => Number::Int(0),
            Err(_) => Number::Decimal(text),
        };
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Number::Decimal(format!("{sign}{whole}.{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_form() {
        let cases = [
            ("0", "0"),
            ("-0", "0"),
            ("0.0", "0"),
            ("007", "7"),
            ("1e3", "1000"),
            ("1.50", "1.5"),
            ("-1.5E-2", "-0.015"),
            ("12.5e1", "125"),
            (".5", "0.5"),
            ("100e-2", "1"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775808"),
            ("-9223372036854775808", "-9223372036854775808"),
        ];
        for (text, canonical) in cases {
            let number = Number::parse(text).expect(text);
            assert_eq!(number.to_string(), canonical, "{text}");
            let fits = canonical.parse::<i64>().is_ok();
            assert_eq!(matches!(number, Number::Int(_)), fits, "{text}");
        }
        for text in ["", "-", ".", "e1", "1e", "1e999999999", "0x10", "1 ", "NaN", "inf", "1.2.3", "--1"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn floats_are_exact() {
        assert_eq!(Number::from_f64(0.5), Some(Number::Decimal("0.5".into())));
        assert_eq!(Number::from_f64(-3.0), Some(Number::Int(-3)));
        assert_eq!(Number::from_f64(0.1).map(|n| n.to_string().len()), Some(57));
        assert_eq!(Number::from_f64(f64::INFINITY), None);
        assert!(Number::from_f64(f64::MAX).is_some() && Number::from_f64(5e-324).is_some());
    }
}
