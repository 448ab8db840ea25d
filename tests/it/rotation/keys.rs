//! The key that signs tokens, and the one that wraps data keys.

use serde_json::json;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;

use super::token;
use crate::jobs::worker;
use crate::support::load::Load;
use crate::support::{World, until, world};

/// Turns red when the old key is retired at once, and when the worker does not retire it when its time has come.
#[test]
fn the_signing_key_is_rotated_and_no_request_fails() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await;
        let servers = [w.server(), w.server()];
        let tokens = [token(&w, &one).await, token(&w, &one).await];
        let old = w.token(one.id, &[Scope::ReadMemories]).await;
        let load = Load::begin(&servers.each_ref(), &tokens, 3);
        let _worker = worker(&w);
        load.goes_on(100).await;

        let rotated = w.ctl(&["rotate", "signing-key", "--overlap", "2h"]).json();
        assert_eq!((&rotated["kid"], &rotated["retiring"]), (&json!("ed-2"), &json!("ed-1")));
        assert_eq!(w.ctl(&["rotate", "signing-key", "--kid", "ed-2"]).json()["retiring"], json!(null), "run again");
        load.goes_on(100).await;
        let services = ["read:memories write:memories"; 2].map(|scope| {
            w.ctl(&["token", "mint", "--tenant", &one.id.to_string(), "--scope", scope]).stdout.trim().to_owned()
        });
        for (token, new) in tokens.iter().zip(services) {
            token.replace(new);
        }
        load.goes_on(100).await;
        for server in &servers {
            let answer = server.get("/v1/memories").bearer_auth(&old).send().await.unwrap();
            assert_eq!(answer.status(), 200, "the old key verifies until the overlap is over");
        }

        // The overlap is over.
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let sql = "update jobs set not_before = now() where kind = 'retire-key' and state = 'queued' and attempts = 0
                   and not_before > now() + interval '115 minutes' and deadline > not_before + interval '23 hours'";
        assert_eq!(control.execute(sql, &[]).await.unwrap(), 1);
        let done = "select state = 'done' from jobs where kind = 'retire-key'";
        until("the worker retires the key", async || control.query_one(done, &[]).await.unwrap().get(0)).await;
        for server in &servers {
            let answer = server.get("/v1/memories").bearer_auth(&old).send().await.unwrap();
            assert_eq!(answer.status(), 401, "and is refused on every server afterwards");
        }
        load.goes_on(100).await;
        load.end("rotate signing-key").await;
    });
}

/// Turns red when taking a retirement back is refused.
#[test]
fn a_retirement_that_is_cancelled_leaves_the_key_in_use() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id.to_string();
        w.ctl(&["token", "mint", "--tenant", &tenant, "--scope", "read:memories", "--ttl", "2d"]);
        let rotated = w.ctl(&["rotate", "signing-key", "--overlap", "1d"]);
        assert!(rotated.stderr.contains("outlive"), "{}", rotated.stderr);
        let job = w.ctl(&["job", "list"]).json()[0].clone();
        assert_eq!((&job["kind"], &job["subject"]), (&json!("retire-key"), &json!("key ed-1")));
        assert_eq!(w.ctl(&["job", "cancel", &job["id"].to_string()]).json()["state"], "cancelled");
        let keys = w.ctl(&["key", "list"]).json();
        assert!(keys.as_array().unwrap().iter().all(|key| key["state"] == "active"), "{keys}");
        assert_eq!(w.ctl(&["rotate", "signing-key", "--kid", "a key"]).code, Some(3));
        assert_eq!(w.ctl(&["rotate", "signing-key", "--kid", "ed-1"]).code, Some(3), "a key id is used once");
    });
}

/// How many data keys each master key of the ring wraps.
fn wraps(w: &World, ring: &str) -> Vec<(String, i64, bool)> {
    let all = w.ctl(&["rotate", "status"]).json();
    let rows = all.as_array().unwrap().iter().filter(|row| row["ring"] == ring);
    let cells = |row: &serde_json::Value| {
        (row["key"].as_str().unwrap().to_owned(), row["data_keys"].as_i64().unwrap(), row["wraps_new"] == true)
    };
    rows.map(cells).collect()
}

/// One server reads the operator's own ring file, the other one has a copy elsewhere. Nothing they know stays cached for long.
///
/// Turns red when a server does not read its ring again, when `rotate master` does not ask whether it has the key, and when a
/// new tenant's key is wrapped with one that a server lacks.
#[test]
fn the_master_key_is_rotated_and_no_request_fails() {
    world(async |w| {
        let tenants = [w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Database).await];
        let copy = w.dir.join("copy.ring");
        std::fs::copy(w.dir.join("server.ring"), &copy).unwrap();
        let far = ["--key-ring", copy.to_str().unwrap(), "--instance", "far"];
        let servers = [w.server(), w.server_with(&far)];
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let forgetting = tokio::spawn(async move {
            loop {
                control.batch_execute("select pg_notify('strowger_changes', 'everything')").await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        let tokens = [token(&w, &tenants[0]).await, token(&w, &tenants[1]).await];
        let load = Load::begin(&servers.each_ref(), &tokens, 2);
        load.goes_on(100).await;

        assert_eq!(wraps(&w, "server"), [("s1".into(), 3, true)]);
        w.ctl(&["ring", "add", "s2", "--ring", "server"]).json();
        let rotate = ["rotate", "master", "--ring", "server", "--to", "s2"];
        let refused = w.ctl(&rotate);
        assert_eq!((refused.code, refused.stderr.contains("far~")), (Some(3), true), "{}", refused.stderr);
        assert_eq!(wraps(&w, "server"), [("s1".into(), 3, true), ("s2".into(), 0, false)], "nothing was changed");
        assert_eq!(w.ctl(&["ring", "remove", "s1", "--ring", "server"]).code, Some(3));
        load.goes_on(50).await;

        std::fs::copy(w.dir.join("server.ring"), &copy).unwrap();
        w.ctl(&rotate).json();
        assert_eq!(wraps(&w, "server"), [("s2".into(), 3, true), ("s1".into(), 0, false)]);
        load.goes_on(50).await;
        let new = w.ctl(&["tenant", "create", "--name", "Three", "--isolation", "schema"]).json();
        w.ctl(&["ring", "remove", "s1", "--ring", "server"]).json();
        assert_eq!(wraps(&w, "server"), [("s2".into(), 4, true)]);
        let minted = w.ctl(&["token", "mint", "--tenant", &new["customer_id"].to_string(), "--scope", "read:memories"]);
        for server in &servers {
            let answer = server.get("/v1/memories").bearer_auth(minted.stdout.trim()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "a tenant made since");
        }
        std::fs::copy(w.dir.join("server.ring"), &copy).unwrap();
        w.ctl(&["rotate", "tenant", "--all"]).json();

        // The ring that only we have.
        w.ctl(&["ring", "add", "a2", "--ring", "admin"]).json();
        w.ctl(&["rotate", "master", "--ring", "admin", "--to", "a2"]).json();
        w.ctl(&["ring", "remove", "a1", "--ring", "admin"]).json();
        assert_eq!(wraps(&w, "admin"), [("a2".into(), 1, true)]);
        w.ctl(&["tenant", "create", "--name", "Four", "--isolation", "database"]).json();
        load.goes_on(100).await;
        load.end("rotate master").await;
        forgetting.abort();

        for wrong in [
            ["rotate", "master", "--ring", "server", "--to", "s9"].as_slice(),
            &["ring", "add", "s2", "--ring", "server"],
            &["ring", "add", "S 2", "--ring", "server"],
            &["ring", "remove", "s2", "--ring", "server"],
            &["ring", "remove", "s1", "--ring", "server"],
        ] {
            assert_eq!(w.ctl(wrong).code, Some(3), "{wrong:?}");
        }
        assert_eq!(w.ctl(&["ring", "list", "--ring", "other"]).code, Some(2));
    });
}
