//! The end of a tenant: deleted, which can be taken back while a grace lasts, then erased, which cannot.
//!
//! An erasure leaves the id, which is never used again, the audit rows, which hold no name, and a signed receipt. While
//! backups or WAL archives that were made before may hold the tenant, it is `erasing`; when the last has expired, `erased`.

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::clusters;
use strowger::control::erasures::{self, Erasure, PhysicalCopy};
use strowger::control::jobs::{self, Kind, Subject};
use strowger::control::tenants::{self, State, Tenant};
use strowger::id::TenantId;
use time::format_description::well_known::Rfc3339;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::{archive, signing, steps};

/// Blocks a tenant and keeps it for a grace, in seconds, after which it is erased.
///
/// Without a grace: what was said at an earlier deletion, else 30 days.
pub async fn delete(with: &Provisioner, id: TenantId, reason: &str, grace: Option<i64>) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    if !tenant.state.may_become(State::Deleted) {
        return Err(cannot_become(&tenant, State::Deleted));
    }
    held.run(Kind::Delete, &json!({ "reason": reason, "grace_s": grace })).await?;
    steps::tenant(with, id).await
}

/// Serves a deleted tenant again. One whose erasure has begun cannot be.
pub async fn undelete(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    match tenant.state {
        State::Active => return Ok(tenant),
        State::Deleted => {}
        other => {
            let text = format!("tenant {id} is {}: only a deleted one is undeleted", other.as_str());
            return Err(Error::Conflict(text));
        }
    }
    if jobs::erasure(&with.control, id).await?.is_some_and(|job| job.step.is_some()) {
        let text =
            format!("the erasure of tenant {id} has begun and is not taken back: `strowgerctl job list --tenant {id}`");
        return Err(Error::Conflict(text));
    }
    held.run(Kind::Undelete, &json!({ "reason": reason })).await?;
    steps::tenant(with, id).await
}

/// Erases a tenant: a deleted one whose grace has passed, or with `now` any.
pub async fn erase(with: &Provisioner, id: TenantId, now: bool, reason: &str) -> Result<Value> {
    let held = hold(with, Subject::Tenant(id)).await?;
    if let Some(erased) = shown(with, id).await? {
        return Ok(erased);
    }
    let tenant = steps::tenant(with, id).await?;
    if !now {
        refuse_early(with, &tenant).await?;
    }
    steps::refuse_moving_numbers(with, id).await?;
    held.run(Kind::Erase, &json!({ "reason": reason, "any_state": now })).await?;
    match shown(with, id).await? {
        Some(erased) => Ok(erased),
        None => Ok(json!({ "customer_id": id, "state": steps::tenant(with, id).await?.state, "copies_until": null })),
    }
}

async fn refuse_early(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    let id = tenant.id;
    let how = format!("`strowgerctl tenant erase {id} --now --confirm {id}` erases it at once");
    if tenant.state != State::Deleted {
        let text = format!("tenant {id} is {}: `strowgerctl tenant delete {id}` first; {how}", tenant.state.as_str());
        return Err(Error::Conflict(text));
    }
    let waits = jobs::erasure(&with.control, id).await?.filter(|job| job.not_before > Clock::system().now());
    match waits.filter(|job| job.step.is_none()) {
        None => Ok(()),
        Some(job) => {
            let until = job.not_before.format(&Rfc3339).unwrap_or_default();
            Err(Error::Conflict(format!("tenant {id} is kept until {until} and erased then; {how}")))
        }
    }
}

fn cannot_become(tenant: &Tenant, next: State) -> Error {
    let (id, state) = (tenant.id, tenant.state.as_str());
    Error::Conflict(format!("tenant {id} is {state} and cannot become {}", next.as_str()))
}

async fn shown(with: &Provisioner, id: TenantId) -> Result<Option<Value>> {
    Ok(erasures::get(&with.control, id).await?.map(|(erasure, state)| {
        let until = erasure.copies_until.and_then(|until| until.format(&Rfc3339).ok());
        json!({ "customer_id": id, "state": state, "copies_until": until })
    }))
}

/// The receipt of an erasure: a line of JSON, and a line with the signature over the first.
pub async fn receipt(with: &Provisioner, id: TenantId) -> Result<String> {
    match erasures::get(&with.control, id).await? {
        Some((Erasure { receipt, signature, .. }, _)) => Ok(signing::signed(&receipt, &signature)),
        None => Err(Error::Conflict(format!("tenant {id} was not erased: there is no receipt"))),
    }
}

/// Ends the erasures whose last copy has expired; how many.
///
/// An archive of ours is not taken at its word: while one reaches back to before an erasure, that goes on.
pub async fn end_expired(with: &Provisioner) -> Result<usize> {
    let expired = erasures::expired(&with.control).await?;
    if expired.is_empty() {
        return Ok(0);
    }
    let oldest = archive::oldest(with).await?;
    let mut ended = 0;
    for (id, _) in expired.iter().filter(|(_, erased_at)| oldest.is_none_or(|oldest| oldest > *erased_at)) {
        let mut change = with.control.change(&with.actor).await?;
        tenants::transition(&mut change, *id, State::Erased, "", None).await?;
        change.commit().await?;
        ended += 1;
    }
    Ok(ended)
}

/// A backup or WAL archive that the operator keeps outside of Strowger.
pub struct NewCopy<'a> {
    /// The cluster that it is a copy of; `None` is the control database.
    pub cluster: Option<&'a str>,
    /// `backup` or `wal-archive`.
    pub kind: &'a str,
    /// Where it is.
    pub location: &'a str,
    /// How long anything is kept there, in seconds.
    pub kept_s: i64,
}

/// Registers a copy, so that receipts name it.
pub async fn add_copy(with: &Provisioner, new: &NewCopy<'_>) -> Result<()> {
    let cluster = match new.cluster {
        None => None,
        Some(name) => {
            let found = clusters::list(&with.control).await?.into_iter().find(|cluster| cluster.name == name);
            let missing = || Error::Conflict(format!("there is no cluster {name}: see `strowgerctl cluster list`"));
            Some(found.ok_or_else(missing)?.id)
        }
    };
    let mut change = with.control.change(&with.actor).await?;
    erasures::put_copy(&mut change, cluster, new.kind, new.location, new.kept_s).await?;
    Ok(change.commit().await?)
}

/// Forgets a copy that is not made any more and has expired.
pub async fn remove_copy(with: &Provisioner, id: i32) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    erasures::remove_copy(&mut change, id).await?;
    Ok(change.commit().await?)
}

/// The registered copies.
pub async fn copies(with: &Provisioner) -> Result<Vec<PhysicalCopy>> {
    Ok(erasures::copies(&with.control).await?)
}
