//! A call comes in: whose number is it, and what is said first.

use std::sync::Arc;
use std::time::Duration;

use crate::app::promises::{Item, PromiseError, Promises};
use crate::auth::Principal;
use crate::auth::webhook::{TwilioForm, Verified};
use crate::control::numbers::{Assignment, NumberRow};
use crate::directory::{Directory, DirectoryError};
use crate::phone::{CallerKey, Number, PhoneNumber};
use crate::tenant::calls::{self, Opening, Progress};
use crate::tenant::{Read, Refused, Router, TenantError, Write};

/// What the caller hears.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// The sentence.
    pub text: String,
    /// BCP 47; empty for the provider's default.
    pub language: String,
    /// Empty for the provider's default.
    pub voice: String,
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

impl From<DirectoryError> for CallError {
    fn from(error: DirectoryError) -> Self {
        Self::Refused(error.into())
    }
}

/// While a number changes hands nobody answers it; a call waits for so long, in steps.
const HANDOVER_STEP: Duration = Duration::from_millis(50);
const HANDOVER_STEPS: u32 = 60;

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
}

/// Answers an incoming call with the receptionist's greeting.
pub async fn incoming(directory: &Directory, router: &Router, call: &Call<'_>) -> Result<Said, CallError> {
    let mut answering = Answering::default();
    loop {
        let who = answering.next(directory, call).await?;
        let db = match router.open::<Write>(&who).await {
            Err(Refused::Suspended(_)) if answering.is_confirmed(directory).await? => {
                return platforms_sentence(directory).await;
            }
            Err(Refused::Suspended(_)) => continue,
            Err(Refused::ReadOnly(_)) => {
                // Callers are greeted as ever; the call leaves no trace.
                let db = router.open::<Read>(&who).await?;
                let opening = calls::opening(db.conn(), &call.dialled, call.caller.as_ref()).await?;
                drop(db);
                match opening {
                    Some(opening) => return greeting(directory, opening).await,
                    None => continue,
                }
            }
            other => other?,
        };
        if let Some(opening) =
            calls::begin(db.conn(), &call.dialled, call.sid, call.caller.as_ref(), call.status).await?
        {
            drop(db);
            return greeting(directory, opening).await;
        }
    }
}

/// Takes in a callback about a call. One that ends it promises, before it is acknowledged, that the call will be processed.
pub async fn status(
    directory: &Directory,
    router: &Router,
    promises: &Promises,
    call: &Call<'_>,
) -> Result<(), CallError> {
    let number = |name| match call.form.field(name) {
        None => Ok(None),
        Some(text) => text.parse::<i32>().ok().filter(|n| *n >= 0).map(Some).ok_or(CallError::Field(name)),
    };
    let progress = Progress {
        call_sid: call.sid,
        status: call.status,
        sequence: number("SequenceNumber")?.unwrap_or(0),
        duration_seconds: number("CallDuration")?,
    };
    let mut answering = Answering::default();
    loop {
        let who = answering.next(directory, call).await?;
        let db = match router.open::<Write>(&who).await {
            Err(Refused::ReadOnly(_)) => return Ok(()),
            other => other?,
        };
        if !calls::progress(db.conn(), &call.dialled, &progress).await? {
            continue;
        }
        drop(db);
        if call.status == "completed" {
            promises.make(&who, &Item::ProcessCall { call_sid: call.sid.to_owned() }).await?;
        }
        return Ok(());
    }
}

async fn platforms_sentence(directory: &Directory) -> Result<Said, CallError> {
    let text = directory.suspended_sentence().await?.map_or_else(String::new, |sentence| sentence.as_str().to_owned());
    Ok(Said { text, language: String::new(), voice: String::new() })
}

/// Finds who answers a call, again and again while the number is changing hands.
///
/// Asking once more means that the tenant's own schema said the number is not its: what we cached is old. That is over
/// when the provisioner has finished, in milliseconds; we wait a few seconds for it and hold no connection meanwhile.
#[derive(Default)]
struct Answering {
    seen: Option<Arc<NumberRow>>,
    steps: u32,
}

impl Answering {
    /// Whether control says now what we had cached. A suspended tenant's schema cannot be asked, so control has to be.
    async fn is_confirmed(&mut self, directory: &Directory) -> Result<bool, CallError> {
        let Some(seen) = self.seen.take() else { return Ok(false) };
        let now = directory.number_after(&seen).await?;
        Ok(now.is_some_and(|now| now.assignment == seen.assignment))
    }

    async fn next(&mut self, directory: &Directory, call: &Call<'_>) -> Result<Principal, CallError> {
        while self.steps < HANDOVER_STEPS {
            let row = match self.seen.take() {
                None => directory.number(&Number::Phone(call.dialled.clone())).await?,
                Some(seen) => {
                    // The first time the cache alone may be old; after that it is a matter of time.
                    if self.steps > 1 {
                        tokio::time::sleep(HANDOVER_STEP).await;
                    }
                    directory.number_after(&seen).await?
                }
            };
            self.steps += 1;
            // An account that does not own the number cannot tell a moving one from an unknown one.
            let row = row.filter(|row| row.account == *call.form.account()).ok_or(CallError::NoSuchNumber)?;
            self.seen = Some(Arc::clone(&row));
            match row.assignment {
                Assignment::Active(_) => return Principal::from_call(call.form, &row).ok_or(CallError::NoSuchNumber),
                Assignment::Moving { to: Some(_), .. } => {}
                Assignment::Moving { to: None, .. } | Assignment::Released => return Err(CallError::NoSuchNumber),
            }
        }
        Err(CallError::NoSuchNumber)
    }
}

/// By what is in force; the platform's sentence for a receptionist that is switched off and says nothing of its own.
async fn greeting(directory: &Directory, opening: Opening) -> Result<Said, CallError> {
    let Opening { configuration, caller_name, now } = opening;
    let Some(text) = configuration.first_words(caller_name.as_deref(), now) else {
        return platforms_sentence(directory).await;
    };
    Ok(Said { text, language: configuration.language, voice: configuration.voice })
}
