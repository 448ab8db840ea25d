//! The history in a tenant's own schema is the truth, whatever control says.

use serde_json::json;
use strowger::schema;

use super::rehearsal::{COLUMN, NEXT, all_at, fleet, folder, in_control, migrate, psql};
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
