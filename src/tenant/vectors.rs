//! Vectors beside memories, and the memories that mean what was asked.
//!
//! The comparison is exact: a tenant's vectors are thousands, and multiplying them takes about a millisecond. A vector counts
//! only beside the words it was made of ([`super::memories::Memory::created_at`]), and only against its own model's.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Intent, TenantConn, TenantError, Write};
use crate::meaning::{self, Vector};
use crate::phone::CallerKey;

/// So many of the newest are compared; a tenant with more remembers the older ones by their words.
const MOST_COMPARED: i64 = 10_000;
/// Less alike than this is chance: static word vectors give unrelated texts up to 0.15, a match 0.3 and more.
const LEAST_ALIKE: f32 = 0.2;

/// Which memories are searched.
#[derive(Debug, Clone, Copy)]
pub struct Among<'a> {
    /// Of this caller, or of all.
    pub caller: Option<&'a CallerKey>,
    /// Of this type, or of all.
    pub kind: Option<&'a str>,
}

/// A memory without a vector of the model that is asked for.
#[derive(Debug)]
pub struct Missing {
    /// Which.
    pub id: Uuid,
    /// The beginning of what it says.
    pub content: String,
    /// When that was stored.
    pub made_of: OffsetDateTime,
}

/// The newest memories that lack a vector of `model`, at most `limit`.
pub async fn missing<I: Intent>(
    conn: TenantConn<'_, I>,
    among: Among<'_>,
    model: &str,
    limit: i64,
) -> Result<Vec<Missing>, TenantError> {
    let sql = "select m.id, left(m.content, 16384), m.created_at
               from memories m
               where ($1::text is null or m.user_id = $1) and ($2::text is null or m.type = $2)
                 and not exists (select from memory_vectors v
                                 where v.memory_id = m.id and v.made_of = m.created_at and v.model = $3)
               order by m.created_at desc, m.id desc limit $4";
    let rows = conn.query(sql, &[&among.caller.map(ToString::to_string), &among.kind, &model, &limit]).await?;
    let missing = |row: &tokio_postgres::Row| {
        Ok(Missing { id: row.try_get(0)?, content: row.try_get(1)?, made_of: row.try_get(2)? })
    };
    rows.iter().map(missing).collect()
}

/// Keeps vectors that were made later than their memories. One whose memory is gone or was replaced meanwhile is dropped.
pub async fn keep(conn: TenantConn<'_, Write>, made: &[(Vector, Missing)]) -> Result<(), TenantError> {
    let ids: Vec<Uuid> = made.iter().map(|(_, of)| of.id).collect();
    let made_of: Vec<OffsetDateTime> = made.iter().map(|(_, of)| of.made_of).collect();
    let models: Vec<&str> = made.iter().map(|(vector, _)| vector.model.as_str()).collect();
    let vectors: Vec<Vec<u8>> = made.iter().map(|(vector, _)| to_bytes(&vector.values)).collect();
    let sql = "insert into memory_vectors (memory_id, model, dimension, vector, made_of)
               select m.id, n.model, octet_length(n.vector) / 4, n.vector, n.made_of
               from unnest($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[]) n (id, model, vector, made_of)
                    join memories m on m.id = n.id and m.created_at = n.made_of
               for key share of m
               on conflict (memory_id) do update
               set model = excluded.model, dimension = excluded.dimension, vector = excluded.vector, made_of = excluded.made_of
               where excluded.made_of >= memory_vectors.made_of";
    conn.execute(sql, &[&ids, &models, &vectors, &made_of]).await?;
    Ok(())
}

/// The memories that mean most what is asked, the most alike first.
pub(super) async fn alike<I: Intent>(
    conn: TenantConn<'_, I>,
    among: Among<'_>,
    asked: &Vector,
) -> Result<Vec<Uuid>, TenantError> {
    let sql = "select v.memory_id, v.vector from memory_vectors v
               join memories m on m.id = v.memory_id and m.created_at = v.made_of
               where ($1::text is null or m.user_id = $1) and ($2::text is null or m.type = $2)
                 and v.model = $3 and v.dimension = $4
               order by m.created_at desc, m.id desc limit $5";
    let dimension = i32::try_from(asked.values.len()).unwrap_or(0);
    let caller = among.caller.map(ToString::to_string);
    let rows = conn.query(sql, &[&caller, &among.kind, &asked.model, &dimension, &MOST_COMPARED]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let likeness = meaning::cosine(&asked.values, &from_bytes(row.try_get(1)?));
        if likeness >= LEAST_ALIKE {
            found.push((likeness, row.try_get(0)?));
        }
    }
    // Newest first among equals: the sort is stable.
    found.sort_by(|a: &(f32, Uuid), b| b.0.total_cmp(&a.0));
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// As `memory_vectors.vector` keeps it.
pub(super) fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|value| f32::from_le_bytes(*value)).collect()
}
