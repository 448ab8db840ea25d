//! A backup that is not as it was written is refused with the reason, before anything is changed.

use std::path::Path;

use strowger::control::clusters::Isolation;

use super::filled::fill;
use super::{back_up, lying, store, url_of};
use crate::crash::Catalog;
use crate::support::{World, world};

/// Where each piece begins and ends in `data`.
fn pieces(data: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < data.len() {
        let length = u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
        let end = at + 4 + usize::try_from(length).unwrap();
        all.push(at..end);
        at = end;
    }
    all
}

fn refused(w: &World, id: &str, why: &str) {
    let ran = w.ctl(&["backup", "verify", id]);
    assert!(matches!(ran.code, Some(1 | 3)) && ran.stderr.contains(why), "{why}: {:?} {}", ran.code, ran.stderr);
}

/// Turns red when a piece is sealed without its number.
#[test]
fn a_changed_cut_or_swapped_piece_is_refused() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of(&tenant), &tenant.schema);
        let [one, two] = [back_up(&w, &tenant), back_up(&w, &tenant)];
        let [id, other] = [&one, &two].map(|backup| backup["id"].as_str().unwrap().to_owned());
        let path = |id: &str, name: &str| store(&w).join(id).join(name);
        let [whole, theirs] = [&id, &other].map(|id| std::fs::read(path(id, "data")).unwrap());
        let at = pieces(&whole);
        assert!(at.len() > 10);
        let put = |data: &[u8]| std::fs::write(path(&id, "data"), data).unwrap();

        let mut changed = whole.clone();
        changed[at[3].end - 1] ^= 1;
        put(&changed);
        refused(&w, &id, "does not open");
        put(&whole[..at[5].start]);
        refused(&w, &id, "is missing");
        put(&whole[..at[5].end - 7]);
        refused(&w, &id, "is cut off");
        put(&[&whole[..at[4].start], &whole[at[4].end..]].concat());
        refused(&w, &id, "does not open");
        put(&[&whole[..at[2].start], &whole[at[3].clone()], &whole[at[2].clone()], &whole[at[3].end..]].concat());
        refused(&w, &id, "does not open");
        put(&[&whole[..], b"x"].concat());
        refused(&w, &id, "follows its end");
        put(&theirs);
        refused(&w, &id, "does not open");
        put(&whole);
        w.ctl(&["backup", "verify", &id]).json();

        let manifest = std::fs::read(path(&id, "manifest")).unwrap();
        std::fs::copy(path(&other, "manifest"), path(&id, "manifest")).unwrap();
        refused(&w, &id, "another backup's");
        let as_ours = String::from_utf8(std::fs::read(path(&other, "manifest")).unwrap()).unwrap().replace(&other, &id);
        std::fs::write(path(&id, "manifest"), as_ours).unwrap();
        refused(&w, &id, "nothing was changed");
        std::fs::write(path(&id, "manifest"), &manifest[..manifest.len() / 2]).unwrap();
        refused(&w, &id, "is not one");
        std::fs::write(path(&id, "manifest"), &manifest).unwrap();
        w.ctl(&["backup", "verify", &id]).json();
    });
}

/// A restore of what cannot be restored: no job, no tenant, nothing on a cluster.
async fn refused_to_restore(w: &World, config: &Path, id: &str, why: &str) {
    let begun = || [["job", "list"], ["tenant", "list"]].map(|list| w.ctl(&list).json());
    let before = begun();
    let new = ["--as-new-tenant", "--name", "Again", "--isolation", "schema"];
    for how in [&["--in-place"][..], &new] {
        let catalog = Catalog::read(w).await;
        let config = ["--config", config.to_str().unwrap(), "--output", "json"];
        let ran = crate::support::run(&[&config[..], &["backup", "restore", id], how].concat(), "");
        let said = &ran.stderr;
        assert!(matches!(ran.code, Some(1 | 3)) && said.contains(why), "{why} {how:?}: {:?} {said}", ran.code);
        assert_eq!(begun(), before, "{why} {how:?}");
        catalog.still_holds(w).await;
    }
}

/// Turns red when a restore looks at no more than the manifest before it begins.
#[test]
fn what_is_damaged_is_not_begun_to_be_restored() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        fill(&url_of(&one), &one.schema);
        let [id, other, theirs] =
            [&one, &one, &two].map(|tenant| back_up(&w, tenant)["id"].as_str().unwrap().to_owned());
        let read = |id: &str| std::fs::read(store(&w).join(id).join("data")).unwrap();
        let put = |data: &[u8]| std::fs::write(store(&w).join(&id).join("data"), data).unwrap();
        let config = w.dir.join("strowgerctl.toml");
        let whole = read(&id);
        // Where all tables but the last have been read by then.
        let last = pieces(&whole).pop().unwrap();
        let mut changed = whole.clone();
        changed[last.end - 1] ^= 1;
        for (data, why) in [
            (&changed[..], "does not open"),
            (&whole[..last.end - 7], "is cut off"),
            (&whole[..last.start], "is missing"),
            (&[&whole[..], b"x"].concat(), "follows its end"),
            (&read(&other), "does not open"),
        ] {
            put(data);
            refused_to_restore(&w, &config, &id, why).await;
        }
        put(&whole);

        let control = crate::jobs::control(&w).await;
        control.batch_execute(&format!("update backups set tenant_id = 1 where id = '{theirs}'")).await.unwrap();
        refused_to_restore(&w, &config, &theirs, "tenant 2's").await;

        let (ring, with_it) = (w.dir.join("other.ring"), w.dir.join("other.toml"));
        std::fs::write(&ring, strowger::vault::MasterRing::generate("s1").as_bytes()).unwrap();
        let settings = std::fs::read_to_string(&config).unwrap();
        assert!(settings.contains("server.ring"));
        std::fs::write(&with_it, settings.replace("server.ring", "other.ring")).unwrap();
        refused_to_restore(&w, &with_it, &id, "nothing was changed").await;

        w.ctl(&["backup", "restore", &id, "--in-place"]).json();
    });
}

/// Another tenant's backup under this one's name, and a ring without the key.
#[test]
fn another_tenants_backup_and_a_ring_without_the_key_are_refused() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        let (mine, theirs) = (back_up(&w, &one), back_up(&w, &two));
        let (mine, theirs) = (mine["id"].as_str().unwrap(), theirs["id"].as_str().unwrap());
        // Whoever can write to the control database says that it is this tenant's.
        let control = crate::jobs::control(&w).await;
        control.batch_execute(&format!("update backups set tenant_id = 1 where id = '{theirs}'")).await.unwrap();
        refused(&w, theirs, "tenant 2's");
        let ring = w.dir.join("other.ring");
        std::fs::write(&ring, strowger::vault::MasterRing::generate("s1").as_bytes()).unwrap();
        let extract = |ring: &Path| {
            let (folder, out) = (store(&w).join(mine), w.dir.join("out"));
            let args = ["backup", "extract", "--from", folder.to_str().unwrap(), "--out", out.to_str().unwrap()];
            crate::support::run(&[&["--server-key-ring", ring.to_str().unwrap()], &args[..]].concat(), "")
        };
        let ran = extract(&ring);
        assert_eq!((ran.code, w.dir.join("out").exists()), (Some(1), false), "{}", ran.stderr);
        assert_eq!(extract(&w.dir.join("server.ring")).code, Some(0));
    });
}

/// A disk that is full half way: nothing of the backup lies about, and the next one is whole. That a file must not grow is how a disk
/// is full for one process. Turns red when what an attempt that failed has written is left.
#[test]
fn a_disk_that_is_full_is_named_and_nothing_is_left() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of(&tenant), &tenant.schema);
        let mut full = std::process::Command::new("sh");
        full.args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$@\"", "sh"]).arg(crate::support::strowgerctl());
        full.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["backup", "create", "--tenant", "1", "--to"]);
        let ran = full.arg(store(&w)).output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), said.contains("File too large")), (Some(1), true), "{said}");
        assert_eq!(lying(&w), Vec::<String>::new());
        assert_eq!(w.ctl(&["backup", "list"]).json()[0]["state"], "writing");
        let made = back_up(&w, &tenant);
        assert_eq!(lying(&w), [made["id"].as_str().unwrap()]);
        w.ctl(&["backup", "verify", made["id"].as_str().unwrap()]).json();
    });
}

/// A store that is not there: the job waits with the reason, and nothing of the backup lies about.
#[test]
fn a_store_that_cannot_be_written_to_is_named() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let refused = |to: &str| w.ctl(&["backup", "create", "--tenant", "1", "--to", to]);
        assert_eq!(refused("backups").code, Some(3), "not a whole path");
        assert_eq!(w.ctl(&["backup", "create", "--tenant", "1"]).code, Some(3), "nobody said where to");
        // Nobody, root neither, makes a folder in a file.
        std::fs::write(w.dir.join("file"), b"").unwrap();
        let ran = refused(w.dir.join("file").to_str().unwrap());
        assert_eq!((ran.code, ran.stderr.contains("create")), (Some(1), true), "{}", ran.stderr);
        assert_eq!(w.ctl(&["backup", "list"]).json()[0]["state"], "writing");
        let made = back_up(&w, &tenant);
        assert_eq!(made["state"], "complete");
        assert_eq!(lying(&w), [made["id"].as_str().unwrap()]);
        assert_eq!(w.ctl(&["backup", "list"]).json().as_array().unwrap().len(), 1);
    });
}
