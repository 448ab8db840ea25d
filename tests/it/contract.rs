//! The API against its own description: requests made up by schemathesis, and the examples as a reader would paste them.
//!
//! Not asked of the generator: that whatever fits a schema is accepted. People write numbers in many ways, and no schema says which
//! of them the tenant's region has.
//!
//! Red when a handler answers with a field that the description does not know to be so (`"content": 1`), or when an example is
//! misspelt.

use std::path::Path;
use std::process::Command;

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

/// Every operation with an example body and nothing else to fill in but whose it is.
fn examples() -> impl Iterator<Item = (String, reqwest::Method, &'static Value)> {
    let paths = openapi::document()["paths"].as_object().unwrap();
    let paths = paths.iter().map(|(path, item)| (path.replace("{company_id}", "1"), item));
    paths.filter(|(path, _)| !path.contains('{')).flat_map(|(path, item)| {
        item.as_object().unwrap().iter().filter_map(move |(method, operation)| {
            let example = operation.pointer("/requestBody/content/application~1json/example")?;
            Some((path.clone(), method.to_uppercase().parse().unwrap(), example))
        })
    })
}

#[test]
fn examples_work_when_pasted() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        assert_eq!(tenant.get(), 1, "the examples are customer 1's");
        let server = w.server();
        let service = Service { server: &server, token: w.token(tenant, Scope::ALL).await };
        let mut tried = 0;
        for (path, method, example) in examples() {
            let found = answer(service.request(method.clone(), &path).json(example)).await;
            assert!((200..300).contains(&found.status), "{method} {path}: {found:?}");
            tried += 1;
        }
        assert!(tried >= 9, "{tried} examples");
    });
}
