//! Tenants that were erased: what they owned here is taken away, what was proven is kept with a signature, and the
//! physical copies that outlive them are known.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::clusters::ClusterId;
use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::WrappedKey;

/// A backup or WAL archive that is kept outside of Strowger.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PhysicalCopy {
    /// Its key.
    pub id: i32,
    /// The cluster that it is a copy of; `None` is the control database.
    pub cluster: Option<String>,
    /// `backup` or `wal-archive`.
    pub kind: String,
    /// Where it is, in the operator's words.
    pub location: String,
    /// How long anything is kept there, in seconds.
    pub kept_s: i64,
}

/// All registered copies.
pub async fn copies(control: &Control) -> Result<Vec<PhysicalCopy>, ControlError> {
    let sql = "select p.id, c.name, p.kind, p.location, p.kept_s
               from physical_copies p left join clusters c on c.id = p.cluster_id order by c.name nulls first, p.id";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(PhysicalCopy {
                id: row.try_get(0)?,
                cluster: row.try_get(1)?,
                kind: row.try_get(2)?,
                location: row.try_get(3)?,
                kept_s: row.try_get(4)?,
            })
        })
        .collect()
}

/// Registers a copy, or says anew how long a registered one keeps.
pub async fn put_copy(
    change: &mut Change,
    cluster: Option<ClusterId>,
    kind: &str,
    location: &str,
    kept_s: i64,
) -> Result<(), ControlError> {
    let sql = "insert into physical_copies (cluster_id, kind, location, kept_s) values ($1, $2, $3, $4)
               on conflict (cluster_id, kind, location) do update set kept_s = excluded.kept_s";
    sqlx::query(sql).bind(cluster.map(|id| id.0)).bind(kind).bind(location).bind(kept_s).execute(change.conn()).await?;
    let detail = serde_json::json!({ "cluster": cluster, "kind": kind, "where": location, "kept_s": kept_s });
    change.record("copies.put", None, detail).await
}

/// Forgets a copy: what is erased from now on does not name it. Receipts that do stay as they are.
pub async fn remove_copy(change: &mut Change, id: i32) -> Result<(), ControlError> {
    if sqlx::query("delete from physical_copies where id = $1").bind(id).execute(change.conn()).await?.rows_affected()
        == 0
    {
        return Err(ControlError::Conflict(format!("there is no copy {id}: see `strowgerctl cluster copies list`")));
    }
    change.record("copies.remove", None, serde_json::json!({ "copies": id })).await
}

/// Numbers that are on their way from a tenant or to it.
pub async fn moving(control: &Control, id: TenantId) -> Result<Vec<String>, ControlError> {
    let sql = "select value from numbers where state = 'moving' and $1 in (tenant_id, next_tenant_id) order by value";
    Ok(sqlx::query_scalar(sql).bind(id.get()).fetch_all(control.pool()).await?)
}

/// Takes away what a tenant owns here and others may have cached: its numbers, accounts and secrets. How many of each.
pub async fn take_belongings(change: &mut Change, id: TenantId) -> Result<(), ControlError> {
    let mut counts = serde_json::Map::new();
    for (what, sql) in [
        (
            "numbers",
            "update numbers set state = 'released', tenant_id = null where tenant_id = $1 and state = 'active'",
        ),
        // A number of the tenant's own account goes with the account.
        (
            "numbers_of_own_accounts",
            "delete from numbers n using accounts a where a.tenant_id = $1 and n.state = 'released'
             and n.provider = a.provider and n.account_id = a.external_id",
        ),
        ("accounts", "delete from accounts where tenant_id = $1"),
        ("subaccounts", "delete from twilio_subaccounts where tenant_id = $1"),
        ("secrets", "delete from secrets where tenant_id = $1"),
    ] {
        let done = sqlx::query(sql).bind(id.get()).execute(change.conn()).await?;
        counts.insert(what.to_owned(), done.rows_affected().into());
    }
    change.record("tenant.take_belongings", Some(id), counts.into()).await
}

/// The data keys of a tenant: ring and wrapped key. Destroyed with [`super::tenants::forget`].
pub async fn data_keys(control: &Control, id: TenantId) -> Result<Vec<(String, WrappedKey)>, ControlError> {
    let sql = "select ring, version, wrapped from data_keys where tenant_id = $1 order by ring, version";
    let rows = sqlx::query(sql).bind(id.get()).fetch_all(control.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get("ring")?, super::keys::wrapped(row)?))).collect()
}

/// Empties what a tenant's jobs say: an operator's words and errors. That they were is kept.
pub async fn blank_jobs(change: &mut Change, id: TenantId) -> Result<(), ControlError> {
    sqlx::query("update jobs set params = '{}', errors = '[]' where tenant_id = $1")
        .bind(id.get())
        .execute(change.conn())
        .await?;
    Ok(())
}

/// How many rows of a tenant every table has that can refer to one, except those that are kept: jobs and erasures.
///
/// The tables are found in the catalog, so that a new one cannot be forgotten.
pub async fn rows_left(change: &mut Change, id: TenantId) -> Result<Vec<(String, i64)>, ControlError> {
    let sql = "select c.conrelid::regclass::text, a.attname::text
               from pg_constraint c join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any (c.conkey)
               where c.contype = 'f' and c.confrelid = 'tenants'::regclass
                 and c.conrelid::regclass::text not in ('jobs', 'erasures')
               order by 1, 2";
    let columns: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(change.conn()).await?;
    let mut left = Vec::new();
    for (table, column) in columns {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table} where \"{column}\" = $1"));
        let count: i64 = sqlx::query_scalar(sql).bind(id.get()).fetch_one(change.conn()).await?;
        left.push((format!("{table}.{column}"), count));
    }
    Ok(left)
}

/// An erasure, with its receipt.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// Who it was.
    pub tenant: TenantId,
    /// When.
    pub erased_at: OffsetDateTime,
    /// When the last registered copy that may hold it has expired; `None` when there is none.
    pub copies_until: Option<OffsetDateTime>,
    /// One line of JSON, exactly as signed.
    pub receipt: String,
    /// Over the receipt and its line's end.
    pub signature: Vec<u8>,
}

/// Writes an erasure down.
pub async fn create(change: &mut Change, new: &Erasure) -> Result<(), ControlError> {
    let sql = "insert into erasures (tenant_id, erased_at, erased_by, copies_until, receipt, signature)
               values ($1, $2, $3, $4, $5, $6)";
    let by = change.actor().to_owned();
    sqlx::query(sql)
        .bind(new.tenant.get())
        .bind(new.erased_at)
        .bind(by)
        .bind(new.copies_until)
        .bind(&new.receipt)
        .bind(&new.signature)
        .execute(change.conn())
        .await?;
    let until = new.copies_until.map(|until| until.to_string());
    change.record("tenant.erase", Some(new.tenant), serde_json::json!({ "copies_until": until })).await
}

const SELECT: &str = "select tenant_id, erased_at, copies_until, receipt, signature from erasures";

fn from_row(row: &PgRow) -> Result<Erasure, ControlError> {
    Ok(Erasure {
        tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
        erased_at: row.try_get("erased_at")?,
        copies_until: row.try_get("copies_until")?,
        receipt: row.try_get("receipt")?,
        signature: row.try_get("signature")?,
    })
}

/// The erasure of a tenant, and where the tenant stands now; `None` when it was not erased.
pub async fn get(control: &Control, id: TenantId) -> Result<Option<(Erasure, super::tenants::State)>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select e.*, t.state from ({SELECT}) e join tenants t on t.id = e.tenant_id where t.id = $1"
    ));
    let row = sqlx::query(sql).bind(id.get()).fetch_optional(control.pool()).await?;
    row.map(|row| Ok((from_row(&row)?, row.try_get::<String, _>("state")?.parse()?))).transpose()
}

/// Tenants that are still erasing although every copy has expired, and when they were erased.
pub async fn expired(control: &Control) -> Result<Vec<(TenantId, OffsetDateTime)>, ControlError> {
    let sql = "select t.id, e.erased_at from tenants t join erasures e on e.tenant_id = t.id
               where t.state = 'erasing' and (e.copies_until is null or e.copies_until <= now()) order by t.id";
    let all: Vec<(i32, OffsetDateTime)> = sqlx::query_as(sql).fetch_all(control.pool()).await?;
    all.into_iter().map(|(id, at)| Ok((id.try_into()?, at))).collect()
}
