//! Version constraints as Go's Masterminds/semver reads them: `>= 1.21-0`, `~1.2`, `^1`, `1.x`, `1.2 - 1.4`, commas and `||`.

use semver::{Prerelease, Version};

/// Does the version satisfy the constraint?
pub fn compare(constraint: &str, version: &str) -> Result<bool, String> {
    let (version, _) = parse(version).ok_or_else(|| format!("{version:?}: invalid semantic version"))?;
    for alternative in constraint.split("||") {
        let mut all = true;
        for (operator, text) in comparisons(alternative).ok_or_else(|| format!("improper constraint: {constraint}"))? {
            all &= holds(operator, &text, &version).ok_or_else(|| format!("improper constraint: {constraint}"))?;
        }
        if all {
            return Ok(true);
        }
    }
    Ok(false)
}

const OPERATORS: &[&str] = &[">=", "=>", "<=", "=<", "!=", "~>", "=", ">", "<", "~", "^"];

/// The comparisons of one alternative: operator and version; `1.2 - 1.4` becomes two.
fn comparisons(text: &str) -> Option<Vec<(&'static str, String)>> {
    let text = text.replace(',', " ");
    let mut out = vec![];
    let mut pending: Option<&'static str> = None;
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let operator = OPERATORS.iter().find(|o| word.starts_with(**o)).copied();
        let rest = operator.map_or(word, |o| &word[o.len()..]);
        if operator.is_some() && pending.is_some() {
            return None;
        }
        let operator = operator.or(pending.take());
        if rest.is_empty() {
            pending = operator;
            continue;
        }
        if words.peek() == Some(&"-") {
            words.next();
            out.push((">=", rest.to_owned()));
            out.push(("<=", words.next()?.to_owned()));
            continue;
        }
        out.push((operator.unwrap_or(""), rest.to_owned()));
    }
    (pending.is_none() && !out.is_empty()).then_some(out)
}

/// A version whose minor or patch may be absent or a wildcard, and how many numbers it says.
fn parse(text: &str) -> Option<(Version, usize)> {
    let text = text.trim().strip_prefix('v').unwrap_or(text.trim());
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, suffix) = text.split_at(end);
    let (mut numbers, mut said) = ([0u64; 3], 0);
    let parts: Vec<&str> = core.split('.').collect();
    if parts.len() > 3 {
        return None;
    }
    for (index, part) in parts.iter().enumerate() {
        if matches!(*part, "x" | "X" | "*") {
            break;
        }
        numbers[index] = part.parse().ok()?;
        said = index + 1;
    }
    let mut version = Version::new(numbers[0], numbers[1], numbers[2]);
    if let Some(pre) = suffix.strip_prefix('-') {
        version.pre = Prerelease::new(pre.split('+').next().unwrap_or_default()).ok()?;
    }
    Some((version, said))
}

fn holds(operator: &str, text: &str, version: &Version) -> Option<bool> {
    let (bound, said) = parse(text)?;
    // a pre-release satisfies only constraints that name one
    if !version.pre.is_empty() && bound.pre.is_empty() {
        return Some(false);
    }
    let next = |part: usize| match part {
        0 => Version::new(u64::MAX, 0, 0),
        1 => Version::new(bound.major + 1, 0, 0),
        2 => Version::new(bound.major, bound.minor + 1, 0),
        _ => Version::new(bound.major, bound.minor, bound.patch + 1),
    };
    let within = |upper: Version| *version >= bound && *version < upper;
    let partial = said < 3;
    Some(match operator {
        "" | "=" if partial => within(next(said)),
        "" | "=" => version.cmp_precedence(&bound).is_eq(),
        "!=" if partial => !within(next(said)),
        "!=" => !version.cmp_precedence(&bound).is_eq(),
        ">" if partial => *version >= next(said),
        ">" => *version > bound,
        "<" => *version < bound,
        ">=" | "=>" => *version >= bound,
        "<=" | "=<" if partial => *version < next(said),
        "<=" | "=<" => *version <= bound,
        "~" | "~>" => within(next(said.min(2))),
        "^" if bound.major > 0 || said < 2 => within(next(said.min(1))),
        "^" if bound.minor > 0 || said < 3 => within(next(2)),
        "^" => within(next(3)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_as_in_go() {
        let cases = [
            (">= 1.21-0", "v1.36.3", true),
            (">= 1.21-0", "v1.31.2-eks-7f9249a", true),
            (">= 1.21", "v1.31.2-eks-7f9249a", false),
            (">=1.21-0", "1.20.9", false),
            ("< 1.25-0", "v1.25.0-alpha", false),
            ("~1.2.3", "1.2.9", true),
            ("~1.2.3", "1.3.0", false),
            ("~1", "1.9.0", true),
            ("^1.2", "1.9.0", true),
            ("^1.2", "2.0.0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("1.x", "1.9.0", true),
            ("1.2.*", "1.3.0", false),
            ("*", "3.0.0", true),
            ("1.2 - 1.4", "1.4.5", true),
            (">1, <3", "2.0.0", true),
            (">1 <3", "3.0.0", false),
            ("<1 || >2", "3.0.0", true),
            ("!=1.2", "1.2.5", false),
            (">1.2", "1.2.5", false),
            ("=1.2.3", "1.2.3+build", true),
            ("1.2.3", "v1.2.3", true),
            ("=>1.2.3", "1.2.3", true),
            ("^1.2.3-beta", "1.2.3-beta.2", true),
        ];
        for (constraint, version, want) in cases {
            assert_eq!(compare(constraint, version), Ok(want), "{constraint} {version}");
        }
        assert!(compare("what", "1.0.0").is_err());
        assert!(compare(">=1", "what").is_err());
    }
}
