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
}

/// Reads the one row; `None` before `init`.
pub async fn get(control: &Control) -> Result<Option<Installation>, ControlError> {
    let row = sqlx::query("select prefix, token_issuer, token_audience from installation")
        .fetch_optional(control.pool())
        .await?;
    row.map(|row| {
        Ok(Installation {
            prefix: row.try_get::<String, _>(0)?.parse()?,
            token_issuer: row.try_get(1)?,
            token_audience: row.try_get(2)?,
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
