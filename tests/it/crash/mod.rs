//! The shipped `strowgerctl` is killed with SIGKILL at every statement that it sends to Postgres, control database and
//! clusters alike, before, while and after Postgres carries it out. The same command, run again, makes it whole.
//!
//! The life cycle's own kinds (create, migrate, rotate, suspend, delete, erase) have the connection cut at every statement
//! as well, before it is sent and after it is done: an answer is lost, and the command lives on to say so. That, and each statement of what
//! takes long, is for `STROWGER_TEST_SWEEPS=whole`; otherwise some are cut in the creation and erasure of a schema.
//!
//! Every sweep ends with no orphan, a whole audit chain, and a doctor that finds nothing.
//!
//! What a statement is, is said in [`crate::support::counting_proxy`]. Nothing in an unkilled run depends on time, so it
//! always sends the same number.

mod catalog;
mod declared;
mod endings;
mod number;
mod playbook;
mod rotate;
pub(crate) mod tapped;

use std::sync::Arc;

use provisioner::tenants;
use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::State;
use strowger::id::TenantId;
use tokio_postgres::error::SqlState;

use crate::support::counting_proxy::Moment;
use crate::support::{World, connect, world};
pub(crate) use catalog::{Catalog, is_sound, only_receipts_are_left};
use tapped::{Tapped, deaths, in_all_lanes, in_more_lanes, one_in, some_deaths};

pub(crate) fn id_of(tenant: &Value) -> TenantId {
    i32::try_from(tenant["customer_id"].as_i64().unwrap()).unwrap().try_into().unwrap()
}

/// The tenant's login works, lands in its own schema, and may write there.
pub(crate) async fn is_served(w: &World, tenant: &Value) {
    let db = w.as_tenant(id_of(tenant)).await;
    let sql = "select current_user::text, current_schema()::text, tenant_id from identity";
    let row = db.query_one(sql, &[]).await.unwrap();
    assert_eq!(json!(row.get::<_, String>(0)), tenant["login_role"]);
    assert_eq!(json!(row.get::<_, String>(1)), tenant["schema"]);
    assert_eq!(json!(row.get::<_, i32>(2)), tenant["customer_id"]);
    db.execute("insert into memories (user_id, content) values ('+18005550199', 'x')", &[]).await.unwrap();
}

/// Turns red when a step is not idempotent, when a step is left out after a crash, or when something is made that the
/// control database does not know: for instance when `ensure_database` does not look for what is there, or when
/// `finish_create` goes by the job and not by the tenant's state.
async fn create_killed_everywhere(w: &Arc<World>, isolation: Isolation, lane: Moment) {
    let tapped = Tapped::new(w).await;
    let before = Catalog::read(w).await;
    let kind = isolation.as_str();
    let create = |name: &str| ["tenant", "create", "--name", name, "--isolation", kind].map(str::to_owned);
    let run = async |name: &str| tapped.run(&create(name).each_ref().map(String::as_str)).await;
    let (_, statements) = run("first").await;
    let mut names = vec!["first".to_owned()];
    for (at, moment) in some_deaths(if lane.is_cut() { 4 } else { 1 }, statements, lane) {
        let name = format!("{moment:?} {at}");
        tapped.stop(at, moment, &create(&name).each_ref().map(String::as_str)).await;
        let (tenant, _) = run(&name).await;
        assert_eq!(tenant["state"], "active", "{name}");
        assert_eq!(json!(w.tenant(&name, isolation).await), tenant, "{name}: the same once more");
        is_served(w, &tenant).await;
        names.push(name);
    }
    let (_, again) = run("last").await;
    names.push("last".to_owned());
    println!(
        "tenant create ({kind}): killed at each of {statements} statements ({lane:?}); an unkilled run sends {again}"
    );
    assert_eq!(again, statements);
    before.holds_exactly(w, &names).await;
}

#[test]
fn killed_create_of_a_schema_is_made_whole() {
    in_all_lanes(async |w, lane| create_killed_everywhere(&w, Isolation::Schema, lane).await);
}

#[test]
fn killed_create_of_a_database_is_made_whole() {
    in_more_lanes(async |w, lane| create_killed_everywhere(&w, Isolation::Database, lane).await);
}

/// A killed command's last statement may run on in Postgres while the next command is at work: it is ended first.
///
/// Turns red without `end_sessions` in `AdminDb::open_for`: both would make the database, and the second fail.
#[test]
fn the_last_statement_of_a_killed_create_is_not_raced() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let before = Catalog::read(&w).await;
        let create = ["tenant", "create", "--name", "One", "--isolation", "database"];
        let (blocking, watching) =
            (w.superuser("dedicated", "postgres").await, w.superuser("dedicated", "postgres").await);
        blocking.batch_execute("begin; lock table pg_database in share row exclusive mode").await.unwrap();
        let making = async |other_than: i32| loop {
            let sql = "select pid from pg_stat_activity where usename = $1 and pid <> $2 and query ~ '^create database'
                       and wait_event_type = 'Lock'";
            let admin = w.prefix.name("admin_a");
            if let Some(row) = watching.query_opt(sql, &[&admin, &other_than]).await.unwrap() {
                return row.get::<_, i32>(0);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        let mut killed = tapped.spawn(&create);
        let orphan = making(0).await;
        killed.kill().await.unwrap();
        let again = tapped.spawn(&create);
        making(orphan).await;
        blocking.batch_execute("rollback").await.unwrap();
        let ended = again.wait_with_output().await.unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        before.holds_exactly(&w, &["One".to_owned()]).await;
    });
}

#[test]
fn what_a_killed_create_began_a_worker_finishes() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let before = Catalog::read(&w).await;
        let mut names = Vec::new();
        for isolation in ["schema", "database"] {
            let create = ["tenant", "create", "--isolation", isolation, "--name"];
            let named =
                |name: &str| [&create[..], &[name]].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
            let measured = format!("{isolation} whole");
            let args = named(&measured);
            let (_, statements) = tapped.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
            names.push(measured);
            for at in (3..=statements).step_by(one_in(6)) {
                let name = format!("{isolation} {at}");
                let args = named(&name);
                tapped.stop(at, Moment::Unsent, &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
                names.push(name);
            }
        }
        let mut worker = tapped.spawn(&["worker"]);
        let control = w.superuser("control", &w.prefix.name("control")).await;
        loop {
            let sql = "select count(*) from jobs where state in ('queued', 'running')";
            if control.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                break;
            }
            assert!(worker.try_wait().unwrap().is_none(), "the worker ended");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        worker.kill().await.unwrap();
        // Those that were killed before they were reserved left nothing.
        let made = w.ctl(&["tenant", "list"]).json();
        let made: Vec<String> =
            made.as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect();
        assert!(made.iter().all(|name| names.contains(name)) && made.len() > 8, "{made:?}");
        before.holds_exactly(&w, &made).await;
    });
}

/// Turns red when the fence is left out after the state says suspended: the second run would find nothing to do.
#[test]
fn killed_suspend_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let id = w.tenant("One", Isolation::Schema).await.id;
        let text = id.to_string();
        let suspend = ["tenant", "suspend", &text];
        let resume = async || tenants::resume(&w.with, id, "").await.unwrap();
        let (_, statements) = tapped.run(&suspend).await;
        for (at, moment) in deaths(statements, lane) {
            resume().await;
            let url = tenants::connection(&w.with, id).await.unwrap();
            let session = w.as_tenant(id).await;
            tapped.stop(at, moment, &suspend).await;
            let (tenant, _) = tapped.run(&suspend).await;
            assert_eq!(tenant["state"], "suspended");
            assert!(session.query("select 1", &[]).await.is_err(), "{moment:?} {at}: a session is left");
            let refused = connect(&url).await.expect_err("no login works");
            assert_eq!(refused.code().map(SqlState::code), Some("28000"), "{moment:?} {at}");
        }
        resume().await;
        let (_, again) = tapped.run(&suspend).await;
        println!("tenant suspend: killed at each of {statements} statements ({lane:?}); an unkilled run sends {again}");
        assert_eq!(again, statements);
        is_sound(&w);
    });
}

/// Turns red when the grants are put back before the state says so, or when `Grants` forgets who asked.
#[test]
fn killed_read_only_is_finished_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let id = w.tenant("One", Isolation::Schema).await.id;
        let text = id.to_string();
        let command = ["tenant", "read-only", &text];
        let resume = async || tenants::resume(&w.with, id, "").await.unwrap();
        let (_, statements) = tapped.run(&command).await;
        let write = "insert into memories (user_id, content) values ('+18005550199', 'x')";
        for (at, moment) in deaths(statements, lane) {
            resume().await;
            let session = w.as_tenant(id).await;
            session.execute(write, &[]).await.unwrap();
            tapped.stop(at, moment, &command).await;
            let (tenant, _) = tapped.run(&command).await;
            assert_eq!(tenant["state"], "read_only");
            let refused = session.execute(write, &[]).await.expect_err("no write works");
            assert_eq!(refused.code().map(SqlState::code), Some("42501"), "{moment:?} {at}");
            session.query("select * from memories", &[]).await.unwrap();
        }
        println!("tenant read-only: killed at each of {statements} statements ({lane:?})");
        is_sound(&w);
    });
}

#[test]
fn killed_delete_is_finished_by_a_worker() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let delete = |id: TenantId| ["tenant".to_owned(), "delete".to_owned(), id.to_string()];
        let first = w.tenant("First", Isolation::Schema).await.id;
        let (_, statements) = tapped.run(&delete(first).each_ref().map(String::as_str)).await;
        let mut begun = Vec::new();
        for (at, moment) in deaths(statements, lane) {
            let id = w.tenant(&format!("{moment:?} {at}"), Isolation::Schema).await.id;
            let url = tenants::connection(&w.with, id).await.unwrap();
            tapped.stop(at, moment, &delete(id).each_ref().map(String::as_str)).await;
            begun.push((id, url));
        }
        let mut worker = tapped.spawn(&["worker"]);
        let sql = "select count(*) from jobs where state in ('queued', 'running') and kind = 'delete'";
        while control.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        worker.kill().await.unwrap();
        let mut deleted = 0;
        for (id, url) in begun {
            let tenant = tenants::get(&w.with, id).await.unwrap();
            // One killed before its job was written down has changed nothing; there is no third way.
            let refused = connect(&url).await.err().and_then(|error| error.code().cloned());
            match tenant.state {
                State::Deleted => assert_eq!(refused.as_ref().map(SqlState::code), Some("28000")),
                State::Active => assert_eq!(refused, None),
                other => panic!("{other:?}"),
            }
            deleted += usize::from(tenant.state == State::Deleted);
        }
        assert!(deleted > statements / 2, "{deleted} of {statements}");
        println!("tenant delete: killed at each of {statements} statements ({lane:?}); a worker finished {deleted}");
        is_sound(&w);
    });
}

/// Turns red when taking a step back does not look for what there is, and when the reservation is forgotten first.
#[test]
fn killed_cancel_of_a_creation_leaves_nothing_when_run_again() {
    in_more_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let before = Catalog::read(&w).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let create = |name: &str| ["tenant", "create", "--isolation", "database", "--name", name].map(str::to_owned);
        let (_, all) = tapped.run(&create("whole").each_ref().map(String::as_str)).await;
        let whole = w.ctl(&["tenant", "list"]).json()[0]["customer_id"].to_string();
        // Killed when everything was made and only control does not know yet.
        let begun = async |name: &str| {
            tapped.stop(all - 4, Moment::Unsent, &create(name).each_ref().map(String::as_str)).await;
            let sql = "select id from jobs where kind = 'create' order by id desc limit 1";
            control.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).to_string()
        };
        let job = begun("first").await;
        let (_, statements) = tapped.run(&["job", "cancel", &job]).await;
        for (at, moment) in deaths(statements, lane) {
            let job = begun(&format!("{moment:?} {at}")).await;
            tapped.stop(at, moment, &["job", "cancel", &job]).await;
            let (ended, _) = tapped.run(&["job", "cancel", &job]).await;
            assert_eq!(ended["state"], "cancelled", "{moment:?} {at}");
        }
        println!("job cancel: killed at each of {statements} statements ({lane:?})");
        let left =
            "select (select count(*) from placements) + (select count(*) from data_keys where tenant_id is not null)
                           + (select count(*) from jobs where state in ('waiting', 'queued', 'running', 'failed'))";
        assert_eq!(control.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 2, "of the one that was finished");
        w.ctl(&["tenant", "show", &whole]).json();
        before.also_holds(&w, &["whole".to_owned()]).await;
    });
}
