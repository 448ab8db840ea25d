//! The API against its own description: requests made up by schemathesis, and the examples as a reader would paste them.
//!
//! Not asked of the generator: that whatever fits a schema is accepted. People write numbers in many ways, and no schema says which
//! of them the tenant's region has.
//!
//! Red when a handler answers with a field that the description does not know to be so (`"content": 1`), or when an example is
//! misspelt.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::Value;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::http::openapi;

use crate::support::{Service, answer, world};

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,missing_required_header,unsupported_method,ignored_auth";

#[test]
fn no_made_up_request_gets_an_undocumented_answer() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let server = w.server();
        let token = w.token(tenant, Scope::ALL).await;
        let python =
            std::env::var("STROWGER_TEST_PYTHON").expect("run the tests with ./test: it installs schemathesis");
        let ran = Command::new(Path::new(&python).with_file_name("schemathesis"))
            .args(["run", &format!("{}/openapi.json", server.base_url), "--checks", CHECKS])
            .args(["--header", &format!("Authorization: Bearer {token}"), "--max-examples", "20", "--seed", "1891"])
            .args(["--warnings", "off", "--no-shrink", "--continue-on-failure"])
            .current_dir(std::env::temp_dir())
            .output()
            .expect("schemathesis");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    });
}

/// Who is called about in the examples.
const CALLER: &str = "%2B15551234567";
/// A memory, a question and a scenario that are there before anything is pasted, all under one id.
const ITEM: &str = "11111111-1111-4111-8111-111111111111";

/// What a reader would paste.
struct Pasted {
    method: Method,
    path: String,
    body: Option<&'static Value>,
}

impl Pasted {
    fn read(path: &str, method: &str, operation: &'static Value) -> Self {
        let mut filled = path.replace("{company_id}", "1").replace("{id}", ITEM).replace("{n}", "1");
        for person in ["{user_id}", "{phone}"] {
            filled = filled.replace(person, CALLER);
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        if parameters.clone().any(|of| of["in"] == "query" && of["name"] == "user_id" && of["required"] == true) {
            filled += &format!("?user_id={CALLER}");
        }
        let body = operation.pointer("/requestBody/content/application~1json/example");
        assert!(body.is_some() || operation.get("requestBody").is_none(), "{method} {path}: a body has an example");
        Self { method: method.to_uppercase().parse().unwrap(), path: filled, body }
    }
}

/// Every operation but Twilio's, which are signed. What deletes comes last.
fn all_pasted() -> Vec<Pasted> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter().filter(|(_, operation)| operation["responses"].is_object());
        operations.map(move |(method, operation)| (path, method, operation))
    });
    let signed = |operation: &Value| operation.pointer("/security/0/twilio").is_some();
    let mut all: Vec<_> = operations
        .filter(|(_, _, operation)| !signed(operation))
        .map(|(path, method, operation)| Pasted::read(path, method, operation))
        .collect();
    all.sort_by_key(|pasted| pasted.method == Method::DELETE);
    all
}

/// Turns red when an example's field is misspelt, and when a path of the description is not one that is served.
#[test]
fn every_operation_works_when_pasted() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        assert_eq!(tenant.get(), 1, "the examples are customer 1's");
        let rows = format!(
            "insert into memories (id, user_id, content) values ('{ITEM}', '+15551234567', 'Has two cars.');
             insert into caller_profiles (user_id, name) values ('+15551234567', 'John Smith');
             insert into knowledge (id, question, answer) values ('{ITEM}', 'Do you mend clocks?', 'We do.');
             insert into scenarios (id, key, name, phrases, replies)
             values ('{ITEM}', 'clocks', 'Clocks', array['my clock stands still'], array['Bring it.'])"
        );
        w.as_tenant(tenant).await.batch_execute(&rows).await.unwrap();
        let server = w.server();
        let service = Service { server: &server, token: w.token(tenant, Scope::ALL).await };
        let all = all_pasted();
        assert!(all.len() >= 38, "{} operations", all.len());
        for Pasted { method, path, body } in all {
            let mut request = service.request(method.clone(), &path);
            if let Some(body) = body {
                request = request.json(body);
            }
            let found = answer(request).await;
            assert!((200..300).contains(&found.status), "{method} {path}: {found:?}");
        }
    });
}
