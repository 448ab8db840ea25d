//! What a plan says, what is refused before anything is changed, and what is refused by name while a tenant moves.

use reqwest::Method;
use serde_json::{Value, json};
use strowger::control::clusters::Isolation;

use super::{CALLER, NUMBER, beside, hold_instead, scopes};
use crate::crash::Catalog;
use crate::support::{Service, World, until, world};

fn refused(w: &World, args: &[&str], says: &str) {
    let ran = w.ctl(&[&["tenant", "move", "1", "--offline"], args].concat());
    assert_eq!((ran.code, ran.stderr.contains(says)), (Some(3), true), "{says}: {}", ran.stderr);
}

/// Nothing is made on any cluster, and no job is begun. Turns red when what is there already is not looked for.
#[test]
fn a_move_that_does_not_fit_is_refused_before_anything_is_changed() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let (control, before) = (crate::jobs::control(&w).await, Catalog::read(&w).await);
        refused(&w, &["--to", "shared"], "it lives on cluster shared already");
        refused(&w, &["--to", "missing"], "there is no cluster missing");
        refused(&w, &["--to", "dedicated", "--isolation", "schema"], "keeps tenants as a database");
        for (command, says) in [("cordon", "is cordoned"), ("drain", "is draining")] {
            w.ctl(&["cluster", command, "dedicated"]);
            refused(&w, &["--to", "dedicated"], says);
        }
        w.ctl(&["cluster", "cordon", "dedicated", "--undo"]).json();
        control.batch_execute("update occupancy set kept = kept + 90000").await.unwrap();
        let sql = "insert into occupancy select id, 90000, 0 from clusters where name = 'dedicated' on conflict (cluster_id) do nothing";
        control.batch_execute(sql).await.unwrap();
        refused(&w, &["--to", "dedicated"], "is full");
        control
            .batch_execute(
                "delete from occupancy where cluster_id <> (select cluster_id from placements);
                               update occupancy set kept = 1",
            )
            .await
            .unwrap();

        let db = w.superuser("shared", &tenant.database).await;
        let owner = w.prefix.tenant(tenant.id, "owner");
        db.batch_execute(&format!("set role {owner}; create table tenant_1.extra (); reset role")).await.unwrap();
        refused(&w, &["--to", "dedicated"], "extra that no migration made");
        db.batch_execute(
            "drop table tenant_1.extra; insert into tenant_1.refinery_schema_history values (999, 'x', '', '')",
        )
        .await
        .unwrap();
        refused(&w, &["--to", "dedicated"], "schema version 999");
        db.batch_execute("delete from tenant_1.refinery_schema_history where version = 999").await.unwrap();
        let stray = w.superuser("dedicated", "postgres").await;
        stray.batch_execute(&format!("create role {owner}")).await.unwrap();
        refused(&w, &["--to", "dedicated"], "nobody knows why");
        stray.batch_execute(&format!("drop role {owner}")).await.unwrap();

        // Tried once, and to be tried again.
        control
            .batch_execute(
                "insert into jobs (kind, subject, tenant_id, params, asked_by, state, not_before)
                 values ('restore', 'tenant 1', 1, '{}', 'test', 'queued', now() + interval '1 hour')",
            )
            .await
            .unwrap();
        refused(&w, &["--to", "dedicated"], "(restore) is at it");
        control.batch_execute("delete from jobs where kind = 'restore'").await.unwrap();

        let sql = format!("select pg_advisory_lock(hashtextextended('tenant {}', 0))", tenant.id);
        control.batch_execute(&sql).await.unwrap();
        let busy = w.ctl(&["tenant", "move", "1", "--offline", "--to", "dedicated"]);
        assert_eq!((busy.code, busy.stderr.contains("another command is at it")), (Some(4), true), "{}", busy.stderr);
        control.batch_execute("select pg_advisory_unlock_all()").await.unwrap();
        w.ctl(&["tenant", "suspend", "1"]).json();
        w.ctl(&["tenant", "delete", "1"]).json();
        refused(&w, &["--to", "dedicated"], "it is deleted");
        w.ctl(&["tenant", "undelete", "1"]).json();
        let jobs = "select count(*) from jobs where kind = 'move'";
        assert_eq!(control.query_one(jobs, &[]).await.unwrap().get::<_, i64>(0), 0);
        before.still_holds(&w).await;
    });
}

/// Turns red when servers are not asked who they are: the roles would be taken for somebody's leftovers.
#[test]
fn one_server_under_two_names_is_no_way_to_go() {
    world(async |w| {
        w.tenant("One", Isolation::Schema).await;
        let control = crate::jobs::control(&w).await;
        let sql = "insert into clusters (name, kind, region, host, port, tls, connection_budget)
                   select 'second', kind, '', host, port, tls, 60 from clusters where name = 'shared';
                   insert into cluster_admins select c.id, a.login, a.sealed_password from clusters c, cluster_admins a
                   join clusters s on s.id = a.cluster_id and s.name = 'shared' where c.name = 'second'";
        control.batch_execute(sql).await.unwrap();
        refused(&w, &["--to", "second"], "are one server");
    });
}

/// In the database that is there it must be installed; for one that is to be made the server must offer it, which here it does.
///
/// Turns red when only the server is asked.
#[test]
fn an_extension_that_is_missing_where_a_tenant_goes_is_named() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Database).await;
        let dry = ["tenant", "move", "1", "--to", "shared", "--dry-run"];
        assert_eq!(w.ctl(&dry).json()["extensions"], json!([]));
        let db = w.superuser("dedicated", &tenant.database).await;
        db.batch_execute("create extension hstore").await.unwrap();
        let plan = w.ctl(&dry).json();
        let found = &plan["extensions"][0];
        assert_eq!((&found["name"], &found["there"]), (&json!("hstore"), &Value::Null));
        refused(&w, &["--to", "shared"], "has no extension hstore");
        let there = w.superuser("shared", &w.prefix.name("shared")).await;
        there.batch_execute("create extension hstore").await.unwrap();
        let plan = w.ctl(&dry).json();
        assert_eq!((&plan["extensions"][0]["there"], &plan["refused"]), (&found["version"], &json!([])));
        w.ctl(&["tenant", "move", "1", "--to", "shared", "--offline"]).json();
        let back = w.ctl(&["tenant", "move", "1", "--to", "dedicated", "--dry-run"]).json();
        assert!(back["extensions"][0]["there"].is_string() && back["refused"] == json!([]), "{back}");
    });
}

/// Turns red when a table's size is not asked for.
#[test]
fn a_plan_says_what_there_is_and_changes_nothing() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let before = Catalog::read(&w).await;
        let db = w.as_tenant(tenant.id).await;
        let sql = "insert into memories (user_id, content) select 'x', n::text from generate_series(1, 500) n";
        db.batch_execute(sql).await.unwrap();
        let dry = ["tenant", "move", "1", "--to", "dedicated", "--dry-run"];
        let plan = w.ctl(&dry).json();
        let memories =
            plan["tables"].as_array().unwrap().iter().find(|table| table["name"] == "memories").unwrap().clone();
        assert!(memories["rows"] == 500 && memories["bytes"].as_i64().unwrap() > 20_000, "{memories}");
        let sides = [&plan["from"], &plan["to"]].map(|side| (side["cluster"].clone(), side["isolation"].clone()));
        assert_eq!(sides, [(json!("shared"), json!("schema")), (json!("dedicated"), json!("database"))]);
        assert!(plan["to"]["postgres"].as_str().unwrap().starts_with(char::is_numeric), "{plan}");
        assert_eq!((&plan["room"]["connection_budget"], &plan["room"]["tenants"]), (&json!(60), &json!(0)));
        assert!(plan["estimated_s"].as_i64().unwrap() > 0 && plan["refused"] == json!([]), "{plan}");
        w.ctl(&["cluster", "cordon", "dedicated"]).json();
        assert!(w.ctl(&dry).json()["refused"][0].as_str().unwrap().contains("is cordoned"), "said, and no error");
        before.still_holds(&w).await;
    });
}

/// Turns red when `admitted` lets writes through while a tenant is held. The turn is kept waiting for as long as we look.
#[test]
fn while_it_moves_a_tenant_is_read_and_greeted_and_its_writes_are_refused_by_name() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let account = w.account(1, None).await;
        w.assign(NUMBER, tenant.id, &account).await;
        let server = w.server();
        let service = Service { server: &server, token: w.token(tenant.id, &scopes()).await };
        let memory = json!({ "user_id": CALLER, "content": "x" });
        assert_eq!(service.post("/v1/memories", &memory).await.status, 201);
        let blocking = crate::jobs::control(&w).await;
        blocking.batch_execute("begin; lock table replaced_schemas in share mode").await.unwrap();
        let looking = async {
            until("the tenant is held", async || tenant_is_held(&w).await).await;
            until("the server has heard", async || service.post("/v1/memories", &memory).await.status == 503).await;
            let refused = service.request(Method::POST, "/v1/memories").json(&memory).send().await.unwrap();
            assert!(refused.headers().contains_key("retry-after"));
            assert_eq!(refused.json::<Value>().await.unwrap()["code"], "tenant_moving");
            assert_eq!(service.get("/v1/memories").await.status, 200);
            assert_eq!(account.dial(&server, CALLER, NUMBER).await.status(), 200);
            blocking.batch_execute("rollback").await.unwrap();
        };
        let (ended, ()) = tokio::join!(beside(&w, &["tenant", "move", "1", "--to", "dedicated", "--offline"]), looking);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(service.post("/v1/memories", &memory).await.status, 201);
    });
}

/// Turns red when an attempt that fails does not let go. Somebody's open write is in its way until it gives up.
#[test]
fn a_move_that_fails_leaves_the_tenant_as_it_was_and_comes_through_later() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let blocking = w.superuser("shared", &tenant.database).await;
        blocking.batch_execute("begin; lock table tenant_1.memories in row exclusive mode").await.unwrap();
        let command = ["tenant", "move", "1", "--to", "dedicated", "--offline"];
        let failed = w.ctl(&command);
        assert_eq!((failed.code, failed.stderr.contains("55P03")), (Some(1), true), "{}", failed.stderr);
        assert!(!tenant_is_held(&w).await);
        let write = "insert into memories (user_id, content) values ('x', 'x')";
        w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
        blocking.batch_execute("rollback").await.unwrap();
        assert_eq!(w.ctl(&command).json()["cluster"], "dedicated");
        w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
    });
}

async fn tenant_is_held(w: &World) -> bool {
    w.superuser("control", &w.prefix.name("control"))
        .await
        .query_one("select held from placements", &[])
        .await
        .unwrap()
        .get(0)
}

/// Turns red when a suspended tenant is not shut out where it arrives, and when the doctor takes what is kept for something unknown.
///
/// Each goes to where a new one would; what they leave keeps the cluster from being forgotten, and then nothing does.
#[test]
fn a_drained_cluster_is_left_by_all() {
    world(async |w| {
        hold_instead(&w, "dedicated", Isolation::Schema);
        for name in ["One", "Two", "Three"] {
            let create = ["tenant", "create", "--name", name, "--isolation", "schema", "--cluster", "shared"];
            w.ctl(&create).json();
        }
        w.ctl(&["tenant", "suspend", "2"]).json();
        let drained = w.ctl(&["cluster", "drain", "shared", "--move", "--offline", "--keep", "1s"]);
        assert_eq!(drained.json()["tenants_to_move"], 0);
        let all = w.ctl(&["tenant", "list"]).json();
        let all: Vec<_> = all.as_array().unwrap().iter().map(|t| (t["cluster"].clone(), t["state"].clone())).collect();
        let on = |state: &str| (json!("dedicated"), json!(state));
        assert_eq!(all, [on("active"), on("suspended"), on("active")]);
        w.ctl(&["doctor"]).json();
        w.ctl(&["tenant", "resume", "2"]).json();
        for id in 1..=3 {
            let db = w.as_tenant(id.try_into().unwrap()).await;
            db.execute("insert into memories (user_id, content) values ('x', 'x')", &[]).await.unwrap();
        }
        let kept = w.ctl(&["cluster", "remove", "shared"]);
        assert_eq!((kept.code, kept.stderr.contains("is kept")), (Some(3), true), "{}", kept.stderr);
        until("nothing is kept any more", async || {
            provisioner::moves::end_kept(&w.with).await.unwrap();
            let sql = "select count(*) from moves";
            crate::jobs::control(&w).await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
        })
        .await;
        w.ctl(&["cluster", "remove", "shared"]).json();
    });
}

/// Turns red when a proposal is made for a tenant that does not live there.
#[test]
fn moves_are_proposed_and_not_made() {
    world(async |w| {
        hold_instead(&w, "dedicated", Isolation::Schema);
        for name in ["One", "Two", "Three", "Four"] {
            let create = ["tenant", "create", "--name", name, "--isolation", "schema", "--cluster", "shared"];
            w.ctl(&create).json();
        }
        w.ctl(&["tenant", "create", "--name", "Five", "--isolation", "schema", "--cluster", "dedicated"]).json();
        let rebalance = ["cluster", "rebalance", "--dry-run"];
        let newest = json!([{ "customer_id": 4, "from": "shared", "to": "dedicated" }]);
        assert_eq!(w.ctl(&rebalance).json(), newest);
        w.ctl(&["cluster", "cordon", "dedicated"]).json();
        assert_eq!(w.ctl(&rebalance).json(), json!([]));
        assert_eq!(w.ctl(&["cluster", "rebalance"]).code, Some(2), "it moves nobody by itself");
    });
}
