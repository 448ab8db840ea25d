//! A backup made a tenant's data again: in the place of what it has, or as a tenant of its own.
//!
//! In place, the new schema is made and compared beside the live one. Then Postgres refuses the tenant's logins and their sessions end, so
//! that whatever was acknowledged is in the old schema; the two change names in one transaction; the epoch rises with it, so a
//! connection that was proven before can never be taken for one to the new data. What was replaced is kept for a while, and
//! taking a restore back is the same change of names once more; taking that back is yet another.

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

/// Puts what the last restore replaced back in its place. What is replaced now is kept in turn. Run again, it goes on, or finds it done.
pub async fn undo(with: &Provisioner, tenant: TenantId, keep_s: i64) -> Result<Restored> {
    turn(with, tenant, Turn::Undo, keep_s).await
}

/// Takes an undoing back, in the same way.
pub async fn redo(with: &Provisioner, tenant: TenantId, keep_s: i64) -> Result<Restored> {
    turn(with, tenant, Turn::Redo, keep_s).await
}

/// A change of names by which what is kept becomes the live schema again. The two are told apart because one that was killed is asked for
/// again: by a single name, the second time would take the first one back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Undo,
    Redo,
}

impl Turn {
    /// The one that a job is; `None` when it restores a backup.
    fn of(params: &Value) -> Option<Self> {
        params["back"].as_str()?;
        Some(if params["redo"] == json!(true) { Self::Redo } else { Self::Undo })
    }
}

async fn turn(with: &Provisioner, tenant: TenantId, turn: Turn, keep_s: i64) -> Result<Restored> {
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    let params = match begun(with, tenant, |params| Turn::of(params) == Some(turn)).await? {
        // What is kept may be what it has replaced.
        Some(job) => Some(job.params),
        None => new_turn(with, tenant, turn, keep_s).await?,
    };
    if let Some(params) = params {
        held.run(Kind::Restore, &params).await?;
    }
    restored(with, tenant).await
}

/// What is to be carried out; `None` when the last job did just that.
async fn new_turn(with: &Provisioner, tenant: TenantId, turn: Turn, keep_s: i64) -> Result<Option<Value>> {
    let nothing = || {
        let text =
            format!("nothing that a restore replaced is kept for tenant {tenant}: see `strowgerctl backup list`");
        Error::Conflict(text)
    };
    let kept = restores::kept(&with.control, tenant).await?.ok_or_else(nothing)?;
    let last = match backup::replaced_by(&kept.schema) {
        Some(id) => jobs::get(&with.control, id).await?,
        None => None,
    };
    let before = last.as_ref().and_then(|job| Turn::of(&job.params));
    if before == Some(turn) {
        return match last {
            Some(job) if job.state == State::Failed => Err(Error::Conflict(format!(
                "job {0} did that and was given up before its end: `strowgerctl job retry {0}`",
                job.id
            ))),
            _ => Ok(None),
        };
    }
    if turn == Turn::Redo && before.is_none() {
        return Err(Error::Conflict(format!("no restore of tenant {tenant} was undone: nothing is put back")));
    }
    Ok(Some(json!({ "back": kept.schema, "redo": turn == Turn::Redo, "keep_s": keep_s })))
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
        // Another restore may have kept something else since, or be putting this back.
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
