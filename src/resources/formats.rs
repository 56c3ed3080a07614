//! Grammars of Kubernetes' and Karpenter's texts, and when two such texts mean the same.

use crate::tofu::schema::Format;

/// Every format that the declarations may name.
pub static FORMATS: &[Format] = &[
    Format { name: "quantity", check: |t| parsed(quantity(t), QUANTITY), canonical: |t| quantity(t).unwrap_or_else(|| t.to_owned()) },
    Format { name: "duration", check: |t| parsed(seconds(t), DURATION), canonical: canonical_duration },
    Format {
        name: "duration_or_never",
        check: |t| if t == "Never" { Ok(()) } else { parsed(seconds(t), DURATION_OR_NEVER) },
        canonical: canonical_duration,
    },
    Format { name: "label_key", check: label_key, canonical: str::to_owned },
    Format { name: "label_value", check: label_value, canonical: str::to_owned },
    Format { name: "object_name", check: object_name, canonical: str::to_owned },
];

const QUANTITY: &str = "a Kubernetes quantity such as \"1000m\", \"16\" or \"64Gi\"";
const DURATION: &str = "a duration in whole hours, minutes and seconds such as \"720h\" or \"1h30m\"";
const DURATION_OR_NEVER: &str = "\"Never\" or a duration in whole hours, minutes and seconds such as \"720h\" or \"1h30m\"";

fn parsed<T>(value: Option<T>, right: &str) -> Result<(), String> {
    value.map(|_| ()).ok_or_else(|| right.to_owned())
}

/// The quantity in canonical digits, e.g. `1000m` and `1` both as `1`; `None` where it is not one.
pub fn quantity(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let (two, ten) = exponents(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = ten - i32::try_from(fraction.len()).ok()?;
    let mantissa = mantissa.checked_mul(1i128.checked_shl(two)?)?;
    let digits = canonical_decimal(mantissa, scale);
    Some(if text.starts_with('-') && digits != "0" { format!("-{digits}") } else { digits })
}

/// Powers of two and of ten that a quantity's suffix stands for.
fn exponents(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => (0, suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|e: &i32| e.abs() <= 30)?),
    })
}

/// `mantissa * 10^scale` without trailing zeros behind the point.
fn canonical_decimal(mantissa: i128, scale: i32) -> String {
    let mut digits = mantissa.to_string();
    if scale >= 0 {
        if mantissa != 0 {
            digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        }
        return digits;
    }
    let places = scale.unsigned_abs() as usize;
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

/// Seconds of a duration like `1h30m`; `None` where it is not one.
pub fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let unit = match rest.get(end..=end)? {
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        total = total.checked_add(rest[..end].parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then_some(total)
}

fn canonical_duration(text: &str) -> String {
    seconds(text).map_or_else(|| text.to_owned(), |s| format!("{s}s"))
}

fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let fits = is_qualified(name) && prefix.is_none_or(|p| p.len() <= 253 && is_subdomain(p));
    fits.then_some(()).ok_or_else(|| {
        "a label key: an optional DNS prefix and \"/\", then up to 63 letters, digits, \"-\", \"_\" or \".\" that start and end \
         with a letter or digit, such as \"example.com/team\""
            .to_owned()
    })
}

fn label_value(value: &str) -> Result<(), String> {
    (value.is_empty() || is_qualified(value)).then_some(()).ok_or_else(|| {
        "a label value: up to 63 letters, digits, \"-\", \"_\" or \".\" that start and end with a letter or digit, or empty".to_owned()
    })
}

fn object_name(name: &str) -> Result<(), String> {
    (name.len() <= 253 && is_subdomain(name)).then_some(()).ok_or_else(|| {
        "an object's name: up to 253 lower-case letters, digits, \"-\" or \".\" that start and end with a letter or digit".to_owned()
    })
}

fn is_qualified(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && edge(name.chars().next())
        && edge(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(|part| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        edge(part.chars().next()) && edge(part.chars().last()) && part.chars().all(|c| edge(Some(c)) || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_quantities_have_one_canonical_form() {
        for (a, b) in [("1000m", "1"), ("1Gi", "1073741824"), ("1.5", "1500m"), ("2e3", "2k"), (".5", "500m"), ("0", "0m"), ("+4", "4")] {
            assert_eq!(quantity(a), quantity(b), "{a} and {b}");
            assert!(quantity(a).is_some(), "{a}");
        }
        for (a, b) in [("1", "2"), ("1Gi", "1G"), ("-1", "1")] {
            assert_ne!(quantity(a), quantity(b), "{a} and {b}");
        }
        for bad in ["", "Gi", "1Zi", "1 Gi", "1..2", "abc", "1e", "--1"] {
            assert_eq!(quantity(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn durations_are_whole_units() {
        assert_eq!(seconds("1h"), seconds("60m"));
        assert_eq!(seconds("1h30m"), Some(5400));
        for bad in ["", "1d", "h", "1.5h", "10", "-1h"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn label_keys_and_names_are_kubernetes() {
        for good in ["team", "example.com/team", "a.b-c_d", "karpenter.sh/capacity-type"] {
            assert!(label_key(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a/", "/a", "a/b/c", "EXAMPLE.com/a", "a b"] {
            assert!(label_key(bad).is_err(), "{bad}");
        }
        assert!(object_name("karpenter-nodeclass-default").is_ok());
        assert!(object_name("Upper").is_err());
    }
}
