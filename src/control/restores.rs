//! What restores replaced, and until when it is kept: one schema a tenant, the last one. And for how long each restore shut its tenant out.

use serde_json::json;
use sqlx::Row as _;

use super::jobs::Job;
use super::{Change, Control, ControlError};
use crate::id::TenantId;

/// A schema that was the live one.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Its name now.
    pub schema: String,
    /// Whether its time has passed and no job is to put it back.
    pub is_over: bool,
}

/// One that was given up may be tried again: it has perhaps shut its tenant out, and finds nothing else to serve it from.
const IS_OVER: &str = "kept_until <= now() and not exists (
    select from jobs j where j.tenant_id = replaced_schemas.tenant_id and j.kind = 'restore'
                         and j.params ->> 'back' = replaced_schemas.schema and j.state in ('queued', 'running', 'failed'))";

/// What is kept for a tenant.
pub async fn kept(control: &Control, tenant: TenantId) -> Result<Option<Kept>, ControlError> {
    let sql = format!("select schema, {IS_OVER} as is_over from replaced_schemas where tenant_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tenant.get()).fetch_optional(control.pool()).await?;
    row.map(|row| Ok(Kept { schema: row.try_get(0)?, is_over: row.try_get(1)? })).transpose()
}

/// The tenants for whom something is kept whose time has passed and that no job is to put back.
pub async fn over(control: &Control) -> Result<Vec<TenantId>, ControlError> {
    let sql = format!("select tenant_id from replaced_schemas where {IS_OVER} order by 1");
    let ids: Vec<i32> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(control.pool()).await?;
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

/// Notes that a restore is about to shut its tenant out. The first time counts.
pub async fn shut(control: &Control, job: i64) -> Result<(), ControlError> {
    let sql = "insert into restores (job_id) values ($1) on conflict do nothing";
    sqlx::query(sql).bind(job).execute(control.pool()).await?;
    Ok(())
}

/// Notes that its tenant is served again, if it was shut out. The last time counts.
pub async fn opened(control: &Control, job: i64) -> Result<(), ControlError> {
    let sql = "update restores set open_at = clock_timestamp() where job_id = $1";
    sqlx::query(sql).bind(job).execute(control.pool()).await?;
    Ok(())
}

/// For how many milliseconds the newest restore in place of a tenant's data shut it out; `None` when it was not served anyway, or is not
/// served again.
pub async fn unavailable_ms(control: &Control, tenant: TenantId) -> Result<Option<i64>, ControlError> {
    let sql = "select (1000 * extract(epoch from open_at - shut_at))::bigint
               from jobs left join restores on job_id = id
               where kind = 'restore' and tenant_id = $1 order by id desc limit 1";
    let newest: Option<Option<i64>> = sqlx::query_scalar(sql).bind(tenant.get()).fetch_optional(control.pool()).await?;
    Ok(newest.flatten())
}

/// Ends a restore that has changed nothing yet, for another one in its place: what it has made aside is not that one's.
pub async fn forgo(change: &mut Change, tenant: TenantId, job: &Job) -> Result<(), ControlError> {
    let sql = "update jobs set state = 'cancelled', holder = null, lease_until = null, ended_at = now()
               where id = $1 and state in ('queued', 'running')";
    sqlx::query(sql).bind(job.id).execute(change.conn()).await?;
    change.record("job.cancel", Some(tenant), json!({ "job": job.id, "kind": job.kind })).await
}
