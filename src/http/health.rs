//! Is the process alive, and can it serve? And the log line of every request.

use axum::Json;
use axum::extract::{MatchedPath, Request, State as Extract};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use serde_json::json;
use tower_http::request_id::RequestId;

use super::State;
use crate::clock::Clock;
use crate::control::installation;

/// The process runs. Says nothing of any database.
pub(super) async fn alive() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

/// New tenants can be served. While the control database is away warm ones still are, so this is for load balancers that
/// have another instance to turn to.
pub(super) async fn ready(Extract(state): Extract<State>) -> Response {
    match installation::is_serving(state.directory.control()).await {
        Ok(true) => Json(json!({ "status": "ready" })).into_response(),
        Ok(false) => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "reconciling" }))).into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "control_unavailable" }))).into_response()
        }
    }
}

/// One line a request: the path's pattern, never the path or query, which hold callers' numbers.
pub(super) async fn log(request: Request, next: Next) -> Response {
    let clock = Clock::system();
    // A method that HTTP does not know is any word at all.
    let method = Some(request.method().clone()).filter(|method| MethodFilter::try_from(method.clone()).is_ok());
    let path = request.extensions().get::<MatchedPath>().map_or_else(|| "-".to_owned(), |p| p.as_str().to_owned());
    let id = request
        .extensions()
        .get::<RequestId>()
        .and_then(|id| id.header_value().to_str().ok())
        .unwrap_or("-")
        .to_owned();
    let response = next.run(request).await;
    let duration_ms = (clock.elapsed().as_secs_f64() * 100_000.0).round() / 100.0;
    let method = method.as_ref().map_or("-", Method::as_str);
    tracing::info!(method, path, status = response.status().as_u16(), duration_ms, request.id = id, "request");
    response
}
