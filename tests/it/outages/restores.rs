//! A restore in the place of what a tenant has, its undoing, and a new tenant of a backup, struck at every step.

use std::collections::BTreeSet;

use serde_json::Value;
use strowger::control::clusters::Isolation;
use strowger::control::jobs::Kind;
use strowger::control::tenants::Tenant;

use super::writer::{Writer, found};
use super::{command, deaths, steps_of, strike, struck_everywhere};
use crate::backup::store;
use crate::crash::tapped::Tapped;
use crate::crash::{Catalog, id_of, is_served};
use crate::moves::WRITE;
use crate::support::{World, private_world};

/// Who takes part in a restore in place.
const SERVERS: [&str; 2] = ["shared", "control"];

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
        end_kept(&w).await;
        catalog.still_holds(&w).await;
        w.ctl(&["audit", "verify"]).json();
    });
}

/// The two schemas change places once, each with what was acknowledged while it was live; however often it is said.
///
/// Turns red when one that is done is begun once more, with what it has replaced itself; or when one that has changed the names does so
/// again.
#[test]
fn an_undoing_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let catalog = Catalog::read(&w).await;
        let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(&w).to_str().unwrap()]).json();
        // What was replaced has this, and what was restored has not.
        w.as_tenant(tenant.id).await.execute(WRITE, &[]).await.unwrap();
        w.ctl(&["backup", "restore", made[0]["id"].as_str().unwrap(), "--in-place"]).json();
        let writer = Writer::default();
        let striking = async {
            let begin = async |n: usize| {
                if n > 0 {
                    w.ctl(&["backup", "redo", "1"]).json();
                }
                writer.more().await;
                command(&["backup", "undo", "1"])
            };
            let is_so = async |undone: &Value, when: &str| {
                assert_eq!(undone["state"], "active", "{when}");
                writer.more().await;
                let acknowledged = writer.acknowledged();
                let [live, kept] = schemas(&w, &tenant, when).await;
                let marks = [has_mark(&w, &tenant, &live).await, has_mark(&w, &tenant, &kept).await];
                assert_eq!(marks, [true, false], "{when}: what was kept is live");
                let mut both = found(&w, &tenant, &live).await;
                both.extend(found(&w, &tenant, &kept).await);
                writer.finds(&both, &acknowledged, when);
            };
            struck_everywhere(&w, (Kind::Restore, SERVERS[0]), begin, is_so).await;
            writer.end();
        };
        tokio::join!(striking, writer.write(&w, tenant.id));
        end_kept(&w).await;
        catalog.still_holds(&w).await;
    });
}

/// One tenant of each name, with all that the backup holds, and nothing beside it.
///
/// Turns red when a schema that is there is taken for one that is filled, or when a second tenant is reserved for the one that was.
async fn new_tenants_outlive_their_servers(w: &World, isolation: Isolation, home: &str) {
    let before = Catalog::read(w).await;
    let tenant = w.tenant("One", Isolation::Schema).await;
    let remember = "insert into memories (user_id, content) select 'client', n::text from generate_series(1, 100) n";
    w.as_tenant(tenant.id).await.execute(remember, &[]).await.unwrap();
    let made = w.ctl(&["backup", "create", "--tenant", "1", "--to", store(w).to_str().unwrap()]).json();
    let mut names = vec!["One".to_owned()];
    let begin = async |n: usize| {
        let name = n.to_string();
        names.push(name.clone());
        let backup = made[0]["id"].as_str().unwrap();
        let kind = isolation.as_str();
        command(&["backup", "restore", backup, "--as-new-tenant", "--isolation", kind, "--name", &name])
    };
    let is_so = async |new: &Value, when: &str| {
        assert_eq!(new["state"], "active", "{when}");
        let new_tenant = provisioner::tenants::get(&w.with, id_of(new)).await.unwrap();
        let mut there = found(w, &new_tenant, &new_tenant.schema).await;
        there.sort_unstable();
        assert!(there.into_iter().eq(1..=100), "{when}");
        is_served(w, new).await;
    };
    struck_everywhere(w, (Kind::RestoreAs, home), begin, is_so).await;
    before.also_holds(w, &names).await;
}

#[test]
fn a_new_tenant_of_a_backup_in_a_schema_outlives_its_servers() {
    private_world(async |w| new_tenants_outlive_their_servers(&w, Isolation::Schema, "shared").await);
}

#[test]
fn a_new_tenant_of_a_backup_in_a_database_outlives_its_servers() {
    private_world(async |w| new_tenants_outlive_their_servers(&w, Isolation::Database, "dedicated").await);
}

/// The live schema and the one that was replaced, and no third one.
async fn schemas(w: &World, tenant: &Tenant, when: &str) -> [String; 2] {
    let sql = "select nspname::text from pg_namespace where nspname like 'tenant%' order by 1";
    let rows = w.superuser(&tenant.cluster, &tenant.database).await.query(sql, &[]).await.unwrap();
    let all: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(all.len() == 2 && all[0] == tenant.schema && all[1].contains("_o"), "{when}: {all:?}");
    all.try_into().unwrap()
}

/// Whether a schema has what was written after the backup.
async fn has_mark(w: &World, tenant: &Tenant, schema: &str) -> bool {
    let sql = format!("select exists (select from {schema}.memories where user_id = 'x')");
    w.superuser(&tenant.cluster, &tenant.database).await.query_one(&sql, &[]).await.unwrap().get(0)
}

/// What is kept goes when its time has passed.
async fn end_kept(w: &World) {
    crate::jobs::control(w).await.batch_execute("update replaced_schemas set kept_until = now()").await.unwrap();
    assert_eq!(provisioner::restore::end_kept(&w.with).await.unwrap(), 1);
}
