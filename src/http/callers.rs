//! The people who call: who there is, everything on one of them, and nothing any more.

use aws_lc_rs::digest;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use super::checks;
use super::error::Problem;
use super::extract::{Authorized, FromPath, FromQuery, ReadCallers, WriteCallers};
use crate::tenant::persons;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<i64>,
    cursor: Option<String>,
}

/// Callers, who was seen last first.
pub(super) async fn list(call: Authorized<ReadCallers, FromQuery<ListQuery>>) -> Result<Response, Problem> {
    let FromQuery(query) = call.input;
    let (after, limit) = (checks::cursor(query.cursor.as_deref())?, checks::limit(query.limit)?);
    let (found, next) = persons::list(call.db.conn(), after.as_ref(), limit).await?;
    let next = next.map(|cursor| cursor.to_string());
    Ok(Json(json!({ "customer_id": call.db.tenant(), "callers": found, "next_cursor": next })).into_response())
}

/// Everything held on one person.
pub(super) async fn export(call: Authorized<ReadCallers, FromPath<String>>) -> Result<Response, Problem> {
    let caller = checks::caller(&call.db, &call.input.0)?;
    let held = persons::export(call.db.conn(), &caller).await?;
    Ok(Json(json!({ "customer_id": call.db.tenant(), "user_id": caller.to_string(), "held": held })).into_response())
}

/// Deletes everything held on one person, and says what that was. Nobody there: a receipt of zeroes, so that it can be repeated.
pub(super) async fn erase(call: Authorized<WriteCallers, FromPath<String>>) -> Result<Response, Problem> {
    let caller = checks::caller(&call.db, &call.input.0)?;
    let erased = persons::erase(call.db.conn(), &caller).await?;
    let at = erased.at.format(&Rfc3339).map_err(|_| Problem::internal("a time that cannot be written"))?;
    let mut receipt = json!({
        "customer_id": call.db.tenant(),
        "user_id": caller.to_string(),
        "erased_at": at,
        "rows": erased.counts,
    });
    let hash = digest::digest(&digest::SHA256, receipt.to_string().as_bytes());
    receipt["sha256"] = hash.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")).into();
    Ok(Json(receipt).into_response())
}
