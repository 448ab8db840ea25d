//! The memory service: `/v1/memories`, and the two routes of the systems replaced.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::State;
use super::checks::{caller, cursor, limit, within};
use super::error::Problem;
use super::extract::{
    Authorized, FromJson, FromLegacyJson, FromPath, FromPathAndQuery, FromQuery, ReadMemories, WriteMemories,
};
use crate::app::remembering::Search;
use crate::auth::Principal;
use crate::id::TenantId;
use crate::meaning::Table;
use crate::tenant::memories::{self, Memory, NewMemory, Page, Question};
use crate::tenant::vectors::Among;
use crate::tenant::{Intent, TenantDb, Write};

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
    let page = Page {
        caller: caller.as_ref(),
        kind: query.kind.as_deref(),
        after: cursor(query.cursor.as_deref())?,
        limit: limit(query.limit)?,
    };
    let (found, next) = memories::list(db.conn(), &page).await?;
    let memories = found.into_iter().map(|memory| Shown::new(db.tenant(), memory)).collect();
    let next_cursor = next.map(|cursor| cursor.to_string());
    Ok(Json(Listed { customer_id: db.tenant(), memories, next_cursor }).into_response())
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
    let memory = store(&call.db, call.state.word_vectors.as_deref(), &call.input.0).await?;
    Ok((StatusCode::CREATED, Json(Shown::new(call.db.tenant(), memory))).into_response())
}

/// `POST /memory/store`.
pub(super) async fn legacy_store(
    call: Authorized<WriteMemories, FromLegacyJson<NewBody>>,
) -> Result<Response, Problem> {
    let memory = store(&call.db, call.state.word_vectors.as_deref(), &call.input.0).await?;
    Ok(Json(json!({ "success": true, "id": memory.id, "error": null })).into_response())
}

async fn store(db: &TenantDb<Write>, table: Option<&Table>, body: &NewBody) -> Result<Memory, Problem> {
    let kind = body.kind.as_deref().unwrap_or("general");
    within("type", kind, 64)?;
    body.key.as_deref().map_or(Ok(()), |key| within("key", key, 256))?;
    if body.content.is_empty() || body.content.len() > MAX_CONTENT_BYTES {
        return Err(Problem::invalid("content: 1 to 65536 bytes."));
    }
    let caller = caller(db, &body.user_id)?;
    let vector = table.and_then(|table| table.vector(&body.content));
    let new =
        NewMemory { caller: &caller, kind, key: body.key.as_deref(), content: &body.content, vector: vector.as_ref() };
    Ok(memories::put(db.conn(), &new).await?)
}

/// One memory.
pub(super) async fn read(call: Authorized<ReadMemories, FromPath<Uuid>>) -> Result<Response, Problem> {
    let memory = memories::get(call.db.conn(), call.input.0).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(Shown::new(call.db.tenant(), memory)).into_response())
}

/// Forgets one memory.
pub(super) async fn delete(call: Authorized<WriteMemories, FromPath<Uuid>>) -> Result<Response, Problem> {
    let found = memories::delete(call.db.conn(), call.input.0).await?;
    if found { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Problem::not_found()) }
}

#[derive(Deserialize)]
pub(super) struct SearchBody {
    user_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    query: String,
    limit: Option<i64>,
}

/// Memories that share words with a question or mean the same, best first.
pub(super) async fn search(call: Authorized<ReadMemories, FromJson<SearchBody>>) -> Result<Response, Problem> {
    let Authorized { db, input: FromJson(body), who, state, .. } = call;
    within("query", &body.query, 1000)?;
    let caller = body.user_id.as_deref().map(|raw| caller(&db, raw)).transpose()?;
    let among = Among { caller: caller.as_ref(), kind: body.kind.as_deref() };
    let asked = Question { among, words: &body.query, vector: None, limit: limit(body.limit)? };
    let tenant = db.tenant();
    drop(db);
    let ranked = searching(&state, &who).run(asked).await?;
    let memories =
        ranked.into_iter().map(|found| Scored { memory: Shown::new(tenant, found.memory), score: found.score });
    Ok(Json(Found { customer_id: tenant, memories: memories.collect() }).into_response())
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
    let Authorized { db, input: FromLegacyJson(body), who, state, .. } = call;
    let (caller, limit, tenant) = (caller(&db, &body.user_id)?, limit(body.limit)?, db.tenant());
    let found: Vec<Memory> = match body.query.as_deref().filter(|query| !query.trim().is_empty()) {
        Some(query) => {
            within("query", query, 1000)?;
            let among = Among { caller: Some(&caller), kind: None };
            let asked = Question { among, words: query, vector: None, limit };
            drop(db);
            let ranked = searching(&state, &who).run(asked).await?;
            ranked.into_iter().map(|ranked| ranked.memory).collect()
        }
        None => memories::list(db.conn(), &Page { caller: Some(&caller), kind: None, after: None, limit }).await?.0,
    };
    let found: Vec<Shown> = found.into_iter().map(|memory| Shown::new(tenant, memory)).collect();
    Ok(Json(json!({ "success": true, "memories": found, "error": null })).into_response())
}

/// The flow opens the tenant itself, and not while a model is asked.
fn searching<'a>(state: &'a State, who: &'a Principal) -> Search<'a> {
    Search { router: &state.router, model: &state.model, table: state.word_vectors.as_deref(), who }
}

/// A memory with the tenant's id, which is not stored beside it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    memory: Memory,
    customer_id: TenantId,
}

impl Shown {
    fn new(customer_id: TenantId, memory: Memory) -> Self {
        Self { memory, customer_id }
    }
}

// Answers of many memories are written as they are read: as JSON values they cost more than the query.

#[derive(Serialize)]
struct Listed {
    customer_id: TenantId,
    memories: Vec<Shown>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Scored {
    #[serde(flatten)]
    memory: Shown,
    score: f64,
}

#[derive(Serialize)]
struct Found {
    customer_id: TenantId,
    memories: Vec<Scored>,
}
