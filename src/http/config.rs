//! How a tenant's receptionist is configured: `/v1/config`, and its versions.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::Problem;
use super::extract::{Authorized, FromJson, FromPath, FromQuery, IfMatch, Nothing, ReadConfig, WriteConfig};
use crate::app::configuration::change;
use crate::persona::{self, Configuration};
use crate::tenant::configurations::{self, Version};
use crate::tenant::{Intent, TenantDb};

/// What an answer says beside the configuration; it may come back with it.
const BESIDE: [&str; 5] = ["customer_id", "version", "created_at", "created_by", "prompt"];
const MAX_LIMIT: i64 = 500;

/// What is in force, with the prompt that it comes to.
pub(super) async fn read(call: Authorized<ReadConfig, Nothing>) -> Result<Response, Problem> {
    let current = configurations::current(call.db.conn()).await?;
    Ok(shown(&call.db, &current))
}

type Document = IfMatch<FromJson<Map<String, Value>>>;

/// Replaces all of it: what is not said has its default.
pub(super) async fn replace(call: Authorized<WriteConfig, Document>) -> Result<Response, Problem> {
    let IfMatch(seen, FromJson(document)) = call.input;
    let new = Configuration::check(without_beside(document)).map_err(Problem::faults)?;
    let version = change(&call.db, seen, &call.by, |_| Ok(new.clone())).await?;
    Ok(shown(&call.db, &version))
}

/// Changes what is said (RFC 7396); `null` puts a default back.
pub(super) async fn patch(call: Authorized<WriteConfig, Document>) -> Result<Response, Problem> {
    let IfMatch(seen, FromJson(document)) = call.input;
    let patch = Value::Object(without_beside(document));
    let merged = |current: &Configuration| {
        let mut whole = json!(current);
        persona::merge(&mut whole, patch.clone());
        match whole {
            Value::Object(whole) => Configuration::check(whole),
            _ => Ok(current.clone()),
        }
    };
    let version = change(&call.db, seen, &call.by, merged).await?;
    Ok(shown(&call.db, &version))
}

fn without_beside(mut document: Map<String, Value>) -> Map<String, Value> {
    document.retain(|name, _| !BESIDE.contains(&name.as_str()));
    document
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<i64>,
    cursor: Option<i32>,
}

/// Its versions, the newest first: when, and by whom.
pub(super) async fn versions(call: Authorized<ReadConfig, FromQuery<Page>>) -> Result<Response, Problem> {
    let FromQuery(page) = call.input;
    let limit = page.limit.unwrap_or(50);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid("limit: 1 to 500."));
    }
    let heads = configurations::list(call.db.conn(), page.cursor.unwrap_or(i32::MAX), limit).await?;
    let next = heads.last().map(|head| head.version).filter(|version| *version > 1);
    Ok(Json(json!({ "customer_id": call.db.tenant(), "versions": heads, "next_cursor": next })).into_response())
}

/// One version.
pub(super) async fn version(call: Authorized<ReadConfig, FromPath<i32>>) -> Result<Response, Problem> {
    let found = configurations::get(call.db.conn(), call.input.0).await?.ok_or_else(Problem::not_found)?;
    Ok(shown(&call.db, &found))
}

/// Puts an old version in force again, as a new one.
pub(super) async fn restore(call: Authorized<WriteConfig, IfMatch<FromPath<i32>>>) -> Result<Response, Problem> {
    let IfMatch(seen, FromPath(number)) = call.input;
    let old = configurations::get(call.db.conn(), number).await?.ok_or_else(Problem::not_found)?;
    let version = change(&call.db, seen, &call.by, |_| Ok(old.configuration.clone())).await?;
    Ok(shown(&call.db, &version))
}

fn shown<I: Intent>(db: &TenantDb<I>, version: &Version) -> Response {
    let mut body = json!(version.configuration);
    body["customer_id"] = json!(db.tenant());
    body["version"] = version.head.version.into();
    body["created_at"] = json!(version.head)["created_at"].take();
    body["created_by"] = version.head.created_by.as_str().into();
    body["prompt"] = persona::prompt(&version.configuration).into();
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", version.head.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
