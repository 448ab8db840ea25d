//! What restores replaced, and until when it is kept: one schema a tenant, the last one.

use serde_json::json;
use sqlx::Row as _;

use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// A schema that was the live one.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name now.
    pub schema: String,
    /// Whether its time has passed.
    pub is_over: bool,
}

/// What is kept for a tenant.
pub async fn kept(control: &Control, tenant: TenantId) -> Result<Option<Kept>, ControlError> {
    let sql = "select schema, kept_until <= now() as is_over from replaced_schemas where tenant_id = $1";
    let row = sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    row.map(|row| Ok(Kept { schema: row.try_get(0)?, is_over: row.try_get(1)? })).transpose()
}

/// The tenants for whom something is kept whose time has passed.
pub async fn over(control: &Control) -> Result<Vec<TenantId>, ControlError> {
    let sql = "select tenant_id from replaced_schemas where kept_until <= now() order by 1";
    let ids: Vec<i32> = sqlx::query_scalar(sql).fetch_all(control.pool()).await?;
    ids.into_iter().map(|id| Ok(id.try_into()?)).collect()
}

/// Notes that other data is in the live schema's place: its epoch, and what is kept. Said twice it counts once.
pub async fn swapped(
    change: &mut Change,
    tenant: TenantId,
    epoch: i32,
    schema_version: i32,
    kept: &str,
    keep_s: i64,
) -> Result<(), ControlError> {
    let sql = "update placements set epoch = $2, schema_version = $3, generation = generation + 1
               where tenant_id = $1 and epoch <> $2";
    sqlx::query(sql).bind(tenant.get()).bind(epoch).bind(schema_version).execute(change.conn()).await?;
    let sql = "insert into replaced_schemas (tenant_id, schema, kept_until)
               values ($1, $2, now() + $3 * interval '1 second')
               on conflict (tenant_id) do update set schema = excluded.schema, kept_until = excluded.kept_until
               where replaced_schemas.schema <> excluded.schema";
    sqlx::query(sql).bind(tenant.get()).bind(kept).bind(keep_s).execute(change.conn()).await?;
    let detail = json!({ "epoch": epoch, "replaced": kept, "kept_s": keep_s });
    change.record("placement.restore", Some(tenant), detail).await
}

/// Forgets what is kept no longer.
pub async fn forget(change: &mut Change, tenant: TenantId) -> Result<(), ControlError> {
    sqlx::query("delete from replaced_schemas where tenant_id = $1").bind(tenant.get()).execute(change.conn()).await?;
    change.record("restore.forget", Some(tenant), json!({})).await
}
