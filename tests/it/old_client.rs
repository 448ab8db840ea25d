//! Existing clients unchanged: a client of the platforms that were replaced, in Python, against a real server.

use std::process::Command;

use strowger::auth::Scope;
use strowger::control::clusters::Isolation;

use crate::support::world;

/// What the old services sign their tokens with.
const SECRET: &str = "a secret that the old services share, 32 bytes or more";

#[test]
fn a_client_of_the_old_platforms_finds_nothing_changed() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await.id;
        let two = w.tenant("Two", Isolation::Database).await.id;
        let server = w.server();
        let python = std::env::var("STROWGER_TEST_PYTHON").expect("run the tests with ./test: it installs requests");
        let bound = ["key", "add", "crm", "--legacy", "--tenant", &one.to_string()];
        assert_eq!(w.ctl_with(&bound, SECRET).code, Some(0));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/old_client.py");
        let ran = Command::new(python)
            .args([script, &server.base_url, &one.to_string()])
            .args([w.token(one, Scope::ALL).await, w.token(two, Scope::ALL).await, SECRET.to_owned()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(said.trim(), "\"unchanged\"", "{}", String::from_utf8_lossy(&ran.stderr));
    });
}
