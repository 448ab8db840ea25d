//! Reads a request's parts, answering whatever is wrong with them by name.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::Problem;

/// The largest body that is read.
pub(super) const BODY_LIMIT_BYTES: usize = 1024 * 1024;
/// How long a client may take to send a body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The body, within the limits of size and time.
pub(super) async fn bytes(request: Request) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let read =
        read.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The body took too long to arrive."))?;
    read.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is larger than 1 MiB.")
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "unreadable", "The body could not be read."),
    })
}

/// The body as a JSON object.
pub(super) async fn json(request: Request) -> Result<Value, Problem> {
    if !has_type(request.headers(), "application/json") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "Send application/json."));
    }
    let bytes = bytes(request).await?;
    match serde_json::from_slice(&bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "not_an_object", "The body must be a JSON object.")),
        // The parser's message gives a line and a column, and none of the content.
        Err(error) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("The body is not JSON: {error}.")))
        }
    }
}

/// A JSON value as the type a handler takes.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value).map_err(|error| Problem::invalid(format!("The body does not fit: {error}.")))
}

pub(super) fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
