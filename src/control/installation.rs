//! Which installation this control database belongs to.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::{Change, Control, ControlError};
use crate::id::Prefix;

/// What holds for the whole installation and changes rarely; the server reads it once, when it starts.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Before every role and database name on every cluster.
    pub prefix: Prefix,
    /// The `iss` of service tokens.
    pub token_issuer: String,
    /// The `aud` of service tokens.
    pub token_audience: String,
    /// Raised by each restore of the control database; generations of a restored one begin above all earlier ones.
    pub epoch: i64,
    /// It was restored from a copy and has not been compared with the clusters yet: nothing is served from it.
    pub reconciling: bool,
}

/// Reads the one row; `None` before `init`.
pub async fn get(control: &Control) -> Result<Option<Installation>, ControlError> {
    let row = sqlx::query(
        "select prefix, token_issuer, token_audience, epoch, reconciling_since is not null from installation",
    )
    .fetch_optional(control.pool())
    .await?;
    row.map(|row| {
        Ok(Installation {
            prefix: row.try_get::<String, _>(0)?.parse()?,
            token_issuer: row.try_get(1)?,
            token_audience: row.try_get(2)?,
            epoch: row.try_get(3)?,
            reconciling: row.try_get(4)?,
        })
    })
    .transpose()
}

/// Writes the one row. A second call with the same prefix changes nothing.
pub async fn create(change: &mut Change, prefix: &Prefix) -> Result<(), ControlError> {
    sqlx::query("insert into installation (prefix) values ($1) on conflict do nothing")
        .bind(prefix.as_str())
        .execute(change.conn())
        .await?;
    change.record("installation.create", None, serde_json::json!({ "prefix": prefix.as_str() })).await
}

/// Whether it is served from, as it stands now.
pub async fn is_serving(control: &Control) -> Result<bool, ControlError> {
    let sql = "select coalesce(bool_and(reconciling_since is null), false) from installation";
    Ok(sqlx::query_scalar(sql).fetch_one(control.pool()).await?)
}

/// Serves from it again: the server's login gets its rights back by `grants`, and every server hears of it.
pub async fn serve_again(change: &mut Change, grants: &str) -> Result<(), ControlError> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(grants.to_owned())).execute(change.conn()).await?;
    sqlx::query("update installation set reconciling_since = null").execute(change.conn()).await?;
    sqlx::query("select pg_notify('strowger_changes', 'everything')").execute(change.conn()).await?;
    change.record("control.reconcile", None, serde_json::json!({})).await
}

/// What holds for every tenant, by name.
pub async fn settings(control: &Control) -> Result<BTreeMap<String, String>, ControlError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select name, value from platform_settings").fetch_all(control.pool()).await?;
    Ok(rows.into_iter().collect())
}

/// Changes what holds for every tenant.
pub async fn set(change: &mut Change, name: &str, value: &str) -> Result<(), ControlError> {
    let sql = "insert into platform_settings (name, value) values ($1, $2)
               on conflict (name) do update set value = excluded.value";
    sqlx::query(sql).bind(name).bind(value).execute(change.conn()).await?;
    change.record("platform.set", None, serde_json::json!({ "name": name, "value": value })).await
}

/// One of them; `None` where nobody has said.
pub async fn setting(control: &Control, name: &str) -> Result<Option<String>, ControlError> {
    let sql = "select value from platform_settings where name = $1";
    Ok(sqlx::query_scalar(sql).bind(name).fetch_optional(control.pool()).await?)
}

/// What callers of a suspended tenant hear.
pub async fn suspended_sentence(control: &Control) -> Result<Option<String>, ControlError> {
    setting(control, "suspended_sentence").await
}
