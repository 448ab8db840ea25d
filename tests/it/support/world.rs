//! An installation of its own for each test.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use provisioner::bootstrap::{self, ClusterSpec, ControlUrls};
use provisioner::tenants::{self, NewTenant};
use provisioner::{Provisioner, credentials, numbers, settings};
use strowger::auth::Scope;
use strowger::control::Actor;
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::id::{Prefix, TenantId};
use strowger::vault::{MasterRing, Secret};
use tokio_postgres::Client;

use super::clusters::{Clusters, Private};
use super::counting_proxy::Tap;
use super::process::{self, Ran};
use super::{Account, Server, clusters};

/// An installation: control database, both tenant clusters, key rings and configuration files.
pub(crate) struct World {
    pub(crate) prefix: Prefix,
    pub(crate) with: Arc<Provisioner>,
    pub(crate) urls: ControlUrls,
    pub(crate) server_ring: MasterRing,
    /// Rings and configuration files.
    pub(crate) dir: PathBuf,
    clusters: Clusters,
}

/// Runs a situation in a new world and cleans up after it, also when it fails.
pub(crate) fn world<F: Future<Output = ()>>(situation: impl FnOnce(Arc<World>) -> F) {
    run(async { Clusters::Shared }, situation);
}

/// The same on clusters of its own, whose servers may die: [`World::servers`].
pub(crate) fn private_world<F: Future<Output = ()>>(situation: impl FnOnce(Arc<World>) -> F) {
    run(async { Clusters::Private(Private::start().await) }, situation);
}

fn run<F: Future<Output = ()>>(clusters: impl Future<Output = Clusters>, situation: impl FnOnce(Arc<World>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::new(clusters.await).await);
        let local = tokio::task::LocalSet::new();
        let running = situation(Arc::clone(&world));
        // The situation runs as a task of its own, so that its panic is caught and the world is taken down first.
        let outcome = local.run_until(catch(running)).await;
        world.take_down().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

async fn catch<F: Future<Output = ()>>(future: F) -> std::thread::Result<()> {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(())) => std::task::Poll::Ready(Ok(())),
            Err(panic) => std::task::Poll::Ready(Err(panic)),
        }
    })
    .await
}

impl World {
    async fn new(clusters: Clusters) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("w{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let prefix: Prefix = name.parse().unwrap();
        let dir = std::env::temp_dir().join(format!("strowger-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let (server, admin) = (MasterRing::generate("s1"), MasterRing::generate("a1"));
        std::fs::write(dir.join("server.ring"), server.as_bytes()).unwrap();
        std::fs::write(dir.join("admin.ring"), admin.as_bytes()).unwrap();
        let (server_ring, admin_ring) = (MasterRing::parse(&server).unwrap(), MasterRing::parse(&admin).unwrap());
        let actor = Actor::operator("test");
        let urls =
            bootstrap::init(&clusters.superuser("control"), &prefix, &server_ring, &admin_ring, &actor).await.unwrap();
        let with = Provisioner::open(&urls.provisioner, server_ring.clone(), admin_ring, actor).await.unwrap();
        for (name, holds) in [("shared", Isolation::Schema), ("dedicated", Isolation::Database)] {
            let spec = ClusterSpec { name, holds, region: "", connection_budget: 60 };
            bootstrap::add_cluster(&with, &clusters.superuser(name), &spec).await.unwrap();
        }
        let world = Self { prefix, with: Arc::new(with), urls, server_ring, dir, clusters };
        settings::write(&world.dir, &world.urls, &world.dir.join("server.ring"), &world.dir.join("admin.ring"))
            .unwrap();
        world
    }

    /// A real server process.
    pub(crate) fn server(&self) -> Server {
        self.server_with(&[])
    }

    /// A real server process with more flags.
    pub(crate) fn server_with(&self, extra: &[&str]) -> Server {
        Server::start(&self.dir.join("strowger.toml"), extra)
    }

    /// A real server process that reaches the control database under another address.
    pub(crate) fn server_at(&self, control_url: &str) -> Server {
        let settings = std::fs::read_to_string(self.dir.join("strowger.toml")).unwrap();
        let path = self.dir.join(format!("{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, settings.replace(&self.urls.server, control_url)).unwrap();
        Server::start(&path, &[])
    }

    /// A real `strowgerctl`, without anything on its standard input.
    pub(crate) fn ctl(&self, args: &[&str]) -> Ran {
        self.ctl_with(args, "")
    }

    /// A real `strowgerctl` with something on its standard input.
    pub(crate) fn ctl_with(&self, args: &[&str], stdin: &str) -> Ran {
        self.ctl_in(&[], args, stdin)
    }

    /// The same, with more in its environment.
    pub(crate) fn ctl_in(&self, environment: &[(&str, String)], args: &[&str], stdin: &str) -> Ran {
        let config = self.dir.join("strowgerctl.toml");
        let mut all = vec!["--config", config.to_str().unwrap(), "--output", "json"];
        all.extend(args);
        process::run_in(environment, &all, stdin)
    }

    /// A new active tenant.
    pub(crate) async fn tenant(&self, name: &str, isolation: Isolation) -> Tenant {
        let new =
            NewTenant { name, id: None, isolation, cluster: None, cluster_region: None, region: "US".parse().unwrap() };
        tenants::create(&self.with, &new).await.unwrap()
    }

    /// An account of a tenant, or of the platform.
    pub(crate) async fn account(&self, n: u32, owner: Option<TenantId>) -> Account {
        let account = Account::new(n);
        let token = Secret::new(account.token.clone().into_bytes());
        credentials::add_account(&self.with, &account.sid.parse().unwrap(), owner, &token).await.unwrap();
        account
    }

    /// Gives a number to a tenant.
    pub(crate) async fn assign(&self, number: &str, tenant: TenantId, account: &Account) {
        let account = account.sid.parse().unwrap();
        numbers::assign(&self.with, &number.parse().unwrap(), tenant, Some(&account), "").await.unwrap();
    }

    /// A service token.
    pub(crate) async fn token(&self, tenant: TenantId, scopes: &[Scope]) -> String {
        credentials::mint(&self.with, tenant, scopes, 3600).await.unwrap()
    }

    /// Changes how a tenant's receptionist is configured, as a new version.
    pub(crate) async fn configure(&self, tenant: TenantId, changed: &serde_json::Value) {
        let sql = "insert into configurations (version, content, created_by)
                   select version + 1, content || $1, 'test' from configurations order by version desc limit 1";
        self.as_tenant(tenant).await.execute(sql, &[changed]).await.unwrap();
    }

    /// A connection as a tenant's own login, outside of any router.
    pub(crate) async fn as_tenant(&self, tenant: TenantId) -> Client {
        connect(&tenants::connection(&self.with, tenant).await.unwrap()).await.unwrap()
    }

    /// A connection as superuser: `cluster` is control, shared or dedicated.
    pub(crate) async fn superuser(&self, cluster: &str, database: &str) -> Client {
        let url = self.clusters.url(cluster);
        let (server, _) = url.rsplit_once('/').unwrap();
        connect(&format!("{server}/{database}")).await.unwrap()
    }

    /// From now on every cluster is reached through a counting proxy.
    pub(crate) async fn tap_clusters(&self, tap: &Tap) {
        let control = self.superuser("control", &self.prefix.name("control")).await;
        for row in control.query("select name, port from clusters", &[]).await.unwrap() {
            let (name, port): (String, i32) = (row.get(0), row.get(1));
            let port = tap.before(([127, 0, 0, 1], u16::try_from(port).unwrap()).into()).await;
            let sql = "update clusters set port = $2 where name = $1";
            control.execute(sql, &[&name, &i32::from(port)]).await.unwrap();
        }
    }

    /// A superuser's URL of one of the clusters that all tests share, as `strowgerctl` wants it.
    pub(crate) fn superuser_url(cluster: &str) -> String {
        clusters::shared_url(cluster)
    }

    /// The same of one of this world's.
    pub(crate) fn own_superuser_url(&self, cluster: &str) -> String {
        self.clusters.url(cluster)
    }

    /// The servers of a private world.
    pub(crate) fn servers(&self) -> &Private {
        match &self.clusters {
            Clusters::Private(private) => private,
            Clusters::Shared => panic!("other tests need these servers"),
        }
    }

    async fn take_down(&self) {
        self.with.control().close().await;
        let _ = std::fs::remove_dir_all(&self.dir);
        if matches!(self.clusters, Clusters::Private(_)) {
            return;
        }
        for cluster in ["control", "shared", "dedicated"] {
            let db = self.superuser(cluster, "postgres").await;
            let ours = format!("{}\\_%", self.prefix);
            let databases =
                db.query("select datname::text from pg_database where datname like $1", &[&ours]).await.unwrap();
            for row in databases {
                let name: String = row.get(0);
                let _ = db.batch_execute(&format!("alter database {name} is_template false")).await;
                db.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
            }
            for _ in 0..3 {
                let roles =
                    db.query("select rolname::text from pg_roles where rolname like $1", &[&ours]).await.unwrap();
                for row in roles {
                    let role: String = row.get(0);
                    // It changes the rights on databases that other worlds prepare meanwhile, under the same lock.
                    let alone = "select pg_advisory_xact_lock(7305)";
                    let _ = db.batch_execute(&format!("{alone}; drop owned by {role}; drop role {role}")).await;
                }
            }
        }
    }
}

/// Connects by libpq URL.
pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
