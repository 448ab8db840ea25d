//! Restores that are killed, and gone on with.

use strowger::control::clusters::Isolation;

use super::filled::fill;
use super::restores::{tenant_of, without_outbox};
use super::{back_up, content, psql, url_of};
use crate::crash::tapped::{Tapped, in_lanes, some_deaths};
use crate::moves::WRITE;
use crate::support::world;

/// Killed at statements all along, and run again: restored, served, and beside it only what was replaced.
#[test]
fn a_killed_restore_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let backup = back_up(&w, &tenant);
        let restore = ["backup", "restore", backup["id"].as_str().unwrap(), "--in-place"];
        let (_, statements) = tapped.run(&restore).await;
        for (at, moment) in some_deaths(16, statements, lane) {
            if !tapped.stop_or_end(at, moment, &restore).await {
                continue;
            }
            let (again, _) = tapped.run(&restore).await;
            assert_eq!(again["state"], "active", "{moment:?} {at}");
            w.as_tenant(tenant.id).await.query("select * from memories", &[]).await.unwrap();
            let sql = "select count(*) filter (where nspname like '%\\_o%'), count(*) from pg_namespace where nspname like 'tenant_1%'";
            assert_eq!(psql(&url_of(&tenant), &["-c", sql], "").trim(), "1|2", "{moment:?} {at}");
        }
        println!("backup restore --in-place: killed along {statements} statements ({lane:?})");
        w.ctl(&["doctor"]).json();
    });
}

/// Killed at statements all along, and run again: one tenant of that name, whole, and nothing beside it.
///
/// Turns red when a schema that is there is taken for one that is filled, or a second tenant is reserved for the one that was.
#[test]
fn a_killed_restore_as_a_new_tenant_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of(&tenant), &tenant.schema);
        let there = without_outbox(&content(&url_of(&tenant), &tenant.schema));
        let backup = back_up(&w, &tenant);
        // Every other one in a database of its own.
        let named = |n: usize| {
            let (name, kind) = (format!("Again {n}"), ["schema", "database"][n % 2]);
            let id = backup["id"].as_str().unwrap();
            ["backup", "restore", id, "--as-new-tenant", "--isolation", kind, "--name", &name].map(str::to_owned)
        };
        let (_, statements) = tapped.run(&named(0).each_ref().map(String::as_str)).await;
        let mut made = 1;
        for (at, moment) in some_deaths(32, statements, lane) {
            let restore = named(made);
            let restore = restore.each_ref().map(String::as_str);
            tapped.stop_or_end(at, moment, &restore).await;
            let (again, _) = tapped.run(&restore).await;
            let new = tenant_of(&w, &again).await;
            let here = without_outbox(&content(&url_of(&new), &new.schema));
            assert!(there == here, "{moment:?} {at}: psql reads something else");
            assert_eq!((again["state"].as_str(), new.name), (Some("active"), format!("Again {made}")), "{at}");
            made += 1;
        }
        println!("backup restore --as-new-tenant: killed along {statements} statements ({lane:?})");
        assert_eq!(w.ctl(&["tenant", "list"]).json().as_array().unwrap().len(), 1 + made);
        w.ctl(&["doctor"]).json();
    });
}

/// Killed at statements all along, and run again: what was kept is live, what was live is kept.
///
/// Turns red when one that was begun and has changed the names is begun anew with what is kept now; or when one that was killed after its
/// end is not found done.
#[test]
fn a_killed_undoing_is_finished_when_run_again() {
    in_lanes(async |w, lane| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let backup = back_up(&w, &tenant);
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        w.ctl(&["backup", "restore", backup["id"].as_str().unwrap(), "--in-place"]).json();
        let now = async || {
            let db = w.superuser("shared", &tenant.database).await;
            let sql = "select epoch, (select count(*) from tenant_1.memories) from tenant_1.identity";
            let row = db.query_one(sql, &[]).await.unwrap();
            (row.get::<_, i32>(0), row.get::<_, i64>(1))
        };
        // Each takes the one before it back.
        let mut turns = ["redo", "undo"].into_iter().cycle();
        let (_, statements) = tapped.run(&["backup", "undo", "1"]).await;
        for (at, moment) in some_deaths(16, statements, lane) {
            let before = now().await;
            let turn = ["backup", turns.next().unwrap(), "1"];
            tapped.stop_or_end(at, moment, &turn).await;
            tapped.run(&turn).await;
            assert_eq!(now().await, (before.0 + 1, 1 - before.1), "{turn:?} {moment:?} {at}");
            let db = w.as_tenant(tenant.id).await;
            let written = "begin; insert into memories (user_id, content) values ('x', 'x'); rollback";
            db.batch_execute(written).await.unwrap();
            let sql = "select count(*) filter (where nspname like '%\\_o%'), count(*) from pg_namespace where nspname like 'tenant_1%'";
            assert_eq!(psql(&url_of(&tenant), &["-c", sql], "").trim(), "1|2", "{turn:?} {moment:?} {at}");
        }
        println!("backup undo and redo: killed along {statements} statements ({lane:?})");
        w.ctl(&["doctor"]).json();
    });
}

/// An undoing that waits for a worker, and one that was killed when it had shut its tenant out: what they are to put back is all that there is.
///
/// Turns red when what is kept goes when its time has passed, whoever is to put it back.
#[test]
fn what_an_undoing_is_to_put_back_outlives_its_time() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let backup = back_up(&w, &tenant);
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        w.ctl(&["backup", "restore", backup["id"].as_str().unwrap(), "--in-place"]).json();
        let control = crate::jobs::control(&w).await;
        let ended = async || {
            control.batch_execute("update replaced_schemas set kept_until = now()").await.unwrap();
            provisioner::restore::end_kept(&w.with).await.unwrap()
        };
        w.ctl(&["backup", "undo", "1", "--no-wait"]).json();
        assert_eq!(ended().await, 0, "it waits");
        let db = w.superuser("shared", &tenant.database).await;
        let is_shut =
            format!("select not rolcanlogin from pg_roles where rolname = '{}'", w.prefix.tenant(tenant.id, "a"));
        let die = async || tapped.signal_running("KILL");
        tapped.once((&db, &is_shut, 0), &["backup", "undo", "1"], die).await;
        assert_eq!(ended().await, 0, "it was killed");
        // Given up, it may be tried again.
        let give_up = "update jobs set state = 'failed', holder = null, lease_until = null where state = 'running'";
        control.batch_execute(give_up).await.unwrap();
        assert_eq!(ended().await, 0, "it was given up");
        let job = "select id::text from jobs where state = 'failed'";
        let job: String = control.query_one(job, &[]).await.unwrap().get(0);
        w.ctl(&["job", "retry", &job]).json();
        let count = w.as_tenant(tenant.id).await.query_one("select count(*) from memories", &[]).await.unwrap();
        assert_eq!(count.get::<_, i64>(0), 1, "it is back");
        assert_eq!(ended().await, 1);
        let left = w.ctl(&["backup", "redo", "1"]);
        assert_eq!((left.code, left.stderr.contains("nothing")), (Some(3), true), "{}", left.stderr);
        w.ctl(&["doctor"]).json();
    });
}

/// What was begun and killed is not taken for what is asked for now.
///
/// Turns red when a restore of another backup goes on with what was made aside for the first, or with its change of names.
#[test]
fn a_restore_of_another_backup_does_not_go_on_with_the_one_that_was_killed() {
    world(async |w| {
        let tapped = Tapped::new(&w).await;
        let tenant = w.tenant("One", Isolation::Schema).await;
        let backups = [0, 1].map(|_| back_up(&w, &tenant));
        let [empty, other] = backups.each_ref().map(|backup| backup["id"].as_str().unwrap());
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        let full = back_up(&w, &tenant);
        let restore = |id: &str| ["backup", "restore", id, "--in-place"].map(str::to_owned);
        let db = w.superuser("shared", &tenant.database).await;
        let die = async || tapped.signal_running("KILL");

        // Made aside, and not yet shut out: it gives way.
        let is_aside = "select exists (select from pg_namespace where nspname like 'tenant_1\\_r%')";
        let first = restore(empty);
        tapped.once((&db, is_aside, 0), &first.each_ref().map(String::as_str), die).await;
        // What it was about to say next may have been said.
        let control = crate::jobs::control(&w).await;
        control
            .batch_execute("update jobs set step = 'beside' where kind = 'restore' and state = 'running'")
            .await
            .unwrap();
        w.ctl(&["backup", "restore", full["id"].as_str().unwrap(), "--in-place"]).json();
        let memories = "select count(*) from memories";
        let count = async || w.as_tenant(tenant.id).await.query_one(memories, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(count().await, 1);
        let left = "select count(*) from pg_namespace where nspname like 'tenant_1%'";
        assert_eq!(psql(&url_of(&tenant), &["-c", left], "").trim(), "2", "what it had made is gone");

        // Shut out: that one first.
        let login = w.prefix.tenant(tenant.id, "a");
        let is_shut = format!("select not rolcanlogin from pg_roles where rolname = '{login}'");
        tapped.once((&db, &is_shut, 0), &first.each_ref().map(String::as_str), die).await;
        for command in [&["backup", "restore", other, "--in-place"][..], &["backup", "undo", "1"]] {
            let refused = w.ctl(command);
            assert_eq!(
                (refused.code, refused.stderr.contains("`strowgerctl job wait")),
                (Some(3), true),
                "{}",
                refused.stderr
            );
        }
        w.ctl(&["backup", "restore", empty, "--in-place"]).json();
        assert_eq!(count().await, 0);
        w.ctl(&["backup", "restore", other, "--in-place"]).json();
        w.ctl(&["doctor"]).json();
    });
}
