//! What an operator can ask for: one tenant's backup made, shown, proven, deleted, and read without Postgres.

mod retention;

use std::path::Path;

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::backups::{self as rows, Backup, State, Taken};
use strowger::control::clusters::Cluster;
use strowger::control::jobs::{self, Job, Kind, Subject};
use strowger::control::tenants::{State as TenantState, Tenant};
use strowger::control::{Change, installation};
use strowger::id::TenantId;
use strowger::vault::MasterRing;
use uuid::Uuid;

pub use retention::Keep;

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::backup::{self, Manifest, Opened, Store, Target};
use crate::error::{Error, Result};
use crate::reconcile::{self, hold};
use crate::steps::{self, Owner};

/// The platform's setting that says where backups go when nobody says otherwise.
pub const BACKUPS_TO: &str = "backups_to";

/// Backs a tenant up to a folder, or goes on with a backup that was begun.
pub async fn create(with: &Provisioner, id: TenantId, to: Option<&str>) -> Result<Backup> {
    let said = match to {
        Some(to) => Some(to.to_owned()),
        None => installation::setting(&with.control, BACKUPS_TO).await?,
    };
    let nowhere = || {
        Error::Conflict(
            "say where to: --to FOLDER, or once for all `strowgerctl platform set backups_to FOLDER`".into(),
        )
    };
    let store = Store::named(&said.ok_or_else(nowhere)?)?.url();
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    refuse_without_data(&tenant)?;
    let mut change = with.control.change(&with.actor).await?;
    let backup = match rows::unfinished(&with.control, id).await? {
        Some(begun) if begun.store == store => begun.id,
        Some(begun) => {
            drop(change);
            remove(with, &begun, "another was asked for").await?;
            change = with.control.change(&with.actor).await?;
            promise(&mut change, id, &store).await?
        }
        None => promise(&mut change, id, &store).await?,
    };
    let job =
        reconcile::begin(with, &mut change, Kind::Backup, &Subject::Tenant(id), &json!({ "backup": backup })).await?;
    change.commit().await?;
    held.finish(job).await?;
    get(with, backup).await
}

async fn promise(change: &mut Change, tenant: TenantId, store: &str) -> Result<Uuid> {
    let id = Uuid::new_v4();
    rows::begin(change, id, tenant, store).await?;
    Ok(id)
}

/// Only a tenant that is made, and not on its way out, has a schema to read.
pub fn has_data(tenant: &Tenant) -> bool {
    tenant.state.is_kept() || tenant.state == TenantState::Deleted
}

fn refuse_without_data(tenant: &Tenant) -> Result<()> {
    if has_data(tenant) {
        return Ok(());
    }
    Err(Error::Conflict(format!("tenant {} is {} and has no data to back up", tenant.id, tenant.state.as_str())))
}

/// The step of a backup's job: written, then known to be there. With that the job is done.
pub(crate) async fn back_up(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster) -> Result<()> {
    let Some(backup) = of_job(with, job).await?.filter(|backup| backup.state == State::Writing) else { return Ok(()) };
    let began = Clock::system();
    let store = Store::named(&backup.store)?;
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    let dumped = backup::dump(with, &mut db, tenant, backup.id, &store).await;
    if dumped.is_err() {
        // Whoever tries again begins anew; until then nothing lies about. The first error is the one to tell.
        let _ = store.delete(backup.id).await;
    }
    dumped?;
    // Read back with the key that will be needed: what cannot be opened is no backup.
    let opened = Opened::of(&store, backup.id, &with.server_ring).await?;
    let taken = taken(&opened, store.size(backup.id).await?, began.elapsed());
    let mut change = with.control.change(&with.actor).await?;
    rows::complete(&mut change, backup.id, tenant.id, &taken).await?;
    jobs::done(&mut change, job.id).await?;
    Ok(change.commit().await?)
}

/// Leaves nothing of a job's backup.
pub(crate) async fn take_back(with: &Provisioner, job: &Job) -> Result<()> {
    match of_job(with, job).await? {
        Some(backup) if backup.state != State::Complete => remove(with, &backup, "its job was cancelled").await,
        _ => Ok(()),
    }
}

async fn of_job(with: &Provisioner, job: &Job) -> Result<Option<Backup>> {
    let Some(id) = job.params["backup"].as_str().and_then(|id| id.parse().ok()) else { return Ok(None) };
    Ok(rows::get(&with.control, id).await?)
}

fn taken(opened: &Opened, stored: u64, took: std::time::Duration) -> Taken {
    let manifest = &opened.manifest;
    let sum = |what: fn(&backup::Table) -> u64| signed(manifest.tables.iter().map(what).sum());
    let tables: Vec<_> = manifest
        .tables
        .iter()
        .map(|t| json!({ "name": t.name, "rows": t.rows, "bytes": t.bytes, "checksum": t.checksum }))
        .collect();
    Taken {
        taken_at: manifest.taken_at,
        lsn: manifest.lsn.clone(),
        schema_version: manifest.schema_version,
        rows: sum(|table| table.rows),
        bytes: sum(|table| table.bytes),
        stored_bytes: signed(stored),
        duration_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
        tables: tables.into(),
        master_key: opened.master_key.clone(),
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A backup by id, or an error that says so.
pub async fn get(with: &Provisioner, id: Uuid) -> Result<Backup> {
    let missing = || Error::Conflict(format!("there is no backup {id}: see `strowgerctl backup list`"));
    rows::get(&with.control, id).await?.ok_or_else(missing)
}

/// The same; one that is not whole is refused.
pub(crate) async fn whole(with: &Provisioner, id: Uuid) -> Result<(Backup, Opened)> {
    let backup = get(with, id).await?;
    if backup.state != State::Complete {
        return Err(Error::Conflict(format!("backup {id} is not complete: see `strowgerctl backup show {id}`")));
    }
    let opened = Opened::of(&Store::named(&backup.store)?, id, &with.server_ring).await?;
    if opened.manifest.customer_id != backup.tenant {
        let text = format!("backup {id} says that it is tenant {}'s: nothing was changed", opened.manifest.customer_id);
        return Err(Error::Conflict(text));
    }
    Ok((backup, opened))
}

/// Deletes a backup, in its store and in the catalogue.
pub async fn delete(with: &Provisioner, id: Uuid) -> Result<()> {
    let backup = get(with, id).await?;
    let _held = hold(with, Subject::Tenant(backup.tenant)).await?;
    remove(with, &backup, "an operator asked").await
}

/// The same under the tenant's lock. Doomed first: one that is half deleted is never restored.
pub(crate) async fn remove(with: &Provisioner, backup: &Backup, reason: &str) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    rows::doom(&mut change, backup, reason).await?;
    change.commit().await?;
    take_away(backup).await?;
    let mut change = with.control.change(&with.actor).await?;
    rows::forget(&mut change, backup).await?;
    Ok(change.commit().await?)
}

async fn take_away(backup: &Backup) -> Result<()> {
    let store = Store::named(&backup.store)?;
    if backup.taken.is_some() {
        store.must_be_there().await?;
    }
    store.delete(backup.id).await
}

/// Takes all of a tenant's backups out of their stores, for good. The list of them stays, for the receipt.
pub(crate) async fn destroy_all(with: &Provisioner, id: TenantId) -> Result<()> {
    for backup in rows::list(&with.control, Some(id)).await? {
        let mut change = with.control.change(&with.actor).await?;
        rows::doom(&mut change, &backup, "the tenant is erased").await?;
        change.commit().await?;
        take_away(&backup).await?;
    }
    Ok(())
}

/// Deletes the complete backups that are not worth keeping, each tenant's for itself; with `dry_run` only says which.
pub async fn prune(with: &Provisioner, tenant: Option<TenantId>, keep: Keep, dry_run: bool) -> Result<Vec<Backup>> {
    let mut of: std::collections::BTreeMap<TenantId, Vec<Backup>> = std::collections::BTreeMap::new();
    for backup in rows::list(&with.control, tenant).await? {
        if backup.state == State::Complete {
            of.entry(backup.tenant).or_default().push(backup);
        }
    }
    let mut gone = Vec::new();
    for (tenant, all) in of {
        let taken: Vec<_> = all.iter().filter_map(|backup| Some(backup.taken.as_ref()?.taken_at)).collect();
        let superfluous = retention::superfluous(&taken, keep);
        let _held = if dry_run { None } else { Some(hold(with, Subject::Tenant(tenant)).await?) };
        for place in superfluous {
            let Some(backup) = all.get(place) else { continue };
            if !dry_run {
                remove(with, backup, "pruned").await?;
            }
            gone.push(backup.clone());
        }
    }
    Ok(gone)
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
    backup::load(&owner, opened, &Target { prefix, tenant: &aside, epoch: 1 }).await?;
    owner.lay_down().await?;
    let mut change = with.control.change(&with.actor).await?;
    rows::verified(&mut change, &backup).await?;
    change.commit().await?;
    get(with, id).await
}

/// Writes a backup as files that psql loads, into a new folder. Neither Postgres nor the control database is asked.
pub async fn extract(folder: &Path, ring: &MasterRing, out: &Path) -> Result<Manifest> {
    let (store, id) = Store::around(folder)?;
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

/// The folder of a backup, for whoever reads it; the audit log says who.
pub async fn folder(with: &Provisioner, id: Uuid) -> Result<std::path::PathBuf> {
    let backup = get(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("backup.extract", Some(backup.tenant), json!({ "backup": id })).await?;
    change.commit().await?;
    Ok(Store::named(&backup.store)?.folder(id))
}
