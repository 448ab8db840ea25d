//! Opening hours: spans of local time per weekday, exceptions by date, in an IANA time zone.
//!
//! What counts is what a clock on the wall says. When clocks go back, an hour that is struck twice is open twice; when they go
//! forward, an hour that is not struck is not missed. A span ends within its day; who is open past midnight writes two.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::shape::Fault;

/// From Monday on.
pub(super) const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// When a business is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    /// Such as `America/Los_Angeles`.
    pub time_zone: String,
    /// Spans by weekday; closed on a day that is not named.
    #[serde(default)]
    pub weekly: BTreeMap<String, Vec<Span>>,
    /// Days that are unlike their weekday, such as holidays.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
}

/// From one minute until before another, as `09:00` and `17:30`; `24:00` is the end of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first minute.
    pub from: String,
    /// The first minute after it.
    pub to: String,
}

/// A day with hours of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// `2026-12-25`.
    pub date: String,
    /// When it is open; closed if there are none.
    #[serde(default)]
    pub spans: Vec<Span>,
}

/// So many of the days that are unlike their weekday are told.
const EXCEPTIONS_TOLD: usize = 10;

/// A moment as it is read off the wall.
struct Wall {
    date: String,
    weekday: &'static str,
    clock: String,
}

impl Hours {
    /// Whether it is open at a moment. A zone that this build does not know closes nothing.
    pub fn is_open(&self, at: OffsetDateTime) -> bool {
        let Some(Wall { date, weekday, clock }) = self.wall(at) else { return true };
        let spans = match self.exceptions.iter().find(|exception| exception.date == date) {
            Some(exception) => &exception.spans,
            None => self.weekly.get(weekday).map_or(&[][..], Vec::as_slice),
        };
        // Times of one form compare as texts do.
        spans.iter().any(|span| span.from <= clock && clock < span.to)
    }

    /// As somebody is told of them at a moment: the week, the next few days that are unlike it, and what the clock says now.
    pub fn in_words(&self, at: OffsetDateTime) -> String {
        let day = |name: &str, spans: &[Span]| {
            let spans: Vec<_> = spans.iter().map(|span| format!("{} to {}", span.from, span.to)).collect();
            format!("{name} {}", if spans.is_empty() { "closed".to_owned() } else { spans.join(" and ") })
        };
        let week = WEEKDAYS.iter().map(|name| day(name, self.weekly.get(*name).map_or(&[], Vec::as_slice)));
        let wall = self.wall(at);
        let today = wall.as_ref().map_or("", |wall| &wall.date);
        let mut exceptions: Vec<_> = self.exceptions.iter().filter(|exception| *exception.date >= *today).collect();
        exceptions.sort_by(|a, b| a.date.cmp(&b.date));
        let exceptions =
            exceptions.into_iter().take(EXCEPTIONS_TOLD).map(|exception| day(&exception.date, &exception.spans));
        let all: Vec<_> = week.chain(exceptions).collect();
        let now = wall.map_or_else(String::new, |Wall { date, weekday, clock }| {
            let is_open = if self.is_open(at) { "open" } else { "closed" };
            format!(" Now it is {weekday}, {date}, {clock}: {is_open}.")
        });
        format!("{} ({}).{now}", all.join(", "), self.time_zone)
    }

    /// What clock and calendar on the wall say; `None` for a zone that this build does not know.
    fn wall(&self, at: OffsetDateTime) -> Option<Wall> {
        let zone = TimeZone::get(&self.time_zone).ok()?;
        let local = zone.to_datetime(Timestamp::from_second(at.unix_timestamp()).ok()?);
        Some(Wall {
            date: local.date().to_string(),
            weekday: WEEKDAYS[usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0)],
            clock: format!("{:02}:{:02}", local.hour(), local.minute()),
        })
    }

    /// What a schema cannot say.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if TimeZone::get(&self.time_zone).is_err() {
            faults.push(Fault::new("/hours/time_zone", "must be an IANA time zone, as America/Los_Angeles"));
        }
        for (day, spans) in &self.weekly {
            faults.extend(disorder(spans).map(|why| Fault::new(format!("/hours/weekly/{day}"), why)));
        }
        for (i, exception) in self.exceptions.iter().enumerate() {
            faults.extend(disorder(&exception.spans).map(|why| Fault::new(format!("/hours/exceptions/{i}"), why)));
            if self.exceptions[..i].iter().any(|other| other.date == exception.date) {
                faults.push(Fault::new(format!("/hours/exceptions/{i}/date"), "is there twice"));
            }
        }
        faults
    }
}

fn disorder(spans: &[Span]) -> Option<&'static str> {
    let is_turned = spans.iter().any(|span| span.from >= span.to);
    let overlaps = spans.windows(2).any(|pair| pair[0].to > pair[1].from);
    (is_turned || overlaps)
        .then_some("must hold spans in order that end after they begin, on the same day, and do not overlap")
}
