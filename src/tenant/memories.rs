//! What a tenant remembers about its callers.

use std::collections::HashMap;

use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::page::{self, Cursor};
use super::vectors::{self, Among};
use super::{Intent, TenantConn, TenantError, Write};
use crate::meaning::Vector;
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
    /// What it is about, if that is known already.
    pub vector: Option<&'a Vector>,
}

/// Stores a fact and its vector; one with a key replaces the one with the same caller, type and key, and keeps its id.
pub async fn put(conn: TenantConn<'_, Write>, new: &NewMemory<'_>) -> Result<Memory, TenantError> {
    let sql = "with stored as (
                   insert into memories (user_id, type, key, content) values ($1, $2, $3, $4)
                   on conflict (user_id, type, key) do update set content = excluded.content, created_at = clock_timestamp()
                   returning id, user_id, type, key, content, created_at),
               understood as (
                   insert into memory_vectors (memory_id, model, dimension, vector, made_of)
                   select id, $5, octet_length($6::bytea) / 4, $6, created_at from stored where $5::text is not null
                   on conflict (memory_id) do update
                   set model = excluded.model, dimension = excluded.dimension, vector = excluded.vector, made_of = excluded.made_of)
               select id, user_id, type, key, content, created_at from stored";
    let (model, vector) = (new.vector.map(|v| v.model.as_str()), new.vector.map(|v| vectors::to_bytes(&v.values)));
    let row =
        conn.query_one(sql, &[&new.caller.to_string(), &new.kind, &new.key, &new.content, &model, &vector]).await?;
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
    let (at, id) = (page.after.as_ref().map(|c| c.at), page.after.as_ref().map(|c| c.key));
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
    let memories = rows.iter().map(Memory::try_from).collect::<Result<_, _>>()?;
    Ok(page::split(memories, page.limit, |memory: &Memory| Cursor { at: memory.created_at, key: memory.id }))
}

/// A fact and how well it fits a question.
#[derive(Debug, serde::Serialize)]
pub struct Ranked {
    /// The fact.
    #[serde(flatten)]
    pub memory: Memory,
    /// 0 to 1: its share of the best possible, which is being first in every ranking there is. For ordering one answer, not
    /// for comparing answers.
    pub score: f64,
}

/// A question about a tenant's memories.
#[derive(Debug)]
pub struct Question<'a> {
    /// Which memories are searched.
    pub among: Among<'a>,
    /// In words.
    pub words: &'a str,
    /// As a vector, where there is a model.
    pub vector: Option<&'a Vector>,
    /// The longest answer.
    pub limit: i64,
}

/// How many of each ranking are merged.
const MOST_RANKED: usize = 1000;
/// Dampens the difference between the first places, as in Cormack, Clarke and Buettcher 2009.
const RANK_CONSTANT: f64 = 60.0;

/// Facts that share words with a question, or mean what it means, best first: two rankings, merged by reciprocal rank.
pub async fn search<I: Intent>(conn: TenantConn<'_, I>, asked: &Question<'_>) -> Result<Vec<Ranked>, TenantError> {
    let mut rankings = vec![worded(conn, asked).await?];
    if let Some(vector) = asked.vector {
        rankings.push(vectors::alike(conn, asked.among, vector).await?);
    }
    let best = merge(&rankings, usize::try_from(asked.limit).unwrap_or(0));
    let ids: Vec<Uuid> = best.iter().map(|(id, _)| *id).collect();
    let sql = "select id, user_id, type, key, content, created_at from memories where id = any($1)";
    let mut found = HashMap::new();
    for row in conn.query(sql, &[&ids]).await? {
        let memory = Memory::try_from(&row)?;
        found.insert(memory.id, memory);
    }
    // One that was forgotten just now is left out.
    Ok(best.into_iter().filter_map(|(id, score)| Some(Ranked { memory: found.remove(&id)?, score })).collect())
}

/// Facts that hold any of the question's words, more and rarer ones first.
async fn worded<I: Intent>(conn: TenantConn<'_, I>, asked: &Question<'_>) -> Result<Vec<Uuid>, TenantError> {
    let sql = "with q as (select replace(plainto_tsquery('simple', $3)::text, ' & ', ' | ')::tsquery as words)
               select id from memories m, q
               where ($1::text is null or user_id = $1) and ($2::text is null or type = $2) and m.words @@ q.words
               order by ts_rank_cd(m.words, q.words, 32) desc, created_at desc, id desc limit $4";
    let most = i64::try_from(MOST_RANKED).unwrap_or(i64::MAX);
    let (caller, kind) = (asked.among.caller.map(ToString::to_string), asked.among.kind);
    let rows = conn.query(sql, &[&caller, &kind, &asked.words, &most]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The best of several rankings: each gives a fact 1 ÷ (60 + its place). The score is the share of what first places give.
fn merge(rankings: &[Vec<Uuid>], limit: usize) -> Vec<(Uuid, f64)> {
    let mut scores: Vec<(Uuid, f64)> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for ranking in rankings {
        let mut place = RANK_CONSTANT;
        for id in ranking.iter().take(MOST_RANKED) {
            place += 1.0;
            let at = *places.entry(*id).or_insert_with(|| {
                scores.push((*id, 0.0));
                scores.len() - 1
            });
            scores[at].1 += (RANK_CONSTANT + 1.0) / place;
        }
    }
    // Ties go to the ranking by words: the sort is stable.
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.truncate(limit);
    let best: f64 = rankings.iter().map(|_| 1.0).sum();
    scores.into_iter().map(|(id, score)| (id, score / best)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_both_rankings_is_best_and_scores_one() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let merged = merge(&[vec![a, b], vec![a, c]], 10);
        assert_eq!(merged.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [a, b, c]);
        assert!((merged[0].1 - 1.0).abs() < 1e-9);
        // Second in one of two: 61/62 of a half.
        assert!((merged[1].1 - 61.0 / 62.0 / 2.0).abs() < 1e-9);
        // Third and second beat first and nothing.
        assert_eq!(merge(&[vec![c, a, b], vec![a, b]], 2)[0].0, a);
        assert_eq!(merge(&[vec![a]], 10), [(a, 1.0)]);
        assert!(merge(&[], 10).is_empty());
    }
}
