//! A backup made a tenant's data again: in the place of what it has, or as a tenant of its own.
//!
//! In place, the new schema is made and compared beside the live one. Then Postgres refuses the tenant's logins and their sessions end, so
//! that whatever was acknowledged is in the old schema; the two change names in one transaction; the epoch rises with it, so a
//! connection that was proven before can never be taken for one to the new data. What was replaced is kept for a while, and
//! taking a restore back is the same change of names once more.

use serde_json::json;
use strowger::control::jobs::{Kind, Subject};
use strowger::control::restores;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;
use uuid::Uuid;

use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::backup;
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::steps::{self, Owner};
use crate::tenants::{self, NewTenant};

/// Puts a backup in the place of its tenant's data, which is kept for so many seconds.
pub async fn in_place(with: &Provisioner, id: Uuid, keep_s: i64) -> Result<Tenant> {
    let tenant = backup::get(with, id).await?.tenant;
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    backup::prove(with, id).await?;
    held.run(Kind::Restore, &json!({ "backup": id, "keep_s": keep_s })).await?;
    steps::tenant(with, tenant).await
}

/// Puts what the last restore replaced back in its place. What is replaced now is kept in turn.
pub async fn undo(with: &Provisioner, tenant: TenantId, keep_s: i64) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    let kept = restores::kept(&with.control, tenant).await?;
    let kept = kept.ok_or_else(|| {
        Error::Conflict(format!(
            "nothing that a restore replaced is kept for tenant {tenant}: see `strowgerctl backup list`"
        ))
    })?;
    held.run(Kind::Restore, &json!({ "back": kept.schema, "keep_s": keep_s })).await?;
    steps::tenant(with, tenant).await
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
