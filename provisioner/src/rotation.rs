//! New credentials while everything goes on: tenants' logins.
//!
//! The old credential is refused only once whoever uses it knows the new one, so that no request fails. Killed anywhere, a rotation
//! is finished by the same command run again, or by a worker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use strowger::control::jobs::{Kind, Subject};
use strowger::control::tenants::{self as rows, State, Tenant};
use strowger::id::TenantId;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::tenants;

/// How one of many rotations ended.
#[derive(Debug, serde::Serialize)]
pub struct Rotated {
    /// Whose login.
    pub customer_id: TenantId,
    /// The one in use now.
    pub login_role: String,
    /// Counts placement and credential changes.
    pub generation: i64,
    /// Why it is not done.
    pub error: Option<String>,
}

/// Gives a tenant a new login password. A rotation that was begun and not finished is finished.
pub async fn tenant(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = tenants::get(with, id).await?;
    if !has_login(&tenant) {
        return Err(Error::Conflict(format!("tenant {id} is {} and has no login to rotate", tenant.state.as_str())));
    }
    held.run(Kind::RotateLogin, &json!({})).await?;
    tenants::get(with, id).await
}

fn has_login(tenant: &Tenant) -> bool {
    matches!(tenant.state, State::Active | State::Suspended)
}

/// Gives every tenant a new login password, some at a time. One that fails does not hold up the others.
pub async fn all_tenants(with: &Provisioner) -> Result<Vec<Rotated>> {
    let waiting: VecDeque<Tenant> = rows::list(&with.control).await?.into_iter().filter(has_login).collect();
    let (waiting, done) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let lane = async || {
        while let Some(before) = {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            next
        } {
            let (now, error) = match tenant(with, before.id).await {
                Ok(now) => (now, None),
                Err(error) => (before, Some(error.to_string())),
            };
            let rotated =
                Rotated { customer_id: now.id, login_role: now.login_role, generation: now.generation, error };
            done.lock().unwrap_or_else(PoisonError::into_inner).push(rotated);
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|rotated| rotated.customer_id);
    Ok(done)
}
