//! A tenant moved to another cluster while it is called, read and written to; moved back; killed; refused.

mod doctor;
mod kills;
pub(crate) mod online;
mod refusals;
mod stopped;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;

use crate::backup::filled::fill;
use crate::backup::{content, psql};
use crate::rotation::token;
use crate::support::load::Load;
use crate::support::{Account, Server, Service, World, connect, world};

pub(super) const CALLER: &str = "+15551234567";
pub(super) const NUMBER: &str = "+18005550100";
const CLIENT: &str = "+15550001111";
/// What a caller leaves.
pub(crate) const WRITE: &str = "insert into memories (user_id, content) values ('x', 'x')";

/// A superuser's URL of the database that a tenant lives in, on one of the two servers.
fn url_of(server: &str, tenant: &Tenant) -> String {
    format!("{}/{}", World::superuser_url(server).rsplit_once('/').unwrap().0, tenant.database)
}

/// Registers a server anew, for the other kind of tenants.
pub(super) fn hold_instead(w: &World, server: &str, holds: Isolation) {
    w.ctl(&["cluster", "remove", server]).json();
    let add = ["cluster", "add", server, "--kind", holds.cluster_kind(), "--budget", "60"];
    w.ctl_with(&add, &World::superuser_url(server)).json();
}

/// The server where tenants of that kind live, and the one where they go, which holds the other kind from then on.
fn ends(w: &World, from: Isolation, to: Isolation) -> (&'static str, &'static str) {
    let (here, there) = if from == Isolation::Schema { ("shared", "dedicated") } else { ("dedicated", "shared") };
    if from == to {
        hold_instead(w, there, to);
    }
    (here, there)
}

pub(crate) async fn tenant_now(w: &World, id: TenantId) -> Tenant {
    provisioner::tenants::get(&w.with, id).await.unwrap()
}

/// A `strowgerctl` beside which the test goes on.
pub(crate) async fn beside(w: &World, args: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(crate::support::strowgerctl());
    command.arg("--config").arg(w.dir.join("strowgerctl.toml")).args(["--output", "json"]).args(args);
    command.output().await.unwrap()
}

fn succeeded(ended: &std::process::Output) -> Value {
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// What came of one who writes and one who reads all the while.
#[derive(Default)]
struct Clients {
    stop: AtomicBool,
    written: AtomicUsize,
    read: AtomicUsize,
}

impl Clients {
    /// Writes one memory after the other; what is not acknowledged must be refused by a name, and is sent again.
    async fn write(&self, service: &Service<'_>) {
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.written.load(Ordering::Relaxed);
            let memory = json!({ "user_id": CLIENT, "content": n.to_string() });
            let answer = service.request(Method::POST, "/v1/memories").json(&memory).send().await.unwrap();
            if answer.status() == 201 {
                self.written.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
            let body: Value = answer.json().await.unwrap();
            let named = ["tenant_moving", "tenant_database_refused"].contains(&body["code"].as_str().unwrap());
            assert!(status == 503 && again && named, "{status}: {body}");
        }
    }

    /// Reads all the while; nothing but an answer is expected.
    async fn read(&self, service: &Service<'_>) {
        while !self.stop.load(Ordering::Relaxed) {
            let answer = service.get("/v1/memories?user_id=%2B15550001111&limit=5").await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
            self.read.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn more(&self) {
        let (written, read) = (self.written.load(Ordering::Relaxed), self.read.load(Ordering::Relaxed));
        crate::support::until("both go on", async || {
            self.written.load(Ordering::Relaxed) > written + 5 && self.read.load(Ordering::Relaxed) > read + 5
        })
        .await;
    }
}

async fn is_answered(account: &Account, server: &Server) {
    let said = account.dial(server, CALLER, NUMBER).await;
    let status = said.status();
    let said = said.text().await.unwrap();
    assert!(status == 200 && said.contains(">Hello from One<"), "{status}: {said}");
}

/// What the client wrote, once each.
fn written(url: &str, schema: &str) -> Vec<usize> {
    let sql = format!("select content from {schema}.memories where user_id = '{CLIENT}' order by content::int");
    psql(url, &["-c", &sql], "").lines().map(|line| line.parse().unwrap()).collect()
}

fn without_clients(url: &str, schema: &str) {
    psql(
        url,
        &[
            "-c",
            &format!(
                "delete from {schema}.memories where user_id = '{CLIENT}'; delete from {schema}.calls where user_id = '{CALLER}'"
            ),
        ],
        "",
    );
}

async fn moved_under_load(w: Arc<World>, from: Isolation, to: Isolation) {
    let (here, there) = ends(&w, from, to);
    let (tenant, neighbour) = (w.tenant("One", from).await, w.tenant("Two", from).await);
    let account = w.account(1, Some(tenant.id)).await;
    w.assign(NUMBER, tenant.id, &account).await;
    fill(&url_of(here, &tenant), &tenant.schema);
    let greeting = json!({ "greeting": "Hello from One" });
    let sql = "insert into configurations (version, content, created_by)
               select max(version) + 1, (select content from configurations where version = 1) || $1, 'test' from configurations";
    w.as_tenant(tenant.id).await.execute(sql, &[&greeting]).await.unwrap();
    let before = content(&url_of(here, &tenant), &tenant.schema);
    let server = w.server();
    let service = Service { server: &server, token: w.token(tenant.id, &scopes()).await };
    let former = provisioner::tenants::connection(&w.with, tenant.id).await.unwrap();
    is_answered(&account, &server).await;
    let load = Load::begin(&[&server], &[token(&w, &neighbour).await], 2);
    let clients = Clients::default();
    let turning = async {
        clients.more().await;
        let shown = succeeded(&beside(&w, &["tenant", "move", "1", "--to", there, "--offline"]).await);
        clients.more().await;
        load.goes_on(20).await;
        clients.stop.store(true, Ordering::Relaxed);
        shown
    };
    let (shown, (), ()) = tokio::join!(turning, clients.write(&service), clients.read(&service));
    load.end("a neighbour of who moves").await;
    assert_eq!((&shown["cluster"], &shown["isolation"]), (&json!(there), &json!(to)));
    assert_eq!((&shown["held"], &shown["state"]), (&json!(false), &json!("active")));
    is_answered(&account, &server).await;

    let moved = tenant_now(&w, tenant.id).await;
    let url = url_of(there, &moved);
    let all: Vec<usize> = (0..clients.written.load(Ordering::Relaxed)).collect();
    let there = written(&url, &moved.schema);
    let lost: Vec<&usize> = all.iter().filter(|n| !there.contains(n)).collect();
    assert!(there == all, "{} written, {} acknowledged, lost: {lost:?}", there.len(), all.len());
    without_clients(&url, &moved.schema);
    assert!(content(&url, &moved.schema) == before, "psql reads something else");
    let row = w.as_tenant(tenant.id).await.query_one("select tenant_id, epoch from identity", &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (1, 2));
    assert!(connect(&former).await.is_err(), "where it lived nobody logs in");
    w.ctl(&["doctor"]).json();
}

pub(super) fn scopes() -> Vec<strowger::auth::Scope> {
    ["read:memories", "write:memories"].map(|scope| scope.parse().unwrap()).into()
}

/// Turns red when `admitted` lets writes through and `carry_held` revokes no rights: acknowledged writes are not where the tenant lives.
#[test]
fn a_schema_becomes_a_database_elsewhere() {
    world(async |w| moved_under_load(w, Isolation::Schema, Isolation::Database).await);
}

#[test]
fn a_database_becomes_a_schema_elsewhere() {
    world(async |w| moved_under_load(w, Isolation::Database, Isolation::Schema).await);
}

#[test]
fn a_schema_stays_one_elsewhere() {
    world(async |w| moved_under_load(w, Isolation::Schema, Isolation::Schema).await);
}

#[test]
fn a_database_stays_one_elsewhere() {
    world(async |w| moved_under_load(w, Isolation::Database, Isolation::Database).await);
}

/// Turns red when what is kept there is taken for a copy that need not be made again.
///
/// What was written since comes back; what is left behind is kept in turn, and dropped when its time has passed.
#[test]
fn going_back_takes_along_what_was_written_since() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        fill(&url_of("shared", &tenant), &tenant.schema);
        let catalog = crate::crash::Catalog::read(&w).await;
        let refused = w.ctl(&["tenant", "move", "1", "--undo"]);
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        w.ctl(&["tenant", "move", "1", "--to", "dedicated", "--offline"]).json();
        let write = "insert into memories (user_id, content) values ('since', 'x')";
        w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
        let moved = tenant_now(&w, tenant.id).await;
        let then = content(&url_of("dedicated", &moved), &moved.schema);
        let back = w.ctl(&["tenant", "move", "1", "--undo"]).json();
        assert_eq!((&back["cluster"], &back["isolation"]), (&json!("shared"), &json!("schema")));
        assert!(content(&url_of("shared", &tenant), &tenant.schema) == then, "psql reads something else");
        w.as_tenant(tenant.id).await.execute(write, &[]).await.unwrap();
        w.ctl(&["doctor"]).json();
        assert_eq!(provisioner::moves::end_kept(&w.with).await.unwrap(), 0, "it is kept");
        crate::jobs::control(&w).await.batch_execute("update moves set kept_until = now()").await.unwrap();
        assert_eq!(provisioner::moves::end_kept(&w.with).await.unwrap(), 1);
        catalog.still_holds(&w).await;
    });
}
