//! The control database is destroyed, and made again from a copy that is older than what has happened since: not one call reaches a
//! tenant whose number it is not.

mod kills;

use std::path::PathBuf;

use provisioner::tenants;
use serde_json::{Value, json};
use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::control::tenants::Tenant;

use crate::moves::online::allow;
use crate::support::{Account, Ran, Server, World, connect, world};

const CALLER: &str = "+15551234567";

fn copy(w: &World) -> PathBuf {
    w.dir.join("control.copy")
}

fn back_up(w: &World) {
    w.ctl(&["control", "backup", "--out", copy(w).to_str().unwrap()]).json();
}

async fn destroy(w: &World) {
    let sql = format!("drop database {} with (force)", w.prefix.name("control"));
    w.superuser("control", "postgres").await.batch_execute(&sql).await.unwrap();
}

fn restore(w: &World) -> Ran {
    let (file, out) = (copy(w), w.dir.clone());
    let args = ["control", "restore", file.to_str().unwrap(), "--out", out.to_str().unwrap()];
    crate::support::run(&[&["--output", "json"], &args[..]].concat(), &World::superuser_url("control"))
}

/// What the command says, and how it ended.
fn reconcile(w: &World) -> (Option<i32>, Value) {
    let ran = w.ctl(&["control", "reconcile"]);
    let said = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    (ran.code, said)
}

/// Why the server's login may not read who there is; `None` if it may.
async fn as_server(w: &World) -> Option<String> {
    let settings = std::fs::read_to_string(w.dir.join("strowger.toml")).unwrap();
    let url = settings.lines().find_map(|line| line.strip_prefix("control-url = \"")?.strip_suffix('"')).unwrap();
    let refused = connect(url).await.unwrap().query("select from tenants", &[]).await.err();
    refused.map(|error| error.code().unwrap().code().to_owned())
}

async fn greeter(w: &World, name: &str, isolation: strowger::control::clusters::Isolation) -> Tenant {
    let tenant = w.tenant(name, isolation).await;
    w.configure(tenant.id, &json!({ "greeting": name })).await;
    tenant
}

fn number(n: usize) -> String {
    format!("+1800555010{n}")
}

/// What a server says to calls to the numbers 0, 1, 2 …: the status, and the greeting if there is one.
async fn answers(account: &Account, server: &Server, numbers: usize) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    for n in 0..numbers {
        let answer = account.dial(server, CALLER, &number(n)).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let names = ["Ann", "Bob", "Cyd", "Dan", "Eve", "Fay"];
        let said: String = names.into_iter().filter(|name| text.contains(&format!(">{name}<"))).collect();
        all.push((status, said));
    }
    all
}

fn said(all: &[(u16, &str)]) -> Vec<(u16, String)> {
    all.iter().map(|(status, name)| (*status, (*name).to_owned())).collect()
}

/// Tenants of both kinds, each with a number.
async fn six(w: &World, account: &Account) -> Vec<Tenant> {
    let mut all = Vec::new();
    for (name, isolation) in
        [("Ann", Schema), ("Bob", Database), ("Cyd", Schema), ("Dan", Schema), ("Eve", Database), ("Fay", Schema)]
    {
        let tenant = greeter(w, name, isolation).await;
        w.assign(&number(all.len()), tenant.id, account).await;
        all.push(tenant);
    }
    all
}

/// Two tenants were erased since, one was restored, one moved, three numbers were reassigned and one was released.
///
/// Turns red when the server's login keeps its rights while control is reconciled, when tenants' logins are not shut, when no number is
/// settled by the mirrors, when a tenant is looked for where the copy says it is, or when the epoch of its data is not raised.
#[test]
fn an_old_copy_answers_nobody_until_the_clusters_have_corrected_it() {
    world(async |w| {
        let account = w.account(1, None).await;
        let all = six(&w, &account).await;
        let store = w.dir.join("backups");
        let backup = |tenant: &Tenant| {
            let id = tenant.id.to_string();
            let made = w.ctl(&["backup", "create", "--tenant", &id, "--to", store.to_str().unwrap()]).json();
            made[0]["id"].as_str().unwrap().to_owned()
        };
        let (_, of_cyd) = (backup(&all[0]), backup(&all[2]));
        allow(&w);
        w.assign(&number(6), all[2].id, &account).await;
        let before = w.server();
        let everybody = ["Ann", "Bob", "Cyd", "Dan", "Eve", "Fay", "Cyd"].map(|name| (200, name));
        assert_eq!(answers(&account, &before, 7).await, said(&everybody));
        back_up(&w);

        for tenant in &all[..2] {
            let id = tenant.id.to_string();
            w.ctl(&["tenant", "erase", &id, "--now", "--confirm", &id]).json();
        }
        w.ctl(&["backup", "restore", &of_cyd, "--in-place"]).json();
        w.assign(&number(3), all[4].id, &account).await;
        w.assign(&number(4), all[5].id, &account).await;
        w.assign(&number(5), all[3].id, &account).await;
        w.ctl(&["number", "release", &number(6)]).json();
        w.ctl(&["tenant", "move", &all[4].id.to_string(), "--to", "shared"]).json();
        let since = said(&[(404, ""), (404, ""), (200, "Cyd"), (200, "Eve"), (200, "Fay"), (200, "Dan"), (404, "")]);
        assert_eq!(answers(&account, &before, 7).await, since);

        let dan = w.as_tenant(all[3].id).await;
        let url = tenants::connection(&w.with, all[3].id).await.unwrap();
        destroy(&w).await;
        assert_eq!(restore(&w).code, Some(0));
        let again = restore(&w);
        assert_eq!((again.code, again.stderr.contains("nothing was loaded")), (Some(0), true), "{}", again.stderr);
        assert!(dan.query("select from memories", &[]).await.is_err(), "a session from before the loss");
        assert!(connect(&url).await.is_err(), "a login from before the loss");
        let after = w.server();
        for server in [&before, &after] {
            let all = answers(&account, server, 7).await;
            assert!(
                all.iter().all(|(status, said)| *status != 200 && said.is_empty()),
                "served from an old copy: {all:?}"
            );
        }
        assert_eq!(answers(&account, &after, 1).await[0].0, 503);
        let ready = after.get("/readyz").send().await.unwrap();
        assert_eq!(
            (ready.status().as_u16(), ready.json::<Value>().await.unwrap()),
            (503, json!({ "status": "reconciling" }))
        );
        assert!(w.ctl(&["doctor"]).stdout.contains("control.reconciling"));
        assert_eq!(as_server(&w).await, Some("42501".to_owned()), "Postgres itself keeps the server from it");

        let (code, done) = reconcile(&w);
        assert_eq!((code, &done["serving"]), (Some(0), &json!(true)), "{done:#}");
        assert_eq!(done["erased"], json!([all[0].id, all[1].id]));
        assert_eq!(w.ctl(&["doctor"]).json(), json!([]));
        assert_eq!(w.ctl(&["tenant", "show", &all[4].id.to_string()]).json()["cluster"], "shared");
        crate::support::until("the new server hears of it", async || answers(&account, &after, 7).await == since).await;
        let old = answers(&account, &before, 7).await;
        assert!(
            old.iter().all(|(status, said)| *status != 200 && said.is_empty()),
            "a route from before the loss: {old:?}"
        );
        // Its password is the same; a route from before is kept out by the epoch.
        let epoch = connect(&url).await.unwrap().query_one("select epoch from identity", &[]).await.unwrap();
        assert!(epoch.get::<_, i32>(0) > 1, "the epoch of its data is that from before the loss");
        assert_eq!(w.ctl(&["tenant", "show", "3"]).json()["state"], "active");
        assert_eq!(w.ctl(&["control", "reconcile"]).code, Some(3), "it is served from");
        w.ctl(&["audit", "verify"]).json();
    });
}

/// Turns red when nobody looks at what follows the end, or at whose keys those are, or when a control database is restored over.
#[test]
fn a_copy_that_is_not_whole_is_refused_before_anything_is_changed() {
    world(async |w| {
        w.tenant("Ann", Schema).await;
        back_up(&w);
        let path = |name: &str| w.dir.join(name);
        let (file, keys) = (copy(&w), path("control.copy.keys"));
        let [whole, whole_keys] = [&file, &keys].map(|file| std::fs::read(file).unwrap());
        let again = w.ctl(&["control", "backup", "--out", file.to_str().unwrap()]);
        assert_eq!((again.code, again.stderr.contains("written over")), (Some(3), true), "{}", again.stderr);
        let refused = |w: &World, why: &str| {
            let ran = restore(w);
            assert_eq!((ran.code, ran.stderr.contains(why)), (Some(3), true), "{why}: {}", ran.stderr);
            assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        };
        refused(&w, "with something in it");
        assert_eq!(w.ctl(&["tenant", "show", "1"]).json()["state"], "active", "its login works as before");
        let other = path("other");
        w.ctl(&["control", "backup", "--out", other.to_str().unwrap()]).json();
        destroy(&w).await;

        for at in [200, 700, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&file, &flipped).unwrap();
            refused(&w, "control.copy");
        }
        for length in [0, 100, 900, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..length]).unwrap();
            refused(&w, "control.copy");
        }
        std::fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
        refused(&w, "goes on after its end");
        std::fs::write(&file, &whole).unwrap();
        std::fs::copy(path("other.keys"), &keys).unwrap();
        refused(&w, "the keys of another copy");
        std::fs::write(&keys, &whole).unwrap();
        refused(&w, "not of the keys");
        std::fs::write(&keys, &whole_keys[..whole_keys.len() - 9]).unwrap();
        refused(&w, "cut off");
        std::fs::write(&keys, &whole_keys).unwrap();
        for ring in ["admin.ring", "server.ring"] {
            let right = std::fs::read(path(ring)).unwrap();
            let id = &ring[..1];
            std::fs::write(path(ring), strowger::vault::MasterRing::generate(&format!("{id}1")).as_bytes()).unwrap();
            refused(&w, "does not open with this");
            std::fs::write(path(ring), right).unwrap();
        }
        let ran = restore(&w);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(reconcile(&w).1["serving"], true);
    });
}

/// Turns red when an id that was given since the copy is given again, when what is lost is taken for erased, or when one of two that
/// claim a number gets it.
#[test]
fn what_the_clusters_cannot_decide_is_left_to_an_operator() {
    world(async |w| {
        let (ann, bob) = (greeter(&w, "Ann", Schema).await, greeter(&w, "Bob", Schema).await);
        greeter(&w, "Cyd", Database).await;
        let account = w.account(1, None).await;
        w.assign(&number(0), bob.id, &account).await;
        let store = w.dir.join("backups");
        w.ctl(&["backup", "create", "--tenant", &ann.id.to_string(), "--to", store.to_str().unwrap()]).json();
        back_up(&w);
        let made_since = greeter(&w, "Dan", Schema).await;
        assert_eq!(made_since.id.to_string(), "4");
        let shared = w.superuser("shared", &w.prefix.name("shared")).await;
        let p = &w.prefix;
        shared
            .batch_execute(&format!(
                "insert into tenant_4.numbers select * from tenant_2.numbers; drop schema tenant_1 cascade;
                 drop owned by {p}_t1_owner, {p}_t1_rw, {p}_t1_a, {p}_t1_b; drop role {p}_t1_owner, {p}_t1_rw, {p}_t1_a, {p}_t1_b"
            ))
            .await
            .unwrap();
        destroy(&w).await;
        assert_eq!(restore(&w).code, Some(0));
        let server = w.server();
        let create = ["tenant", "create", "--name", "New", "--isolation", "schema"];
        assert_eq!(w.ctl(&create).code, Some(3), "an id that was given since would be given again");

        let (code, done) = reconcile(&w);
        assert_eq!((code, &done["serving"], &done["erased"]), (Some(5), &json!(false), &json!([])), "{done:#}");
        let open = done["open"].to_string();
        assert!(
            open.contains("tenant 1 is on no cluster") && open.contains(&format!("{} is owned", number(0))),
            "{open}"
        );
        let found = done["findings"].to_string();
        assert!(found.contains("schema.orphan") && found.contains("number.moving"), "{found}");
        assert_eq!(answers(&account, &server, 1).await[0].0, 503);

        w.ctl(&["tenant", "erase", "1", "--now", "--confirm", "1"]).json();
        w.ctl(&["number", "assign", &number(0), "--tenant", "2"]).json();
        assert_eq!(reconcile(&w).0, Some(5), "somebody's data is not dropped unasked");
        w.ctl(&["doctor", "--fix", "--drop-data"]);
        let (code, done) = reconcile(&w);
        assert_eq!((code, &done["serving"]), (Some(0), &json!(true)), "{done:#}");
        crate::support::until("it is served", async || answers(&account, &server, 1).await == said(&[(200, "Bob")]))
            .await;
        let id = w.ctl(&create).json()["customer_id"].as_i64().unwrap();
        assert!(id > 1004, "an id that may have been given since: {id}");
    });
}

/// One tenant has moved since the copy, and one has moved back to where the copy says that something is kept.
///
/// Turns red when a restore keeps the copy's `moves`, when `tell_apart` takes the older epoch or does not look at what can be written to,
/// or when what a move left is not noted again.
#[test]
fn tenants_that_moved_since_are_found_where_they_live() {
    world(async |w| {
        let account = w.account(1, None).await;
        let (ann, bob) = (greeter(&w, "Ann", Schema).await, greeter(&w, "Bob", Schema).await);
        for (n, tenant) in [&ann, &bob].into_iter().enumerate() {
            w.assign(&number(n), tenant.id, &account).await;
        }
        let to = |tenant: &Tenant, cluster: &str| {
            w.ctl(&["tenant", "move", &tenant.id.to_string(), "--to", cluster, "--offline"]).json();
        };
        to(&bob, "dedicated");
        back_up(&w);
        to(&ann, "dedicated");
        to(&bob, "shared");
        let write = "insert into memories (user_id, content) values ('x', 'since')";
        for tenant in [&ann, &bob] {
            w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
        }
        destroy(&w).await;
        assert_eq!(restore(&w).code, Some(0));
        // As a move leaves it that failed after all was copied, and was lost with control before it was tried again.
        let db = w.superuser("shared", &w.prefix.name("shared")).await;
        let group = w.prefix.tenant(ann.id, "rw");
        db.batch_execute(&format!("grant insert on tenant_1.memories to {group}")).await.unwrap();
        let (code, done) = reconcile(&w);
        assert_eq!((code, &done["serving"]), (Some(5), &json!(false)), "{done:#}");
        assert!(done["open"].to_string().contains("tenant 1 is in several places"), "{done:#}");
        db.batch_execute(&format!("revoke insert on tenant_1.memories from {group}")).await.unwrap();

        let (code, done) = reconcile(&w);
        assert_eq!((code, &done["serving"]), (Some(0), &json!(true)), "{done:#}");
        let server = w.server();
        assert_eq!(answers(&account, &server, 2).await, said(&[(200, "Ann"), (200, "Bob")]));
        let there = async || {
            for tenant in [&ann, &bob] {
                let sql = "select count(*) from memories where content = 'since'";
                let url = w.ctl(&["tenant", "connection", &tenant.id.to_string()]).json();
                let found = connect(url.as_str().unwrap()).await.unwrap().query_one(sql, &[]).await.unwrap();
                assert_eq!(found.get::<_, i64>(0), 1, "tenant {}: what was written since the copy", tenant.id);
            }
        };
        there().await;
        let control = crate::jobs::control(&w).await;
        assert_eq!(control.execute("update moves set kept_until = now()", &[]).await.unwrap(), 2);
        let _worker = crate::jobs::worker(&w);
        crate::jobs::until(&control, "select not exists (select from moves)").await;
        there().await;
        assert_eq!(w.ctl(&["doctor"]).json(), json!([]));
    });
}
