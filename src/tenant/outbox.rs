//! Promises that could not be queued because the control database was away.

use serde_json::Value;

use super::{Intent, TenantConn, TenantError, Write};

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// What kind of work.
    pub kind: String,
    /// What it came from.
    pub source_id: String,
    /// What to do.
    pub payload: Value,
}

/// Writes one down, once.
pub async fn put(conn: TenantConn<'_, Write>, promise: &Promise) -> Result<(), TenantError> {
    let sql = "insert into outbox (kind, source_id, payload) values ($1, $2, $3) on conflict do nothing";
    conn.execute(sql, &[&promise.kind, &promise.source_id, &promise.payload]).await?;
    Ok(())
}

/// The oldest `limit` of them.
pub async fn list<I: Intent>(conn: TenantConn<'_, I>, limit: i64) -> Result<Vec<Promise>, TenantError> {
    let sql = "select kind, source_id, payload from outbox order by created_at, kind, source_id limit $1";
    let rows = conn.query(sql, &[&limit]).await?;
    rows.iter()
        .map(|row| Ok(Promise { kind: row.try_get(0)?, source_id: row.try_get(1)?, payload: row.try_get(2)? }))
        .collect()
}

/// Forgets one that stands in the queue now.
pub async fn remove(conn: TenantConn<'_, Write>, promise: &Promise) -> Result<(), TenantError> {
    conn.execute("delete from outbox where kind = $1 and source_id = $2", &[&promise.kind, &promise.source_id]).await?;
    Ok(())
}
