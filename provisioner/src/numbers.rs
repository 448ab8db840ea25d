//! Gives numbers to tenants and takes them away, so that no call is ever answered by the wrong one.

use serde_json::json;
use strowger::control::accounts;
use strowger::control::changes::Heard;
use strowger::control::jobs::{Kind, Subject};
use strowger::control::numbers::{self, Assignment};
use strowger::id::{AccountSid, TenantId};
use strowger::phone::Number;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::{reconcile, steps};

/// Assigns a number, taking it from whoever had it. Returns how many running servers have acted on it.
///
/// The order is what makes it safe: nobody answers; the old tenant's schema disowns the number; the new one's owns it; the
/// new one answers. From the moment this returns the old tenant's schema refuses, whatever an instance has cached.
pub async fn assign(
    with: &Provisioner,
    number: &Number,
    to: TenantId,
    account: Option<&AccountSid>,
    reason: &str,
) -> Result<Heard> {
    steps::may_have_numbers(&steps::tenant(with, to).await?)?;
    let account = choose_account(with, to, account).await?;
    begin(with, number, &account, Some(to), reason).await
}

/// Gives the tenant that has `old` the number `new` under the same account, and then takes `old` away: it is never without.
pub async fn replace(with: &Provisioner, old: &Number, new: &Number, reason: &str) -> Result<(TenantId, Heard)> {
    let row = numbers::get(&with.control, old).await?;
    let row = row.ok_or_else(|| Error::Conflict(format!("{old} is not known here")))?;
    let given = numbers::get(&with.control, new).await?;
    let tenant = match (&row.assignment, given.map(|row| row.assignment)) {
        (Assignment::Active(tenant), None | Some(Assignment::Released)) => *tenant,
        (Assignment::Active(tenant), Some(Assignment::Active(now))) if now == *tenant => now,
        // Run again after everything was done.
        (Assignment::Released, Some(Assignment::Active(now))) => now,
        (Assignment::Active(_), Some(_)) => {
            return Err(Error::Conflict(format!("{new} has a tenant already: release it first")));
        }
        _ => {
            return Err(Error::Conflict(format!(
                "nobody answers {old}: `strowgerctl number assign` gives {new} to a tenant"
            )));
        }
    };
    begin(with, new, &row.account, Some(tenant), reason).await?;
    Ok((tenant, begin(with, old, &row.account, None, reason).await?))
}

/// Takes a number from whoever has it; nobody answers it afterwards.
pub async fn release(with: &Provisioner, number: &Number) -> Result<Heard> {
    let row = numbers::get(&with.control, number).await?;
    let row = row.ok_or_else(|| Error::Conflict(format!("{number} is not known here")))?;
    begin(with, number, &row.account, None, "").await
}

async fn begin(
    with: &Provisioner,
    number: &Number,
    account: &AccountSid,
    to: Option<TenantId>,
    reason: &str,
) -> Result<Heard> {
    let held = reconcile::hold(with, Subject::Number(number.clone())).await?;
    held.run(Kind::HandOver, &json!({ "account": account.as_str(), "to": to, "reason": reason })).await?;
    with.settle().await
}

/// The wanted account, the tenant's only one, or the platform's only one.
pub(crate) async fn choose_account(
    with: &Provisioner,
    tenant: TenantId,
    wanted: Option<&AccountSid>,
) -> Result<AccountSid> {
    choose(&all_accounts(with).await?, &tenant, wanted).cloned()
}

/// The wanted account, whosever it is, or the platform's only one.
pub(crate) async fn platforms_account(with: &Provisioner, wanted: Option<&AccountSid>) -> Result<AccountSid> {
    let mut all = all_accounts(with).await?;
    all.retain(|(id, owner)| wanted.map_or(owner.is_none(), |wanted| wanted == id));
    match (all.as_slice(), wanted) {
        ([(only, _)], _) => Ok(only.clone()),
        ([], Some(wanted)) => {
            Err(Error::Conflict(format!("account {wanted} is not known: add it with `strowgerctl account add`")))
        }
        ([], None) => Err(Error::Conflict(
            "the platform has no account: `strowgerctl account add --provider twilio --id AC…` adds one, \
             --tenant or --account asks another"
                .into(),
        )),
        _ => Err(Error::Conflict("there is more than one account: say which with --account".into())),
    }
}

async fn all_accounts(with: &Provisioner) -> Result<Vec<(AccountSid, Option<TenantId>)>> {
    let all = accounts::list(&with.control).await?;
    all.into_iter().map(|account| Ok((account.id.parse()?, account.tenant))).collect()
}

/// The wanted account, the tenant's only one, or the platform's only one. Each account comes with its owner.
pub(crate) fn choose<'a, Owner: PartialEq>(
    all: &'a [(AccountSid, Option<Owner>)],
    tenant: &Owner,
    wanted: Option<&AccountSid>,
) -> Result<&'a AccountSid> {
    if let Some(wanted) = wanted {
        return match all.iter().find(|(id, _)| id == wanted) {
            None => {
                Err(Error::Conflict(format!("account {wanted} is not known: add it with `strowgerctl account add`")))
            }
            Some((_, owner)) if owner.as_ref().is_some_and(|owner| owner != tenant) => {
                Err(Error::Conflict(format!("account {wanted} belongs to another tenant")))
            }
            Some((id, _)) => Ok(id),
        };
    }
    let owned_by =
        |owner: Option<&Owner>| all.iter().filter(|(_, of)| of.as_ref() == owner).map(|(id, _)| id).collect::<Vec<_>>();
    match (owned_by(Some(tenant)).as_slice(), owned_by(None).as_slice()) {
        ([own], _) => Ok(own),
        ([], [platform]) => Ok(platform),
        ([], []) => Err(Error::Conflict(
            "there is no account to take the number from: add one with `strowgerctl account add --provider twilio --id AC…`"
                .into(),
        )),
        _ => Err(Error::Conflict("there is more than one account: say which with --account".into())),
    }
}
