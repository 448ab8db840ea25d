//! The router's gate: which schema versions a server serves.

use serde_json::Value;
use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::schema;

use crate::failures::ward::{Answer, Ward, refused};
use crate::support::{World, world};

async fn say_version(w: &World, ward: &Ward, version: i32) {
    let control = w.superuser("control", &w.prefix.name("control")).await;
    let sql = "update placements set schema_version = $2, generation = generation + 1 where tenant_id = $1";
    control.execute(sql, &[&ward.tenant.id.get(), &version]).await.unwrap();
}

/// Turns red without the comparison in `Router::admitted`, or when a changed version is not announced.
#[test]
fn only_versions_that_the_server_understands_are_served() {
    world(async |w| {
        let neighbour = Ward::new(&w, "Next door", Schema).await;
        for (name, isolation) in [("A schema", Schema), ("A database", Database)] {
            let ward = Ward::new(&w, name, isolation).await;
            assert_eq!(ward.tenant.schema_version, schema::MAX, "a new tenant gets what this build makes");
            let (server, newer) = (w.server(), w.server_with(&["--schema-max", &(schema::MAX + 1).to_string()]));
            assert_eq!(ward.ask(&server).await, Answer::Own);
            let next_door = neighbour.constant_client(&server, false);
            for version in [schema::MIN - 1, schema::MAX + 1] {
                say_version(&w, &ward, version).await;
                ward.comes_to(&server, &refused("schema_version_unsupported"), "another version").await;
                let problem: Value = ward.request(&server).send().await.unwrap().json().await.unwrap();
                let (min, max) = (schema::MIN, schema::MAX);
                let says = format!(
                    "This customer's schema is at version {version}; this server serves versions {min} to {max}."
                );
                assert_eq!(problem["detail"], says);
                if version < schema::MIN {
                    ward.comes_to(&newer, &refused("schema_version_unsupported"), "nobody serves what is too old")
                        .await;
                } else {
                    ward.comes_to(&newer, &Answer::Own, "a server that was told so serves it").await;
                }
                say_version(&w, &ward, schema::MAX).await;
                ward.comes_to(&server, &Answer::Own, "back").await;
            }
            next_door.stop().await;
        }
    });
}
