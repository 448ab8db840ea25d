//! A backup made a tenant's data again: in the place of what it has, or as a tenant of its own.
//!
//! In place, the new schema is made and compared beside the live one. Then Postgres refuses the tenant's logins and their sessions end, so
//! that whatever was acknowledged is in the old schema; the two change names in one transaction; the epoch rises with it, so a
//! connection that was proven before can never be taken for one to the new data. What was replaced is kept for a while, and
//! taking a restore back is the same change of names once more.

use serde::Serialize;
use serde_json::{Value, json};
use strowger::control::jobs::{self, Job, Kind, State, Subject};
use strowger::control::restores;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;
use uuid::Uuid;

use crate::admin_db::{AdminDb, ident};
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::steps::{self, Owner};
use crate::tenants::{self, NewTenant};
use crate::{Provisioner, backup, operations};

/// Puts a backup in the place of its tenant's data, which is kept for so many seconds.
pub async fn in_place(with: &Provisioner, id: Uuid, keep_s: i64) -> Result<Restored> {
    let tenant = backup::get(with, id).await?.tenant;
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    // One that was begun goes on whatever the store holds by now: it may be all that keeps its tenant from being served.
    if begun(with, tenant, |params| params["backup"] == json!(id)).await?.is_none() {
        backup::prove(with, id).await?;
    }
    held.run(Kind::Restore, &json!({ "backup": id, "keep_s": keep_s })).await?;
    restored(with, tenant).await
}

/// Puts what the last restore replaced back in its place. What is replaced now is kept in turn.
pub async fn undo(with: &Provisioner, tenant: TenantId, keep_s: i64) -> Result<Restored> {
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    let params = match begun(with, tenant, |params| params["back"].is_string()).await? {
        // What is kept may be what it has replaced.
        Some(job) => job.params,
        None => {
            let nothing = || {
                Error::Conflict(format!(
                    "nothing that a restore replaced is kept for tenant {tenant}: see `strowgerctl backup list`"
                ))
            };
            let kept = restores::kept(&with.control, tenant).await?.ok_or_else(nothing)?;
            json!({ "back": kept.schema, "keep_s": keep_s })
        }
    };
    held.run(Kind::Restore, &params).await?;
    restored(with, tenant).await
}

/// The restore that was begun and is the one that is meant. Another one gives way if it has changed nothing yet; if it has, it is to be
/// finished first.
async fn begun(with: &Provisioner, tenant: TenantId, is_meant: impl Fn(&Value) -> bool) -> Result<Option<Job>> {
    let mut open = jobs::list(&with.control, Some(tenant), Some(State::Running), i64::MAX).await?;
    open.extend(jobs::list(&with.control, Some(tenant), Some(State::Queued), i64::MAX).await?);
    let Some(job) = open.into_iter().find(|job| job.kind == Kind::Restore) else { return Ok(None) };
    if is_meant(&job.params) {
        return Ok(Some(job));
    }
    if operations::first(job.kind, job.step.as_deref()) > 0 {
        return Err(Error::Conflict(format!(
            "tenant {tenant} is shut out by job {}, which restores something else: `strowgerctl job wait {0}` first",
            job.id
        )));
    }
    let mut change = with.control.change(&with.actor).await?;
    restores::forgo(&mut change, tenant, &job).await?;
    change.commit().await?;
    Ok(None)
}

/// What a restore in place came to.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The tenant, as it is now.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// For how long it was not served; `None` when it was not to be, or a worker is to carry it out.
    pub unavailable_ms: Option<i64>,
}

async fn restored(with: &Provisioner, tenant: TenantId) -> Result<Restored> {
    let unavailable_ms = if with.wait { restores::unavailable_ms(&with.control, tenant).await? } else { None };
    Ok(Restored { tenant: steps::tenant(with, tenant).await?, unavailable_ms })
}

fn refuse_unmade(tenant: &Tenant) -> Result<()> {
    if tenant.state.is_kept() {
        return Ok(());
    }
    Err(Error::Conflict(format!("tenant {} is {}: it is not restored in place", tenant.id, tenant.state.as_str())))
}

/// Makes a new tenant of a backup, with an id of its own and no numbers; run again, it finishes, or finds it done.
pub async fn as_new_tenant(with: &Provisioner, id: Uuid, new: &NewTenant<'_>) -> Result<Tenant> {
    backup::prove(with, id).await?;
    tenants::make(with, new, Kind::RestoreAs, &json!({ "backup": id })).await
}

/// Drops what restores replaced and whose time has passed; how many.
pub async fn end_kept(with: &Provisioner) -> Result<usize> {
    let over = restores::over(&with.control).await?;
    for tenant in &over {
        let _held = hold(with, Subject::Tenant(*tenant)).await?;
        // Another restore may have kept something else since.
        let Some(kept) = restores::kept(&with.control, *tenant).await?.filter(|kept| kept.is_over) else { continue };
        let tenant = steps::tenant(with, *tenant).await?;
        let cluster = steps::cluster_of(with, &tenant).await?;
        let mut db = AdminDb::open_for(with, &cluster, &tenant.database, &tenant).await?;
        let owner = Owner::of(&mut db, &with.installation.prefix, &tenant).await?;
        owner.run(&format!("drop schema if exists {} cascade", ident(&kept.schema))).await?;
        owner.commit().await?;
        let mut change = with.control.change(&with.actor).await?;
        restores::forget(&mut change, tenant.id).await?;
        change.commit().await?;
    }
    Ok(over.len())
}
