//! `/v2/context/enriched`.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::extract::{Authorized, FromJson, FromQuery, ReadCalls};
use crate::id::TenantId;
use crate::phone::CallerKey;
use crate::tenant::context::{self, Enriched};
use crate::tenant::{Read, TenantDb};

#[derive(Deserialize)]
pub(super) struct Who {
    user_id: String,
}

/// The caller in the query string.
pub(super) async fn by_query(call: Authorized<ReadCalls, FromQuery<Who>>) -> Result<Response, Problem> {
    enriched(&call.db, &call.input.0).await
}

/// The caller in the body.
pub(super) async fn by_body(call: Authorized<ReadCalls, FromJson<Who>>) -> Result<Response, Problem> {
    enriched(&call.db, &call.input.0).await
}

async fn enriched(db: &TenantDb<Read>, who: &Who) -> Result<Response, Problem> {
    let caller = CallerKey::parse(&who.user_id, db.region()).map_err(|e| Problem::invalid(format!("user_id: {e}.")))?;
    let context = context::enriched(db.conn(), &caller).await?;
    Ok(Json(Answer { context, customer_id: db.tenant() }).into_response())
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    context: Enriched,
    customer_id: TenantId,
}
