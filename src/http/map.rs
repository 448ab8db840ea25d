//! The URL map, grouped by who calls.
//!
//! Routes are added in one way only, [`Map`]'s methods, which note each in a list as they add it: what is listed and what is
//! served cannot differ. The scope of a tenant's route is read off its handler's type.

use std::time::Duration;

use axum::Router as Axum;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use tower::util::MapRequestLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};

use super::body::BODY_LIMIT_BYTES;
use super::error::Problem;
use super::extract::{Answering, Authorized, Input, Right};
use super::{State, callers, calls, company, config, context, health, memories, openapi, profiles, unread, voice};
use crate::auth::Scope;

/// How long a request may take in all. Whoever is slow by then is not the client: its body has a shorter time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Open,
    /// A provider whose signature holds.
    Webhook,
    /// A service token with this scope.
    Token(Scope),
}

/// One route as it is served.
#[derive(Debug, Clone)]
pub struct RouteRow {
    /// The method.
    pub method: Method,
    /// The path with its placeholders.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
}

#[rustfmt::skip]
fn url_map() -> Map {
    Map::default()
        // Whoever watches the process.
        .open("/healthz", health::alive)
        .open("/readyz", health::ready)
        // Whoever programs against it.
        .open("/openapi.json", openapi::json)
        .open("/docs", openapi::page)
        // Twilio.
        .webhook("/call/incoming", voice::incoming)
        .webhook("/api/twilio/voice", voice::incoming)
        .webhook("/call/turn", voice::turn)
        .webhook("/call/status", voice::status)
        // Services of the platform, with a tenant's token.
        .tenant(Method::POST,   "/memory/store", memories::legacy_store)
        .tenant(Method::POST,   "/memory/retrieve", memories::legacy_retrieve)
        .tenant(Method::GET,    "/v1/memories", memories::list)
        .tenant(Method::POST,   "/v1/memories", memories::create)
        .tenant(Method::POST,   "/v1/memories/search", memories::search)
        .tenant(Method::GET,    "/v1/memories/user/{user_id}", memories::list_of_user)
        .tenant(Method::GET,    "/v1/memories/{id}", memories::read)
        .tenant(Method::DELETE, "/v1/memories/{id}", memories::delete)
        .tenant(Method::GET,    "/v2/context/enriched", context::by_query)
        .tenant(Method::POST,   "/v2/context/enriched", context::by_body)
        .tenant(Method::GET,    "/v2/profile/{user_id}", profiles::read)
        .tenant(Method::PUT,    "/v2/profile/{user_id}", profiles::replace)
        .tenant(Method::GET,    "/caller/profile/{phone}", profiles::read)
        .tenant(Method::GET,    "/v1/config", config::read)
        .tenant(Method::PUT,    "/v1/config", config::replace)
        .tenant(Method::PATCH,  "/v1/config", config::patch)
        .tenant(Method::GET,    "/v1/config/versions", config::versions)
        .tenant(Method::GET,    "/v1/config/versions/{n}", config::version)
        .tenant(Method::POST,   "/v1/config/versions/{n}/restore", config::restore)
        .tenant(Method::POST,   "/v2/process-call", calls::process)
        .tenant(Method::GET,    "/v2/summaries/{user_id}", calls::summaries)
        .tenant(Method::GET,    "/v2/personality/{user_id}", calls::personality)
        .tenant(Method::GET,    "/v1/callers", callers::list)
        .tenant(Method::GET,    "/v1/callers/{user_id}/export", callers::export)
        .tenant(Method::DELETE, "/v1/callers/{user_id}", callers::erase)
        // The platform's screens for a business.
        .tenant(Method::GET,    "/api/company/{company_id}/configuration", company::configuration::read)
        .tenant(Method::PATCH,  "/api/company/{company_id}/configuration/variables", company::configuration::set_variables)
        .tenant(Method::POST,   "/api/company/{company_id}/configuration/sync", company::sync::take)
        .tenant(Method::GET,    "/api/company/{company_id}/configuration/sync/preview", company::sync::preview)
        .answering(Method::GET, "/api/company/{company_id}/readiness", company::configuration::readiness)
        .tenant(Method::GET,    "/api/company/{company_id}/knowledge-management", company::knowledge::list)
        .tenant(Method::POST,   "/api/company/{company_id}/knowledge-management", company::knowledge::create)
        .tenant(Method::GET,    "/api/company/{company_id}/knowledge-management/{id}", company::knowledge::read)
        .tenant(Method::PUT,    "/api/company/{company_id}/knowledge-management/{id}", company::knowledge::replace)
        .tenant(Method::DELETE, "/api/company/{company_id}/knowledge-management/{id}", company::knowledge::delete)
        .tenant(Method::GET,    "/api/company/{company_id}/scenarios", company::scenarios::list)
        .tenant(Method::GET,    "/api/company/{company_id}/scenarios/{id}", company::scenarios::read)
        .tenant(Method::PUT,    "/api/company/{company_id}/scenarios/{id}", company::scenarios::replace)
        .tenant(Method::DELETE, "/api/company/{company_id}/scenarios/{id}", company::scenarios::delete)
        .answering(Method::POST, "/api/company/{company_id}/match", company::knowledge::try_out)
}

/// Routes and the list of them, grown together.
#[derive(Default)]
struct Map {
    axum: Axum<State>,
    rows: Vec<RouteRow>,
}

impl Map {
    fn open<H: Handler<T, State>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::GET, path, Access::Open, handler)
    }

    fn webhook<H: Handler<T, State>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::POST, path, Access::Webhook, handler)
    }

    fn tenant<R, In, F, Fut>(self, method: Method, path: &'static str, handler: F) -> Self
    where
        R: Right,
        In: Input,
        F: Fn(Authorized<R, In>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let guarded = async move |call: Authorized<R, In>| handler(call).await;
        self.add(method, path, Access::Token(R::SCOPE), guarded)
    }

    /// A tenant's route whose handler uses what the process keeps.
    fn answering<R, In, F, Fut>(self, method: Method, path: &'static str, handler: F) -> Self
    where
        R: Right,
        In: Input,
        F: Fn(Answering<R, In>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let guarded = async move |call: Answering<R, In>| handler(call).await;
        self.add(method, path, Access::Token(R::SCOPE), guarded)
    }

    fn add<H: Handler<T, State>, T: 'static>(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        // Only methods that axum knows are written above.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        self.axum = self.axum.route(path, on(filter, handler));
        self.rows.push(RouteRow { method, path, access });
        self
    }
}

/// All routes that [`app`] serves.
pub fn routes() -> Vec<RouteRow> {
    url_map().rows
}

/// The application, ready to be served.
pub fn app(state: State) -> Axum {
    let id = HeaderName::from_static("x-request-id");
    url_map()
        .axum
        .fallback(async || Problem::not_found().into_response())
        .method_not_allowed_fallback(async || Problem::method_not_allowed().into_response())
        // One layer of the two: each of its own costs every request some allocations.
        .layer((MapRequestLayer::new(unread::read_to_its_end), DefaultBodyLimit::max(BODY_LIMIT_BYTES)))
        .layer(middleware::from_fn(deadline))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::internal("a handler panicked").into_response()
        }))
        .layer(middleware::from_fn(super::health::log))
        .layer(PropagateRequestIdLayer::new(id.clone()))
        .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
        // An id of the client's own making would stand in our log with whatever it says.
        .layer(middleware::map_request(move |mut request: axum::extract::Request| {
            request.headers_mut().remove(&id);
            std::future::ready(request)
        }))
        .with_state(state)
}

async fn deadline(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "This took too long. Try again.")
            .into_response(),
    }
}
