//! What a new tenant costs: `cargo bench --bench provision -- [--present N] [--rounds N]`.
//!
//! P5 of the performance notes, on a private Postgres of its own (fsync on, TCP on the loopback). Both take turns; medians of rounds
//! of ten tenants, and their ratio.
//!
//! - `psql`: one process and one session for ten tenants, each one transaction: roles, settings, memberships, the migrations,
//!   grants. One commit on one server; nothing is written down, looked for first, or sealed.
//! - `tenants::create`: one call a tenant, in one process. The same on the cluster in one message, after looking for what is there; and in
//!   the control database, on another server, the reservation (id, placement, sealed password, data key, job, three audit rows)
//!   before it and the activation after it, each one more commit that waits for the disk, one after the other.
//!
//! `--present` tenants are there before, on the cluster and in the control database.
#![expect(clippy::unwrap_used, reason = "a bench that fails panics")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use provisioner::Provisioner;
use provisioner::embedded::{Durability, Embedded};
use provisioner::tenants::{self, NewTenant};
use strowger::control::Actor;
use strowger::control::clusters::Isolation;
use strowger::schema;

const BATCH: usize = 10;

fn main() {
    let given = |name: &str, default: usize| {
        let mut args = std::env::args().skip_while(|arg| arg != name);
        args.nth(1).map_or(default, |text| text.parse().unwrap())
    };
    let (present, rounds) = (given("--present", 200), given("--rounds", 9));
    let data = std::env::temp_dir().join(format!("strowger-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let embedded = Embedded::start(&data, Durability::Full, &|_| ()).await.unwrap();
        let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
        let superuser = embedded.superuser("shared").unwrap();
        let password = superuser.password.expose_str().unwrap();
        let url = format!(
            "postgres://{}:{password}@{}:{}/sw_shared",
            superuser.user, superuser.address.host, superuser.address.port
        );
        let control = embedded.superuser("control").unwrap();
        register(
            &url.replace(
                &format!(":{}/sw_shared", superuser.address.port),
                &format!(":{}/sw_control", control.address.port),
            ),
            present,
        );
        let mut bench = Bench { with, url, made: 0 };
        let start = Instant::now();
        while bench.made < present {
            bench.by_psql();
        }
        report(&format!("{present} tenants made beforehand by psql, {:.1} s", start.elapsed().as_secs_f64()));
        bench.compare(rounds).await;
        embedded.stop().unwrap();
    });
    std::fs::remove_dir_all(&data).unwrap();
}

struct Bench {
    with: Provisioner,
    url: String,
    made: usize,
}

impl Bench {
    async fn compare(&mut self, rounds: usize) {
        let (mut ours, mut theirs, mut database) = (Vec::new(), Vec::new(), Vec::new());
        self.by_us(Isolation::Schema, "warm").await;
        for round in 0..rounds {
            theirs.push(self.by_psql());
            ours.push(self.by_us(Isolation::Schema, &format!("s{round}")).await);
            database.push(self.by_us(Isolation::Database, &format!("d{round}")).await);
        }
        let [ours, theirs, database] = [ours, theirs, database].map(median);
        report(&format!("schema tenant, psql, one transaction     {theirs:>10.1?}"));
        report(&format!(
            "schema tenant, tenants::create           {ours:>10.1?}   {:.2} x",
            ours.as_secs_f64() / theirs.as_secs_f64()
        ));
        report(&format!("database tenant, tenants::create         {database:>10.1?}"));
    }

    async fn by_us(&mut self, isolation: Isolation, round: &str) -> Duration {
        let start = Instant::now();
        for n in 0..BATCH {
            let name = format!("{round} {n}");
            let new = NewTenant {
                name: &name,
                id: None,
                isolation,
                cluster: None,
                cluster_region: None,
                region: "US".parse().unwrap(),
            };
            tenants::create(&self.with, &new).await.unwrap();
        }
        start.elapsed() / u32::try_from(BATCH).unwrap()
    }

    /// The same on the cluster, under names that are nobody's.
    fn by_psql(&mut self) -> Duration {
        let sql: String = (0..BATCH).map(|n| Self::sql(self.made + n)).collect();
        self.made += BATCH;
        let start = Instant::now();
        psql(&self.url, &sql);
        start.elapsed() / u32::try_from(BATCH).unwrap()
    }

    fn sql(n: usize) -> String {
        let p = format!("other_t{n}");
        let mut sql = format!("begin; create role {p}_owner nologin; create role {p}_rw nologin;\n");
        for login in ["a", "b"] {
            let role = format!("{p}_{login}");
            sql += &format!(
                "create role {role} login connection limit 20 in role {p}_rw, sw_tenants;
                 alter role {role} set search_path = other_{n}; alter role {role} set statement_timeout = '15s';
                 alter role {role} set lock_timeout = '5s'; alter role {role} set idle_in_transaction_session_timeout = '15s';\n"
            );
        }
        sql += &format!(
            "create schema other_{n} authorization {p}_owner; set local role {p}_owner; set local search_path = other_{n};
             {}
             insert into identity (tenant_id, epoch) values ({}, 1);
             grant usage on schema other_{n} to {p}_rw;
             grant select, insert, update, delete on all tables in schema other_{n} to {p}_rw;
             alter default privileges in schema other_{n} grant select, insert, update, delete on tables to {p}_rw;
             revoke insert, update, delete on identity, numbers from {p}_rw;
             commit;\n",
            schema::batch("2026-01-01T00:00:00Z"),
            n + 1
        );
        sql
    }
}

/// What control says of tenants that psql makes: they count where a new one is placed.
fn register(control: &str, present: usize) {
    psql(
        control,
        &format!(
            "insert into tenants (id, name, region, state) select n, 'Other ' || n, 'US', 'active' from generate_series(1, {present}) n;
             insert into placements (tenant_id, cluster_id, isolation, database, schema, login, sealed_password, schema_version)
             select n, c.id, 'schema', 'sw_shared', 'other_' || n, 'other_t' || n || '_a', '', {}
             from generate_series(1, {present}) n, clusters c where c.name = 'shared';
             analyze tenants, placements;",
            schema::MAX
        ),
    );
}

fn psql(url: &str, sql: &str) {
    let mut psql = Command::new("psql")
        .args(["-q", "-X", "-v", "ON_ERROR_STOP=1", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn report(line: &str) {
    println!("{line}");
}
