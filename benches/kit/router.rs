//! What the router costs: `ops/bench/run p1`. Contenders take turns in one run; medians of rounds, and ratios.
//!
//! P1 and P4 of the performance notes, on a private Postgres of its own (fsync on, TCP on the loopback, no TLS); the warm query over a
//! Unix socket too.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::embedded::Embedded;
use provisioner::{Provisioner, credentials, numbers, tenants};
use strowger::auth::Principal;
use strowger::auth::webhook::{TwilioForm, Unverified, Verified, sign_twilio};
use strowger::clock::Clock;
use strowger::control::{Actor, Control};
use strowger::directory::{Directory, Staleness};
use strowger::phone::{CallerKey, Number};
use strowger::tenant::memories::{self, NewMemory};
use strowger::tenant::{Limits, Read, Router, TenantDb, Write};
use strowger::vault::{MasterRing, Secret};

use crate::support::{Folder, connect, median, report, schema_tenant};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const HOT: usize = 20;
const COLD: usize = 60;
const ROUNDS: usize = 21;
/// The warm query's rounds are short and many, so that both contenders meet the same noise.
const SHORT_ROUNDS: usize = 401;

pub(crate) async fn run() {
    let folder = Folder::new();
    let embedded = folder.start().await;
    let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
    let bench = Bench::prepare(with, &folder.0).await;
    bench.lookup_and_checkout().await;
    bench.warm_query().await;
    bench.cold_tenant().await;
    println!("over a Unix socket:");
    let bench = bench.over_socket(&embedded, &folder).await;
    bench.warm_query().await;
    drop(bench);
    embedded.stop().unwrap();
}

struct Bench {
    with: Provisioner,
    directory: Arc<Directory>,
    router: Router,
    numbers: Vec<Number>,
    calls: Vec<Verified<TwilioForm>>,
    tenants: Vec<strowger::id::TenantId>,
}

impl Bench {
    async fn prepare(with: Provisioner, data: &Path) -> Self {
        let token = Secret::new(b"token".to_vec());
        credentials::add_account(&with, &ACCOUNT.parse().unwrap(), None, &token).await.unwrap();
        let (mut all, mut dialled, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..HOT + COLD {
            let tenant = tenants::create(&with, &schema_tenant(&format!("Tenant {i}"))).await.unwrap().id;
            let number: Number = format!("+1800555{i:04}").parse().unwrap();
            numbers::assign(&with, &number, tenant, None, "").await.unwrap();
            calls.push(signed(&number, &token));
            all.push(tenant);
            dialled.push(number);
        }
        let (directory, router) = Self::routing(data);
        Self { with, directory, router, numbers: dialled, calls, tenants: all }
    }

    /// What a server has when it starts.
    fn routing(data: &Path) -> (Arc<Directory>, Router) {
        let url = std::fs::read_to_string(data.join("strowger.toml")).unwrap();
        let url = url.split('"').nth(1).unwrap().to_owned();
        let ring = MasterRing::from_file(&data.join("keys/server.ring")).unwrap();
        let control = Control::lazy(&url, "bench", 4).unwrap();
        let directory = Arc::new(Directory::new(control, ring, &Clock::system(), Staleness::default()));
        let router = Router::new(Arc::clone(&directory), "bench", 1, Limits::default());
        (directory, router)
    }

    /// The same installation, whose control database says that the shared cluster is reached by its socket.
    async fn over_socket(self, embedded: &Embedded, folder: &Folder) -> Self {
        folder.use_socket(embedded).await;
        let (directory, router) = Self::routing(&folder.0);
        Self { directory, router, ..self }
    }

    /// From a dialled number to an open connection, as a call takes it.
    async fn open<I: strowger::tenant::Intent>(&self, i: usize) -> TenantDb<I> {
        let row = self.directory.number(&self.numbers[i]).await.unwrap().unwrap();
        self.router.open(&Principal::from_call(&self.calls[i], &row).unwrap()).await.unwrap()
    }

    async fn lookup_and_checkout(&self) {
        for i in 0..HOT {
            drop(self.open::<Read>(i).await);
        }
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        let parts = Parts::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for n in 0..10_000 {
                drop(self.open::<Read>(n % HOT).await);
            }
            ours.push(start.elapsed() / 10_000);
            let start = Instant::now();
            for n in 0..10_000 {
                drop(parts.open(&self.numbers[n % HOT]).await);
            }
            bare.push(start.elapsed() / 10_000);
        }
        let what = "number -> tenant -> open connection, warm, 20 numbers";
        compare(what, &mut ours, "one look-up in a cache and one deadpool checkout, nothing else", &mut bare);
    }

    async fn warm_query(&self) {
        let caller = CallerKey::parse("+15551234567", "US".parse().unwrap()).unwrap();
        let new = NewMemory { caller: &caller, kind: "general", key: None, content: "a fact", vector: None };
        let memory = memories::put(self.open::<Write>(0).await.conn(), &new).await.unwrap().id;
        let raw = self.raw(0).await;
        let sql = "select id, user_id, type, key, content, created_at from memories where id = $1";
        let statement = raw.prepare(sql).await.unwrap();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SHORT_ROUNDS {
            let start = Instant::now();
            for _ in 0..50 {
                let db = self.open::<Read>(0).await;
                memories::get(db.conn(), memory).await.unwrap().unwrap();
            }
            ours.push(start.elapsed() / 50);
            let start = Instant::now();
            for _ in 0..50 {
                let row = raw.query_one(&statement, &[&memory]).await.unwrap();
                let _: (uuid::Uuid, String, String) = (row.get(0), row.get(1), row.get(2));
                let _: (Option<String>, String, time::OffsetDateTime) = (row.get(3), row.get(4), row.get(5));
            }
            theirs.push(start.elapsed() / 50);
        }
        compare("one-row query of a warm tenant through the router", &mut ours, "raw prepared client", &mut theirs);
    }

    async fn cold_tenant(&self) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for i in HOT..HOT + COLD {
            // Who comes second finds the tenant's pages in Postgres's memory: they take turns at being first.
            if i % 2 == 0 {
                ours.push(self.cold_by_router(i).await);
                theirs.push(self.cold_by_hand(i).await);
            } else {
                theirs.push(self.cold_by_hand(i).await);
                ours.push(self.cold_by_router(i).await);
            }
        }
        compare(
            "cold tenant to its first row, control look-ups included",
            &mut ours,
            "raw connect and query",
            &mut theirs,
        );
    }

    async fn cold_by_router(&self, i: usize) -> Duration {
        let start = Instant::now();
        let db = self.open::<Read>(i).await;
        memories::get(db.conn(), uuid::Uuid::nil()).await.unwrap();
        start.elapsed()
    }

    /// The same login with the same verifier, over TCP too, without the proof of identity.
    async fn cold_by_hand(&self, i: usize) -> Duration {
        let url = tenants::connection(&self.with, self.tenants[i]).await.unwrap();
        let start = Instant::now();
        let raw = connect(&url).await;
        let sql = "select id, user_id, type, key, content, created_at from memories where id = $1";
        raw.query(sql, &[&uuid::Uuid::nil()]).await.unwrap();
        start.elapsed()
    }

    async fn raw(&self, i: usize) -> tokio_postgres::Client {
        connect(&tenants::connection(&self.with, self.tenants[i]).await.unwrap()).await
    }
}

/// The two libraries that a look-up and a checkout stand on, by themselves.
struct Parts {
    cache: quick_cache::sync::Cache<Number, Arc<deadpool::managed::Pool<Nothing>>>,
}

struct Nothing;

impl deadpool::managed::Manager for Nothing {
    type Type = ();
    type Error = std::convert::Infallible;
    async fn create(&self) -> Result<(), Self::Error> {
        Ok(())
    }
    async fn recycle(
        &self,
        (): &mut (),
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Self::Error> {
        Ok(())
    }
}

impl Parts {
    fn new() -> Self {
        Self { cache: quick_cache::sync::Cache::new(200_000) }
    }

    async fn open(&self, number: &Number) -> deadpool::managed::Object<Nothing> {
        let pool = match self.cache.get(number) {
            Some(pool) => pool,
            None => {
                let pool = Arc::new(deadpool::managed::Pool::builder(Nothing).max_size(4).build().unwrap());
                self.cache.insert(number.clone(), Arc::clone(&pool));
                pool
            }
        };
        pool.get().await.unwrap()
    }
}

fn signed(number: &Number, token: &Secret) -> Verified<TwilioForm> {
    let fields = [("AccountSid".to_owned(), ACCOUNT.to_owned()), ("To".to_owned(), number.to_string())];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let signature = sign_twilio(token, "http://bench.example/x", &fields);
    let request = Unverified::twilio("/x", Some(&signature), true, body.as_bytes()).unwrap();
    request.verify(&"http://bench.example".parse().unwrap(), token).unwrap()
}

/// The ratio is the median of the rounds' own: both contenders of a round met the same noise.
fn compare(what: &str, ours: &mut [Duration], other: &str, theirs: &mut [Duration]) {
    let mut ratios: Vec<f64> = ours.iter().zip(&*theirs).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    report(what, ours);
    report(other, theirs);
    println!("    ratio {:.3}", median(&mut ratios));
}
