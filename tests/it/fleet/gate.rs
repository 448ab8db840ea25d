//! The router's gate: which schema versions a server serves.

use serde_json::Value;
use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::schema;

use super::rehearsal::{COLUMN, NEXT, folder, migrate};
use crate::failures::ward::{Answer, Ward, refused};
use crate::support::{World, until, world};

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

async fn sessions(ward: &Ward, instance: &str) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where usename = $1 and application_name = $2";
    let rows = ward.db.query(sql, &[&ward.tenant.login_role, &instance]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Servers of two builds serve the same fleet; then it is migrated while clients of the newer one go on, more of them than a
/// tenant has connections.
///
/// Turns red when a migration does not count the generation up (the old sessions stay), or when a request that waits for a
/// connection of a pool that is being replaced is refused.
#[test]
fn servers_of_two_builds_serve_together_and_pools_are_replaced_under_load() {
    world(async |w| {
        let (one, two) = (Ward::new(&w, "One", Schema).await, Ward::new(&w, "Two", Database).await);
        let (older, newer) = (
            w.server_with(&["--instance", "older"]),
            w.server_with(&["--instance", "newer", "--schema-max", &NEXT.to_string()]),
        );
        let before: Vec<_> = [&one, &two].map(|ward| ward.constant_client(&older, false)).into();
        let clients: Vec<_> =
            (0..12).flat_map(|_| [&one, &two].map(|ward| ward.constant_client(&newer, false))).collect();
        for ward in [&one, &two] {
            assert_eq!((ward.ask(&older).await, ward.ask(&newer).await), (Answer::Own, Answer::Own), "both serve");
        }
        for client in before {
            client.stop().await;
        }
        let stale = [sessions(&one, "newer").await, sessions(&two, "newer").await].concat();
        assert!(stale.len() > 2, "the control: there are pools to replace");

        migrate(&w, "run", &folder(&w, &[COLUMN]), &["--lock-timeout", "5000"]).json();
        until("sessions of the old version are gone", async || {
            let now = [sessions(&one, "newer").await, sessions(&two, "newer").await].concat();
            !now.is_empty() && now.iter().all(|pid| !stale.contains(pid))
        })
        .await;
        for ward in [&one, &two] {
            ward.comes_to(&older, &refused("schema_version_unsupported"), "the older build knows its limits").await;
            assert_eq!(ward.ask(&newer).await, Answer::Own);
        }
        for client in clients {
            client.stop().await;
        }
        newer.assert_calm(24).await;
    });
}
