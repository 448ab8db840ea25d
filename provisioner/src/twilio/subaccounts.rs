//! A tenant's subaccount under the platform's account: billed and closed apart, with a token of its own that signs its webhooks.

use strowger::control::subaccounts::{self, Wanted};
use strowger::control::tenants::Tenant;
use strowger::control::{accounts, locks};
use strowger::id::{AccountSid, TenantId};
use strowger::providers::twilio::Subaccount;
use strowger::vault::Scope;
use uuid::Uuid;

use super::{LoggedIn, Twilio};
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::{credentials, steps};

/// What Twilio takes for a name, in characters, less what tells it from others.
const LONGEST_LABEL: usize = 50;

/// Makes the tenant's subaccount and adds it here as the tenant's own. Run again it finds what there is.
pub async fn create(
    with: &Provisioner,
    tenant: TenantId,
    label: Option<&str>,
    under: Option<&AccountSid>,
) -> Result<AccountSid> {
    let tenant = steps::tenant(with, tenant).await?;
    steps::may_have_numbers(&tenant)?;
    let _alone = locks::hold(&with.control, &format!("twilio subaccount of {}", tenant.id)).await?;
    let had = accounts_of(with, Some(tenant.id)).await?;
    let noted = subaccounts::get(&with.control, tenant.id).await?;
    if let (Some(had), None) = (had.first(), &noted) {
        return Err(has_one(&tenant, had));
    }
    let wanted = match noted {
        Some(noted) => same(&tenant, noted, label, under)?,
        None => note(with, &tenant, label, under).await?,
    };
    let twilio = Twilio::of(with).await?;
    let parent = twilio.log_in(&wanted.under).await?;
    let doing = format!("look for the subaccount of tenant {}", tenant.id);
    let found = parent.account().subaccount(&wanted.friendly_name).await.map_err(parent.explain(&doing))?;
    let made = match (found, had.first()) {
        (Some(found), Some(_)) if had.contains(&found.sid) => return Ok(found.sid),
        (_, Some(had)) => return Err(has_one(&tenant, had)),
        (Some(found), None) => found,
        (None, None) => make(&parent, &tenant, &wanted.friendly_name).await?,
    };
    credentials::add_account(with, &made.sid, Some(tenant.id), &made.token).await?;
    Ok(made.sid)
}

/// Closes a tenant's subaccount at Twilio, with its numbers, for ever, and forgets it here.
pub async fn close(with: &Provisioner, id: &AccountSid) -> Result<()> {
    let twilio = Twilio::of(with).await?;
    let account = twilio.log_in(id).await?;
    if account.owner == Scope::Platform {
        return Err(Error::Conflict(format!("account {id} is the platform's: only a tenant's subaccount is closed")));
    }
    let all = strowger::control::numbers::list(&with.control).await?;
    if let Some(row) = all.iter().find(|row| row.account == *id && !row.assignment.settled_on(None)) {
        return Err(Error::Conflict(format!(
            "{} is answered under account {id}: `strowgerctl number release {0}` first",
            row.number
        )));
    }
    let mut change = with.control.change(&with.actor).await?;
    let detail = serde_json::json!({ "provider": "twilio", "account": id.as_str() });
    change.record("account.close", account.owner.tenant(), detail).await?;
    change.commit().await?;
    account.account().close().await.map_err(account.explain(&format!("close account {id}")))?;
    credentials::remove_account(with, id).await
}

async fn accounts_of(with: &Provisioner, owner: Option<TenantId>) -> Result<Vec<AccountSid>> {
    let all = accounts::list(&with.control).await?;
    all.into_iter().filter(|account| account.tenant == owner).map(|account| Ok(account.id.parse()?)).collect()
}

fn has_one(tenant: &Tenant, had: &AccountSid) -> Error {
    Error::Conflict(format!("tenant {} has account {had} already: nothing was made", tenant.id))
}

/// What an earlier run has noted holds; whoever asks for something else is told.
fn same(tenant: &Tenant, noted: Wanted, label: Option<&str>, under: Option<&AccountSid>) -> Result<Wanted> {
    let differs = label.is_some_and(|label| noted.friendly_name.rsplit_once(" (").is_none_or(|(was, _)| was != label))
        || under.is_some_and(|under| *under != noted.under);
    if differs {
        return Err(Error::Conflict(format!(
            "the subaccount of tenant {} was asked for as \"{}\" under {}: run it without --friendly-name and --under",
            tenant.id, noted.friendly_name, noted.under
        )));
    }
    Ok(noted)
}

/// Draws a name that no other subaccount has, and notes it.
async fn note(with: &Provisioner, tenant: &Tenant, label: Option<&str>, under: Option<&AccountSid>) -> Result<Wanted> {
    let platforms = accounts_of(with, None).await?;
    let under = match (under, platforms.as_slice()) {
        (Some(under), all) if all.contains(under) => under.clone(),
        (Some(under), _) => return Err(Error::Conflict(format!("account {under} is not one of the platform's"))),
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(Error::Conflict(
                "the platform has no Twilio account to make it under: `strowgerctl account add --provider twilio --id AC…`"
                    .into(),
            ));
        }
        (None, _) => {
            return Err(Error::Conflict("the platform has more than one account: say which with --under".into()));
        }
    };
    let label: String = label.unwrap_or(&tenant.name).chars().take(LONGEST_LABEL).collect();
    if label.trim().is_empty() || label.chars().any(char::is_control) {
        return Err(Error::Conflict("a name has 1 to 50 characters, none of them a control character".into()));
    }
    let mark = Uuid::new_v4().simple().to_string();
    let wanted = Wanted { under, friendly_name: format!("{label} ({})", &mark[..8]) };
    let mut change = with.control.change(&with.actor).await?;
    subaccounts::put(&mut change, tenant.id, &wanted).await?;
    change.commit().await?;
    Ok(wanted)
}

async fn make(parent: &LoggedIn<'_>, tenant: &Tenant, friendly_name: &str) -> Result<Subaccount> {
    let doing = format!("make a subaccount for tenant {}", tenant.id);
    let explain = parent.explain(&doing);
    let error = match parent.account().create_subaccount(friendly_name).await {
        Ok(made) => return Ok(made),
        Err(error) => error,
    };
    // The answer is lost, and perhaps only that.
    if error.may_have_happened()
        && let Ok(Some(found)) = parent.account().subaccount(friendly_name).await
    {
        return Ok(found);
    }
    Err(explain(error))
}
