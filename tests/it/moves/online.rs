//! A tenant that moves while it is written to by clients who send nothing twice; killed at statements all along; taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Client, Method};
use serde_json::json;
use strowger::auth::Principal;
use strowger::clock::Clock;
use strowger::control::clusters::Isolation;
use strowger::control::{Control, work};
use strowger::directory::{Directory, Staleness};
use strowger::id::TenantId;
use strowger::tenant::{Limits, Router, Write, memories};
use uuid::Uuid;

use super::{WRITE, beside, ends, scopes, succeeded, tenant_now, url_of};
use crate::backup::filled::fill;
use crate::crash::tapped::Tapped;
use crate::support::counting_proxy::Moment;
use crate::support::{Server, World, private_world, world};

/// Both servers get a login that may replicate.
pub(crate) fn allow(w: &World) {
    for server in ["shared", "dedicated"] {
        w.ctl_with(&["cluster", "online", server], &w.own_superuser_url(server)).json();
    }
}

/// Slots, subscriptions and logins of moves on both servers, and publications of the tenant's database.
pub(crate) async fn parts(w: &World) -> Vec<String> {
    let mut all = Vec::new();
    let ours = format!("{}\\_t%\\_move", w.prefix);
    for server in ["shared", "dedicated"] {
        let db = w.superuser(server, "postgres").await;
        let sql = "select 'slot ' || slot_name from pg_replication_slots where slot_name like $1
                   union all select 'subscription ' || subname from pg_subscription where subname like $1
                   union all select 'role ' || rolname from pg_roles where rolname like $1";
        all.extend(db.query(sql, &[&ours]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        let databases = "select datname::text from pg_database where datallowconn and datname like $1";
        for row in db.query(databases, &[&format!("{}\\_%", w.prefix)]).await.unwrap() {
            let name: String = row.get(0);
            let publications = "select 'publication ' || pubname from pg_publication where pubname like $1";
            let found = w.superuser(server, &name).await.query(publications, &[&ours]).await.unwrap();
            all.extend(found.iter().map(|row| row.get::<_, String>(0)));
        }
    }
    all
}

/// Writers that number what they write, each server's for itself, and send nothing twice.
#[derive(Default)]
pub(super) struct Writers {
    pub(super) stop: AtomicBool,
    acknowledged: [AtomicUsize; 2],
}

impl Writers {
    pub(super) async fn write(&self, which: usize, server: &Server, token: &str) {
        let client = Client::builder().retry(reqwest::retry::never()).build().unwrap();
        let url = format!("{}/v1/memories", server.base_url);
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.acknowledged[which].load(Ordering::Relaxed);
            let memory = json!({ "user_id": format!("+1555000111{which}"), "content": n.to_string() });
            let answer = client.request(Method::POST, &url).json(&memory).bearer_auth(token).send().await.unwrap();
            let status = answer.status();
            assert!(status == 201, "{status}: {}", answer.text().await.unwrap());
            self.acknowledged[which].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) async fn more(&self) {
        let before = self.acknowledged.each_ref().map(|n| n.load(Ordering::Relaxed));
        crate::support::until("both go on", async || {
            self.acknowledged.iter().zip(before).all(|(now, before)| now.load(Ordering::Relaxed) > before + 10)
        })
        .await;
    }

    /// What was acknowledged is where the tenant lives, once each, and nothing else.
    pub(super) async fn all_is_there(&self, w: &World, id: TenantId) {
        let now = tenant_now(w, id).await;
        let db = w.superuser(&now.cluster, &now.database).await;
        for which in 0..2 {
            let sql = format!(
                "select content::bigint from {}.memories where user_id = '+1555000111{which}' order by content::bigint",
                now.schema
            );
            let found: Vec<i64> = db.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
            let acknowledged = i64::try_from(self.acknowledged[which].load(Ordering::Relaxed)).unwrap();
            let all: Vec<i64> = (0..acknowledged).collect();
            assert!(found == all, "server {which}: {} are there, {} were acknowledged", found.len(), all.len());
        }
    }
}

/// Turns red when the end of the source's log is read off its disk, where not all of it may be yet, or when a write does not wait for the turn.
async fn moved_while_written_to(w: Arc<World>, from: Isolation, to: Isolation) {
    let (here, there) = ends(&w, from, to);
    allow(&w);
    let tenant = w.tenant("One", from).await;
    fill(&url_of(here, &tenant), &tenant.schema);
    let token = w.token(tenant.id, &scopes()).await;
    let servers = [w.server(), w.server()];
    let writers = Writers::default();
    let moving = async {
        let mut shown = Vec::new();
        for to in [there, here] {
            writers.more().await;
            shown.push(succeeded(&beside(&w, &["tenant", "move", "1", "--to", to]).await));
            writers.more().await;
        }
        writers.stop.store(true, Ordering::Relaxed);
        shown
    };
    let (shown, (), ()) =
        tokio::join!(moving, writers.write(0, &servers[0], &token), writers.write(1, &servers[1], &token));
    for (shown, cluster) in shown.iter().zip([there, here]) {
        assert_eq!((&shown["cluster"], &shown["held"]), (&json!(cluster), &json!(false)));
        println!("{from:?} to {to:?}, {cluster}: nothing written for {} ms", shown["write_pause_ms"]);
        assert!(shown["write_pause_ms"].is_i64(), "{shown}");
    }
    writers.all_is_there(&w, tenant.id).await;
    assert_eq!(parts(&w).await, Vec::<String>::new());
    w.ctl(&["doctor"]).json();
}

#[test]
fn a_schema_becomes_a_database_while_it_is_written_to() {
    world(async |w| moved_while_written_to(w, Isolation::Schema, Isolation::Database).await);
}

#[test]
fn a_database_becomes_a_schema_while_it_is_written_to() {
    world(async |w| moved_while_written_to(w, Isolation::Database, Isolation::Schema).await);
}

#[test]
fn a_schema_stays_one_while_it_is_written_to() {
    world(async |w| moved_while_written_to(w, Isolation::Schema, Isolation::Schema).await);
}

#[test]
fn a_database_stays_one_while_it_is_written_to() {
    world(async |w| moved_while_written_to(w, Isolation::Database, Isolation::Database).await);
}

/// Wherever it was killed, taking it back leaves the tenant served in full where it lives, and nothing of the move. Turns red when what it
/// made to replicate is not removed.
#[test]
fn an_online_move_that_is_taken_back_leaves_nothing() {
    world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        let to = |server: &'static str| ["tenant", "move", "1", "--to", server];
        let (_, statements) = tapped.run(&to("dedicated")).await;
        w.ctl(&to("shared")).json();
        for part in 3..9 {
            if !tapped.stop_or_end(statements * part / 10, Moment::Unsent, &to("dedicated")).await {
                continue;
            }
            let control = crate::jobs::control(&w).await;
            let job = "select max(id)::text from jobs where kind = 'move'";
            let job: String = control.query_one(job, &[]).await.unwrap().get(0);
            w.ctl(&["job", "cancel", &job]).json();
            assert_eq!(parts(&w).await, Vec::<String>::new(), "{part}");
            let now = tenant_now(&w, tenant.id).await;
            if now.cluster == "shared" {
                assert!(!now.held);
                w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
            } else {
                w.ctl(&to("shared")).json();
            }
        }
        w.ctl(&["doctor"]).json();
    });
}

/// Turns red when what Postgres refuses is not sent on to where the tenant lives now.
#[test]
fn a_write_that_was_let_in_before_the_turn_is_carried_out_after_it() {
    world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let insert = "insert into memories (user_id, content) values ('x', 'x') returning id";
        let memory: Uuid = w.as_tenant(tenant.id).await.query_one(insert, &[]).await.unwrap().get(0);
        let control = Control::lazy(&w.urls.server, "test", 2).unwrap();
        let who = Principal::from_sweep(&work::next_to_sweep(&control).await.unwrap().unwrap());
        let directory = Directory::new(control, w.server_ring.clone(), &Clock::system(), Staleness::default());
        let router = Router::new(Arc::new(directory), "test", 1, Limits::default());
        let db = router.open::<Write>(&who).await.unwrap();
        let writing = async {
            crate::support::until("it has turned", async || tenant_now(&w, tenant.id).await.cluster == "dedicated")
                .await;
            assert!(memories::delete(db.conn(), memory).await.unwrap());
            assert!(memories::get(db.conn(), memory).await.unwrap().is_none(), "what comes after it is there too");
            // Where it lived, sessions are waited for.
            drop(db);
            router.close();
        };
        let (ended, ()) = tokio::join!(beside(&w, &["tenant", "move", "1", "--to", "dedicated"]), writing);
        succeeded(&ended);
        let left = "select count(*) from memories";
        assert_eq!(w.as_tenant(tenant.id).await.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    });
}

/// Turns red when the doctor asks of a slot only whether its tenant exists, or does not look at subscriptions.
#[test]
fn the_doctor_finds_what_replicates_and_no_move_knows() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let db = w.superuser("shared", &tenant.database).await;
        let name = w.prefix.tenant(tenant.id, "move");
        let sql = "select pg_create_logical_replication_slot($1::text::name, 'pgoutput')::text";
        db.query_one(sql, &[&name]).await.unwrap();
        let subscribe =
            format!("create subscription {name} connection 'dbname=x' publication x with (connect = false)");
        db.batch_execute(&subscribe).await.unwrap();
        let found = w.ctl(&["doctor"]);
        db.query_one("select pg_drop_replication_slot($1::text::name)::text", &[&name]).await.unwrap();
        db.batch_execute(&format!("alter subscription {name} set (slot_name = none)")).await.unwrap();
        db.batch_execute(&format!("drop subscription {name}")).await.unwrap();
        let codes = ["slot.unknown", "subscription.unknown"];
        assert!(
            codes.iter().all(|code| found.stdout.contains(code)) && found.stdout.contains(&name),
            "{}",
            found.stdout
        );
        w.ctl(&["doctor"]).json();
    });
}

/// Turns red when a turn that comes too late is the end of the move.
#[test]
fn a_turn_that_comes_too_late_is_tried_again() {
    private_world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        // A subscription is dropped when nobody else is looking at one.
        let looking = w.superuser("dedicated", "postgres").await;
        looking.batch_execute("begin; select from pg_subscription").await.unwrap();
        let control = crate::jobs::control(&w).await;
        let is_held = async |held: bool| {
            crate::support::until("it is held, or not", async || {
                let sql = "select bool_or(held) from placements";
                control.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) == held
            })
            .await;
        };
        let meanwhile = async {
            is_held(true).await;
            is_held(false).await;
            w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
            looking.batch_execute("commit").await.unwrap();
        };
        let (moved, ()) = tokio::join!(beside(&w, &["tenant", "move", "1", "--to", "dedicated"]), meanwhile);
        assert_eq!(succeeded(&moved)["cluster"], "dedicated");
        let count = "select count(*) from memories";
        assert_eq!(w.as_tenant(tenant.id).await.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 2);
        assert_eq!(parts(&w).await, Vec::<String>::new());
    });
}

/// Turns red when nobody asks whether the source caps what it keeps for a slot.
#[test]
fn a_plan_notes_a_source_that_caps_no_slot() {
    private_world(async |w| {
        allow(&w);
        w.tenant("One", Isolation::Schema).await;
        let source = w.superuser("shared", "postgres").await;
        for sql in ["alter system set max_slot_wal_keep_size = -1", "select pg_reload_conf()"] {
            source.batch_execute(sql).await.unwrap();
        }
        crate::support::until("the plan says so", async || {
            let planned = w.ctl(&["tenant", "move", "1", "--to", "dedicated", "--dry-run"]).json();
            planned["notes"].to_string().contains("max_slot_wal_keep_size")
        })
        .await;
    });
}

/// Turns red when a slot has the same time to be made whatever was asked for.
#[test]
fn an_online_move_waits_for_older_transactions_as_long_as_it_is_told() {
    world(async |w| {
        allow(&w);
        w.tenant("One", Isolation::Schema).await;
        let older = w.superuser("shared", "postgres").await;
        older.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
        let to = |patience: &'static str| ["tenant", "move", "1", "--to", "dedicated", "--patience", patience];
        let refused = w.ctl(&to("1s"));
        assert_eq!(refused.code, Some(4), "{}", refused.stderr);
        assert!(refused.stderr.contains("no replication slot within 1 s"), "{}", refused.stderr);
        assert_eq!(parts(&w).await, Vec::<String>::new());
        assert_ne!(w.ctl(&to("2d")).code, Some(0), "a job has a day");
        let ending = async {
            let waits = "select exists (select from pg_stat_activity where query like '%pg_create_logical_replication_slot%' and wait_event_type = 'Lock')";
            let watching = w.superuser("shared", "postgres").await;
            crate::support::until("it waits", async || watching.query_one(waits, &[]).await.unwrap().get(0)).await;
            older.batch_execute("commit").await.unwrap();
        };
        let command = to("1h");
        let (moved, ()) = tokio::join!(beside(&w, &command), ending);
        assert_eq!(succeeded(&moved)["cluster"], "dedicated");
    });
}

/// Said before anything is changed, with what is to be done. Turns red when nobody looks for rows that nothing identifies.
#[test]
fn what_cannot_move_online_is_told_why() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let refused = w.ctl(&["tenant", "move", "1", "--to", "dedicated"]);
        assert_eq!(refused.code, Some(3));
        assert!(refused.stderr.contains("strowgerctl cluster online") && refused.stderr.contains("--offline"));
        allow(&w);
        let dry = ["tenant", "move", "1", "--to", "dedicated", "--dry-run"];
        let planned = w.ctl(&dry).json();
        assert_eq!(planned["only_offline"], json!([]));
        assert_eq!(planned["notes"], json!([]));
        let db = w.superuser("shared", &tenant.database).await;
        db.batch_execute("alter table tenant_1.memories replica identity nothing").await.unwrap();
        assert!(w.ctl(&dry).json()["only_offline"][0].as_str().unwrap().contains("memories"));
        w.ctl(&["cluster", "online", "shared", "--undo"]).json();
        assert!(w.ctl(&dry).json()["only_offline"][0].as_str().unwrap().contains("cluster online shared"));
    });
}
