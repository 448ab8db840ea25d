//! Everything a tenant holds on one person: who there is, all of it, none of it.
//!
//! The rule that must hold: [`TABLES`] names every table with a `user_id`, so that no new one is forgotten when somebody asks for
//! their data, or for it to be gone; a test compares it with the catalog. Rows that hang on these (vectors on memories) go with
//! them.

use std::sync::LazyLock;

use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::Row;

use super::page::{self, Cursor};
use super::{Intent, TenantConn, TenantError, Write};
use crate::phone::CallerKey;

/// The tables that hold something on a caller.
pub const TABLES: [&str; 8] = [
    "caller_profiles",
    "memories",
    "calls",
    "call_turns",
    "messages",
    "call_summaries",
    "personality_metrics",
    "personality_averages",
];

/// Somebody who called or wrote, or of whom something is known.
#[derive(Debug, serde::Serialize)]
pub struct Person {
    /// The caller key.
    pub user_id: String,
    /// If it is known.
    pub name: Option<String>,
    /// When they were last heard of, or something was noted on them.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
    /// How often they called.
    pub calls: i64,
    /// How many facts are remembered.
    pub memories: i64,
    /// How many of their calls have been processed.
    pub summaries: i64,
}

impl TryFrom<&Row> for Person {
    type Error = TenantError;
    fn try_from(row: &Row) -> Result<Self, TenantError> {
        Ok(Self {
            user_id: row.try_get(0)?,
            name: row.try_get(1)?,
            last_seen: row.try_get(2)?,
            calls: row.try_get(3)?,
            memories: row.try_get(4)?,
            summaries: row.try_get(5)?,
        })
    }
}

/// The tenant's callers, who was seen last first, and where to go on.
pub async fn list<I: Intent>(
    conn: TenantConn<'_, I>,
    after: Option<&Cursor<String>>,
    limit: i64,
) -> Result<(Vec<Person>, Option<Cursor<String>>), TenantError> {
    let sql = "select user_id, max(name), max(seen), sum(calls)::int8, sum(memories)::int8, sum(summaries)::int8 from (
                   select user_id, name, updated_at as seen, 0 as calls, 0 as memories, 0 as summaries from caller_profiles
                   union all
                   select user_id, null, max(updated_at), count(*), 0, 0 from calls where user_id is not null group by user_id
                   union all
                   select user_id, null, max(created_at), 0, count(*), 0 from memories group by user_id
                   union all
                   select user_id, null, max(created_at), 0, 0, count(*) from call_summaries group by user_id) held
               group by user_id
               having $1::timestamptz is null or (max(seen), user_id) < ($1, $2)
               order by max(seen) desc, user_id desc limit $3";
    let rows = conn.query(sql, &[&after.map(|c| c.at), &after.map(|c| c.key.as_str()), &(limit + 1)]).await?;
    let found = rows.iter().map(Person::try_from).collect::<Result<_, _>>()?;
    Ok(page::split(found, limit, |person: &Person| Cursor { at: person.last_seen, key: person.user_id.clone() }))
}

static EXPORT: LazyLock<String> = LazyLock::new(|| {
    // What is computed from the rest, words for the search, is no news to anybody.
    let of = |table| {
        format!(
            "'{table}', (select coalesce(jsonb_agg(to_jsonb(t) - 'words'), '[]') from {table} t where t.user_id = $1)"
        )
    };
    format!("select jsonb_build_object({})", TABLES.map(of).join(", "))
});

/// All rows on a person, by table.
pub async fn export<I: Intent>(conn: TenantConn<'_, I>, caller: &CallerKey) -> Result<Value, TenantError> {
    Ok(conn.query_one(&EXPORT, &[&caller.to_string()]).await?.try_get(0)?)
}

static ERASE: LazyLock<String> = LazyLock::new(|| {
    let delete = |table| format!("{table}_gone as (delete from {table} where user_id = $1 returning 1)");
    let count = |table| format!("'{table}', (select count(*) from {table}_gone)");
    let (deletes, counts) = (TABLES.map(delete).join(", "), TABLES.map(count).join(", "));
    format!("with {deletes} select jsonb_build_object({counts}), now()")
});

/// What was deleted.
#[derive(Debug)]
pub struct Erased {
    /// Rows by table.
    pub counts: Value,
    /// When.
    pub at: OffsetDateTime,
}

/// Deletes all rows on a person, all or nothing: one statement.
pub async fn erase(conn: TenantConn<'_, Write>, caller: &CallerKey) -> Result<Erased, TenantError> {
    let row = conn.query_one(&ERASE, &[&caller.to_string()]).await?;
    Ok(Erased { counts: row.try_get(0)?, at: row.try_get(1)? })
}
