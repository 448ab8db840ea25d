//! The AI model's settings, of the platform and of tenants.

use strowger::control::models::{self, Settings};
use strowger::id::TenantId;
use strowger::vault::Scope;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::tenants;

/// What an operator sees of a model. A key is never shown, only whose it is.
#[derive(Debug, serde::Serialize)]
pub struct Shown {
    /// Whose.
    pub customer_id: Option<TenantId>,
    /// What was set.
    pub set: Settings,
    /// What holds for the tenant, with the platform's word where it is silent; `None` for the platform.
    pub effective: Option<Settings>,
    /// Whose key is used: `tenant`, `platform` or `none`; `None` for the platform.
    pub key: Option<&'static str>,
}

/// Sets what is `Some`; running servers know when this returns.
pub async fn set(with: &Provisioner, tenant: Option<TenantId>, new: &Settings) -> Result<()> {
    if *new == Settings::default() {
        return Err(Error::Conflict("nothing to set: see `strowgerctl model set --help`".into()));
    }
    for name in [&new.chat_model, &new.embedding_model].into_iter().flatten() {
        if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(Error::Conflict(
                "a model's name has 1 to 200 characters, none of them a control character".into(),
            ));
        }
    }
    let scope = existing(with, tenant).await?;
    let mut change = with.control.change(&with.actor).await?;
    models::put(&mut change, scope, new).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Forgets what was set.
pub async fn clear(with: &Provisioner, tenant: Option<TenantId>) -> Result<()> {
    let scope = existing(with, tenant).await?;
    let mut change = with.control.change(&with.actor).await?;
    models::clear(&mut change, scope).await?;
    change.commit().await?;
    with.settle_all().await
}

/// What is set, and what that comes to.
pub async fn show(with: &Provisioner, tenant: Option<TenantId>) -> Result<Shown> {
    let scope = existing(with, tenant).await?;
    let set = models::get(&with.control, scope).await?;
    let effective = match tenant {
        Some(id) => models::effective(&with.control, id).await?,
        None => None,
    };
    let whose = |effective: &models::Effective| match effective.key.as_ref().map(|key| key.of) {
        Some(Scope::Tenant(_)) => "tenant",
        Some(Scope::Platform) => "platform",
        None => "none",
    };
    let key = effective.as_ref().map(whose);
    Ok(Shown { customer_id: tenant, set, effective: effective.map(|effective| effective.settings), key })
}

async fn existing(with: &Provisioner, tenant: Option<TenantId>) -> Result<Scope> {
    if let Some(id) = tenant {
        tenants::get(with, id).await?;
    }
    Ok(Scope::of(tenant))
}
