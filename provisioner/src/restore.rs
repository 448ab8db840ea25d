//! A backup made a tenant's data again: in the place of what it has, or as a tenant of its own.
//!
//! In place, the new schema is made and compared beside the live one. Then Postgres refuses the tenant's logins and their sessions end, so
//! that whatever was acknowledged is in the old schema; the two change names in one transaction; the epoch rises with it, so a
//! connection that was proven before can never be taken for one to the new data. What was replaced is kept for a while, and
//! taking a restore back is the same change of names once more.

use serde_json::{Value, json};
use strowger::control::clusters::Cluster;
use strowger::control::jobs::{Job, Kind, Subject};
use strowger::control::restores::{self, Kept};
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;
use strowger::schema::{self, HISTORY_TABLE};
use uuid::Uuid;

use crate::admin_db::{AdminDb, ident};
use crate::backup::{self, Target};
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::steps::{self, Owner};
use crate::tenants::{self, NewTenant};
use crate::{Provisioner, backups};

/// Puts a backup in the place of its tenant's data, which is kept for so many seconds.
pub async fn in_place(with: &Provisioner, id: Uuid, keep_s: i64) -> Result<Tenant> {
    let tenant = backups::get(with, id).await?.tenant;
    let held = hold(with, Subject::Tenant(tenant)).await?;
    refuse_unmade(&steps::tenant(with, tenant).await?)?;
    // Refused here, before anything is begun, if it does not open.
    backups::whole(with, id).await?;
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
    backups::whole(with, id).await?;
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

/// The step that fills a new tenant: its schema from the backup, whole or not at all.
pub(crate) async fn fill(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster) -> Result<()> {
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    if has_schema(&db, &tenant.schema).await? {
        return Ok(());
    }
    let (_, epoch) = steps::credential(with, tenant.id).await?;
    let (_, opened) = backups::whole(with, backup_of(job)?).await?;
    let prefix = &with.installation.prefix;
    let owner = Owner::of(&mut db, prefix, tenant).await?;
    backup::load(&owner, opened, &Target { prefix, tenant, epoch }).await?;
    // Sealed under the other tenant's key, and that tenant's to do.
    owner.run("truncate outbox").await?;
    owner.commit().await
}

/// The step that makes the new schema beside the live one.
pub(crate) async fn beside(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster) -> Result<()> {
    let names = Names::of(job, tenant);
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    if names.back || has_schema(&db, &names.aside).await? || has_schema(&db, &names.replaced).await? {
        return Ok(());
    }
    let (_, epoch) = steps::credential(with, tenant.id).await?;
    let (_, opened) = backups::whole(with, backup_of(job)?).await?;
    let left = "select nspname::text from pg_namespace where nspname like $1";
    let left = db.query(left, &[&format!("{}\\_r%", tenant.schema.replace('_', "\\_"))]).await?;
    let prefix = &with.installation.prefix;
    let aside = tenant.in_schema(names.aside);
    let owner = Owner::of(&mut db, prefix, tenant).await?;
    for schema in left {
        // A restore that was given up; nobody was ever served from it.
        owner.run(&format!("drop schema {} cascade", ident(schema.get(0)))).await?;
    }
    backup::load(&owner, opened, &Target { prefix, tenant: &aside, epoch: epoch + 1 }).await?;
    owner.commit().await
}

/// The step that changes the names and then tells control. The tenant is fenced.
pub(crate) async fn swap(with: &Provisioner, job: &Job, tenant: &Tenant, cluster: &Cluster) -> Result<()> {
    let names = Names::of(job, tenant);
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    let swapped = has_schema(&db, &names.replaced).await?;
    let before = restores::kept(&with.control, tenant.id).await?;
    let owner = Owner::of(&mut db, &with.installation.prefix, tenant).await?;
    if !swapped {
        let former = before.filter(|kept| kept.schema != names.aside);
        change_names(with, &owner, tenant, &names, former.as_ref()).await?;
    }
    owner.enter(&tenant.schema).await?;
    let epoch: i32 = owner.query_one("select epoch from identity", &[]).await?.get(0);
    owner.commit().await?;
    let mut change = with.control.change(&with.actor).await?;
    let keep_s = job.params["keep_s"].as_i64().unwrap_or_default();
    restores::swapped(&mut change, tenant.id, epoch, schema::MAX, &names.replaced, keep_s).await?;
    Ok(change.commit().await?)
}

async fn change_names(
    with: &Provisioner,
    owner: &Owner<'_>,
    tenant: &Tenant,
    names: &Names,
    former: Option<&Kept>,
) -> Result<()> {
    let (live, replaced, aside) = (ident(&tenant.schema), ident(&names.replaced), ident(&names.aside));
    let group = ident(&with.installation.prefix.tenant(tenant.id, "rw"));
    // As the admin, who may name schemas in this database; the owner may not.
    if let Some(former) = former {
        owner.run(&format!("drop schema if exists {} cascade", ident(&former.schema))).await?;
    }
    owner
        .run(&format!(
            "revoke usage on schema {live} from {group}; alter schema {live} rename to {replaced};
             alter schema {aside} rename to {live}"
        ))
        .await?;
    owner.enter(&tenant.schema).await?;
    let sql = format!("select coalesce(max(version), 0) from {HISTORY_TABLE}");
    let version: i32 = owner.query_one(&sql, &[]).await?.get(0);
    owner.run(&schema::between(version + 1..=schema::MAX, &steps::now())).await?;
    // Whose a number is was decided since the backup; the live mirror knows.
    owner
        .run(&format!(
            "delete from numbers; insert into numbers select * from {replaced}.numbers;
             update identity set epoch = (select epoch + 1 from {replaced}.identity)"
        ))
        .await
}

/// What the schemas of one restore are called.
struct Names {
    /// What is to become the live one.
    aside: String,
    /// What the live one is called afterwards. Once it is there, the names have been changed.
    replaced: String,
    /// Whether something that was kept comes back.
    back: bool,
}

impl Names {
    fn of(job: &Job, tenant: &Tenant) -> Self {
        let back = job.params["back"].as_str();
        Self {
            aside: back.map_or_else(|| format!("{}_r{}", tenant.schema, job.id), str::to_owned),
            replaced: format!("{}_o{}", tenant.schema, job.id),
            back: back.is_some(),
        }
    }
}

async fn has_schema(db: &AdminDb, name: &str) -> Result<bool> {
    db.exists("select 1 from pg_namespace where nspname = $1", name).await
}

fn backup_of(job: &Job) -> Result<Uuid> {
    let id = job.params.get("backup").and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::Conflict(format!("job {} names no backup", job.id)))
}
