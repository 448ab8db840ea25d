//! A tenant's schema: all migrations as one batch, the identity row, and the rights of its logins.

use strowger::control::tenants::Tenant;
use strowger::id::Prefix;
use strowger::schema::{self, HISTORY_TABLE, READ_ONLY_TABLES};
use strowger::vault::Secret;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Transaction;

use super::roles::roles_sql;
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
        owner.run(&membership(&owner.owner, &owner.admin).0).await?;
        Ok(owner)
    }

    /// Acts with the owner's rights from here on, names resolving in `schema`.
    pub(crate) async fn enter(&self, schema: &str) -> Result<()> {
        self.run(&enter(&self.owner, schema)).await
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
        self.run(&membership(&self.owner, &self.admin).1).await?;
        self.tx.commit().await.map_err(Error::postgres(self.what))
    }
}

/// Makes a tenant's roles and, in the database that it shares, its schema: one message, and so one transaction.
pub(crate) async fn ensure_roles_and_schema(
    with: &Provisioner,
    db: &AdminDb,
    tenant: &Tenant,
    password: &Secret,
    epoch: i32,
) -> Result<()> {
    let roles = roles_sql(with, db, tenant, password).await?;
    db.run(&format!("{roles}{}", schema_sql(with, db, tenant, epoch).await?)).await
}

/// Makes the schema with everything in it, or finds that it is there: one transaction makes it whole.
pub(crate) async fn ensure_schema(with: &Provisioner, db: &AdminDb, tenant: &Tenant, epoch: i32) -> Result<()> {
    db.run(&schema_sql(with, db, tenant, epoch).await?).await
}

/// The statements that make the schema, none if it is there. Sent as one message, they are one transaction.
async fn schema_sql(with: &Provisioner, db: &AdminDb, tenant: &Tenant, epoch: i32) -> Result<String> {
    if db.exists("select 1 from pg_namespace where nspname = $1", &tenant.schema).await? {
        return Ok(String::new());
    }
    let prefix = &with.installation.prefix;
    let [owner, admin, schema] = [prefix.tenant(tenant.id, "owner"), prefix.name("admin"), tenant.schema.clone()];
    let (become_member, cease) = membership(&owner, &admin);
    let (first, last) = rights(prefix, tenant, true);
    Ok(format!(
        "{become_member};
         create schema {} authorization {};
         {};
         {first}
         {}
         insert into identity (tenant_id, epoch) values ({}, {epoch});
         {last}
         {cease};\n",
        ident(&schema),
        ident(&owner),
        enter(&owner, &schema),
        schema::batch(&now()),
        tenant.id,
    ))
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

/// Rights on what is there and on what will be.
fn grants(prefix: &Prefix, tenant: &Tenant, writes: bool) -> String {
    let (schema, group) = (ident(&tenant.schema), ident(&prefix.tenant(tenant.id, "rw")));
    let (verb, whom) = turned(writes);
    let (first, last) = rights(prefix, tenant, writes);
    format!(
        "{first}
         grant select on all tables in schema {schema} to {group};
         {verb} insert, update, delete on all tables in schema {schema} {whom} {group};
         {verb} usage on all sequences in schema {schema} {whom} {group};
         {last}"
    )
}

/// DML on the tenant's tables for the group, reading only where the provisioner writes, nothing for anybody else: what is
/// said before the first table of a schema is made, so that all have it, and what after the last.
///
/// Granting on all tables of a schema would read all of `pg_class`, with every neighbour's tables in it.
pub(crate) fn rights(prefix: &Prefix, tenant: &Tenant, writes: bool) -> (String, String) {
    let (schema, group) = (ident(&tenant.schema), ident(&prefix.tenant(tenant.id, "rw")));
    let (verb, whom) = turned(writes);
    let first = format!(
        "revoke all on schema {schema} from public;
         grant usage on schema {schema} to {group};
         alter default privileges in schema {schema} grant select on tables to {group};
         alter default privileges in schema {schema} {verb} insert, update, delete on tables {whom} {group};
         alter default privileges in schema {schema} {verb} usage on sequences {whom} {group};\n"
    );
    let mut last = format!(
        "alter default privileges revoke execute on functions from public;
         revoke all on {HISTORY_TABLE} from {group};\n"
    );
    for table in READ_ONLY_TABLES {
        last.push_str(&format!("revoke insert, update, delete on {table} from {group};\n"));
    }
    (first, last)
}

fn turned(writes: bool) -> (&'static str, &'static str) {
    if writes { ("grant", "to") } else { ("revoke", "from") }
}

/// The statements between which the admin is a member of a tenant's owner role.
fn membership(owner: &str, admin: &str) -> (String, String) {
    let (owner, admin) = (ident(owner), ident(admin));
    (format!("grant {owner} to {admin}"), format!("set local role {admin}; revoke {owner} from {admin}"))
}

/// What acts with the owner's rights from here to the end of the transaction, names resolving in `schema`.
fn enter(owner: &str, schema: &str) -> String {
    format!("set local role {}; set local search_path = {}", ident(owner), ident(schema))
}

/// As refinery writes it.
pub(crate) fn now() -> String {
    strowger::clock::Clock::system().now().format(&Rfc3339).unwrap_or_default()
}
