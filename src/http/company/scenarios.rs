//! A company's scenarios.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::error::Problem;
use super::super::extract::{
    Authorized, FromPath, FromPathAndJson, FromQuery, OfCompany, ReadKnowledge, WriteKnowledge,
};
use super::{Faults, Item, Listed, Part};
use crate::playbook::{Hook, Scenario, limits};
use crate::tenant::scenarios;

#[derive(serde::Serialize)]
struct Scenarios {
    scenarios: Vec<scenarios::Stored>,
}

/// Scenarios.
pub(in crate::http) async fn list(
    call: Authorized<ReadKnowledge, OfCompany<FromQuery<Part>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromQuery(part)) = call.input;
    let limit = part.limit()?;
    let found = scenarios::list(call.db.conn(), part.cursor, limit).await?;
    let next = super::next(&found, limit, |one| one.id);
    Ok(Json(Listed { company: call.db.tenant(), of: Scenarios { scenarios: found }, next }).into_response())
}

/// One of them.
pub(in crate::http) async fn read(
    call: Authorized<ReadKnowledge, OfCompany<FromPath<Item>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPath(item)) = call.input;
    let found = scenarios::get(call.db.conn(), item.id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(found).into_response())
}

/// All of a scenario that a company may change. What else a client sends back, as it read it, changes nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Edit {
    name: String,
    #[serde(default)]
    category: String,
    phrases: Vec<String>,
    replies: Vec<String>,
    follow_up: Option<String>,
    behavior: Option<String>,
    #[serde(default)]
    hook: Hook,
    #[serde(default)]
    priority: i32,
    enabled: Option<bool>,
}

/// Replaces what one says.
pub(in crate::http) async fn replace(
    call: Authorized<WriteKnowledge, OfCompany<FromPathAndJson<Item, Edit>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPathAndJson(item, edit)) = call.input;
    check(&edit)?;
    let scenario = Scenario {
        key: String::new(),
        name: edit.name,
        category: edit.category,
        phrases: edit.phrases,
        replies: edit.replies,
        follow_up: edit.follow_up,
        behavior: edit.behavior,
        hook: edit.hook,
        priority: edit.priority,
        enabled: edit.enabled.unwrap_or(true),
    };
    let found = scenarios::replace(call.db.conn(), item.id, &scenario).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(found).into_response())
}

/// Forgets one. An update of the playbook that it came from does not bring it back.
pub(in crate::http) async fn delete(
    call: Authorized<WriteKnowledge, OfCompany<FromPath<Item>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromPath(item)) = call.input;
    let found = scenarios::delete(call.db.conn(), item.id).await?;
    if found { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Problem::not_found()) }
}

fn check(edit: &Edit) -> Result<(), Problem> {
    let mut faults = Faults::default();
    faults.text("name", &edit.name, 1, limits::NAME_CHARS);
    faults.text("category", &edit.category, 0, limits::CATEGORY_CHARS);
    faults.texts("phrases", &edit.phrases, 1..=limits::PHRASES, limits::PHRASE_CHARS);
    faults.texts("replies", &edit.replies, 1..=limits::REPLIES, limits::REPLY_CHARS);
    faults.text("followUp", edit.follow_up.as_deref().unwrap_or_default(), 0, limits::FOLLOW_UP_CHARS);
    faults.text("behavior", edit.behavior.as_deref().unwrap_or_default(), 0, limits::BEHAVIOR_CHARS);
    faults.none_or_refuse()
}
