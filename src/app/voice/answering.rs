//! Who answers a call, while its number may be changing hands.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, CallError};
use crate::auth::Principal;
use crate::control::numbers::{Assignment, NumberRow};
use crate::directory::Directory;
use crate::phone::Number;

/// While a number changes hands nobody answers it; a call waits for so long, in steps.
const HANDOVER_STEP: Duration = Duration::from_millis(50);
const HANDOVER_STEPS: u32 = 60;

/// Finds who answers a call, again and again while the number is changing hands.
///
/// Asking once more means that the tenant's own schema said the number is not its: what we cached is old. That is over
/// when the provisioner has finished, in milliseconds; we wait a few seconds for it and hold no connection meanwhile.
#[derive(Default)]
pub(super) struct Answering {
    seen: Option<Arc<NumberRow>>,
    steps: u32,
}

impl Answering {
    /// Whether control says now what we had cached. A suspended tenant's schema cannot be asked, so control has to be.
    pub(super) async fn is_confirmed(&mut self, directory: &Directory) -> Result<bool, CallError> {
        let Some(seen) = self.seen.take() else { return Ok(false) };
        let now = directory.number_after(&seen).await?;
        Ok(now.is_some_and(|now| now.assignment == seen.assignment))
    }

    pub(super) async fn next(&mut self, directory: &Directory, call: &Call<'_>) -> Result<Principal, CallError> {
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
