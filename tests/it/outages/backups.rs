//! A backup and a restore, struck at every step.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation;
use strowger::control::jobs::Kind;
use strowger::control::tenants::Tenant;

use super::writer::Writer;
use super::{before, deaths, steps_of, strike};
use crate::backup::{lying, store};
use crate::crash::Catalog;
use crate::crash::tapped::Tapped;
use crate::support::{World, private_world};

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

/// What was acknowledged before the change of names is in what was replaced and kept, what came after is in what is live.
///
/// Turns red when `swap` does not look whether the names have been changed.
#[test]
fn a_restore_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let catalog = Catalog::read(&w).await;
        let tapped = Tapped::new(&w).await;
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        let restore = ["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"];
        // From here on there is something that is kept, as there will be.
        tapped.run(&restore).await;
        let steps = steps_of(&w, &tapped, Kind::Restore, &restore).await;
        let writer = Writer::default();
        let mut struck = 0;
        let striking = async {
            let mut known = BTreeSet::new();
            for death in deaths(&steps, SERVERS.len()) {
                let (server, when) = (SERVERS[death.who], format!("{} {death:?}", SERVERS[death.who]));
                writer.more().await;
                let earlier = writer.acknowledged();
                known.extend(found(&w, &tenant, &tenant.schema).await);
                // Done once, another one would drop what this one kept.
                if !strike(&w, &tapped, &death, server, &restore).await {
                    tapped.run(&restore).await;
                }
                struck += 1;
                assert_eq!(w.ctl(&["tenant", "show", "1"]).json()["state"], "active", "{when}");
                known.extend(writer.acknowledged().difference(&earlier));
                let [live, kept] = schemas(&w, &tenant, &when).await;
                let mut both = found(&w, &tenant, &live).await;
                both.extend(found(&w, &tenant, &kept).await);
                writer.finds(&both, &known, &when);
                writer.more().await;
                let doctor = w.ctl(&["doctor"]);
                assert_eq!(doctor.code, Some(0), "{when}: {} {}", doctor.stdout, doctor.stderr);
                // The next restore drops what this one kept.
                known.clear();
            }
            writer.end();
        };
        tokio::join!(striking, writer.write(&w, tenant.id));
        println!("backup restore --in-place: {struck} deaths of source and control database");
        let control = crate::jobs::control(&w).await;
        control.batch_execute("update replaced_schemas set kept_until = now()").await.unwrap();
        assert_eq!(provisioner::restore::end_kept(&w.with).await.unwrap(), 1);
        catalog.still_holds(&w).await;
        w.ctl(&["audit", "verify"]).json();
    });
}

/// The live schema and the one that was replaced, and no third one.
async fn schemas(w: &World, tenant: &Tenant, when: &str) -> [String; 2] {
    let sql = "select nspname::text from pg_namespace where nspname like 'tenant%' order by 1";
    let rows = w.superuser(&tenant.cluster, &tenant.database).await.query(sql, &[]).await.unwrap();
    let all: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(all.len() == 2 && all[0] == tenant.schema && all[1].contains("_o"), "{when}: {all:?}");
    all.try_into().unwrap()
}

/// What the client wrote and is there.
async fn found(w: &World, tenant: &Tenant, schema: &str) -> Vec<i64> {
    let sql = format!("select content::bigint from {schema}.memories where user_id = 'client'");
    let db = w.superuser(&tenant.cluster, &tenant.database).await;
    db.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
