//! Schedules of disruption budgets, read as Karpenter's own parser (robfig/cron, standard form) reads them.
//!
//! General cron crates know more (seconds, `L`, `W`, `#`, 7 for Sunday): what they accept, Karpenter may refuse, and a schedule that
//! never comes keeps its budget active all the time.

/// Checks a schedule: five fields, or a macro.
///
/// # Errors
/// What would be right, with the reason why this is not.
pub fn check(schedule: &str) -> Result<(), String> {
    const MACROS: [&str; 7] = ["@annually", "@yearly", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if MACROS.contains(&schedule) {
        return Ok(());
    }
    parse(schedule).map_err(|reason| {
        format!("a cron schedule in UTC of five fields such as \"0 9 * * mon-fri\", or one of {} ({reason})", MACROS.join(", "))
    })
}

/// A field of a schedule: its name, its bounds, and names for its numbers from the lower bound on.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 6, names: &DAYS },
];

fn parse(schedule: &str) -> Result<(), String> {
    let texts: Vec<&str> = schedule.split_ascii_whitespace().collect();
    if texts.len() != FIELDS.len() {
        return Err(format!("it has {} fields", texts.len()));
    }
    let mut sets = [0u64; 5];
    for ((field, text), set) in FIELDS.iter().zip(&texts).zip(&mut sets) {
        *set = text.split(',').map(|part| range(field, part)).try_fold(0, |all, one| one.map(|one| all | one))?;
    }
    let [_, _, days, months, _] = sets;
    // where both kinds of day are restricted, one of them is enough
    let any_weekday = texts[4].split(',').any(|part| ["*", "?", "*/1", "?/1"].contains(&part));
    let comes = |month: u64, length: u64| months >> month & 1 == 1 && days & ((1 << (length + 1)) - 1) != 0;
    let lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if any_weekday && !(1..).zip(lengths).any(|(month, length)| comes(month, length)) {
        return Err("no month of it has such a day, so it never comes".to_owned());
    }
    Ok(())
}

/// The numbers of `5`, `1-5`, `*`, and these with `/step`, as bits.
fn range(field: &Field, text: &str) -> Result<u64, String> {
    let (span, step) = text.split_once('/').map_or((text, None), |(span, step)| (span, Some(step)));
    let (low, high) = match span.split_once('-') {
        _ if span == "*" || span == "?" => (field.least, field.most),
        Some((low, high)) => (number(field, low)?, number(field, high)?),
        None if step.is_some() => (number(field, span)?, field.most),
        None => (number(field, span)?, number(field, span)?),
    };
    if low > high {
        return Err(format!("the {} range {span:?} ends before it starts", field.name));
    }
    let step = match step.map(|s| (s, digits(s))) {
        None => 1,
        Some((_, Some(step))) if step > 0 => step,
        Some((text, _)) => return Err(format!("the step {text:?} of the {} is no whole number above 0", field.name)),
    };
    Ok((low..=high).step_by(step as usize).fold(0, |set, n| set | 1 << n))
}

fn number(field: &Field, text: &str) -> Result<u32, String> {
    let named = field.names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|i| u32::try_from(i).ok());
    let number = named.map(|i| i + field.least).or_else(|| digits(text));
    number.filter(|n| (field.least..=field.most).contains(n)).ok_or_else(|| {
        let names = if field.names.is_empty() { String::new() } else { format!(" or {}", field.names.join(", ")) };
        format!("{text:?} is no {}: {} to {}{names}", field.name, field.least, field.most)
    })
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_karpenter_reads_is_accepted() {
        for good in [
            "@daily",
            "@hourly",
            "* * * * *",
            "0 9 * * mon-fri",
            "*/15 0-8,18-23 * * *",
            "0 0 1 JAN,jul ?",
            "5/10 * * * *",
            "0 0 29 2 *",
            "0 0 30 2 1",
            " 0\t9 * * 0 ",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_karpenter_cannot_read_or_what_never_comes_is_refused() {
        for (bad, why) in [
            ("@dailyx", "1 fields"),
            ("@every 5m", "2 fields"),
            ("0 25 * * *", "\"25\" is no hour: 0 to 23"),
            ("60 * * * *", "minute"),
            ("0 0 * * 7", "day of the week"),
            ("0 0 0 * *", "day of the month"),
            ("0 0 L * *", "\"L\""),
            ("0 0 * foo *", "or jan, feb"),
            ("0 0 5-1 * *", "ends before"),
            ("*/0 * * * *", "above 0"),
            ("1,,2 * * * *", "\"\" is no minute"),
            ("1-2-3 * * * *", "\"2-3\""),
            ("0 0 31 2,4 *", "never comes"),
            ("0 0 9 * * mon", "6 fields"),
            ("TZ=UTC 0 9 * * mon", "6 fields"),
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
