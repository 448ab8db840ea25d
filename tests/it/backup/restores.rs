//! A backup made data again: as another tenant, in place under a client that writes, taken back, from an older schema.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;

use super::filled::fill;
use super::{back_up, content, psql, url_of};
use crate::support::{World, world};

pub(super) async fn tenant_of(w: &World, shown: &Value) -> Tenant {
    provisioner::tenants::get(&w.with, id_of(shown)).await.unwrap()
}

fn id_of(shown: &Value) -> TenantId {
    i32::try_from(shown["customer_id"].as_i64().unwrap()).unwrap().try_into().unwrap()
}

/// What is waiting to be carried over is the old tenant's to do.
pub(super) fn without_outbox(content: &str) -> String {
    let mut tables: Vec<&str> = content.split("== ").collect();
    tables.retain(|table| !table.starts_with("outbox\n"));
    tables.join("== ")
}

/// Turns red when `schema::tables` leaves a table out.
#[test]
fn another_tenant_of_a_backup_is_equal() {
    for (from, to) in [(Isolation::Schema, "database"), (Isolation::Database, "schema")] {
        world(async move |w| {
            let tenant = w.tenant("One", from).await;
            let account = w.account(1, Some(tenant.id)).await;
            w.assign("+18005550100", tenant.id, &account).await;
            fill(&url_of(&tenant), &tenant.schema);
            let backup = back_up(&w, &tenant);
            let id = backup["id"].as_str().unwrap();
            let restore = ["backup", "restore", id, "--as-new-tenant", "--name", "Again", "--isolation", to];
            let made = w.ctl(&restore).json();
            assert_eq!((&made["state"], &made["customer_id"]), (&json!("active"), &json!(2)));
            let made = tenant_of(&w, &made).await;
            let [there, here] = [&tenant, &made].map(|t| without_outbox(&content(&url_of(t), &t.schema)));
            assert!(there == here, "psql reads something else");
            let db = w.as_tenant(made.id).await;
            let counts = "select (select count(*) from numbers), (select count(*) from outbox), (select tenant_id from identity)";
            let row = db.query_one(counts, &[]).await.unwrap();
            assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i32>(2)), (0, 0, 2));
            db.execute("insert into memories (user_id, content) values ('+18005550199', 'x')", &[]).await.unwrap();
            db.execute("delete from identity", &[]).await.unwrap_err();
            assert_eq!(w.ctl(&restore).json()["customer_id"], 2, "run again");
            let other = w.ctl(&["backup", "restore", id, "--as-new-tenant", "--name", "One", "--isolation", "schema"]);
            assert_eq!(other.code, Some(3), "{}", other.stderr);
            w.ctl(&["doctor"]).json();
        });
    }
}

/// Large tables are filled without their indexes, on a restore and on a move.
///
/// Turns red when one does not come back, or comes back otherwise than the migrations make it.
#[test]
fn a_large_table_has_its_indexes_and_keys_again() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let ties = "select regexp_replace(line, 'tenant_[12]', 'tenant', 'g') from (
                        select format('%s %s %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) as line
                        from pg_constraint c where c.connamespace = current_schema()::regnamespace
                        union all
                        select format('%s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisreplident)
                        from pg_index i join pg_class r on r.oid = i.indrelid
                        where r.relnamespace = current_schema()::regnamespace) l order by 1";
        let of = |t: &Tenant| psql(&url_of(t), &["-At"], &format!("set search_path = {}; {ties}", t.schema));
        let large = "insert into memories (user_id, content, key)
                     select '+18005550199', repeat(md5(n::text), 32), n from generate_series(1, 12000) n; analyze memories";
        psql(&url_of(&tenant), &[], &format!("set search_path = {}; {large}", tenant.schema));
        let before = of(&tenant);
        assert!(before.contains("memories_words") && before.contains("memories_pkey"), "{before}");
        let backup = back_up(&w, &tenant);
        let restore = ["backup", "restore", backup["id"].as_str().unwrap(), "--as-new-tenant", "--name", "Again"];
        let made = tenant_of(&w, &w.ctl(&[&restore[..], &["--isolation", "schema"]].concat()).json()).await;
        assert_eq!(of(&made), before, "restored");
        w.ctl(&["tenant", "move", "1", "--to", "dedicated", "--offline"]).json();
        let moved = provisioner::tenants::get(&w.with, tenant.id).await.unwrap();
        assert_eq!(of(&moved), before, "moved");
        let row = w.as_tenant(moved.id).await.query_one("select count(*) from memories", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 12_000);
        w.ctl(&["doctor"]).json();
    });
}

/// A schema of an older version comes back by that version's own migrations, and is migrated from there.
#[test]
fn a_backup_of_an_older_version_is_migrated_forward() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let db = w.superuser("shared", &tenant.database).await;
        let owner = w.prefix.tenant(tenant.id, "owner");
        let old = strowger::schema::batch_to(5, "2026-01-01T00:00:00Z");
        db.batch_execute(&format!(
            "set role {owner}; drop schema tenant_1 cascade; reset role; create schema tenant_1 authorization {owner};
             set role {owner}; set search_path = tenant_1; {old}
             insert into identity values (true, 1, 1); update settings set agent_name = 'Zoë'; delete from knowledge_version;
             insert into memories (user_id, content) values ('+18005550199', 'old')"
        ))
        .await
        .unwrap();
        let backup = back_up(&w, &tenant);
        assert_eq!(backup["schema_version"], 5);
        let id = backup["id"].as_str().unwrap();
        let args = ["backup", "restore", id, "--as-new-tenant", "--name", "Again", "--isolation", "schema"];
        let made = tenant_of(&w, &w.ctl(&args).json()).await;
        let db = w.as_tenant(made.id).await;
        let sql = "select (select content ->> 'agent_name' from configurations), (select content from memories),
                          (select count(*) from knowledge_version)";
        let row = db.query_one(sql, &[]).await.unwrap();
        let found: (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(found, ("Zoë".to_owned(), "old".to_owned(), 0));
    });
}

/// A client that writes all the while, and reconnects when it is thrown out; what was acknowledged, in order.
async fn write_until(w: &World, tenant: TenantId, done: &tokio::sync::Notify) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    let url = provisioner::tenants::connection(&w.with, tenant).await.unwrap();
    let mut next = 0;
    let writing = async {
        loop {
            let Ok(mut db) = crate::support::connect(&url).await else {
                tokio::task::yield_now().await;
                continue;
            };
            loop {
                next += 1;
                let Ok(tx) = db.transaction().await else { break };
                let sql = "insert into memories (user_id, content) values ('client', $1)";
                let Ok(_) = tx.execute(sql, &[&next.to_string()]).await else { break };
                let Ok(()) = tx.commit().await else { break };
                acknowledged.push(next);
            }
        }
    };
    tokio::select! { () = writing => {}, () = done.notified() => {} }
    acknowledged
}

async fn five_written(db: &tokio_postgres::Client) {
    let sql = "select count(*) from memories where user_id = 'client'";
    while db.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < 5 {}
}

/// Turns red when the swap does not take the live mirror of numbers along, or when an undoing that is done is begun once more.
#[test]
fn a_restore_in_place_loses_no_acknowledged_write_and_is_taken_back() {
    world(async |w| {
        let (tenant, neighbour) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        fill(&url_of(&tenant), &tenant.schema);
        let then = content(&url_of(&tenant), &tenant.schema);
        let backup = back_up(&w, &tenant);
        let account = w.account(1, Some(tenant.id)).await;
        w.assign("+18005550100", tenant.id, &account).await;
        let (done, theirs) = (tokio::sync::Notify::new(), w.as_tenant(neighbour.id).await);
        let restore = async {
            let db = w.as_tenant(tenant.id).await;
            five_written(&db).await;
            drop(db);
            let config = w.dir.join("strowgerctl.toml");
            let mut command = tokio::process::Command::new(crate::support::strowgerctl());
            command.arg("--config").arg(&config).args([
                "backup",
                "restore",
                backup["id"].as_str().unwrap(),
                "--in-place",
            ]);
            let ended = command.output().await.unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
            // It has come back, and writes to what is live now.
            let db = w.as_tenant(tenant.id).await;
            five_written(&db).await;
            done.notify_one();
        };
        let beside = async {
            // The neighbour's one connection lives through all of it.
            loop {
                theirs.execute("insert into memories (user_id, content) values ('n', 'n')", &[]).await.unwrap();
            }
        };
        let acknowledged = tokio::select! {
            (acknowledged, ()) = async { tokio::join!(write_until(&w, tenant.id, &done), restore) } => acknowledged,
            () = beside => unreachable!(),
        };
        let written = |schema: &str| -> Vec<i64> {
            let sql = format!("select content from {schema}.memories where user_id = 'client'");
            psql(&url_of(&tenant), &["-c", &sql], "").lines().map(|line| line.parse().unwrap()).collect()
        };
        let kept = "select nspname from pg_namespace where nspname like 'tenant_1\\_o%'";
        let kept = psql(&url_of(&tenant), &["-c", kept], "").trim().to_owned();
        let (before, after) = (written(&kept), written("tenant_1"));
        let lost: Vec<_> = acknowledged.iter().filter(|n| !before.contains(n) && !after.contains(n)).collect();
        assert!(lost.is_empty() && before.len() >= 5 && after.len() >= 5, "{lost:?} of {}", acknowledged.len());
        psql(&url_of(&tenant), &["-c", "delete from tenant_1.memories where user_id = 'client'"], "");
        assert!(content(&url_of(&tenant), "tenant_1") == then, "psql reads something else");
        let db = w.as_tenant(tenant.id).await;
        let row = db.query_one("select epoch, (select count(*) from numbers) from identity", &[]).await.unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(1)), (2, 1), "the number that came since is kept");
        db.query(&format!("select * from {kept}.memories"), &[]).await.unwrap_err();
        w.ctl(&["doctor"]).json();

        let undone = w.ctl(&["backup", "undo", "1"]).json();
        assert_eq!(undone["state"], "active");
        assert_eq!(written("tenant_1"), before);
        let row = w.as_tenant(tenant.id).await.query_one("select epoch from identity", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 3);
        w.ctl(&["backup", "undo", "1"]).json();
        assert_eq!(written("tenant_1"), before, "said again it is not undone");
        for _ in 0..2 {
            w.ctl(&["backup", "redo", "1"]).json();
            assert!(content(&url_of(&tenant), "tenant_1") == then, "taken back, and once");
        }
        // What is kept goes when its time has passed.
        crate::jobs::control(&w).await.batch_execute("update replaced_schemas set kept_until = now()").await.unwrap();
        assert_eq!(provisioner::restore::end_kept(&w.with).await.unwrap(), 1);
        let sql = "select string_agg(nspname, ' ') from pg_namespace where nspname like 'tenant_1%'";
        assert_eq!(psql(&url_of(&tenant), &["-c", sql], "").trim(), "tenant_1");
    });
}
