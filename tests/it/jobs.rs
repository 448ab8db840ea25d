//! Jobs: carried out once, by whoever is alive; tried again, given up, taken back, approved.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::jobs::HOLDER_PREFIX;
use strowger::control::tenants::State;
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use crate::crash::tapped::Tapped;
use crate::support::{World, strowgerctl, world};

/// A real worker process.
pub(crate) fn worker(w: &World) -> Child {
    worker_in(w, &[])
}

/// The same, with more in its environment.
pub(crate) fn worker_in(w: &World, environment: &[(&str, String)]) -> Child {
    let mut command = Command::new(strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).arg("worker").kill_on_drop(true);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.spawn().unwrap()
}

pub(crate) async fn control(w: &World) -> Client {
    w.superuser("control", &w.prefix.name("control")).await
}

/// Waits until a query on the control database answers with true.
pub(crate) async fn until(db: &Client, sql: &str) {
    let wait = async {
        while !db.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("never: {sql}"));
}

const NOTHING_OPEN: &str = "select not exists (select from jobs where state in ('queued', 'running'))";

/// Cuts `strowgerctl` off from a cluster by giving it a port that nobody listens on; what it was.
async fn lose_cluster(db: &Client, name: &str) -> i32 {
    let port: i32 = db.query_one("select port from clusters where name = $1", &[&name]).await.unwrap().get(0);
    db.execute("update clusters set port = 1 where name = $1", &[&name]).await.unwrap();
    port
}

async fn find_cluster(db: &Client, name: &str, port: i32) {
    db.execute("update clusters set port = $2 where name = $1", &[&name, &port]).await.unwrap();
}

/// Turns red without `for update skip locked`, or when a claimed job can be claimed again while its holder lives.
#[test]
fn workers_that_race_carry_each_job_out_once() {
    world(async |w| {
        let create =
            |n: i32| w.ctl(&["tenant", "create", "--name", &n.to_string(), "--isolation", "schema", "--no-wait"]);
        for n in 0..8 {
            assert_eq!(create(n).json()["state"], "provisioning");
        }
        let db = control(&w).await;
        let workers = [worker(&w), worker(&w), worker(&w)];
        until(&db, NOTHING_OPEN).await;
        drop(workers);
        let sql = "select count(*) filter (where state = 'done' and attempts = 1 and kind = 'create'), count(*),
                          (select count(*) from audit where action = 'tenant.transition'),
                          (select count(*) from tenants where state = 'active') from jobs";
        let row = db.query_one(sql, &[]).await.unwrap();
        assert_eq!([0, 1, 2, 3].map(|i| row.get::<_, i64>(i)), [8; 4]);
    });
}

/// A holder that hangs with the tenant's lock in its hands is followed when its lease ends, and finds that the job is not its own.
///
/// Turns red without `pg_terminate_backend` in `claim` (the lock stays taken), or when a lease never ends.
#[test]
fn a_holder_that_hangs_is_followed_when_its_lease_ends() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (db, shared) = (control(&w).await, w.superuser("shared", "postgres").await);
        // The fence waits for a lock on the login's catalog row, and its process is stopped there.
        let blocking = w.superuser("shared", "postgres").await;
        blocking.batch_execute("begin; lock table pg_authid in share row exclusive mode").await.unwrap();
        let mut command = Command::new(strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["tenant", "suspend", &id.to_string()]);
        let hanging = command.kill_on_drop(true).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let login = w.prefix.name("admin_a");
        let waits = format!(
            "select exists (select from pg_stat_activity where usename = '{login}' and wait_event_type = 'Lock' and query ~ 'nologin')"
        );
        until(&shared, &waits).await;
        let pid = hanging.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
        blocking.batch_execute("rollback").await.unwrap();

        let still = "select state = 'running' and attempts = 1 from jobs where kind = 'suspend'";
        let _worker = worker(&w);
        until(&db, still).await;
        db.execute("update jobs set lease_until = now() - interval '1 second' where kind = 'suspend'", &[])
            .await
            .unwrap();
        until(&db, "select state = 'done' and attempts = 2 from jobs where kind = 'suspend'").await;

        assert!(std::process::Command::new("kill").args(["-CONT", &pid]).status().unwrap().success());
        let ended = hanging.wait_with_output().await.unwrap();
        assert!(!ended.status.success(), "its job was not its own any more");
        assert_eq!(w.ctl(&["tenant", "show", &id.to_string()]).json()["state"], "suspended");
    });
}

/// A worker that has come up, and the name by which control knows it.
async fn known_worker(w: &World, db: &Client) -> (Child, String) {
    // Not the session that listens: it has another name.
    let sql = "select distinct application_name from pg_stat_activity
               where datname = current_database() and starts_with(application_name, $1)";
    let names =
        async || db.query(sql, &[&HOLDER_PREFIX]).await.unwrap().iter().map(|row| row.get(0)).collect::<Vec<String>>();
    let before = names().await;
    let worker = worker(w);
    loop {
        if let Some(name) = names().await.into_iter().find(|name| !before.contains(name)) {
            return (worker, name);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Two workers race for one job. The one that has it is killed in the middle of a step, and the other finishes it.
///
/// Turns red when only a lease that has run out sets a job free: here it has an hour to run.
#[test]
fn when_the_worker_that_won_a_job_is_killed_the_other_finishes_it() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let (db, shared) = (control(&w).await, w.superuser("shared", "postgres").await);
        let mut racing = [known_worker(&w, &db).await, known_worker(&w, &db).await];
        // The fence of whoever wins waits for a lock on the login's catalog row.
        let blocking = w.superuser("shared", "postgres").await;
        blocking.batch_execute("begin; lock table pg_authid in share row exclusive mode").await.unwrap();
        w.ctl(&["tenant", "suspend", &id.to_string(), "--no-wait"]).json();
        let login = w.prefix.name("admin_a");
        let fencing = format!(
            "select exists (select from pg_stat_activity where usename = '{login}' and wait_event_type = 'Lock' and query ~ 'nologin')"
        );
        until(&shared, &fencing).await;
        let holder = async || {
            let sql = "select holder from jobs where kind = 'suspend' and state = 'running'";
            db.query_one(sql, &[]).await.unwrap().get::<_, String>(0)
        };
        let first = holder().await;
        let (winner, _) = racing.iter_mut().find(|(_, name)| name.ends_with(&first)).expect("one of the two has it");
        winner.kill().await.unwrap();
        let for_long = "update jobs set lease_until = now() + interval '1 hour' where holder = $1";
        db.execute(for_long, &[&first]).await.unwrap();
        until(&db, &format!("select holder <> '{first}' from jobs where kind = 'suspend'")).await;
        let second = holder().await;
        assert!(racing.iter().any(|(_, name)| name.ends_with(&second)), "{second}");
        blocking.batch_execute("rollback").await.unwrap();
        until(&db, "select state = 'done' and attempts = 2 from jobs where kind = 'suspend'").await;
        assert_eq!(tenant_state(&w, id).await, State::Suspended);
    });
}

#[test]
fn what_cannot_succeed_is_given_up_and_retried_when_an_operator_says_so() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let shared = w.superuser("shared", &tenant.database).await;
        shared.batch_execute(&format!("alter schema {} rename to aside", tenant.schema)).await.unwrap();
        let id = tenant.id.to_string();
        let refused = w.ctl(&["tenant", "repair", &id]);
        assert_eq!((refused.code, refused.stderr.contains("has no schema")), (Some(3), true), "{}", refused.stderr);

        let failed = w.ctl(&["job", "list", "--state", "failed"]).json();
        let job = failed[0]["id"].to_string();
        assert_eq!((&failed[0]["kind"], &failed[0]["step"]), (&json!("repair"), &json!("grants")));
        let shown = w.ctl(&["job", "show", &job]).json();
        assert!(shown["errors"][0]["error"].as_str().unwrap().contains("has no schema"), "{shown}");
        let refused = w.ctl(&["job", "retry", &job]);
        assert_eq!((refused.code, refused.stderr.contains("has no schema")), (Some(3), true), "{}", refused.stderr);

        shared.batch_execute(&format!("alter schema aside rename to {}", tenant.schema)).await.unwrap();
        let retried = w.ctl(&["job", "retry", &job]).json();
        assert_eq!((&retried["state"], retried["errors"].as_array().unwrap().len()), (&json!("done"), 2));
        assert_eq!(w.ctl(&["job", "retry", &job]).code, Some(3), "a job that is done is not retried");
        let refused = w.ctl(&["job", "cancel", &job]);
        assert_eq!((refused.code, refused.stderr.contains("puts back")), (Some(3), true), "{}", refused.stderr);
        assert_eq!(w.ctl(&["job", "show", "999"]).code, Some(3));
    });
}

/// Turns red when `fail` does not queue the job again, or a worker does not look for what is due.
#[test]
fn a_cluster_that_is_away_is_tried_again_until_it_is_back() {
    world(async |w| {
        let db = control(&w).await;
        let port = lose_cluster(&db, "shared").await;
        let create = ["tenant", "create", "--name", "One", "--isolation", "schema"];
        assert_eq!(w.ctl(&create).code, Some(4));
        let _worker = worker(&w);
        until(&db, "select attempts >= 3 and jsonb_array_length(errors) >= 2 from jobs").await;
        find_cluster(&db, "shared", port).await;
        until(&db, NOTHING_OPEN).await;
        let tenant = w.ctl(&create).json();
        assert_eq!(tenant["state"], "active");
        let jobs = w.ctl(&["job", "list", "--tenant", &tenant["customer_id"].to_string()]).json();
        assert_eq!((jobs.as_array().unwrap().len(), &jobs[0]["state"]), (1, &json!("done")));
    });
}

#[test]
fn a_job_past_its_deadline_is_given_up() {
    world(async |w| {
        let db = control(&w).await;
        lose_cluster(&db, "shared").await;
        assert_eq!(w.ctl(&["tenant", "create", "--name", "One", "--isolation", "schema"]).code, Some(4));
        db.execute("update jobs set deadline = now() - interval '1 second'", &[]).await.unwrap();
        let _worker = worker(&w);
        until(&db, "select state = 'failed' and errors -> -1 ->> 'error' = 'not done by its deadline' from jobs").await;
    });
}

/// What the internet-facing server asks for is carried out only with a word that it cannot write.
///
/// Turns red without `check_approval`, and when an approval does not say which job it is for.
#[test]
fn what_the_server_asks_to_destroy_waits_for_an_operator() {
    world(async |w| {
        let [one, two] = [w.tenant("One", Isolation::Schema).await.id, w.tenant("Two", Isolation::Schema).await.id];
        let db = control(&w).await;
        let server = crate::support::connect(&w.urls.server).await.unwrap();
        for id in [one, two] {
            server.batch_execute(&format!("select request_job('delete', {id})")).await.unwrap();
        }
        let _worker = worker(&w);
        let waiting = w.ctl(&["job", "list", "--state", "waiting"]).json();
        let job = |i: usize| waiting[i]["id"].to_string();
        let (of_two, of_one) = (job(0), job(1));
        let refused = w.ctl(&["job", "wait", &of_one]);
        assert_eq!((refused.code, refused.stderr.contains("job approve")), (Some(3), true), "{}", refused.stderr);

        assert_eq!(w.ctl(&["job", "approve", &of_one]).json()["state"], "done");
        assert_eq!(tenant_state(&w, one).await, State::Deleted);

        // Whoever can write to the control database, and has no key, queues it or copies an approval.
        for forged in [
            "update jobs set state = 'queued' where id = $1::text::bigint",
            "update jobs set state = 'queued', approval = (select approval from jobs where state = 'done' and kind = 'delete')
             where id = $1::text::bigint",
        ] {
            db.execute(forged, &[&of_two]).await.unwrap();
            until(&db, &format!("select state = 'failed' and errors -> -1 ->> 'error' ~ 'not approved' from jobs where id = {of_two}"))
                .await;
        }
        assert_eq!(tenant_state(&w, two).await, State::Active);
    });
}

async fn tenant_state(w: &World, id: strowger::id::TenantId) -> State {
    strowger::control::tenants::get(w.with.control(), id).await.unwrap().unwrap().state
}

#[test]
fn a_job_that_was_only_written_down_is_done_by_who_waits_for_it() {
    world(async |w| {
        let tenant = w.ctl(&["tenant", "create", "--name", "One", "--isolation", "database", "--no-wait"]);
        assert!(tenant.stderr.contains("strowgerctl job wait"), "{}", tenant.stderr);
        let jobs = w.ctl(&["job", "list"]).json();
        let waited = w.ctl(&["job", "wait", &jobs[0]["id"].to_string()]).json();
        assert_eq!(
            (&waited["state"], &waited["steps_done"], &waited["steps_total"]),
            (&json!("done"), &json!(3), &json!(3))
        );
        // A later wish ends an earlier one that still waits.
        let id = tenant.json()["customer_id"].to_string();
        w.ctl(&["tenant", "suspend", &id]).json();
        w.ctl(&["tenant", "resume", &id, "--no-wait"]).json();
        w.ctl(&["tenant", "suspend", &id]).json();
        let states: Vec<Value> = w.ctl(&["job", "list", "--tenant", &id]).json().as_array().unwrap().clone();
        let found: Vec<(&str, &str)> =
            states.iter().map(|job| (job["kind"].as_str().unwrap(), job["state"].as_str().unwrap())).collect();
        assert_eq!(found, [("suspend", "done"), ("resume", "cancelled"), ("suspend", "done"), ("create", "done")]);
    });
}

/// A cancelled creation leaves nothing but an id that is not used again.
#[test]
fn a_cancelled_creation_leaves_nothing() {
    world(async |w: Arc<World>| {
        let db = control(&w).await;
        for isolation in ["schema", "database"] {
            let before = crate::crash::Catalog::read(&w).await;
            let cluster = if isolation == "schema" { "shared" } else { "dedicated" };
            let create = ["tenant", "create", "--name", isolation, "--isolation", isolation];
            let tenant = w.ctl(&[&create[..], &["--no-wait"]].concat()).json();
            let job = w.ctl(&["job", "list"]).json()[0]["id"].to_string();
            let port = lose_cluster(&db, cluster).await;
            let cannot = w.ctl(&["job", "cancel", &job]);
            assert_eq!(cannot.code, Some(4), "{}", cannot.stderr);
            assert_eq!(w.ctl(&["job", "show", &job]).json()["undo"], true);
            find_cluster(&db, cluster, port).await;
            assert_eq!(w.ctl(&["job", "cancel", &job]).json()["state"], "cancelled");
            assert_eq!(w.ctl(&["job", "cancel", &job]).json()["state"], "cancelled", "run again");
            assert_eq!(w.ctl(&["tenant", "show", &tenant["customer_id"].to_string()]).code, Some(3));
            before.still_holds(&w).await;
            let again = w.ctl(&create).json();
            assert_ne!(again["customer_id"], tenant["customer_id"]);
        }
    });
}

/// Whoever is at a job's last step brings it to its end, and the one who cancels it hears that.
///
/// Turns red when `cancel` is content with any end.
#[test]
fn a_creation_that_is_cancelled_too_late_is_done_and_says_so() {
    world(async |w: Arc<World>| {
        let db = control(&w).await;
        let tapped = Tapped::new(&w).await;
        let create = ["tenant", "create", "--name", "One", "--isolation", "schema"];
        let mut cancelling = None;
        let cancel = async || {
            let mut command = Command::new(strowgerctl());
            command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["job", "cancel", "1"]);
            cancelling = Some(command.kill_on_drop(true).stderr(std::process::Stdio::piped()).spawn().unwrap());
            until(&db, "select undo from jobs").await;
        };
        let at_the_last = "select exists (select from jobs where step = 'activate')";
        assert!(tapped.once((&db, at_the_last, 0), &create, cancel).await.status.success());
        let cancelled = cancelling.unwrap().wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&cancelled.stderr);
        assert_eq!((cancelled.status.code(), said.contains("done before it could be")), (Some(3), true), "{said}");
        assert_eq!(w.ctl(&["tenant", "show", "1"]).json()["state"], "active");
        assert_eq!(w.ctl(&["job", "show", "1"]).json()["state"], "done");
        crate::crash::is_sound(&w);
    });
}
