//! What Twilio's answers come to: what was asked for, or why not.

use http::StatusCode;
use serde::Deserialize;

use crate::providers::http::{Answer, HttpError};

/// The longest text of Twilio's that is kept, in characters.
const LONGEST_MESSAGE: usize = 300;

/// Why Twilio has not done it, or not said so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TwilioError {
    /// The call itself failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Twilio said no.
    #[error("Twilio answered {}{}", .status.as_u16(), .code.map(|code| format!(" (error {code})")).unwrap_or_default())]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its number for what is wrong; <https://www.twilio.com/docs/errors> explains each.
        code: Option<u32>,
        /// What it says of it, for the operator and never for a log.
        message: String,
    },
    /// The answer is not one of this API.
    #[error("Twilio answered something else than {0}")]
    Garbage(&'static str),
    /// The token or the base URL cannot be sent.
    #[error("the {0} cannot stand in a request to Twilio")]
    Unsendable(&'static str),
}

impl TwilioError {
    /// Whether Twilio may have done nevertheless what it was asked for.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Http(error) => *error != HttpError::Unreachable,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Garbage(_) => true,
            Self::Unsendable(_) => false,
        }
    }

    /// Whether the same request may do better later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Http(_) => true,
            Self::Refused { status, .. } => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
            Self::Garbage(_) | Self::Unsendable(_) => false,
        }
    }

    /// Twilio's number for what is wrong.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }
}

pub(super) fn accepted(answer: Answer) -> Result<Answer, TwilioError> {
    if answer.status.is_success() { Ok(answer) } else { Err(refusal(answer.status, &answer.body)) }
}

/// What Twilio says of a refusal. Whatever stands in its way there may answer in other words.
fn refusal(status: StatusCode, body: &[u8]) -> TwilioError {
    let Told { code, message } = serde_json::from_slice(body).unwrap_or_default();
    let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    TwilioError::Refused { status, code, message: printable.take(LONGEST_MESSAGE).collect() }
}

pub(super) fn read<T: for<'a> Deserialize<'a>>(answer: &Answer) -> Result<T, TwilioError> {
    serde_json::from_slice(&answer.body).map_err(|_| TwilioError::Garbage("JSON of this API"))
}

#[derive(Default, Deserialize)]
struct Told {
    code: Option<u32>,
    #[serde(default)]
    message: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_may_have_happened_is_told_from_what_has_not() {
        let refused = |status: u16| refusal(StatusCode::from_u16(status).unwrap(), b"");
        for lost in [HttpError::TimedOut.into(), HttpError::Broken.into(), refused(502), TwilioError::Garbage("x")] {
            assert!(lost.may_have_happened(), "{lost}");
        }
        for not in [HttpError::Unreachable.into(), refused(400), refused(429), TwilioError::Unsendable("x")] {
            assert!(!not.may_have_happened(), "{not}");
        }
        assert!(refused(429).may_pass() && refused(500).may_pass() && !refused(404).may_pass());
    }

    #[test]
    fn twilios_words_are_kept_and_not_displayed() {
        let body = br#"{"code": 21422, "message": "+15005550000\nis gone", "more_info": "x", "status": 400}"#;
        let error = refusal(StatusCode::BAD_REQUEST, body);
        assert_eq!(error.to_string(), "Twilio answered 400 (error 21422)");
        assert!(matches!(error, TwilioError::Refused { message, .. } if message == "+15005550000 is gone"));
    }

    proptest! {
        #[test]
        fn whatever_refuses_is_understood_as_a_refusal(status in 400u16..600, body: Vec<u8>, message: String) {
            let status = StatusCode::from_u16(status).unwrap();
            prop_assert!(matches!(refusal(status, &body), TwilioError::Refused { .. }), "not a refusal");
            let told = serde_json::to_vec(&serde_json::json!({ "code": 7, "message": message })).unwrap();
            let TwilioError::Refused { code, message, .. } = refusal(status, &told) else { panic!() };
            prop_assert!(code == Some(7) && message.chars().count() <= LONGEST_MESSAGE && !message.contains(char::is_control));
        }
    }
}
