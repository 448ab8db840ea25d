//! The history in a tenant's own schema is the truth, whatever control says.

use serde_json::json;
use strowger::control::clusters::Isolation::Schema;
use strowger::schema::{self, HISTORY_TABLE};

use super::rehearsal::{COLUMN, NEXT, all_at, fleet, folder, in_control, migrate, psql};
use crate::crash::tapped::Tapped;
use crate::support::{strowgerctl, until, world};

/// Turns red when `run` goes by control's copy alone, or when `reconcile` compares nothing.
#[test]
fn a_history_that_was_changed_behind_controls_back_is_found() {
    world(async |w| {
        let tenants = fleet(&w, 5).await;
        let folder = folder(&w, &[COLUMN]);
        assert_eq!(w.ctl(&["migrate", "reconcile"]).json(), json!([]), "nothing is wrong");
        migrate(&w, "run", &folder, &[]).json();
        let undo = format!(
            "alter table memories drop column mood; delete from refinery_schema_history where version = {NEXT}"
        );
        psql(&w, &tenants[3], &undo).await;
        assert_eq!(migrate(&w, "run", &folder, &[]).json()["run"], json!(null), "the control: control was not told");
        let found = migrate(&w, "reconcile", &folder, &[]).json();
        assert_eq!(
            found,
            json!([{ "customer_id": 4, "said": NEXT, "is": schema::MAX, "finding": "corrected in control" }])
        );
        let audit = w.ctl(&["audit", "list", "--tenant", "4", "--limit", "1"]).json();
        assert_eq!(
            (&audit[0]["action"], &audit[0]["detail"]),
            (&json!("tenant.schema_version"), &json!({ "said": NEXT, "is": schema::MAX }))
        );
        assert_eq!(migrate(&w, "run", &folder, &[]).json()["done"], 1);
        all_at(&w, &tenants, NEXT).await;

        psql(&w, &tenants[0], &undo).await;
        assert_eq!(migrate(&w, "run", &folder, &["--verify"]).json()["done"], 1, "in one command");
        all_at(&w, &tenants, NEXT).await;
    });
}

/// Turns red without the checksums, or when one broken schema hides the others of its chunk.
#[test]
fn histories_that_no_sequence_made_are_named_and_left_alone() {
    world(async |w| {
        let tenants = fleet(&w, 7).await;
        psql(&w, &tenants[1], "update refinery_schema_history set checksum = '1' where version = 2").await;
        psql(&w, &tenants[2], "delete from refinery_schema_history where version = 1").await;
        psql(&w, &tenants[3], "drop table refinery_schema_history").await;
        psql(&w, &tenants[4], "delete from refinery_schema_history where version > 1").await;
        let found = w.ctl(&["migrate", "reconcile"]).json();
        let says: Vec<(i64, &str)> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["customer_id"].as_i64().unwrap(), row["finding"].as_str().unwrap()))
            .collect();
        assert_eq!(says.len(), 4, "{says:?}");
        for ((id, text), (expected, part)) in
            says.iter().zip([(2, "another V2__"), (3, "lacks V1__"), (4, "does not exist"), (5, "corrected")])
        {
            assert!(*id == expected && text.contains(part), "{says:?}");
        }
        assert_eq!(in_control(&w, &tenants[4]).await, 1);
        assert_eq!(in_control(&w, &tenants[1]).await, schema::MAX);
        let status = super::rehearsal::printed(&migrate(&w, "run", &folder(&w, &[COLUMN]), &[]));
        assert_eq!((&status["done"], &status["failed"]), (&json!(3), &json!(4)), "a run applies nothing to those");
    });
}

/// Turns red when the worker does not reconcile.
#[test]
fn a_worker_reconciles_too() {
    world(async |w| {
        let tenants = fleet(&w, 2).await;
        psql(&w, &tenants[1], "delete from refinery_schema_history where version > 1").await;
        let mut worker = tokio::process::Command::new(strowgerctl());
        worker.arg("--config").arg(w.dir.join("strowgerctl.toml")).arg("worker").kill_on_drop(true);
        let worker = worker.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        until("control is corrected", async || in_control(&w, &tenants[1]).await == 1).await;
        drop(worker);
    });
}

/// A runner's lock is lost, somebody else changes the tenant, and who lost it lives and goes on to say what it had done.
///
/// Turns red when an outcome is written down without asking whether the placement is the one that was migrated.
#[test]
fn who_lost_a_tenant_without_knowing_writes_nothing_down() {
    world(async |w| {
        let tenant = w.tenant("One", Schema).await;
        let tapped = Tapped::new(&w).await;
        let folder = folder(&w, &[COLUMN]);
        let run = ["migrate", "run", "--migrations", folder.to_str().unwrap()];
        let source = w.superuser("shared", &tenant.database).await;
        let is_migrated =
            format!("select exists (select from {}.{HISTORY_TABLE} where version = {NEXT})", tenant.schema);
        let overtake = async || {
            let cut =
                "select pg_terminate_backend(l.pid, 1000) from pg_locks l join pg_database d on d.oid = l.database
                       where l.locktype = 'advisory' and d.datname = current_database()";
            crate::jobs::control(&w).await.batch_execute(cut).await.unwrap();
            w.ctl(&["rotate", "tenant", &tenant.id.to_string()]).json();
            // As a restore of what was before does.
            let undo = format!(
                "alter table memories drop column mood; delete from refinery_schema_history where version = {NEXT}"
            );
            psql(&w, &tenant, &undo).await;
        };
        let ended = tapped.once((&source, &is_migrated, 0), &run, overtake).await;
        assert!(!ended.status.success(), "it does not know what became of its run");
        assert_eq!(in_control(&w, &tenant).await, schema::MAX);
        let status = w.ctl(&["migrate", "status"]).json();
        assert_eq!(
            (&status["state"], &status["done"], &status["waiting"]),
            (&json!("interrupted"), &json!(0), &json!(1))
        );
        assert_eq!(w.ctl(&["migrate", "resume"]).json()["done"], 1);
        all_at(&w, &[tenant], NEXT).await;
    });
}
