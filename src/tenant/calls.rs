//! Calls as they happen. Each statement first asks the number mirror: an instance with an old cache gets no row.

use time::OffsetDateTime;

use super::{Intent, TenantConn, TenantError, Write};
use crate::persona::Configuration;
use crate::phone::{CallerKey, PhoneNumber};

/// What the first turn of a call needs, in one round trip.
#[derive(Debug)]
pub struct Opening {
    /// What is in force.
    pub configuration: Configuration,
    /// The caller's, if known.
    pub caller_name: Option<String>,
    /// By the clock of the tenant's database: the same for every server.
    pub now: OffsetDateTime,
}

/// Notes a call and reads what to say; `None` when the dialled number is not this tenant's.
pub async fn begin(
    conn: TenantConn<'_, Write>,
    number: &PhoneNumber,
    call_sid: &str,
    caller: Option<&CallerKey>,
    status: &str,
) -> Result<Option<Opening>, TenantError> {
    let sql = "with mirror as (select from numbers where kind = 'phone' and value = $1),
                    noted as (insert into calls (call_sid, user_id, number, status) select $2, $3, $1, $4 from mirror
                              on conflict (call_sid) do nothing)
               select c.content, p.name, now()
               from mirror, (select content from configurations order by version desc limit 1) c
               left join caller_profiles p on p.user_id = $3";
    let caller = caller.map(ToString::to_string);
    let row = conn.query_opt(sql, &[&number.as_str(), &call_sid, &caller, &status]).await?;
    row.as_ref().map(Opening::from_row).transpose()
}

/// Only reads what to say, for a tenant that takes no writes; `None` when the dialled number is not this tenant's.
pub async fn opening<I: Intent>(
    conn: TenantConn<'_, I>,
    number: &PhoneNumber,
    caller: Option<&CallerKey>,
) -> Result<Option<Opening>, TenantError> {
    let sql = "select c.content, p.name, now()
               from numbers n, (select content from configurations order by version desc limit 1) c
               left join caller_profiles p on p.user_id = $2
               where n.kind = 'phone' and n.value = $1";
    let row = conn.query_opt(sql, &[&number.as_str(), &caller.map(ToString::to_string)]).await?;
    row.as_ref().map(Opening::from_row).transpose()
}

impl Opening {
    fn from_row(row: &tokio_postgres::Row) -> Result<Self, TenantError> {
        Ok(Self {
            configuration: Configuration::stored(row.try_get(0)?),
            caller_name: row.try_get(1)?,
            now: row.try_get(2)?,
        })
    }
}

/// A provider's callback about a call.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Which call.
    pub call_sid: &'a str,
    /// The provider's word.
    pub status: &'a str,
    /// Counts a call's callbacks from 0; they may come in any order and more than once.
    pub sequence: i32,
    /// Once the call has ended.
    pub duration_seconds: Option<i32>,
}

/// Takes a callback in, unless a later one was seen; `false` when the dialled number is not this tenant's.
///
/// A call that did not begin here is not noted: the number may have changed hands while it lasted, and then it is another
/// tenant's call and caller.
pub async fn progress(
    conn: TenantConn<'_, Write>,
    number: &PhoneNumber,
    now: &Progress<'_>,
) -> Result<bool, TenantError> {
    let sql = "with mirror as (select from numbers where kind = 'phone' and value = $1),
                    noted as (update calls set status = $3, last_sequence = $4, updated_at = now(),
                                               duration_seconds = coalesce($5, duration_seconds)
                              from mirror where call_sid = $2 and last_sequence < $4)
               select true from mirror";
    let row = conn
        .query_opt(sql, &[&number.as_str(), &now.call_sid, &now.status, &now.sequence, &now.duration_seconds])
        .await?;
    Ok(row.is_some())
}

/// Whether a call began here, read where nothing can be written; `None` when the dialled number is not this tenant's.
pub async fn began<I: Intent>(
    conn: TenantConn<'_, I>,
    number: &PhoneNumber,
    call_sid: &str,
) -> Result<Option<bool>, TenantError> {
    let sql = "select exists (select from calls where call_sid = $2) from numbers where kind = 'phone' and value = $1";
    conn.query_opt(sql, &[&number.as_str(), &call_sid]).await?.map(|row| Ok(row.try_get(0)?)).transpose()
}

/// Notes that a call is over which was noted when it began. The number is not asked for: it may be another tenant's by now, the call is not.
pub async fn close(
    conn: TenantConn<'_, Write>,
    call_sid: &str,
    sequence: i32,
    duration_seconds: Option<i32>,
) -> Result<(), TenantError> {
    let sql = "update calls set status = 'completed', last_sequence = $2, updated_at = now(),
                      duration_seconds = coalesce($3, duration_seconds)
               where call_sid = $1 and last_sequence < $2";
    conn.execute(sql, &[&call_sid, &sequence, &duration_seconds]).await?;
    Ok(())
}

/// A call that has ended.
#[derive(Debug)]
pub struct EndedCall {
    /// As the provider counted.
    pub duration_seconds: Option<i32>,
    /// Who called.
    pub user_id: String,
}

/// A call of a known caller that has begun here; `None` when there is none.
pub async fn ended(conn: TenantConn<'_, Write>, call_sid: &str) -> Result<Option<EndedCall>, TenantError> {
    let sql = "select duration_seconds, user_id from calls where call_sid = $1 and user_id is not null";
    let row = conn.query_opt(sql, &[&call_sid]).await?;
    row.map(|row| Ok(EndedCall { duration_seconds: row.try_get(0)?, user_id: row.try_get(1)? })).transpose()
}

/// Notes what a call was about, unless that is noted already.
pub async fn summarise(conn: TenantConn<'_, Write>, call_sid: &str, summary: &str) -> Result<(), TenantError> {
    let sql = "insert into call_summaries (user_id, call_sid, summary, source)
               select user_id, call_sid, $2, 'record' from calls where call_sid = $1 and user_id is not null
               on conflict (call_sid) do nothing";
    conn.execute(sql, &[&call_sid, &summary]).await?;
    Ok(())
}
