//! What the router costs: `cargo bench`. Contenders take turns in one run; medians of rounds, and ratios.
//!
//! P1 and P4 of the performance notes, on a private Postgres of its own (fsync on, TCP on the loopback, no TLS); the warm query over a
//! Unix socket too.
#![expect(clippy::unwrap_used, reason = "a bench that fails panics")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::embedded::{Durability, Embedded};
use provisioner::tenants::{self, NewTenant};
use provisioner::{Provisioner, credentials, numbers};
use strowger::auth::Principal;
use strowger::auth::webhook::{TwilioForm, Unverified, Verified, sign_twilio};
use strowger::clock::Clock;
use strowger::control::clusters::Isolation;
use strowger::control::{Actor, Control};
use strowger::directory::{Directory, Staleness};
use strowger::phone::{CallerKey, Number};
use strowger::tenant::memories::{self, NewMemory};
use strowger::tenant::{Limits, Read, Router, TenantDb, Write};
use strowger::vault::{MasterRing, Secret};

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const HOT: usize = 20;
const COLD: usize = 60;
const ROUNDS: usize = 21;
/// The warm query's rounds are short and many, so that both contenders meet the same noise.
const SHORT_ROUNDS: usize = 401;

fn main() {
    let data = std::env::temp_dir().join(format!("strowger-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let embedded = with_socket(&data).await;
        let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
        let bench = Bench::prepare(with, &data).await;
        bench.lookup_and_checkout().await;
        bench.warm_query().await;
        bench.cold_tenant().await;
        println!("over a Unix socket:");
        let bench = bench.over_socket(&embedded, &data).await;
        bench.warm_query().await;
        drop(bench);
        embedded.stop().unwrap();
    });
    std::fs::remove_dir_all(&data).unwrap();
}

/// Where the shared cluster's socket is, in the data folder.
const SOCKET: &str = "postgres/shared";

/// The embedded clusters, which listen on TCP only; the shared one on a socket in its own folder too.
async fn with_socket(data: &Path) -> Embedded {
    Embedded::start(data, Durability::Full, &|_| ()).await.unwrap().stop().unwrap();
    let mut conf = OpenOptions::new().append(true).open(data.join(SOCKET).join("postgresql.conf")).unwrap();
    writeln!(conf, "unix_socket_directories = '{}'", data.join(SOCKET).display()).unwrap();
    Embedded::start(data, Durability::Full, &|_| ()).await.unwrap()
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
            let new = NewTenant {
                name: &format!("Tenant {i}"),
                id: None,
                isolation: Isolation::Schema,
                cluster: None,
                cluster_region: None,
                region: "US".parse().unwrap(),
            };
            let tenant = tenants::create(&with, &new).await.unwrap().id;
            let number: Number = format!("+1800555{i:04}").parse().unwrap();
            numbers::assign(&with, &number, tenant, None).await.unwrap();
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
    async fn over_socket(self, embedded: &Embedded, data: &Path) -> Self {
        let superuser = embedded.superuser("control").unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host(&superuser.address.host).port(superuser.address.port).dbname("sw_control");
        config.user(&superuser.user).password(superuser.password.expose());
        let (control, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let folder = data.join(SOCKET).display().to_string();
        control.execute("update clusters set host = $1 where name = 'shared'", &[&folder]).await.unwrap();
        let (directory, router) = Self::routing(data);
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
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for n in 0..10_000 {
                drop(self.open::<Read>(n % HOT).await);
            }
            rounds.push(start.elapsed() / 10_000);
        }
        report("number -> tenant -> open connection, warm, 20 numbers", &mut rounds);
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

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn signed(number: &Number, token: &Secret) -> Verified<TwilioForm> {
    let fields = [("AccountSid".to_owned(), ACCOUNT.to_owned()), ("To".to_owned(), number.to_string())];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
    let signature = sign_twilio(token, "http://bench.example/x", &fields);
    let request = Unverified::twilio("/x", Some(&signature), true, body.as_bytes()).unwrap();
    request.verify(&"http://bench.example".parse().unwrap(), token).unwrap()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn report(what: &str, times: &mut [Duration]) -> Duration {
    let middle = median(times);
    println!("{what}: median {middle:?} ({:?} to {:?})", times[0], times[times.len() - 1]);
    middle
}

fn compare(what: &str, ours: &mut [Duration], other: &str, theirs: &mut [Duration]) {
    let (a, b) = (report(what, ours), report(other, theirs));
    println!("    ratio {:.3}", a.as_secs_f64() / b.as_secs_f64());
}
