//! Playbooks and their versions. What is published never changes: Postgres itself refuses.

use sqlx::Row as _;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::playbook::{Content, Name, Playbook};

/// A version as it is stored.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Stored {
    /// What the versions share.
    pub name: String,
    /// 1, 2, 3 …
    pub version: i32,
    /// `draft` or `published`.
    pub state: &'static str,
    /// For people who choose one.
    pub about: String,
    /// How many answers it has.
    pub scenarios: i64,
    /// When this file was imported.
    #[serde(with = "time::serde::rfc3339")]
    pub imported_at: OffsetDateTime,
    /// When it became what tenants clone.
    #[serde(with = "time::serde::rfc3339::option")]
    pub published_at: Option<OffsetDateTime>,
}

/// What tenants clone.
#[derive(Debug, Clone)]
pub struct Published {
    /// Of which playbook.
    pub name: Name,
    /// Which version.
    pub version: i32,
    /// What it says.
    pub content: Content,
}

const SELECT: &str =
    "select name, version, about, jsonb_array_length(content->'scenarios')::bigint, imported_at, published_at
                      from playbooks";

fn from_row(row: &sqlx::postgres::PgRow) -> Result<Stored, ControlError> {
    let published_at: Option<OffsetDateTime> = row.try_get(5)?;
    Ok(Stored {
        name: row.try_get(0)?,
        version: row.try_get(1)?,
        state: if published_at.is_some() { "published" } else { "draft" },
        about: row.try_get(2)?,
        scenarios: row.try_get(3)?,
        imported_at: row.try_get(4)?,
        published_at,
    })
}

/// All versions of all playbooks.
pub async fn list(control: &Control) -> Result<Vec<Stored>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} order by name, version"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// One version, or the newest, a draft included.
pub async fn get(control: &Control, name: &Name, version: Option<i32>) -> Result<Option<Stored>, ControlError> {
    let sql = format!("{SELECT} where name = $1 and ($2::int is null or version = $2) order by version desc limit 1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name.as_str()).bind(version).fetch_optional(control.pool());
    row.await?.as_ref().map(from_row).transpose()
}

/// The file of one version.
pub async fn authored(control: &Control, of: &Stored) -> Result<Option<String>, ControlError> {
    let sql = "select authored from playbooks where name = $1 and version = $2";
    Ok(sqlx::query_scalar(sql).bind(&of.name).bind(of.version).fetch_optional(control.pool()).await?)
}

/// One published version, or the newest of them. For servers too, which read nothing else.
pub async fn published(
    control: &Control,
    name: &Name,
    version: Option<i32>,
) -> Result<Option<Published>, ControlError> {
    let sql = "select version, content from published_playbooks
               where name = $1 and ($2::int is null or version = $2) order by version desc limit 1";
    let row = sqlx::query(sql).bind(name.as_str()).bind(version).fetch_optional(control.pool()).await?;
    row.map(|row| {
        let sqlx::types::Json(content) = row.try_get(1)?;
        Ok(Published { name: name.clone(), version: row.try_get(0)?, content })
    })
    .transpose()
}

/// Makes a file the draft of the next version, in the place of the draft there was. `None` if that was published meanwhile.
pub async fn draft(change: &mut Change, playbook: &Playbook) -> Result<Option<i32>, ControlError> {
    let sql = "insert into playbooks (name, version, about, authored, content)
               select $1::text, coalesce(max(version), 0) + 1, $2, $3, $4 from playbooks
               where name = $1 and published_at is not null
               on conflict (name, version) do update
               set about = excluded.about, authored = excluded.authored, content = excluded.content, imported_at = now()
               where playbooks.published_at is null
               returning version";
    let name = playbook.name();
    let version: Option<i32> = sqlx::query_scalar(sql)
        .bind(name.as_str())
        .bind(playbook.about())
        .bind(playbook.authored())
        .bind(sqlx::types::Json(playbook.content()))
        .fetch_optional(change.conn())
        .await?;
    if let Some(version) = version {
        let detail = serde_json::json!({ "playbook": name, "version": version });
        change.record("playbook.import", None, detail).await?;
    }
    Ok(version)
}

/// Makes a draft what tenants clone; `false` if there is no such draft.
pub async fn publish(change: &mut Change, name: &Name, version: i32) -> Result<bool, ControlError> {
    let sql = "update playbooks set published_at = now() where name = $1 and version = $2 and published_at is null";
    let done = sqlx::query(sql).bind(name.as_str()).bind(version).execute(change.conn()).await?;
    change.record("playbook.publish", None, serde_json::json!({ "playbook": name, "version": version })).await?;
    Ok(done.rows_affected() > 0)
}
