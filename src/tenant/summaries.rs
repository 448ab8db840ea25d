//! What processed calls left: a summary, a measurement, and the caller's averages.

use std::sync::LazyLock;

use serde_json::Value;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::page::{self, Cursor};
use super::{Intent, TenantConn, TenantError, Write};
use crate::phone::CallerKey;

/// What says which call it was, so that it is processed once.
#[derive(Debug, Clone, Copy)]
pub enum CallId<'a> {
    /// The provider's id.
    Sid(&'a str),
    /// SHA-256 of thread and conversation.
    History([u8; 32]),
}

/// A processed call to be stored.
#[derive(Debug)]
pub struct NewSummary<'a> {
    /// Who called.
    pub caller: &'a CallerKey,
    /// Which call.
    pub call: CallId<'a>,
    /// The conversation it belongs to.
    pub thread_id: Option<&'a str>,
    /// What it was about.
    pub summary: &'a str,
    /// Who wrote that: `extractive` or `model`.
    pub source: &'a str,
    /// The most discussed first.
    pub key_topics: &'a [String],
    /// What was named.
    pub variables: &'a Value,
    /// How the caller came across, if anything was heard of the caller.
    pub metrics: Option<&'a Value>,
}

/// A processed call.
#[derive(Debug, serde::Serialize)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// Who called.
    pub user_id: String,
    /// The provider's id of the call, if it was given.
    pub call_sid: Option<String>,
    /// The conversation it belongs to.
    pub thread_id: Option<String>,
    /// What it was about.
    pub summary: String,
    /// `extractive`, `model`, or `record`: only that there was a call is known.
    pub source: String,
    /// The most discussed first.
    pub key_topics: Vec<String>,
    /// What was named.
    pub variables: Value,
    /// How the caller came across in this call.
    pub personality: Option<Value>,
    /// When it was processed.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Summary {
    /// Whether anything that was said is in it.
    pub fn holds_words(&self) -> bool {
        self.source != "record"
    }
}

impl TryFrom<&Row> for Summary {
    type Error = TenantError;
    fn try_from(row: &Row) -> Result<Self, TenantError> {
        Ok(Self {
            id: row.try_get(0)?,
            user_id: row.try_get(1)?,
            call_sid: row.try_get(2)?,
            thread_id: row.try_get(3)?,
            summary: row.try_get(4)?,
            source: row.try_get(5)?,
            key_topics: row.try_get(6)?,
            variables: row.try_get(7)?,
            personality: row.try_get(8)?,
            created_at: row.try_get(9)?,
        })
    }
}

/// Stores a processed call, its measurement and the caller's new averages, all or nothing; `false` if it was stored before.
///
/// An average is the plain mean of the first ten calls; from then on each new call moves it by a tenth of the difference.
pub async fn put(conn: TenantConn<'_, Write>, new: &NewSummary<'_>) -> Result<bool, TenantError> {
    let (sql, sid, hash): (&'static str, _, _) = match new.call {
        CallId::Sid(sid) => (&PUT_NAMED, Some(sid), None),
        CallId::History(hash) => (&PUT_UNNAMED, None, Some(hash.to_vec())),
    };
    let caller = new.caller.to_string();
    let stored = conn
        .query_opt(
            sql,
            &[
                &caller,
                &sid,
                &hash,
                &new.thread_id,
                &new.summary,
                &new.source,
                &new.key_topics,
                new.variables,
                &new.metrics,
            ],
        )
        .await?;
    Ok(stored.is_some())
}

/// For calls that the provider named. A row that only says that there was a call makes way for its caller's words.
static PUT_NAMED: LazyLock<String> = LazyLock::new(|| {
    putting(
        "(call_sid) do update set thread_id = excluded.thread_id, summary = excluded.summary, source = excluded.source,
             key_topics = excluded.key_topics, variables = excluded.variables, created_at = clock_timestamp()
         where old.source = 'record' and old.user_id = excluded.user_id",
    )
});
/// For calls that are known by their words.
static PUT_UNNAMED: LazyLock<String> = LazyLock::new(|| putting("(history_hash) do nothing"));

/// Stores a call that the provider named over what was made of it when less of it was known. It still counts once: of a measurement that
/// was averaged before, the difference is.
pub async fn replace(conn: TenantConn<'_, Write>, sid: &str, new: &NewSummary<'_>) -> Result<(), TenantError> {
    let sql = "with before as (
             select s.id, m.metrics from call_summaries s left join personality_metrics m on m.summary_id = s.id
             where s.call_sid = $2 and s.user_id = $1 for update of s),
         stored as (
             update call_summaries s set thread_id = $3, summary = $4, source = $5, key_topics = $6, variables = $7
             from before where s.id = before.id),
         measured as (
             insert into personality_metrics (user_id, summary_id, metrics)
             select $1, id, $8::jsonb from before where $8::jsonb is not null
             on conflict (summary_id) do update set metrics = excluded.metrics),
         averaged as (
             insert into personality_averages as old (user_id, averages, calls)
             select $1, $8::jsonb, 1 from before where $8::jsonb is not null
             on conflict (user_id) do update set
                 calls = old.calls + (select count(*) from before where metrics is null),
                 averages = old.averages || (
                     select jsonb_object_agg(name, coalesce(
                                (old.averages ->> name)::numeric
                                + round((value::numeric - coalesce(before.metrics ->> name, old.averages ->> name)::numeric)
                                        / least(old.calls + (before.metrics is null)::int, 10), 4),
                                value::numeric))
                     from before, jsonb_each_text(excluded.averages) as each (name, value)),
                 updated_at = now())
         select from before";
    let caller = new.caller.to_string();
    conn.query_opt(
        sql,
        &[&caller, &sid, &new.thread_id, &new.summary, &new.source, &new.key_topics, new.variables, &new.metrics],
    )
    .await?;
    Ok(())
}

fn putting(on_conflict: &str) -> String {
    format!(
        "with stored as (
             insert into call_summaries as old (user_id, call_sid, history_hash, thread_id, summary, source, key_topics, variables)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict {on_conflict}
             returning id, created_at),
         measured as (
             insert into personality_metrics (user_id, summary_id, metrics, created_at)
             select $1, id, $9::jsonb, created_at from stored where $9::jsonb is not null),
         averaged as (
             insert into personality_averages as old (user_id, averages, calls)
             select $1, $9::jsonb, 1 from stored where $9::jsonb is not null
             on conflict (user_id) do update set
                 calls = old.calls + 1,
                 averages = old.averages || (
                     select jsonb_object_agg(name, coalesce(
                                (old.averages ->> name)::numeric
                                + round((value::numeric - (old.averages ->> name)::numeric) / least(old.calls + 1, 10), 4),
                                value::numeric))
                     from jsonb_each_text(excluded.averages) as each (name, value)),
                 updated_at = now())
         select from stored"
    )
}

/// The call that was stored under an id.
pub async fn find<I: Intent>(conn: TenantConn<'_, I>, call: CallId<'_>) -> Result<Option<Summary>, TenantError> {
    let row = match call {
        CallId::Sid(sid) => {
            let sql = "select s.id, s.user_id, s.call_sid, s.thread_id, s.summary, s.source, s.key_topics, s.variables, m.metrics,
                              s.created_at
                       from call_summaries s left join personality_metrics m on m.summary_id = s.id
                       where s.call_sid = $1";
            conn.query_opt(sql, &[&sid]).await?
        }
        CallId::History(hash) => {
            let sql = "select s.id, s.user_id, s.call_sid, s.thread_id, s.summary, s.source, s.key_topics, s.variables, m.metrics,
                              s.created_at
                       from call_summaries s left join personality_metrics m on m.summary_id = s.id
                       where s.history_hash = $1";
            conn.query_opt(sql, &[&hash.as_slice()]).await?
        }
    };
    row.as_ref().map(Summary::try_from).transpose()
}

/// A caller's processed calls, newest first, and where to go on.
pub async fn list<I: Intent>(
    conn: TenantConn<'_, I>,
    caller: &CallerKey,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<(Vec<Summary>, Option<Cursor>), TenantError> {
    let sql =
        "select s.id, s.user_id, s.call_sid, s.thread_id, s.summary, s.source, s.key_topics, s.variables, m.metrics,
                      s.created_at
               from call_summaries s left join personality_metrics m on m.summary_id = s.id
               where s.user_id = $1 and ($2::timestamptz is null or (s.created_at, s.id) < ($2, $3))
               order by s.created_at desc, s.id desc limit $4";
    let (at, id) = (after.map(|c| c.at), after.map(|c| c.key));
    let rows = conn.query(sql, &[&caller.to_string(), &at, &id, &(limit + 1)]).await?;
    let found = rows.iter().map(Summary::try_from).collect::<Result<_, _>>()?;
    Ok(page::split(found, limit, |summary: &Summary| Cursor { at: summary.created_at, key: summary.id }))
}

/// How a caller came across in one call.
#[derive(Debug, serde::Serialize)]
pub struct Measured {
    /// Its id.
    pub id: Uuid,
    /// The processed call.
    pub summary_id: Option<Uuid>,
    /// The metrics of `analysis::Personality`.
    pub metrics: Value,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A caller's measurements, newest first, and where to go on.
pub async fn measurements<I: Intent>(
    conn: TenantConn<'_, I>,
    caller: &CallerKey,
    after: Option<&Cursor>,
    limit: i64,
) -> Result<(Vec<Measured>, Option<Cursor>), TenantError> {
    let sql = "select id, summary_id, metrics, created_at from personality_metrics
               where user_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3))
               order by created_at desc, id desc limit $4";
    let (at, id) = (after.map(|c| c.at), after.map(|c| c.key));
    let rows = conn.query(sql, &[&caller.to_string(), &at, &id, &(limit + 1)]).await?;
    let measured = |row: &Row| {
        Ok(Measured {
            id: row.try_get(0)?,
            summary_id: row.try_get(1)?,
            metrics: row.try_get(2)?,
            created_at: row.try_get(3)?,
        })
    };
    let found = rows.iter().map(measured).collect::<Result<_, TenantError>>()?;
    Ok(page::split(found, limit, |row: &Measured| Cursor { at: row.created_at, key: row.id }))
}

/// A caller's averages and over how many calls they go.
pub async fn averages<I: Intent>(conn: TenantConn<'_, I>, caller: &CallerKey) -> Result<(Value, i32), TenantError> {
    let sql = "select averages, calls from personality_averages where user_id = $1";
    match conn.query_opt(sql, &[&caller.to_string()]).await? {
        Some(row) => Ok((row.try_get(0)?, row.try_get(1)?)),
        None => Ok((Value::Object(serde_json::Map::new()), 0)),
    }
}
