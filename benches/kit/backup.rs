//! What one tenant's backup and restore cost: `ops/bench/run p9 [--present N] [--size 1MB|1GB] [--rounds N]`.
//!
//! P9 of the performance notes, on private clusters of its own (fsync on, TCP on the loopback). Contenders take turns in each round;
//! medians, the fastest and the slowest, and ratios. `--present` other schemas are in the database.
//!
//! - strowger: the whole command in this process: job, session, snapshot, zstd, sealing, fsync, read back, catalogue row.
//! - plain COPY: a new session, one snapshot, COPY of the known tables as the superuser, text, one file, fsync. Nothing else.
//! - `pg_dump`: `-Fc -n`; from 100 MB on `-Z0 -n | zstd -1`. No fsync is asked of the pipe.
//!
//! - strowger: roles, schema, data, comparison, grants, activation.
//! - plain COPY: the same migrations and the same text in one transaction. No roles, nothing compared.
//! - `pg_restore`, or psql behind `zstd -d`: into a database that was made empty for it before, with no neighbours.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use provisioner::embedded::{Durability, Embedded};
use provisioner::{Provisioner, backups, restore, tenants};
use strowger::control::Actor;
use strowger::control::tenants::Tenant;
use strowger::schema;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::{Folder, argument, connect, report, schema_tenant, url};

/// From so many bytes on pg_dump is asked for what it does best.
const LARGE: usize = 100_000_000;

pub(crate) async fn run() {
    let size = std::env::args().skip_while(|arg| arg != "--size").nth(1);
    let size = bytes(size.as_deref().unwrap_or("1MB"));
    let rounds = argument("--rounds", if size < LARGE { 9 } else { 3 });
    let folder = Folder::new();
    let embedded = Embedded::start(&folder.0, Durability::Full, &|_| ()).await.unwrap();
    let with = embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap();
    let server = url(&embedded, "shared", "");
    let tenant = tenants::create(&with, &schema_tenant("measured")).await.unwrap();
    let bench =
        Bench { with, server: server.trim_end_matches('/').to_owned(), tenant, files: folder.0.join("files"), size };
    std::fs::create_dir(&bench.files).unwrap();
    fill(&format!("{}/sw_shared", bench.server), &bench.tenant.schema, size);
    bench.create().await;
    let mut alone = Vec::new();
    for _ in 0..rounds {
        alone.push(bench.create().await.0);
    }
    let alone = report("strowger, no other schema", &mut alone);
    bench.neighbours(argument("--present", 2000));
    bench.compare(rounds, alone).await;
    drop(bench);
    embedded.stop().unwrap();
}

/// `1MB`, `1GB`.
pub(crate) fn bytes(text: &str) -> usize {
    let (number, unit) = text.split_at(text.len() - 2);
    let unit = match unit {
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => panic!("a size, as 1MB or 1GB"),
    };
    number.parse::<usize>().unwrap() * unit
}

struct Bench {
    with: Provisioner,
    server: String,
    tenant: Tenant,
    files: PathBuf,
    size: usize,
}

impl Bench {
    async fn compare(&self, rounds: usize, alone: Duration) {
        let mut backup: [Vec<Duration>; 3] = Default::default();
        let mut restored: [Vec<Duration>; 3] = Default::default();
        for round in 0..rounds {
            backup[0].push(self.copy_out().await);
            let (took, id) = self.create().await;
            backup[1].push(took);
            backup[2].push(self.pg_dump());
            restored[0].push(self.copy_in(round).await);
            restored[1].push(self.restore(id, round).await);
            restored[2].push(self.pg_restore(round));
        }
        let dump = if self.size < LARGE { "pg_dump -Fc -n" } else { "pg_dump -Z0 -n | zstd -1" };
        let [copy, ours, theirs] = &mut backup;
        let (copy, ours, theirs) = (report("plain COPY", copy), report("strowger, backup", ours), report(dump, theirs));
        println!("    {} plain COPY, {} {dump}, {} alone", ratio(ours, copy), ratio(ours, theirs), ratio(ours, alone));
        let [copy, ours, theirs] = &mut restored;
        let copy = report("migrations and plain COPY", copy);
        let (ours, theirs) = (report("strowger, restore as a new tenant", ours), report("its restore", theirs));
        println!("    {} migrations and plain COPY, {} its restore", ratio(ours, copy), ratio(ours, theirs));
    }

    /// A few to a transaction: each table of one holds a lock until its end.
    fn neighbours(&self, count: usize) {
        let start = Instant::now();
        let one = |n: usize| {
            let batch = schema::batch("2026-01-01T00:00:00Z");
            format!("begin; create schema other_{n}; set local search_path = other_{n}; {batch} commit;\n")
        };
        self.psql("sw_shared", &(0..count).map(one).collect::<String>());
        println!("{count} other schemas made in {:.0} s", start.elapsed().as_secs_f64());
    }

    async fn create(&self) -> (Duration, Uuid) {
        let to = self.files.join("store");
        let start = Instant::now();
        let backup = backups::create(&self.with, self.tenant.id, to.to_str()).await.unwrap();
        (start.elapsed(), backup.id)
    }

    async fn restore(&self, id: Uuid, round: usize) -> Duration {
        let name = format!("restored {round}");
        let start = Instant::now();
        restore::as_new_tenant(&self.with, id, &schema_tenant(&name)).await.unwrap();
        start.elapsed()
    }

    /// Column lists are looked up beforehand: a backup of a known schema version knows them.
    async fn tables(&self, db: &Client) -> Vec<String> {
        let sql = "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                   where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attgenerated = ''";
        let mut tables = Vec::new();
        for table in schema::tables(schema::MAX) {
            let row = db.query_one(sql, &[&format!("{}.{table}", self.tenant.schema)]).await.unwrap();
            tables.push(format!("{table} ({})", row.get::<_, String>(0)));
        }
        tables
    }

    async fn copy_out(&self) -> Duration {
        let tables = self.tables(&self.session().await).await;
        let start = Instant::now();
        let db = self.session().await;
        db.batch_execute("begin isolation level repeatable read read only").await.unwrap();
        for (place, table) in tables.iter().enumerate() {
            let mut rows =
                Box::pin(db.copy_out(&format!("copy {}.{table} to stdout", self.tenant.schema)).await.unwrap());
            let mut file = File::create(self.files.join(format!("{place}.copy"))).unwrap();
            while let Some(bytes) = rows.next().await {
                file.write_all(&bytes.unwrap()).unwrap();
            }
            file.sync_all().unwrap();
        }
        db.batch_execute("commit").await.unwrap();
        start.elapsed()
    }

    async fn copy_in(&self, round: usize) -> Duration {
        let tables = self.tables(&self.session().await).await;
        let start = Instant::now();
        let db = self.session().await;
        let batch = schema::batch("2026-01-01T00:00:00Z");
        let begin = format!("begin; create schema copied_{round}; set local search_path = copied_{round}; {batch}");
        db.batch_execute(&begin).await.unwrap();
        // What the migrations put there themselves comes from the copy.
        for (place, table) in tables.iter().enumerate() {
            let (name, _) = table.split_once(' ').unwrap();
            db.batch_execute(&format!("delete from {name}")).await.unwrap();
            let mut to =
                Box::pin(db.copy_in::<_, std::io::Cursor<Vec<u8>>>(&format!("copy {table} from stdin")).await.unwrap());
            let mut file = File::open(self.files.join(format!("{place}.copy"))).unwrap();
            while let Some(piece) = piece(&mut file) {
                to.send(piece).await.unwrap();
            }
            to.as_mut().finish().await.unwrap();
        }
        db.batch_execute("commit").await.unwrap();
        start.elapsed()
    }

    fn pg_dump(&self) -> Duration {
        let (url, file) = (format!("{}/sw_shared", self.server), self.files.join("dumped"));
        let schema = &self.tenant.schema;
        let dump = if self.size < LARGE {
            format!("pg_dump -Fc -n {schema} -f {} '{url}'", file.display())
        } else {
            format!("pg_dump -Z0 -n {schema} '{url}' | zstd -q -1 -f -o {}", file.display())
        };
        shell(&dump)
    }

    fn pg_restore(&self, round: usize) -> Duration {
        let (database, file) = (format!("emptied_{round}"), self.files.join("dumped"));
        self.psql("postgres", &format!("create database {database} template template0"));
        let url = format!("{}/{database}", self.server);
        let took = if self.size < LARGE {
            shell(&format!("pg_restore -d '{url}' {}", file.display()))
        } else {
            shell(&format!("zstd -q -d -c {} | psql -qX -v ON_ERROR_STOP=1 -o /dev/null '{url}'", file.display()))
        };
        self.psql("postgres", &format!("drop database {database}"));
        took
    }

    async fn session(&self) -> Client {
        connect(&format!("{}/sw_shared", self.server)).await
    }

    fn psql(&self, database: &str, sql: &str) {
        psql(&format!("{}/{database}", self.server), sql);
    }
}

/// Words that compress as text does, the same in every run: so many bytes of memories.
pub(crate) fn fill(url: &str, schema: &str, size: usize) {
    let rows = size / 330;
    let sql = format!(
        "insert into {schema}.memories (user_id, content, created_at)
             select '+1800555' || n % 1000, (select string_agg(md5((n % 5000 + i)::text), ' ') from generate_series(1, 8) i),
                    '2026-01-01'::timestamptz + n * interval '1 second' from generate_series(1, {rows}) n;
             analyze {schema}.memories;"
    );
    psql(url, &sql);
}

pub(crate) fn psql(url: &str, sql: &str) {
    let mut command = Command::new("psql");
    command.args(["-qX", "-v", "ON_ERROR_STOP=1", url]);
    let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
}

/// The next piece of a file; `None` at its end.
fn piece(file: &mut File) -> Option<std::io::Cursor<Vec<u8>>> {
    use std::io::Read as _;
    let mut piece = vec![0; 1 << 16];
    let read = file.read(&mut piece).unwrap();
    piece.truncate(read);
    (read > 0).then(|| std::io::Cursor::new(piece))
}

/// The time that a pipeline takes, of which no part may fail.
pub(crate) fn shell(pipeline: &str) -> Duration {
    let start = Instant::now();
    assert!(Command::new("bash").args(["-o", "pipefail", "-c", pipeline]).status().unwrap().success());
    start.elapsed()
}

fn ratio(ours: Duration, theirs: Duration) -> String {
    format!("{:.2} x", ours.as_secs_f64() / theirs.as_secs_f64())
}
