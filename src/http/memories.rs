//! The memory service: `/v1/memories`, and the two routes of the systems replaced.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::Problem;
use super::extract::{
    Authorized, FromJson, FromLegacyJson, FromPath, FromPathAndQuery, FromQuery, ReadMemories, WriteMemories,
};
use crate::phone::CallerKey;
use crate::tenant::memories::{self, Cursor, Memory, NewMemory, Page};
use crate::tenant::{Intent, TenantDb, Write};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;
/// A fact, not a document: a full page of the longest must fit in memory many times over.
const MAX_CONTENT_BYTES: usize = 65_536;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    user_id: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Memories, newest first, of all callers or of one.
pub(super) async fn list(call: Authorized<ReadMemories, FromQuery<ListQuery>>) -> Result<Response, Problem> {
    let FromQuery(query) = call.input;
    answer_list(&call.db, query.user_id.as_deref(), &query).await
}

/// The same of the caller in the path.
pub(super) async fn list_of_user(
    call: Authorized<ReadMemories, FromPathAndQuery<String, ListQuery>>,
) -> Result<Response, Problem> {
    let FromPathAndQuery(user_id, query) = call.input;
    answer_list(&call.db, Some(&user_id), &query).await
}

async fn answer_list<I: Intent>(
    db: &TenantDb<I>,
    user_id: Option<&str>,
    query: &ListQuery,
) -> Result<Response, Problem> {
    let caller = user_id.map(|raw| caller(db, raw)).transpose()?;
    let after = query
        .cursor
        .as_deref()
        .map(|text| Cursor::parse(text).ok_or_else(|| Problem::invalid("cursor: not one of ours.")));
    let page = Page {
        caller: caller.as_ref(),
        kind: query.kind.as_deref(),
        after: after.transpose()?,
        limit: limit(query.limit)?,
    };
    let (found, next) = memories::list(db.conn(), &page).await?;
    let found: Vec<Value> = found.iter().map(|m| shown(db, m)).collect();
    let next = next.map(|cursor| cursor.to_string());
    Ok(Json(json!({ "customer_id": db.tenant(), "memories": found, "next_cursor": next })).into_response())
}

/// A memory, in the words of old clients and of new ones.
#[derive(Deserialize)]
pub(super) struct NewBody {
    user_id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    key: Option<String>,
    #[serde(alias = "value")]
    content: String,
}

/// Stores a memory; one with a key replaces its predecessor.
pub(super) async fn create(call: Authorized<WriteMemories, FromJson<NewBody>>) -> Result<Response, Problem> {
    let memory = store(&call.db, &call.input.0).await?;
    Ok((StatusCode::CREATED, Json(shown(&call.db, &memory))).into_response())
}

/// `POST /memory/store`.
pub(super) async fn legacy_store(
    call: Authorized<WriteMemories, FromLegacyJson<NewBody>>,
) -> Result<Response, Problem> {
    let memory = store(&call.db, &call.input.0).await?;
    Ok(Json(json!({ "success": true, "id": memory.id, "error": null })).into_response())
}

async fn store(db: &TenantDb<Write>, body: &NewBody) -> Result<Memory, Problem> {
    let kind = body.kind.as_deref().unwrap_or("general");
    within("type", kind, 64)?;
    body.key.as_deref().map_or(Ok(()), |key| within("key", key, 256))?;
    if body.content.is_empty() || body.content.len() > MAX_CONTENT_BYTES {
        return Err(Problem::invalid("content: 1 to 65536 bytes."));
    }
    let caller = caller(db, &body.user_id)?;
    let new = NewMemory { caller: &caller, kind, key: body.key.as_deref(), content: &body.content };
    Ok(memories::put(db.conn(), &new).await?)
}

/// One memory.
pub(super) async fn read(call: Authorized<ReadMemories, FromPath<Uuid>>) -> Result<Response, Problem> {
    let memory = memories::get(call.db.conn(), call.input.0).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(shown(&call.db, &memory)).into_response())
}

/// Forgets one memory.
pub(super) async fn delete(call: Authorized<WriteMemories, FromPath<Uuid>>) -> Result<Response, Problem> {
    let found = memories::delete(call.db.conn(), call.input.0).await?;
    if found { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Problem::not_found()) }
}

#[derive(Deserialize)]
pub(super) struct SearchBody {
    user_id: Option<String>,
    query: String,
    limit: Option<i64>,
}

/// Memories that share words with a question, best first.
pub(super) async fn search(call: Authorized<ReadMemories, FromJson<SearchBody>>) -> Result<Response, Problem> {
    let FromJson(body) = call.input;
    within("query", &body.query, 1000)?;
    let caller = body.user_id.as_deref().map(|raw| caller(&call.db, raw)).transpose()?;
    let found = memories::search(call.db.conn(), caller.as_ref(), &body.query, limit(body.limit)?).await?;
    let found: Vec<Value> = found
        .iter()
        .map(|ranked| {
            let mut value = shown(&call.db, &ranked.memory);
            value["score"] = ranked.score.into();
            value
        })
        .collect();
    Ok(Json(json!({ "customer_id": call.db.tenant(), "memories": found })).into_response())
}

#[derive(Deserialize)]
pub(super) struct RetrieveBody {
    user_id: String,
    query: Option<String>,
    limit: Option<i64>,
}

/// `POST /memory/retrieve`: the best for a question, or the newest.
pub(super) async fn legacy_retrieve(
    call: Authorized<ReadMemories, FromLegacyJson<RetrieveBody>>,
) -> Result<Response, Problem> {
    let FromLegacyJson(body) = call.input;
    let (caller, limit) = (caller(&call.db, &body.user_id)?, limit(body.limit)?);
    let found: Vec<Value> = match body.query.as_deref().filter(|query| !query.trim().is_empty()) {
        Some(query) => {
            within("query", query, 1000)?;
            let ranked = memories::search(call.db.conn(), Some(&caller), query, limit).await?;
            ranked.iter().map(|r| shown(&call.db, &r.memory)).collect()
        }
        None => {
            let page = Page { caller: Some(&caller), kind: None, after: None, limit };
            memories::list(call.db.conn(), &page).await?.0.iter().map(|m| shown(&call.db, m)).collect()
        }
    };
    Ok(Json(json!({ "success": true, "memories": found, "error": null })).into_response())
}

/// A memory with the tenant's id, which is not stored beside it.
fn shown<I: Intent>(db: &TenantDb<I>, memory: &Memory) -> Value {
    let mut value = json!(memory);
    value["customer_id"] = json!(db.tenant());
    value
}

fn caller<I: Intent>(db: &TenantDb<I>, raw: &str) -> Result<CallerKey, Problem> {
    CallerKey::parse(raw, db.region()).map_err(|error| Problem::invalid(format!("user_id: {error}.")))
}

fn limit(wanted: Option<i64>) -> Result<i64, Problem> {
    let limit = wanted.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) { Ok(limit) } else { Err(Problem::invalid("limit: 1 to 500.")) }
}

fn within(name: &str, text: &str, longest: usize) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=longest).contains(&length) {
        Ok(())
    } else {
        Err(Problem::invalid(format!("{name}: 1 to {longest} characters.")))
    }
}
