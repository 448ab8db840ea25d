//! The audit log as chains, for whoever proves it: rows a batch at a time, the heads, and the key that signs heads.
//!
//! A column that somebody emptied with a superuser's rights is read as a value that no row has, so that it is found and
//! named like any other change.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Change, Control, ControlError, Tx};
use crate::id::TenantId;
use crate::vault::{AuditKey, Sealed};

/// The platform's chain. A tenant's chain has the tenant's id.
pub const PLATFORM: i32 = 0;

/// One row with its place in its chain, as read and as exported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Whose: a tenant's id, or [`PLATFORM`].
    pub chain: i32,
    /// 1, 2, 3 … in its chain.
    pub seq: i64,
    /// Across all chains; not without gaps.
    pub id: i64,
    /// Microseconds since 1970; exported as RFC 3339.
    #[serde(with = "rfc3339")]
    pub at: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Whose, if a tenant's.
    pub tenant_id: Option<i32>,
    /// The rest: JSON exactly as Postgres writes it, because that text is what is hashed.
    pub detail: String,
    /// The hash of the row before.
    #[serde(with = "hex")]
    pub previous: Vec<u8>,
    /// Over `previous` and all columns above.
    #[serde(with = "hex")]
    pub hash: Vec<u8>,
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Which chain.
    pub chain: i32,
    /// Of an export: the first row that is in it, or one more than `seq` when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
    /// The place of its last row.
    pub seq: i64,
    /// The hash of its last row.
    #[serde(with = "hex")]
    pub hash: Vec<u8>,
}

/// What of the log is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part {
    /// One tenant's chain; else all chains.
    pub tenant: Option<TenantId>,
    /// Each chain from its first row at or after this moment; else from its beginning.
    pub since: Option<OffsetDateTime>,
}

/// The log at one moment: rows and heads fit each other whatever is appended meanwhile.
pub struct Reading {
    tx: Tx,
    part: Part,
}

impl Reading {
    /// Begins to read.
    pub async fn open(control: &Control, part: Part) -> Result<Self, ControlError> {
        let mut tx = control.pool().begin().await?;
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
        let from = "audit a join (select chain, min(seq) as first from audit where at >= $2 group by chain) f
                    on f.chain = a.chain and a.seq >= f.first";
        let from = if part.since.is_some() { from } else { "audit a where $2::timestamptz is null" };
        let and = if part.since.is_some() { "where" } else { "and" };
        let sql = sqlx::AssertSqlSafe(format!(
            "declare log no scroll cursor for
             select coalesce(a.chain, -1), coalesce(a.seq, -1), a.id,
                    coalesce(case when isfinite(a.at) then (extract(epoch from a.at) * 1000000)::bigint end, -1),
                    coalesce(a.actor, ''), coalesce(a.action, ''), a.tenant_id, coalesce(a.detail::text, ''),
                    coalesce(a.previous, ''), coalesce(a.hash, '')
             from {from} {and} ($1::int is null or a.chain = $1) order by a.chain, a.seq, a.id"
        ));
        sqlx::query(sql).bind(part.tenant.map(TenantId::get)).bind(part.since).execute(&mut *tx).await?;
        Ok(Self { tx, part })
    }

    /// The next rows, chain by chain in order; none at the end.
    pub async fn next(&mut self) -> Result<Vec<Row>, ControlError> {
        let rows = sqlx::query("fetch 500 from log").persistent(false).fetch_all(&mut *self.tx).await?;
        rows.iter().map(from_row).collect()
    }

    /// What Postgres itself keeps of where the chains end.
    pub async fn heads(&mut self) -> Result<Vec<Head>, ControlError> {
        let sql = "select chain, seq, hash from audit_heads where $1::int is null or chain = $1 order by chain";
        let rows = sqlx::query(sql).bind(self.part.tenant.map(TenantId::get)).fetch_all(&mut *self.tx).await?;
        rows.iter()
            .map(|row| Ok(Head { chain: row.try_get(0)?, first: None, seq: row.try_get(1)?, hash: row.try_get(2)? }))
            .collect()
    }
}

fn from_row(row: &PgRow) -> Result<Row, ControlError> {
    Ok(Row {
        chain: row.try_get(0)?,
        seq: row.try_get(1)?,
        id: row.try_get(2)?,
        at: row.try_get(3)?,
        actor: row.try_get(4)?,
        action: row.try_get(5)?,
        tenant_id: row.try_get(6)?,
        detail: row.try_get(7)?,
        previous: row.try_get(8)?,
        hash: row.try_get(9)?,
    })
}

/// The private half of the key that signs heads and receipts, if one was made.
pub async fn key(control: &Control) -> Result<Option<Sealed<AuditKey>>, ControlError> {
    let sealed = sqlx::query_scalar("select sealed_private from audit_key").fetch_optional(control.pool()).await?;
    Ok(sealed.map(Sealed::from_stored))
}

/// Keeps that key. There is one: of two that are made at the same time the first stays.
pub async fn add_key(change: &mut Change, public: &[u8], private: &Sealed<AuditKey>) -> Result<(), ControlError> {
    let sql = "insert into audit_key (public_key, sealed_private) values ($1, $2) on conflict do nothing";
    sqlx::query(sql).bind(public).bind(private.as_bytes()).execute(change.conn()).await?;
    change.record("audit_key.add", None, serde_json::json!({ "algorithm": "Ed25519" })).await
}

/// A moment in microseconds since 1970 as RFC 3339, in the one way in which we write it.
pub fn moment(at: i64) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).ok()?;
    at.format(&Rfc3339).ok()
}

mod rfc3339 {
    use super::{OffsetDateTime, Rfc3339, moment};
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(at: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&moment(*at).ok_or_else(|| ser::Error::custom("a moment beyond the year 9999"))?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let text = String::deserialize(from)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)?;
        let at = i64::try_from(at.unix_timestamp_nanos() / 1000).map_err(de::Error::custom)?;
        // Digits beyond microseconds are not hashed, so they must not be there.
        moment(at).filter(|ours| *ours == text).map(|_| at).ok_or_else(|| de::Error::custom("not as we write it"))
    }
}

mod hex {
    use std::fmt::Write as _;

    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(text, "{byte:02x}").map_err(ser::Error::custom)?;
        }
        to.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !lower || text.len() % 2 != 0 {
            return Err(de::Error::custom("not lower-case hexadecimal"));
        }
        text.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(&String::from_utf8_lossy(two), 16).map_err(de::Error::custom))
            .collect()
    }
}
