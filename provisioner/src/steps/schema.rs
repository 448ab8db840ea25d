//! A tenant's schema: all migrations as one batch, the identity row, and the rights of its logins.

use strowger::control::tenants::Tenant;
use strowger::id::Prefix;
use strowger::schema::{self, HISTORY_TABLE, READ_ONLY_TABLES};
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Transaction;

use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::{Error, Result};

/// The admin acting as a tenant's owner role, for one transaction.
///
/// It becomes a member for that transaction only: being a member of ten thousand roles makes every GRANT slow.
pub(crate) struct Owner<'c> {
    pub(super) tx: Transaction<'c>,
    owner: String,
    admin: String,
    pub(super) what: String,
}

impl<'c> Owner<'c> {
    /// Takes the role on.
    pub(crate) async fn of(db: &'c mut AdminDb, prefix: &Prefix, tenant: &Tenant) -> Result<Self> {
        let what = db.what();
        Self::within(db.begin().await?, what, prefix, tenant).await
    }

    pub(super) async fn within(tx: Transaction<'c>, what: String, prefix: &Prefix, tenant: &Tenant) -> Result<Self> {
        let owner = Self { tx, owner: prefix.tenant(tenant.id, "owner"), admin: prefix.name("admin"), what };
        owner.run(&format!("grant {} to {}", ident(&owner.owner), ident(&owner.admin))).await?;
        Ok(owner)
    }

    /// Acts with the owner's rights from here on, names resolving in `schema`.
    pub(crate) async fn enter(&self, schema: &str) -> Result<()> {
        self.run(&format!("set local role {}; set local search_path = {}", ident(&self.owner), ident(schema))).await
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        self.tx.batch_execute(sql).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Runs one statement and says how many rows it touched.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<u64> {
        self.tx.execute(sql, params).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Lays the role down and makes all of it true.
    pub(crate) async fn commit(self) -> Result<()> {
        self.run(&format!(
            "set local role {admin}; revoke {} from {admin}",
            ident(&self.owner),
            admin = ident(&self.admin)
        ))
        .await?;
        self.tx.commit().await.map_err(Error::postgres(self.what))
    }
}

/// Makes the schema with everything in it, or finds that it is there: one transaction makes it whole.
pub(crate) async fn ensure_schema(with: &Provisioner, db: &mut AdminDb, tenant: &Tenant, epoch: i32) -> Result<()> {
    if db.exists("select 1 from pg_namespace where nspname = $1", &tenant.schema).await? {
        return Ok(());
    }
    let prefix = &with.installation.prefix;
    let owner = Owner::of(db, prefix, tenant).await?;
    let (schema, role) = (ident(&tenant.schema), ident(&prefix.tenant(tenant.id, "owner")));
    owner.run(&format!("create schema {schema} authorization {role}")).await?;
    owner.enter(&tenant.schema).await?;
    owner.run(&schema::batch(&now())).await?;
    owner.execute("insert into identity (tenant_id, epoch) values ($1, $2)", &[&tenant.id.get(), &epoch]).await?;
    owner.run(&grants(prefix, tenant, true)).await?;
    owner.commit().await
}

/// Puts the rights of a tenant's logins back to what they must be; without `writes`, nothing is written once this returns.
pub(crate) async fn ensure_grants(with: &Provisioner, db: &mut AdminDb, tenant: &Tenant, writes: bool) -> Result<()> {
    if !db.exists("select 1 from pg_namespace where nspname = $1", &tenant.schema).await? {
        return Err(Error::Conflict(format!("tenant {} has no schema: it must be restored from a backup", tenant.id)));
    }
    let sql = "select quote_ident(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = $1 and c.relkind in ('r', 'p') order by c.oid";
    let tables: Vec<String> = db.query(sql, &[&tenant.schema]).await?.iter().map(|row| row.get(0)).collect();
    let owner = Owner::of(db, &with.installation.prefix, tenant).await?;
    owner.enter(&tenant.schema).await?;
    if !writes {
        // Waits for writes that are under way; those that wait behind this are refused by the revocation below.
        owner.run(&format!("set local lock_timeout = '5s'; lock table {} in share mode", tables.join(", "))).await?;
    }
    owner.run(&grants(&with.installation.prefix, tenant, writes)).await?;
    owner.commit().await
}

/// DML on the tenant's tables for the group, reading only where the provisioner writes, nothing for anybody else.
pub(crate) fn grants(prefix: &Prefix, tenant: &Tenant, writes: bool) -> String {
    let (schema, group) = (ident(&tenant.schema), ident(&prefix.tenant(tenant.id, "rw")));
    let (verb, whom) = if writes { ("grant", "to") } else { ("revoke", "from") };
    let mut sql = format!(
        "revoke all on schema {schema} from public;
         grant usage on schema {schema} to {group};
         grant select on all tables in schema {schema} to {group};
         {verb} insert, update, delete on all tables in schema {schema} {whom} {group};
         {verb} usage on all sequences in schema {schema} {whom} {group};
         alter default privileges in schema {schema} grant select on tables to {group};
         alter default privileges in schema {schema} {verb} insert, update, delete on tables {whom} {group};
         alter default privileges in schema {schema} {verb} usage on sequences {whom} {group};
         alter default privileges revoke execute on functions from public;
         revoke all on {HISTORY_TABLE} from {group};\n"
    );
    for table in READ_ONLY_TABLES {
        sql.push_str(&format!("revoke insert, update, delete on {table} from {group};\n"));
    }
    sql
}

/// As refinery writes it.
pub(crate) fn now() -> String {
    strowger::clock::Clock::system().now().format(&Rfc3339).unwrap_or_default()
}
