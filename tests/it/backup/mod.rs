//! One tenant backed up, proven, read without us; and what is damaged, refused. Equal means that psql says so on both sides.

mod bucket;
mod damage;
mod export;
pub(crate) mod filled;
mod interrupted;
mod kills;
mod large;
mod meanwhile;
mod restores;
mod schedules;
mod strays;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;

use crate::support::{World, world};
use filled::fill;

/// All of a schema's rows as psql prints them, generated columns too; without what is made anew by a restore. psql finds the tables: ours
/// may leave one out.
pub(crate) fn content(url: &str, schema: &str) -> String {
    let tables = format!(
        "select relname from pg_class where relnamespace = '{schema}'::regnamespace and relkind = 'r'
         and relname not in ('identity', 'numbers', 'refinery_schema_history') order by relname"
    );
    let copy = |table: &str| {
        format!(
            "\\echo == {table}\ncopy (select t from {schema}.{table} t order by t::text collate \"C\") to stdout;\n"
        )
    };
    let script: String = psql(url, &["-c", &tables], "").lines().map(copy).collect();
    psql(url, &["-c", "set client_encoding = 'UTF8'", "-f", "-"], &script)
}

pub(crate) fn psql(url: &str, args: &[&str], script: &str) -> String {
    use std::io::Write as _;
    let mut command = Command::new("psql");
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url]).args(args);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success());
    String::from_utf8(ran.stdout).unwrap()
}

/// A superuser's URL of the database that a tenant lives in.
fn url_of(tenant: &Tenant) -> String {
    let url = World::superuser_url(&tenant.cluster);
    format!("{}/{}", url.rsplit_once('/').unwrap().0, tenant.database)
}

pub(crate) fn store(w: &World) -> PathBuf {
    w.dir.join("backups")
}

/// A new backup of a tenant, as the command prints it.
fn back_up(w: &World, tenant: &Tenant) -> Value {
    let to = store(w);
    let made = w.ctl(&["backup", "create", "--tenant", &tenant.id.to_string(), "--to", to.to_str().unwrap()]).json();
    made[0].clone()
}

/// What lies in the store, whatever it is called; without the store's own mark.
pub(crate) fn lying(w: &World) -> Vec<String> {
    let Ok(all) = std::fs::read_dir(store(w)) else { return Vec::new() };
    let mut names: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".strowger-backups");
    names.sort_unstable();
    names
}

/// Turns red when `tables` leaves a table of a migration out.
#[test]
fn the_known_tables_are_those_that_the_migrations_make() {
    world(async |w| {
        let db = w.superuser("shared", &w.prefix.name("shared")).await;
        for version in 1..=strowger::schema::MAX {
            let schema = format!("at_{version}");
            db.batch_execute(&format!("create schema {schema}; set search_path = {schema}")).await.unwrap();
            db.batch_execute(&strowger::schema::batch_to(version, "2026-01-01T00:00:00Z")).await.unwrap();
            let sql = "select relname::text from pg_class where relnamespace = $1::text::regnamespace and relkind in ('r', 'p')
                       and relname <> 'refinery_schema_history' order by 1";
            let found: Vec<String> = db.query(sql, &[&schema]).await.unwrap().iter().map(|row| row.get(0)).collect();
            let mut known = strowger::schema::tables(version);
            known.sort_unstable();
            assert_eq!(found, known, "version {version}");
        }
    });
}

/// The catalogue says what psql counts; `verify` finds it whole, and leaves nothing behind.
#[test]
fn a_backup_is_what_the_tenant_has() {
    for isolation in [Isolation::Schema, Isolation::Database] {
        world(async move |w| {
            let tenant = w.tenant("One", isolation).await;
            fill(&url_of(&tenant), &tenant.schema);
            let before = crate::crash::Catalog::read(&w).await;
            let backup = back_up(&w, &tenant);
            let count = |table: &str| {
                let sql = format!("select count(*) from {}.{table}", tenant.schema);
                psql(&url_of(&tenant), &["-c", &sql], "").trim().parse::<i64>().unwrap()
            };
            for table in backup["tables"].as_array().unwrap() {
                let rows = table["rows"].as_i64().unwrap();
                assert_eq!(rows, count(table["name"].as_str().unwrap()), "{table}");
                assert!(rows > 0 || table["name"] == "numbers", "{table}: nothing was put there");
            }
            let id = backup["id"].as_str().unwrap();
            assert_eq!(lying(&w), [id]);
            let shown = w.ctl(&["backup", "show", id]).json();
            assert_eq!((&shown["state"], &shown["verified_at"]), (&json!("complete"), &Value::Null));
            assert!(shown["lsn"].as_str().unwrap().contains('/') && shown["stored_bytes"].as_i64().unwrap() > 0);
            let verified = w.ctl(&["backup", "verify", id]).json();
            assert!(verified["verified_at"].is_string());
            before.still_holds(&w).await;

            w.ctl(&["backup", "delete", id]).json();
            assert_eq!((lying(&w), w.ctl(&["backup", "list"]).json()), (vec![], json!([])));
        });
    }
}

/// Without us: the shipped psql loads it into an empty database, and what it reads there is what the tenant had.
#[test]
fn psql_loads_what_was_extracted() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Database).await;
        fill(&url_of(&tenant), &tenant.schema);
        let before = content(&url_of(&tenant), &tenant.schema);
        let backup = back_up(&w, &tenant);
        let (out, folder) = (w.dir.join("out"), store(&w).join(backup["id"].as_str().unwrap()));
        // Neither the control database nor the admin ring is needed.
        let ring = w.dir.join("server.ring");
        let args = ["backup", "extract", "--from", folder.to_str().unwrap(), "--out", out.to_str().unwrap()];
        let ran = crate::support::run(&[&["--server-key-ring", ring.to_str().unwrap()], &args[..]].concat(), "");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let empty = format!("{}_empty", w.prefix);
        let server = w.superuser("shared", "postgres").await;
        // Open to nobody else even for a moment: other tests prepare these clusters meanwhile, and that is refused then.
        for sql in [
            "create database {} allow_connections false",
            "revoke all on database {} from public",
            "alter database {} allow_connections true",
        ] {
            server.batch_execute(&sql.replace("{}", &empty)).await.unwrap();
        }
        let url = format!("{}/{empty}", World::superuser_url("shared").rsplit_once('/').unwrap().0);
        let mut load = Command::new("psql");
        load.current_dir(&out).args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f", "load.sql", "-d", &url]);
        assert!(load.status().unwrap().success());
        assert!(content(&url, &tenant.schema) == before, "psql reads something else");
    });
}

/// Turns red when erasure leaves a backup in its store.
#[test]
fn an_erasure_takes_the_backups_along() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let kept = back_up(&w, &w.tenant("Two", Isolation::Schema).await);
        let backup = back_up(&w, &tenant);
        let id = tenant.id.to_string();
        let elsewhere = w.dir.join("elsewhere");
        std::fs::rename(store(&w), &elsewhere).unwrap();
        std::fs::create_dir(store(&w)).unwrap();
        let refused = w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]);
        assert_eq!((refused.code, refused.stderr.contains("mounted")), (Some(4), true), "{}", refused.stderr);
        std::fs::remove_dir(store(&w)).unwrap();
        std::fs::rename(&elsewhere, store(&w)).unwrap();
        assert_eq!(w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]).json()["state"], "erased");
        assert_eq!(lying(&w), [kept["id"].as_str().unwrap()]);
        let receipt: Value =
            serde_json::from_str(w.ctl(&["tenant", "receipt", &id]).stdout.lines().next().unwrap()).unwrap();
        assert_eq!(receipt["destroyed_backups"][0]["backup"], backup["id"]);
    });
}
