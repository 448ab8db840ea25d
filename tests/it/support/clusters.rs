//! The clusters of a world: those that all tests of a run share (`./test` starts them and says where they are), or its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use provisioner::bootstrap::Superuser;
use provisioner::embedded::{Durability, Embedded};
use serde_json::Value;

use super::{connect, postmaster};

/// Where a world's installation is.
pub(crate) enum Clusters {
    Shared,
    Private(Private),
}

impl Clusters {
    /// A superuser of `control`, `shared` or `dedicated`.
    pub(super) fn superuser(&self, name: &str) -> Superuser {
        Superuser::from_url(&self.url(name)).unwrap()
    }

    /// The same as a libpq URL of the maintenance database.
    pub(super) fn url(&self, name: &str) -> String {
        match self {
            Self::Shared => shared_url(name),
            Self::Private(private) => private.url(name),
        }
    }
}

/// A superuser's libpq URL of one of the clusters that all tests share.
pub(super) fn shared_url(name: &str) -> String {
    let text =
        std::env::var("STROWGER_TEST_POSTGRES").expect("run the tests with ./test: it starts the Postgres they need");
    let all: Value = serde_json::from_str(&text).unwrap();
    all[name].as_str().unwrap().to_owned()
}

/// Clusters of one test alone, whose servers may die. What they acknowledge outlives that. Killed when dropped.
pub(crate) struct Private {
    dir: PathBuf,
    embedded: Embedded,
}

impl Private {
    pub(super) async fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("strowger-private-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let embedded = Embedded::start(&dir, Durability::None, &|_| ()).await.unwrap();
        let private = Self { dir, embedded };
        for name in ["control", "shared", "dedicated"] {
            private.set(name, "synchronous_commit = on").await;
        }
        private
    }

    fn url(&self, name: &str) -> String {
        let Superuser { address, user, password } = self.embedded.superuser(name).unwrap();
        format!("postgres://{user}:{}@127.0.0.1:{}/postgres", password.expose_str().unwrap(), address.port)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.join("postgres").join(name)
    }

    /// Changes a setting of a server, for every session from now on.
    pub(crate) async fn set(&self, name: &str, setting: &str) {
        let db = connect(&self.url(name)).await.unwrap();
        db.batch_execute(&format!("alter system set {setting}")).await.unwrap();
        db.batch_execute("select pg_reload_conf()").await.unwrap();
        let (key, value) = setting.split_once(" = ").unwrap();
        let now = format!("select setting = '{value}' from pg_settings where name = '{key}'");
        super::until(setting, async || {
            let db = connect(&self.url(name)).await.unwrap();
            db.query_one(&now, &[]).await.unwrap().get(0)
        })
        .await;
    }

    /// One of the servers dies as a machine does.
    pub(crate) fn kill(&self, name: &str) {
        postmaster::kill(&self.data(name));
    }

    /// It comes back where it was, with what it had acknowledged.
    pub(crate) async fn start_again(&self, name: &str) {
        postmaster::start(&self.data(name));
        super::until(&format!("{name} is back"), async || connect(&self.url(name)).await.is_ok()).await;
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        for name in ["control", "shared", "dedicated"] {
            self.kill(name);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
