//! A call: whose number is it, what is said first, and what is said next.
//!
//! [`incoming`] greets, [`turn`] answers what the caller says, [`status`] notes how the call goes on and ends. Each finds out anew who
//! answers the number, and the tenant's own schema has the last word on that.

mod answering;
mod model;
mod script;
mod sentences;
mod turn;

use std::time::Duration;

use answering::Answering;

use super::answers::Answers;
use super::model::Model;
use super::promises::{CallEnded, Item, PromiseError, Promises};
use crate::auth::Principal;
use crate::auth::webhook::{TwilioForm, Verified};
use crate::directory::{Directory, DirectoryError};
use crate::phone::{CallerKey, PhoneNumber};
use crate::tenant::calls::{self, Opening, Progress};
use crate::tenant::{Read, Refused, Router, TenantError, Write};

pub use script::Awaits;
pub use turn::turn;

/// How long a callback waits for the tenant's database. The provider waits 15 s for its acknowledgement.
const NOTING: Duration = Duration::from_secs(8);

/// What the caller hears, and what the provider does then.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// The sentence.
    pub text: String,
    /// BCP 47; empty for the provider's default.
    pub language: String,
    /// Empty for the provider's default.
    pub voice: String,
    /// The person to call.
    pub dial: Option<PhoneNumber>,
    /// The turn that follows, and what the caller's words will be in it; `None` ends the call.
    pub listens: Option<(i32, Awaits)>,
}

/// What the flows of a call work with.
pub struct Voice<'a> {
    /// Who answers a number.
    pub directory: &'a Directory,
    /// Opens the tenant.
    pub router: &'a Router,
    /// What the tenant's receptionist knows.
    pub answers: &'a Answers,
    /// What else may answer.
    pub model: &'a Model,
    /// What is to be done afterwards.
    pub promises: &'a Promises,
}

/// Why a call is not answered.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A field that every call has is missing or malformed.
    #[error("the field {0} is missing or malformed")]
    Field(&'static str),
    /// Nobody answers this number, or it is not the signing account's: the two look alike from outside.
    #[error("no tenant answers this number")]
    NoSuchNumber,
    /// The tenant could not be opened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its database did not answer.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// What is to be done afterwards could not be promised.
    #[error(transparent)]
    Promise(#[from] PromiseError),
}

impl CallError {
    /// Whether the tenant's schema could not be asked, or did not answer: whose number it is, control alone can say then.
    fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Tenant(_)
                | Self::Refused(Refused::Suspended(_) | Refused::SchemaVersion { .. } | Refused::Open { .. })
        )
    }
}

impl From<DirectoryError> for CallError {
    fn from(error: DirectoryError) -> Self {
        Self::Refused(error.into())
    }
}

/// A call whose signature holds and whose fields are there.
pub struct Call<'a> {
    form: &'a Verified<TwilioForm>,
    sid: &'a str,
    dialled: PhoneNumber,
    caller: Option<CallerKey>,
    status: &'a str,
}

impl<'a> Call<'a> {
    /// Reads the fields.
    pub fn read(form: &'a Verified<TwilioForm>) -> Result<Self, CallError> {
        let sid = form
            .field("CallSid")
            .filter(|s| (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()));
        let to = form.field("To").ok_or(CallError::Field("To"))?;
        Ok(Self {
            form,
            sid: sid.ok_or(CallError::Field("CallSid"))?,
            // A dialled SIP address or client is no number of ours.
            dialled: to.parse().map_err(|_| CallError::NoSuchNumber)?,
            caller: form.field("From").and_then(CallerKey::from_voice),
            status: form.field("CallStatus").filter(|s| s.len() <= 32).ok_or(CallError::Field("CallStatus"))?,
        })
    }

    /// How far it is.
    fn progress(&self) -> Result<Progress<'_>, CallError> {
        let number = |name| match self.form.field(name) {
            None => Ok(None),
            Some(text) => text.parse::<i32>().ok().filter(|n| *n >= 0).map(Some).ok_or(CallError::Field(name)),
        };
        Ok(Progress {
            call_sid: self.sid,
            status: self.status,
            sequence: number("SequenceNumber")?.unwrap_or(0),
            duration_seconds: number("CallDuration")?,
        })
    }
}

/// Answers an incoming call with the receptionist's greeting.
pub async fn incoming(directory: &Directory, router: &Router, call: &Call<'_>) -> Result<Spoken, CallError> {
    let mut answering = Answering::default();
    loop {
        let who = answering.next(directory, call).await?;
        let db = match router.open::<Write>(&who).await {
            Err(Refused::Suspended(_)) if answering.is_confirmed(directory).await? => {
                return no_calls(directory, &who).await;
            }
            Err(Refused::Suspended(_)) => continue,
            Err(Refused::ReadOnly(_) | Refused::Moving(_)) => {
                // Callers are greeted as ever; the call leaves no trace.
                let db = router.open::<Read>(&who).await?;
                let opening = calls::opening(db.conn(), &call.dialled, call.caller.as_ref()).await?;
                drop(db);
                match opening {
                    Some(opening) => return greeting(directory, &who, opening).await,
                    None => continue,
                }
            }
            other => other?,
        };
        if let Some(opening) =
            calls::begin(db.conn(), &call.dialled, call.sid, call.caller.as_ref(), call.status).await?
        {
            drop(db);
            return greeting(directory, &who, opening).await;
        }
    }
}

/// Takes in a callback about a call. One that ends it promises, before it is acknowledged, that the call will be processed; also while
/// the tenant takes no writes or its database is away, since the provider does not come again.
pub async fn status(
    directory: &Directory,
    router: &Router,
    promises: &Promises,
    call: &Call<'_>,
) -> Result<(), CallError> {
    let progress = call.progress()?;
    let ended = CallEnded { sequence: progress.sequence, duration_seconds: progress.duration_seconds };
    let is_over = call.status == "completed";
    let over = |ended| Item::ProcessCall { call_sid: call.sid.to_owned(), ended };
    let mut answering = Answering::default();
    loop {
        let who = answering.next(directory, call).await?;
        let noting = tokio::time::timeout(NOTING, note(router, &who, call, &progress)).await;
        let noted = match noting.unwrap_or(Err(TenantError::TooSlow.into())) {
            Err(error) if is_over && error.is_silence() => {
                if !answering.is_confirmed(directory).await? {
                    continue;
                }
                tracing::warn!(tenant.id = %who.tenant(), %error, "the end of a call is promised, and not noted yet");
                // If the call did not begin there, nothing comes of the promise.
                Noted::NotYet
            }
            noted => noted?,
        };
        match noted {
            Noted::Elsewhere => continue,
            Noted::There if is_over => promises.make(&who, &over(None)).await?,
            Noted::NotYet if is_over => promises.make(&who, &over(Some(ended))).await?,
            Noted::There | Noted::NotYet | Noted::Nowhere => {}
        }
        return Ok(());
    }
}

/// What became of a callback.
enum Noted {
    /// It stands in the tenant's schema.
    There,
    /// It is still to be noted there.
    NotYet,
    /// It need not be noted: the call left no trace when it began.
    Nowhere,
    /// The dialled number is another's.
    Elsewhere,
}

async fn note(router: &Router, who: &Principal, call: &Call<'_>, progress: &Progress<'_>) -> Result<Noted, CallError> {
    match router.open::<Write>(who).await {
        Ok(db) => {
            let is_its = calls::progress(db.conn(), &call.dialled, progress).await?;
            Ok(if is_its { Noted::There } else { Noted::Elsewhere })
        }
        Err(Refused::ReadOnly(_) | Refused::Moving(_)) => {
            let db = router.open::<Read>(who).await?;
            Ok(match calls::began(db.conn(), &call.dialled, call.sid).await? {
                None => Noted::Elsewhere,
                Some(true) => Noted::NotYet,
                Some(false) => Noted::Nowhere,
            })
        }
        Err(refused) => Err(refused.into()),
    }
}

/// What callers of a tenant hear that takes no calls, before the call ends.
async fn no_calls(directory: &Directory, who: &Principal) -> Result<Spoken, CallError> {
    let text = directory.suspended_sentence(who.tenant()).await?.unwrap_or_default();
    Ok(Spoken { text, ..Spoken::default() })
}

/// By what is in force; as if suspended for a receptionist that is switched off and says nothing of its own.
async fn greeting(directory: &Directory, who: &Principal, opening: Opening) -> Result<Spoken, CallError> {
    let Some(text) = first_words(&opening) else { return no_calls(directory, who).await };
    let Opening { configuration, .. } = opening;
    let listens = (!configuration.disabled).then_some((1, Awaits::Question));
    Ok(Spoken { text, language: configuration.language, voice: configuration.voice, dial: None, listens })
}

fn first_words(opening: &Opening) -> Option<String> {
    opening.configuration.first_words(opening.caller_name.as_deref(), opening.now)
}
