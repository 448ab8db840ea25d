//! Values that are more than a word: scopes, spans and moments.

use std::time::Duration;

use strowger::auth::Scope;
use strowger::clock::Clock;
use strowger::playbook::merge::Choice;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::rhythm::span;
pub(super) use crate::rhythm::{interval, time_of_day};

/// A list that clap takes for one value.
#[derive(Debug, Clone)]
pub(in crate::cli) struct ScopeList(pub(in crate::cli) Vec<Scope>);

pub(super) fn scopes(text: &str) -> Result<ScopeList, String> {
    let all: Result<Vec<Scope>, _> =
        text.split_ascii_whitespace().map(|word| word.parse().map_err(|e| format!("{word}: {e}"))).collect();
    all.and_then(|all| if all.is_empty() { Err("at least one scope".to_owned()) } else { Ok(ScopeList(all)) })
}

/// What Twilio takes for a part of a number.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    let shaped = (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'*');
    if shaped { Ok(text.to_owned()) } else { Err("2 to 16 digits, letters or *, as in 555**99 or MUSIC".to_owned()) }
}

/// A time, or how long from now.
pub(super) fn later(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(seconds) = seconds(text) {
        return Ok(Clock::system().now() + Duration::from_secs(seconds.unsigned_abs()));
    }
    moment(text).map_err(|_| "a time as in 2026-12-01T08:00:00Z, or 90m, 12h, 3d".to_owned())
}

/// A day, as 2026-07-01.
pub(super) fn day(text: &str) -> Result<time::Date, String> {
    moment(text)
        .ok()
        .filter(|_| text.len() == 10)
        .map(OffsetDateTime::date)
        .ok_or_else(|| "a day, as 2026-07-01".to_owned())
}

pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&whole, &Rfc3339)
        .map_err(|_| "a day or a moment, as 2026-07-01 or 2026-07-01T12:00:00Z".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<i64, String> {
    span(text, 365)
}

/// A job has a day.
pub(super) fn within_a_day(text: &str) -> Result<i64, String> {
    span(text, 1)
}

pub(super) fn kept(text: &str) -> Result<i64, String> {
    span(text, 36_500)
}

/// A place of a playbook, and whose word is taken there.
pub(super) fn resolved(text: &str) -> Result<(String, Choice), String> {
    match text.rsplit_once('=') {
        Some((place, "mine")) => Ok((place.to_owned(), Choice::Mine)),
        Some((place, "theirs")) => Ok((place.to_owned(), Choice::Theirs)),
        _ => Err("a place and a side, as in /scenarios/hours/replies=mine, or =theirs".to_owned()),
    }
}
