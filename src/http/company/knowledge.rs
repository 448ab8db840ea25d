//! A company's own questions and answers, and the trial of what a caller would hear.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::error::Problem;
use super::super::extract::{
    Answering, Authorized, FromJson, FromPath, FromPathAndJson, FromQuery, OfCompany, ReadKnowledge, WriteKnowledge,
};
use super::{Faults, Item, Listed, Part};
use crate::tenant::knowledge::{self, Content};

/// So many questions a company may have: an index of them is prepared in milliseconds.
const MOST: i64 = 5000;

#[derive(serde::Serialize)]
struct Questions {
    knowledge: Vec<knowledge::Knowledge>,
}

/// Questions and answers.
pub(in crate::http) async fn list(
    call: Authorized<ReadKnowledge, OfCompany<FromQuery<Part>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromQuery(part)) = call.input;
    let limit = part.limit()?;
    let found = knowledge::list(call.db.conn(), part.cursor, limit).await?;
    let next = super::next(&found, limit, |one| one.id);
    Ok(Json(Listed { company: call.db.tenant(), of: Questions { knowledge: found }, next }).into_response())
}

/// One of them.
pub(in crate::http) async fn read(
    call: Authorized<ReadKnowledge, OfCompany<FromPath<Item>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPath(item)) = call.input;
    let found = knowledge::get(call.db.conn(), item.id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(found).into_response())
}

/// A new one.
pub(in crate::http) async fn create(
    call: Authorized<WriteKnowledge, OfCompany<FromJson<Content>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromJson(content)) = call.input;
    check(&content)?;
    let made = knowledge::create(call.db.conn(), &content, MOST).await?;
    let full = || Problem::new(StatusCode::CONFLICT, "full", "There are 5000 questions already.");
    Ok((StatusCode::CREATED, Json(made.ok_or_else(full)?)).into_response())
}

/// Replaces one.
pub(in crate::http) async fn replace(
    call: Authorized<WriteKnowledge, OfCompany<FromPathAndJson<Item, Content>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPathAndJson(item, content)) = call.input;
    check(&content)?;
    let found = knowledge::replace(call.db.conn(), item.id, &content).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(found).into_response())
}

/// Forgets one.
pub(in crate::http) async fn delete(
    call: Authorized<WriteKnowledge, OfCompany<FromPath<Item>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPath(item)) = call.input;
    let found = knowledge::delete(call.db.conn(), item.id).await?;
    if found { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Problem::not_found()) }
}

fn check(content: &Content) -> Result<(), Problem> {
    let mut faults = Faults::default();
    faults.text("question", &content.question, 1, 500);
    faults.texts("variants", &content.variants, 0..=50, 500);
    faults.text("answer", &content.answer, 1, 2000);
    faults.text("category", &content.category, 0, 100);
    faults.none_or_refuse()
}

#[derive(Deserialize)]
pub(in crate::http) struct MatchBody {
    text: String,
}

/// Which answer a caller would get, from which tier, how sure, and why.
pub(in crate::http) async fn try_out(
    call: Answering<ReadKnowledge, OfCompany<FromJson<MatchBody>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromJson(body)) = &call.authorized.input;
    let mut faults = Faults::default();
    faults.text("text", &body.text, 1, 2000);
    faults.none_or_refuse()?;
    let found = call.state.answers.answer(&call.authorized.db, &body.text).await?;
    let answer = json!({
        "companyId": call.authorized.db.tenant(),
        "tier": found.tier,
        "id": found.id,
        "text": found.text,
        "followUp": found.follow_up,
        "hook": found.hook,
        "score": found.score,
        "urgency": found.urgency,
        "why": found.why,
    });
    Ok(Json(answer).into_response())
}
