//! Tenants are created, blocked, resumed and deleted by the real `strowgerctl`.

use serde_json::json;
use strowger::control::clusters::Isolation;

use crate::support::{World, world};

#[test]
fn create_is_idempotent_and_ids_are_not_reused() {
    world(async |w| {
        let create = ["tenant", "create", "--name", "One", "--isolation", "schema"];
        let first = w.ctl(&create).json();
        assert_eq!(w.ctl(&create).json(), first, "the same command, the same result");
        let second = w.ctl(&["tenant", "create", "--name", "Two", "--isolation", "database"]).json();
        assert_ne!(first["customer_id"], second["customer_id"]);
        let imported =
            w.ctl(&["tenant", "create", "--name", "Imported", "--isolation", "schema", "--id", "4711"]).json();
        assert_eq!(imported["customer_id"], 4711);
        let next = w.ctl(&["tenant", "create", "--name", "Next", "--isolation", "schema"]).json();
        assert_eq!(next["customer_id"], 4712, "never an id that might have been used");

        for conflict in [
            ["tenant", "create", "--name", "One", "--isolation", "database"].as_slice(),
            &["tenant", "create", "--name", "One", "--isolation", "schema", "--id", "99"],
            &["tenant", "create", "--name", "Other", "--isolation", "schema", "--id", "4711"],
            &["tenant", "create", "--name", "Nowhere", "--isolation", "schema", "--cluster", "missing"],
            &["tenant", "show", "12345"],
        ] {
            let ran = w.ctl(conflict);
            assert_eq!(ran.code, Some(3), "{conflict:?}: {}", ran.stderr);
            assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        }
        assert_eq!(w.ctl(&["tenant", "create", "--name", "X", "--isolation", "row"]).code, Some(2));
        assert_eq!(w.ctl(&["tenant", "list"]).json().as_array().unwrap().len(), 4);
    });
}

#[test]
fn every_change_has_its_audit_row_and_the_server_cannot_rewrite_it() {
    world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        w.ctl(&["tenant", "suspend", &id.to_string(), "--reason", "unpaid"]).json();
        let url = w.ctl(&["tenant", "connection", &id.to_string()]);
        assert_eq!(url.code, Some(0));
        let rows = w.ctl(&["audit", "list", "--tenant", &id.to_string()]).json();
        let actions: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["action"].as_str().unwrap()).collect();
        let expected = [
            "tenant.connection",
            "tenant.transition",
            "job.begin",
            "tenant.transition",
            "job.begin",
            "tenant.reserve",
            "placement.create",
            "data_key.create",
        ];
        assert_eq!(actions, expected);
        assert_eq!(rows[1]["detail"], json!({ "from": "active", "to": "suspended", "reason": "unpaid" }));

        let server = crate::support::connect(&w.urls.server).await.unwrap();
        for forbidden in [
            "update audit set actor = 'x'",
            "delete from audit",
            "insert into audit (actor, action) values ('x', 'y')",
            "select * from audit",
            "create table x ()",
            "create schema x",
            "drop table tenants",
            "update tenants set state = 'active'",
            "insert into jobs (kind, subject, tenant_id) values ('create', 'tenant 1', 1)",
            "update placements set database = 'x'",
            "select sealed_private from signing_keys",
            "select * from cluster_admins",
            "select * from cluster_replicators",
            "select * from migration_runs",
            "update migrations set state = 'waiting'",
            "update numbers set tenant_id = 1",
            "select request_job('create', 1)",
            "select request_job('suspend', 1)",
            "update jobs set state = 'queued'",
        ] {
            let error = server.batch_execute(forbidden).await.expect_err(forbidden);
            assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{forbidden}");
        }
        server.batch_execute("select kid, public_key from signing_keys").await.unwrap();
        server.batch_execute(&format!("select request_job('repair', {id})")).await.unwrap();
    });
}

#[test]
fn a_new_schema_is_what_refinery_would_have_made() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Database).await;
        let mut db = w.superuser("dedicated", &tenant.database).await;
        db.batch_execute(&format!("set search_path = {}", tenant.schema)).await.unwrap();
        let report = strowger::schema::migrations().run_async(&mut db).await.unwrap();
        assert!(report.applied_migrations().is_empty(), "refinery finds its own history complete");
        let found = strowger::schema::migrations().get_applied_migrations_async(&mut db).await.unwrap();
        assert_eq!(found.len(), strowger::schema::migrations().get_migrations().len());
    });
}

#[test]
fn what_would_take_an_installation_apart_is_refused_before_anything_changes() {
    world(async |w| {
        let (control, shared) = (World::superuser_url("control"), World::superuser_url("shared"));
        let elsewhere = w.dir.join("elsewhere");
        let init = ["init", "--prefix", w.prefix.as_str(), "--out"];
        let other_rings = w.ctl_with(&[&init[..], &[elsewhere.to_str().unwrap()]].concat(), &control);
        assert_eq!(
            (other_rings.code, other_rings.stderr.contains("ring does not open it")),
            (Some(3), true),
            "{}",
            other_rings.stderr
        );

        for (name, kind, says) in [
            ("again", "shared", "registered already, as cluster shared"),
            ("shared", "dedicated", "is shared and stays so"),
            ("EU 3", "shared", "a cluster's name"),
        ] {
            let ran = w.ctl_with(&["cluster", "add", name, "--kind", kind], &shared);
            assert_eq!((ran.code, ran.stderr.contains(says)), (Some(3), true), "{name}: {}", ran.stderr);
        }
        let far = w.ctl_with(&["cluster", "add", "far", "--kind", "shared"], "postgres://postgres:x@db.example/");
        assert_eq!((far.code, far.stderr.contains("sslmode")), (Some(3), true), "{}", far.stderr);
        w.ctl(&["tenant", "create", "--name", "Still here", "--isolation", "schema"]).json();

        let same_rings = w.ctl_with(&[&init[..], &[w.dir.to_str().unwrap()]].concat(), &control);
        assert_eq!(same_rings.code, Some(0), "{}", same_rings.stderr);
        assert_eq!(
            w.ctl(&["tenant", "list"]).json().as_array().unwrap().len(),
            1,
            "new passwords, the same installation"
        );
    });
}

/// What a file of settings says wrong is named by its line and not quoted.
#[test]
fn a_mistaken_settings_file_does_not_give_its_password_away() {
    world(async |w| {
        let file = w.dir.join("wrong.toml");
        std::fs::write(&file, "# ours\ncontrol_url = \"postgres://a:hunter2@h/d\"\n").unwrap();
        let ran = crate::support::run(&["--config", file.to_str().unwrap(), "tenant", "list"], "");
        assert_eq!(ran.code, Some(3));
        assert!(ran.stderr.contains("line 2") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);
        let server =
            std::process::Command::new(env!("CARGO_BIN_EXE_strowger")).arg("--config").arg(&file).output().unwrap();
        let words = String::from_utf8(server.stderr).unwrap();
        assert!(!server.status.success() && words.contains("line 2") && !words.contains("hunter2"), "{words}");
    });
}
