//! Runs that go well, runs in which some fail, runs that are stopped, and two at once.

use serde_json::json;
use strowger::control::clusters::Isolation::Schema;
use strowger::schema::{self, HISTORY_TABLE};

use super::rehearsal::{COLUMN, NEXT, all_at, fleet, folder, has_column, history, is_whole, migrate, printed, psql};
use crate::failures::ward::{Answer, Ward};
use crate::support::{until, world};

/// Turns red when the history rows are not refinery's, when control is not told, or when a new table has no rights.
#[test]
fn everybody_is_brought_to_the_newest_version_as_refinery_would() {
    world(async |w| {
        let tenants = fleet(&w, 5).await;
        let folder = folder(&w, &[COLUMN, "create table moods (mood text);\n-- no line ends this comment"]);
        let plan = migrate(&w, "plan", &folder, &["--canary", "2", "--waves", "50,100"]).json();
        assert_eq!(plan["target"], NEXT + 1);
        assert_eq!(
            plan["waves"],
            json!([
                { "name": "canary", "tenants": [2] },
                { "name": "up to 50 %", "tenants": [1, 3] },
                { "name": "up to 100 %", "tenants": [4, 5] },
            ])
        );
        let control = w.superuser("control", &w.prefix.name("control")).await;
        control.execute("update clusters set region = 'west' where name = 'dedicated'", &[]).await.unwrap();
        for (label, rest) in [("cluster", ["dedicated", "shared"]), ("region", ["west", ""])] {
            let plan = migrate(&w, "plan", &folder, &["--canary", "3", "--canary-count", "0", "--waves", label]).json();
            let [far, near] =
                [json!({ "name": rest[0], "tenants": [1] }), json!({ "name": rest[1], "tenants": [2, 4, 5] })];
            let expected = if label == "cluster" { [&far, &near] } else { [&near, &far] };
            assert_eq!(plan["waves"], json!([{ "name": "canary", "tenants": [3] }, expected[0], expected[1]]));
        }
        let plan = migrate(&w, "plan", &folder, &["--canary", "3", "--canary-count", "2"]).json();
        assert_eq!(plan["waves"][0]["tenants"], json!([3, 1, 2]));
        all_at(&w, &tenants, schema::MAX).await;
        let ran = migrate(&w, "run", &folder, &["--canary", "2", "--waves", "50,100"]).json();
        assert_eq!((&ran["state"], &ran["done"], &ran["failed"]), (&json!("done"), &json!(5), &json!(0)));
        let actions = w.ctl(&["audit", "list", "--tenant", "3", "--limit", "1"]).json();
        assert_eq!(actions[0]["action"], "tenant.migrate");
        for tenant in &tenants {
            is_whole(&w, tenant, NEXT + 1).await;
            let own = w.as_tenant(tenant.id).await;
            own.batch_execute("insert into moods values ('glad'); delete from moods").await.unwrap();
            let forbidden = own.batch_execute(&format!("select * from {HISTORY_TABLE}")).await;
            assert_eq!(forbidden.unwrap_err().code().map(tokio_postgres::error::SqlState::code), Some("42501"));
            let mut db = w.superuser(&tenant.cluster, &tenant.database).await;
            db.batch_execute(&format!("set search_path = {}", tenant.schema)).await.unwrap();
            let all = refinery::load_sql_migrations(&folder).unwrap();
            let report = refinery::Runner::new(&all).run_async(&mut db).await.unwrap();
            assert!(report.applied_migrations().is_empty(), "refinery finds its own history complete");
        }
        let again = migrate(&w, "run", &folder, &[]).json();
        assert_eq!(again["run"], json!(null), "nobody is behind");
    });
}

/// Turns red when a canary's failure counts like any other, or when waves are begun before the one before is over.
#[test]
fn a_canary_that_fails_is_the_only_one_touched() {
    world(async |w| {
        let tenants = fleet(&w, 4).await;
        psql(&w, &tenants[2], "alter table memories add column mood int").await;
        let folder = folder(&w, &[COLUMN]);
        let ran = migrate(&w, "run", &folder, &["--canary", "3", "--max-failures", "100"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("strowgerctl migrate resume"), "{}", ran.stderr);
        let status = printed(&ran);
        assert_eq!((&status["state"], &status["done"], &status["waiting"]), (&json!("failed"), &json!(0), &json!(3)));
        let failed = &status["tenants"][0];
        assert_eq!((&failed["customer_id"], &failed["wave"]), (&json!(3), &json!(0)));
        assert!(failed["error"].as_str().unwrap().contains(&format!("V{NEXT}__further: column \"mood\"")), "{failed}");
        for tenant in &tenants {
            is_whole(&w, tenant, schema::MAX).await;
        }
        psql(&w, &tenants[2], "alter table memories drop column mood").await;
        assert_eq!(w.ctl(&["migrate", "resume"]).json()["state"], "done");
        all_at(&w, &tenants, NEXT).await;
        assert_eq!(w.ctl(&["migrate", "resume"]).code, Some(3), "it is done");
    });
}

/// Turns red without `lock_timeout` (the run would wait for ever), or when busy tenants are not tried after the others.
#[test]
fn a_busy_tenant_and_broken_ones_do_not_keep_the_others_back() {
    world(async |w| {
        let (busy, served) = (Ward::new(&w, "Busy", Schema).await, Ward::new(&w, "Broken", Schema).await);
        let tenants = fleet(&w, 6).await;
        psql(&w, &served.tenant, "alter table memories add column mood int").await;
        psql(&w, &tenants[3], &format!("alter table {HISTORY_TABLE} rename to elsewhere")).await;
        let holding = w.superuser("shared", &busy.tenant.database).await;
        let hold = format!("begin; select * from {}.memories", busy.tenant.schema);
        holding.batch_execute(&hold).await.unwrap();
        let (server, folder) = (w.server(), folder(&w, &[COLUMN]));
        let (first, second) = (busy.constant_client(&server, false), served.constant_client(&server, false));

        let quick = ["--lock-timeout", "50", "--attempts", "2"];
        let ran = migrate(&w, "run", &folder, &quick);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let status = printed(&ran);
        assert_eq!((&status["done"], &status["failed"], &status["waiting"]), (&json!(5), &json!(3), &json!(0)));
        let says: Vec<(i64, &str)> = status["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["customer_id"].as_i64().unwrap(), row["error"].as_str().unwrap()))
            .collect();
        for ((id, text), (expected, part)) in
            says.iter().zip([(1, "lock timeout"), (2, "already exists"), (6, "does not exist")])
        {
            assert!(*id == expected && text.contains(part), "{says:?}");
        }
        assert_eq!(status["tenants"][0]["attempts"], 2);
        assert!(first.stop().await > 0 && second.stop().await > 0);
        assert_eq!(served.ask(&server).await, Answer::Own, "served at the version it had");
        assert_eq!(history(&w, &busy.tenant).await.last(), Some(&schema::MAX));

        holding.batch_execute("rollback").await.unwrap();
        psql(&w, &served.tenant, "alter table memories drop column mood").await;
        psql(&w, &tenants[3], &format!("alter table elsewhere rename to {HISTORY_TABLE}")).await;
        let status = w.ctl(&["migrate", "resume"]).json();
        assert_eq!((&status["state"], &status["done"]), (&json!("done"), &json!(8)));
        all_at(&w, &tenants, NEXT).await;
    });
}

/// Turns red without the failure budget.
#[test]
fn a_run_ends_at_its_failure_budget() {
    world(async |w| {
        let tenants = fleet(&w, 8).await;
        for tenant in &tenants[..4] {
            psql(&w, tenant, "alter table memories add column mood int").await;
        }
        let ran = migrate(&w, "run", &folder(&w, &[COLUMN]), &["--max-failures", "2", "--parallel", "1"]);
        let status = printed(&ran);
        assert_eq!((&status["state"], &status["failed"], &status["waiting"]), (&json!("failed"), &json!(2), &json!(6)));
        for tenant in &tenants {
            is_whole(&w, tenant, schema::MAX).await;
        }
    });
}

/// What a message quotes of a tenant's data must not come to stand in the control database.
///
/// Turns red when `Trouble::from` keeps every message.
#[test]
fn an_error_does_not_quote_callers() {
    world(async |w| {
        let tenant = w.tenant("One", Schema).await;
        psql(&w, &tenant, "insert into memories (user_id, content) values ('+18005550199', 'a secret')").await;
        let folder = folder(&w, &["alter table memories add column n int; update memories set n = content::int"]);
        let ran = migrate(&w, "run", &folder, &[]);
        let error = printed(&ran)["tenants"][0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains("22P02") && !error.contains("secret"), "{error}");
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    });
}

/// Turns red when the runner does not look at its run's state, or when what is left is not done by `resume`.
#[test]
fn a_run_is_stopped_from_elsewhere_and_resumed() {
    world(async |w| {
        let tenants = fleet(&w, 6).await;
        let folder = folder(&w, &[COLUMN]);
        let holding = w.superuser("shared", &tenants[2].database).await;
        let hold = format!("begin; select * from {}.memories", tenants[2].schema);
        holding.batch_execute(&hold).await.unwrap();
        let mut command = tokio::process::Command::new(crate::support::strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["--output", "json", "migrate", "run"]);
        command.arg("--migrations").arg(&folder).args(["--canary", "3", "--lock-timeout", "20000"]);
        let running = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        until("the canary waits", async || {
            let sql = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'strowgerctl tenant 3 %'
                       and datname = current_database()";
            !w.superuser("shared", &tenants[2].database).await.query(sql, &[]).await.unwrap().is_empty()
        })
        .await;
        assert_eq!(w.ctl(&["migrate", "status"]).json()["state"], "running");
        assert_eq!(w.ctl(&["migrate", "resume"]).code, Some(3), "it is under way");
        assert_eq!(w.ctl(&["migrate", "stop"]).json()["state"], "stopping");
        holding.batch_execute("rollback").await.unwrap();
        let ended = running.wait_with_output().await.unwrap();
        assert!(ended.status.success());
        let status: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&status["state"], &status["done"], &status["waiting"]), (&json!("stopped"), &json!(1), &json!(5)));
        is_whole(&w, &tenants[2], NEXT).await;
        is_whole(&w, &tenants[3], schema::MAX).await;
        assert_eq!(w.ctl(&["migrate", "stop"]).code, Some(3), "it is not at work");
        assert_eq!(w.ctl(&["migrate", "resume"]).json()["state"], "done");
        all_at(&w, &tenants, NEXT).await;
    });
}

/// Turns red when a runner goes by what control says and not by the tenant's history.
#[test]
fn two_runs_at_once_apply_everything_once() {
    world(async |w| {
        let tenants = fleet(&w, 12).await;
        // A second application would add a second row.
        let folder = folder(
            &w,
            &["alter table memories add column mood text; create table marks (n int); insert into marks values (1)"],
        );
        let start = || {
            let mut command = tokio::process::Command::new(crate::support::strowgerctl());
            command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["--output", "json", "migrate", "run"]);
            command.arg("--migrations").arg(&folder).stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        for ended in [start(), start(), start()].map(tokio::process::Child::wait_with_output) {
            let ended = ended.await.unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        all_at(&w, &tenants, NEXT).await;
        for tenant in &tenants {
            let db = w.superuser(&tenant.cluster, &tenant.database).await;
            let sql = format!("select count(*) from {}.marks", tenant.schema);
            assert_eq!(db.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 1, "{}", tenant.name);
        }
    });
}

/// Turns red when a folder may differ from what was released, or may end transactions.
#[test]
fn a_folder_that_contradicts_this_build_is_refused_by_name() {
    world(async |w| {
        let tenant = w.tenant("One", Schema).await;
        let changed = folder(&w, &[]);
        std::fs::write(changed.join("V1__identity.sql"), "select 1").unwrap();
        let gap = folder(&w, &[]);
        std::fs::write(gap.join(format!("V{}__far.sql", NEXT + 1)), "select 1").unwrap();
        for (folder, says) in [
            (changed, "V1__identity"),
            (gap, "without a gap"),
            (folder(&w, &["create table a (); commit; create table b ()"]), "`commit` must go"),
            (w.dir.join("nowhere"), "nowhere"),
        ] {
            let ran = migrate(&w, "run", &folder, &[]);
            assert_eq!((ran.code, ran.stderr.contains(says)), (Some(3), true), "{}", ran.stderr);
        }
        for bad in [["--waves", "50"], ["--waves", "60,50,100"], ["--parallel", "0"], ["--canary", "99"]] {
            let ran = migrate(&w, "run", &folder(&w, &[COLUMN]), &bad);
            assert!(matches!(ran.code, Some(2 | 3)), "{bad:?}: {}", ran.stderr);
        }
        assert!(!has_column(&w, &tenant).await);
        assert_eq!(w.ctl(&["migrate", "status"]).code, Some(3), "nothing was run");
        assert_eq!(w.ctl(&["migrate", "run"]).json()["run"], json!(null), "this build's own: nobody is behind");
    });
}

/// Postgres itself counts: the admin login may hold three sessions, one that is at work and those that are just closing.
///
/// Turns red without the places of `fleet::room`: eight workers open eight sessions, and tenants fail for want of one.
#[test]
fn a_run_leaves_the_servers_their_connections() {
    world(async |w| {
        for n in 0..9 {
            w.tenant(&format!("Tenant {n}"), Schema).await;
        }
        let control = w.superuser("control", &w.prefix.name("control")).await;
        // The servers may take all that the cluster grants: one place is left for a run.
        control.execute("update clusters set connection_budget = 100000", &[]).await.unwrap();
        let db = w.superuser("shared", "postgres").await;
        let limit = format!("alter role {} connection limit 3", w.prefix.name("admin_a"));
        db.batch_execute(&limit).await.unwrap();
        let folder = folder(&w, &[COLUMN]);
        let status = migrate(&w, "run", &folder, &["--parallel", "8", "--attempts", "1"]).json();
        assert_eq!(status["state"], "done", "{status}");
    });
}
