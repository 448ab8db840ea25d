//! What is known of one caller: `/v2/profile/{user_id}`, and `/caller/profile/{phone}` of the systems replaced.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::error::Problem;
use super::extract::{Authorized, FromPath, FromPathAndJson, ReadCallers, WithTemplate, WriteCallers};
use crate::phone::CallerKey;
use crate::profile::{Profile, RESERVED, Template};
use crate::tenant::{Intent, TenantDb, callers};

/// A caller's profile.
pub(super) async fn read(call: Authorized<ReadCallers, WithTemplate<FromPath<String>>>) -> Result<Response, Problem> {
    let WithTemplate(template, FromPath(user_id)) = call.input;
    let caller = caller(&call.db, &user_id)?;
    let profile = callers::get(call.db.conn(), &caller).await?.ok_or_else(Problem::not_found)?;
    Ok(shown(&call.db, &caller, profile, template.as_deref()))
}

type NewProfile = FromPathAndJson<String, Map<String, Value>>;

/// Replaces a caller's profile, by the tenant's template. What an answer says beside the fields may come back with them.
pub(super) async fn replace(call: Authorized<WriteCallers, WithTemplate<NewProfile>>) -> Result<Response, Problem> {
    let WithTemplate(template, FromPathAndJson(user_id, mut fields)) = call.input;
    let caller = caller(&call.db, &user_id)?;
    fields.retain(|name, _| !RESERVED.contains(&name.as_str()));
    let profile = Profile::check(template.as_deref(), fields).map_err(Problem::faults)?;
    callers::put(call.db.conn(), &caller, &profile).await?;
    Ok(shown(&call.db, &caller, profile, template.as_deref()))
}

fn caller<I: Intent>(db: &TenantDb<I>, raw: &str) -> Result<CallerKey, Problem> {
    CallerKey::parse(raw, db.region()).map_err(|error| Problem::invalid(format!("user_id: {error}.")))
}

fn shown<I: Intent>(db: &TenantDb<I>, caller: &CallerKey, profile: Profile, by: Option<&Template>) -> Response {
    let mut body = Map::from_iter([
        ("customer_id".to_owned(), json!(db.tenant())),
        ("user_id".to_owned(), caller.to_string().into()),
        ("name".to_owned(), profile.name.into()),
    ]);
    // Fields that were stored before the tenant was bound to a template may be called anything: ours come after.
    if let Value::Object(fields) = profile.fields {
        for (name, value) in fields {
            body.entry(name).or_insert(value);
        }
    }
    body.insert("quick_bio".to_owned(), profile.quick_bio.into());
    body.insert("template".to_owned(), by.map(|template| template.name().to_string()).into());
    Json(Value::Object(body)).into_response()
}
