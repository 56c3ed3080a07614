//! Grammars of Kubernetes' and Karpenter's texts, and when two such texts mean the same.

use std::net::IpAddr;

use serde_json::Value as Json;

use super::aws_formats;
use crate::tofu::schema::Format;

/// Every format that the declarations may name.
pub static FORMATS: &[Format] = &[
    format("quantity", |t| parsed(quantity(t), QUANTITY), |t| quantity(t).unwrap_or_else(|| t.to_owned())),
    format("reserved_quantity", reserved_quantity, |t| quantity(t).unwrap_or_else(|| t.to_owned())),
    format("reserved_resource", |t| among(t, &RESERVED), str::to_owned),
    format("eviction_signal", |t| among(t, &SIGNALS), str::to_owned),
    format("eviction_threshold", eviction_threshold, |t| quantity(t).unwrap_or_else(|| t.to_owned())),
    format("grace_period", grace_period, canonical_duration),
    format("duration", |t| parsed(go_seconds(t), DURATION), canonical_duration),
    format("duration_or_never", |t| if t == "Never" { Ok(()) } else { parsed(go_seconds(t), DURATION_OR_NEVER) }, canonical_duration),
    format("hours_and_minutes", hours_and_minutes, canonical_duration),
    format("cron", super::cron::check, str::to_owned),
    format("nodes", nodes, str::to_owned),
    format("date_time", date_time, str::to_owned),
    format("ip_address", |t| parsed(t.parse::<IpAddr>().ok(), "an IP address such as \"172.20.0.10\""), str::to_owned),
    format("label_key", label_key, str::to_owned),
    format("label_value", label_value, str::to_owned),
    format("annotation_key", |t| label_key(&t.to_lowercase()), str::to_owned),
    format("taint_value", taint_value, str::to_owned),
    format("object_name", object_name, str::to_owned),
    format("ami_alias", aws_formats::ami_alias, str::to_owned),
    format("ami_id", |t| aws_formats::id("ami", t), str::to_owned),
    format("subnet_id", |t| aws_formats::id("subnet", t), str::to_owned),
    format("security_group_id", |t| aws_formats::id("sg", t), str::to_owned),
    format("capacity_reservation_id", |t| aws_formats::id("cr", t), str::to_owned),
    format("placement_group_id", |t| aws_formats::id("pg", t), str::to_owned),
    format("account_id", aws_formats::account_id, str::to_owned),
    format("volume_size", aws_formats::volume_size, |t| quantity(t).unwrap_or_else(|| t.to_owned())),
    format("own_tag", aws_formats::own_tag, str::to_owned),
    format("tag_value", aws_formats::tag_value, str::to_owned),
    format("searched_tag", aws_formats::searched_tag, str::to_owned),
    format("json", |_| Ok(()), canonical_json),
];

const fn format(name: &'static str, check: fn(&str) -> Result<(), String>, canonical: fn(&str) -> String) -> Format {
    Format { name, check, canonical }
}

const QUANTITY: &str = "a Kubernetes quantity such as \"1000m\", \"16\" or \"64Gi\"";
const GRACE_PERIOD: &str = "a duration such as \"1m30s\"";
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

/// [`seconds`] that Go's durations, which Karpenter reads them into, can hold.
fn go_seconds(text: &str) -> Option<u64> {
    seconds(text).filter(|s| *s <= i64::MAX.unsigned_abs() / 1_000_000_000)
}

fn hours_and_minutes(text: &str) -> Result<(), String> {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let of = |t: &str, unit: char| t.strip_suffix(unit).is_some_and(digits);
    let rest = text.strip_suffix("0s").unwrap_or(text);
    let fits = of(rest, 'h') || of(rest, 'm') || rest.split_once('h').is_some_and(|(hours, rest)| digits(hours) && of(rest, 'm'));
    parsed(go_seconds(text).filter(|_| fits), "a duration in hours and minutes such as \"8h\" or \"1h30m\"")
}

/// A duration as Go reads it, of which the kubelet takes no negative one.
fn grace_period(text: &str) -> Result<(), String> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("\u{b5}s", 1e-6), ("\u{3bc}s", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() && text != "0" {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len()));
        let digits = number.len() > number.matches('.').count() && number.matches('.').count() < 2;
        match (digits.then(|| number.parse::<f64>().ok()).flatten(), UNITS.iter().find(|(name, _)| *name == unit)) {
            (Some(number), Some((_, seconds))) => total += number * seconds,
            _ => return Err(GRACE_PERIOD.to_owned()),
        }
        rest = tail;
    }
    parsed((!text.is_empty() && total < 9.2e9).then_some(()), GRACE_PERIOD)
}

fn nodes(text: &str) -> Result<(), String> {
    let (number, most) = text.strip_suffix('%').map_or((text, i32::MAX.unsigned_abs()), |percent| (percent, 100));
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && (most > 100 || number.len() < 3 || number == "100");
    let fits = digits && number.parse::<u32>().is_ok_and(|n| n <= most);
    parsed(fits.then_some(()), "a number of nodes such as \"5\", or a percentage from \"0%\" to \"100%\"")
}

fn date_time(text: &str) -> Result<(), String> {
    let parts = text.as_bytes().get(10) == Some(&b'T') && text.get(17..19).is_some_and(|seconds| seconds < "60") && !text.ends_with('z');
    let fits = parts && chrono::DateTime::parse_from_rfc3339(text).is_ok();
    parsed(fits.then_some(()), "a time in RFC 3339 such as \"2026-01-31T09:00:00Z\"")
}

const RESERVED: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];
const SIGNALS: [&str; 6] =
    ["memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "pid.available"];

fn among(text: &str, all: &[&str]) -> Result<(), String> {
    parsed(all.contains(&text).then_some(()), &format!("one of {}", all.join(", ")))
}

fn reserved_quantity(text: &str) -> Result<(), String> {
    parsed(quantity(text).filter(|_| !text.starts_with('-')), &format!("{QUANTITY} and not negative"))
}

/// A percentage, of which 0 turns the signal off, or a quantity above zero: with another the kubelet does not start.
fn eviction_threshold(text: &str) -> Result<(), String> {
    let digits = |t: &str, most: usize| !t.is_empty() && t.len() <= most && t.bytes().all(|b| b.is_ascii_digit());
    let fits = match text.strip_suffix('%') {
        Some(percent) => {
            let (whole, fraction) = percent.split_once('.').map_or((percent, None), |(whole, fraction)| (whole, Some(fraction)));
            let hundred = whole == "100" && fraction.is_none_or(|f| f.bytes().all(|b| b == b'0'));
            (digits(whole, 2) || hundred) && fraction.is_none_or(|f| digits(f, 2))
        }
        None => quantity(text).is_some_and(|q| q != "0" && !q.starts_with('-')),
    };
    parsed(fits.then_some(()), "a percentage from \"0%\" to \"100%\", or a quantity above zero such as \"500Mi\"")
}

/// JSON with sorted keys and without blanks; text that is not JSON stays as it is.
fn canonical_json(text: &str) -> String {
    serde_json::from_str::<Json>(text).map_or_else(|_| text.to_owned(), |json| whole_numbers(json).to_string())
}

/// A number such as `5.0` comes back from the API server as `5`.
fn whole_numbers(json: Json) -> Json {
    match json {
        Json::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Json::Object(entries) => entries.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        Json::Number(n) => match n.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 9e15 => Json::from(f as i64),
            _ => Json::Number(n),
        },
        other => other,
    }
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

fn taint_value(value: &str) -> Result<(), String> {
    is_qualified(value).then_some(()).ok_or_else(|| {
        "a taint's value: up to 63 letters, digits, \"-\", \"_\" or \".\" that start and end with a letter or digit; leave it out for none"
            .to_owned()
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
    fn texts_of_pools_are_what_karpenter_reads() {
        let check = |name: &str, text: &str| (FORMATS.iter().find(|f| f.name == name).expect(name).check)(text).is_ok();
        for (name, good, bad) in [
            ("nodes", &["0", "10", "0%", "100%", "07%"][..], &["", "%", "101%", "010%", "-1", "99999999999", "1.5", "10 %"][..]),
            ("hours_and_minutes", &["8h", "30m", "1h30m", "1h30m0s", "8h0s"], &["", "30s", "1h30m5s", "30m1h", "1h1h", "1m1m", "1d", "0s"]),
            ("duration", &["720h", "1h30m", "5m5m"], &["9999999999h", "Never", "1.5h", ""]),
            ("grace_period", &["1m30s", "1.5h", "100ms", "0", ".5s"], &["", "1", "-1s", "1d", "s", "1..5s", ".s"]),
            (
                "eviction_threshold",
                &["5%", "0%", "100%", "100.0%", "12.25%", "500Mi"],
                &["", "0", "-5", "101%", "100.5%", "5.125%", "%", ".5%"],
            ),
            ("reserved_quantity", &["100m", "0", "+1"], &["-1", "", "1e1.5"]),
            (
                "date_time",
                &["2026-01-31T09:00:00Z", "2026-01-31T09:00:00.5+01:00"],
                &["2026-01-31", "2026-01-31 09:00:00Z", "2026-02-30T09:00:00Z"],
            ),
            ("taint_value", &["a", "a.b_c-d"], &["", "a/b", "-a"]),
            ("annotation_key", &["Example.com/a", "a"], &["", "a/b/c"]),
            ("ip_address", &["172.20.0.10", "fd00::a"], &["172.20.0", "kube-dns"]),
        ] {
            good.iter().for_each(|text| assert!(check(name, text), "{name} {text:?}"));
            bad.iter().for_each(|text| assert!(!check(name, text), "{name} {text:?}"));
        }
    }

    #[test]
    fn json_is_compared_by_meaning() {
        assert_eq!(canonical_json("{\"b\": 1.0, \"a\": [ 2 ]}"), canonical_json("{\"a\":[2],\"b\":1}"));
        assert_ne!(canonical_json("{\"a\":1}"), canonical_json("{\"a\":\"1\"}"));
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
