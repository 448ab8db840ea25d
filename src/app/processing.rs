//! A call has ended: what is remembered of it.

use crate::auth::Principal;
use crate::tenant::{Refused, Router, TenantError, Write, calls};

/// Why a call was not processed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessingError {
    /// The tenant could not be opened.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its database did not answer.
    #[error(transparent)]
    Tenant(#[from] TenantError),
}

/// Writes a call's summary, once: what is known for certain, and no more than that. A call of nobody known leaves none.
pub async fn process_call(router: &Router, who: &Principal, call_sid: &str) -> Result<(), ProcessingError> {
    let db = router.open::<Write>(who).await?;
    let Some(call) = calls::ended(db.conn(), call_sid).await? else { return Ok(()) };
    calls::summarise(db.conn(), call_sid, &extract(call.duration_seconds)).await?;
    Ok(())
}

/// An extractive summary says only what is on record.
fn extract(duration_seconds: Option<i32>) -> String {
    match duration_seconds {
        Some(seconds) => format!("A call of {seconds} seconds. What was said is not on record."),
        None => "A call. What was said is not on record.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::extract;

    #[test]
    fn a_summary_says_what_is_known_and_that_the_rest_is_not() {
        assert_eq!(extract(Some(42)), "A call of 42 seconds. What was said is not on record.");
        assert_eq!(extract(None), "A call. What was said is not on record.");
    }
}
