//! The turns of a call. Each statement first asks the number mirror, as those of [`calls`](super::calls) do.

use tokio_postgres::Row;
use uuid::Uuid;

use super::outbox::Promise;
use super::{Intent, TenantConn, TenantError, Write};
use crate::phone::{CallerKey, PhoneNumber};

/// Where a conversation stands, as stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// What was said back.
    pub reply: String,
    /// `listen`, `dial` or `hang_up`.
    pub next: String,
    /// `question`, `message` or `time`.
    pub awaits: String,
    /// Silences in a row.
    pub silences: i16,
}

/// What a turn starts from.
#[derive(Debug)]
pub struct Situation {
    /// This turn, if it was taken before: the provider asks again.
    pub taken: Option<Stored>,
    /// The turn before; none before the first.
    pub before: Option<Stored>,
}

/// Reads where a call stands before a turn; `None` when the dialled number is not this tenant's.
pub async fn situation<I: Intent>(
    conn: TenantConn<'_, I>,
    number: &PhoneNumber,
    call_sid: &str,
    turn: i32,
) -> Result<Option<Situation>, TenantError> {
    let sql = "select t.reply, t.next, t.awaits, t.silences, b.reply, b.next, b.awaits, b.silences
               from numbers n
               left join call_turns t on t.call_sid = $2 and t.turn = $3
               left join lateral (select * from call_turns where call_sid = $2 and turn < $3
                                  order by turn desc limit 1) b on true
               where n.kind = 'phone' and n.value = $1";
    let row = conn.query_opt(sql, &[&number.as_str(), &call_sid, &turn]).await?;
    let read = |row: Row| Ok(Situation { taken: Stored::read(&row, 0)?, before: Stored::read(&row, 4)? });
    row.map(read).transpose()
}

impl Stored {
    fn read(row: &Row, first: usize) -> Result<Option<Self>, TenantError> {
        let Some(reply) = row.try_get(first)? else { return Ok(None) };
        Ok(Some(Self {
            reply,
            next: row.try_get(first + 1)?,
            awaits: row.try_get(first + 2)?,
            silences: row.try_get(first + 3)?,
        }))
    }
}

/// A turn to be stored.
#[derive(Debug)]
pub struct NewTurn<'a> {
    /// Counts from 1.
    pub turn: i32,
    /// `nothing`, `said`, `pressed` or `dialled`.
    pub heard_kind: &'a str,
    /// The caller's words or keys.
    pub heard: &'a str,
    /// What is said back, and where that leaves the conversation.
    pub stored: &'a Stored,
    /// Where the answer came from.
    pub source: &'a str,
    /// Which answer, if it has an id.
    pub source_id: Option<Uuid>,
    /// How sure it was.
    pub score: Option<f64>,
    /// What the caller leaves: `message` or `appointment`, and the words.
    pub left: Option<(&'a str, &'a str)>,
    /// What is to be done if the call was over before this is stored.
    pub if_late: &'a Promise,
}

/// The call that a turn belongs to.
#[derive(Debug, Clone, Copy)]
pub struct OfCall<'a> {
    /// The dialled number.
    pub number: &'a PhoneNumber,
    /// The provider's id.
    pub sid: &'a str,
    /// Who calls, if that is known.
    pub caller: Option<&'a CallerKey>,
    /// The provider's word.
    pub status: &'a str,
}

/// How storing a turn went.
#[derive(Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is stored.
    Stored,
    /// It is stored, after the call was over: what the caller said stands in nothing that was made of the call. The promise to mend
    /// that is in the outbox.
    Late,
    /// It was stored meanwhile, by another request for the same turn: that one's reply counts.
    Taken,
    /// The dialled number is not this tenant's.
    NotOurs,
}

/// Stores a turn and what was left with it, once. A call whose beginning left no trace begins with its first turn.
///
/// The call's row is locked first: whoever notes that the call is over comes either before this, which then is late and promises in the
/// same statement that the call is processed again, or after it, and then processing finds the turn.
pub async fn save(conn: TenantConn<'_, Write>, call: &OfCall<'_>, new: &NewTurn<'_>) -> Result<Saved, TenantError> {
    let sql = "with mirror as (select from numbers where kind = 'phone' and value = $1),
                    begun as (insert into calls (call_sid, user_id, number, status) select $2, $3, $1, $4 from mirror
                              on conflict (call_sid) do nothing),
                    call as (select status from calls where call_sid = $2 for share),
                    taken as (insert into call_turns (call_sid, turn, user_id, heard_kind, heard, reply, next, awaits, silences, source, source_id, score)
                              select $2, $5, $3, $6, $7, $8, $9, $10, $11, $12, $13, $14 from mirror left join call on true
                              on conflict (call_sid, turn) do nothing returning turn),
                    kept as (insert into messages (call_sid, turn, user_id, kind, content)
                             select $2, turn, $3, $15::text, $16::text from taken where $15::text is not null),
                    late as (insert into outbox (kind, source_id, payload)
                             select $17::text, $18::text, $19::jsonb from taken, call
                             where call.status = 'completed' and $6 = 'said'
                             on conflict do nothing returning kind)
               select exists (select from mirror), exists (select from taken), exists (select from late)";
    let caller = call.caller.map(ToString::to_string);
    let (kind, content) = new.left.unzip();
    let s = new.stored;
    let row = conn
        .query_one(
            sql,
            &[
                &call.number.as_str(),
                &call.sid,
                &caller,
                &call.status,
                &new.turn,
                &new.heard_kind,
                &new.heard,
                &s.reply,
                &s.next,
                &s.awaits,
                &s.silences,
                &new.source,
                &new.source_id,
                &new.score,
                &kind,
                &content,
                &new.if_late.kind,
                &new.if_late.source_id,
                &new.if_late.payload,
            ],
        )
        .await?;
    Ok(match (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
        (false, ..) => Saved::NotOurs,
        (true, false, _) => Saved::Taken,
        (true, true, false) => Saved::Stored,
        (true, true, true) => Saved::Late,
    })
}

/// One exchange of a call.
#[derive(Debug)]
pub struct Exchange {
    /// What the caller said; empty for a silence and for keys.
    pub heard: String,
    /// What was said back.
    pub reply: String,
}

/// What was said in a call so far, the last `most` exchanges in order.
pub async fn exchanges<I: Intent>(
    conn: TenantConn<'_, I>,
    call_sid: &str,
    most: i64,
) -> Result<Vec<Exchange>, TenantError> {
    let sql = "select heard, reply from (select turn, case heard_kind when 'said' then heard else '' end as heard, reply from call_turns where call_sid = $1
                                         order by turn desc limit $2) last order by turn";
    let rows = conn.query(sql, &[&call_sid, &most]).await?;
    rows.iter().map(|row| Ok(Exchange { heard: row.try_get(0)?, reply: row.try_get(1)? })).collect()
}
