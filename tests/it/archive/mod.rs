//! One tenant as it was at a moment. pgBackRest archives the private clusters of an embedded installation; one of them is restored aside,
//! asked, and gone.

mod ended;
mod kept;
mod kills;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::{Folder, Up, connect, run, run_in, until};

/// What a caller said; nobody else says that.
const SAID: &str = "keeps nineteen bees in Wapping";

/// Waits until a condition holds that Postgres and pgBackRest have to start for; fails after two minutes.
async fn in_time(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), wait).await.unwrap_or_else(|_| panic!("still waiting until {what}"));
}

fn tenant(folder: &Folder, name: &str, isolation: &str) -> String {
    folder.json(&["tenant", "create", "--name", name, "--isolation", isolation])["customer_id"].to_string()
}

/// Where backups of single tenants go from now on.
fn keep_backups(folder: &Folder) {
    let store = folder.0.join("backups");
    assert_eq!(folder.ctl(&["platform", "set", "backups_to", store.to_str().unwrap()], "").code, Some(0));
}

async fn login(folder: &Folder, id: &str) -> Client {
    connect(folder.ctl(&["tenant", "connection", id], "").stdout.trim()).await.unwrap()
}

async fn remember(folder: &Folder, id: &str, said: &str) {
    let sql = "insert into memories (user_id, content) values ('+18005550199', $1)";
    login(folder, id).await.execute(sql, &[&said]).await.unwrap();
}

async fn forget(folder: &Folder, id: &str) {
    login(folder, id).await.execute("delete from memories", &[]).await.unwrap();
}

async fn remembered(folder: &Folder, id: &str) -> Vec<String> {
    let rows = login(folder, id).await.query("select content from memories order by created_at", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn now(db: &Client) -> String {
    let sql = r#"select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;
    db.query_one(sql, &[]).await.unwrap().get(0)
}

/// Has a cluster archived, and waits for the first moment that it can be brought back to.
async fn archive(folder: &Folder, cluster: &str) -> Value {
    let status = folder.json(&["cluster", "archive", "enable", cluster]);
    come(folder, &status).await;
    status
}

async fn come(folder: &Folder, status: &Value) {
    let (db, from) = (folder.superuser("control", "postgres").await, status["reaches_back_to"].as_str().unwrap());
    let come = "select clock_timestamp() > $1::text::timestamptz";
    until("the moment has come", async || db.query_one(come, &[&from]).await.unwrap().get(0)).await;
}

/// A restore in place to a moment is refused with these words, and nothing was begun.
fn refused(folder: &Folder, id: &str, at: &str, words: &str) {
    let begun = || (folder.json(&["backup", "list"]), folder.json(&["job", "list"]), folder.json(&["tenant", "list"]));
    let before = begun();
    let ran = folder.ctl(&["backup", "restore", "--tenant", id, "--at", at, "--in-place"], "");
    assert_eq!((ran.code, ran.stderr.contains(words)), (Some(3), true), "{words}: {}", ran.stderr);
    assert_eq!(begun(), before, "{words}");
}

/// Where clusters are restored aside.
fn aside(folder: &Folder, cluster: &str) -> PathBuf {
    folder.0.join("archive").join(cluster).join("aside")
}

/// Copies of clusters that lie there.
fn copies(aside: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(aside).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("strowger-aside-")).collect()
}

/// Processes whose command line has all of these words.
fn processes(words: &[&str]) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_all = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word))
    };
    pids.filter(has_all).collect()
}

fn is_clean(aside: &Path) -> bool {
    copies(aside).is_empty() && processes(&[aside.to_str().unwrap()]).is_empty()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn holds(file: &PathBuf, text: &str) -> bool {
    let bytes = std::fs::read(file).unwrap_or_default();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Turns red when the rows are read from the cluster that serves, when a move is not looked for, when the oldest base backup is not
/// minded (then what comes back is of a later moment), or when the repository is not encrypted.
#[tokio::test]
async fn rows_deleted_by_mistake_come_back_and_the_neighbours_notice_nothing() {
    let folder = Folder::new("archive");
    let _up = Up::start(&folder);
    keep_backups(&folder);
    for (name, isolation) in [("A", "schema"), ("B", "database"), ("C", "schema"), ("D", "database")] {
        tenant(&folder, name, isolation);
    }
    let db = folder.superuser("shared", "postgres").await;
    let early = now(&db).await;
    refused(&folder, "1", &early, "no archive of cluster shared is known: `strowgerctl cluster archive enable shared`");
    for cluster in ["shared", "dedicated"] {
        let status = archive(&folder, cluster).await;
        assert_eq!(status["archive_mode"], "on", "{status}");
        assert_eq!((status["failures"].as_i64(), &status["base_backups"][0]["kind"]), (Some(0), &json!("full")));
    }
    for id in ["1", "2", "3", "4"] {
        remember(&folder, id, SAID).await;
    }
    let at = now(&db).await;
    for id in ["1", "2"] {
        forget(&folder, id).await;
    }
    for id in ["1", "2", "3", "4"] {
        remember(&folder, id, "later").await;
    }

    for id in ["1", "2"] {
        folder.json(&["backup", "restore", "--tenant", id, "--at", &at, "--in-place"]);
        assert_eq!(remembered(&folder, id).await, [SAID]);
    }
    let new = ["--as-new-tenant", "--name", "C as it was", "--isolation", "database"];
    let new = folder.json(&[["backup", "restore", "--tenant", "3", "--at", &at].as_slice(), &new].concat());
    assert_eq!(remembered(&folder, &new["customer_id"].to_string()).await, [SAID]);
    for id in ["3", "4"] {
        assert_eq!(remembered(&folder, id).await, [SAID, "later"], "it is a neighbour");
    }
    folder.json(&["backup", "undo", "1"]);
    assert_eq!(remembered(&folder, "1").await, ["later"], "the way back is that of any restore");
    folder.json(&["backup", "restore", "--tenant", "1", "--at", &at, "--in-place"]);
    assert_eq!(remembered(&folder, "1").await, [SAID]);
    let made = folder.json(&["backup", "list"]);
    assert_eq!(made.as_array().unwrap().len(), 3, "one of that moment serves again");
    assert_eq!(made[0]["taken_at"], made[0]["moment"], "{made}");

    refusals(&folder, &early, &at).await;
    for cluster in ["shared", "dedicated"] {
        assert!(is_clean(&aside(&folder, cluster)));
        sealed(&folder, cluster);
    }
    let doctor = folder.ctl(&["doctor"], "");
    assert_eq!(doctor.code, Some(0), "{}", doctor.stdout);
    of_an_operators_own(&folder, &at).await;
}

async fn refusals(folder: &Folder, early: &str, at: &str) {
    refused(
        folder,
        "1",
        early,
        "is before the oldest base backup in the archive of cluster shared, which reaches back to",
    );
    refused(folder, "1", "2999-01-01T00:00:00Z", "has not come yet");
    refused(folder, "5", at, "there was no tenant 5 at");
    let then = now(&folder.superuser("shared", "postgres").await).await;
    folder.json(&["tenant", "move", "3", "--to", "dedicated", "--offline"]);
    refused(folder, "3", &then, "tenant 3 lived on cluster shared at");
    // A path with nothing on it but what says who we are.
    let path = folder.0.join("path");
    std::fs::create_dir(&path).unwrap();
    symlink("/usr/bin/id", path.join("id")).unwrap();
    let now = now(&folder.superuser("shared", "postgres").await).await;
    let restore = ["--data", folder.path(), "backup", "restore", "--tenant", "1", "--at", &now, "--in-place"];
    let ran = run_in(&[("PATH", path.to_str().unwrap().to_owned())], &restore, "");
    assert_eq!((ran.code, ran.stderr.contains("`apt-get install pgbackrest`")), (Some(3), true), "{}", ran.stderr);
}

/// The archive holds what the cluster holds, and none of it can be read.
fn sealed(folder: &Folder, cluster: &str) {
    let repo = files(&folder.0.join("archive").join(cluster).join("repo"));
    assert!(repo.len() > 500, "a base backup is there: {}", repo.len());
    // OpenSSL's mark of what it has encrypted.
    let open = repo.iter().find(|file| !std::fs::read(file).unwrap().starts_with(b"Salted__"));
    assert_eq!(open, None, "it is not encrypted");
    assert!(!repo.iter().any(|file| holds(file, SAID)));
    let data = files(&folder.0.join("postgres").join(cluster));
    assert!(data.iter().any(|file| holds(file, SAID)), "the control: it is in the cluster");
}

/// An archive that is made without us is only read. Asked for as on a server of one's own: by a file of settings, which is not pgBackRest's.
async fn of_an_operators_own(folder: &Folder, at: &str) {
    let (settings, config) = (folder.0.join("strowgerctl.toml"), folder.0.join("archive/dedicated/pgbackrest.conf"));
    let (settings, config) = (settings.to_str().unwrap(), config.to_str().unwrap());
    let ctl = |args: &[&str]| run(&[["--config", settings, "--output", "json"].as_slice(), args].concat(), "");
    let enable = ["cluster", "archive", "enable", "dedicated", "--stanza", "dedicated", "--pgbackrest-config", config];
    let without = ctl(&["cluster", "archive", "enable", "dedicated"]);
    assert_eq!((without.code, without.stderr.contains("a server of your own")), (Some(3), true), "{}", without.stderr);
    let ours = ctl(&enable);
    assert_eq!((ours.code, ours.stderr.contains("leave out")), (Some(3), true), "{}", ours.stderr);
    let control = folder.superuser("control", "sw_control").await;
    let sql = "delete from archives using clusters where cluster_id = id and name = 'dedicated'";
    assert_eq!(control.execute(sql, &[]).await.unwrap(), 1);
    let status = ctl(&enable).json();
    assert_eq!((&status["repo"], &status["kept_days"]), (&Value::Null, &Value::Null));
    let backup = ctl(&["cluster", "archive", "backup", "dedicated"]);
    assert_eq!((backup.code, backup.stderr.contains("is your own")), (Some(3), true), "{}", backup.stderr);
    ctl(&["backup", "restore", "--tenant", "4", "--at", at, "--in-place"]).json();
    assert_eq!(remembered(folder, "4").await, [SAID]);
}
