//! What benches share: an installation on private clusters of its own, and medians.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use provisioner::embedded::{Durability, Embedded};
use provisioner::tenants::NewTenant;
use strowger::control::clusters::Isolation;
use tokio_postgres::{Client, NoTls};

/// Where the shared cluster's socket is, in the data folder.
const SOCKET: &str = "postgres/shared";

/// Where a bench keeps its clusters; gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("strowger-bench-{}", std::process::id())))
    }

    /// The embedded clusters, fsync on. They listen on TCP only; the shared one on a socket in its own folder too.
    pub(crate) async fn start(&self) -> Embedded {
        Embedded::start(&self.0, Durability::Full, &|_| ()).await.unwrap().stop().unwrap();
        let mut conf = OpenOptions::new().append(true).open(self.0.join(SOCKET).join("postgresql.conf")).unwrap();
        writeln!(conf, "unix_socket_directories = '{}'", self.socket()).unwrap();
        Embedded::start(&self.0, Durability::Full, &|_| ()).await.unwrap()
    }

    pub(crate) fn socket(&self) -> String {
        self.0.join(SOCKET).display().to_string()
    }

    /// The control database says from now on that the shared cluster is reached by its socket.
    pub(crate) async fn use_socket(&self, embedded: &Embedded) {
        let control = superuser(embedded, "control", "sw_control").await;
        control.execute("update clusters set host = $1 where name = 'shared'", &[&self.socket()]).await.unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A schema tenant, placed where there is room.
pub(crate) fn schema_tenant(name: &str) -> NewTenant<'_> {
    NewTenant {
        name,
        id: None,
        isolation: Isolation::Schema,
        cluster: None,
        cluster_region: None,
        region: "US".parse().unwrap(),
    }
}

/// The value after an option's name, or what it is without one.
pub(crate) fn argument(name: &str, default: usize) -> usize {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.nth(1).map_or(default, |value| value.parse().unwrap())
}

/// Whether an option stands there.
pub(crate) fn is_given(name: &str) -> bool {
    std::env::args().any(|word| word == name)
}

/// A superuser's libpq URL.
pub(crate) fn url(embedded: &Embedded, cluster: &str, database: &str) -> String {
    let at = embedded.superuser(cluster).unwrap();
    let password = at.password.expose_str().unwrap();
    format!("postgres://{}:{password}@{}:{}/{database}", at.user, at.address.host, at.address.port)
}

/// django-tenants on the shared cluster, in a database of its own: `ops/bench/django/run`.
pub(crate) fn django(embedded: &Embedded, args: &[&str]) -> Command {
    let at = embedded.superuser("shared").unwrap();
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ops/bench/django/run"));
    command.args(args).env("PGHOST", &at.address.host).env("PGPORT", at.address.port.to_string());
    command.env("PGUSER", &at.user).env("PGPASSWORD", at.password.expose_str().unwrap());
    command
}

/// What django-tenants says that each tenant took, line by line.
pub(crate) fn django_each(embedded: &Embedded, args: &[&str]) -> Vec<(String, Duration)> {
    let said = django(embedded, args).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let line = |line: &str| {
        let (what, each) = line.split_once(": ")?;
        let ms: f64 = each.strip_suffix(" ms each")?.rsplit(' ').next()?.parse().ok()?;
        Some((what.to_owned(), Duration::from_secs_f64(ms / 1e3)))
    };
    String::from_utf8(said.stdout).unwrap().lines().filter_map(line).collect()
}

/// A superuser's session.
pub(crate) async fn superuser(embedded: &Embedded, cluster: &str, database: &str) -> Client {
    connect(&url(embedded, cluster, database)).await
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn median<T: PartialOrd + Copy>(all: &mut [T]) -> T {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all[all.len() / 2]
}

pub(crate) fn report(what: &str, times: &mut [Duration]) -> Duration {
    let middle = median(times);
    println!("{what}: median {middle:?} ({:?} to {:?})", times[0], times[times.len() - 1]);
    middle
}
