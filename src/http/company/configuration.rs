//! A company's configuration as one document, its variables, and what it lacks before going live.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::super::error::Problem;
use super::super::extract::{Answering, Authorized, FromJson, Nothing, OfCompany, ReadConfig, WriteConfig};
use super::Faults;
use crate::playbook::is_variable;
use crate::tenant::variables;
use crate::tenant::{Intent, TenantDb};

/// One request changes no more.
const MOST: usize = 100;

/// All of it.
pub(in crate::http) async fn read(call: Authorized<ReadConfig, OfCompany<Nothing>>) -> Result<Response, Problem> {
    shown(&call.db).await
}

async fn shown<I: Intent>(db: &TenantDb<I>) -> Result<Response, Problem> {
    let mut found = variables::configuration(db.conn()).await?;
    found["companyId"] = serde_json::json!(db.tenant());
    Ok(Json(found).into_response())
}

/// Sets variables by name; `null` takes a value away. A name that no playbook defined becomes a text of the company's own.
pub(in crate::http) async fn set_variables(
    call: Authorized<WriteConfig, OfCompany<FromJson<Map<String, Value>>>>,
) -> Result<Response, Problem> {
    let OfCompany(FromJson(mut body)) = call.input;
    body.shift_remove("customer_id");
    let names: Vec<&str> = body.keys().map(String::as_str).filter(|name| is_variable(name)).collect();
    let defined = variables::definitions(call.db.conn(), &names).await?;
    let mut faults = Faults::default();
    if body.is_empty() || body.len() > MOST {
        faults.fault(format!("1 to {MOST} variables."));
    }
    let mut values = Vec::new();
    for (name, value) in &body {
        match value {
            _ if !is_variable(name) => faults.fault("A name is a letter, then letters, digits or _.".into()),
            Value::Null => values.push((name.as_str(), None)),
            Value::String(text) if text.chars().count() > 1000 => {
                faults.fault(format!("{name}: up to 1000 characters."));
            }
            Value::String(text) if !text.trim().is_empty() && !variables::fits(&defined, name, text) => {
                faults.fault(format!("{name}: not what its type says."));
            }
            Value::String(text) => values.push((name.as_str(), Some(text.as_str()))),
            _ => faults.fault(format!("{name}: a text or null.")),
        }
    }
    faults.none_or_refuse()?;
    variables::set(call.db.conn(), &values).await?;
    shown(&call.db).await
}

/// What is missing before callers are let in.
pub(in crate::http) async fn readiness(call: Answering<ReadConfig, OfCompany<Nothing>>) -> Result<Response, Problem> {
    let tenant = call.authorized.db.tenant();
    let found = call.state.readinesses.of(&call.state.directory, call.authorized.db).await?;
    let mut body = serde_json::json!(*found);
    body["companyId"] = serde_json::json!(tenant);
    Ok(Json(body).into_response())
}
