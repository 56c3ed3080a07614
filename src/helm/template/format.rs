//! Go's `fmt`, as far as templates print with it.

use super::value::Val;

/// A float as `%v` prints it: the shortest digits that read back, with an exponent below -4 and from 6 on, `1.234567e+06`.
pub fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "NaN".into() } else { if value > 0.0 { "+Inf" } else { "-Inf" }.into() };
    }
    let shortest = format!("{value:e}");
    let exponent: i32 = shortest.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or_default();
    if (-4..6).contains(&exponent) { format!("{value}") } else { go_exponent(&shortest) }
}

/// `1e6` as `1e+06`.
fn go_exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// What `{{ value }}` prints; `nil` prints a mark that Helm removes at the end.
pub fn print(value: &Val) -> String {
    match value {
        Val::Nil => "<no value>".to_owned(),
        other => display(other),
    }
}

/// `%v`.
pub fn display(value: &Val) -> String {
    verb(value, 'v', "", true)
}

/// `fmt.Sprint`: a blank between two operands when neither is a string.
pub fn sprint(values: &[Val]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        let strings = matches!(value, Val::Str(_)) || matches!(values.get(index.wrapping_sub(1)), Some(Val::Str(_)));
        if index > 0 && !strings {
            out.push(' ');
        }
        out.push_str(&display(value));
    }
    out
}

/// `fmt.Sprintf`.
pub fn sprintf(format: &str, args: &[Val]) -> String {
    let mut out = String::new();
    let mut args_left = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.next_if(|c| "+-# 0123456789.".contains(*c)) {
            spec.push(c);
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(v) => match args_left.next() {
                Some(value) => out.push_str(&verb(value, v, &spec, true)),
                None => out.push_str(&format!("%!{v}(MISSING)")),
            },
        }
    }
    let extra: Vec<String> =
        args_left.map(|v| if matches!(v, Val::Nil) { "<nil>".to_owned() } else { format!("{}={}", v.type_name(), display(v)) }).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// One operand under one verb; `spec` holds flags, width and precision.
fn verb(value: &Val, verb_: char, spec: &str, top: bool) -> String {
    let nested = |v: &Val| verb(v, verb_, spec, false);
    let (precision, width) = (precision(spec), width(spec));
    let text = match (value, verb_) {
        (Val::Nil, 'v') => "<nil>".to_owned(),
        (Val::Nil, _) => return if top { format!("%!{verb_}(<nil>)") } else { "<nil>".to_owned() },
        (Val::List(list), _) => return format!("[{}]", list.iter().map(nested).collect::<Vec<_>>().join(" ")),
        (Val::Map(map), _) => {
            let entries: Vec<String> =
                map.borrow().iter().map(|(k, v)| format!("{}:{}", verb(&Val::str(k), verb_, spec, false), nested(v))).collect();
            return format!("map[{}]", entries.join(" "));
        }
        (Val::Struct(s), 'v' | 's') => s.text.clone().unwrap_or_else(|| format!("<{}>", s.type_name)),
        (Val::Str(s), 'v' | 's') => s.chars().take(precision.unwrap_or(usize::MAX)).collect(),
        (Val::Str(s), 'q') => quote(s),
        (Val::Str(s), 'x') => s.bytes().map(|b| format!("{b:02x}")).collect(),
        (Val::Str(s), 'X') => s.bytes().map(|b| format!("{b:02X}")).collect(),
        (Val::Bool(b), 'v' | 't') => b.to_string(),
        (Val::Int(i), 'v' | 'd') => i.to_string(),
        (Val::Int(i), 'x') => signed(*i, |u| format!("{u:x}")),
        (Val::Int(i), 'X') => signed(*i, |u| format!("{u:X}")),
        (Val::Int(i), 'o') => signed(*i, |u| format!("{u:o}")),
        (Val::Int(i), 'b') => signed(*i, |u| format!("{u:b}")),
        (Val::Int(i), 'c') => char_of(*i).to_string(),
        (Val::Int(i), 'q') => format!("'{}'", char_of(*i).escape_default()),
        (Val::Float(f), 'v' | 'g') => float(*f),
        (Val::Float(f), 'f' | 'F') => format!("{f:.0$}", precision.unwrap_or(6)),
        (Val::Float(f), 'e') => go_exponent(&format!("{f:.0$e}", precision.unwrap_or(6))),
        (other, v) => return format!("%!{v}({}={})", other.type_name(), display(other)),
    };
    let numeric = matches!(value, Val::Int(_) | Val::Float(_));
    let text = if spec.contains('+') && numeric && !text.starts_with(['-', '+']) { format!("+{text}") } else { text };
    pad(text, width, spec, numeric)
}

fn pad(text: String, width: usize, spec: &str, numeric: bool) -> String {
    let missing = width.saturating_sub(text.chars().count());
    if spec.contains('-') {
        return text + &" ".repeat(missing);
    }
    if numeric && spec.trim_start_matches(['+', '#', ' ']).starts_with('0') {
        let (sign, digits) = if text.starts_with(['-', '+']) { text.split_at(1) } else { ("", text.as_str()) };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}

fn width(spec: &str) -> usize {
    let digits = spec.split('.').next().unwrap_or_default().trim_start_matches(['+', '-', '#', ' ', '0']);
    digits.parse().map_or(0, |w: usize| w.min(10_000))
}

fn precision(spec: &str) -> Option<usize> {
    spec.split_once('.').map(|(_, p)| p.parse().map_or(0, |p: usize| p.min(1_000)))
}

fn signed(value: i64, magnitude: impl Fn(u64) -> String) -> String {
    format!("{}{}", if value < 0 { "-" } else { "" }, magnitude(value.unsigned_abs()))
}

fn char_of(code: i64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}')
}

/// `strconv.Quote`.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' ' => out.push(' '),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if unprintable(c) && u32::from(c) > 0xffff => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c if unprintable(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn unprintable(c: char) -> bool {
    let format_or_private = matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xe0000..);
    c.is_control() || c.is_whitespace() || format_or_private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        let cases = [
            (1.0, "1"),
            (0.1, "0.1"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.5, "1.234567895e+08"),
            (1e21, "1e+21"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e300, "1.5e+300"),
            (-2.1e7, "-2.1e+07"),
            (0.075, "0.075"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn verbs_print_as_go_prints_them() {
        let list = Val::list(vec![Val::str("a"), Val::Float(1.5), Val::Nil]);
        let map = Val::map([("a".to_owned(), Val::Nil), ("b".to_owned(), list.clone())]);
        let cases: &[(&str, Vec<Val>, &str)] = &[
            ("%s %d", vec![list, Val::str("x"), Val::str("extra")], "[a %!s(float64=1.5) <nil>] %!d(string=x)%!(EXTRA string=extra)"),
            ("%v", vec![map], "map[a:<nil> b:[a 1.5 <nil>]]"),
            ("%s %d", vec![Val::Nil, Val::Float(1e6)], "%!s(<nil>) %!d(float64=1e+06)"),
            (
                "%5s|%-5s|%05d|%x|%t|%d%%",
                ["ab", "ab"].map(Val::str).into_iter().chain([Val::Int(42), Val::str("hi"), Val::Bool(true), Val::Int(5)]).collect(),
                "   ab|ab   |00042|6869|true|5%",
            ),
            (
                "%6.2f|%-8v|%08.3f|%e",
                vec![Val::Float(123456789.5), Val::Float(1.0), Val::Float(0.1), Val::Float(65532.0)],
                "123456789.50|1       |0000.100|6.553200e+04",
            ),
            ("%d %d", vec![Val::Int(1)], "1 %!d(MISSING)"),
            ("%.2s %z %t %", vec![Val::str("abcdef"), Val::Int(1), Val::str("x")], "ab %!z(int=1) %!t(string=x) %!(NOVERB)"),
            ("%q", vec![Val::str("a\n\u{1}é\u{2028}\"")], "\"a\\n\\x01é\\u2028\\\"\""),
        ];
        for (format, args, text) in cases {
            assert_eq!(sprintf(format, args), *text);
        }
        let args = [Val::str("a"), Val::Int(1), Val::Int(2), Val::str("b"), Val::Nil, Val::Nil, Val::Bool(true)];
        assert_eq!(sprint(&args), "a1 2b<nil> <nil> true");
    }
}
