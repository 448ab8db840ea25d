//! Backups that nobody asks for: made when they are due, by whichever worker is there, and missed by nobody unnoticed.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation::{Database, Schema};
use tokio_postgres::Client;

use super::{back_up, lying, store};
use crate::jobs::{control, until, worker};
use crate::support::World;
use crate::support::world;

const NOTHING_DUE: &str = "select not exists (select from scheduled_backups where due_at <= now())
                           and not exists (select from jobs where kind = 'backup' and state in ('queued', 'running'))";

/// A world whose backups have a place.
fn with_a_store<F: Future<Output = ()>>(situation: impl FnOnce(std::sync::Arc<World>, Client) -> F) {
    world(async |w| {
        w.ctl(&["platform", "set", "backups_to", store(&w).to_str().unwrap()]).json();
        let db = control(&w).await;
        situation(w, db).await;
    });
}

/// As if all this had been so long ago.
async fn age(db: &Client, by: &str) {
    let sql = format!(
        "update backups set taken_at = taken_at - interval '{by}', started_at = started_at - interval '{by}';
         update backup_schedules set created_at = created_at - interval '{by}', first_at = first_at - interval '{by}';
         update tenants set created_at = created_at - interval '{by}'"
    );
    db.batch_execute(&sql).await.unwrap();
}

/// How many complete backups each tenant has.
async fn made(db: &Client) -> Vec<i64> {
    let sql =
        "select count(*) filter (where b.state = 'complete') from tenants t left join backups b on b.tenant_id = t.id
               group by t.id order by t.id";
    db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The codes of what the doctor finds.
fn found(w: &World) -> Vec<String> {
    let found: Value = serde_json::from_str(&w.ctl(&["doctor"]).stdout).unwrap();
    found.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Turns red when a deleted tenant counts as covered; or `queue` asks for those that are not due.
#[test]
fn what_is_due_is_made_once_whatever_was_missed() {
    with_a_store(async |w, db| {
        for (name, isolation) in [("1", Schema), ("2", Database), ("3", Schema), ("4", Schema), ("5", Schema)] {
            w.tenant(name, isolation).await;
        }
        w.ctl(&["tenant", "suspend", "3"]).json();
        w.ctl(&["tenant", "delete", "4"]).json();
        let listed = w.ctl(&["backup", "schedule", "--all", "--every", "24h"]).json();
        assert_eq!(
            (&listed[0]["tenants"], &listed[0]["never_backed_up"], &listed[0]["every"]),
            (&json!(4), &json!(4), &json!("1d"))
        );
        let workers = [worker(&w), worker(&w)];
        until(&db, NOTHING_DUE).await;
        drop(workers);
        assert_eq!(made(&db).await, [1, 1, 1, 0, 1]);

        // Ten were missed; one is young enough because somebody made it by hand.
        age(&db, "10 days").await;
        db.execute("update backups set taken_at = now(), started_at = now() where tenant_id = 5", &[]).await.unwrap();
        let workers = [worker(&w), worker(&w)];
        until(&db, NOTHING_DUE).await;
        drop(workers);
        assert_eq!(made(&db).await, [2, 2, 2, 0, 1]);
        let jobs = "select count(*) from jobs where kind = 'backup' and state = 'done' and attempts = 1";
        assert_eq!(db.query_one(jobs, &[]).await.unwrap().get::<_, i64>(0), 7, "nothing was asked for in vain");
    });
}

/// As many fail as may be at work at once; the others are backed up all the same, and the pause is not cut short by a worker that starts.
///
/// Turns red when a scheduled job that failed is queued again like any other, or without the pause in `queue`.
#[test]
fn those_that_fail_keep_nobody_waiting() {
    with_a_store(async |w, db| {
        for name in ["1", "2", "3"] {
            w.tenant(name, Schema).await;
        }
        let shared = w.superuser("shared", &w.prefix.name("shared")).await;
        shared
            .batch_execute("alter schema tenant_1 rename to aside_1; alter schema tenant_2 rename to aside_2")
            .await
            .unwrap();
        w.ctl(&["backup", "schedule", "--all", "--every", "24h"]).json();
        let first = worker(&w);
        until(&db, "select exists (select from backups where tenant_id = 3 and state = 'complete')").await;
        until(&db, "select count(*) = 2 from jobs where kind = 'backup' and state = 'failed'").await;
        drop(first);
        age(&db, "2 days").await;
        let second = worker(&w);
        until(&db, "select count(*) = 2 from backups where tenant_id = 3 and state = 'complete'").await;
        drop(second);
        let tried = "select bool_and(attempts = 1) from jobs where kind = 'backup' and tenant_id <> 3";
        assert!(db.query_one(tried, &[]).await.unwrap().get::<_, bool>(0), "tried again at once");

        shared
            .batch_execute("alter schema aside_1 rename to tenant_1; alter schema aside_2 rename to tenant_2")
            .await
            .unwrap();
        db.execute("update jobs set ended_at = ended_at - interval '1 hour'", &[]).await.unwrap();
        let _third = worker(&w);
        until(&db, NOTHING_DUE).await;
        assert_eq!(made(&db).await, [1, 1, 2]);
        let again =
            "select count(*) from jobs where kind = 'backup' and state = 'done' and attempts = 2 and tenant_id <> 3";
        assert_eq!(db.query_one(again, &[]).await.unwrap().get::<_, i64>(0), 2, "the same jobs, once more");
    });
}

/// As many scheduled backups wait as a worker has hands, and a tenant is made all the same.
///
/// Turns red when every lane of a worker takes what a schedule asked for.
#[test]
fn a_night_of_backups_leaves_hands_for_other_jobs() {
    with_a_store(async |w, db| {
        for (name, isolation) in [("1", Schema), ("2", Schema), ("3", Database), ("4", Database)] {
            w.tenant(name, isolation).await;
        }
        let busy = control(&w).await;
        let lock = "select pg_advisory_lock(hashtextextended('tenant ' || n, 0)) from generate_series(1, 4) n";
        busy.query(lock, &[]).await.unwrap();
        w.ctl(&["backup", "schedule", "--all", "--every", "24h"]).json();
        let _worker = worker(&w);
        until(&db, "select count(*) = 4 from jobs where kind = 'backup'").await;
        until(&db, "select count(*) >= 2 from jobs where kind = 'backup' and state = 'running'").await;
        w.ctl(&["tenant", "create", "--name", "5", "--isolation", "schema", "--no-wait"]).json();
        until(&db, "select state = 'active' from tenants where name = '5'").await;
        drop(busy);
        until(&db, NOTHING_DUE).await;
        assert_eq!(made(&db).await, [1; 5]);
    });
}

/// Turns red when the step after the backup is left out, or one tenant's schedule is applied to another.
#[test]
fn what_a_schedule_does_not_keep_goes_after_the_backup() {
    with_a_store(async |w, db| {
        let one = w.tenant("One", Schema).await;
        let two = w.tenant("Two", Schema).await;
        for _ in 0..3 {
            back_up(&w, &one);
            back_up(&w, &two);
            age(&db, "2 days").await;
        }
        w.ctl(&["backup", "schedule", "--all", "--every", "1h"]).json();
        w.ctl(&["backup", "schedule", "--tenant", "1", "--every", "1h", "--keep-daily", "2"]).json();
        let _worker = worker(&w);
        until(&db, NOTHING_DUE).await;
        assert_eq!(made(&db).await, [2, 4]);
        let sql = "select id::text from backups order by 1";
        let listed: Vec<String> = db.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(lying(&w), listed, "the store is what the list says");
    });
}

/// Turns red when the doctor does not look for late backups.
#[test]
fn the_doctor_says_who_has_waited_for_a_backup_for_an_hour() {
    with_a_store(async |w, db| {
        let (one, _unscheduled) = (w.tenant("One", Schema).await, w.tenant("Two", Schema).await);
        w.ctl(&["backup", "schedule", "--tenant", "1", "--every", "24h"]).json();
        assert_eq!(found(&w), [""; 0], "it is due, and a worker would be at it");
        age(&db, "61 minutes").await;
        assert_eq!(found(&w), ["backup.missing"]);
        back_up(&w, &one);
        assert_eq!(found(&w), [""; 0]);
        age(&db, "24 hours 59 minutes").await;
        assert_eq!(found(&w), [""; 0]);
        age(&db, "2 minutes").await;
        assert_eq!(found(&w), ["backup.overdue"]);
        w.ctl(&["tenant", "delete", "1", "--grace", "1d"]).json();
        assert_eq!(found(&w), [""; 0]);
    });
}

/// Turns red when a time of day is not looked at, and the age of the last backup alone counts.
#[test]
fn a_time_of_day_is_kept_whenever_the_last_backup_was() {
    with_a_store(async |w, db| {
        let tenant = w.tenant("One", Schema).await;
        let ago: String = db
            .query_one("select to_char(now() at time zone 'utc' - interval '10 minutes', 'HH24:MI')", &[])
            .await
            .unwrap()
            .get(0);
        for every in ["24h", "7d"] {
            w.ctl(&["backup", "schedule", "--all", "--every", every, "--at", &ago]).json();
            let fits = "select due_at = first_at and due_at > now() + interval '23 hours' and due_at < now() + interval '24 hours'
                        from scheduled_backups, backup_schedules";
            assert!(db.query_one(fits, &[]).await.unwrap().get::<_, bool>(0), "{every}: not before it has come");
        }
        w.ctl(&["backup", "schedule", "--all", "--every", "6h", "--at", &ago]).json();
        // Several were missed; one was made between two times, late.
        age(&db, "3 days").await;
        let due = async |sql: &str| db.query_one(sql, &[]).await.unwrap().get::<_, bool>(0);
        assert!(due("select due_at < now() - interval '1 day' from scheduled_backups").await);
        back_up(&w, &tenant);
        let next =
            "select due_at = first_at + interval '54 hours' and due_at > now() and due_at < now() + interval '6 hours'
                    from scheduled_backups, backup_schedules";
        assert!(due(next).await, "the next time, not six hours from the backup");
    });
}

/// Turns red when `--at` is taken with an interval that drifts, or an erasure leaves a schedule behind.
#[test]
fn schedules_that_make_no_sense_are_refused() {
    world(async |w| {
        w.tenant("One", Schema).await;
        let refused = |args: &[&str], why: &str| {
            let ran = w.ctl(&[&["backup", "schedule"], args].concat());
            assert!(ran.code != Some(0) && ran.stderr.contains(why), "{args:?}: {}", ran.stderr);
        };
        refused(&["--all", "--every", "24h"], "backups_to");
        w.ctl(&["platform", "set", "backups_to", store(&w).to_str().unwrap()]).json();
        refused(&["--every", "24h"], "--tenant");
        refused(&["--all"], "--every");
        refused(&["--all", "--every", "59s"], "from 1m");
        refused(&["--all", "--every", "24h", "--at", "24:00"], "time of day");
        refused(&["--all", "--every", "7h", "--at", "02:00"], "whole days");
        refused(&["--tenant", "1", "2", "--every", "24h"], "2");
        refused(&["remove", "--all"], "there is no schedule");
        assert_eq!(w.ctl(&["backup", "schedule", "list"]).json(), json!([]), "nothing was changed");

        let set = w.ctl(&["backup", "schedule", "--tenant", "1", "--every", "90m", "--keep-daily", "7"]).json();
        assert_eq!(
            (&set[0]["every"], &set[0]["keep_daily"], &set[0]["keep_weekly"]),
            (&json!("90m"), &json!(7), &json!(0))
        );
        assert_eq!(w.ctl(&["tenant", "erase", "1", "--now", "--confirm", "1"]).json()["state"], "erased");
        assert_eq!(w.ctl(&["backup", "schedule", "list"]).json(), json!([]));
    });
}

/// Turns red when the label of a cluster is not asked for.
#[test]
fn backups_are_made_of_those_who_live_in_a_region() {
    with_a_store(async |w, control| {
        w.tenant("One", Schema).await;
        let two = w.tenant("Two", Database).await.id;
        control.execute("update clusters set region = 'eu' where name = 'dedicated'", &[]).await.unwrap();
        let made = w.ctl(&["backup", "create", "--cluster-region", "eu"]).json();
        assert_eq!((made.as_array().unwrap().len(), &made[0]["customer_id"]), (1, &json!(two)), "{made}");
        let set = w.ctl(&["backup", "schedule", "--cluster-region", "eu", "--every", "24h"]).json();
        assert_eq!((set.as_array().unwrap().len(), &set[0]["customer_id"]), (1, &json!(two)), "{set}");

        let nobody = w.ctl(&["backup", "create", "--cluster-region", "mars"]);
        assert!(nobody.code == Some(3) && nobody.stderr.contains("region label \"mars\""), "{}", nobody.stderr);
        let both = w.ctl(&["backup", "create", "--cluster-region", "eu", "--all"]);
        assert!(both.code == Some(2) && both.stderr.contains("--all"), "{}", both.stderr);
    });
}
