//! What is asked of Twilio on an operator's word: subaccounts for tenants, and numbers bought, set and given back.
//!
//! The rule that must hold: nothing is bought or made twice. Twilio has no transactions with us, so each operation can be
//! killed between what Twilio did and what control knows; run again, it first asks Twilio what there is. What creates is
//! written down before Twilio is asked, and sent once.
//!
//! No lock of a tenant or a number is held while Twilio is waited for: those of ours only keep two of these commands apart.

mod numbers;
mod subaccounts;

use std::time::Duration;

use http::StatusCode;
use strowger::control::installation;
use strowger::id::AccountSid;
use strowger::providers::http::Http;
use strowger::providers::twilio::{Account, BASE_URL, TwilioError};
use strowger::vault::{Scope, Secret};

pub use numbers::{Bought, Configured, buy, configure, give_back, search};
pub use subaccounts::{close, create as create_subaccount};

use crate::Provisioner;
use crate::credentials::{self, TWILIO_BASE_URL};
use crate::error::{Error, Result};

/// How long one call to Twilio may take; buying takes Twilio some seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Twilio, as far as this installation reaches it.
pub(crate) struct Twilio<'p> {
    with: &'p Provisioner,
    http: Http,
    base_url: String,
}

impl<'p> Twilio<'p> {
    pub(crate) async fn of(with: &'p Provisioner) -> Result<Self> {
        let set = installation::setting(&with.control, TWILIO_BASE_URL).await?;
        let http = Http::new().map_err(|error| Error::Unavailable(format!("prepare TLS: {error}")))?;
        Ok(Self { with, http, base_url: set.unwrap_or_else(|| BASE_URL.to_owned()) })
    }

    /// One account, its token opened for as long as this lives.
    async fn log_in(&self, sid: &AccountSid) -> Result<LoggedIn<'_>> {
        let (owner, token) = credentials::account_token(self.with, sid).await?;
        Ok(LoggedIn { twilio: self, sid: sid.clone(), owner, token })
    }
}

/// An account with its token.
struct LoggedIn<'t> {
    twilio: &'t Twilio<'t>,
    sid: AccountSid,
    owner: Scope,
    token: Secret,
}

impl LoggedIn<'_> {
    fn account(&self) -> Account<'_> {
        let Twilio { http, base_url, .. } = self.twilio;
        Account { http, base_url, sid: &self.sid, token: &self.token, within: PATIENCE }
    }

    /// An error in words for the operator, who sees what Twilio said of it.
    fn explain<'e>(&self, doing: &'e str) -> impl FnOnce(TwilioError) -> Error + use<'e, '_> {
        move |error| {
            let sid = &self.sid;
            let what = match &error {
                TwilioError::Refused { status, code, .. }
                    if *status == StatusCode::UNAUTHORIZED || *code == Some(20003) =>
                {
                    let owner = self.owner.tenant().map(|id| format!(" --tenant {id}")).unwrap_or_default();
                    format!(
                        "{error}: it does not take the token of account {sid}; \
                         `strowgerctl account add --provider twilio --id {sid}{owner}` with the one that Twilio's console shows"
                    )
                }
                _ if error.may_pass() => {
                    return Error::Unavailable(format!("{doing}: {error}; run the same command again"));
                }
                TwilioError::Refused { code: Some(21422), .. } => format!(
                    "{error}: Twilio does not have that number for sale, or somebody has bought it; \
                     `strowgerctl number search` finds others"
                ),
                TwilioError::Refused { code: Some(21421), .. } => {
                    format!("{error}: that is no number that Twilio knows")
                }
                TwilioError::Refused { status: StatusCode::NOT_FOUND, .. } => format!(
                    "{error}: there is no such thing in account {sid}, or Twilio sells none of these in that country"
                ),
                TwilioError::Refused { code, message, .. } => {
                    let more = code.map(|code| format!(": https://www.twilio.com/docs/errors/{code}"));
                    format!("{error}: {message}{}", more.unwrap_or_default())
                }
                _ => {
                    format!("{error}; `strowgerctl platform show` says where Twilio was looked for ({TWILIO_BASE_URL})")
                }
            };
            Error::Conflict(format!("{doing}: {what}"))
        }
    }
}
