//! The steps of a restore. In place, the new schema is made and compared beside the live one, and once Postgres refuses the tenant's
//! logins the two change names in one transaction.

use serde_json::Value;
use strowger::control::clusters::Cluster;
use strowger::control::jobs::Job;
use strowger::control::restores::{self, Kept};
use strowger::control::tenants::{State, Tenant};
use strowger::schema::{self, HISTORY_TABLE};
use uuid::Uuid;

use super::{Target, load, whole};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::steps::{self, Owner};

/// The step that fills a new tenant: its schema from the backup, whole or not at all.
pub(crate) async fn fill(
    with: &Provisioner,
    job: &Job,
    (tenant, cluster): &(Tenant, Cluster),
    meter: &Meter,
) -> Result<()> {
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    if has_schema(&db, &tenant.schema).await? {
        return Ok(());
    }
    let (_, epoch) = steps::credential(with, tenant.id).await?;
    let (_, opened) = whole(with, backup_of(job)?).await?;
    let prefix = &with.installation.prefix;
    let owner = Owner::of(&mut db, prefix, tenant).await?;
    load(&owner, opened, &Target { prefix, tenant, epoch, writes: true, meter }).await?;
    // Sealed under the other tenant's key, and that tenant's to do.
    owner.run("truncate outbox").await?;
    owner.commit().await
}

/// The step that makes the new schema beside the live one.
pub(crate) async fn beside(
    with: &Provisioner,
    job: &Job,
    (tenant, cluster): &(Tenant, Cluster),
    meter: &Meter,
) -> Result<()> {
    let names = Names::of(job, tenant);
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    if has_schema(&db, &names.aside).await? || has_schema(&db, &names.replaced).await? {
        return Ok(());
    }
    if names.back {
        // Before anybody is shut out for it: a move leaves it behind, and so does a job that is tried again too late.
        return Err(Error::Conflict(format!(
            "job {}: {} is not kept any more: nothing was changed",
            job.id, names.aside
        )));
    }
    let (_, epoch) = steps::credential(with, tenant.id).await?;
    let (_, opened) = whole(with, backup_of(job)?).await?;
    let left = "select nspname::text from pg_namespace where nspname like $1";
    let left = db.query(left, &[&format!("{}\\_r%", tenant.schema.replace('_', "\\_"))]).await?;
    let prefix = &with.installation.prefix;
    let aside = tenant.in_schema(names.aside);
    let owner = Owner::of(&mut db, prefix, tenant).await?;
    for schema in left {
        // A restore that was given up; nobody was ever served from it.
        owner.run(&format!("drop schema {} cascade", ident(schema.get(0)))).await?;
    }
    let writes = tenant.state == State::Active && !tenant.held;
    load(&owner, opened, &Target { prefix, tenant: &aside, epoch: epoch + 1, writes, meter }).await?;
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

/// The job that has put something else in the place of what is kept under that name.
pub(crate) fn replaced_by(kept: &str) -> Option<i64> {
    kept.rsplit_once("_o")?.1.parse().ok()
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
