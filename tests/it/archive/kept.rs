//! An archive over time: base backups are added, failures are told, and what was erased goes out of it in the end.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use provisioner::settings::Settings;
use provisioner::{Provisioner, archives, erase};
use serde_json::Value;
use strowger::clock::Clock;
use strowger::control::{Actor, figures};
use time::{Duration, OffsetDateTime};

use super::{come, in_time, keep_backups, now, processes, refused, remember, tenant};
use crate::support::{Folder, Up, signal, strowgerctl};

async fn provisioner(folder: &Folder) -> Provisioner {
    let settings = Settings::from_data(&folder.0).unwrap();
    let (server, admin) = settings.rings().unwrap();
    Provisioner::open(&settings.control_url, server, admin, Actor::operator("test")).await.unwrap()
}

/// What an archive says of itself, whether or not all of it could be asked.
fn status(folder: &Folder) -> Value {
    let ran = folder.ctl(&["cluster", "archive", "status", "shared", "--output", "json"], "");
    assert!(matches!(ran.code, Some(0 | 4)), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The kinds of base backups that there are, oldest first.
fn bases(folder: &Folder) -> Vec<String> {
    let status = status(folder);
    let all = status["base_backups"].as_array().unwrap().iter();
    all.map(|base| base["kind"].as_str().unwrap().to_owned()).collect()
}

async fn keep_up(with: &Provisioner, at: OffsetDateTime) {
    assert!(archives::keep_up(with, at).await.unwrap().is_empty());
}

/// Enabling is killed in the middle of the first base backup, pgBackRest with it.
async fn half_enable(folder: &Folder) {
    let mut enable = Command::new(strowgerctl());
    enable.args(["--data", folder.path(), "cluster", "archive", "enable", "shared", "--keep", "1d"]);
    let mut enable = enable.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let backing_up = || processes(&["--type=full", folder.path()]);
    in_time("it makes a base backup", async || !backing_up().is_empty()).await;
    enable.kill().unwrap();
    enable.wait().unwrap();
    for pid in backing_up() {
        signal(pid, "KILL");
    }
    in_time("it has ended", async || backing_up().is_empty()).await;
    assert!(bases(folder).is_empty());
}

/// Turns red when a worker does not keep archives, when the doctor does not look at them, or when an erasure ends by its date alone.
#[tokio::test]
async fn base_backups_are_added_failures_are_told_and_an_erased_tenant_goes_out_of_the_archive() {
    let folder = Folder::new("kept");
    let mut up = Up::start(&folder);
    keep_backups(&folder);
    for name in ["A", "B"] {
        tenant(&folder, name, "schema");
    }
    half_enable(&folder).await;
    signal(up.child.id(), "TERM");
    assert!(up.child.wait().unwrap().success());
    let _up = Up::start(&folder);
    in_time("a worker has made it", async || bases(&folder) == ["full"]).await;

    let with = provisioner(&folder).await;
    failing(&folder, &with).await;
    let (today, day) = (Clock::system().now(), Duration::DAY);
    keep_up(&with, today).await;
    assert_eq!(bases(&folder), ["full"], "there is one of today");
    keep_up(&with, today + day + Duration::HOUR).await;
    assert_eq!(bases(&folder), ["full", "diff"]);
    erased(&folder, &with).await;
}

async fn failing(folder: &Folder, with: &Provisioner) {
    let doctor = || folder.ctl(&["doctor"], "");
    assert_eq!(doctor().code, Some(0), "{}", doctor().stdout);
    let db = folder.superuser("shared", "postgres").await;
    let switch = "select pg_current_xact_id(), pg_switch_wal()";
    let repo = folder.0.join("archive/shared/repo");
    std::fs::rename(&repo, repo.with_extension("away")).unwrap();
    db.batch_execute(switch).await.unwrap();
    in_time("it failed", async || status(folder)["failures"].as_i64() > Some(0)).await;
    assert!(status(folder)["last_failed_wal"].is_string());
    assert!(status(folder)["errors"][0].as_str().unwrap().contains("pgBackRest says"), "{}", status(folder));
    assert!(doctor().stdout.contains("archive.failing"), "{}", doctor().stdout);
    let archives = async |state: &str| {
        let all = figures::read(with.control()).await.unwrap();
        all.iter().find(|figure| figure.name == "strowger_archives" && figure.label == state).unwrap().value
    };
    in_time("a worker has heard of it", async || archives("failing").await > 0.5).await;
    std::fs::rename(repo.with_extension("away"), &repo).unwrap();
    db.batch_execute(switch).await.unwrap();
    in_time("it is archived", async || doctor().code == Some(0)).await;
    in_time("a worker has heard of that", async || archives("working").await > 0.5).await;
}

/// A tenant is erased for good once no base backup from before is left, whatever its receipt promised.
async fn erased(folder: &Folder, with: &Provisioner) {
    come(folder, &status(folder)).await;
    let shared = folder.superuser("shared", "postgres").await;
    remember(folder, "2", "something").await;
    let at = now(&shared).await;
    let erase = ["tenant", "erase", "2", "--now", "--confirm", "2"];
    assert_eq!(folder.json(&erase)["state"], "erasing");
    refused(folder, "2", &at, "tenant 2 was erased");
    let receipt = folder.ctl(&["tenant", "receipt", "2"], "").stdout;
    let receipt: Value = serde_json::from_str(receipt.lines().next().unwrap()).unwrap();
    let kinds: Vec<&str> =
        receipt["copies"].as_array().unwrap().iter().map(|copy| copy["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["backup", "wal-archive"]);
    for copy in receipt["copies"].as_array().unwrap() {
        assert!(copy["where"].as_str().unwrap().contains("/archive/shared/repo"), "{copy}");
    }

    let control = folder.superuser("control", "sw_control").await;
    control.execute("update erasures set copies_until = now()", &[]).await.unwrap();
    assert_eq!(erase::end_expired(with).await.unwrap(), 0);
    assert_eq!(folder.json(&erase)["state"], "erasing", "a base backup from before is there");
    keep_up(with, Clock::system().now() + Duration::days(8)).await;
    assert_eq!(bases(folder), ["full", "diff", "full"]);
    let home = folder.0.join("archive/shared");
    let owner = std::fs::metadata(home.join("repo")).unwrap();
    let mut expire = Command::new("pgbackrest");
    expire.arg(format!("--config={}", home.join("pgbackrest.conf").display())).arg("--stanza=shared");
    expire.args(["--repo1-retention-full-type=count", "--repo1-retention-full=1", "expire"]);
    assert!(expire.current_dir("/").uid(owner.uid()).gid(owner.gid()).status().unwrap().success());
    assert_eq!(bases(folder), ["full"]);
    // A worker may do it before we do.
    erase::end_expired(with).await.unwrap();
    assert_eq!(folder.json(&erase)["state"], "erased");
}
