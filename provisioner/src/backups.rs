//! What an operator can ask for: one tenant's backup made, shown, proven, deleted, and read without Postgres.

use std::path::Path;

use serde_json::{Value, json};
use strowger::control::backups::{self as rows, Backup};
use strowger::control::jobs::{Kind, Subject};
use strowger::control::schedules::{self, Schedule};
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;
use strowger::vault::MasterRing;
use time::OffsetDateTime;
use uuid::Uuid;

pub use crate::backup::{BACKUPS_TO, Is, Stray, get, has_data};
pub use strowger::control::schedules::Keep;

use crate::admin_db::AdminDb;
use crate::backup::{self, Manifest, Opened, Store, Target, begun, outlived, promise, remove, store_for, whole};
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::reconcile::{self, Held, hold};
use crate::steps::{self, Owner};
use crate::{Provisioner, archive};

/// Backs a tenant up to a folder or bucket, or goes on with a backup that was begun.
pub async fn create(with: &Provisioner, id: TenantId, to: Option<&str>) -> Result<Backup> {
    let store = store_for(with, to).await?;
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    refuse_without_data(&tenant)?;
    make(with, &held, id, &store, None).await
}

/// Backs a tenant up as it was at an earlier moment, out of the archive of its cluster; one that was made of that very moment serves again.
///
/// What is there now is not touched, the neighbours' nothing is. Refused before anything is begun: a moment before the oldest base backup, in
/// the future, or at which the tenant was not there.
pub async fn create_of(with: &Provisioner, id: TenantId, to: Option<&str>, at: OffsetDateTime) -> Result<Backup> {
    // As exact as Postgres is.
    let at = at.replace_nanosecond(at.nanosecond() / 1000 * 1000).unwrap_or(at);
    if !with.wait {
        return Err(Error::Conflict("a restore to a moment is not left to a worker: leave --no-wait out".into()));
    }
    let store = store_for(with, to).await?;
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    refuse_without_data(&tenant)?;
    if let Some(made) = rows::of_moment(&with.control, id, at).await? {
        return Ok(made);
    }
    archive::refuse(with, &tenant, at).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    archive::base_of(&archive::of(with, &cluster).await?, at).await?;
    make(with, &held, id, &store, Some(at)).await
}

async fn make(
    with: &Provisioner,
    held: &Held<'_>,
    id: TenantId,
    store: &str,
    moment: Option<OffsetDateTime>,
) -> Result<Backup> {
    let begun = begun(with, id, store, moment).await?;
    let mut change = with.control.change(&with.actor).await?;
    let backup = match begun {
        Some(begun) => begun,
        None => promise(&mut change, id, store, moment).await?,
    };
    let job =
        reconcile::begin(with, &mut change, Kind::Backup, &Subject::Tenant(id), &json!({ "backup": backup })).await?;
    change.commit().await?;
    held.finish(job).await?;
    get(with, backup).await
}

fn refuse_without_data(tenant: &Tenant) -> Result<()> {
    if has_data(tenant) {
        return Ok(());
    }
    Err(Error::Conflict(format!("tenant {} is {} and has no data to back up", tenant.id, tenant.state.as_str())))
}

/// Deletes a backup, in its store and in the catalogue.
pub async fn delete(with: &Provisioner, id: Uuid) -> Result<()> {
    let backup = get(with, id).await?;
    let _held = hold(with, Subject::Tenant(backup.tenant)).await?;
    remove(with, &backup, "an operator asked").await
}

/// Deletes the complete backups that are not worth keeping, each tenant's for itself; with `dry_run` only says which.
pub async fn prune(with: &Provisioner, tenant: Option<TenantId>, keep: Keep, dry_run: bool) -> Result<Vec<Backup>> {
    let mut of: std::collections::BTreeMap<TenantId, Vec<Backup>> = std::collections::BTreeMap::new();
    for backup in rows::list(&with.control, tenant).await? {
        of.entry(backup.tenant).or_default().push(backup);
    }
    let mut gone = Vec::new();
    for (tenant, all) in of {
        if outlived(&all, keep).is_empty() {
            continue;
        }
        let _held = if dry_run { None } else { Some(hold(with, Subject::Tenant(tenant)).await?) };
        for backup in outlived(&all, keep) {
            if !dry_run {
                remove(with, backup, "pruned").await?;
            }
            gone.push(backup.clone());
        }
    }
    Ok(gone)
}

/// What lies in a store, the one for all unless another is named, and the catalogue does not know; deleted if it is to be, but for what our
/// ring does not open.
pub async fn strays(with: &Provisioner, place: Option<&str>, delete: bool) -> Result<Vec<Stray>> {
    let store = Store::named(&store_for(with, place).await?)?;
    store.must_be_there().await?;
    if delete { backup::delete_strays(with, &store).await } else { backup::strays(with, &store).await }
}

/// Has tenants backed up by the worker from now on; `None` for all that have no schedule of their own.
///
/// Refused as a whole, before anything is changed, for a tenant without data, or when nobody has said where backups go.
pub async fn schedule(with: &Provisioner, tenants: Option<&[TenantId]>, schedule: &Schedule) -> Result<()> {
    store_for(with, None).await?;
    for tenant in tenants.unwrap_or_default() {
        refuse_without_data(&steps::tenant(with, *tenant).await?)?;
    }
    let mut change = with.control.change(&with.actor).await?;
    for tenant in of(tenants) {
        schedules::set(&mut change, tenant, schedule).await?;
    }
    Ok(change.commit().await?)
}

/// Takes schedules away: those of these tenants, or the one for all that have none of their own. Backups stay.
pub async fn unschedule(with: &Provisioner, tenants: Option<&[TenantId]>) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    for tenant in of(tenants) {
        if !schedules::remove(&mut change, tenant).await? {
            let whose = tenant.map_or_else(|| "for all tenants".to_owned(), |id| format!("of tenant {id} alone"));
            return Err(Error::Conflict(format!(
                "there is no schedule {whose}: see `strowgerctl backup schedule list`"
            )));
        }
    }
    Ok(change.commit().await?)
}

fn of(tenants: Option<&[TenantId]>) -> Vec<Option<TenantId>> {
    tenants.map_or_else(|| vec![None], |tenants| tenants.iter().copied().map(Some).collect())
}

/// Restores a backup aside, compares everything, and rolls it all back: nobody ever sees the schema, and a kill leaves none.
pub async fn verify(with: &Provisioner, id: Uuid) -> Result<Backup> {
    let tenant = get(with, id).await?.tenant;
    let _held = hold(with, Subject::Tenant(tenant)).await?;
    let tenant = steps::tenant(with, tenant).await?;
    refuse_without_data(&tenant)?;
    let (backup, opened) = whole(with, id).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let mut db = AdminDb::open_for(with, &cluster, &tenant.database, &tenant).await?;
    let aside = tenant.in_schema(format!("{}_verify", tenant.schema));
    let prefix = &with.installation.prefix;
    let owner = Owner::of(&mut db, prefix, &aside).await?;
    let target = Target { prefix, tenant: &aside, epoch: 1, writes: true, meter: &Meter::default() };
    backup::load(&owner, opened, &target).await?;
    owner.lay_down().await?;
    let mut change = with.control.change(&with.actor).await?;
    rows::verified(&mut change, &backup).await?;
    change.commit().await?;
    get(with, id).await
}

/// Writes a backup as files that psql loads, into a new folder. Neither Postgres nor the control database is asked.
pub async fn extract(place: &str, ring: &MasterRing, out: &Path) -> Result<Manifest> {
    let (store, id) = Store::around(place)?;
    backup::extract(Opened::of(&store, id, ring).await?, out).await
}

/// Writes everything of a tenant as CSV files into a new folder. The audit log says who, before anything is read.
pub async fn export(with: &Provisioner, id: TenantId, out: &Path) -> Result<Value> {
    let _held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    refuse_without_data(&tenant)?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("tenant.export", Some(id), json!({})).await?;
    change.commit().await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let mut db = AdminDb::open_for(with, &cluster, &tenant.database, &tenant).await?;
    backup::export(with, &mut db, &tenant, out).await
}

/// Where a backup lies, for whoever reads it; the audit log says who.
pub async fn place(with: &Provisioner, id: Uuid) -> Result<String> {
    let backup = get(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("backup.extract", Some(backup.tenant), json!({ "backup": id })).await?;
    change.commit().await?;
    Ok(Store::named(&backup.store)?.place(id))
}
