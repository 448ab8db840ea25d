//! What a new tenant costs: `ops/bench/run p5 [--present N] [--rounds N] [--django]`.
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
//! - A database tenant: the same by `create database template` in one psql session.
//! - With `--django`, django-tenants, in a process that makes ten.
//!
//! `--present` tenants are there before, on the cluster and in the control database.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use provisioner::Provisioner;
use provisioner::embedded::{Durability, Embedded};
use provisioner::tenants::{self, NewTenant};
use strowger::control::Actor;
use strowger::control::clusters::Isolation;
use strowger::schema;

use crate::support::{Folder, argument, django_each, is_given, report, url};

const BATCH: usize = 10;

pub(crate) async fn run() {
    let (present, rounds) = (argument("--present", 200), argument("--rounds", 9));
    let folder = Folder::new();
    let embedded = Embedded::start(&folder.0, Durability::Full, &|_| ()).await.unwrap();
    let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
    register(&url(&embedded, "control", "sw_control"), present);
    let mut bench = Bench {
        with,
        shared: url(&embedded, "shared", "sw_shared"),
        dedicated: url(&embedded, "dedicated", "postgres"),
        made: 0,
    };
    let start = Instant::now();
    while bench.made < present {
        bench.by_psql();
    }
    println!("{present} tenants made beforehand by psql, {:.1} s", start.elapsed().as_secs_f64());
    bench.compare(rounds, &embedded).await;
    drop(bench);
    embedded.stop().unwrap();
}

struct Bench {
    with: Provisioner,
    shared: String,
    dedicated: String,
    made: usize,
}

impl Bench {
    async fn compare(&mut self, rounds: usize, embedded: &Embedded) {
        let (mut ours, mut theirs, mut django) = (Vec::new(), Vec::new(), Vec::new());
        let (mut our_databases, mut their_databases) = (Vec::new(), Vec::new());
        self.by_us(Isolation::Schema, "warm").await;
        self.by_us(Isolation::Database, "warm d").await;
        let with_django = is_given("--django");
        if with_django {
            django_each(embedded, &["make", "1"]);
        }
        for round in 0..rounds {
            theirs.push(self.by_psql());
            ours.push(self.by_us(Isolation::Schema, &format!("s{round}")).await);
            their_databases.push(self.database_by_psql());
            our_databases.push(self.by_us(Isolation::Database, &format!("d{round}")).await);
            if with_django {
                let made = django_each(embedded, &["make", &(1 + BATCH * (round + 1)).to_string()]);
                django.push(made[0].1);
            }
        }
        compare("schema tenant, one psql session, one transaction each", &mut theirs, &mut ours);
        compare("database tenant, create database template by psql", &mut their_databases, &mut our_databases);
        if with_django {
            compare("schema tenant, django-tenants", &mut django, &mut ours);
        }
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
        let sql: String = (0..BATCH).map(|n| Self::schema(self.made + n)).collect();
        self.made += BATCH;
        let start = Instant::now();
        psql(&self.shared, &sql);
        start.elapsed() / u32::try_from(BATCH).unwrap()
    }

    fn schema(n: usize) -> String {
        format!("begin;\n{}{}commit;\n", roles(n, ", sw_tenants"), tables(n))
    }

    /// A database of its own is a clone of the cluster's template, closed until nobody else may enter; its tables are one transaction.
    fn database_by_psql(&mut self) -> Duration {
        let one = |n: usize| {
            format!(
                "begin;\n{}commit;\ncreate database other_{n} template sw_template allow_connections false;
                 revoke all on database other_{n} from public; grant connect on database other_{n} to other_t{n}_rw;
                 alter database other_{n} with allow_connections true;\n\\c other_{n}\nbegin;\n{}commit;\n\\c postgres\n",
                roles(n, ""),
                tables(n)
            )
        };
        let sql: String = (0..BATCH).map(|n| one(self.made + n)).collect();
        self.made += BATCH;
        let start = Instant::now();
        psql(&self.dedicated, &sql);
        start.elapsed() / u32::try_from(BATCH).unwrap()
    }
}

/// Login roles are in the group of all tenants too, where tenants share a database.
fn roles(n: usize, groups: &str) -> String {
    let p = format!("other_t{n}");
    let mut sql = format!("create role {p}_owner nologin; create role {p}_rw nologin;\n");
    for login in ["a", "b"] {
        let role = format!("{p}_{login}");
        sql += &format!(
            "create role {role} login connection limit 20 in role {p}_rw{groups};
             alter role {role} set search_path = other_{n}; alter role {role} set statement_timeout = '15s';
             alter role {role} set lock_timeout = '5s'; alter role {role} set idle_in_transaction_session_timeout = '15s';\n"
        );
    }
    sql
}

fn tables(n: usize) -> String {
    let p = format!("other_t{n}");
    format!(
        "create schema other_{n} authorization {p}_owner; set local role {p}_owner; set local search_path = other_{n};
         grant usage on schema other_{n} to {p}_rw;
         alter default privileges in schema other_{n} grant select, insert, update, delete on tables to {p}_rw;
         {}
         insert into identity (tenant_id, epoch) values ({}, 1);
         revoke insert, update, delete on identity, numbers from {p}_rw;\n",
        schema::batch("2026-01-01T00:00:00Z"),
        n + 1
    )
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

fn compare(what: &str, theirs: &mut [Duration], ours: &mut [Duration]) {
    let theirs = report(what, theirs);
    let ours = report("    strowger", ours);
    println!("    ratio {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}
