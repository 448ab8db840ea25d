//! The row of each route: a request that succeeds with the right credential.

use serde_json::{Value, json};
use strowger::http::RouteRow;
use strowger::id::TenantId;

use crate::support::Account;

pub(super) const CALLER: &str = "+15550001111";
pub(super) const MEMORY: &str = "11111111-1111-4111-8111-111111111111";
pub(super) const QUESTION: &str = "22222222-2222-4222-8222-222222222222";
pub(super) const SCENARIO: &str = "33333333-3333-4333-8333-333333333333";
pub(super) const DIALLED: &str = "+18005550111";

/// A request that succeeds with the right credential.
pub(super) struct Valid {
    pub(super) path: String,
    pub(super) body: Body,
    pub(super) status: u16,
    /// The answer holds the tenant's own word: where another tenant's would be seen too.
    pub(super) shows: bool,
}

pub(super) enum Body {
    None,
    Json(Value),
    Form(Vec<(String, String)>),
}

/// The row of a route, as `customer` sends it.
pub(super) fn valid(route: &RouteRow, customer: TenantId, account: &Account) -> Valid {
    let get = |path: &str, shows| Valid { path: path.into(), body: Body::None, status: 200, shows };
    let post = |status, shows, mut body: Value| {
        body["customer_id"] = json!(customer);
        Valid { path: route.path.into(), body: Body::Json(body), status, shows }
    };
    let call = || Valid {
        path: route.path.into(),
        body: Body::Form(account.call(CALLER, DIALLED)),
        status: 200,
        shows: false,
    };
    match (route.method.as_str(), route.path) {
        ("POST", "/call/turn") => Valid { path: "/call/turn?turn=1".into(), ..call() },
        ("GET", "/healthz" | "/readyz" | "/openapi.json" | "/docs" | "/v1/config" | "/v1/config/versions") => {
            get(route.path, false)
        }
        ("POST", "/call/incoming" | "/api/twilio/voice" | "/call/status") => call(),
        ("POST", "/memory/store") => post(200, false, json!({ "user_id": CALLER, "content": "x" })),
        ("POST", "/memory/retrieve") => post(200, true, json!({ "user_id": CALLER, "query": "story" })),
        ("GET", "/v1/memories") => get("/v1/memories?user_id=%2B15550001111", true),
        ("POST", "/v1/memories") => post(201, false, json!({ "user_id": CALLER, "content": "x" })),
        ("POST", "/v1/memories/search") => post(200, true, json!({ "query": "story" })),
        ("GET", "/v1/memories/user/{user_id}") => get("/v1/memories/user/%2B15550001111", true),
        ("GET", "/v1/memories/{id}") => get(&format!("/v1/memories/{MEMORY}"), true),
        ("DELETE", "/v1/memories/{id}") => Valid { status: 204, ..get(&format!("/v1/memories/{MEMORY}"), false) },
        ("GET", "/v2/context/enriched") => get("/v2/context/enriched?user_id=%2B15550001111", true),
        ("GET", "/v1/callers") => get("/v1/callers", true),
        ("GET", "/v1/callers/{user_id}/export") => get("/v1/callers/%2B15550001111/export", true),
        ("DELETE", "/v1/callers/{user_id}") => get("/v1/callers/%2B15550001111", false),
        ("GET", "/v2/summaries/{user_id}") => get("/v2/summaries/%2B15550001111", true),
        ("GET", "/v2/personality/{user_id}") => get("/v2/personality/%2B15550001111", false),
        ("POST", "/v2/process-call") => {
            let thread = format!("customer_{customer}_user_15550001111");
            let history = json!([{ "role": "user", "content": "Hello." }]);
            post(200, false, json!({ "user_id": CALLER, "thread_id": thread, "conversation_history": history }))
        }
        ("POST", "/v2/context/enriched") => post(200, true, json!({ "user_id": CALLER })),
        ("GET", "/v2/profile/{user_id}") => get("/v2/profile/%2B15550001111", true),
        ("PUT", "/v2/profile/{user_id}") => {
            Valid { path: "/v2/profile/%2B15550001111".into(), ..post(200, false, json!({ "name": "x" })) }
        }
        ("GET", "/caller/profile/{phone}") => get("/caller/profile/%2B15550001111", true),
        ("PUT" | "PATCH", "/v1/config") => post(200, false, json!({ "agent_name": "x" })),
        ("GET", "/v1/config/versions/{n}") => get("/v1/config/versions/1", false),
        ("POST", "/v1/config/versions/{n}/restore") => get("/v1/config/versions/1/restore", false),
        (method, path) if path.starts_with("/api/company/") => of_company(method, path, customer),
        (method, path) => panic!("{method} {path} has no row here: add a request that succeeds"),
    }
}

/// The rows of the routes whose path names the customer.
fn of_company(method: &str, route: &str, customer: TenantId) -> Valid {
    let item = if route.contains("/scenarios/") { SCENARIO } else { QUESTION };
    let path = route.replace("{company_id}", &customer.to_string()).replace("{id}", item);
    let get = |shows| Valid { path: path.clone(), body: Body::None, status: 200, shows };
    let with = |status, shows, mut body: Value| {
        body["customer_id"] = json!(customer);
        Valid { path: path.clone(), body: Body::Json(body), status, shows }
    };
    let question = json!({ "question": "When are you open?", "answer": "x" });
    match (method, route.trim_start_matches("/api/company/{company_id}/")) {
        ("GET", "readiness" | "configuration/sync/preview") => get(false),
        ("POST", "configuration/sync") => with(200, false, json!({ "templateId": "universal" })),
        ("GET", _) => get(true),
        ("PATCH", "configuration/variables") => with(200, true, json!({ "servicecallprice": "150" })),
        ("POST", "knowledge-management") => with(201, false, question),
        ("PUT", "knowledge-management/{id}") => with(200, false, question),
        ("DELETE", "knowledge-management/{id}" | "scenarios/{id}") => Valid { status: 204, ..get(false) },
        ("PUT", "scenarios/{id}") => with(200, false, json!({ "name": "x", "phrases": ["x"], "replies": ["x"] })),
        ("POST", "match") => with(200, true, json!({ "text": "When are you open?" })),
        (method, path) => panic!("{method} {path} has no row here: add a request that succeeds"),
    }
}
