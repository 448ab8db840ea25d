//! What a worker does besides jobs.

use std::process::Stdio;

use strowger::control::clusters::Isolation;
use tokio::process::Command;
use tokio_postgres::Client;

use crate::jobs::until;
use crate::support::{World, connect, strowgerctl, world};

const AGE_S: u32 = 5;

/// Begins a transaction, which its session may keep open for as long as it likes; its process.
async fn begin(db: &Client) -> i32 {
    db.batch_execute("set idle_in_transaction_session_timeout = 0; begin").await.unwrap();
    db.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

/// A login that is nobody's tenant.
async fn not_a_tenant(w: &World, watching: &Client) -> Client {
    let login = w.prefix.name("admin_x");
    watching.batch_execute(&format!("create role {login} login password 'x'")).await.unwrap();
    watching.batch_execute(&format!("grant connect on database postgres to {login}")).await.unwrap();
    let url = w.own_superuser_url("shared");
    let (_, at) = url.rsplit_once('@').unwrap();
    connect(&format!("postgres://{login}:x@{at}")).await.unwrap()
}

/// Turns red when nothing is ended, when everybody's old transactions are, and when tenants' young ones are.
#[test]
fn a_tenants_old_transaction_is_ended_and_nobody_elses() {
    world(async |w| {
        let (one, two) = (w.tenant("One", Isolation::Schema).await, w.tenant("Two", Isolation::Schema).await);
        let watching = w.superuser("shared", "postgres").await;
        let (old, other, young) =
            (w.as_tenant(one.id).await, not_a_tenant(&w, &watching).await, w.as_tenant(two.id).await);
        let (old_pid, other_pid) = (begin(&old).await, begin(&other).await);
        let is_old = |pid| {
            format!(
                "select coalesce((select now() - xact_start > interval '{AGE_S} seconds' from pg_stat_activity where pid = {pid}), true)"
            )
        };
        until(&watching, &is_old(old_pid)).await;
        until(&watching, &is_old(other_pid)).await;
        let mut worker = Command::new(strowgerctl());
        worker.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["worker", "--max-transaction-age"]);
        worker
            .arg(format!("{AGE_S}s"))
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _worker = worker.spawn().unwrap();
        // Two's transactions are never old: each is over before the next is begun.
        let gone = format!("select not exists (select from pg_stat_activity where pid = {old_pid})");
        let watched = async {
            until(&watching, &gone).await;
        };
        let busy = async {
            loop {
                young.batch_execute("begin; select * from memories; select pg_sleep(1); commit").await.unwrap();
            }
        };
        tokio::select! { () = watched => {}, () = busy => {} }
        assert!(old.query("select 1", &[]).await.is_err(), "its session was ended");
        other.batch_execute("commit").await.expect("nobody's tenant is left alone");
        young.batch_execute("select * from memories").await.expect("so is who is quick");
    });
}
