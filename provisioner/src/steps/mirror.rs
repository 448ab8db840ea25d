//! The mirror of a tenant's numbers in its own schema: the database's word on whether a call is this tenant's.

use strowger::control::clusters::Cluster;
use strowger::control::tenants::Tenant;
use strowger::phone::Number;

use super::Owner;
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::Result;

/// One tenant's mirror, with its connection open: whoever changes two of them knows first that both can be reached.
pub(crate) struct Mirror<'p> {
    with: &'p Provisioner,
    tenant: Tenant,
    db: AdminDb,
}

impl<'p> Mirror<'p> {
    /// Connects.
    pub(crate) async fn open(with: &'p Provisioner, cluster: &Cluster, tenant: Tenant) -> Result<Self> {
        let db = AdminDb::open_for(with, cluster, &tenant.database, &tenant).await?;
        Ok(Self { with, tenant, db })
    }

    /// Writes the number.
    pub(crate) async fn add(&mut self, number: &Number) -> Result<()> {
        self.change("insert into numbers (kind, value) values ($1, $2) on conflict do nothing", number).await
    }

    /// Removes the number. When this returns, no server answers it for this tenant.
    pub(crate) async fn remove(&mut self, number: &Number) -> Result<()> {
        self.change("delete from numbers where kind = $1 and value = $2", number).await
    }

    async fn change(&mut self, sql: &str, number: &Number) -> Result<()> {
        let owner = Owner::of(&mut self.db, &self.with.installation.prefix, &self.tenant).await?;
        owner.enter(&self.tenant.schema).await?;
        owner.execute(sql, &[&number.kind(), &number.value()]).await?;
        owner.commit().await
    }
}
