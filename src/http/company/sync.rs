//! `configuration/sync`: a company clones a playbook, sees what a newer version would change, and takes it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::super::error::Problem;
use super::super::extract::{Authorized, FromJson, FromQuery, OfCompany, ReadConfig, WriteConfig};
use crate::app::playbooks::{self, Compared};
use crate::id::TenantId;
use crate::playbook::merge::Choices;
use crate::tenant::{Read, Write, clones};

/// What to clone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Wanted {
    template_id: String,
    /// The newest, unless it is said.
    version: Option<i32>,
    /// Whose word is taken at places that both changed.
    #[serde(default)]
    resolve: Choices,
}

/// Clones a playbook, or brings the clone up to date. No connection is held while the control database is asked.
pub(in crate::http) async fn take(
    call: Authorized<WriteConfig, OfCompany<FromJson<Wanted>>>,
) -> Result<Response, Problem> {
    let Authorized { db, input: OfCompany(FromJson(wanted)), who, state, .. } = call;
    let tenant = db.tenant();
    drop(db);
    let to = playbooks::find(state.directory.control(), &wanted.template_id, wanted.version).await?;
    let db = state.router.open::<Write>(&who).await?;
    Ok(shown(tenant, &playbooks::take(&db, &to, &wanted.resolve).await?))
}

/// What to compare with; the newest version of what was cloned, unless it is said.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Compare {
    template_id: Option<String>,
    version: Option<i32>,
}

/// What a clone would change.
pub(in crate::http) async fn preview(
    call: Authorized<ReadConfig, OfCompany<FromQuery<Compare>>>,
) -> Result<Response, Problem> {
    let Authorized { db, input: OfCompany(FromQuery(compare)), who, state, .. } = call;
    let tenant = db.tenant();
    let name = match compare.template_id {
        Some(name) => name,
        None => clones::name(db.conn()).await?.ok_or_else(nothing_cloned)?,
    };
    drop(db);
    let to = playbooks::find(state.directory.control(), &name, compare.version).await?;
    let db = state.router.open::<Read>(&who).await?;
    Ok(shown(tenant, &playbooks::preview(&db, &to).await?))
}

fn nothing_cloned() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "nothing_cloned", "Nothing was cloned yet: say a templateId.")
}

fn shown(tenant: TenantId, compared: &Compared) -> Response {
    let mut body = json!(compared);
    body["companyId"] = json!(tenant);
    Json(body).into_response()
}
