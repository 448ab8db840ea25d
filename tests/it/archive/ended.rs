//! Archiving ended and begun again: what was archived stays of use, and is not forgotten before it is gone.

use serde_json::{Value, json};
use tokio_postgres::Client;

use super::{archive, forget, keep_backups, now, refused, remember, remembered, tenant};
use crate::support::{Folder, Up, until};

fn status(folder: &Folder) -> Value {
    folder.json(&["cluster", "archive", "status", "shared"])
}

async fn command(db: &Client) -> String {
    db.query_one("show archive_command", &[]).await.unwrap().get(0)
}

/// Turns red when the cluster goes on archiving, when a moment after the end is begun to be restored, or when the log from a second beginning
/// on is to be read after a base backup from before.
#[tokio::test]
async fn an_archive_that_is_ended_serves_what_it_has_and_is_begun_anew() {
    let folder = Folder::new("ended");
    let _up = Up::start(&folder);
    keep_backups(&folder);
    tenant(&folder, "A", "schema");
    let db = folder.superuser("shared", "postgres").await;
    let before = command(&db).await;
    archive(&folder, "shared").await;
    assert_ne!(command(&db).await, before);
    remember(&folder, "1", "before").await;
    let at = now(&db).await;
    // So that the archive has a commit after that, and all of its log.
    remember(&folder, "1", "after").await;
    let switched = "select pg_walfile_name(pg_switch_wal())";
    let piece: String = db.query_one(switched, &[]).await.unwrap().get(0);
    let archived = "select coalesce(last_archived_wal >= $1, false) from pg_stat_archiver";
    until("it is archived", async || db.query_one(archived, &[&piece]).await.unwrap().get(0)).await;

    let ended = folder.json(&["cluster", "archive", "disable", "shared"]);
    assert!(ended["ended_at"].is_string() && ended["base_backups"][0]["kind"] == "full", "{ended}");
    until("it archives no more", async || command(&db).await == before).await;
    let repo = ended["repo"].as_str().unwrap().to_owned();
    refused(&folder, "1", &now(&db).await, "is after the archive of cluster shared ended");
    let more = folder.ctl(&["cluster", "archive", "backup", "shared"], "");
    assert_eq!((more.code, more.stderr.contains("not archived any more")), (Some(3), true), "{}", more.stderr);
    forget(&folder, "1").await;
    folder.json(&["backup", "restore", "--tenant", "1", "--at", &at, "--in-place"]);
    assert_eq!(remembered(&folder, "1").await, ["before"]);
    assert_eq!(folder.ctl(&["doctor"], "").code, Some(0));

    // Begun anew, it has a base backup from then on.
    archive(&folder, "shared").await;
    let again = status(&folder);
    let come = "select clock_timestamp() > $1::text::timestamptz + interval '1 second'";
    let last = again["base_backups"][1]["ended_at"].as_str().unwrap_or_else(|| panic!("{again}")).to_owned();
    until("its moment has come", async || db.query_one(come, &[&last]).await.unwrap().get(0)).await;
    assert_eq!((&again["ended_at"], again["base_backups"].as_array().unwrap().len()), (&Value::Null, 2), "{again}");
    remember(&folder, "1", "again").await;
    let at = now(&db).await;
    forget(&folder, "1").await;
    folder.json(&["backup", "restore", "--tenant", "1", "--at", &at, "--in-place"]);
    assert_eq!(remembered(&folder, "1").await, ["before", "again"]);

    // It is forgotten once nothing of it is left, and not before.
    for _ in 0..2 {
        assert_eq!(folder.json(&["cluster", "archive", "disable", "shared"])["repo"], repo);
    }
    assert_eq!(folder.json(&["cluster", "copies", "list"]).as_array().unwrap().len(), 2);
    std::fs::remove_dir_all(&repo).unwrap();
    assert_eq!(folder.json(&["cluster", "archive", "disable", "shared"])["forgotten"], true);
    assert_eq!(folder.json(&["cluster", "copies", "list"]), json!([]));
    assert_eq!(folder.json(&["cluster", "archive", "status"]), json!([]));
}
