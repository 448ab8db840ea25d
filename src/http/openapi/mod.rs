//! What the API is, as OpenAPI 3.1 and as a page for people.
//!
//! One file a domain lies beside this one; together they are the document. Tests hold it to the served routes, both ways,
//! and to their scopes, and a generator of requests is run against it: what is not in it is not answered.

mod page;

use std::sync::LazyLock;

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

/// The first holds what the others refer to.
const PARTS: &[&str] = &[
    include_str!("base.json"),
    include_str!("health.json"),
    include_str!("twilio.json"),
    include_str!("memories.json"),
    include_str!("context.json"),
    include_str!("profiles.json"),
    include_str!("config.json"),
    include_str!("companies.json"),
    include_str!("calls.json"),
    include_str!("callers.json"),
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = Value::Null;
    // That each part is JSON, a test says.
    PARTS.iter().filter_map(|part| serde_json::from_str(part).ok()).for_each(|part| merge(&mut document, part));
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    document
});

static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&DOCUMENT));

/// The whole document.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// Objects are merged, anything else is replaced.
fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (name, value) in part {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}

/// `GET /openapi.json`.
pub(super) async fn json() -> Response {
    Json(&*DOCUMENT).into_response()
}

/// `GET /docs`. The page has no script, and may load nothing.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::http::{Access, routes};

    #[test]
    fn every_part_is_json_and_none_hides_what_another_says() {
        let mut seen = HashSet::new();
        for part in PARTS {
            let part: Value = serde_json::from_str(part).unwrap();
            let components = part["components"].as_object().into_iter().flatten();
            let named =
                components.flat_map(|(kind, all)| all.as_object().unwrap().keys().map(move |k| format!("{kind}/{k}")));
            let paths = part["paths"].as_object().into_iter().flatten().map(|(path, _)| path.clone());
            for name in named.chain(paths) {
                assert!(seen.insert(name.clone()), "{name} is described twice");
            }
        }
    }

    #[test]
    fn what_is_served_is_described_and_the_other_way_round() {
        let served: HashSet<_> =
            routes().into_iter().map(|r| (r.method.as_str().to_lowercase(), r.path.to_owned())).collect();
        let described: HashSet<_> = DOCUMENT["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone())))
            .filter(|(method, _)| method != "parameters")
            .collect();
        assert_eq!(served, described);
    }

    #[test]
    fn each_operation_names_the_scope_that_its_route_demands() {
        let mut ids = HashSet::new();
        for route in routes() {
            let operation = &DOCUMENT["paths"][route.path][route.method.as_str().to_lowercase()];
            let security = match route.access {
                Access::Open => Value::Null,
                Access::Webhook => serde_json::json!([{ "twilio": [] }]),
                Access::Token(scope) => serde_json::json!([{ "token": [scope.as_str()] }]),
            };
            assert_eq!(operation["security"], security, "{} {}", route.method, route.path);
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{} {}", route.method, route.path);
        }
    }

    /// Every `$ref`, wherever it stands, leads somewhere.
    #[test]
    fn references_lead_somewhere() {
        fn walk(value: &Value) {
            if let Some(target) = value["$ref"].as_str() {
                assert!(DOCUMENT.pointer(target.trim_start_matches('#')).is_some(), "{target}");
            }
            match value {
                Value::Object(all) => all.values().for_each(walk),
                Value::Array(all) => all.iter().for_each(walk),
                _ => {}
            }
        }
        walk(&DOCUMENT);
    }
}
