//! What breaks below a tenant has a name above, harms no neighbour, and is over when its cause is, without a restart.

mod news;
mod overload;
pub(crate) mod ward;

use std::process::Stdio;

use strowger::control::clusters::Isolation::{Database, Schema};
use strowger::control::keys::{self, Ring};
use strowger::id::TenantId;
use strowger::vault::{LoginPassword, Scope, Secret};

use crate::support::{Proxy, Server, World, signal, strowgerctl, world};
use ward::{Answer, Ward, hold, refused, until};

/// What is done to a tenant by a superuser, what its clients are told, and what undoes it.
const CAUSES: [(&str, &str, &str, &str); 6] = [
    ("no login", "alter role LOGIN nologin", "tenant_database_refused", "alter role LOGIN login"),
    (
        "no right to connect",
        "revoke GROUP from LOGIN; revoke connect on database DATABASE from LOGIN, public, RW",
        "tenant_database_refused",
        "RESTORE",
    ),
    (
        "the schema is gone",
        "alter schema SCHEMA rename to elsewhere",
        "tenant_database_refused",
        "alter schema elsewhere rename to SCHEMA",
    ),
    (
        "another epoch",
        "update SCHEMA.identity set epoch = epoch + 1",
        "tenant_identity_mismatch",
        "update SCHEMA.identity set epoch = epoch - 1",
    ),
    (
        "another tenant's schema",
        "update SCHEMA.identity set tenant_id = tenant_id + 100",
        "tenant_identity_mismatch",
        "update SCHEMA.identity set tenant_id = tenant_id - 100",
    ),
    ("a wrong password", "alter role LOGIN password 'wrong'", "tenant_database_refused", "REPAIR"),
];

/// Turns red when a cause has another name in `Problem`'s match, with the proof's comparison of tenant or epoch left out, or when
/// `recycle` keeps a connection that is closed or suspect. What `is_signal` is for: [`a_rotated_password_is_learnt_from_the_refusal`].
async fn every_cause_has_a_name_and_an_end(w: &World, isolation: strowger::control::clusters::Isolation) {
    let victim = Ward::new(w, "Victim", isolation).await;
    let neighbour = Ward::new(w, "Neighbour", isolation).await;
    let server = w.server();
    assert_eq!(victim.ask(&server).await, Answer::Own);
    let next_door = neighbour.constant_client(&server, false);
    let (tenants, rw) = (w.prefix.name("tenants"), w.prefix.tenant(victim.tenant.id, "rw"));
    for (what, harm, code, remedy) in CAUSES {
        let mut harm = harm.replace("DATABASE", &victim.tenant.database).replace("RW", &rw);
        harm = match isolation {
            Schema => harm.replace(&format!(", {rw}"), "").replace("GROUP", &tenants),
            Database => harm.replace("revoke GROUP from LOGIN;", ""),
        };
        victim.run(&harm).await;
        victim.end_sessions().await;
        victim.comes_to(&server, &refused(code), what).await;
        match remedy {
            "RESTORE" | "REPAIR" => provisioner::tenants::repair(&w.with, victim.tenant.id).await.unwrap(),
            sql => victim.run(sql).await,
        }
        victim.comes_to(&server, &Answer::Own, what).await;
    }
    victim.run("drop schema SCHEMA cascade").await;
    victim.comes_to(&server, &refused("tenant_database_refused"), "dropped").await;
    assert!(next_door.stop().await > CAUSES.len());
    assert!(!server.log().contains("panicked"));
}

#[test]
fn every_cause_has_a_name_and_an_end_for_schemas() {
    world(async |w| every_cause_has_a_name_and_an_end(&w, Schema).await);
}

#[test]
fn every_cause_has_a_name_and_an_end_for_databases() {
    world(async |w| every_cause_has_a_name_and_an_end(&w, Database).await);
}

async fn rotate(w: &World, ward: &Ward) {
    let scope = Scope::Tenant(ward.tenant.id);
    let wrapped = keys::newest(w.with.control(), scope, Ring::Server).await.unwrap().unwrap();
    let key = w.server_ring.unwrap_data_key(scope, &wrapped).unwrap();
    let password = Secret::random_password();
    let sealed = key.seal::<LoginPassword>(&ward.tenant.login_role, password.expose());
    let control = w.superuser("control", &w.prefix.name("control")).await;
    // The announcement is kept from the server: the refused login alone must make it look again.
    control.batch_execute("alter table placements disable trigger announce").await.unwrap();
    let sql = "update placements set sealed_password = $2, generation = generation + 1 where tenant_id = $1";
    control.execute(sql, &[&ward.tenant.id.get(), &sealed.as_bytes()]).await.unwrap();
    ward.run(&format!("alter role LOGIN password '{}'", password.expose_str().unwrap())).await;
    ward.end_sessions().await;
}

/// Turns red when `Router::open` does not open again after `28P01`, or when a pool of the older generation is kept.
#[test]
fn a_rotated_password_is_learnt_from_the_refusal() {
    world(async |w| {
        let (ward, neighbour) = (Ward::new(&w, "Rotated", Schema).await, Ward::new(&w, "Neighbour", Schema).await);
        let server = w.server();
        assert_eq!(ward.ask(&server).await, Answer::Own);
        let next_door = neighbour.constant_client(&server, false);
        for _ in 0..3 {
            rotate(&w, &ward).await;
            ward.comes_to(&server, &Answer::Own, "rotated").await;
        }
        next_door.stop().await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let jobs: i64 = control.query_one("select count(*) from jobs where kind = 'repair'", &[]).await.unwrap().get(0);
        assert_eq!(jobs, 0, "nothing was broken, so no repair was asked for");
    });
}

async fn settings_of(ward: &Ward) -> String {
    let sql = "select coalesce(string_agg(format('%s %s', s.setdatabase, s.setconfig), ';' order by s.setdatabase), '')
               from pg_db_role_setting s join pg_roles r on r.oid = s.setrole where r.rolname = $1";
    ward.db.query_one(sql, &[&ward.tenant.login_role]).await.unwrap().get(0)
}

/// Turns red without `jobs::request` in the router, or without either `reset all` or the password in `ensure_roles`.
#[test]
fn a_login_that_harmed_itself_is_repaired_under_load() {
    world(async |w| {
        let (victim, neighbour) = (Ward::new(&w, "Victim", Schema).await, Ward::new(&w, "Neighbour", Schema).await);
        let server = w.server();
        let before = settings_of(&victim).await;
        let harm_settings = format!(
            "alter role current_user set search_path = pg_catalog; alter role current_user set statement_timeout = 0;
             alter role current_user set work_mem = '1MB';
             alter role current_user in database {} set lock_timeout = 0",
            victim.tenant.database
        );
        let itself = w.as_tenant(victim.tenant.id).await;
        itself.batch_execute(&harm_settings).await.unwrap();
        victim.end_sessions().await;
        assert_ne!(settings_of(&victim).await, before);
        victim.comes_to(&server, &Answer::Own, "what the startup packet says goes before what the role says").await;

        let (load, next_door) = (victim.constant_client(&server, true), neighbour.constant_client(&server, false));
        let worker = tokio::process::Command::new(strowgerctl())
            .arg("--config")
            .arg(w.dir.join("strowgerctl.toml"))
            .arg("worker")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("the worker saw the settings", async || settings_of(&victim).await == before).await;

        let itself = w.as_tenant(victim.tenant.id).await;
        itself.batch_execute(&format!("{harm_settings}; alter role current_user password 'mine'")).await.unwrap();
        victim.end_sessions().await;
        until("the router saw the password", async || settings_of(&victim).await == before).await;
        victim.comes_to(&server, &Answer::Own, "repaired").await;
        load.stop().await;
        next_door.stop().await;
        drop(worker);
    });
}

/// A proxy through which servers reach a cluster from now on.
pub(crate) async fn through_proxy(w: &World, cluster: &str) -> Proxy {
    let control = w.superuser("control", &w.prefix.name("control")).await;
    let port: i32 = control.query_one("select port from clusters where name = $1", &[&cluster]).await.unwrap().get(0);
    let proxy = Proxy::to(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await;
    let sql = "update clusters set port = $2 where name = $1";
    control.execute(sql, &[&cluster, &i32::from(proxy.address.port())]).await.unwrap();
    proxy
}

fn port_of(url: &str) -> u16 {
    url.parse::<tokio_postgres::Config>().unwrap().get_ports()[0]
}

/// Turns red when `recycle` keeps a connection that was lost.
#[test]
fn a_cluster_that_is_away_takes_only_its_own_tenants_with_it() {
    world(async |w| {
        let (here, there) = (Ward::new(&w, "Here", Schema).await, Ward::new(&w, "There", Database).await);
        let proxy = through_proxy(&w, "shared").await;
        let server = w.server();
        assert_eq!(here.ask(&server).await, Answer::Own);
        let elsewhere = there.constant_client(&server, false);
        for _ in 0..3 {
            proxy.cut();
            here.comes_to(&server, &refused("tenant_database_unavailable"), "cut off").await;
            proxy.mend();
            here.comes_to(&server, &Answer::Own, "back").await;
        }
        elsewhere.stop().await;
    });
}

/// Turns red when `watch` forgets everything as soon as it hears no more news, or when an unknown tenant is answered with 404 meanwhile.
/// That an error does not replace an old entry: directory/cache.rs.
#[test]
fn without_the_control_database_warm_tenants_are_served() {
    world(async |w| {
        let (warm, cold) = (Ward::new(&w, "Warm", Schema).await, Ward::new(&w, "Cold", Schema).await);
        let real = port_of(&w.urls.server);
        let proxy = Proxy::to(([127, 0, 0, 1], real).into()).await;
        let server = w.server_at(&w.urls.server.replace(&format!(":{real}/"), &format!(":{}/", proxy.address.port())));
        assert_eq!(warm.ask(&server).await, Answer::Own);
        until("the server listens", async || server.log().contains("listening for changes")).await;
        assert_eq!(warm.ask(&server).await, Answer::Own);
        let client = warm.constant_client(&server, false);
        proxy.cut();
        for _ in 0..3 {
            // The first asks control; the others are told at once what it found.
            assert_eq!(cold.ask(&server).await, refused("control_unavailable"));
        }
        assert_eq!(server.get("/healthz").send().await.unwrap().status(), 200);
        assert_eq!(server.get("/readyz").send().await.unwrap().status(), 503);
        proxy.mend();
        cold.comes_to(&server, &Answer::Own, "control is back").await;
        client.stop().await;

        // News is heard again: what changes now is known at once when the command returns.
        until("the server listens again", async || server.log().matches("listening for changes").count() > 1).await;
        suspend(&w, warm.tenant.id);
        assert_eq!(warm.ask(&server).await, Answer::Refused(403, "tenant_suspended".into()));
    });
}

fn suspend(w: &World, id: TenantId) {
    assert_eq!(w.ctl(&["tenant", "suspend", &id.to_string()]).json()["state"], "suspended");
}

/// Turns red without `settle` in `tenants::block`: the command would return while a server has not heard of it.
#[test]
fn a_suspension_waits_for_every_running_server() {
    world(async |w| {
        let ward = Ward::new(&w, "One", Schema).await;
        let server = w.server();
        until("the server listens", async || server.log().contains("listening for changes")).await;
        assert_eq!(ward.ask(&server).await, Answer::Own);
        signal(server.pid(), "STOP");
        let mut command = tokio::process::Command::new(strowgerctl());
        command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["tenant", "suspend"]);
        let mut suspending = command.arg(ward.tenant.id.to_string()).stdout(Stdio::null()).spawn().unwrap();
        let fenced = "select 1 from pg_roles where rolname = $1 and not rolcanlogin";
        until("Postgres refuses", async || {
            !ward.db.query(fenced, &[&ward.tenant.login_role]).await.unwrap().is_empty()
        })
        .await;
        let returned = tokio::time::timeout(std::time::Duration::from_millis(500), suspending.wait()).await;
        signal(server.pid(), "CONT");
        assert!(returned.is_err(), "the command waits for the server");
        assert!(suspending.wait().await.unwrap().success());
        assert_eq!(ward.ask(&server).await, Answer::Refused(403, "tenant_suspended".into()));
    });
}

/// Turns red when a tenant's state is not looked at, when its change is not announced, or without the fence.
#[test]
fn a_suspended_tenant_is_refused_when_the_command_returns() {
    world(async |w| {
        let (one, two) = (Ward::new(&w, "One", Schema).await, Ward::new(&w, "Two", Schema).await);
        let servers: [Server; 2] = [w.server_with(&["--instance", "first"]), w.server_with(&["--instance", "second"])];
        for server in &servers {
            until("the server listens", async || server.log().contains("listening for changes")).await;
        }
        let next_door = two.constant_client(&servers[0], false);
        for _ in 0..5 {
            for server in &servers {
                assert_eq!(one.ask(server).await, Answer::Own);
            }
            suspend(&w, one.tenant.id);
            assert_eq!(one.sessions().await, 0, "no session is left");
            for server in &servers {
                assert_eq!(one.ask(server).await, Answer::Refused(403, "tenant_suspended".into()));
            }
            assert_eq!(w.ctl(&["tenant", "resume", &one.tenant.id.to_string()]).json()["state"], "active");
        }
        next_door.stop().await;
    });
}

/// Turns red when `Server::run` returns without `graceful.shutdown()`.
#[test]
fn a_request_under_way_is_answered_after_sigterm() {
    world(async |w| {
        let ward = Ward::new(&w, "One", Schema).await;
        let mut server = w.server();
        let lock = hold(&w, &ward).await;
        let under_way = ward.start_asking(&server);
        until("the request waits in Postgres", async || ward.waiting().await == 1).await;
        signal(server.pid(), "TERM");
        let address = server.base_url.strip_prefix("http://").unwrap().to_owned();
        until("nobody new is let in", async || tokio::net::TcpStream::connect(&address).await.is_err()).await;
        lock.batch_execute("rollback").await.unwrap();
        assert_eq!(under_way.await.unwrap(), Answer::Own);
        assert!(server.stop().success());
    });
}
