//! What an HTTP request costs: `ops/bench/run p2 [--tenants N] [--rounds N] [--seconds N] [--tcp] [--django]`, and a turn of a call.
//!
//! P2 of the performance notes: a caller's memories, the enriched context and a search over 6,000 memories, by 16 and 256 clients,
//! asked of `strowger` (a process of its own, as released) and of the contenders, which take turns within one run. fsync on. Clients
//! are in this process, on the same processors; the first round warms up and does not count.
//!
//! - `single`: axum and deadpool on one tenant's own database. Strowger is asked about that one tenant too.
//! - `shared`: one table for all tenants with row-level security; as many connections as Strowger may open for them all.
//! - `django`: django-tenants under gunicorn, with `--django`.
//!
//! And of P7: a turn of a call, signed as Twilio signs, answered from the tenant's knowledge without a model; and by nobody.

mod contenders;
pub(crate) mod load;
mod seed;
mod turn;

pub(crate) use contenders::serve;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use provisioner::embedded::Embedded;
use provisioner::{Provisioner, credentials, tenants};
use strowger::auth::Scope;
use strowger::control::Actor;
use strowger::id::TenantId;

use self::load::{Round, request};
use crate::support::{Folder, argument, connect, is_given, median, schema_tenant, superuser};

/// What Strowger opens for one tenant, and the contenders for all of theirs.
const CONNECTIONS: usize = 4;

pub(crate) async fn run() {
    let plan = Plan {
        tenants: argument("--tenants", 20),
        rounds: argument("--rounds", 7),
        time: Duration::from_secs(argument("--seconds", 1).try_into().unwrap()),
        django: is_given("--django"),
    };
    let folder = Folder::new();
    let embedded = folder.start().await;
    let over = if is_given("--tcp") { "TCP" } else { "a Unix socket" };
    println!("{} tenants with {} memories each; Postgres over {over}", plan.tenants, seed::MEMORIES);
    let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
    if !is_given("--tcp") {
        folder.use_socket(&embedded).await;
    }
    let bench = Bench::prepare(plan, with, &embedded).await;
    bench.run(&folder, &embedded).await;
    drop(bench);
    embedded.stop().unwrap();
}

struct Plan {
    tenants: usize,
    rounds: usize,
    time: Duration,
    django: bool,
}

/// A tenant and what its service authenticates with.
struct Tenant {
    id: TenantId,
    token: String,
}

struct Bench {
    plan: Plan,
    with: Provisioner,
    tenants: Vec<Tenant>,
}

/// A server process. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Serving {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("it said: {line}"));
        Self { address: address.parse().unwrap(), child }
    }

    /// The server of the installation, whose log goes nowhere.
    pub(crate) fn strowger(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strowger"));
        command.arg("--config").arg(folder.0.join("strowger.toml")).args(["--listen", "127.0.0.1:0"]);
        Self::start(command.args(["--tenant-connections", &CONNECTIONS.to_string()]).stderr(Stdio::null()))
    }

    fn contender(kind: &str, url: &str, connections: usize) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        Self::start(command.args(["serve", kind, url, &connections.to_string()]))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its name, where it serves, and what it is asked.
type Contender<'a> = (&'a str, &'a Serving, &'a Arc<Vec<Vec<u8>>>);

impl Bench {
    async fn prepare(plan: Plan, with: Provisioner, embedded: &Embedded) -> Self {
        let mut all = Vec::new();
        for n in 0..plan.tenants {
            let id = tenants::create(&with, &schema_tenant(&format!("Tenant {n}"))).await.unwrap().id;
            seed::fill(&connect(&tenants::connection(&with, id).await.unwrap()).await, None).await;
            all.push(Tenant { id, token: credentials::mint(&with, id, Scope::ALL, 86_400).await.unwrap() });
        }
        let db = superuser(embedded, "shared", "postgres").await;
        db.batch_execute("create database bench_shared").await.unwrap();
        let db = superuser(embedded, "shared", "bench_shared").await;
        db.batch_execute(seed::SHARED).await.unwrap();
        let configuration = connect(&tenants::connection(&with, all[0].id).await.unwrap()).await;
        let content: serde_json::Value =
            configuration.query_one("select content from configurations", &[]).await.unwrap().get(0);
        for tenant in &all {
            let id = tenant.id.get();
            seed::fill(&db, Some(id)).await;
            db.execute("insert into configurations values ($1, 1, $2)", &[&id, &content]).await.unwrap();
        }
        Self { plan, with, tenants: all }
    }

    async fn run(&self, folder: &Folder, embedded: &Embedded) {
        let url = tenants::connection(&self.with, self.tenants[0].id).await.unwrap();
        let host = url.split_once('@').unwrap().1.split('/').next().unwrap();
        let shared_url = format!("postgres://bench_shared:bench@{host}/bench_shared");
        let strowger = Serving::strowger(folder);
        let single = Serving::contender("single", &url, CONNECTIONS);
        let shared = Serving::contender("shared", &shared_url, CONNECTIONS * self.plan.tenants);
        let django = if self.plan.django { Some(django(embedded, self.plan.tenants).await) } else { None };
        for what in [What::List, What::Context, What::Search] {
            for clients in [16, 256] {
                println!("{}, {clients} clients", what.name());
                let (one, all) = (self.questions(what, 1), self.questions(what, self.plan.tenants));
                let asked =
                    [("strowger, one tenant", &strowger, &one), ("single tenant, axum + deadpool", &single, &one)];
                self.compare(&asked, clients).await;
                let mut asked = vec![
                    ("strowger, all tenants", &strowger, &all),
                    ("one table + RLS, axum + deadpool", &shared, &all),
                ];
                if let Some(django) = &django {
                    asked.push(("django-tenants, gunicorn", django, &all));
                }
                self.compare(&asked, clients).await;
            }
        }
        turn::run(&self.with, self.tenants[0].id, &strowger).await;
    }

    /// Requests about the first tenants' callers, in one order for everybody. Each contender reads of it what it needs.
    fn questions(&self, what: What, tenants: usize) -> Arc<Vec<Vec<u8>>> {
        let all = (0..seed::CALLERS * tenants).map(|n| {
            let (tenant, caller) = (&self.tenants[n % tenants], seed::caller(n / tenants));
            let id = tenant.id;
            let headers = format!("Host: t{}.bench\r\nAuthorization: Bearer {}\r\n", n % tenants + 1, tenant.token);
            match what {
                What::List => {
                    let caller = caller.replace('+', "%2B");
                    request("GET", &format!("/v1/memories?user_id={caller}&limit=20&customer_id={id}"), &headers, "")
                }
                What::Context => {
                    let body = format!(r#"{{"user_id":"{caller}","customer_id":{id}}}"#);
                    request("POST", "/v2/context/enriched", &headers, &body)
                }
                What::Search => {
                    let body = format!(r#"{{"query":"{}","limit":10,"customer_id":{id}}}"#, seed::question(n));
                    request("POST", "/v1/memories/search", &headers, &body)
                }
            }
        });
        Arc::new(all.collect())
    }

    /// Takes turns, and who goes first changes; the first is compared with each of the others.
    async fn compare(&self, contenders: &[Contender<'_>], clients: usize) {
        let mut rounds: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
        for n in 0..=self.plan.rounds {
            for turn in 0..contenders.len() {
                let who = (turn + n) % contenders.len();
                let (_, serving, questions) = contenders[who];
                let round = load::run(serving.address, questions, clients, self.plan.time).await;
                if n > 0 {
                    rounds[who].push(round);
                }
            }
        }
        let ours = Figures::of(&rounds[0]);
        for (n, (name, ..)) in contenders.iter().enumerate() {
            let figures = Figures::of(&rounds[n]);
            let compared = if n == 0 { String::new() } else { ours.against(&figures, &rounds[0], &rounds[n]) };
            println!("    {name:<34} {figures}{compared}");
        }
    }
}

#[derive(Clone, Copy)]
enum What {
    List,
    Context,
    Search,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::List => "GET /v1/memories of a caller",
            Self::Context => "POST /v2/context/enriched",
            Self::Search => "POST /v1/memories/search",
        }
    }
}

/// Medians of rounds.
struct Figures {
    per_second: f64,
    slowest: f64,
    fastest: f64,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(rounds: &[Round]) -> Self {
        let mut speeds: Vec<f64> = rounds.iter().map(|round| round.per_second).collect();
        let mut times: Vec<Duration> = rounds.iter().flat_map(|round| round.times.iter().copied()).collect();
        let per_second = median(&mut speeds);
        let p50 = median(&mut times);
        Self {
            per_second,
            slowest: speeds[0],
            fastest: speeds[speeds.len() - 1],
            p50,
            p99: times[times.len() * 99 / 100],
        }
    }

    /// How we compare: round by round, so that what a noisy minute did to both is not a difference.
    fn against(&self, other: &Self, ours: &[Round], theirs: &[Round]) -> String {
        let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a.per_second / b.per_second).collect();
        let ratio = median(&mut ratios);
        let p99 = self.p99.as_secs_f64() / other.p99.as_secs_f64();
        format!("   strowger: {ratio:.2} x as many, p99 {p99:.2} x")
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>7.0}/s ({:.0} to {:.0}), p50 {:.2} ms, p99 {:.2} ms",
            self.per_second,
            self.slowest,
            self.fastest,
            ms(self.p50),
            ms(self.p99)
        )
    }
}

/// django-tenants on the same cluster, in a database of its own, with the same rows.
async fn django(embedded: &Embedded, tenants: usize) -> Serving {
    assert!(crate::support::django(embedded, &["make", &tenants.to_string()]).status().unwrap().success());
    let db = crate::support::superuser(embedded, "shared", "bench_django").await;
    for n in 1..=tenants {
        db.batch_execute(&format!("set search_path = t{n}")).await.unwrap();
        seed::fill(&db, None).await;
    }
    Serving::start(&mut crate::support::django(embedded, &["serve"]))
}
