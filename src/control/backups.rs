//! The catalogue of backups: what was written where. What a backup holds is sealed beside it, and can be read without this.

use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// Where a backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Promised; what there is of it is no backup yet.
    Writing,
    /// Whole.
    Complete,
    /// Being taken away; may be gone already.
    Deleting,
}

impl std::str::FromStr for State {
    type Err = ControlError;
    fn from_str(text: &str) -> Result<Self, ControlError> {
        match text {
            "writing" => Ok(Self::Writing),
            "complete" => Ok(Self::Complete),
            "deleting" => Ok(Self::Deleting),
            other => Err(ControlError::Unknown(format!("backup state {other}"))),
        }
    }
}

/// A backup, as the catalogue knows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Backup {
    /// Its id, and the name of its folder in the store.
    pub id: Uuid,
    /// Whose data it holds.
    #[serde(rename = "customer_id")]
    pub tenant: TenantId,
    /// Where it stands.
    pub state: State,
    /// The folder that it lies in.
    pub store: String,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// The earlier moment that it was taken of, out of an archive; `None`: of when it was made.
    #[serde(with = "time::serde::rfc3339::option")]
    pub moment: Option<OffsetDateTime>,
    /// What is in it; `None` until it is complete.
    #[serde(flatten)]
    pub taken: Option<Taken>,
    /// When it was last read back as a whole and compared.
    #[serde(with = "time::serde::rfc3339::option")]
    pub verified_at: Option<OffsetDateTime>,
}

/// What a complete backup holds.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Taken {
    /// The moment of the snapshot.
    #[serde(with = "time::serde::rfc3339")]
    pub taken_at: OffsetDateTime,
    /// Everything that was committed before this place in the write-ahead log is in it.
    pub lsn: String,
    /// The version of the tenant's schema.
    pub schema_version: i32,
    /// In all tables.
    pub rows: i64,
    /// Of text, before it was compressed.
    pub bytes: i64,
    /// In the store.
    pub stored_bytes: i64,
    /// How long it took.
    pub duration_ms: i64,
    /// Rows, bytes and checksum of each table.
    pub tables: Value,
    /// The master key that wraps the copy of the data key inside.
    pub master_key: String,
}

const COLUMNS: &str =
    "id, tenant_id, state, store, started_at, moment, taken_at, lsn::text as lsn, schema_version, rows, bytes,
                       stored_bytes, duration_ms, tables, master_key, verified_at";

fn from_row(row: &PgRow) -> Result<Backup, ControlError> {
    let taken = match row.try_get::<Option<OffsetDateTime>, _>("taken_at")? {
        None => None,
        Some(taken_at) => Some(Taken {
            taken_at,
            lsn: row.try_get("lsn")?,
            schema_version: row.try_get("schema_version")?,
            rows: row.try_get("rows")?,
            bytes: row.try_get("bytes")?,
            stored_bytes: row.try_get("stored_bytes")?,
            duration_ms: row.try_get("duration_ms")?,
            tables: row.try_get("tables")?,
            master_key: row.try_get("master_key")?,
        }),
    };
    Ok(Backup {
        id: row.try_get("id")?,
        tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
        state: row.try_get::<&str, _>("state")?.parse()?,
        store: row.try_get("store")?,
        started_at: row.try_get("started_at")?,
        moment: row.try_get("moment")?,
        taken,
        verified_at: row.try_get("verified_at")?,
    })
}

/// One backup.
pub async fn get(control: &Control, id: Uuid) -> Result<Option<Backup>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select {COLUMNS} from backups where id = $1"));
    sqlx::query(sql).bind(id).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// The backups of one tenant, or of all, newest first; unfinished ones too.
pub async fn list(control: &Control, tenant: Option<TenantId>) -> Result<Vec<Backup>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from backups where $1::int is null or tenant_id = $1
         order by coalesce(taken_at, started_at) desc, id"
    ));
    let rows = sqlx::query(sql).bind(tenant.map(TenantId::get)).fetch_all(control.pool()).await?;
    rows.iter().map(from_row).collect()
}

/// Those of these ids that the catalogue has, in whatever state.
pub async fn known(control: &Control, ids: &[Uuid]) -> Result<Vec<Uuid>, ControlError> {
    Ok(sqlx::query_scalar("select id from backups where id = any($1)").bind(ids).fetch_all(control.pool()).await?)
}

/// The one of a tenant that was begun and is not complete.
pub async fn unfinished(control: &Control, tenant: TenantId) -> Result<Option<Backup>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select {COLUMNS} from backups where tenant_id = $1 and state = 'writing'"));
    sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// A complete one of a tenant that was taken out of an archive for exactly that moment.
pub async fn of_moment(
    control: &Control,
    tenant: TenantId,
    moment: OffsetDateTime,
) -> Result<Option<Backup>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from backups where tenant_id = $1 and moment = $2 and state = 'complete'
         order by started_at desc limit 1"
    ));
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(moment)
        .fetch_optional(control.pool())
        .await?
        .as_ref()
        .map(from_row)
        .transpose()
}

/// Promises a backup, of an earlier moment or of now.
pub async fn begin(
    change: &mut Change,
    id: Uuid,
    tenant: TenantId,
    store: &str,
    moment: Option<OffsetDateTime>,
) -> Result<(), ControlError> {
    let sql = "insert into backups (id, tenant_id, store, state, moment) values ($1, $2, $3, 'writing', $4)";
    sqlx::query(sql).bind(id).bind(tenant.get()).bind(store).bind(moment).execute(change.conn()).await?;
    let moment = moment.map(|at| at.to_string());
    change.record("backup.begin", Some(tenant), json!({ "backup": id, "store": store, "moment": moment })).await
}

/// Says what a backup holds. It is in the store by now.
pub async fn complete(change: &mut Change, id: Uuid, tenant: TenantId, taken: &Taken) -> Result<(), ControlError> {
    let sql =
        "update backups set state = 'complete', taken_at = $2, lsn = $3::text::pg_lsn, schema_version = $4, rows = $5,
                      bytes = $6, stored_bytes = $7, duration_ms = $8, tables = $9, master_key = $10
               where id = $1 and state = 'writing'";
    sqlx::query(sql)
        .bind(id)
        .bind(taken.taken_at)
        .bind(&taken.lsn)
        .bind(taken.schema_version)
        .bind(taken.rows)
        .bind(taken.bytes)
        .bind(taken.stored_bytes)
        .bind(taken.duration_ms)
        .bind(&taken.tables)
        .bind(&taken.master_key)
        .execute(change.conn())
        .await?;
    let detail = json!({ "backup": id, "rows": taken.rows, "bytes": taken.bytes, "lsn": taken.lsn });
    change.record("backup.complete", Some(tenant), detail).await
}

/// Notes that a backup was read back as a whole and is what its manifest says.
pub async fn verified(change: &mut Change, backup: &Backup) -> Result<(), ControlError> {
    sqlx::query("update backups set verified_at = now() where id = $1").bind(backup.id).execute(change.conn()).await?;
    change.record("backup.verify", Some(backup.tenant), json!({ "backup": backup.id })).await
}

/// From here on nobody restores it, whatever is left of it in the store.
pub async fn doom(change: &mut Change, backup: &Backup, reason: &str) -> Result<(), ControlError> {
    sqlx::query("update backups set state = 'deleting' where id = $1").bind(backup.id).execute(change.conn()).await?;
    let detail = json!({ "backup": backup.id, "store": backup.store, "reason": reason });
    change.record("backup.delete", Some(backup.tenant), detail).await
}

/// Forgets a backup of which nothing is left in the store.
pub async fn forget(change: &mut Change, backup: &Backup) -> Result<(), ControlError> {
    sqlx::query("delete from backups where id = $1").bind(backup.id).execute(change.conn()).await?;
    change.record("backup.deleted", Some(backup.tenant), json!({ "backup": backup.id })).await
}

/// How many backups hold a data key that a master key wraps.
pub async fn wrapped_by(control: &Control, master_key: &str) -> Result<i64, ControlError> {
    let sql = "select count(*) from backups where master_key = $1";
    Ok(sqlx::query_scalar(sql).bind(master_key).fetch_one(control.pool()).await?)
}
