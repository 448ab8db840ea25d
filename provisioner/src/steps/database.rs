//! A database of a tenant's own, cloned from the cluster's template and opened only once PUBLIC is shut out.

use strowger::control::tenants::Tenant;
use strowger::id::Prefix;

use super::is_shared;
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::Result;

/// Makes the database, if the tenant is to have its own, and its rights what they must be.
pub(crate) async fn ensure_database(with: &Provisioner, db: &AdminDb, tenant: &Tenant) -> Result<()> {
    if is_shared(tenant) {
        return Ok(());
    }
    clone_template(db, &with.installation.prefix, &tenant.database).await?;
    let group = with.installation.prefix.tenant(tenant.id, "rw");
    db.run(&format!("grant connect on database {} to {}", ident(&tenant.database), ident(&group))).await?;
    db.run(&format!("alter database {} with allow_connections true", ident(&tenant.database))).await
}

/// Clones the template under a name, closed: the caller grants, then opens. A clone's access list starts anew.
pub(crate) async fn clone_template(db: &AdminDb, prefix: &Prefix, name: &str) -> Result<()> {
    if !db.exists("select 1 from pg_database where datname = $1", name).await? {
        let template = ident(&prefix.name("template"));
        db.run(&format!("create database {} template {template} allow_connections false", ident(name))).await?;
    }
    db.run(&format!("revoke all on database {} from public", ident(name))).await
}
