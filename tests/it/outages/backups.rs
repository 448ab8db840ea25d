//! A backup, struck at every step.

use strowger::control::clusters::Isolation;
use strowger::control::jobs::Kind;

use super::writer::{Writer, found};
use super::{before, deaths, steps_of, strike};
use crate::backup::{lying, store};
use crate::crash::Catalog;
use crate::crash::tapped::Tapped;
use crate::support::private_world;

/// Who takes part.
const SERVERS: [&str; 2] = ["shared", "control"];

/// Whatever has a backup's name is whole, and nothing else lies there.
///
/// Turns red when what an earlier attempt left in a store is not taken away.
#[test]
fn a_backup_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let catalog = Catalog::read(&w).await;
        let tapped = Tapped::new(&w).await;
        let to = store(&w);
        let create = ["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()];
        let steps = steps_of(&w, &tapped, Kind::Backup, &create).await;
        let writer = Writer::default();
        let mut struck = 0;
        let striking = async {
            for death in deaths(&steps, SERVERS.len()) {
                let (server, when) = (SERVERS[death.who], format!("{} {death:?}", SERVERS[death.who]));
                writer.more().await;
                let acknowledged = writer.acknowledged();
                strike(&w, &tapped, &death, server, &create).await;
                struck += 1;
                let (again, _) = tapped.run(&create).await;
                assert_eq!(again[0]["state"], "complete", "{when}");
                let memories = again[0]["tables"].as_array().unwrap().iter().find(|table| table["name"] == "memories");
                let rows = memories.unwrap()["rows"].as_u64().unwrap();
                assert!(rows >= acknowledged.len() as u64, "{when}: {rows} of {}", acknowledged.len());
                let listed = w.ctl(&["backup", "list"]).json();
                let mut ids: Vec<&str> =
                    listed.as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap()).collect();
                ids.sort_unstable();
                assert_eq!(lying(&w), ids, "{when}: the store is what the list says");
                assert!(listed.as_array().unwrap().iter().all(|backup| backup["state"] == "complete"), "{when}");
                writer.finds(&found(&w, &tenant, &tenant.schema).await, &acknowledged, &when);
                w.ctl(&["backup", "verify", again[0]["id"].as_str().unwrap()]).json();
                w.ctl(&["doctor"]).json();
            }
            writer.end();
        };
        tokio::join!(striking, writer.write(&w, tenant.id));
        println!("backup create: {struck} deaths of source and control database");
        catalog.still_holds(&w).await;
        w.ctl(&["audit", "verify"]).json();
    });
}

/// A backup's lock is lost, another command takes it over and writes all of it, and who lost it lives and goes on.
///
/// Turns red when one that fails deletes what is in its place without asking whether its job is its own.
#[test]
fn who_lost_a_backup_without_knowing_takes_nothing_away() {
    private_world(async |w| {
        w.tenant("One", Isolation::Schema).await;
        let tapped = Tapped::new(&w).await;
        let to = store(&w);
        let create = ["backup", "create", "--tenant", "1", "--to", to.to_str().unwrap()];
        for statement in [8, 16, 24, 32] {
            let overtake = async || {
                let cut = "select pg_terminate_backend(pid, 1000) from pg_locks where locktype = 'advisory'";
                crate::jobs::control(&w).await.batch_execute(cut).await.unwrap();
                tapped.signal_running("STOP");
                w.ctl(&create).json();
                tapped.signal_running("CONT");
            };
            let ended = before(&w, &tapped, (Some("back-up"), statement), &create, overtake).await.unwrap();
            assert!(!ended.status.success(), "{statement}: it does not know what became of its backup");
            for backup in w.ctl(&["backup", "list"]).json().as_array().unwrap() {
                w.ctl(&["backup", "verify", backup["id"].as_str().unwrap()]).json();
            }
        }
        assert_eq!(lying(&w).len(), 4);
    });
}
