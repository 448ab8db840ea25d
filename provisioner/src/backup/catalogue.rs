//! Backups as the control database lists them: made, found whole, taken away.

use serde_json::json;
use strowger::clock::Clock;
use strowger::control::Change;
use strowger::control::backups::{self as rows, Backup, State, Taken};
use strowger::control::clusters::Cluster;
use strowger::control::installation;
use strowger::control::jobs::Job;
use strowger::control::schedules::{self, Keep};
use strowger::control::tenants::{State as TenantState, Tenant};
use strowger::id::TenantId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::past::past;
use super::retention::superfluous;
use super::{Opened, Store, Table, dump};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::steps;

/// The platform's setting that says where backups go when nobody says otherwise.
pub const BACKUPS_TO: &str = "backups_to";

/// Only a tenant that is made, and not on its way out, has a schema to read.
pub fn has_data(tenant: &Tenant) -> bool {
    tenant.state.is_kept() || tenant.state == TenantState::Deleted
}

/// The store that was named, or the one for all, as the catalogue writes it.
pub(crate) async fn store_for(with: &Provisioner, to: Option<&str>) -> Result<String> {
    let said = match to {
        Some(to) => Some(to.to_owned()),
        None => installation::setting(&with.control, BACKUPS_TO).await?,
    };
    let nowhere = || {
        Error::Conflict(
            "say where to: --to FOLDER or --to s3://BUCKET/PREFIX, or once for all `strowgerctl platform set backups_to …`".into(),
        )
    };
    Ok(Store::named(&said.ok_or_else(nowhere)?)?.url())
}

/// The backup that a tenant's next one goes on with, if one was begun in that store for that moment. One that was begun otherwise is taken
/// away.
pub(crate) async fn begun(
    with: &Provisioner,
    tenant: TenantId,
    store: &str,
    moment: Option<OffsetDateTime>,
) -> Result<Option<Uuid>> {
    match rows::unfinished(&with.control, tenant).await? {
        Some(begun) if begun.store == store && begun.moment == moment => Ok(Some(begun.id)),
        Some(begun) => remove(with, &begun, "another was asked for").await.map(|()| None),
        None => Ok(None),
    }
}

/// Promises a backup, of an earlier moment or of now, within a change.
pub(crate) async fn promise(
    change: &mut Change,
    tenant: TenantId,
    store: &str,
    moment: Option<OffsetDateTime>,
) -> Result<Uuid> {
    let id = Uuid::new_v4();
    rows::begin(change, id, tenant, store, moment).await?;
    Ok(id)
}

/// The step of a backup's job: written, then known to be there.
pub(crate) async fn back_up(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster) -> Result<()> {
    let backup = if is_scheduled(job) { due(with, tenant.id).await? } else { of_job(with, job).await? };
    let Some(backup) = backup.filter(|backup| backup.state == State::Writing) else { return Ok(()) };
    let began = Clock::system();
    let store = Store::named(&backup.store)?;
    let dumped = match backup.moment {
        None => now(with, job, tenant, cluster, backup.id, &store).await,
        Some(at) => past(with, job, tenant, cluster, (backup.id, at), &store).await,
    };
    if dumped.is_err() && with.change_of(job).await.is_ok() {
        // Whoever tries again begins anew; until then nothing lies about. The first error is the one to tell. Who has taken the job over
        // may have written all of it by now.
        let _ = store.delete(backup.id).await;
    }
    dumped?;
    // Read back with the key that will be needed: what cannot be opened is no backup.
    let opened = Opened::of(&store, backup.id, &with.server_ring).await?;
    let stored = store.size(backup.id).await?;
    let taken = taken(&opened, stored, began.elapsed());
    let mut change = with.control.change(&with.actor).await?;
    rows::complete(&mut change, backup.id, tenant.id, &taken).await?;
    Ok(change.commit().await?)
}

/// By the session of the backup before it, if that was in the same database: opening one takes as long as reading a small tenant.
async fn now(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster, id: Uuid, store: &Store) -> Result<()> {
    let mut db = AdminDb::take_for(with, cluster, &tenant.database, tenant).await?;
    dump(with, job, &mut db, tenant, id, store, None).await?;
    if steps::is_shared(tenant) {
        db.keep(with).await;
    }
    Ok(())
}

/// Whether a schedule asked for it. Such a job makes the tenant not due, and does nothing for one that is not.
pub(crate) fn is_scheduled(job: &Job) -> bool {
    job.params["scheduled"] == serde_json::Value::Bool(true)
}

/// What a tenant's schedule asks for now: what was begun, or another one. `None` when nothing is due any more: somebody was here before.
async fn due(with: &Provisioner, tenant: TenantId) -> Result<Option<Backup>> {
    if !schedules::is_due(&with.control, tenant).await? {
        return Ok(None);
    }
    let store = store_for(with, None).await?;
    let id = match begun(with, tenant, &store, None).await? {
        Some(id) => id,
        None => {
            let mut change = with.control.change(&with.actor).await?;
            let id = promise(&mut change, tenant, &store, None).await?;
            change.commit().await?;
            id
        }
    };
    Ok(rows::get(&with.control, id).await?)
}

/// The step after: what the schedule does not keep is deleted, and what was half deleted before.
pub(crate) async fn retain(with: &Provisioner, job: &Job, tenant: TenantId) -> Result<()> {
    if !is_scheduled(job) {
        return Ok(());
    }
    let Some(keep) = schedules::kept(&with.control, tenant).await? else { return Ok(()) };
    let all = rows::list(&with.control, Some(tenant)).await?;
    for backup in all.iter().filter(|backup| backup.state == State::Deleting).chain(outlived(&all, keep)) {
        remove(with, backup, "its schedule does not keep it").await?;
    }
    Ok(())
}

/// Those of one tenant's complete backups that are not worth keeping. One of an earlier moment, out of an archive, is none of them, nor
/// takes the place of one: somebody wanted just that.
pub(crate) fn outlived(all: &[Backup], keep: Keep) -> Vec<&Backup> {
    let complete = all.iter().filter(|backup| backup.state == State::Complete && backup.moment.is_none());
    let (taken, complete): (Vec<_>, Vec<_>) =
        complete.filter_map(|backup| Some((backup.taken.as_ref()?.taken_at, backup))).unzip();
    superfluous(&taken, keep).into_iter().filter_map(|place| complete.get(place).copied()).collect()
}

/// Leaves nothing of a job's backup.
pub(crate) async fn take_back(with: &Provisioner, job: &Job, tenant: TenantId) -> Result<()> {
    let begun =
        if is_scheduled(job) { rows::unfinished(&with.control, tenant).await? } else { of_job(with, job).await? };
    match begun {
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
    let sum = |what: fn(&Table) -> u64| signed(manifest.tables.iter().map(what).sum());
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

/// Refuses one that cannot be restored, before anything is begun: every piece of it is opened.
pub(crate) async fn prove(with: &Provisioner, id: Uuid) -> Result<()> {
    whole(with, id).await?.1.prove().await
}

/// Deletes a backup, under its tenant's lock. Doomed first: one that is half deleted is never restored.
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
