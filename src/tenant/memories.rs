//! What a tenant remembers about its callers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError, Write};
use crate::phone::CallerKey;

/// One remembered fact.
#[derive(Debug, serde::Serialize)]
pub struct Memory {
    /// Its id.
    pub id: Uuid,
    /// About whom.
    pub user_id: String,
    /// The client's own classification.
    #[serde(rename = "type")]
    pub kind: String,
    /// Names the fact, so that a newer one replaces it; or none.
    pub key: Option<String>,
    /// The fact.
    pub content: String,
    /// When it was stored or last replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl TryFrom<&Row> for Memory {
    type Error = TenantError;
    fn try_from(row: &Row) -> Result<Self, TenantError> {
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            kind: row.try_get(2)?,
            key: row.try_get(3)?,
            content: row.try_get(4)?,
            created_at: row.try_get(5)?,
        })
    }
}

/// A fact to be stored.
#[derive(Debug)]
pub struct NewMemory<'a> {
    /// About whom.
    pub caller: &'a CallerKey,
    /// At most 64 characters.
    pub kind: &'a str,
    /// At most 256 characters.
    pub key: Option<&'a str>,
    /// The fact.
    pub content: &'a str,
}

/// Stores a fact; one with a key replaces the one with the same caller, type and key, and keeps its id.
pub async fn put(conn: TenantConn<'_, Write>, new: &NewMemory<'_>) -> Result<Memory, TenantError> {
    let sql = "insert into memories (user_id, type, key, content) values ($1, $2, $3, $4)
               on conflict (user_id, type, key) do update set content = excluded.content, created_at = clock_timestamp()
               returning id, user_id, type, key, content, created_at";
    let row = conn.query_one(sql, &[&new.caller.to_string(), &new.kind, &new.key, &new.content]).await?;
    Memory::try_from(&row)
}

/// One fact.
pub async fn get<I: Intent>(conn: TenantConn<'_, I>, id: Uuid) -> Result<Option<Memory>, TenantError> {
    let sql = "select id, user_id, type, key, content, created_at from memories where id = $1";
    conn.query_opt(sql, &[&id]).await?.as_ref().map(Memory::try_from).transpose()
}

/// Forgets one fact; `false` if there was none.
pub async fn delete(conn: TenantConn<'_, Write>, id: Uuid) -> Result<bool, TenantError> {
    Ok(conn.execute("delete from memories where id = $1", &[&id]).await? > 0)
}

/// Where a page ended: the last row's time and id. Opaque on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    created_at: OffsetDateTime,
    id: Uuid,
}

impl Cursor {
    /// Reads what an earlier answer gave.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (nanos, id) = bytes.split_at(16);
        let nanos = i128::from_be_bytes(nanos.try_into().ok()?);
        let created_at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        // Postgres has no such instants; a cursor that names one is not ours.
        (1900..=9999).contains(&created_at.year()).then_some(())?;
        Some(Self { created_at, id: Uuid::from_slice(id).ok()? })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = [self.created_at.unix_timestamp_nanos().to_be_bytes().as_slice(), self.id.as_bytes()].concat();
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Which facts to list.
#[derive(Debug)]
pub struct Page<'a> {
    /// Of this caller, or of all.
    pub caller: Option<&'a CallerKey>,
    /// Of this type, or of all.
    pub kind: Option<&'a str>,
    /// After this one.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: i64,
}

/// Facts, newest first, and where to go on.
pub async fn list<I: Intent>(
    conn: TenantConn<'_, I>,
    page: &Page<'_>,
) -> Result<(Vec<Memory>, Option<Cursor>), TenantError> {
    let caller = page.caller.map(ToString::to_string);
    let (at, id) = (page.after.map(|c| c.created_at), page.after.map(|c| c.id));
    let more = page.limit + 1;
    // Two statements, so that the common one, a caller's newest, is planned on its own index.
    let rows = match &caller {
        Some(caller) => {
            let sql = "select id, user_id, type, key, content, created_at from memories
                       where user_id = $1 and ($2::text is null or type = $2)
                         and ($3::timestamptz is null or (created_at, id) < ($3, $4))
                       order by created_at desc, id desc limit $5";
            conn.query(sql, &[caller, &page.kind, &at, &id, &more]).await?
        }
        None => {
            let sql = "select id, user_id, type, key, content, created_at from memories
                       where ($1::text is null or type = $1) and ($2::timestamptz is null or (created_at, id) < ($2, $3))
                       order by created_at desc, id desc limit $4";
            conn.query(sql, &[&page.kind, &at, &id, &more]).await?
        }
    };
    let limit = usize::try_from(page.limit).unwrap_or(0);
    let memories = rows.iter().take(limit).map(Memory::try_from).collect::<Result<Vec<_>, _>>()?;
    let next = memories.last().filter(|_| rows.len() > limit).map(|m| Cursor { created_at: m.created_at, id: m.id });
    Ok((memories, next))
}

/// A fact and how well it fits a question.
#[derive(Debug, serde::Serialize)]
pub struct Ranked {
    /// The fact.
    #[serde(flatten)]
    pub memory: Memory,
    /// Greater fits better; 0 does not fit.
    pub score: f32,
}

/// Facts that share words with `query`, best first: any of its words may match, more and rarer ones count more.
pub async fn search<I: Intent>(
    conn: TenantConn<'_, I>,
    caller: Option<&CallerKey>,
    query: &str,
    limit: i64,
) -> Result<Vec<Ranked>, TenantError> {
    let sql = "with q as (select replace(plainto_tsquery('simple', $2)::text, ' & ', ' | ')::tsquery as words)
               select id, user_id, type, key, content, created_at, ts_rank_cd(m.words, q.words, 32) as score
               from memories m, q
               where ($1::text is null or user_id = $1) and m.words @@ q.words
               order by score desc, created_at desc, id desc limit $3";
    let rows = conn.query(sql, &[&caller.map(ToString::to_string), &query, &limit]).await?;
    rows.iter().map(|row| Ok(Ranked { memory: row.try_into()?, score: row.try_get(6)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_survive_the_wire(nanos in 0i64..i64::MAX, id in any::<u128>()) {
            let created_at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos)).unwrap();
            let cursor = Cursor { created_at, id: Uuid::from_u128(id) };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,60}") {
            let _ = Cursor::parse(&text);
        }
    }
}
