//! How a tenant's receptionist is configured, version by version. The newest is in force: each call reads it.

use serde_json::json;
use time::OffsetDateTime;
use tokio_postgres::Row;

use super::{Intent, TenantConn, TenantError, Write};
use crate::persona::Configuration;

/// When a version was made, and by whom.
#[derive(Debug, serde::Serialize)]
pub struct Head {
    /// 1, 2, 3 …
    pub version: i32,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// A token's id and its key's, or an operator.
    pub created_by: String,
}

/// A version and what it says.
#[derive(Debug)]
pub struct Version {
    /// Which.
    pub head: Head,
    /// What.
    pub configuration: Configuration,
}

fn head(row: &Row) -> Result<Head, TenantError> {
    Ok(Head { version: row.try_get(0)?, created_at: row.try_get(1)?, created_by: row.try_get(2)? })
}

fn version(row: &Row) -> Result<Version, TenantError> {
    Ok(Version { head: head(row)?, configuration: Configuration::stored(row.try_get(3)?) })
}

/// What is in force.
pub async fn current<I: Intent>(conn: TenantConn<'_, I>) -> Result<Version, TenantError> {
    let sql = "select version, created_at, created_by, content from configurations order by version desc limit 1";
    version(&conn.query_one(sql, &[]).await?)
}

/// One version.
pub async fn get<I: Intent>(conn: TenantConn<'_, I>, number: i32) -> Result<Option<Version>, TenantError> {
    let sql = "select version, created_at, created_by, content from configurations where version = $1";
    conn.query_opt(sql, &[&number]).await?.as_ref().map(version).transpose()
}

/// Versions before one, the newest first.
pub async fn list<I: Intent>(conn: TenantConn<'_, I>, before: i32, limit: i64) -> Result<Vec<Head>, TenantError> {
    let sql = "select version, created_at, created_by from configurations
               where version < $1 order by version desc limit $2";
    conn.query(sql, &[&before, &limit]).await?.iter().map(head).collect()
}

/// Adds the version after `after`; `None` if that is no longer the newest.
pub async fn add(
    conn: TenantConn<'_, Write>,
    after: i32,
    new: &Configuration,
    by: &str,
) -> Result<Option<Version>, TenantError> {
    let sql = "insert into configurations (version, content, created_by)
               select $1::int + 1, $2::jsonb, $3::text from configurations having max(version) = $1::int
               on conflict do nothing
               returning version, created_at, created_by, content";
    conn.query_opt(sql, &[&after, &json!(new), &by]).await?.as_ref().map(version).transpose()
}
