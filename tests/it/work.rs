//! Durable work: promised before the acknowledgement, done once, whoever is killed.

use std::sync::Arc;

use serde_json::Value;
use strowger::app::promises::Promises;
use strowger::clock::Clock;
use strowger::control::Control;
use strowger::control::clusters::Isolation;
use strowger::control::work::{self, Claimed, Ended};
use strowger::directory::{Directory, Staleness};
use strowger::id::TenantId;
use strowger::tenant::{Limits, Router};
use tokio_postgres::Client;

use crate::support::{Account, Proxy, Server, World, signal, until, world};

const CALLER: &str = "+15551234567";

/// A tenant with a number of its own.
struct Line {
    tenant: TenantId,
    account: Account,
    number: String,
    db: Client,
}

impl Line {
    async fn new(w: &World, n: u32) -> Self {
        let tenant = w.tenant(&format!("Line {n}"), Isolation::Schema).await.id;
        let account = w.account(n, Some(tenant)).await;
        let number = format!("+1800555{n:04}");
        w.assign(&number, tenant, &account).await;
        Self { tenant, account, number, db: w.as_tenant(tenant).await }
    }

    /// A call that begins.
    async fn begin(&self, server: &Server) -> Vec<(String, String)> {
        let call = self.account.call(CALLER, &self.number);
        assert_eq!(self.account.signed(server, "/call/incoming", &call).send().await.unwrap().status(), 200);
        call
    }

    /// The callback that it has ended.
    async fn end(&self, server: &Server, call: &[(String, String)]) -> u16 {
        let mut fields: Vec<(String, String)> = call.iter().filter(|(name, _)| name != "CallStatus").cloned().collect();
        for (name, value) in [("CallStatus", "completed"), ("SequenceNumber", "3"), ("CallDuration", "42")] {
            fields.push((name.to_owned(), value.to_owned()));
        }
        self.account.signed(server, "/call/status", &fields).send().await.unwrap().status().as_u16()
    }

    async fn summaries(&self) -> i64 {
        count(&self.db, "select count(*) from call_summaries").await
    }
}

async fn count(db: &Client, sql: &str) -> i64 {
    db.query_one(sql, &[]).await.unwrap().get(0)
}

async fn control(w: &World) -> Client {
    w.superuser("control", &w.prefix.name("control")).await
}

fn items(w: &World, state: &str) -> Vec<Value> {
    w.ctl(&["work", "list", "--state", state, "--limit", "1000"]).json().as_array().unwrap().clone()
}

async fn done(w: &World, how_many: usize) {
    until("the work is done", async || items(w, "done").len() == how_many).await;
}

#[test]
fn a_call_that_ended_is_processed_once_however_often_that_is_said() {
    world(async |w| {
        let line = Line::new(&w, 1).await;
        let (one, two) = (w.server(), w.server());
        let call = line.begin(&one).await;
        for server in [&one, &two, &one] {
            assert_eq!(line.end(server, &call).await, 200);
        }
        done(&w, 1).await;
        assert_eq!(line.summaries().await, 1);
        assert_eq!(line.end(&two, &call).await, 200);
        let all = w.ctl(&["work", "list"]).json();
        assert_eq!((all.as_array().unwrap().len(), &all[0]["state"]), (1, &"done".into()), "done, and not begun anew");
        let summary: String = line.db.query_one("select summary from call_summaries", &[]).await.unwrap().get(0);
        assert_eq!(summary, "A call of 42 seconds. What was said is not on record.");
    });
}

/// The lease is ended by hand, since it lasts minutes. Turns red when `claim` takes queued items only.
#[test]
fn what_a_killed_server_was_at_is_done_by_another() {
    world(async |w| {
        let line = Line::new(&w, 1).await;
        let one = w.server();
        let call = line.begin(&one).await;
        // Its handler waits for this lock, so it is killed in the middle of the item.
        line.db.batch_execute("begin; lock table call_summaries in access exclusive mode").await.unwrap();
        assert_eq!(line.end(&one, &call).await, 200);
        until("the item is leased", async || items(&w, "leased").len() == 1).await;
        signal(one.pid(), "KILL");
        drop(one);
        line.db.batch_execute("rollback").await.unwrap();
        let two = w.server();
        assert_eq!(line.summaries().await, 0);
        let db = control(&w).await;
        db.execute("update work_items set not_before = now()", &[]).await.unwrap();
        done(&w, 1).await;
        assert_eq!(line.summaries().await, 1);
        two.assert_calm(0).await;
    });
}

#[test]
fn a_poisonous_item_ends_dead_with_its_reason_and_others_go_on() {
    world(async |w| {
        let (bad, good) = (Line::new(&w, 1).await, Line::new(&w, 2).await);
        let db = control(&w).await;
        // One that does not open, and one that fails until its attempts are over.
        let sql = "insert into work_items (tenant_id, kind, source_id, sealed) values ($1, 'process_call', 'CAx', 'not sealed')";
        db.execute(sql, &[&i32::from(bad.tenant)]).await.unwrap();
        db.execute("insert into work_turns (tenant_id) values ($1)", &[&i32::from(bad.tenant)]).await.unwrap();
        let server = w.server();
        until("it is dead", async || items(&w, "dead").len() == 1).await;
        let found = w.ctl(&["doctor"]).stdout;
        assert!(found.contains("work.dead") && found.contains("sealed.unreadable"), "{found}");

        let call = bad.begin(&server).await;
        db.execute("alter table work_items disable trigger announce", &[]).await.unwrap();
        let owner = format!("set role {}_t{}_owner", w.prefix, bad.tenant);
        let tenants = w.superuser("shared", &database_of(&w, bad.tenant).await).await;
        tenants.batch_execute(&owner).await.unwrap();
        let schema = format!("tenant_{}", bad.tenant);
        tenants.batch_execute(&format!("alter table {schema}.call_summaries rename to hidden")).await.unwrap();
        assert_eq!(bad.end(&server, &call).await, 200);
        until("it has failed once", async || {
            let sql = "select count(*) from work_items where reason is not null and state = 'queued'";
            count(&db, sql).await == 1
        })
        .await;
        db.execute("update work_items set attempts = 9, not_before = now() where state = 'queued'", &[]).await.unwrap();
        until("both are dead", async || items(&w, "dead").len() == 2).await;
        let reason = items(&w, "dead")[0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.contains("42P01"), "{reason}");
        let other = good.begin(&server).await;
        assert_eq!(good.end(&server, &other).await, 200);
        done(&w, 1).await;

        // Mended, and tried once more.
        tenants.batch_execute(&format!("alter table {schema}.hidden rename to call_summaries")).await.unwrap();
        let id = items(&w, "dead")[0]["id"].to_string();
        assert_eq!(w.ctl(&["work", "retry", &id]).json()["retried"], 1);
        done(&w, 2).await;
        assert_eq!(bad.summaries().await, 1);
        let poison = items(&w, "dead")[0]["id"].to_string();
        assert_eq!(w.ctl(&["work", "retry", "--all-dead"]).json()["retried"], 1);
        until("it is dead again", async || items(&w, "dead").len() == 1).await;
        assert_eq!(w.ctl(&["work", "drop", &poison]).json()["dropped"], 1);
        assert_eq!(w.ctl(&["work", "drop", &poison]).code, Some(3));
        assert_eq!(w.ctl(&["work", "show", &poison]).code, Some(3));
        let audit = w.ctl(&["audit", "list"]).stdout;
        assert!(audit.contains("work.retry") && audit.contains("work.drop"));
    });
}

async fn database_of(w: &World, tenant: TenantId) -> String {
    let sql = "select database from placements where tenant_id = $1";
    control(w).await.query_one(sql, &[&i32::from(tenant)]).await.unwrap().get(0)
}

/// Turns red when `claim` orders by age alone.
#[test]
fn a_tenant_that_floods_the_queue_does_not_keep_another_waiting() {
    world(async |w| {
        let (flood, other) =
            (w.tenant("Flood", Isolation::Schema).await.id, w.tenant("Other", Isolation::Schema).await.id);
        let db = control(&w).await;
        for (tenant, items) in [(flood, 30), (other, 2)] {
            let sql = "insert into work_items (tenant_id, kind, source_id, sealed)
                       select $1, 'process_call', 'CA' || n, 'x' from generate_series(1, $2) n";
            db.execute(sql, &[&i32::from(tenant), &items]).await.unwrap();
            db.execute("insert into work_turns (tenant_id) values ($1)", &[&i32::from(tenant)]).await.unwrap();
        }
        let server = Control::lazy(&w.urls.server, "test", 1).unwrap();
        let claim = async |holder: &str, kind: &str| work::claim(&server, holder, &[kind]).await.unwrap();
        assert!(claim("a", "of_a_newer_build").await.is_none());
        let mut claimed = Vec::new();
        for holder in ["a", "b", "a", "b"] {
            claimed.push(claim(holder, "process_call").await.unwrap());
        }
        let served: Vec<TenantId> = claimed.iter().map(Claimed::tenant).collect();
        assert_eq!(served, [flood, other, flood, other], "they take turns");
        assert!(claim("a", "process_call").await.is_none(), "two at a time are a tenant's part, however many wait");

        // Only who has the lease says how an item ended.
        work::end(&server, &claimed[0], "b", &Ended::Done).await.unwrap();
        assert!(claim("a", "process_call").await.is_none());
        work::end(&server, &claimed[0], "a", &Ended::Done).await.unwrap();
        assert_eq!(claim("a", "process_call").await.unwrap().tenant(), flood);
        db.execute("update tenants set state = 'suspended' where id = $1", &[&i32::from(flood)]).await.unwrap();
        db.execute("update work_items set not_before = now() where state = 'leased'", &[]).await.unwrap();
        let next = claim("c", "process_call").await.unwrap();
        assert_eq!((next.tenant(), next.attempts), (other, 2), "a lease that is over; a suspended tenant's work waits");
    });
}

async fn behind(w: &World) -> (Server, Proxy) {
    let (before, rest) = w.urls.server.split_once('@').unwrap();
    let (address, rest) = rest.split_once('/').unwrap();
    let proxy = Proxy::to(address.parse().unwrap()).await;
    let server = w.server_at(&format!("{before}@{}/{rest}", proxy.address));
    (server, proxy)
}

#[test]
fn what_is_promised_while_control_is_away_is_queued_when_it_is_back() {
    world(async |w| {
        let line = Line::new(&w, 1).await;
        let (server, proxy) = behind(&w).await;
        let call = line.begin(&server).await;
        proxy.cut();
        assert_eq!(line.end(&server, &call).await, 200);
        assert_eq!(line.end(&server, &call).await, 200);
        assert_eq!(count(&line.db, "select count(*) from outbox").await, 1);
        proxy.mend();
        done(&w, 1).await;
        assert_eq!(line.summaries().await, 1);
        assert_eq!(count(&line.db, "select count(*) from outbox").await, 0);
    });
}

#[test]
fn what_a_killed_server_promised_outside_is_found_by_the_daily_round() {
    world(async |w| {
        let line = Line::new(&w, 1).await;
        let (server, proxy) = behind(&w).await;
        let call = line.begin(&server).await;
        proxy.cut();
        assert_eq!(line.end(&server, &call).await, 200);
        drop(server);
        let other = w.server();
        let control = Control::lazy(&w.urls.server, "test", 1).unwrap();
        let swept = work::next_to_sweep(&control).await.unwrap().unwrap();
        assert_eq!(swept.tenant(), line.tenant);
        assert!(work::next_to_sweep(&control).await.unwrap().is_none(), "once a day");
        let directory = Directory::new(control, w.server_ring.clone(), &Clock::system(), Staleness::default());
        let directory = Arc::new(directory);
        let router = Arc::new(Router::new(Arc::clone(&directory), "test", 1, Limits::default()));
        let promises = Promises::new(directory, router);
        assert_eq!(promises.carry_over(&swept).await.unwrap(), 1);
        assert_eq!(promises.carry_over(&swept).await.unwrap(), 0);
        done(&w, 1).await;
        assert_eq!(line.summaries().await, 1);
        other.assert_calm(0).await;
    });
}

#[test]
fn nothing_of_a_call_stands_in_control_in_the_clear_and_an_erased_tenant_leaves_no_work() {
    world(async |w| {
        let line = Line::new(&w, 1).await;
        let db = control(&w).await;
        let server = w.server();
        let call = line.begin(&server).await;
        line.db.batch_execute("begin; lock table call_summaries in access exclusive mode").await.unwrap();
        assert_eq!(line.end(&server, &call).await, 200);
        until("the item is leased", async || items(&w, "leased").len() == 1).await;
        let sealed: Vec<u8> = db.query_one("select sealed from work_items", &[]).await.unwrap().get(0);
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("process_call") && !text.contains("CA"), "{text}");
        assert_eq!(w.ctl(&["doctor"]).json(), serde_json::json!([]), "it opens under the tenant's key");
        let shown = w.ctl(&["work", "list"]).stdout;
        assert!(!shown.contains(CALLER) && !shown.contains("sealed"));
        line.db.batch_execute("rollback").await.unwrap();
        let id = line.tenant.to_string();
        w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id, "--reason", "test"]).json();
        assert_eq!(count(&db, "select count(*) from work_items").await, 0);
        assert_eq!(count(&db, "select count(*) from work_turns").await, 0);
    });
}
