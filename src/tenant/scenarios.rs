//! A tenant's scenarios: cloned from a playbook, or its own.
//!
//! What changes one takes `knowledge_version` first, as a clone does ([`super::clones`]): in one order nobody waits in a circle.

use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError, Write};
use crate::playbook::Scenario;

/// One as it is stored.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// Made by the database.
    pub id: Uuid,
    /// What it says.
    #[serde(flatten)]
    pub scenario: Scenario,
    /// `inherited` from a playbook, or `custom`.
    pub origin: String,
    /// Whether the tenant has changed an inherited one.
    pub edited: bool,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Stored {
    /// The scenario comes as JSON, whose names are its own.
    fn from_row(row: &Row) -> Result<Self, TenantError> {
        let tokio_postgres::types::Json(scenario) = row.try_get(1)?;
        Ok(Self {
            id: row.try_get(0)?,
            scenario,
            origin: row.try_get(2)?,
            edited: row.try_get(3)?,
            updated_at: row.try_get(4)?,
        })
    }
}

/// By id, those after `after`.
pub async fn list<I: Intent>(
    conn: TenantConn<'_, I>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Stored>, TenantError> {
    let sql = "select id, jsonb_build_object('key', key, 'name', name, 'category', category, 'phrases', phrases,
                      'replies', replies, 'followUp', follow_up, 'behavior', behavior, 'hook', hook,
                      'priority', priority, 'enabled', enabled), origin, edited, updated_at
               from scenarios where $1::uuid is null or id > $1 order by id limit $2";
    conn.query(sql, &[&after, &limit]).await?.iter().map(Stored::from_row).collect()
}

/// One of them.
pub async fn get<I: Intent>(conn: TenantConn<'_, I>, id: Uuid) -> Result<Option<Stored>, TenantError> {
    let sql = "select id, jsonb_build_object('key', key, 'name', name, 'category', category, 'phrases', phrases,
                      'replies', replies, 'followUp', follow_up, 'behavior', behavior, 'hook', hook,
                      'priority', priority, 'enabled', enabled), origin, edited, updated_at
               from scenarios where id = $1";
    conn.query_opt(sql, &[&id]).await?.as_ref().map(Stored::from_row).transpose()
}

/// Replaces what one says, but for its key, and notes that the tenant did.
pub async fn replace(conn: TenantConn<'_, Write>, id: Uuid, new: &Scenario) -> Result<Option<Stored>, TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid() returning 1)
               update scenarios set name = $2, category = $3, phrases = $4, replies = $5, follow_up = $6, behavior = $7,
                                    hook = $8, priority = $9, enabled = $10, edited = true, updated_at = now()
               from renewed where id = $1
               returning id, jsonb_build_object('key', key, 'name', name, 'category', category, 'phrases', phrases,
                         'replies', replies, 'followUp', follow_up, 'behavior', behavior, 'hook', hook,
                         'priority', priority, 'enabled', enabled), origin, edited, updated_at";
    let row = conn
        .query_opt(
            sql,
            &[
                &id,
                &new.name,
                &new.category,
                &new.phrases,
                &new.replies,
                &new.follow_up,
                &new.behavior,
                &new.hook.as_str(),
                &new.priority,
                &new.enabled,
            ],
        )
        .await?;
    row.as_ref().map(Stored::from_row).transpose()
}

/// Forgets one; whether there was one. An update of the playbook does not bring it back.
pub async fn delete(conn: TenantConn<'_, Write>, id: Uuid) -> Result<bool, TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid() returning 1)
               delete from scenarios using renewed where id = $1";
    Ok(conn.execute(sql, &[&id]).await? > 0)
}
