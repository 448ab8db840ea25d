//! A number changes hands: nobody answers; the old tenant's schema disowns it; the new one's owns it; the new one answers.

use std::collections::BTreeSet;

use strowger::control::jobs::{Job, Subject};
use strowger::control::locks;
use strowger::control::numbers::{self, Assignment};
use strowger::control::tenants::{State, Tenant};
use strowger::id::{AccountSid, TenantId};

use super::{Mirror, cluster_of, tenant};
use crate::Provisioner;
use crate::error::{Error, Result};

/// Whether a tenant is in a state in which it can be given a number.
pub(crate) fn may_have_numbers(tenant: &Tenant) -> Result<()> {
    match tenant.state {
        State::Active | State::ReadOnly | State::Suspended => Ok(()),
        other => {
            Err(Error::Conflict(format!("tenant {} is {} and cannot be given a number", tenant.id, other.as_str())))
        }
    }
}

/// What a hand-over's job says.
#[derive(serde::Deserialize)]
struct Asked {
    account: String,
    to: Option<TenantId>,
    /// Why, if an operator said so.
    #[serde(default)]
    reason: String,
}

/// Carries a hand-over out, under the number's lock.
pub(crate) async fn hand_over(with: &Provisioner, job: &Job) -> Result<()> {
    let asked: Asked = serde_json::from_value(job.params.clone())
        .map_err(|error| Error::Conflict(format!("job {} does not say who is to have the number: {error}", job.id)))?;
    let (Subject::Number(number), Asked { account, to, reason }) = (&job.subject, asked) else {
        return Err(Error::Conflict(format!("job {} is not about a number", job.id)));
    };
    let account = &account.parse::<AccountSid>()?;
    if let Some(to) = to {
        may_have_numbers(&tenant(with, to).await?)?;
    }
    let row = numbers::get(&with.control, number).await?;
    let settled = row.as_ref().is_some_and(|row| row.account == *account && row.assignment.settled_on(to));
    // A hand-over that was killed may have written to the tenant it was meant for: that one is asked too.
    let (from, meant_for) = match row.map(|row| row.assignment) {
        None | Some(Assignment::Released) => (None, None),
        Some(Assignment::Active(tenant)) => (Some(tenant), None),
        Some(Assignment::Moving { from, to }) => (from, to),
    };
    let _tenants = lock_all(with, [from, meant_for, to]).await?;
    // Every mirror is reached before anything is changed: one that cannot be reached cannot be shown to refuse.
    let mut losing = mirror(with, from.filter(|from| Some(*from) != to)).await?;
    let mut forgotten = mirror(with, meant_for.filter(|meant| Some(*meant) != to && Some(*meant) != from)).await?;
    let mut gaining = mirror(with, to).await?;
    if !settled {
        // Nobody answers while a number is moving, and control is about to forget who was to have it.
        if let Some(mirror) = &mut forgotten {
            mirror.remove(number).await?;
        }
        let mut change = with.control.change(&with.actor).await?;
        numbers::begin_move(&mut change, number, account, to, &reason).await?;
        change.commit().await?;
        if let Some(mirror) = &mut losing {
            mirror.remove(number).await?;
        }
    }
    if let Some(mirror) = &mut gaining {
        mirror.add(number).await?;
    }
    if !settled {
        let mut change = with.control.change(&with.actor).await?;
        numbers::finish_move(&mut change, number, to).await?;
        change.commit().await?;
    }
    Ok(())
}

/// Locks tenants in the order of their ids, so that two hand-overs never wait for each other.
async fn lock_all(with: &Provisioner, tenants: [Option<TenantId>; 3]) -> Result<Vec<locks::Lock>> {
    let ids: BTreeSet<TenantId> = tenants.into_iter().flatten().collect();
    let mut held = Vec::new();
    for id in ids {
        held.push(locks::hold(&with.control, &Subject::Tenant(id).to_string()).await?);
    }
    Ok(held)
}

async fn mirror(with: &Provisioner, id: Option<TenantId>) -> Result<Option<Mirror<'_>>> {
    let Some(id) = id else { return Ok(None) };
    let owner = tenant(with, id).await?;
    Mirror::open(with, &cluster_of(with, &owner).await?, owner).await.map(Some)
}
