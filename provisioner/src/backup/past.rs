//! One tenant as it was: read out of a copy of its cluster that is restored aside, by the same code as any backup.

use strowger::control::clusters::Cluster;
use strowger::control::jobs::Job;
use strowger::control::tenants::Tenant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::{Store, dump};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::archive::{self, Aside};
use crate::error::{Error, Result};
use crate::steps::Owner;

/// Writes a whole backup of a moment. The copy is gone when this returns.
pub(super) async fn past(
    with: &Provisioner,
    job: &Job,
    tenant: &Tenant,
    cluster: &Cluster,
    (id, at): (Uuid, OffsetDateTime),
    store: &Store,
) -> Result<()> {
    // Whoever goes on with the job finds a tenant that may have been moved since.
    archive::refuse(with, tenant, at).await?;
    let archive = archive::of(with, cluster).await?;
    let base = archive::base_of(&archive, at).await?;
    // Of a cluster that is not archived any more, the archive has all that it will ever have.
    if archive.ended_at.is_none() {
        archive::reach(with, cluster).await?;
    }
    let aside = Aside::restore(with, &archive, cluster, &base.label, at).await?;
    let mut db = match aside.open(with, &tenant.database).await {
        Err(Error::Postgres { sqlstate, .. }) if sqlstate == "3D000" => return Err(not_there(tenant, at)),
        opened => opened?,
    };
    prove(with, &mut db, tenant, at).await?;
    dump(with, job, &mut db, tenant, id, store, Some(at)).await
}

/// The schema must have been there, and say that it is this tenant's.
async fn prove(with: &Provisioner, db: &mut AdminDb, tenant: &Tenant, at: OffsetDateTime) -> Result<()> {
    if !db.exists("select 1 from pg_namespace where nspname = $1", &tenant.schema).await? {
        return Err(not_there(tenant, at));
    }
    let owner = Owner::reading(db, &with.installation.prefix, tenant).await?;
    owner.enter(&tenant.schema).await?;
    let found = owner.query("select tenant_id from identity", &[]).await?;
    owner.lay_down().await?;
    match found.first().map(|row| row.get::<_, i32>(0)) {
        Some(said) if said == tenant.id.get() => Ok(()),
        _ => Err(Error::Conflict(format!(
            "what was in the place of tenant {} on cluster {} at {} does not say that it is that tenant's: nothing was changed",
            tenant.id,
            tenant.cluster,
            at.format(&Rfc3339).unwrap_or_default()
        ))),
    }
}

fn not_there(tenant: &Tenant, at: OffsetDateTime) -> Error {
    Error::Conflict(format!(
        "tenant {} was not on cluster {} at {}: nothing was changed",
        tenant.id,
        tenant.cluster,
        at.format(&Rfc3339).unwrap_or_default()
    ))
}
