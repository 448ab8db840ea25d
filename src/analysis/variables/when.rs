//! Times of day and dates, as they are said.

/// `9am`, `9:30 pm`, `14:30`, `noon`, `5 o'clock`.
pub(super) fn time(words: &[&str]) -> Option<(String, usize)> {
    let first = words[0].to_lowercase();
    match first.as_str() {
        "noon" | "midday" => return Some(("12:00".into(), 1)),
        "midnight" => return Some(("00:00".into(), 1)),
        _ => {}
    }
    let digits = first.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '.');
    let own = &first[digits.len()..];
    let (half, length) = match (own, words.get(1).map(|word| word.to_lowercase())) {
        ("", Some(next)) if half_of_day(&next).is_some() => (half_of_day(&next), 2),
        ("", Some(next)) if matches!(next.as_str(), "o'clock" | "o’clock") => (None, 2),
        ("", _) if digits.contains(':') => (None, 1),
        ("", _) => return None,
        (own, _) => (Some(half_of_day(own)?), 1),
    };
    let (hour, minute) = digits.split_once(':').unwrap_or((digits, "00"));
    let is_short = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !is_short(hour) || !is_short(minute) || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(is_afternoon) => hour % 12 + if is_afternoon { 12 } else { 0 },
        None => hour,
    };
    (hour < 24 && minute < 60).then(|| (format!("{hour:02}:{minute:02}"), length))
}

fn half_of_day(word: &str) -> Option<bool> {
    match word {
        "am" | "a.m" | "a.m." => Some(false),
        "pm" | "p.m" | "p.m." => Some(true),
        _ => None,
    }
}

const DAYS: [&str; 11] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "today",
    "tomorrow",
    "yesterday",
    "tonight",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `2026-11-23`, `11/23/2026`, `November 23rd, 2026`, `23 November`, `next Tuesday`, `tomorrow`.
pub(super) fn date(words: &[&str]) -> Option<(String, usize)> {
    let word = |at: usize| words.get(at).map(|word| word.to_lowercase()).unwrap_or_default();
    let first = word(0);
    if is_written_date(&first) {
        return Some((first, 1));
    }
    if matches!(first.as_str(), "next" | "this") && DAYS[..7].contains(&word(1).as_str()) {
        return Some((format!("{first} {}", word(1)), 2));
    }
    if DAYS.contains(&first.as_str()) {
        return Some((first, 1));
    }
    let year = |at: usize| Some(word(at)).filter(|y| y.len() == 4 && matches!(y.parse(), Ok(1900..=2199)));
    let (parts, length) = if MONTHS.contains(&first.as_str()) && day(&word(1)).is_some() {
        (format!("{first} {}", day(&word(1))?), 2)
    } else if day(&first).is_some() && word(1) == "of" && MONTHS.contains(&word(2).as_str()) {
        (format!("{} {}", word(2), day(&first)?), 3)
    } else if day(&first).is_some() && MONTHS.contains(&word(1).as_str()) {
        (format!("{} {}", word(1), day(&first)?), 2)
    } else {
        return None;
    };
    Some(year(length).map_or((parts.clone(), length), |year| (format!("{parts} {year}"), length + 1)))
}

/// A day of a month, with or without its ending.
fn day(word: &str) -> Option<u8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    digits.parse().ok().filter(|day| (1..=31).contains(day) && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Numbers between dashes or slashes that can be a date in some country.
fn is_written_date(word: &str) -> bool {
    let number = |text: &str, most: u16| {
        (1..=4).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse().is_ok_and(|n: u16| (1..=most).contains(&n))
    };
    let iso: Vec<&str> = word.split('-').collect();
    let slashed: Vec<&str> = word.split('/').collect();
    match (iso.as_slice(), slashed.as_slice()) {
        ([year, month, day], _) => year.len() == 4 && number(year, 2199) && number(month, 12) && number(day, 31),
        (_, [a, b, year]) => {
            matches!(year.len(), 2 | 4)
                && number(year, 2199)
                && number(a, 31)
                && number(b, 31)
                && (number(a, 12) || number(b, 12))
        }
        _ => false,
    }
}
