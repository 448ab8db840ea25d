//! Takes away what the other steps made; each finds nothing to do when it is run again.

use strowger::control::clusters::Cluster;
use strowger::control::tenants::Tenant;

use super::{MAINTENANCE_DATABASE, Owner, is_shared};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::Result;

/// Drops the tenant's schema with everything in it, and every right its roles have in that database.
pub(crate) async fn drop_schema(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    let maintenance = AdminDb::open_for(with, cluster, MAINTENANCE_DATABASE, tenant).await?;
    // A `drop database` that was interrupted leaves a database that nobody can connect to any more, marked by this limit.
    let usable = "select 1 from pg_database where datname = $1 and datallowconn and datconnlimit <> -2";
    if !maintenance.exists(usable, &tenant.database).await? {
        return Ok(());
    }
    let prefix = &with.installation.prefix;
    let [owner, group] = ["owner", "rw"].map(|what| prefix.tenant(tenant.id, what));
    let admin = ident(&prefix.name("admin"));
    let mut db = AdminDb::open_for(with, cluster, &tenant.database, tenant).await?;
    if !db.exists("select 1 from pg_roles where rolname = $1", &owner).await? {
        return Ok(());
    }
    let acting = Owner::of(&mut db, prefix, tenant).await?;
    // Default privileges and grants stand in the way of dropping a role; `drop owned` takes them along with the tables.
    let (owner, group) = (ident(&owner), ident(&group));
    acting.run(&format!("grant {group} to {admin}; drop owned by {group}; revoke {group} from {admin}")).await?;
    acting.run(&format!("drop owned by {owner} cascade")).await?;
    acting.commit().await
}

/// Drops the tenant's own database, if it has one.
pub(crate) async fn drop_database(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    if is_shared(tenant) {
        return Ok(());
    }
    let db = AdminDb::open_for(with, cluster, MAINTENANCE_DATABASE, tenant).await?;
    db.run(&format!("drop database if exists {} with (force)", ident(&tenant.database))).await
}

/// Drops the tenant's four roles.
pub(crate) async fn drop_roles(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    let db = AdminDb::open_for(with, cluster, MAINTENANCE_DATABASE, tenant).await?;
    let roles = ["a", "b", "rw", "owner"].map(|what| ident(&with.installation.prefix.tenant(tenant.id, what)));
    db.run(&format!("drop role if exists {}", roles.join(", "))).await
}
