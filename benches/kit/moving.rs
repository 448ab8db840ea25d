//! What an online move costs whom: `ops/bench/run p10 [--size 1GB] [--rate N]`.
//!
//! P10 of the performance notes, on private clusters of its own (fsync on, TCP on the loopback): a schema tenant moves to the cluster of
//! databases, and back, while eight clients write to it through two server processes, each request sent once.
//!
//! - strowger: the whole command in this process; the pause of writes as it shows it, and the longest that a client waited. Each
//!   write that was acknowledged must be at the new place, once; one that is refused ends the bench.
//! - `pg_dump -Fc -Z0 -n | pg_restore`: into an empty database of the other cluster, while nothing is written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use provisioner::moves::{self, How, Way};
use provisioner::{Provisioner, credentials, tenants};
use strowger::auth::Scope;
use strowger::control::Actor;
use strowger::id::TenantId;

use crate::backup::{bytes, fill, psql, shell};
use crate::http::Serving;
use crate::http::load::{Connection, request};
use crate::support::{Folder, argument, connect, schema_tenant, url};

const CLIENTS: usize = 8;
const DAY_S: i64 = 86_400;

pub(crate) async fn run() {
    let size = std::env::args().skip_while(|arg| arg != "--size").nth(1);
    let size = bytes(size.as_deref().unwrap_or("1GB"));
    let folder = Folder::new();
    let embedded = folder.start().await;
    let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
    let tenant = tenants::create(&with, &schema_tenant("measured")).await.unwrap();
    let [shared, dedicated] = ["shared", "dedicated"].map(|name| url(&embedded, name, ""));
    fill(&format!("{shared}sw_shared"), &tenant.schema, size);

    psql(&format!("{dedicated}postgres"), "create database emptied template template0");
    let dumped = shell(&format!(
        "pg_dump -Fc -Z0 -n {} '{shared}sw_shared' | pg_restore --no-owner --no-acl -d '{dedicated}emptied'",
        tenant.schema
    ));
    println!("pg_dump | pg_restore, nothing written: {:.1} s", dumped.as_secs_f64());
    psql(&format!("{dedicated}postgres"), "drop database emptied");

    let token = credentials::mint(&with, tenant.id, Scope::ALL, DAY_S).await.unwrap();
    let servers = [Serving::strowger(&folder), Serving::strowger(&folder)];
    let writers = Writers::new(Duration::from_secs(1) / u32::try_from(argument("--rate", 200)).unwrap());
    let writing: Vec<_> = (0..CLIENTS).map(|n| writers.write(n, &servers[n % 2], &token)).collect();
    let (moved, _) = tokio::join!(there_and_back(&with, tenant.id, &writers), futures_util::future::join_all(writing));
    for (what, took, pause) in moved {
        let ratio = took.as_secs_f64() / dumped.as_secs_f64();
        println!("{what}: {:.1} s, {ratio:.2} of it; nothing written for {pause} ms", took.as_secs_f64());
    }
    let longest = writers.longest_ms.load(Ordering::Relaxed);
    println!("{} writes acknowledged, none refused; the longest took {longest} ms", writers.acknowledged());
    there_once(&with, tenant.id, writers.acknowledged()).await;
    drop(servers);
    drop(with);
    embedded.stop().unwrap();
}

async fn there_and_back(with: &Provisioner, id: TenantId, writers: &Writers) -> Vec<(&'static str, Duration, i64)> {
    let mut moved = Vec::new();
    for (what, cluster) in [("moved online", "dedicated"), ("and back", "shared")] {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let start = Instant::now();
        let how = How { way: Way::Online, keep_s: DAY_S, patience_s: 60 };
        moves::to(with, id, cluster, how).await.unwrap();
        moved.push((what, start.elapsed(), moves::pause_ms(with, id).await.unwrap().unwrap()));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    writers.stop.store(true, Ordering::Relaxed);
    moved
}

/// Clients that write what nobody else does, each at its own pace; one that waits does not make up for it.
struct Writers {
    stop: AtomicBool,
    every: Duration,
    acknowledged: [AtomicUsize; CLIENTS],
    longest_ms: AtomicUsize,
}

impl Writers {
    fn new(one: Duration) -> Self {
        let every = one * u32::try_from(CLIENTS).unwrap();
        Self { stop: AtomicBool::new(false), every, acknowledged: Default::default(), longest_ms: AtomicUsize::new(0) }
    }

    async fn write(&self, n: usize, server: &Serving, token: &str) {
        let mut connection = Connection::open(server.address).await;
        let headers = format!("Host: bench\r\nAuthorization: Bearer {token}\r\n");
        let mut tick = tokio::time::interval(self.every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.stop.load(Ordering::Relaxed) {
            tick.tick().await;
            let body = format!(
                r#"{{"user_id":"+1555000111{n}","content":"{}"}}"#,
                self.acknowledged[n].load(Ordering::Relaxed)
            );
            let asked = Instant::now();
            connection.ask(&request("POST", "/v1/memories", &headers, &body)).await;
            self.acknowledged[n].fetch_add(1, Ordering::Relaxed);
            let took = usize::try_from(asked.elapsed().as_millis()).unwrap();
            self.longest_ms.fetch_max(took, Ordering::Relaxed);
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.iter().map(|each| each.load(Ordering::Relaxed)).sum()
    }
}

async fn there_once(with: &Provisioner, id: TenantId, acknowledged: usize) {
    let db = connect(&tenants::connection(with, id).await.unwrap()).await;
    let sql = "select count(*), count(distinct (user_id, content)) from memories where user_id like '+1555000111%'";
    let row = db.query_one(sql, &[]).await.unwrap();
    let expected = i64::try_from(acknowledged).unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (expected, expected), "each is there, once");
}
