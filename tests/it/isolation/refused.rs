//! Tries every statement of [`super::statements`].

use super::pair::Pair;
use super::statements::GROUPS;

/// Tries all of it and reports all that went wrong together.
pub(super) async fn try_all(pair: &Pair) {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for group in GROUPS {
        for row in group.rows {
            let Some(expected) = row.states[pair.reach as usize] else { continue };
            tried += 1;
            let found = pair.attempt(&pair.against_b(row.sql), row.alone).await;
            if found.as_deref() != Some(expected) {
                let found = found.as_deref().unwrap_or("success");
                wrong.push(format!("{}: {}: expected {expected}, found {found}", group.guard, row.sql));
            }
            if row.works_on_own
                && let Some(found) = pair.attempt(&pair.against_a(row.sql), row.alone).await
            {
                wrong.push(format!("{}: {}: the same on its own object gives {found}", group.guard, row.sql));
            }
            if !pair.still_reads_its_own().await {
                wrong.push(format!("{}: {}: its own memory cannot be read afterwards", group.guard, row.sql));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} at {:?}:\n{}", wrong.len(), pair.reach, wrong.join("\n"));
    assert!(tried > 100, "only {tried} were tried");
    pair.b_is_unharmed().await;
}
