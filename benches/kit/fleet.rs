//! What a fleet migration costs: `ops/bench/run p6 --tenants 2000 --present 10000 [--django]`.
//!
//! P6 of the performance notes, on private clusters of its own (fsync on, TCP on the loopback). Contenders take turns,
//! each in rounds over the same tenants: `strowgerctl migrate run` with two workers, and two psql sessions fed with the same
//! SQL. Ratios are of medians. With `--django`, django-tenants afterwards, on the same cluster with the same migrations.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use provisioner::Provisioner;
use provisioner::embedded::{Durability, Embedded};
use provisioner::fleet::{self, Options};
use provisioner::tenants;
use strowger::control::Actor;
use strowger::control::tenants::Tenant;
use strowger::schema;

use crate::support::{Folder, argument, connect, django_each, is_given, schema_tenant, url};

const ROUNDS: i32 = 3;
/// So many tenants are made at a time: ten thousand take a while.
const AT_ONCE: usize = 4;

pub(crate) async fn run() {
    let (many, present) = (argument("--tenants", 200), argument("--present", 0));
    let folder = Folder::new();
    let embedded = Embedded::start(&folder.0, Durability::Full, &|_| ()).await.unwrap();
    let with = Arc::new(embedded.provisioner(Actor::operator("bench"), &|_| ()).await.unwrap());
    let start = Instant::now();
    let created = futures_util::stream::iter(0..many.max(present)).map(|n| {
        let with = &with;
        async move { tenants::create(with, &schema_tenant(&format!("Tenant {n}"))).await.unwrap() }
    });
    let mut all: Vec<Tenant> = created.buffer_unordered(AT_ONCE).collect().await;
    println!("{} tenants made in {:?}", all.len(), start.elapsed());
    let others = all.split_off(many);
    let bench = Bench { with, fleet: all, superuser: url(&embedded, "shared", "sw_shared"), data: folder.0.clone() };
    bench.reconcile(bench.fleet.len() + others.len()).await;
    bench.leave_out(&others).await;
    bench.no_op().await;
    let column = bench.one_column().await;
    drop(bench);
    if is_given("--django") {
        by_django(&embedded, many, column);
    }
    embedded.stop().unwrap();
}

/// The same tables and the same column, by its own command with both of its executors.
fn by_django(embedded: &Embedded, many: usize, ours: Duration) {
    let many = many.to_string();
    django_each(embedded, &["make", &many]);
    for (what, each) in django_each(embedded, &["migrate", &many]) {
        let ratio = each.as_secs_f64() / ours.as_secs_f64();
        let compared =
            if what.contains("column") { format!("   strowger: {ratio:.0} x as fast") } else { String::new() };
        println!("{what}: {:.1} ms each{compared}", each.as_secs_f64() * 1e3);
    }
}

struct Bench {
    with: Arc<Provisioner>,
    fleet: Vec<Tenant>,
    superuser: String,
    data: std::path::PathBuf,
}

impl Bench {
    /// Those that are only present are at a version that no run brings anybody to.
    async fn leave_out(&self, others: &[Tenant]) {
        let ids: Vec<i32> = others.iter().map(|tenant| tenant.id.get()).collect();
        let url = std::fs::read_to_string(self.data.join("strowgerctl.toml")).unwrap();
        let url = url.split('"').nth(1).unwrap().to_owned();
        let control = connect(&url).await;
        control
            .execute("update placements set schema_version = 1000000 where tenant_id = any($1)", &[&ids])
            .await
            .unwrap();
    }

    async fn reconcile(&self, tenants: usize) {
        let mut times = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            assert!(fleet::reconcile(&self.with, None).await.unwrap().is_empty());
            times.push(start.elapsed());
        }
        report("reconcile", &mut times, tenants);
    }

    async fn no_op(&self) {
        let mut times = Vec::new();
        for _ in 0..11 {
            let start = Instant::now();
            assert!(fleet::run(&self.with, Options::default(), Arc::new(|_| ())).await.unwrap().is_none());
            times.push(start.elapsed());
        }
        report("no-op run", &mut times, self.fleet.len());
    }

    /// What each tenant took us.
    async fn one_column(&self) -> Duration {
        let folder = self.data.join("migrations");
        std::fs::create_dir(&folder).unwrap();
        let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tenant-migrations");
        for file in std::fs::read_dir(embedded).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let sql = |column: &str| format!("alter table caller_profiles add column {column}_{round} text;");
            let version = schema::MAX + round;
            std::fs::write(folder.join(format!("V{version}__ours.sql")), sql("ours")).unwrap();
            let options = Options { migrations: Some(folder.clone()), ..Options::default() };
            let start = Instant::now();
            let status = fleet::run(&self.with, options, Arc::new(|_| ())).await.unwrap().unwrap();
            ours.push(start.elapsed());
            assert_eq!(usize::try_from(status.done).unwrap(), self.fleet.len());

            let start = Instant::now();
            let (first, second) = self.fleet.split_at(self.fleet.len() / 2);
            let sessions = [first, second].map(|part| self.psql(&script(part, &sql("theirs"), round)));
            for mut session in sessions {
                assert!(session.wait().unwrap().success());
            }
            theirs.push(start.elapsed());
            // Else the next round's runner would take them for a newer build's.
            let forget = |tenant: &Tenant| {
                format!("delete from {}.refinery_schema_history where version > 9000;\n", tenant.schema)
            };
            assert!(self.psql(&self.fleet.iter().map(forget).collect::<String>()).wait().unwrap().success());
        }
        let ours = report("one column, two workers", &mut ours, self.fleet.len());
        let theirs = report("two psql sessions, the same SQL", &mut theirs, self.fleet.len());
        println!("    ratio {:.2} (target 2.5)", ours.as_secs_f64() / theirs.as_secs_f64());
        ours / u32::try_from(self.fleet.len()).unwrap()
    }

    /// psql reads its script from a file, as an operator's loop would.
    fn psql(&self, script: &str) -> std::process::Child {
        let mut file = tempfile(&self.data);
        file.0.write_all(script.as_bytes()).unwrap();
        let mut command = Command::new("psql");
        command.args([&self.superuser, "-qX", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file.1);
        command.stdin(Stdio::null()).spawn().unwrap()
    }
}

fn tempfile(data: &Path) -> (std::fs::File, std::path::PathBuf) {
    let path = data.join(format!("{}.sql", uuid::Uuid::new_v4()));
    (std::fs::File::create(&path).unwrap(), path)
}

/// One transaction a tenant: the column, and the row that says so (far from refinery's own).
fn script(tenants: &[Tenant], sql: &str, round: i32) -> String {
    let one = |tenant: &Tenant| {
        format!(
            "begin;\nset local role sw_t{0}_owner;\nset local search_path = {1};\n{sql}\n\
             insert into refinery_schema_history values ({2}, 'theirs', '', '');\ncommit;\n",
            tenant.id,
            tenant.schema,
            9000 + round
        )
    };
    tenants.iter().map(one).collect()
}

fn report(what: &str, times: &mut [Duration], tenants: usize) -> Duration {
    times.sort_unstable();
    let middle = times[times.len() / 2];
    let each = middle.as_secs_f64() * 1000.0 / f64::from(u32::try_from(tenants).unwrap());
    println!(
        "{what}: median {middle:?} for {tenants} tenants, {each:.3} ms each ({:?} to {:?})",
        times[0],
        times[times.len() - 1]
    );
    middle
}
