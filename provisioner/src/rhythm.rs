//! How often tenants are backed up, as people say it: every so long, at a time of day, and what is kept. The command line and files read
//! the same words.

use std::fmt;

use strowger::control::schedules::{Keep, Schedule};
use time::{Duration, OffsetDateTime, Time, UtcOffset};

const DAY: i64 = 86400;

/// What somebody asks for; a [`Schedule`] is that from a day on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// Seconds from one backup to the next.
    every_s: i64,
    /// Seconds from midnight, UTC; `None`: when the last backup is that old.
    at_s: Option<i64>,
    /// What is kept after each; `None`: everything.
    keep: Option<Keep>,
}

impl Rhythm {
    /// Of days, weeks and months to keep, those that are not said are none if any is.
    pub fn new(every_s: i64, at_s: Option<i64>, keep: [Option<u32>; 3]) -> Result<Self, String> {
        if every_s < 60 {
            return Err("the interval is a minute at least".into());
        }
        if at_s.is_some() && DAY % every_s != 0 && every_s % DAY != 0 {
            return Err(
                "with a time of day, the interval is some whole days, or what a day is a whole number of, as in 6h"
                    .into(),
            );
        }
        if keep.iter().flatten().any(|count| *count > 10_000) {
            return Err("at most 10000 days, weeks and months are kept".into());
        }
        let [daily, weekly, monthly] = keep.map(Option::unwrap_or_default);
        let keep = keep.iter().any(Option::is_some).then_some(Keep { daily, weekly, monthly });
        Ok(Self { every_s, at_s, keep })
    }

    /// What a schedule was asked for as.
    pub fn of(schedule: &Schedule) -> Self {
        let midnight = |at: OffsetDateTime| (at.time() - Time::MIDNIGHT).whole_seconds();
        let at_s = schedule.first_at.map(|at| midnight(at.to_offset(UtcOffset::UTC)));
        Self { every_s: schedule.every_s, at_s, keep: schedule.keep }
    }

    /// From now on.
    pub fn from(self, now: OffsetDateTime) -> Schedule {
        Schedule { every_s: self.every_s, first_at: self.at_s.map(|at_s| next(now, at_s)), keep: self.keep }
    }

    /// The interval, as [`interval`] reads it.
    pub fn every(self) -> String {
        let units = [(DAY, 'd'), (3600, 'h'), (60, 'm')];
        let unit = units.into_iter().find(|(unit, _)| self.every_s % unit == 0);
        let (unit, name) = unit.unwrap_or((1, 's'));
        format!("{}{name}", self.every_s / unit)
    }

    /// The time of day, as [`time_of_day`] reads it.
    pub fn at(self) -> Option<String> {
        self.at_s.map(|at_s| format!("{:02}:{:02}", at_s / 3600, at_s / 60 % 60))
    }

    /// What is kept.
    pub fn keep(self) -> Option<Keep> {
        self.keep
    }
}

impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", self.every())?;
        if let Some(at) = self.at() {
            write!(f, " at {at}")?;
        }
        match self.keep {
            Some(keep) => write!(f, ", kept: {} daily, {} weekly, {} monthly", keep.daily, keep.weekly, keep.monthly),
            None => write!(f, ", all kept"),
        }
    }
}

/// When it is next so many seconds after midnight, UTC.
fn next(now: OffsetDateTime, at_s: i64) -> OffsetDateTime {
    let today = now.to_offset(UtcOffset::UTC).replace_time(Time::MIDNIGHT) + Duration::seconds(at_s);
    if today > now { today } else { today + Duration::DAY }
}

/// Seconds from one backup to the next.
pub fn interval(text: &str) -> Result<i64, String> {
    span(text, 365).ok().filter(|s| *s >= 60).ok_or_else(|| "from 1m to 365d, as in 6h, 24h or 7d".to_owned())
}

/// Seconds from midnight.
pub fn time_of_day(text: &str) -> Result<i64, String> {
    let shaped = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str, below: i64| part.parse().ok().filter(|n| shaped(part) && (0..below).contains(n));
    let parts = text.split_once(':').and_then(|(hour, minute)| Some((number(hour, 24)?, number(minute, 60)?)));
    parts.map(|(hour, minute)| hour * 3600 + minute * 60).ok_or_else(|| "a time of day in UTC, as in 02:30".to_owned())
}

/// Seconds of a span of time.
pub fn span(text: &str, most_days: i64) -> Result<i64, String> {
    let plural = if most_days == 1 { "" } else { "s" };
    let bad = || format!("a number and s, m, h or d, at most {most_days} day{plural}, as in 15m or 1h");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => DAY,
        _ => return Err(bad()),
    };
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| bad())?;
    count.checked_mul(unit).filter(|s| (1..=most_days * DAY).contains(s)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is stored and what is shown say what was asked for.
        #[test]
        fn a_rhythm_is_read_back(every in 1..525_601_i64, at in proptest::option::of(0..1440_i64), keep in any::<[Option<u8>; 3]>(), now in 0..4_000_000_000_i64) {
            let Ok(asked) = Rhythm::new(every * 60, at.map(|at| at * 60), keep.map(|k| k.map(u32::from))) else { return Ok(()) };
            let now = OffsetDateTime::from_unix_timestamp(now).unwrap();
            let schedule = asked.from(now);
            prop_assert!(schedule.first_at.is_none_or(|first| first > now && first <= now + Duration::DAY));
            prop_assert_eq!(Rhythm::of(&schedule), asked);
            prop_assert_eq!(interval(&asked.every()).unwrap(), every * 60);
            prop_assert_eq!(asked.at().map(|at| time_of_day(&at).unwrap()), at.map(|at| at * 60));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "h", "6", "59s", "366d", "-1h", "1.5h", "6 h", "9223372036854775807d"] {
            assert!(interval(text).is_err(), "{text}");
        }
        for text in ["", "2:30", "24:00", "02:60", "02-30", "02:30:00", "+2:30"] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
        assert!(Rhythm::new(5 * 3600, Some(0), [None; 3]).is_err());
        assert!(Rhythm::new(5 * 3600, None, [None; 3]).is_ok());
        assert!(Rhythm::new(DAY, None, [Some(10_001), None, None]).is_err());
    }
}
