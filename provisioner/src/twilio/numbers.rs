//! Numbers at Twilio: found, bought for a tenant, told where to ask, given back.

use serde_json::json;
use strowger::control::changes::Heard;
use strowger::control::numbers::{self as rows, Assignment, NumberRow};
use strowger::control::{installation, locks};
use strowger::id::{AccountSid, TenantId};
use strowger::phone::{Number, PhoneNumber};
use strowger::providers::twilio::{Available, Owned, Search, Webhooks};

use super::{LoggedIn, Twilio};
use crate::Provisioner;
use crate::credentials::PUBLIC_URL;
use crate::error::{Error, Result};
use crate::{numbers, steps};

/// What a purchase came to.
#[derive(Debug, serde::Serialize)]
pub struct Bought {
    /// The number.
    pub number: String,
    /// Who answers it.
    pub customer_id: TenantId,
    /// The account that has it.
    pub account: String,
    /// Whether it was bought now; else the account had it already.
    pub bought: bool,
    /// Where Twilio asks.
    #[serde(flatten)]
    pub webhooks: Webhooks,
    /// Running servers that know.
    #[serde(flatten)]
    pub heard: Heard,
}

/// A number whose webhooks were looked at.
#[derive(Debug, serde::Serialize)]
pub struct Configured {
    /// The number.
    pub number: String,
    /// The account that has it.
    pub account: String,
    /// Whether anything had to be set.
    pub changed: bool,
}

/// Numbers for sale, as the tenant's account or the platform's sees them.
pub async fn search(
    with: &Provisioner,
    tenant: Option<TenantId>,
    account: Option<&AccountSid>,
    what: &Search<'_>,
) -> Result<Vec<Available>> {
    let sid = match tenant {
        Some(tenant) => {
            steps::tenant(with, tenant).await?;
            numbers::choose_account(with, tenant, account).await?
        }
        None => numbers::platforms_account(with, account).await?,
    };
    let twilio = Twilio::of(with).await?;
    let account = twilio.log_in(&sid).await?;
    account.account().search(what).await.map_err(account.explain("search numbers"))
}

/// Buys a number, points its webhooks here, and gives it to the tenant. One that the account has already is not bought again.
pub async fn buy(
    with: &Provisioner,
    number: &PhoneNumber,
    tenant: TenantId,
    account: Option<&AccountSid>,
) -> Result<Bought> {
    steps::may_have_numbers(&steps::tenant(with, tenant).await?)?;
    let webhooks = webhooks(with).await?;
    let key = Number::Phone(number.clone());
    let _alone = alone(with, &key).await?;
    let sid = account_for(with, &key, tenant, account).await?;
    let twilio = Twilio::of(with).await?;
    let at = twilio.log_in(&sid).await?;
    let bought = match owned(&at, &key).await? {
        Some(owned) => {
            point(with, &at, &key, &owned, &webhooks).await?;
            false
        }
        None => {
            purchase(with, &at, &key, tenant, &webhooks).await?;
            true
        }
    };
    let heard = numbers::assign(with, &key, tenant, Some(&sid), "").await?;
    Ok(Bought { number: key.to_string(), customer_id: tenant, account: sid.to_string(), bought, webhooks, heard })
}

/// Points the webhooks of a number, or of all that are answered here, to the public URL of now.
pub async fn configure(with: &Provisioner, only: Option<&PhoneNumber>) -> Result<Vec<Configured>> {
    let webhooks = webhooks(with).await?;
    let twilio = Twilio::of(with).await?;
    let wanted = |row: &NumberRow| match (&row.number, only) {
        (Number::Phone(number), Some(only)) => number == only,
        (Number::Phone(_), None) => !row.assignment.settled_on(None),
        (Number::WhatsApp(_), _) => false,
    };
    let rows: Vec<NumberRow> = rows::list(&with.control).await?.into_iter().filter(wanted).collect();
    if let (Some(only), true) = (only, rows.is_empty()) {
        return Err(Error::Conflict(format!("{only} is not known here: see `strowgerctl number list`")));
    }
    let (mut done, mut problems) = (Vec::new(), Vec::new());
    for row in &rows {
        match configure_one(with, &twilio, row, &webhooks).await {
            Ok(configured) => done.push(configured),
            Err(error) if rows.len() == 1 => return Err(error),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() {
        return Ok(done);
    }
    let text = format!("{} of {} numbers are not configured: {}", problems.len(), rows.len(), problems.join("; "));
    Err(Error::Unfinished(text))
}

/// Takes a number from whoever has it, and gives it back to Twilio: anybody may buy it then.
pub async fn give_back(with: &Provisioner, number: &Number) -> Result<Heard> {
    if !with.wait {
        return Err(Error::Conflict(
            "--at-provider gives a number back once nobody answers it: leave --no-wait out".into(),
        ));
    }
    let _alone = alone(with, number).await?;
    let row = known(with, number).await?;
    let twilio = Twilio::of(with).await?;
    let at = twilio.log_in(&row.account).await?;
    let owned = owned(&at, number).await?;
    let heard = numbers::release(with, number).await?;
    if let Some(owned) = owned {
        let detail = json!({ "number": number.to_string(), "account": at.sid.as_str() });
        note(with, "number.give_back", None, detail).await?;
        at.account().release(&owned).await.map_err(at.explain(&format!("give {number} back to Twilio")))?;
    }
    Ok(heard)
}

async fn configure_one(
    with: &Provisioner,
    twilio: &Twilio<'_>,
    row: &NumberRow,
    webhooks: &Webhooks,
) -> Result<Configured> {
    let number = &row.number;
    let _alone = alone(with, number).await?;
    let at = twilio.log_in(&row.account).await?;
    let owned = owned(&at, number).await?;
    let owned = owned.ok_or_else(|| Error::Conflict(format!("account {} does not have {number} at Twilio", at.sid)))?;
    let changed = point(with, &at, number, &owned, webhooks).await?;
    Ok(Configured { number: number.to_string(), account: at.sid.to_string(), changed })
}

/// Sets the webhooks unless they are right.
async fn point(
    with: &Provisioner,
    at: &LoggedIn<'_>,
    number: &Number,
    owned: &Owned,
    webhooks: &Webhooks,
) -> Result<bool> {
    if owned.is_set_to(webhooks) {
        return Ok(false);
    }
    note(with, "number.configure", None, json!({ "number": number.to_string(), "webhooks": webhooks })).await?;
    let doing = format!("set the webhooks of {number}");
    at.account().configure(owned, webhooks).await.map_err(at.explain(&doing))?;
    Ok(true)
}

async fn purchase(
    with: &Provisioner,
    at: &LoggedIn<'_>,
    number: &Number,
    tenant: TenantId,
    webhooks: &Webhooks,
) -> Result<()> {
    // Before it, so that a purchase of which we never hear has its row too.
    let detail = json!({ "number": number.to_string(), "account": at.sid.as_str() });
    note(with, "number.buy", Some(tenant), detail).await?;
    let Err(error) = at.account().buy(number.value(), webhooks).await else { return Ok(()) };
    if error.may_have_happened() && owned(at, number).await?.is_some() {
        return Ok(());
    }
    Err(at.explain(&format!("buy {number}"))(error))
}

async fn owned(at: &LoggedIn<'_>, number: &Number) -> Result<Option<Owned>> {
    let doing = format!("look whether account {} has {number}", at.sid);
    at.account().owned(number.value()).await.map_err(at.explain(&doing))
}

/// The account that a number is bought at: where it is already on its way to the tenant, that one.
async fn account_for(
    with: &Provisioner,
    number: &Number,
    tenant: TenantId,
    wanted: Option<&AccountSid>,
) -> Result<AccountSid> {
    let Some(row) = rows::get(&with.control, number).await? else {
        return numbers::choose_account(with, tenant, wanted).await;
    };
    match row.assignment {
        Assignment::Active(to) | Assignment::Moving { to: Some(to), .. } if to == tenant => {
            numbers::choose_account(with, tenant, Some(wanted.unwrap_or(&row.account))).await
        }
        Assignment::Active(to) | Assignment::Moving { to: Some(to), .. } => Err(Error::Conflict(format!(
            "{number} is tenant {to}'s: `strowgerctl number assign` gives it to another; nothing was bought"
        ))),
        Assignment::Moving { to: None, .. } | Assignment::Released => {
            numbers::choose_account(with, tenant, wanted).await
        }
    }
}

async fn known(with: &Provisioner, number: &Number) -> Result<NumberRow> {
    let row = rows::get(&with.control, number).await?;
    let row = row.filter(|row| matches!(row.number, Number::Phone(_)));
    row.ok_or_else(|| Error::Conflict(format!("{number} is not a phone number that is known here")))
}

/// Keeps two commands that ask Twilio about one number apart.
async fn alone(with: &Provisioner, number: &Number) -> Result<locks::Lock> {
    Ok(locks::hold(&with.control, &format!("twilio {number}")).await?)
}

async fn note(with: &Provisioner, action: &str, tenant: Option<TenantId>, detail: serde_json::Value) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    change.record(action, tenant, detail).await?;
    Ok(change.commit().await?)
}

/// Where Twilio is to ask, under the public URL of this installation.
async fn webhooks(with: &Provisioner) -> Result<Webhooks> {
    let base = installation::setting(&with.control, PUBLIC_URL).await?;
    let base = base.ok_or_else(|| {
        Error::Conflict(format!(
            "where Twilio reaches the servers is not known: `strowgerctl platform set {PUBLIC_URL} https://…`, \
             the same as their --public-url"
        ))
    })?;
    Ok(Webhooks {
        voice_url: format!("{base}/call/incoming"),
        status_callback: format!("{base}/call/status"),
        sms_url: format!("{base}/sms/incoming"),
    })
}
