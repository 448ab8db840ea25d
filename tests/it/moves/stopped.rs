//! A move that is stopped in the middle: cancelled while it copies or holds, or given up because its last part does not come.

use std::sync::atomic::Ordering;

use serde_json::json;
use strowger::control::clusters::Isolation;
use tokio_postgres::Client;

use super::online::{Writers, allow, parts};
use super::{WRITE, beside, hold_instead, scopes, succeeded, tenant_now};
use crate::crash::Catalog;
use crate::jobs::{control, until};
use crate::support::{World, world};

/// Statements that change a database's catalogs wait in it for as long as this lasts.
struct Stall(Client);

impl Stall {
    /// Those of a kind that are sent within a text like this.
    async fn of(w: &World, server: &str, database: &str, (kind, text): (&str, &str)) -> Self {
        let db = w.superuser(server, database).await;
        let sql = format!(
            "create schema stall;
             create function stall.wait() returns event_trigger language plpgsql security definer as $$
             begin if current_query() like '{text}' then perform pg_advisory_xact_lock(1); end if; end $$;
             create event trigger stall on ddl_command_start when tag in ('{kind}') execute function stall.wait();
             select pg_advisory_lock(1)"
        );
        db.batch_execute(&sql).await.unwrap();
        Self(db)
    }

    async fn is_felt(&self) {
        let sql = "select exists (select from pg_locks where locktype = 'advisory' and not granted
                                  and database = (select oid from pg_database where datname = current_database()))";
        until(&self.0, sql).await;
    }

    async fn end(self) {
        self.0.batch_execute("select pg_advisory_unlock_all(); drop schema stall cascade").await.unwrap();
    }
}

/// The move that somebody is at, for `job cancel`.
async fn job(w: &World) -> String {
    let sql = "select max(id)::text from jobs where kind = 'move'";
    control(w).await.query_one(sql, &[]).await.unwrap().get(0)
}

/// What a move that was cancelled leaves: the tenant where it lived, written to, and nothing else.
async fn is_as_it_was(w: &World, server: &str, before: Catalog) {
    let now = tenant_now(w, 1.try_into().unwrap()).await;
    assert_eq!((now.cluster.as_str(), now.held), (server, false));
    w.as_tenant(now.id).await.execute(WRITE, &[]).await.unwrap();
    assert_eq!(parts(w).await, Vec::<String>::new());
    before.still_holds(w).await;
    w.ctl(&["doctor"]).json();
}

/// The copy has hours to go, and the cancellation is not kept waiting. Turns red when a holder hears of it between two steps only, and when
/// what it sent last is not ended before all is taken back: the roles could not be dropped.
#[test]
fn a_move_that_is_cancelled_while_it_copies_is_taken_back_at_once() {
    world(async |w| {
        allow(&w);
        w.tenant("One", Isolation::Database).await;
        for how in [&[][..], &["--offline"][..]] {
            let before = Catalog::read(&w).await;
            let stall = Stall::of(&w, "shared", &w.prefix.name("shared"), ("ALTER TABLE", "%")).await;
            let command = [&["tenant", "move", "1", "--to", "shared"], how].concat();
            let cancelling = async {
                stall.is_felt().await;
                let (job, db) = (job(&w).await, control(&w).await);
                let command = ["job", "cancel", job.as_str()];
                let ended = format!("select state = 'cancelled' from jobs where id = {job}");
                tokio::join!(beside(&w, &command), until(&db, &ended)).0
            };
            let (moved, cancelled) = tokio::join!(beside(&w, &command), cancelling);
            assert_eq!(succeeded(&cancelled)["state"], "cancelled");
            let words = String::from_utf8_lossy(&moved.stderr);
            assert!(moved.status.code() == Some(3) && words.contains("was cancelled"), "{words}");
            stall.end().await;
            is_as_it_was(&w, "dedicated", before).await;
        }
    });
}

/// Turns red when the turn asks only whether the job is still its own, and not whether it was cancelled. Somebody's open write keeps the
/// tenant held until the cancellation is there.
#[test]
fn a_move_that_is_cancelled_while_it_holds_does_not_turn() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let before = Catalog::read(&w).await;
        let blocking = w.superuser("shared", &tenant.database).await;
        blocking.batch_execute("begin; lock table tenant_1.memories in row exclusive mode").await.unwrap();
        let cancelling = async {
            let db = control(&w).await;
            until(&db, "select held from placements").await;
            let job = job(&w).await;
            let going_on = async {
                until(&db, "select bool_or(undo) from jobs where kind = 'move'").await;
                blocking.batch_execute("rollback").await.unwrap();
            };
            let command = ["job", "cancel", job.as_str()];
            tokio::join!(beside(&w, &command), going_on).0
        };
        let command = ["tenant", "move", "1", "--to", "dedicated", "--offline"];
        let (moved, cancelled) = tokio::join!(beside(&w, &command), cancelling);
        assert_eq!(succeeded(&cancelled)["state"], "cancelled");
        assert_eq!(moved.status.code(), Some(3), "{}", String::from_utf8_lossy(&moved.stderr));
        is_as_it_was(&w, "shared", before).await;
    });
}

/// Bytes, and not only steps, in `job show` and on a terminal. Turns red when the rows that pass are not counted, or nobody writes that down.
#[test]
fn how_far_a_move_or_a_restore_is_stands_in_its_job() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let sql =
            "insert into memories (user_id, content) select n::text, repeat('x', 100) from generate_series(1, 20000) n";
        w.as_tenant(tenant.id).await.batch_execute(sql).await.unwrap();
        hold_instead(&w, "dedicated", Isolation::Schema);
        let store = w.dir.join("backups");
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store.to_str().unwrap()]).json();
        let backup = made[0]["id"].as_str().unwrap();
        let db = control(&w).await;
        for (server, command, says) in [
            ("dedicated", &["tenant", "move", "1", "--to", "dedicated", "--offline"][..], "^copied [1-9][.0-9]* MB$"),
            ("dedicated", &["backup", "restore", backup, "--in-place"], "^restored ([1-9][.0-9]* MB) of \\1$"),
        ] {
            let stall = Stall::of(&w, server, &w.prefix.name("shared"), ("ALTER TABLE", "%add constraint%")).await;
            let said = format!("select exists (select from jobs where state = 'running' and detail ~ '{says}')");
            let looking = async {
                until(&db, &said).await;
                stall.end().await;
            };
            let (ended, ()) = tokio::join!(beside(&w, command), looking);
            succeeded(&ended);
            until(&db, "select bool_and(detail is null) from jobs").await;
        }
    });
}

/// Clients of two servers send nothing twice. Turns red when what is done while writes wait has no end of its own, and when what is under
/// way then is not ended before the tenant is written to again.
#[test]
fn a_turn_that_does_not_come_is_given_up_before_a_write_is_refused() {
    world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let token = w.token(tenant.id, &scopes()).await;
        let servers = [w.server(), w.server()];
        let writers = Writers::default();
        let command = ["tenant", "move", "1", "--to", "dedicated"];
        let moving = async {
            let held = ("REVOKE", "%revoke insert, update, delete on all tables%");
            let stall = Stall::of(&w, "shared", &tenant.database, held).await;
            writers.more().await;
            let given_up = beside(&w, &command).await;
            writers.more().await;
            stall.end().await;
            let moved = beside(&w, &command).await;
            writers.more().await;
            writers.stop.store(true, Ordering::Relaxed);
            (given_up, moved)
        };
        let ((given_up, moved), (), ()) =
            tokio::join!(moving, writers.write(0, &servers[0], &token), writers.write(1, &servers[1], &token));
        let words = String::from_utf8_lossy(&given_up.stderr);
        assert!(given_up.status.code() == Some(4) && words.contains("nothing was changed"), "{words}");
        assert_eq!(succeeded(&moved)["cluster"], json!("dedicated"));
        writers.all_is_there(&w, tenant.id).await;
        assert_eq!(parts(&w).await, Vec::<String>::new());
    });
}
