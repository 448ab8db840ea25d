//! New credentials under constant load on two server processes, by clients that do not retry: every request is answered.

mod keys;

use std::sync::Arc;

use provisioner::tenants;
use serde_json::json;
use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::error::SqlState;

use crate::jobs::worker;
use crate::support::load::{Load, Token};
use crate::support::{World, connect, until, world};

pub(crate) async fn token(w: &World, tenant: &Tenant) -> Token {
    Token::new(w.token(tenant.id, &[Scope::ReadMemories, Scope::WriteMemories]).await)
}

/// Whether Postgres lets whoever comes with this URL in. A login without a password is refused as if the password were wrong.
async fn lets_in(url: &str) -> bool {
    match connect(url).await {
        Ok(_) => true,
        Err(error) => {
            assert!(matches!(error.code().map(SqlState::code), Some("28P01" | "28000")), "{error}");
            false
        }
    }
}

/// Turns red when the switch comes before the next login is let in, and when `Disarm` shuts both out.
#[test]
fn a_tenants_password_is_rotated_and_no_request_fails() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Database).await);
        let servers = [w.server(), w.server()];
        let load = Load::begin(&servers.each_ref(), &[token(&w, &one).await, token(&w, &two).await], 3);
        load.goes_on(100).await;
        for round in 1..=4_i64 {
            for tenant in [&one, &two] {
                let id = tenant.id.to_string();
                let before = w.ctl(&["tenant", "show", &id]).json();
                let url = tenants::connection(&w.with, tenant.id).await.unwrap();
                let after = w.ctl(&["rotate", "tenant", &id]).json();
                assert_eq!(after["generation"], json!(round + 1));
                let turn = if round % 2 == 1 { "b" } else { "a" };
                assert_eq!(after["login_role"], json!(w.prefix.tenant(tenant.id, turn)));
                assert_ne!(after["login_role"], before["login_role"]);
                assert!(!lets_in(&url).await, "the old login is refused when the command returns");
                one_login_is_armed(&w, tenant).await;
            }
            load.goes_on(100).await;
        }
        load.end("rotate tenant, 8 times").await;
        for server in &servers {
            server.assert_calm(100).await;
        }
        let jobs = w.ctl(&["job", "list"]).json();
        assert!(jobs.as_array().unwrap().iter().all(|job| job["kind"] != "repair"), "nobody asked for a repair");
    });
}

/// The login that control names works; the other one waits without a password; nothing is left of a change.
pub(crate) async fn one_login_is_armed(w: &World, tenant: &Tenant) {
    let db = w.superuser(&tenant.cluster, "postgres").await;
    let sql =
        "select rolname::text from pg_authid where rolname = any($1) and (rolcanlogin or rolpassword is not null)";
    let logins = ["a", "b"].map(|turn| w.prefix.tenant(tenant.id, turn));
    let armed: Vec<String> = db.query(sql, &[&logins.as_slice()]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let now = tenants::get(&w.with, tenant.id).await.unwrap();
    assert_eq!(armed, [now.login_role]);
    assert!(lets_in(&tenants::connection(&w.with, tenant.id).await.unwrap()).await);
    let control = w.superuser("control", &w.prefix.name("control")).await;
    let sql = "select count(*) from placements where next_login is not null or retiring_login is not null";
    assert_eq!(control.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0, "no change of logins is half done");
}

/// Turns red when `Drain` does not forget who retired, when `--all` asks for a deleted tenant, and when it passes over one that is
/// read-only.
#[test]
fn all_passwords_are_rotated_and_no_request_fails() {
    world(async |w: Arc<World>| {
        let mut all = Vec::new();
        for n in 0..12 {
            let isolation = if n % 4 == 0 { Isolation::Database } else { Isolation::Schema };
            all.push(w.tenant(&format!("Tenant {n}"), isolation).await);
        }
        provisioner::erase::delete(&w.with, all.pop().unwrap().id, "", None).await.unwrap();
        let servers = [w.server(), w.server()];
        let mut tokens = Vec::new();
        for tenant in &all {
            tokens.push(token(&w, tenant).await);
        }
        let read_only = tokens.pop().unwrap();
        tenants::make_read_only(&w.with, all[10].id, tenants::Because::of("audit")).await.unwrap();
        let load = Load::begin(&servers.each_ref(), &tokens, 1);
        let reading = Load::reading(&servers.each_ref(), &[read_only], 1);
        load.goes_on(200).await;
        let rotated = w.ctl(&["rotate", "tenant", "--all"]).json();
        load.goes_on(200).await;
        reading.goes_on(20).await;
        load.end("rotate tenant --all").await;
        reading.end("rotate tenant --all, of a read-only tenant").await;
        assert_eq!(rotated.as_array().unwrap().len(), all.len(), "all but the deleted one");
        for (row, tenant) in rotated.as_array().unwrap().iter().zip(&all) {
            assert_eq!(
                (&row["customer_id"], &row["generation"], &row["error"]),
                (&json!(tenant.id), &json!(2), &json!(null))
            );
            one_login_is_armed(&w, tenant).await;
        }
    });
}

/// Turns red when `Arm` passes over whoever is not active: what is handed out then lets nobody in, and what did is shut.
#[test]
fn a_rotation_that_waited_while_its_tenant_became_read_only_hands_out_a_login_that_works() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await;
        let id = one.id.to_string();
        let server = w.server();
        let load = Load::reading(&[&server], &[token(&w, &one).await], 2);
        w.ctl(&["rotate", "tenant", &id, "--no-wait"]).json();
        w.ctl(&["tenant", "read-only", &id]).json();
        load.goes_on(20).await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let _worker = worker(&w);
        let done = "select state = 'done' from jobs where kind = 'rotate-login'";
        until("the worker rotates it", async || control.query_one(done, &[]).await.unwrap().get(0)).await;
        load.goes_on(20).await;
        let now = w.ctl(&["tenant", "show", &id]).json();
        assert_eq!((&now["state"], &now["login_role"]), (&json!("read_only"), &json!(w.prefix.tenant(one.id, "b"))));
        one_login_is_armed(&w, &one).await;
        let again = w.ctl(&["rotate", "tenant", &id]).json();
        assert_eq!(again["login_role"], json!(w.prefix.tenant(one.id, "a")), "by itself, too");
        load.goes_on(20).await;
        load.end("rotate tenant, of a read-only one").await;
        let written =
            w.as_tenant(one.id).await.execute("delete from memories", &[]).await.expect_err("it is read-only");
        assert_eq!(written.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    });
}

/// A stolen password is answered by a suspension first; the tenant comes back with a new one.
///
/// Turns red when `Arm` lets a suspended tenant's next login in.
#[test]
fn a_suspended_tenant_gets_its_new_password_when_it_is_resumed() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await;
        let (id, stolen) = (one.id.to_string(), tenants::connection(&w.with, one.id).await.unwrap());
        w.ctl(&["tenant", "suspend", &id]).json();
        let rotated = w.ctl(&["rotate", "tenant", &id]).json();
        assert_eq!(
            (&rotated["state"], &rotated["login_role"]),
            (&json!("suspended"), &json!(w.prefix.tenant(one.id, "b")))
        );
        let new = tenants::connection(&w.with, one.id).await.unwrap();
        assert!(!lets_in(&new).await, "it is suspended");
        w.ctl(&["tenant", "resume", &id]).json();
        assert!(lets_in(&new).await && !lets_in(&stolen).await);
        one_login_is_armed(&w, &one).await;
        w.ctl(&["tenant", "delete", &id]).json();
        assert_eq!(w.ctl(&["rotate", "tenant", &id]).code, Some(3));
    });
}

/// Turns red when the retiring login is not shut out, and when the next one is not a member of the admin role.
#[test]
fn the_provisioners_own_login_is_rotated_while_it_works() {
    world(async |w: Arc<World>| {
        let one = w.tenant("One", Isolation::Schema).await;
        let servers = [w.server(), w.server()];
        let load = Load::begin(&servers.each_ref(), &[token(&w, &one).await], 1);
        // Commands that come one after the other, each with a new connection as the admin.
        let working = {
            let w = Arc::clone(&w);
            let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let task = tokio::spawn(async move {
                let mut done = 0;
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    tenants::repair(&w.with, one.id).await.unwrap();
                    done += 1;
                }
                done
            });
            (stop, task)
        };
        let db = w.superuser("shared", "postgres").await;
        for round in 0..6 {
            load.goes_on(10).await;
            let rotated = w.ctl(&["rotate", "cluster", "shared"]).json();
            let login = w.prefix.name(if round % 2 == 0 { "admin_b" } else { "admin_a" });
            assert_eq!(rotated, json!({ "cluster": "shared", "login_role": login }));
            let sql = "select rolname::text from pg_authid where rolname = any($1) and (rolcanlogin or rolpassword is not null)";
            let both = ["admin_a", "admin_b"].map(|what| w.prefix.name(what));
            let armed = db.query(sql, &[&both.as_slice()]).await.unwrap();
            assert_eq!(armed.iter().map(|row| row.get(0)).collect::<Vec<String>>(), [login]);
        }
        working.0.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(working.1.await.unwrap() > 5, "repairs went on");
        assert_eq!(w.ctl(&["rotate", "cluster", "--all"]).json().as_array().unwrap().len(), 2);
        assert_eq!(w.ctl(&["rotate", "cluster", "missing"]).code, Some(3));
        load.end("rotate cluster, 8 times").await;

        // Whoever adds the cluster again begins again.
        let again = w.ctl_with(&["cluster", "add", "shared", "--kind", "shared"], &World::superuser_url("shared"));
        assert_eq!(again.code, Some(0), "{}", again.stderr);
        w.ctl(&["tenant", "create", "--name", "Two", "--isolation", "schema"]).json();
        let old =
            db.query_one("select rolcanlogin from pg_roles where rolname = $1", &[&w.prefix.name("admin_b")]).await;
        assert!(!old.unwrap().get::<_, bool>(0));
    });
}

/// Passes a connection on to a cluster, and all that come after it.
async fn let_through(door: TcpListener, first: TcpStream, port: u16) {
    let mut next = Ok(first);
    while let Ok(mut client) = next {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        next = door.accept().await.map(|(client, _)| client);
    }
}

/// A command has read which login to use, and that one retires before it comes to log in.
///
/// Turns red when `AdminDb` does not ask control again after a refusal.
#[test]
fn a_command_whose_admin_login_retires_just_then_comes_with_the_next() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await;
        let [a, b] = ["admin_a", "admin_b"].map(|what| w.prefix.name(what));
        let rotating = w.superuser("shared", "postgres").await;
        let control = w.superuser("control", &w.prefix.name("control")).await;
        // What a rotation to b would write, noted from one; then a is in use again.
        w.ctl(&["rotate", "cluster", "shared"]).json();
        let sql = "select rolpassword from pg_authid where rolname = $1";
        let verifier: String = rotating.query_one(sql, &[&b]).await.unwrap().get(0);
        let sql = "select sealed_password from cluster_admins where login = $1";
        let sealed: Vec<u8> = control.query_one(sql, &[&b]).await.unwrap().get(0);
        w.ctl(&["rotate", "cluster", "shared"]).json();

        // It is kept waiting at the door, and no lock is held on the catalog that everybody's logins are in.
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sql = "update clusters c set port = $1 from clusters before
                   where c.name = 'shared' and before.id = c.id returning before.port";
        let port = i32::from(door.local_addr().unwrap().port());
        let real: i32 = control.query_one(sql, &[&port]).await.unwrap().get(0);
        let config = w.dir.join("strowgerctl.toml");
        let mut command = tokio::process::Command::new(crate::support::strowgerctl());
        command.arg("--config").arg(config).args(["tenant", "repair", &one.id.to_string()]).kill_on_drop(true);
        let repairing = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let (first, _) = door.accept().await.unwrap();
        let sql = format!("alter role {a} nologin password null; alter role {b} login password '{verifier}'");
        rotating.batch_execute(&sql).await.unwrap();
        let sql = "update cluster_admins set login = $1, sealed_password = $2 where login = $3 and cluster_id =
                   (select id from clusters where name = 'shared')";
        assert_eq!(control.execute(sql, &[&b, &sealed, &a]).await.unwrap(), 1);
        tokio::spawn(let_through(door, first, u16::try_from(real).unwrap()));
        let ended = repairing.wait_with_output().await.unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    });
}

/// A session that does not end by itself is a support session, or a thief's. Turns red without `end_sessions` in `drain`.
#[test]
fn a_session_of_the_old_login_does_not_outlive_its_grace() {
    world(async |w| {
        let one = w.tenant("One", Isolation::Schema).await;
        let session = w.as_tenant(one.id).await;
        w.ctl(&["rotate", "tenant", &one.id.to_string()]).json();
        let ended = session.query_one("select 1", &[]).await.expect_err("its session was ended");
        assert!(ended.is_closed() || ended.code() == Some(&SqlState::ADMIN_SHUTDOWN), "{ended}");
    });
}
