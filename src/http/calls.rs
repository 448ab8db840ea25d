//! Finished calls: processed once, and what that left.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::checks;
use super::error::Problem;
use super::extract::{Authorized, FromJson, FromPathAndQuery, ReadCalls, WriteCalls};
use crate::analysis::{Speaker, Turn};
use crate::app::processing::{self, Finished};
use crate::phone::CallerKey;
use crate::tenant::{TenantDb, Write, summaries};

const MAX_TURNS: usize = 1000;
/// Of all turns together. Longer than anybody talks on the telephone.
const MAX_WORDS_BYTES: usize = 256 * 1024;
const MAX_CALL_SID: usize = 64;

#[derive(Deserialize)]
pub(super) struct Finish {
    user_id: String,
    thread_id: String,
    conversation_history: Vec<Line>,
    call_sid: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    role: Role,
    content: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Role {
    #[serde(alias = "caller", alias = "customer", alias = "human")]
    User,
    #[serde(alias = "agent", alias = "ai", alias = "bot")]
    Assistant,
    /// Instructions and the like: nobody said them.
    #[serde(alias = "tool")]
    System,
}

impl Line {
    fn turn(&self) -> Option<Turn<'_>> {
        let speaker = match self.role {
            Role::User => Speaker::Caller,
            Role::Assistant => Speaker::Receptionist,
            Role::System => return None,
        };
        Some(Turn { speaker, text: &self.content })
    }
}

/// Processes a call. A call that was processed before gets the answer it got then.
pub(super) async fn process(call: Authorized<WriteCalls, FromJson<Finish>>) -> Result<Response, Problem> {
    let Authorized { db, input: FromJson(body), who, state, .. } = call;
    let caller = checks::caller(&db, &body.user_id)?;
    body.check(&db, &caller)?;
    // The flow opens it again, and not while a model is asked.
    drop(db);
    let turns: Vec<_> = body.conversation_history.iter().filter_map(Line::turn).collect();
    let finished = Finished {
        caller: &caller,
        call_sid: body.call_sid.as_deref(),
        thread_id: Some(&body.thread_id),
        turns: &turns,
    };
    let mut answer = json!(processing::process(&state.router, &state.model, &who, &finished).await?);
    answer["customer_id"] = json!(who.tenant());
    Ok(Json(answer).into_response())
}

impl Finish {
    fn check(&self, db: &TenantDb<Write>, caller: &CallerKey) -> Result<(), Problem> {
        if self.thread_id != processing::thread_id(db.tenant(), caller) {
            let detail = "thread_id: not this caller's conversation with this customer.";
            return Err(Problem::new(StatusCode::FORBIDDEN, "other_thread", detail));
        }
        let sid_fits = |sid: &str| (1..=MAX_CALL_SID).contains(&sid.len()) && sid.bytes().all(|b| b.is_ascii_graphic());
        if self.call_sid.as_deref().is_some_and(|sid| !sid_fits(sid)) {
            return Err(Problem::invalid("call_sid: 1 to 64 visible ASCII characters."));
        }
        if !(1..=MAX_TURNS).contains(&self.conversation_history.len()) {
            return Err(Problem::invalid("conversation_history: 1 to 1000 turns."));
        }
        if self.conversation_history.iter().map(|line| line.content.len()).sum::<usize>() > MAX_WORDS_BYTES {
            return Err(Problem::invalid("conversation_history: at most 262144 bytes of content in all."));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
pub(super) struct PageQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// What a caller's calls were about, newest first.
pub(super) async fn summaries(
    call: Authorized<ReadCalls, FromPathAndQuery<String, PageQuery>>,
) -> Result<Response, Problem> {
    let FromPathAndQuery(user_id, query) = call.input;
    let caller = checks::caller(&call.db, &user_id)?;
    let (after, limit) = (checks::cursor(query.cursor.as_deref())?, checks::limit(query.limit)?);
    let (found, next) = summaries::list(call.db.conn(), &caller, after.as_ref(), limit).await?;
    let answer = json!({
        "customer_id": call.db.tenant(),
        "user_id": caller.to_string(),
        "summaries": found,
        "next_cursor": next.map(|cursor| cursor.to_string()),
    });
    Ok(Json(answer).into_response())
}

/// How a caller comes across: on average, and call by call, newest first.
pub(super) async fn personality(
    call: Authorized<ReadCalls, FromPathAndQuery<String, PageQuery>>,
) -> Result<Response, Problem> {
    let FromPathAndQuery(user_id, query) = call.input;
    let caller = checks::caller(&call.db, &user_id)?;
    let (after, limit) = (checks::cursor(query.cursor.as_deref())?, checks::limit(query.limit)?);
    let (averages, calls): (Value, i32) = summaries::averages(call.db.conn(), &caller).await?;
    let (found, next) = summaries::measurements(call.db.conn(), &caller, after.as_ref(), limit).await?;
    let answer = json!({
        "customer_id": call.db.tenant(),
        "user_id": caller.to_string(),
        "averages": averages,
        "calls": calls,
        "metrics": found,
        "next_cursor": next.map(|cursor| cursor.to_string()),
    });
    Ok(Json(answer).into_response())
}
