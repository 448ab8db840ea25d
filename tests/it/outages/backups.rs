//! A backup and a restore, struck at every step.

use std::collections::BTreeSet;

use serde_json::json;
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
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        struck_everywhere(&w, &tenant, catalog, &["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"])
            .await;
    });
}

/// The two schemas change places, each with what was acknowledged while it was live.
#[test]
fn an_undoing_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let catalog = Catalog::read(&w).await;
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        w.ctl(&["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"]).json();
        struck_everywhere(&w, &tenant, catalog, &["backup", "undo", "1"]).await;
    });
}

/// Strikes a command that puts something in the place of what is live.
async fn struck_everywhere(w: &World, tenant: &Tenant, catalog: Catalog, command: &[&str]) {
    let tapped = Tapped::new(w).await;
    // From here on there is something that is kept, as there will be.
    tapped.run(command).await;
    let steps = steps_of(w, &tapped, Kind::Restore, command).await;
    let writer = Writer::default();
    let mut struck = 0;
    let striking = async {
        let mut known = BTreeSet::new();
        for death in deaths(&steps, SERVERS.len()) {
            let (server, when) = (SERVERS[death.who], format!("{} {death:?}", SERVERS[death.who]));
            writer.more().await;
            let earlier = writer.acknowledged();
            known.extend(found(w, tenant, &tenant.schema).await);
            // Done once, another restore would drop what this one kept.
            if !strike(w, &tapped, &death, server, command).await {
                tapped.run(command).await;
            }
            struck += 1;
            assert_eq!(w.ctl(&["tenant", "show", "1"]).json()["state"], "active", "{when}");
            known.extend(writer.acknowledged().difference(&earlier));
            let [live, kept] = schemas(w, tenant, &when).await;
            let mut both = found(w, tenant, &live).await;
            both.extend(found(w, tenant, &kept).await);
            writer.finds(&both, &known, &when);
            writer.more().await;
            let doctor = w.ctl(&["doctor"]);
            assert_eq!(doctor.code, Some(0), "{when}: {} {}", doctor.stdout, doctor.stderr);
            // The next restore drops what this one kept.
            known.clear();
        }
        writer.end();
    };
    tokio::join!(striking, writer.write(w, tenant.id));
    println!("{command:?}: {struck} deaths of source and control database");
    let control = crate::jobs::control(w).await;
    control.batch_execute("update replaced_schemas set kept_until = now()").await.unwrap();
    assert_eq!(provisioner::restore::end_kept(&w.with).await.unwrap(), 1);
    catalog.still_holds(w).await;
    w.ctl(&["audit", "verify"]).json();
}

/// One tenant of each name, with all that the backup holds, whoever died meanwhile.
///
/// Turns red when the schema is filled and committed apart from its tables, or a second tenant is reserved.
#[test]
fn a_new_tenant_of_a_backup_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let remember =
            "insert into memories (user_id, content) select 'client', n::text from generate_series(1, 100) n";
        w.as_tenant(tenant.id).await.execute(remember, &[]).await.unwrap();
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        let tapped = Tapped::new(&w).await;
        let restore = |name: &str| {
            let id = made[0]["id"].as_str().unwrap();
            ["backup", "restore", id, "--as-new-tenant", "--isolation", "schema", "--name", name].map(str::to_owned)
        };
        let first = restore("0");
        let steps = steps_of(&w, &tapped, Kind::RestoreAs, &first.each_ref().map(String::as_str)).await;
        let mut struck = 0;
        for death in deaths(&steps, SERVERS.len()) {
            struck += 1;
            let (server, when) = (SERVERS[death.who], format!("{} {death:?}", SERVERS[death.who]));
            let command = restore(&struck.to_string());
            let command = command.each_ref().map(String::as_str);
            strike(&w, &tapped, &death, server, &command).await;
            let (again, _) = tapped.run(&command).await;
            assert_eq!((&again["state"], &again["name"]), (&json!("active"), &json!(struck.to_string())), "{when}");
            let new = i32::try_from(again["customer_id"].as_i64().unwrap()).unwrap().try_into().unwrap();
            let new = provisioner::tenants::get(&w.with, new).await.unwrap();
            let mut there = found(&w, &new, &new.schema).await;
            there.sort_unstable();
            assert!(there.into_iter().eq(1..=100), "{when}");
            let doctor = w.ctl(&["doctor"]);
            assert_eq!(doctor.code, Some(0), "{when}: {} {}", doctor.stdout, doctor.stderr);
        }
        println!("backup restore --as-new-tenant: {struck} deaths of where it is made and control database");
        assert_eq!(w.ctl(&["tenant", "list"]).json().as_array().unwrap().len(), 2 + struck);
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
