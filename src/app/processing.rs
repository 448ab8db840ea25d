//! A finished call becomes a summary, topics, named values and a measurement of how the caller came across.
//!
//! The rule that must hold: one call leaves one row and counts once, however often and however concurrently it is sent. The
//! tenant's own database decides that, by a unique key; whoever comes second is given what the first one stored.
//!
//! What a caller says cannot change anything else: counting finds topics, values and metrics, and the model, where the tenant
//! allows it, is asked for the summary alone (`summarising`). All of it is stored as values of parameters in the caller's own
//! rows, nowhere else. No connection is held while the model is asked.

use aws_lc_rs::digest;
use serde_json::json;

use super::model::Model;
use super::promises::CallEnded;
use super::summarising;
use crate::analysis::{self, Analysis, Speaker, Turn};
use crate::auth::Principal;
use crate::id::TenantId;
use crate::phone::CallerKey;
use crate::tenant::summaries::{self, CallId, NewSummary, Summary};
use crate::tenant::turns::{self, Exchange};
use crate::tenant::{Refused, Router, TenantDb, TenantError, Write, calls, configurations};

/// A call that is over.
#[derive(Debug)]
pub struct Finished<'a> {
    /// Who called.
    pub caller: &'a CallerKey,
    /// The provider's id, if there is one.
    pub call_sid: Option<&'a str>,
    /// The conversation it belongs to, if it was said.
    pub thread_id: Option<&'a str>,
    /// What was said, in order.
    pub turns: &'a [Turn<'a>],
}

/// Why a call was not processed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessingError {
    /// A call with this id was another caller's.
    #[error("the call was another caller's")]
    OtherCaller,
    /// The tenant could not be opened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its database did not answer.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// Processes a call, or gives what was stored when it was processed before.
pub async fn process(
    router: &Router,
    model: &Model,
    who: &Principal,
    call: &Finished<'_>,
) -> Result<Summary, ProcessingError> {
    process_after(router, model, who, call, Before::Stays).await
}

/// What becomes of what was stored of a call before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It stays, unless it only says that there was a call.
    Stays,
    /// It makes way: more of the call is known now.
    MakesWay,
}

async fn process_after(
    router: &Router,
    model: &Model,
    who: &Principal,
    call: &Finished<'_>,
    before: Before,
) -> Result<Summary, ProcessingError> {
    let id = id_of(call);
    let db = router.open::<Write>(who).await?;
    let stays = |stored: &Summary| before == Before::Stays && stored.holds_words();
    if let Some(stored) = summaries::find(db.conn(), id).await?.filter(stays) {
        return of_caller(stored, call);
    }
    let found = analysis::analyse(call.turns, db.region());
    let consent = configurations::current(db.conn()).await?.configuration.consent();
    drop(db);
    let by_model = summarising::by_model(model, who, consent, call.turns).await;
    let db = router.open::<Write>(who).await?;
    store(&db, call, id, &found, by_model.as_deref(), before).await?;
    let stored = summaries::find(db.conn(), id).await?;
    of_caller(stored.ok_or_else(|| TenantError::Unexpected("a processed call was erased at once".into()))?, call)
}

fn of_caller(summary: Summary, call: &Finished<'_>) -> Result<Summary, ProcessingError> {
    if summary.user_id == call.caller.to_string() { Ok(summary) } else { Err(ProcessingError::OtherCaller) }
}

async fn store(
    db: &TenantDb<Write>,
    call: &Finished<'_>,
    id: CallId<'_>,
    found: &Analysis,
    by_model: Option<&str>,
    before: Before,
) -> Result<(), TenantError> {
    let metrics = found.personality.map(|metrics| json!(metrics));
    let (summary, source) = by_model.map_or((found.summary.as_str(), "extractive"), |summary| (summary, "model"));
    let new = NewSummary {
        caller: call.caller,
        call: id,
        thread_id: call.thread_id,
        summary,
        source,
        key_topics: &found.key_topics,
        variables: &json!(found.variables),
        metrics: metrics.as_ref(),
    };
    let is_new = summaries::put(db.conn(), &new).await?;
    match id {
        CallId::Sid(sid) if !is_new && before == Before::MakesWay => summaries::replace(db.conn(), sid, &new).await,
        // Whether it was us or another who stored it just now is the same to whoever asks.
        _ => Ok(()),
    }
}

/// The most exchanges of a call that are processed.
const EXCHANGES: i64 = 500;

/// Processes a call by what was said in it turn by turn. Where nothing is on record, only that there was a call is noted, and
/// [`process`] replaces that when the words come from elsewhere. A call of nobody known leaves nothing.
pub async fn process_call(
    router: &Router,
    model: &Model,
    who: &Principal,
    call_sid: &str,
    before: Before,
) -> Result<(), ProcessingError> {
    let db = router.open::<Write>(who).await?;
    let Some(call) = calls::ended(db.conn(), call_sid).await? else { return Ok(()) };
    let said = turns::exchanges(db.conn(), call_sid, EXCHANGES).await?;
    let caller = CallerKey::parse(&call.user_id, db.region());
    let (Ok(caller), false) = (caller, said.is_empty()) else {
        calls::summarise(db.conn(), call_sid, &record(call.duration_seconds)).await?;
        return Ok(());
    };
    let thread = thread_id(db.tenant(), &caller);
    drop(db);
    let turns = conversation(&said);
    let finished = Finished { caller: &caller, call_sid: Some(call_sid), thread_id: Some(&thread), turns: &turns };
    process_after(router, model, who, &finished, before).await.map(drop)
}

/// Notes that a call is over which could not be noted when it was said: the tenant took no writes.
pub async fn close_call(
    router: &Router,
    who: &Principal,
    call_sid: &str,
    ended: CallEnded,
) -> Result<(), ProcessingError> {
    let db = router.open::<Write>(who).await?;
    Ok(calls::close(db.conn(), call_sid, ended.sequence, ended.duration_seconds).await?)
}

fn conversation(said: &[Exchange]) -> Vec<Turn<'_>> {
    let both = said.iter().flat_map(|exchange| {
        [
            Turn { speaker: Speaker::Caller, text: &exchange.heard },
            Turn { speaker: Speaker::Receptionist, text: &exchange.reply },
        ]
    });
    both.filter(|turn| !turn.text.is_empty()).collect()
}

fn record(duration_seconds: Option<i32>) -> String {
    match duration_seconds {
        Some(seconds) => format!("A call of {seconds} seconds. What was said is not on record."),
        None => "A call. What was said is not on record.".to_owned(),
    }
}

fn id_of<'a>(call: &Finished<'a>) -> CallId<'a> {
    match call.call_sid {
        Some(sid) => CallId::Sid(sid),
        None => CallId::History(history_hash(call)),
    }
}

/// Each part after its length, so that no two conversations look alike.
fn history_hash(call: &Finished<'_>) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut add = |text: &str| {
        hash.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(&call.caller.to_string());
    add(call.thread_id.unwrap_or_default());
    for turn in call.turns {
        add(if turn.speaker == Speaker::Caller { "caller" } else { "receptionist" });
        add(turn.text);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    bytes
}

/// The thread of a caller's conversation with a tenant: `customer_{tenant}_user_{digits}`, for a WhatsApp user without a
/// visible number `customer_{tenant}_user_wa:{id}`.
pub fn thread_id(tenant: TenantId, caller: &CallerKey) -> String {
    match caller {
        CallerKey::Phone(number) => format!("customer_{tenant}_user_{}", number.digits()),
        CallerKey::WhatsApp(_) => format!("customer_{tenant}_user_{caller}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_is_known_and_that_the_rest_is_not() {
        assert_eq!(record(Some(42)), "A call of 42 seconds. What was said is not on record.");
        assert_eq!(record(None), "A call. What was said is not on record.");
    }

    #[test]
    fn other_words_are_another_conversation() {
        let caller = CallerKey::parse("+15551234567", "US".parse().unwrap()).unwrap();
        let hash = |texts: &[&str], thread_id| {
            let turns: Vec<_> = texts.iter().map(|text| Turn { speaker: Speaker::Caller, text }).collect();
            history_hash(&Finished { caller: &caller, call_sid: None, thread_id, turns: &turns })
        };
        assert_eq!(hash(&["a", "b"], None), hash(&["a", "b"], None));
        assert_ne!(hash(&["a", "b"], None), hash(&["ab"], None));
        assert_ne!(hash(&["a"], None), hash(&["a"], Some("t")));
    }

    #[test]
    fn threads_name_tenant_and_caller() {
        let thread =
            |raw: &str| thread_id(7.try_into().unwrap(), &CallerKey::parse(raw, "US".parse().unwrap()).unwrap());
        assert_eq!(thread("(555) 123-4567"), "customer_7_user_15551234567");
        assert_eq!(thread("wa:US.13491"), "customer_7_user_wa:US.13491");
    }
}
