//! Gives numbers to tenants and takes them away, so that no call is ever answered by the wrong one.

use std::collections::BTreeSet;

use strowger::control::accounts;
use strowger::control::changes::Heard;
use strowger::control::locks;
use strowger::control::numbers::{self, Assignment};
use strowger::control::tenants::State;
use strowger::id::{AccountSid, TenantId};
use strowger::phone::Number;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::steps::{self, Mirror};
use crate::tenants;

/// Assigns a number, taking it from whoever had it. Returns how many running servers have acted on it.
///
/// The order is what makes it safe: nobody answers; the old tenant's schema disowns the number; the new one's owns it; the
/// new one answers. From the moment this returns the old tenant's schema refuses, whatever an instance has cached.
pub async fn assign(with: &Provisioner, number: &Number, to: TenantId, account: Option<&AccountSid>) -> Result<Heard> {
    let tenant = tenants::get(with, to).await?;
    if tenant.state == State::Deleted || tenant.state == State::Provisioning {
        return Err(Error::Conflict(format!("tenant {to} is {} and cannot be given a number", tenant.state.as_str())));
    }
    let account = choose_account(with, to, account).await?;
    hand_over(with, number, &account, Some(to)).await
}

/// Takes a number from whoever has it; nobody answers it afterwards.
pub async fn release(with: &Provisioner, number: &Number) -> Result<Heard> {
    let row = numbers::get(&with.control, number).await?;
    let row = row.ok_or_else(|| Error::Conflict(format!("{number} is not known here")))?;
    hand_over(with, number, &row.account, None).await
}

async fn hand_over(with: &Provisioner, number: &Number, account: &AccountSid, to: Option<TenantId>) -> Result<Heard> {
    let _lock = locks::hold(&with.control, &format!("number {number}")).await?;
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
        numbers::begin_move(&mut change, number, account, to).await?;
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
    with.settle().await
}

/// Locks tenants in the order of their ids, so that two hand-overs never wait for each other.
async fn lock_all(with: &Provisioner, tenants: [Option<TenantId>; 3]) -> Result<Vec<locks::Lock>> {
    let ids: BTreeSet<TenantId> = tenants.into_iter().flatten().collect();
    let mut held = Vec::new();
    for id in ids {
        held.push(tenants::lock(with, id).await?);
    }
    Ok(held)
}

async fn mirror(with: &Provisioner, id: Option<TenantId>) -> Result<Option<Mirror<'_>>> {
    let Some(id) = id else { return Ok(None) };
    let tenant = tenants::get(with, id).await?;
    Mirror::open(with, &steps::cluster_of(with, &tenant).await?, tenant).await.map(Some)
}

/// The wanted account, the tenant's only one, or the platform's only one.
async fn choose_account(with: &Provisioner, tenant: TenantId, wanted: Option<&AccountSid>) -> Result<AccountSid> {
    let all = accounts::list(&with.control).await?;
    if let Some(wanted) = wanted {
        let found = all.iter().find(|account| account.id == wanted.as_str());
        return match found {
            None => {
                Err(Error::Conflict(format!("account {wanted} is not known: add it with `strowgerctl account add`")))
            }
            Some(account) if account.tenant.is_some_and(|owner| owner != tenant) => {
                Err(Error::Conflict(format!("account {wanted} belongs to another tenant")))
            }
            Some(_) => Ok(wanted.clone()),
        };
    }
    let owned_by =
        |owner: Option<TenantId>| all.iter().filter(move |account| account.tenant == owner).collect::<Vec<_>>();
    match (owned_by(Some(tenant)).as_slice(), owned_by(None).as_slice()) {
        ([own], _) => Ok(own.id.parse()?),
        ([], [platform]) => Ok(platform.id.parse()?),
        ([], []) => Err(Error::Conflict(
            "there is no account to take the number from: add one with `strowgerctl account add`".into(),
        )),
        _ => Err(Error::Conflict("there is more than one account: say which with --account".into())),
    }
}
