//! A restore to a moment, killed while the copy of the cluster is laid down and while it runs.

use std::process::{Child, Command, Stdio};

use super::{
    archive, aside, copies, forget, in_time, is_clean, keep_backups, now, processes, remember, remembered, tenant,
};
use crate::support::{Folder, Up, signal, strowgerctl};

/// A restore under way.
fn begin(folder: &Folder, at: &str) -> Child {
    let mut command = Command::new(strowgerctl());
    command.args(["--data", folder.path(), "backup", "restore", "--tenant", "1", "--at", at, "--in-place"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut child: Child) {
    assert!(child.try_wait().unwrap().is_none(), "it is under way");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Turns red when no shell watches over the folder, or when what was left is not looked for at the next restore.
#[tokio::test]
async fn a_killed_restore_leaves_no_copy_of_the_cluster() {
    let folder = Folder::new("aside");
    let mut up = Up::start(&folder);
    keep_backups(&folder);
    tenant(&folder, "A", "schema");
    archive(&folder, "shared").await;
    remember(&folder, "1", "before").await;
    let at = now(&folder.superuser("shared", "postgres").await).await;
    forget(&folder, "1").await;
    // No worker follows, for now.
    signal(up.child.id(), "TERM");
    assert!(up.child.wait().unwrap().success());

    let aside = aside(&folder, "shared");
    let is_at = |what: &str| copies(&aside).iter().any(|copy| copy.join(what).exists());
    for stage in ["busy", "cluster/postmaster.pid"] {
        let running = begin(&folder, &at);
        in_time(stage, async || is_at(stage)).await;
        kill(running);
        in_time("nothing is left", async || is_clean(&aside)).await;
    }

    // What would clean up is killed too.
    let running = begin(&folder, &at);
    in_time("the copy runs", async || is_at("cluster/postmaster.pid")).await;
    for pid in processes(&["undertaker", aside.to_str().unwrap()]) {
        signal(pid, "KILL");
    }
    kill(running);
    assert!(!is_clean(&aside), "the control: something is left");

    // A worker follows, and the command is given once more.
    let _up = Up::start(&folder);
    in_time("the backup is whole", async || folder.json(&["backup", "list"])[0]["state"] == "complete").await;
    in_time("what was left is found", async || is_clean(&aside)).await;
    assert_eq!(begin(&folder, &at).wait().unwrap().code(), Some(0));
    assert_eq!(remembered(&folder, "1").await, ["before"]);
    assert_eq!(folder.json(&["backup", "list"]).as_array().unwrap().len(), 1);
    assert!(is_clean(&aside));
}
