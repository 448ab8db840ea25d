//! A tenant's own questions and answers.
//!
//! Whatever changes what is answered renews `knowledge_version` in the same statement: that is how every server notices.

use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError, Write};

/// One question with its answer.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Knowledge {
    /// Made by the database.
    pub id: Uuid,
    /// What is asked, and what is answered.
    #[serde(flatten)]
    pub content: Content,
    /// When it was first stored.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// What the tenant says of it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Content {
    /// As callers ask it.
    pub question: String,
    /// Other ways to ask it.
    #[serde(default)]
    pub variants: Vec<String>,
    /// What they hear; `{variables}` are filled in.
    pub answer: String,
    /// Groups questions for people.
    #[serde(default)]
    pub category: String,
    /// The higher one is given of two that fit equally well.
    #[serde(default)]
    pub priority: i32,
    /// Whether it is answered at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}

impl Knowledge {
    fn from_row(row: &Row) -> Result<Self, TenantError> {
        let content = Content {
            question: row.try_get(1)?,
            variants: row.try_get(2)?,
            answer: row.try_get(3)?,
            category: row.try_get(4)?,
            priority: row.try_get(5)?,
            enabled: row.try_get(6)?,
        };
        Ok(Self { id: row.try_get(0)?, content, created_at: row.try_get(7)?, updated_at: row.try_get(8)? })
    }
}

/// By id, those after `after`.
pub async fn list<I: Intent>(
    conn: TenantConn<'_, I>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Knowledge>, TenantError> {
    let sql = "select id, question, variants, answer, category, priority, enabled, created_at, updated_at
               from knowledge where $1::uuid is null or id > $1 order by id limit $2";
    conn.query(sql, &[&after, &limit]).await?.iter().map(Knowledge::from_row).collect()
}

/// One of them.
pub async fn get<I: Intent>(conn: TenantConn<'_, I>, id: Uuid) -> Result<Option<Knowledge>, TenantError> {
    let sql = "select id, question, variants, answer, category, priority, enabled, created_at, updated_at
               from knowledge where id = $1";
    conn.query_opt(sql, &[&id]).await?.as_ref().map(Knowledge::from_row).transpose()
}

/// Stores a new one; `None` when the tenant has `most` of them already.
pub async fn create(conn: TenantConn<'_, Write>, new: &Content, most: i64) -> Result<Option<Knowledge>, TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid())
               insert into knowledge (question, variants, answer, category, priority, enabled)
               select $1, $2, $3, $4, $5, $6 where (select count(*) from knowledge) < $7
               returning id, question, variants, answer, category, priority, enabled, created_at, updated_at";
    let row = conn
        .query_opt(sql, &[&new.question, &new.variants, &new.answer, &new.category, &new.priority, &new.enabled, &most])
        .await?;
    row.as_ref().map(Knowledge::from_row).transpose()
}

/// Replaces all that the tenant says of one.
pub async fn replace(conn: TenantConn<'_, Write>, id: Uuid, new: &Content) -> Result<Option<Knowledge>, TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid())
               update knowledge set question = $2, variants = $3, answer = $4, category = $5, priority = $6, enabled = $7,
                                    updated_at = now()
               where id = $1
               returning id, question, variants, answer, category, priority, enabled, created_at, updated_at";
    let row = conn
        .query_opt(sql, &[&id, &new.question, &new.variants, &new.answer, &new.category, &new.priority, &new.enabled])
        .await?;
    row.as_ref().map(Knowledge::from_row).transpose()
}

/// Forgets one; whether there was one.
pub async fn delete(conn: TenantConn<'_, Write>, id: Uuid) -> Result<bool, TenantError> {
    let sql = "with renewed as (update knowledge_version set version = gen_random_uuid())
               delete from knowledge where id = $1";
    Ok(conn.execute(sql, &[&id]).await? > 0)
}
