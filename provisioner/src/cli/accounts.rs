//! `account`.

use serde_json::{Value, json};
use strowger::control::accounts;

use super::args::Account;
use super::input::from_stdin;
use crate::error::{Error, Result};
use crate::{Provisioner, credentials, twilio};

pub(super) async fn run(with: &Provisioner, command: &Account) -> Result<Value> {
    match command {
        Account::Add { id, tenant, .. } => {
            credentials::add_account(with, id, *tenant, &from_stdin("the auth token")?).await?;
        }
        Account::Create { tenant, friendly_name, under, .. } => {
            let id = twilio::create_subaccount(with, *tenant, friendly_name.as_deref(), under.as_ref()).await?;
            return Ok(json!({ "provider": "twilio", "id": id.as_str(), "customer_id": tenant, "owner": "tenant" }));
        }
        Account::Close { id, confirm } if id != confirm => {
            return Err(Error::Conflict(format!("--confirm must say {id} once more: nothing was changed")));
        }
        Account::Close { id, .. } => twilio::close(with, id).await?,
        Account::Transfer { id, tenant, reason } => {
            credentials::transfer_account(with, id, *tenant, reason).await?;
        }
        Account::List => {}
    }
    Ok(accounts::list(with.control()).await?.iter().map(shown).collect())
}

/// With its owner in a word: what a tenant does not have is the platform's.
fn shown(account: &accounts::Account) -> Value {
    let mut shown = json!(account);
    shown["owner"] = if account.tenant.is_some() { "tenant" } else { "platform" }.into();
    shown
}
