//! A plain SQL dump instead of a database: loaded by nobody, into something that is gone afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use strowger::control::clusters::Isolation;

use super::legacy::Legacy;
use super::{MAPPING, rows};
use crate::support::{World, signal, strowgerctl, until, world};

/// `strowgerctl` with a folder of its own for what it throws away.
fn import(w: &World, dump: &Path, tenant: &str) -> Command {
    let scratch = scratch(w);
    std::fs::create_dir_all(&scratch).unwrap();
    let mut command = Command::new(strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args([
        "--output",
        "json",
        "import",
        "run",
        "--mapping",
        MAPPING,
    ]);
    command.arg("--dump").arg(dump).arg("--rejects").arg(w.dir.join(uuid::Uuid::new_v4().to_string()));
    command.args([&format!("--all-to={tenant}"), &format!("--tenant=10={tenant}")]).env("TMPDIR", scratch);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn scratch(w: &World) -> PathBuf {
    w.dir.join("scratch")
}

fn is_clean(w: &World) -> bool {
    std::fs::read_dir(scratch(w)).unwrap().next().is_none()
}

async fn dump(w: &World, name: &str) -> PathBuf {
    let legacy = Legacy::new(w).await;
    legacy.fill(300).await;
    legacy
        .run("create function f() returns int language sql as $$ select 1; $$; comment on table memories is 'a;\\b'")
        .await;
    let path = w.dir.join(name);
    let made = Command::new("pg_dump").args(["-d", &legacy.url, "-f"]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

#[test]
fn a_dump_is_imported_and_nothing_of_it_is_left() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let path = dump(&w, "dump.sql").await;
        let ran = import(&w, &path, &tenant.id.to_string()).output().unwrap();
        assert_eq!(ran.status.code(), Some(5), "{}", String::from_utf8_lossy(&ran.stderr));
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((report["verdict"].as_str(), rows(&report, "wrong")), (Some("equal"), 0));
        assert!(rows(&report, "imported") > 100 && rows(&report, "source") == 300 + 120 + 700 + 90 + 60, "{report}");
        assert!(is_clean(&w), "the throwaway Postgres is gone");
    });
}

/// Turns red when the scanner takes a backslash outside of rows and quotes for nothing: then the dump fails later, or not at all.
#[test]
fn a_dump_that_would_command_psql_is_refused_before_anything_runs() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id.to_string();
        let path = dump(&w, "dump.sql").await;
        let text = std::fs::read_to_string(&path).unwrap();
        let touched = w.dir.join("touched");
        let at = text.lines().position(|line| line.starts_with("COPY public.memories")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.insert(at, format!("\\! touch {}", touched.display()));
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        let ran = import(&w, &path, &tenant).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("line {}: a backslash command of psql", at + 1)), "{said}");
        assert!(!touched.exists() && is_clean(&w));

        // What only a superuser may do fails like any other statement, and what makes rows must not fail.
        for (sql, said) in [
            ("copy memories from program 'touch /tmp/x'", "SQLSTATE 42501"),
            ("create table t as select pg_read_file('/etc/passwd')", "SQLSTATE 42501"),
            ("insert into nowhere values (1)", "SQLSTATE 42P01"),
        ] {
            let path = w.dir.join("bad.sql");
            std::fs::write(&path, format!("create table memories (id int, user_id text, content text);\n{sql};\n"))
                .unwrap();
            let ran = import(&w, &path, &tenant).output().unwrap();
            let told = String::from_utf8(ran.stderr).unwrap();
            assert!(ran.status.code() == Some(3) && told.contains("line 2") && told.contains(said), "{told}");
        }
        assert!(is_clean(&w));
    });
}

/// Turns red without the undertaker: a killed process stops nothing.
#[test]
fn a_killed_import_leaves_no_postgres_behind() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id.to_string();
        let path = w.dir.join("slow.sql");
        std::fs::write(&path, "select pg_sleep(600);\n").unwrap();
        let mut child = import(&w, &path, &tenant).spawn().unwrap();
        let postmaster = || {
            let folder = std::fs::read_dir(scratch(&w)).unwrap().next()?.unwrap().path();
            let text = std::fs::read_to_string(folder.join("cluster/postmaster.pid")).ok()?;
            text.lines().next()?.parse::<u32>().ok()
        };
        until("Postgres runs", async || postmaster().is_some()).await;
        let pid = postmaster().unwrap();
        signal(child.id(), "KILL");
        child.wait().unwrap();
        until("it is gone", async || is_clean(&w) && !Path::new(&format!("/proc/{pid}")).exists()).await;
    });
}
