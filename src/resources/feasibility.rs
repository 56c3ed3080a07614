//! Whether any instance type can satisfy a pool's requirements, from a table that is part of this program. What the table does not know
//! may exist: only a conflict that no later instance type can end is an error, another one is a warning.

use std::sync::OnceLock;

use crate::tofu::diagnostics::Diagnostics;
use crate::tofu::path::Path;
use crate::tofu::value::Value;

/// Made by `tools/instance-types.py`.
const TABLE: &str = include_str!("instance_types.txt");

const TYPE: &str = "node.kubernetes.io/instance-type";
const ARCHITECTURE: &str = "kubernetes.io/arch";
const SYSTEM: &str = "kubernetes.io/os";
const FAMILY: &str = "karpenter.k8s.aws/instance-family";
const SIZE: &str = "karpenter.k8s.aws/instance-size";
const CATEGORY: &str = "karpenter.k8s.aws/instance-category";
const GENERATION: &str = "karpenter.k8s.aws/instance-generation";
const CPU: &str = "karpenter.k8s.aws/instance-cpu";
const MEMORY: &str = "karpenter.k8s.aws/instance-memory";
const KNOWN: [&str; 9] = [TYPE, ARCHITECTURE, SYSTEM, FAMILY, SIZE, CATEGORY, GENERATION, CPU, MEMORY];

/// An instance type with an operating system: one possible node.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    family: &'static str,
    size: &'static str,
    architecture: &'static str,
    system: &'static str,
    cpus: &'static str,
    mebibytes: &'static str,
}

/// A requirement, wherever it was written.
struct Requirement<'a> {
    path: Path,
    key: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

impl Requirement<'_> {
    /// That `In` needs values is told elsewhere.
    fn is_empty(&self) -> bool {
        self.operator == "In" && self.values.is_empty()
    }
}

/// Refuses requirements that conflict wholly within the table, or warns of them; names the one to change and how. `template` is the
/// pool's.
pub fn check(template: &Value, path: &Path, diagnostics: &mut Diagnostics) {
    let requirements: Vec<Requirement<'_>> =
        collect(template, path).into_iter().filter(|r| KNOWN.contains(&r.key) && !r.is_empty() && is_within_table(r)).collect();
    let Some(found) = conflict(&requirements.iter().collect::<Vec<_>>()) else { return };
    let names = |key: &str| requirements.iter().any(|r| r.key == key && r.operator == "In");
    let settled: &[&str] = match (names(TYPE), names(FAMILY)) {
        (true, _) => &KNOWN,
        // a family may get sizes
        (false, true) => &[ARCHITECTURE, SYSTEM, FAMILY, CATEGORY, GENERATION],
        (false, false) => &[ARCHITECTURE, SYSTEM],
    };
    let date = TABLE.split_whitespace().nth(1).unwrap_or_default();
    let dated = |detail: String| format!("{detail} (Instance types as of {date}.)");
    match (conflict(&requirements.iter().filter(|r| settled.contains(&r.key)).collect::<Vec<_>>()), found) {
        (Some((at, detail)), _) => diagnostics.error(at, "no instance type satisfies these requirements", dated(detail)),
        (None, (at, detail)) => diagnostics.warning(at, "no instance type known here satisfies these requirements", dated(detail)),
    }
}

/// Which requirement to change, and how, where no instance type satisfies all.
fn conflict(requirements: &[&Requirement<'_>]) -> Option<(Path, String)> {
    let fits = |skip: Option<usize>| {
        let left: Vec<&Requirement<'_>> = requirements.iter().enumerate().filter(|(i, _)| Some(*i) != skip).map(|(_, r)| *r).collect();
        candidates().iter().filter(|c| left.iter().all(|r| c.satisfies(r))).collect::<Vec<_>>()
    };
    if requirements.is_empty() || !fits(None).is_empty() {
        return None;
    }
    // the types are what people choose first, so another requirement is more likely the mistake
    let mut order: Vec<usize> = (0..requirements.len()).collect();
    order.sort_by_key(|i| requirements[*i].key == TYPE);
    let culprit = order.into_iter().map(|i| (i, fits(Some(i)))).find(|(_, left)| !left.is_empty());
    Some(match culprit {
        Some((i, left)) => (requirements[i].path.clone(), explain(requirements[i], requirements, &left)),
        None => (requirements.last()?.path.clone(), "More than one of the requirements conflicts with the others.".to_owned()),
    })
}

fn explain(culprit: &Requirement<'_>, all: &[&Requirement<'_>], left: &[&Candidate]) -> String {
    let mut possible: Vec<String> = left.iter().filter_map(|c| c.label(culprit.key)).collect();
    possible.sort();
    possible.dedup();
    let shown: Vec<String> = possible.iter().take(5).map(|v| format!("{v:?}")).collect();
    let more = if possible.len() > 5 { format!(" and {} more", possible.len() - 5) } else { String::new() };
    let others: Vec<String> =
        all.iter().filter(|r| r.path != culprit.path).map(|r| format!("{} {} {:?}", r.key, r.operator, r.values)).collect();
    let mut text = format!(
        "{} {} {:?} leaves nothing of {}. With those, {} can be {}{more}.",
        culprit.key,
        culprit.operator,
        culprit.values,
        others.join(", "),
        culprit.key,
        shown.join(", ")
    );
    if let Some(near) = nearest(culprit, all) {
        text.push_str(&format!(" Or ask for {near:?}."));
    }
    text
}

/// An instance type like the first one asked for that satisfies everything else, the culprit as well.
fn nearest(culprit: &Requirement<'_>, all: &[&Requirement<'_>]) -> Option<String> {
    let wanted = all.iter().find(|r| r.key == TYPE && r.operator == "In" && r.path != culprit.path)?;
    let like = candidates().iter().find(|c| Some(c.name().as_str()) == wanted.values.first().copied())?;
    let generation = |c: &Candidate| c.generation().parse::<i64>().unwrap_or_default();
    let others: Vec<&Requirement<'_>> = all.iter().copied().filter(|r| r.path != wanted.path).collect();
    let same = |c: &&Candidate| c.size == like.size && c.category() == like.category() && others.iter().all(|r| c.satisfies(r));
    // the plainest family of the nearest generation, later before earlier
    let distance = |c: &&Candidate| {
        let apart = generation(c) - generation(like);
        (apart.abs(), apart < 0, c.family.len(), c.family)
    };
    candidates().iter().filter(same).min_by_key(distance).map(Candidate::name)
}

fn collect<'a>(template: &'a Value, path: &Path) -> Vec<Requirement<'a>> {
    let texts = |value: &'a Value| value.items().iter().map(Value::as_str).collect::<Option<Vec<&str>>>();
    let blocks = template.attr("requirement").items().iter().enumerate().filter_map(|(i, r)| {
        let path = path.child("requirement").index(i);
        Some(Requirement { path, key: r.attr("key").as_str()?, operator: r.attr("operator").as_str()?, values: texts(r.attr("values"))? })
    });
    let by_label = template.attr("requirements").entries().filter(|(_, values)| !values.is_unknown()).filter_map(|(key, values)| {
        Some(Requirement { path: path.child("requirements").key(key), key, operator: "In", values: texts(values)? })
    });
    let labels = template.attr("labels").entries().filter_map(|(key, value)| {
        Some(Requirement { path: path.child("labels").key(key), key, operator: "In", values: vec![value.as_str()?] })
    });
    blocks.filter(|r| !r.values.is_empty() || r.operator.contains("Exist")).chain(by_label).chain(labels).collect()
}

/// Whether the table can judge a requirement: no placeholders, and nothing that may be newer than it.
fn is_within_table(requirement: &Requirement<'_>) -> bool {
    let known = |value: &str| candidates().iter().any(|c| c.label(requirement.key).as_deref() == Some(value));
    let is_enumerated = requirement.operator == "In" && ![CPU, MEMORY].contains(&requirement.key);
    requirement.values.iter().all(|value| !value.contains("{{") && (!is_enumerated || known(value)))
}

impl Candidate {
    fn name(&self) -> String {
        format!("{}.{}", self.family, self.size)
    }

    /// The letters before the generation: `m` of `m5`, `u` of `u-6tb1`.
    fn category(&self) -> &'static str {
        self.family.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default()
    }

    fn generation(&self) -> String {
        let rest = &self.family[self.category().len()..];
        // the high-memory families `u-6tb1` have their size before the generation, `u7i-12tb` behind it
        let rest = if rest.starts_with('-') { rest.split_once("tb").map_or(rest, |(_, after)| after) } else { rest };
        rest.chars().take_while(char::is_ascii_digit).collect()
    }

    fn label(&self, key: &str) -> Option<String> {
        Some(match key {
            TYPE => self.name(),
            ARCHITECTURE => self.architecture.to_owned(),
            SYSTEM => self.system.to_owned(),
            FAMILY => self.family.to_owned(),
            SIZE => self.size.to_owned(),
            CATEGORY => self.category().to_owned(),
            GENERATION => self.generation(),
            CPU => self.cpus.to_owned(),
            MEMORY => self.mebibytes.to_owned(),
            _ => return None,
        })
    }

    fn satisfies(&self, requirement: &Requirement<'_>) -> bool {
        let Some(label) = self.label(requirement.key) else { return true };
        let values = &requirement.values;
        let compare = |fits: fn(u64, u64) -> bool| match (label.parse(), values.first().map(|v| v.parse())) {
            (Ok(label), Some(Ok(bound))) => fits(label, bound),
            _ => true,
        };
        match requirement.operator {
            "In" => values.contains(&label.as_str()),
            "NotIn" => !values.contains(&label.as_str()),
            "DoesNotExist" => false,
            "Gt" => compare(|label, bound| label > bound),
            "Gte" => compare(|label, bound| label >= bound),
            "Lt" => compare(|label, bound| label < bound),
            "Lte" => compare(|label, bound| label <= bound),
            _ => true,
        }
    }
}

fn candidates() -> &'static [Candidate] {
    static CANDIDATES: OnceLock<Vec<Candidate>> = OnceLock::new();
    CANDIDATES.get_or_init(|| TABLE.lines().filter(|line| !line.starts_with('#')).flat_map(family).collect())
}

fn family(line: &'static str) -> Vec<Candidate> {
    let mut words = line.split(' ');
    let (Some(family), Some(architecture)) = (words.next(), words.next()) else { return vec![] };
    let systems: &[&str] = if architecture == "amd64" { &["linux", "windows"] } else { &["linux"] };
    let sizes = words.filter_map(|word| {
        let mut parts = word.split(':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let one = |(size, cpus, mebibytes)| systems.iter().map(move |system| Candidate { family, size, architecture, system, cpus, mebibytes });
    sizes.flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tofu::diagnostics::{Diagnostic, Severity};

    fn problem(requirements: &[(&str, &str, &[&str])]) -> Option<(String, String)> {
        found(requirements).map(|d| (d.path.unwrap_or_default().to_string(), d.detail))
    }

    fn found(requirements: &[(&str, &str, &[&str])]) -> Option<Diagnostic> {
        let list = |values: &[&str]| Value::List(values.iter().map(|v| Value::from(*v)).collect());
        let block = |(key, operator, values): &(&str, &str, &[&str])| {
            Value::object([("key", Value::from(*key)), ("operator", Value::from(*operator)), ("values", list(values))])
        };
        let template = Value::object([("requirement", Value::List(requirements.iter().map(block).collect()))]);
        let mut diagnostics = Diagnostics::default();
        check(&template, &Path::attribute("template").index(0), &mut diagnostics);
        diagnostics.0.pop()
    }

    #[test]
    fn the_table_knows_what_everybody_knows() {
        let find = |name: &str| *candidates().iter().find(|c| c.name() == name).expect(name);
        let m5 = find("m5.large");
        assert_eq!((m5.architecture, m5.cpus, m5.mebibytes, m5.category(), m5.generation().as_str()), ("amd64", "2", "8192", "m", "5"));
        assert_eq!(
            (find("r8g.large").architecture, find("u-6tb1.112xlarge").category(), find("u-6tb1.112xlarge").generation().as_str()),
            ("arm64", "u", "1")
        );
        assert_eq!(find("u7i-12tb.224xlarge").generation(), "7");
    }

    #[test]
    fn arm64_on_m5_large_is_refused_with_the_nearest_fix() {
        let (path, detail) = problem(&[(TYPE, "In", &["m5.large"]), (ARCHITECTURE, "In", &["arm64"])]).expect("a conflict");
        assert_eq!(path, "template[0].requirement[1]");
        assert!(detail.contains("can be \"amd64\"") && detail.contains("\"m6g.large\""), "{detail}");
    }

    #[test]
    fn what_the_table_does_not_know_is_let_through() {
        for fine in [
            &[(TYPE, "In", &["m99.large"][..]), (ARCHITECTURE, "In", &["arm64"])][..],
            &[(FAMILY, "In", &["m99"]), (ARCHITECTURE, "In", &["arm64"])],
            &[("example.com/rack", "In", &["x"])],
            &[(TYPE, "In", &["m5.large", "r8g.large"]), (ARCHITECTURE, "In", &["arm64"])],
            &[(CATEGORY, "In", &["c", "m", "r"]), (GENERATION, "Gt", &["4"])],
            &[(TYPE, "In", &["{{ cluster_name }}"]), (ARCHITECTURE, "In", &["arm64"])],
            &[(SYSTEM, "In", &["windows"]), (CATEGORY, "In", &["m"])],
        ] {
            assert_eq!(problem(fine), None);
        }
        for (bad, severity) in [
            (&[(SYSTEM, "In", &["windows"][..]), (ARCHITECTURE, "In", &["arm64"])][..], Severity::Error),
            (&[(FAMILY, "In", &["m5"]), (ARCHITECTURE, "In", &["arm64"])], Severity::Error),
            (&[(TYPE, "In", &["m5.large"]), (SIZE, "NotIn", &["large"])], Severity::Error),
            // what comes later may satisfy these
            (&[(CATEGORY, "In", &["m"]), (GENERATION, "Gt", &["90"])], Severity::Warning),
            (&[(CATEGORY, "In", &["a"]), (GENERATION, "In", &["7"])], Severity::Warning),
            (&[(FAMILY, "In", &["m5"]), (CPU, "Gt", &["9000"])], Severity::Warning),
        ] {
            assert_eq!(found(bad).map(|d| d.severity), Some(severity), "{bad:?}");
        }
    }
}
