//! The ends of an erasure: what the tenant owns in control is taken away first; last its data key is destroyed, in the
//! same transaction that proves, signs and keeps the receipt.

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::backups;
use strowger::control::erasures::{self, Erasure, PhysicalCopy};
use strowger::control::jobs::{self, Job};
use strowger::control::tenants::{self, State};
use strowger::id::TenantId;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::prove_absent;
use crate::error::{Error, Result};
use crate::{Provisioner, signing};

/// Refuses while a number is on its way from or to the tenant: whose schemas own it is known only to that hand-over.
pub(crate) async fn refuse_moving_numbers(with: &Provisioner, id: TenantId) -> Result<()> {
    let moving = erasures::moving(&with.control, id).await?;
    if moving.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "tenant {id} cannot be erased while its numbers change hands: {}; `strowgerctl number assign` or `number release` finishes that",
        moving.join(", ")
    )))
}

/// Its numbers are nobody's, its accounts and secrets are gone.
pub(crate) async fn take_belongings(with: &Provisioner, id: TenantId) -> Result<()> {
    refuse_moving_numbers(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    erasures::take_belongings(&mut change, id).await?;
    Ok(change.commit().await?)
}

/// Destroys the data key and every row but the id, if nothing is left on any cluster, and keeps a signed receipt.
pub(crate) async fn shred(with: &Provisioner, job: &Job, id: TenantId) -> Result<()> {
    let clusters = prove_absent(with, id).await?;
    let pair = signing::key(with).await?;
    let keys = data_keys(with, id).await?;
    let now = Clock::system().now();
    let copies: Vec<Copy> = erasures::copies(&with.control).await?.iter().map(|copy| Copy::of(copy, now)).collect();
    let backups = destroyed_backups(with, id).await?;
    let copies_until = copies.iter().map(|copy| copy.until).max();

    let mut change = with.control.change(&with.actor).await?;
    let state = if copies_until.is_some() { State::Erasing } else { State::Erased };
    tenants::forget(&mut change, id, state, "").await?;
    erasures::blank_jobs(&mut change, id).await?;
    let left = erasures::rows_left(&mut change, id).await?;
    if let Some((table, count)) = left.iter().find(|(_, count)| *count > 0) {
        return Err(Error::Conflict(format!(
            "tenant {id} is not erased: the control database has {count} rows in {table}"
        )));
    }
    let receipt = json!({
        "strowger_erasure": 1,
        "installation": with.installation.prefix.as_str(),
        "customer_id": id,
        "job": job.id,
        "ordered_by": job.asked_by,
        "at": rfc3339(now),
        "destroyed_data_keys": keys,
        "destroyed_backups": backups,
        "looked_at": clusters,
        "rows_left_in_control": left.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "copies": copies.iter().map(|copy| &copy.shown).collect::<Vec<_>>(),
        "copies_until": copies_until.map(rfc3339),
        "public_key": signing::pem(&pair),
    })
    .to_string();
    let signature = signing::sign(&pair, &receipt);
    erasures::create(&mut change, &Erasure { tenant: id, erased_at: now, copies_until, receipt, signature }).await?;
    jobs::done(&mut change, job.id).await?;
    Ok(change.commit().await?)
}

/// A copy as the receipt names it, and when it no longer holds the tenant.
struct Copy {
    until: OffsetDateTime,
    shown: Value,
}

impl Copy {
    /// What is written there at this moment, the tenant's last traces among it, is kept so long.
    fn of(copy: &PhysicalCopy, now: OffsetDateTime) -> Self {
        let until = now + Duration::seconds(copy.kept_s);
        let of =
            copy.cluster.as_ref().map_or_else(|| "the control database".to_owned(), |name| format!("cluster {name}"));
        let shown = json!({ "of": of, "kind": copy.kind, "where": copy.location, "until": rfc3339(until) });
        Self { until, shown }
    }
}

/// The keys that are to be destroyed. A copy of one can be opened as long as its master key exists, so that is named.
async fn data_keys(with: &Provisioner, id: TenantId) -> Result<Value> {
    let keys = erasures::data_keys(&with.control, id).await?;
    keys.iter()
        .map(|(ring, key)| {
            let master = key.master_key().map_err(Error::vault(format!("a data key of tenant {id}")))?;
            Ok(json!({ "ring": ring, "version": key.version, "wrapped_by": master }))
        })
        .collect()
}

/// Our own backups of it, which an earlier step has deleted.
async fn destroyed_backups(with: &Provisioner, id: TenantId) -> Result<Value> {
    let mut destroyed = Vec::new();
    for backup in backups::list(&with.control, Some(id)).await? {
        if backup.state != backups::State::Deleting {
            return Err(Error::Conflict(format!("tenant {id} is not erased: backup {} is left", backup.id)));
        }
        let taken_at = backup.taken.map(|taken| rfc3339(taken.taken_at));
        destroyed.push(json!({ "backup": backup.id, "where": backup.store, "taken_at": taken_at }));
    }
    Ok(destroyed.into())
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
