//! The one place that knows status codes. What is shown and what is logged are separate texts.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::configuration::NotChanged;
use crate::app::playbooks::NotTaken;
use crate::app::processing::ProcessingError;
use crate::app::promises::PromiseError;
use crate::app::readiness::ReadinessError;
use crate::app::remembering::SearchError;
use crate::app::voice::CallError;
use crate::auth::AuthError;
use crate::directory::DirectoryError;
use crate::shape::Fault;
use crate::tenant::{OpenError, Refused, TenantError};

/// An error as a client sees it: `application/problem+json` (RFC 9457) with a stable `code`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after_s: Option<u32>,
    /// What is wrong with which field; empty unless that is known.
    errors: Vec<Fault>,
    /// Replaces the whole body on the routes whose clients expect an older shape.
    legacy: Option<Box<Value>>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after_s: None, errors: Vec::new(), legacy: None }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This address does not take that method.")
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// A document that does not fit, with each field that is wrong.
    pub(super) fn faults(errors: Vec<Fault>) -> Self {
        Self { errors, ..Self::invalid("The body does not fit: `errors` names each field.") }
    }

    pub(super) fn internal(internal: &str) -> Self {
        tracing::error!(error = internal, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
    }

    /// For the bodies of the systems replaced: status and body are fixed.
    pub(super) fn legacy(status: StatusCode, body: Value) -> Self {
        Self { legacy: Some(Box::new(body)), ..Self::new(status, "legacy", "") }
    }

    fn unavailable(code: &'static str, detail: &str, internal: &dyn std::fmt::Display) -> Self {
        tracing::warn!(code, error = %internal, "a request was refused");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { retry_after_s: Some(1), ..Self::new(status, code, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, detail, retry_after_s, errors, legacy } = self;
        if let Some(body) = legacy {
            return (status, Json(*body)).into_response();
        }
        let title = status.canonical_reason().unwrap_or("Error");
        let mut body =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": code, "detail": detail });
        if !errors.is_empty() {
            body["errors"] = json!(errors);
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "A bearer token is required."),
            AuthError::Invalid(why) => {
                tracing::info!(why, "a token was refused");
                Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "The bearer token is not valid.")
            }
            AuthError::Directory(error) => error.into(),
        }
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Control(_) => Self::unavailable(
                "control_unavailable",
                "The control database does not answer. Try again shortly.",
                &error,
            ),
            DirectoryError::Vault { .. } | DirectoryError::Template { .. } => Self::internal(&error.to_string()),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown(_) => Self::not_found(),
            Refused::Suspended(_) => {
                Self::new(StatusCode::FORBIDDEN, "tenant_suspended", "This customer is suspended.")
            }
            Refused::ReadOnly(_) => {
                Self::new(StatusCode::FORBIDDEN, "tenant_read_only", "This customer can only be read at the moment.")
            }
            Refused::Moving(_) => Self::unavailable(
                "tenant_moving",
                "This customer is moving and can only be read for the moment. Try again shortly.",
                &refused,
            ),
            Refused::NotReady(_) => Self::unavailable("tenant_not_ready", "This customer is not ready yet.", &refused),
            Refused::SchemaVersion { version, ref serves, .. } => {
                let (oldest, newest) = (serves.start(), serves.end());
                let detail = format!(
                    "This customer's schema is at version {version}; this server serves versions {oldest} to {newest}."
                );
                Self::unavailable("schema_version_unsupported", &detail, &refused)
            }
            Refused::Directory(error) => error.into(),
            Refused::Open { ref error, .. } => {
                let code = match error {
                    OpenError::Busy => "tenant_busy",
                    OpenError::Postgres(code) if code.code() == "53300" => "tenant_busy",
                    OpenError::Postgres(_) => "tenant_database_refused",
                    OpenError::Unreachable(_) => "tenant_database_unavailable",
                    OpenError::WrongIdentity(_) => "tenant_identity_mismatch",
                    OpenError::BadAuthority(_) => "cluster_misconfigured",
                };
                Self::unavailable(code, "The customer's database cannot be opened now. Try again shortly.", &refused)
            }
        }
    }
}

impl From<TenantError> for Problem {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::Unstorable(_) => {
                Self::invalid("A text holds a character that cannot be stored, or a value is out of range.")
            }
            TenantError::Refused(_) => Self::unavailable(
                "tenant_database_refused",
                "The customer's database refused. Try again shortly.",
                &error,
            ),
            TenantError::Lost(_) => Self::unavailable(
                "tenant_database_unavailable",
                "The customer's database went away. Try again.",
                &error,
            ),
            TenantError::TooSlow => {
                Self::unavailable("tenant_database_slow", "The customer's database took too long. Try again.", &error)
            }
            TenantError::Unexpected(_) => Self::internal(&error.to_string()),
        }
    }
}

impl From<PromiseError> for Problem {
    fn from(error: PromiseError) -> Self {
        match error {
            PromiseError::Refused(refused) => refused.into(),
            PromiseError::Tenant(error) => error.into(),
            PromiseError::Unknown => Self::internal("a promise could not be written down"),
        }
    }
}

impl From<ReadinessError> for Problem {
    fn from(error: ReadinessError) -> Self {
        match error {
            ReadinessError::Tenant(error) => error.into(),
            ReadinessError::Directory(error) => error.into(),
        }
    }
}

impl From<ProcessingError> for Problem {
    fn from(error: ProcessingError) -> Self {
        match error {
            ProcessingError::OtherCaller => {
                Self::new(StatusCode::CONFLICT, "other_caller", "call_sid: this call was another caller's.")
            }
            ProcessingError::Refused(refused) => refused.into(),
            ProcessingError::Tenant(error) => error.into(),
        }
    }
}

impl From<SearchError> for Problem {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Refused(refused) => refused.into(),
            SearchError::Tenant(error) => error.into(),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Field(_) => Self::new(StatusCode::BAD_REQUEST, "bad_webhook", error.to_string()),
            CallError::NoSuchNumber => Self::not_found(),
            CallError::Refused(refused) => refused.into(),
            CallError::Tenant(error) => error.into(),
            CallError::Promise(error) => error.into(),
        }
    }
}

impl From<NotTaken> for Problem {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Unknown => Self::new(StatusCode::NOT_FOUND, "no_such_template", "There is no such template."),
            NotTaken::Conflicts(all) => {
                let what = "was changed by you and in the template";
                let errors = all.into_iter().map(|conflict| Fault::new(conflict.place, what)).collect();
                let detail = "Nothing was changed: send `resolve` with \"theirs\" or \"mine\" for each place in `errors`. \
                              The preview shows what they say.";
                Self { errors, ..Self::new(StatusCode::CONFLICT, "conflicts", detail) }
            }
            NotTaken::Busy => {
                let detail = "The answers are being changed by somebody else. Try again.";
                Self { retry_after_s: Some(1), ..Self::new(StatusCode::CONFLICT, "busy", detail) }
            }
            NotTaken::Control(error) => DirectoryError::from(error).into(),
            NotTaken::Tenant(error) => error.into(),
        }
    }
}

impl From<NotChanged> for Problem {
    fn from(error: NotChanged) -> Self {
        match error {
            NotChanged::Invalid(faults) => Self::faults(faults),
            NotChanged::Stale => {
                let detail = "Another version is in force: read it, and send your change of that one.";
                Self::new(StatusCode::PRECONDITION_FAILED, "stale", detail)
            }
            NotChanged::Tenant(error) => error.into(),
        }
    }
}
