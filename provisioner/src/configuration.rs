//! A tenant's configuration for the operator, through the tenant's own login.

use serde_json::{Map, Value, json};
use strowger::app::configuration::{NotChanged, change};
use strowger::auth::Scope;
use strowger::id::TenantId;
use strowger::persona::{Configuration, prompt};
use strowger::tenant::configurations::{self, Version};

use crate::error::{Error, Result};
use crate::{Provisioner, as_tenant, tenants};

/// What is in force, with the prompt that it comes to.
pub async fn show(with: &Provisioner, tenant: TenantId) -> Result<Value> {
    tenants::get(with, tenant).await?;
    let (db, _) = as_tenant::open(with, tenant, &[Scope::ReadConfig]).await?;
    let current = configurations::current(db.conn()).await.map_err(|e| as_tenant::refused(tenant)(&e))?;
    Ok(shown(tenant, &current))
}

/// Replaces it: what is not said has its default. The audit log has a row of it, without the words, which are in the tenant's own history.
pub async fn set(with: &Provisioner, tenant: TenantId, document: Map<String, Value>) -> Result<Value> {
    tenants::get(with, tenant).await?;
    let new = Configuration::check(document).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Error::Conflict(format!("this is no configuration:\n  {}", lines.join("\n  ")))
    })?;
    let (db, _) = as_tenant::open(with, tenant, &[Scope::WriteConfig]).await?;
    let before = configurations::current(db.conn()).await.map_err(|e| as_tenant::refused(tenant)(&e))?;
    if before.configuration != new {
        // First: a change that was made and not reported, because we were killed, has its row too.
        let mut noted = with.change().await?;
        noted.record("configuration.set", Some(tenant), json!({ "over": before.head.version })).await?;
        noted.commit().await?;
    }
    let by: String = with.actor.as_str().chars().take(200).collect();
    let done = change(&db, None, &by, |_| Ok(new.clone())).await;
    let version = done.map_err(|error| match error {
        NotChanged::Tenant(error) => as_tenant::refused(tenant)(&error),
        other => Error::Unavailable(other.to_string()),
    })?;
    Ok(shown(tenant, &version))
}

fn shown(tenant: TenantId, version: &Version) -> Value {
    json!({ "customer_id": tenant, "version": version.head.version, "created_by": version.head.created_by,
            "configuration": version.configuration, "prompt": prompt(&version.configuration) })
}
