//! Which backups are worth keeping: the last one of each of some days, weeks and months.

use std::collections::HashSet;

use strowger::control::schedules::Keep;
use time::{OffsetDateTime, UtcOffset};

/// The day, week or month of a moment.
type Period = fn(OffsetDateTime) -> (i32, u16);

/// The places of those that can go, of the moments of one tenant's backups, in any order. The newest never can.
///
/// Days without a backup do not count: a tenant that was not backed up for a month loses none for that. Days, weeks and
/// months are those of UTC.
pub(super) fn superfluous(taken: &[OffsetDateTime], keep: Keep) -> Vec<usize> {
    let mut order: Vec<usize> = (0..taken.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse((taken[*place], *place)));
    let mut kept: HashSet<usize> = order.first().copied().into_iter().collect();
    let periods: [(u32, Period); 3] = [
        (keep.daily, |at| (at.year(), at.ordinal())),
        (keep.weekly, |at| {
            let (year, week, _) = at.to_iso_week_date();
            (year, week.into())
        }),
        (keep.monthly, |at| (at.year(), u8::from(at.month()).into())),
    ];
    for (count, period) in periods {
        let mut seen = HashSet::new();
        for place in &order {
            let new = seen.insert(period(taken[*place].to_offset(UtcOffset::UTC)));
            if seen.len() > count as usize {
                break;
            }
            if new {
                kept.insert(*place);
            }
        }
    }
    order.retain(|place| !kept.contains(place));
    order
}

#[cfg(test)]
mod tests {
    use super::{Keep, superfluous};
    use proptest::prelude::*;
    use time::{Duration, OffsetDateTime};

    fn moments(hours: &[u32]) -> Vec<OffsetDateTime> {
        hours.iter().map(|hour| OffsetDateTime::UNIX_EPOCH + Duration::hours(i64::from(*hour))).collect()
    }

    fn left(taken: &[OffsetDateTime], keep: Keep) -> Vec<OffsetDateTime> {
        let gone = superfluous(taken, keep);
        (0..taken.len()).filter(|place| !gone.contains(place)).map(|place| taken[place]).collect()
    }

    proptest! {
        #[test]
        fn the_newest_stays_and_no_more_than_asked_for(
            hours in prop::collection::vec(0u32..20_000, 0..60), daily in 0u32..9, weekly in 0u32..6, monthly in 0u32..6,
        ) {
            let (taken, keep) = (moments(&hours), Keep { daily, weekly, monthly });
            let left_over = left(&taken, keep);
            prop_assert_eq!(left_over.iter().max(), taken.iter().max());
            prop_assert!(left_over.len() <= ((daily + weekly + monthly) as usize).max(1));
            // Nothing more goes when it is done again.
            prop_assert!(superfluous(&left_over, keep).is_empty());
            // The last of each of the newest days is there.
            let mut days: Vec<_> = taken.iter().map(|at| at.date()).collect();
            days.sort_unstable();
            days.dedup();
            for day in days.iter().rev().take(daily as usize) {
                let last = taken.iter().filter(|at| at.date() == *day).max();
                prop_assert!(last.is_some_and(|last| left_over.contains(last)));
            }
        }
    }

    #[test]
    fn a_year_of_days_leaves_days_weeks_and_months() {
        let taken = moments(&(0..365).map(|day| day * 24).collect::<Vec<_>>());
        let left_over = left(&taken, Keep { daily: 7, weekly: 4, monthly: 12 });
        let days: Vec<u16> = left_over.iter().map(|at| at.ordinal()).collect();
        // Seven days; two more Sundays that are not among them; the ends of the other months.
        assert_eq!(
            days,
            [31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 347, 354, 359, 360, 361, 362, 363, 364, 365]
        );
    }
}
