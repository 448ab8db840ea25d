//! The end of a tenant: deleted and taken back, erased when its grace has passed, and what can be shown for it.

use std::process::Command;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use tokio_postgres::Client;

use crate::crash::Catalog;
use crate::jobs::{control, until, worker};
use crate::support::{World, world};

/// Tables of the control database in which a text stands anywhere.
async fn tables_that_hold(db: &Client, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let tables = "select tablename::text from pg_tables where schemaname = 'public' order by 1";
    for row in db.query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        let sql = format!("select count(*) from {table} t where strpos(t::text, $1) > 0");
        if db.query_one(&sql, &[&text]).await.unwrap().get::<_, i64>(0) > 0 {
            found.push(table);
        }
    }
    found
}

/// Whether openssl, which knows nothing of us, accepts a receipt as it was printed.
fn openssl_accepts(w: &World, receipt: &str, key: &str) -> bool {
    let at = |name: &str| w.dir.join(name);
    let (line, last) = receipt.trim_end().split_once('\n').unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    std::fs::write(at("signed"), format!("{line}\n")).unwrap();
    std::fs::write(at("key.pem"), key).unwrap();
    std::fs::write(at("signature.b64"), last["signature"].as_str().unwrap()).unwrap();
    let base64 = Command::new("openssl").args(["base64", "-d", "-A", "-in"]).arg(at("signature.b64")).output().unwrap();
    std::fs::write(at("signature"), base64.stdout).unwrap();
    let mut verify = Command::new("openssl");
    verify.args(["pkeyutl", "-verify", "-pubin", "-rawin", "-inkey"]).arg(at("key.pem"));
    verify.arg("-in").arg(at("signed")).arg("-sigfile").arg(at("signature")).output().unwrap().status.success()
}

async fn with_belongings(w: &World, isolation: Isolation) -> String {
    let tenant = w.tenant("Harbor Light", isolation).await;
    let account = w.account(1, Some(tenant.id)).await;
    w.assign("+18005550100", tenant.id, &account).await;
    let id = tenant.id.to_string();
    w.ctl_with(&["secret", "set", "model_key", "--tenant", &id], "something").json();
    let db = w.as_tenant(tenant.id).await;
    db.execute("insert into memories (user_id, content) values ('+18005550199', 'x')", &[]).await.unwrap();
    id
}

/// Turns red when `shred` does not delete one of the tables, when `drop_roles` is left out of the steps, or when
/// `tenant.reserve` writes the name into the audit log.
#[test]
fn an_erased_tenant_leaves_its_id_and_a_receipt() {
    for isolation in [Isolation::Schema, Isolation::Database] {
        world(async move |w| {
            let before = Catalog::read(&w).await;
            let id = with_belongings(&w, isolation).await;
            let erased = w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id, "--reason", "asked"]).json();
            assert_eq!(erased, json!({ "customer_id": 1, "state": "erased", "copies_until": null }));
            assert_eq!(w.ctl(&["tenant", "erase", &id]).json(), erased, "run again");
            before.still_holds(&w).await;
            let db = control(&w).await;
            for text in ["Harbor Light", "+18005550100"] {
                let found = tables_that_hold(&db, text).await;
                // A number is public, and who had it is known: that is what the log of hand-overs is for.
                assert!(found.is_empty() || text != "Harbor Light" && found == ["audit", "jobs"], "{text}: {found:?}");
            }
            let sql = "select (select count(*) from data_keys where tenant_id is not null) + (select count(*) from accounts)
                       + (select count(*) from secrets) + (select count(*) from numbers) + (select count(*) from placements)";
            assert_eq!(db.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);

            let shown = w.ctl(&["tenant", "show", &id]);
            assert_eq!((shown.code, shown.stderr.contains("tenant receipt 1")), (Some(3), true), "{}", shown.stderr);
            let receipt: Value =
                serde_json::from_str(w.ctl(&["tenant", "receipt", &id]).stdout.lines().next().unwrap()).unwrap();
            assert_eq!(receipt["destroyed_data_keys"], json!([{ "ring": "server", "version": 1, "wrapped_by": "s1" }]));
            let looked: Vec<&str> =
                receipt["looked_at"].as_array().unwrap().iter().map(|c| c["cluster"].as_str().unwrap()).collect();
            assert_eq!(looked, ["shared", "dedicated"]);
            assert_eq!(receipt["rows_left_in_control"]["data_keys.tenant_id"], 0);
            // The id is not used again, the name may be.
            let again = w.tenant("Harbor Light", isolation).await;
            assert_eq!(again.id.to_string(), "2");
        });
    }
}

/// Turns red when the receipt is written anew on the way out, or signed without its line's end.
#[test]
fn a_receipt_is_checked_without_us() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        assert_eq!(w.ctl(&["tenant", "receipt", &id]).code, Some(3), "it is not erased");
        w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]).json();
        let receipt = w.ctl(&["tenant", "receipt", &id]).stdout;
        let key = w.ctl(&["audit", "key"]).stdout;
        let line: Value = serde_json::from_str(receipt.lines().next().unwrap()).unwrap();
        assert_eq!(line["public_key"], key.as_str());
        assert!(openssl_accepts(&w, &receipt, &key));
        assert!(!openssl_accepts(&w, &receipt.replace("\"customer_id\":1", "\"customer_id\":2"), &key));
    });
}

/// Turns red when the data key goes before the proof, or when a cluster or a kind of thing is not looked at.
#[test]
fn what_is_left_is_named_and_nothing_is_signed() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id.to_string();
        let dedicated = w.superuser("dedicated", "postgres").await;
        let shared = w.superuser("shared", &w.prefix.name("shared")).await;
        let role = format!("{}_t1_old", w.prefix);
        dedicated.batch_execute(&format!("create role {role}")).await.unwrap();
        shared.batch_execute("create publication tenant_1_feed").await.unwrap();
        let refused = w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]);
        assert_eq!(refused.code, Some(3));
        for named in [&role, "shared/", "publications: tenant_1_feed"] {
            assert!(refused.stderr.contains(named), "{}", refused.stderr);
        }
        let db = control(&w).await;
        let kept = "select count(*) from data_keys where tenant_id = 1";
        assert_eq!(db.query_one(kept, &[]).await.unwrap().get::<_, i64>(0), 1);
        assert_eq!(w.ctl(&["tenant", "receipt", &id]).code, Some(3));
        let refused = w.ctl(&["tenant", "undelete", &id]);
        assert_eq!((refused.code, refused.stderr.contains("has begun")), (Some(3), true), "{}", refused.stderr);

        dedicated.batch_execute(&format!("drop role {role}")).await.unwrap();
        shared.batch_execute("drop publication tenant_1_feed").await.unwrap();
        assert_eq!(w.ctl(&["tenant", "erase", &id]).json()["state"], "erased");
    });
}

/// Turns red when `delete` does not queue the erasure, when an undeletion does not end it, or `job wait` cuts a grace short.
#[test]
fn a_deleted_tenant_is_kept_for_its_grace() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let id = tenant.id.to_string();
        w.assign("+18005550100", tenant.id, &w.account(1, None).await).await;
        let early = w.ctl(&["tenant", "erase", &id]);
        assert_eq!((early.code, early.stderr.contains("tenant delete 1")), (Some(3), true), "{}", early.stderr);
        assert_eq!(w.ctl(&["tenant", "erase", &id, "--now"]).code, Some(2), "without the id once more");
        assert_eq!(w.ctl(&["tenant", "erase", &id, "--now", "--confirm", "7"]).code, Some(3));

        assert_eq!(w.ctl(&["tenant", "delete", &id, "--grace", "2d"]).json()["state"], "deleted");
        let db = control(&w).await;
        let due = "select state = 'queued' and approval is not null and deadline > not_before
                          and not_before between now() + interval '47 hours' and now() + interval '48 hours'
                   from jobs where kind = 'erase' order by id desc limit 1";
        assert!(db.query_one(due, &[]).await.unwrap().get::<_, bool>(0));
        let number = w.ctl(&["number", "list"]).json()[0].clone();
        let shown = (&number["customer_id"], &number["state"], &number["tenant_state"]);
        assert_eq!(
            shown,
            (&json!(tenant.id), &json!("active"), &json!("deleted")),
            "a number that reaches nobody says so"
        );
        w.ctl(&["tenant", "delete", &id]).json();
        assert!(db.query_one(due, &[]).await.unwrap().get::<_, bool>(0), "what was said stays");
        for refused in [["tenant", "erase", &id], ["tenant", "resume", &id]] {
            assert_eq!(w.ctl(&refused).code, Some(3), "{refused:?}");
        }
        // Whoever can write to the control database, and has no key, makes it due.
        db.execute("update jobs set not_before = now() where kind = 'erase'", &[]).await.unwrap();
        let _worker = worker(&w);
        until(
            &db,
            "select state = 'failed' and errors -> -1 ->> 'error' ~ 'grace lasts' from jobs where kind = 'erase'",
        )
        .await;
        w.ctl(&["tenant", "delete", &id, "--grace", "2d"]).json();
        let undeleted = w.ctl(&["tenant", "undelete", &id]).json();
        assert_eq!((&undeleted["state"], &undeleted["generation"]), (&json!("active"), &json!(tenant.generation)));
        w.as_tenant(tenant.id).await.query("select * from configurations", &[]).await.unwrap();
        until(&db, "select not exists (select from jobs where kind = 'erase' and state in ('queued', 'running'))")
            .await;
        assert_eq!(w.ctl(&["tenant", "undelete", &id]).json()["state"], "active", "run again");
    });
}

/// Turns red when the worker does not look for erasures that have ended, or the erasure is not due when the grace has passed.
#[test]
fn a_worker_erases_after_the_grace_and_waits_for_the_copies() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Database).await.id.to_string();
        let add = |args: &[&str]| w.ctl(&[&["cluster", "copies", "add"], args].concat());
        add(&["dedicated", "--kind", "backup", "--where", "bucket a", "--kept", "10d"]).json();
        add(&["--control-database", "--kind", "wal-archive", "--where", "bucket b", "--kept", "7d"]).json();
        let all = add(&["dedicated", "--kind", "backup", "--where", "bucket a", "--kept", "30d"]).json();
        assert_eq!(all.as_array().unwrap().len(), 2);
        assert_eq!(add(&["nowhere", "--kind", "backup", "--where", "x", "--kept", "30d"]).code, Some(3));

        w.ctl(&["tenant", "delete", &id, "--grace", "1s"]).json();
        let db = control(&w).await;
        let _worker = worker(&w);
        until(&db, "select state = 'erasing' from tenants").await;
        let receipt: Value =
            serde_json::from_str(w.ctl(&["tenant", "receipt", &id]).stdout.lines().next().unwrap()).unwrap();
        let places: Vec<&str> =
            receipt["copies"].as_array().unwrap().iter().map(|copy| copy["of"].as_str().unwrap()).collect();
        assert_eq!(places, ["the control database", "cluster dedicated"]);
        assert_eq!(receipt["copies"][1]["until"], receipt["copies_until"]);
        let days = "select round(extract(epoch from copies_until - erased_at) / 86400)::int from erasures";
        assert_eq!(db.query_one(days, &[]).await.unwrap().get::<_, i32>(0), 30);

        db.execute("update erasures set copies_until = now()", &[]).await.unwrap();
        until(&db, "select state = 'erased' from tenants").await;
        assert_eq!(w.ctl(&["tenant", "erase", &id]).json()["state"], "erased");
    });
}

/// Turns red without `refuse_moving_numbers`: which schemas own such a number only its hand-over can say.
#[test]
fn a_number_that_changes_hands_holds_an_erasure_up() {
    world(async |w| {
        let id = with_belongings(&w, Isolation::Schema).await;
        let db = control(&w).await;
        db.execute("update numbers set state = 'moving', next_tenant_id = null", &[]).await.unwrap();
        let refused = w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]);
        assert_eq!((refused.code, refused.stderr.contains("+18005550100")), (Some(3), true), "{}", refused.stderr);
        assert_eq!(w.ctl(&["tenant", "show", &id]).json()["state"], "active");
        w.ctl(&["number", "release", "+18005550100"]).json();
        assert_eq!(w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]).json()["state"], "erased");
    });
}
