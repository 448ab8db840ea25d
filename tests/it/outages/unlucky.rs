//! Moves that meet what a sweep does not: a slot that is lost, a cluster that does not come back before the move is taken back, a server
//! that acknowledges before it writes, a worker that finishes what a command began.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use tokio_postgres::Client;

use crate::backup::store;
use crate::crash::tapped::{Tapped, is_whole};
use crate::moves::WRITE;
use crate::moves::online::{allow, parts};
use crate::moves::tenant_now;
use crate::support::{Ran, World, private_world};

const ONLINE: [&str; 5] = ["tenant", "move", "1", "--to", "dedicated"];
const OFFLINE: [&str; 6] = ["tenant", "move", "1", "--to", "dedicated", "--offline"];
/// A slot keeps what is written.
const HAS_SLOT: &str = "select exists (select from pg_replication_slots)";
/// And the target asks for it.
const IS_ASKED: &str = "select exists (select from pg_replication_slots where active)";

/// Whether the tenant's own logins may not write where it lives.
fn is_held(w: &World, tenant: &Tenant) -> String {
    format!(
        "select not has_table_privilege('{}', '{}.memories', 'insert')",
        w.prefix.tenant(tenant.id, "rw"),
        tenant.schema
    )
}

/// The tenant lives where it did, and may be written to.
async fn is_served_at_home(w: &World, tenant: &Tenant) {
    let now = tenant_now(w, tenant.id).await;
    assert_eq!((now.cluster.as_str(), now.held), ("shared", false));
    w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
}

async fn newest_move(w: &World) -> (String, String) {
    let sql = "select id::text, state from jobs where kind = 'move' order by jobs.id desc limit 1";
    let row = crate::jobs::control(w).await.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

fn is_clean(w: &World) {
    let Ran { code, stdout, stderr } = w.ctl(&["doctor"]);
    assert_eq!(code, Some(0), "{stdout} {stderr}");
}

/// Turns red when `take_back` ends what replicates before it lets the tenant be written to.
#[test]
fn a_move_that_is_taken_back_while_the_target_is_away_holds_nobody() {
    private_world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        let source = w.superuser("shared", &tenant.database).await;
        // The command dies of it too: nobody lets the tenant go.
        let die = async || {
            tapped.signal_running("KILL");
            w.servers().kill("dedicated");
        };
        tapped.once((&source, &is_held(&w, &tenant), 0), &ONLINE, die).await;
        assert!(tenant_now(&w, tenant.id).await.held, "the control");
        let (job, _) = newest_move(&w).await;
        let cancelled = w.ctl(&["job", "cancel", &job]);
        assert_eq!(cancelled.code, Some(4), "{}", cancelled.stderr);
        is_served_at_home(&w, &tenant).await;
        w.servers().start_again("dedicated").await;
        assert_eq!(w.ctl(&["job", "wait", &job]).json()["state"], "cancelled");
        assert_eq!(parts(&w).await, Vec::<String>::new());
        is_served_at_home(&w, &tenant).await;
        is_clean(&w);
    });
}

/// Turns red when a job is given up whatever became of its tenant, for its attempts or for its age; or is not claimed at that age.
#[test]
fn what_keeps_its_tenant_from_being_served_is_not_given_up() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        let restore = ["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"];
        let tapped = Tapped::new(&w).await;
        let login = w.prefix.tenant(tenant.id, "a");
        let is_shut = format!("select not rolcanlogin from pg_roles where rolname = '{login}'");
        for (out, command) in [(is_shut, &restore[..]), (is_held(&w, &tenant), &OFFLINE)] {
            let source = w.superuser("shared", &tenant.database).await;
            let ended = tapped.once((&source, &out, 0), command, async || w.servers().kill("shared")).await;
            assert_eq!(ended.status.code(), Some(4), "{}", String::from_utf8_lossy(&ended.stderr));
            // The last of its attempts, were it any other job.
            let control = crate::jobs::control(&w).await;
            let last = "update jobs set attempts = 9, not_before = now() where state = 'queued'";
            control.batch_execute(last).await.unwrap();
            let newest = "select id::text, state from jobs order by jobs.id desc limit 1";
            let job: String = control.query_one(newest, &[]).await.unwrap().get(0);
            assert_eq!(w.ctl(&["job", "wait", &job]).code, Some(4), "{command:?}");
            assert_eq!(control.query_one(newest, &[]).await.unwrap().get::<_, String>(1), "queued", "{command:?}");
            // It is too old, too, and nobody was at it when its time ran out.
            control
                .batch_execute("update jobs set deadline = now(), not_before = now() where state = 'queued'")
                .await
                .unwrap();
            assert_eq!(strowger::control::jobs::expire(w.with.control()).await.unwrap(), 0, "{command:?}");
            let mut worker = crate::jobs::worker(&w);
            crate::jobs::until(&control, "select attempts > 10 from jobs order by jobs.id desc limit 1").await;
            worker.kill().await.unwrap();
            w.servers().start_again("shared").await;
            assert_eq!(w.ctl(&["job", "wait", &job]).json()["state"], "done");
            w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        }
        assert_eq!(tenant_now(&w, tenant.id).await.cluster, "dedicated");
        is_clean(&w);
    });
}

/// Wherever the slot is lost, and however. Turns red when the error does not say that it was the slot.
#[test]
fn a_move_whose_slot_is_lost_is_begun_anew() {
    private_world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        // No more than this is kept for anybody: less than a segment.
        w.servers().set("shared", "max_slot_wal_keep_size = 1").await;
        for (when, outgrown) in [(HAS_SLOT, false), (HAS_SLOT, true), (IS_ASKED, false), (IS_ASKED, true)] {
            let source = w.superuser("shared", "postgres").await;
            let lose = async || if outgrown { outgrow(&source).await } else { drop_slot(&source).await };
            let ended = tapped.once((&source, when, 0), &ONLINE, lose).await;
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(4), "{when} {outgrown}: {said}");
            assert!(said.contains("replication slot"), "{when} {outgrown}: {said}");
            is_served_at_home(&w, &tenant).await;
            assert_eq!(parts(&w).await, Vec::<String>::new(), "{when} {outgrown}");
            assert_eq!(newest_move(&w).await.1, "queued", "{when} {outgrown}: it is begun anew");
            let (again, _) = tapped.run(&ONLINE).await;
            assert_eq!((&again["cluster"], &again["held"]), (&json!("dedicated"), &json!(false)));
            w.ctl(&["tenant", "move", "1", "--undo"]).json();
        }
        is_clean(&w);
    });
}

/// Whoever asks for it is sent away as often as it comes back.
async fn drop_slot(db: &Client) {
    let gone = async || {
        db.batch_execute("select pg_terminate_backend(active_pid, 1000) from pg_replication_slots where active")
            .await
            .unwrap();
        let dropped = db.batch_execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots").await;
        dropped.is_ok() && !db.query_one(HAS_SLOT, &[]).await.unwrap().get::<_, bool>(0)
    };
    crate::support::until("the slot is dropped", gone).await;
}

/// More is written than the server keeps. Whoever asks is stopped, so that it falls behind.
async fn outgrow(db: &Client) {
    let lost = async || {
        for _ in 0..3 {
            db.batch_execute("select pg_logical_emit_message(false, 'test', 'x'); select pg_switch_wal()")
                .await
                .unwrap();
        }
        db.batch_execute("select pg_terminate_backend(active_pid, 1000) from pg_replication_slots where active")
            .await
            .unwrap();
        db.batch_execute("checkpoint").await.unwrap();
        let sql = "select bool_and(wal_status = 'lost') from pg_replication_slots";
        db.query_one(sql, &[]).await.unwrap().get::<_, Option<bool>>(0) == Some(true)
    };
    crate::support::until("the slot is lost", lost).await;
}

/// What control was told is on a cluster's disk, also where that acknowledges its tenants' writes before it writes them.
///
/// Turns red when the provisioner's sessions leave it to the server when to write what they commit.
#[test]
fn a_server_that_acknowledges_before_it_writes_forgets_nothing_that_control_was_told() {
    private_world(async |w| {
        allow(&w);
        w.tenant("One", Isolation::Schema).await;
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        let restore = ["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"];
        let tapped = Tapped::new(&w).await;
        for server in ["shared", "dedicated"] {
            w.servers().set(server, "synchronous_commit = off").await;
            w.servers().set(server, "wal_writer_delay = 10000").await;
        }
        let moved = "select c.name = 'dedicated' from placements p join clusters c on c.id = p.cluster_id";
        let swapped = "select exists (select from replaced_schemas)";
        for (server, told, command) in
            [("shared", swapped, &restore[..]), ("dedicated", moved, &ONLINE), ("dedicated", moved, &OFFLINE)]
        {
            let control = crate::jobs::control(&w).await;
            let die = async || {
                w.servers().kill(server);
                w.servers().start_again(server).await;
            };
            if !tapped.once((&control, told, 0), command, die).await.status.success() {
                tapped.run(command).await;
            }
            w.as_tenant(1.try_into().unwrap()).await.execute(WRITE, &[]).await.unwrap();
            assert_eq!(parts(&w).await, Vec::<String>::new(), "{command:?}");
            is_clean(&w);
            if server == "dedicated" {
                w.ctl(&["tenant", "move", "1", "--undo"]).json();
            }
        }
    });
}

/// Whoever looks for what is left undone finds it, whichever server died.
#[test]
fn a_worker_finishes_the_move_that_a_dead_server_interrupted() {
    private_world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        for server in ["shared", "dedicated", "control"] {
            let source = w.superuser("shared", "postgres").await;
            let ended = tapped.once((&source, IS_ASKED, 0), &ONLINE, async || w.servers().kill(server)).await;
            assert_eq!(ended.status.code(), Some(4), "{server}: {}", String::from_utf8_lossy(&ended.stderr));
            w.servers().start_again(server).await;
            let mut worker = crate::jobs::worker(&w);
            let control = crate::jobs::control(&w).await;
            crate::jobs::until(&control, "select not exists (select from jobs where state in ('queued', 'running'))")
                .await;
            worker.kill().await.unwrap();
            assert_eq!(tenant_now(&w, tenant.id).await.cluster, "dedicated", "{server}");
            let shown: Value = w.ctl(&["tenant", "show", "1"]).json();
            assert_eq!(shown["held"], json!(false), "{server}");
            assert_eq!(parts(&w).await, Vec::<String>::new(), "{server}");
            w.ctl(&["tenant", "move", "1", "--undo"]).json();
        }
        is_clean(&w);
    });
}

/// A move's lock is lost, another command takes the move over and brings it to its end, and who lost it lives and goes on where it was:
/// after that, or, when the control database has died, beside it.
///
/// Turns red when a move asks whether its job is its own before it opens its sessions, since nobody ends those that it opens then; or when
/// one that fails cleans up without asking.
#[test]
fn who_lost_a_move_without_knowing_disturbs_nobody() {
    private_world(async |w| {
        allow(&w);
        let tenant = w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        let is_held = is_held(&w, &tenant);
        let mut written = 0;
        let mut overtaken = async |when: (&Client, &str, usize), command: &[&str], control_dies: bool| {
            let overtake = async || {
                if control_dies {
                    w.servers().kill("control");
                    w.servers().start_again("control").await;
                } else {
                    let cut = "select pg_terminate_backend(pid, 1000) from pg_locks where locktype = 'advisory'";
                    crate::jobs::control(&w).await.batch_execute(cut).await.unwrap();
                    tapped.signal_running("STOP");
                }
                w.ctl(command).json();
                w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
                written += 1;
                tapped.signal_running("CONT");
            };
            let ended = tapped.once(when, command, overtake).await;
            assert!(!ended.status.success(), "{command:?}: it does not know what became of its move");
            let found = "select count(*) from memories where user_id = 'x'";
            let found: i64 = w.as_tenant(tenant.id).await.query_one(found, &[]).await.unwrap().get(0);
            assert_eq!(found, written, "{command:?} {}", when.2);
            assert_eq!(parts(&w).await, Vec::<String>::new(), "{command:?} {}", when.2);
            w.ctl(&["tenant", "move", "1", "--undo"]).json();
        };
        for later in (0..9).step_by(if is_whole() { 1 } else { 8 }) {
            for control_dies in [false, true] {
                let source = w.superuser("shared", &tenant.database).await;
                overtaken((&source, &is_held, later), &OFFLINE, control_dies).await;
                let control = crate::jobs::control(&w).await;
                let replicates = "select exists (select from moves where replicates)";
                overtaken((&control, replicates, later), &ONLINE, control_dies).await;
            }
        }
        is_clean(&w);
    });
}
