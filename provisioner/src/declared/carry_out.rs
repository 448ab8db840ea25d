//! Makes a plan so, one change after the other, with the operations that single commands use.

use std::slice;

use strowger::clock::Clock;
use strowger::control::tenants::{self as rows, State};
use strowger::id::TenantId;
use strowger::vault::Secret;

use super::change::Change;
use super::file::WantedTenant;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::tenants::{self, Because, NewTenant};
use crate::{Provisioner, backups, credentials, numbers};

/// Carries the changes out; `done` hears of each that is. Killed or failed, it is finished by planning and carrying out again.
pub async fn carry_out(with: &Provisioner, plan: &Plan<'_>, done: &(dyn Fn(&Change<'_>) + Sync)) -> Result<()> {
    for change in &plan.changes {
        make(with, change).await?;
        done(change);
    }
    Ok(())
}

async fn make(with: &Provisioner, change: &Change<'_>) -> Result<()> {
    match change {
        Change::SetSetting(wanted) => credentials::set_platform(with, wanted.name, &wanted.value).await,
        Change::CreateTenant(wanted) => create(with, wanted).await,
        Change::SetState(wanted, state) => {
            let id = id_of(with, &wanted.name).await?;
            let reason = wanted.reason.as_deref().unwrap_or_default();
            let changed = match state {
                State::Suspended => tenants::suspend(with, id, Because::of(reason)).await,
                State::ReadOnly => tenants::make_read_only(with, id, Because::of(reason)).await,
                _ => tenants::resume(with, id, reason).await,
            };
            changed.map(drop)
        }
        Change::PutAccount { wanted, owner, .. } => {
            let owner = owner_id(with, owner.as_deref()).await?;
            credentials::add_account(with, &wanted.id, owner, at_hand(wanted.token.as_ref())?).await
        }
        Change::SetSecret { wanted, owner, .. } => {
            let owner = owner_id(with, owner.as_deref()).await?;
            credentials::set_secret(with, owner, &wanted.name, at_hand(wanted.value.as_ref())?).await
        }
        Change::AssignNumber { number, account, to, .. } => {
            numbers::assign(with, number, id_of(with, to).await?, Some(account), "").await.map(drop)
        }
        Change::ReleaseNumber { number, .. } => numbers::release(with, number).await.map(drop),
        Change::RemoveAccount(id) => credentials::remove_account(with, id).await,
        Change::SetSchedule { wanted, owner, .. } => {
            let owner = owner_id(with, owner.as_deref()).await?;
            backups::schedule(with, owner.as_ref().map(slice::from_ref), &wanted.rhythm.from(Clock::system().now()))
                .await
        }
        Change::RemoveSchedule { owner } => {
            let owner = owner_id(with, owner.as_deref()).await?;
            backups::unschedule(with, owner.as_ref().map(slice::from_ref)).await
        }
    }
}

async fn create(with: &Provisioner, wanted: &WantedTenant) -> Result<()> {
    let new = NewTenant {
        name: &wanted.name,
        id: wanted.id,
        isolation: wanted.isolation,
        cluster: wanted.cluster.as_deref(),
        cluster_region: wanted.cluster_region.as_deref(),
        region: wanted.region,
    };
    tenants::create(with, &new).await.map(drop)
}

async fn id_of(with: &Provisioner, name: &str) -> Result<TenantId> {
    let found = rows::find(&with.control, name).await?;
    found.map(|tenant| tenant.id).ok_or_else(|| Error::Conflict(format!("tenant \"{name}\" is not there any more")))
}

async fn owner_id(with: &Provisioner, name: Option<&str>) -> Result<Option<TenantId>> {
    match name {
        Some(name) => id_of(with, name).await.map(Some),
        None => Ok(None),
    }
}

fn at_hand(secret: Option<&Secret>) -> Result<&Secret> {
    secret.ok_or_else(|| Error::Conflict("a secret of the plan is not at hand".into()))
}
