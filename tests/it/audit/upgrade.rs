//! An installation of the time before the log was chained.

use strowger::vault::MasterRing;

use crate::support::{World, connect, run, world};

/// Red when the migration does not chain the rows that are there, or `init` leaves the log with its old owner.
#[test]
fn an_older_control_database_is_chained_and_closed_by_init() {
    world(async |w| {
        let (prefix, dir) = (format!("{}_old", w.prefix), w.dir.join("old"));
        std::fs::create_dir_all(&dir).unwrap();
        let (control, postgres) = (format!("{prefix}_control"), w.superuser("control", "postgres").await);
        for sql in [
            format!("create role {control} login password 'old'"),
            format!("create role {prefix}_server login"),
            format!("create database {control} owner {control}"),
        ] {
            postgres.batch_execute(&sql).await.unwrap();
        }
        let url = w.urls.provisioner.split_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
        let mut old = connect(&format!("postgres://{control}:old@{url}/{control}")).await.unwrap();
        let first = include_str!("../../../control-migrations/V1__control.sql");
        let first = refinery::Migration::unapplied("V1__control", first).unwrap();
        refinery::Runner::new(&[first]).run_async(&mut old).await.unwrap();
        old.batch_execute(
            "insert into audit (actor, action, tenant_id, detail)
             select 'operator:' || n, 'did', nullif(n % 3, 0), jsonb_build_object('n', n, 'text', repeat('ü', n))
             from generate_series(1, 100) n",
        )
        .await
        .unwrap();
        std::fs::write(dir.join("server.ring"), MasterRing::generate("s1").as_bytes()).unwrap();
        std::fs::write(dir.join("admin.ring"), MasterRing::generate("a1").as_bytes()).unwrap();

        for _ in 0..2 {
            let init = ["init", "--prefix", &prefix, "--out", dir.to_str().unwrap()];
            let ran = run(&init, &World::superuser_url("control"));
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        }
        let config = dir.join("strowgerctl.toml").display().to_string();
        let ctl = |args: &[&str]| run(&[&["--config", &config, "--output", "json"], args].concat(), "");
        let verified = ctl(&["audit", "verify"]).json();
        assert_eq!(verified["chains"], 3);
        assert!(verified["rows"].as_i64().unwrap() > 100, "{verified}");
        let mine = ctl(&["audit", "list", "--tenant", "2", "--limit", "1000"]).json();
        let seqs: Vec<i64> = mine.as_array().unwrap().iter().map(|row| row["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=33).rev().collect::<Vec<_>>());
        let refused = old.batch_execute("update audit set actor = 'x'").await.expect_err("also in an old session");
        assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42501"));
        let refused = old.batch_execute("drop table audit").await.expect_err("also in an old session");
        assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42501"));
    });
}
