//! The control database: all its SQL, one file a table family.
//!
//! Reads take [`Control`]. Writes take a [`Change`], a transaction that knows who acts and refuses to commit unless an
//! audit row was written in it, so a change without its audit row cannot be made by forgetting. The server holds a login
//! that may read most of this and change almost none of it: Postgres decides, whatever code is linked.

pub mod accounts;
pub mod archives;
pub mod audit;
pub mod backups;
pub mod chains;
pub mod changes;
pub mod clusters;
pub mod erasures;
pub mod figures;
pub mod installation;
pub mod jobs;
pub mod keys;
pub mod locks;
pub mod migrations;
pub mod models;
pub mod moves;
pub mod numbers;
pub mod placements;
pub mod playbooks;
pub mod profiles;
pub mod sealed;
pub mod replicators;
pub mod restores;
pub mod schedules;
pub mod secrets;
pub mod subaccounts;
pub mod tenants;
pub mod tokens;
pub mod turns;
pub mod usage;
pub mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool, Postgres, Transaction};

pub use audit::{Actor, Change};

/// Why the control database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No answer: not reachable, restarting, or too slow. What is cached may be served for the stale window.
    #[error("the control database does not answer: {0}")]
    Unreachable(sqlx::Error),
    /// It answered, with an error.
    #[error("the control database refused: {0}")]
    Refused(sqlx::Error),
    /// A row says something that this build does not understand.
    #[error("the control database holds a value this build does not understand: {0}")]
    Unknown(String),
    /// The change conflicts with what is there. The text is for the operator.
    #[error("{0}")]
    Conflict(String),
}

impl From<sqlx::Error> for ControlError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(db) => match db.code().as_deref() {
                // Shutting down, starting up, cut off, out of slots: gone for now.
                Some("57P01" | "57P02" | "57P03" | "53300") => Self::Unreachable(error),
                _ => Self::Refused(error),
            },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => Self::Unreachable(error),
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unreachable(error)
            }
            _ => Self::Refused(error),
        }
    }
}

impl From<crate::id::InvalidId> for ControlError {
    fn from(error: crate::id::InvalidId) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// A pool of connections to the control database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    pool: PgPool,
    /// For questions that a caller waits for: these connections are not asked whether they live before each use.
    lookups: PgPool,
    patience: Duration,
    /// Sessions of [`locks`] that hold none now.
    lock_sessions: Arc<Mutex<Vec<PgConnection>>>,
}

impl Control {
    /// Prepares a pool of at most `max` connections; connects when first used.
    pub fn lazy(url: &str, application_name: &str, max: u32) -> Result<Self, ControlError> {
        Self::waiting(url, application_name, max, Duration::from_secs(2))
    }

    /// The same for who has nobody waiting for an answer: a busy machine is not taken for a database that is away.
    pub fn patient(url: &str, application_name: &str, max: u32) -> Result<Self, ControlError> {
        Self::waiting(url, application_name, max, Duration::from_secs(10))
    }

    fn waiting(url: &str, application_name: &str, max: u32, patience: Duration) -> Result<Self, ControlError> {
        let options: PgConnectOptions = url.parse()?;
        let options = options.application_name(application_name).disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(max).acquire_timeout(patience).max_lifetime(None);
        let lookups = pool.clone().test_before_acquire(false).connect_lazy_with(options.clone());
        Ok(Self { pool: pool.connect_lazy_with(options), lookups, patience, lock_sessions: Arc::default() })
    }

    /// Answers when the control database does.
    pub async fn ping(&self) -> Result<(), ControlError> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Begins a change by `actor`.
    pub async fn change(&self, actor: &Actor) -> Result<Change, ControlError> {
        Ok(Change::new(self.pool.begin().await?, actor.clone()))
    }

    /// Closes all connections; used before a server stops.
    pub async fn close(&self) {
        self.lock_sessions().clear();
        self.lookups.close().await;
        self.pool.close().await;
    }

    fn lock_sessions(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.lock_sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Reads in one round trip where everything else takes two. A connection that broke since it was last used is found out by
    /// the question itself, which is asked again: so this is for reading only.
    async fn look_up<T, Answer>(&self, question: impl Fn(PgPool) -> Answer) -> Result<T, ControlError>
    where
        Answer: Future<Output = sqlx::Result<T>>,
    {
        let asked = tokio::time::timeout(self.patience, question(self.lookups.clone())).await;
        match asked.map(|answer| answer.map_err(ControlError::from)) {
            Ok(Err(ControlError::Unreachable(_))) | Err(_) => Ok(question(self.pool.clone()).await?),
            Ok(answer) => answer,
        }
    }
}

type Tx = Transaction<'static, Postgres>;
