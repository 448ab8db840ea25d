//! An open connection to one tenant, as the rest of the program sees it: no SQL, no raw client.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use deadpool::managed::Object;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::connect::{Connection, Manager};
use crate::directory::Route;
use crate::id::{Region, TenantId};
use crate::pg;

/// What a connection was opened for.
pub trait Intent: sealed::Sealed + Send + Sync + 'static {
    /// Whether a tenant that is read-only refuses it.
    const WRITES: bool;
}
/// Only reading: goes on while a tenant is read-only or on the move.
#[derive(Debug, Clone, Copy)]
pub enum Read {}
/// Reading and writing.
#[derive(Debug, Clone, Copy)]
pub enum Write {}
impl Intent for Read {
    const WRITES: bool = false;
}
impl Intent for Write {
    const WRITES: bool = true;
}
mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
}

/// Why a query had no answer. Never holds a caller's words.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// A text holds what Postgres cannot store, such as U+0000, or a value is out of range.
    #[error("a value cannot be stored ({0})")]
    Unstorable(String),
    /// The schema or a right on it is gone.
    #[error("the tenant's own database refused ({0})")]
    Refused(String),
    /// The connection broke, or the server is going away.
    #[error("the connection was lost ({0})")]
    Lost(String),
    /// It took longer than the role may.
    #[error("the query took too long")]
    TooSlow,
    /// A defect: ours, or the database's.
    #[error("unexpected error ({0})")]
    Unexpected(String),
}

impl From<tokio_postgres::Error> for TenantError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = pg::describe(&error);
        let Some(code) = error.code() else {
            return if error.is_closed()
                || std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
            {
                Self::Lost(text)
            } else {
                Self::Unexpected(text)
            };
        };
        match code {
            &SqlState::UNDEFINED_TABLE
            | &SqlState::UNDEFINED_COLUMN
            | &SqlState::UNDEFINED_FUNCTION
            | &SqlState::INSUFFICIENT_PRIVILEGE
            | &SqlState::INVALID_SCHEMA_NAME => Self::Refused(text),
            &SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE => Self::TooSlow,
            code if code.code().starts_with("22") || code.code() == "54000" => Self::Unstorable(text),
            code if code.code().starts_with("57") || code.code().starts_with("08") => Self::Lost(text),
            _ => Self::Unexpected(text),
        }
    }
}

/// Where a tenant is written to once the place that a connection was opened for refuses, because the tenant has just moved.
pub(super) trait Onward: Send + Sync {
    /// A connection there; `None` if it has not moved.
    fn onward<'a>(&'a self, seen: &'a Arc<Route>)
    -> Pin<Box<dyn Future<Output = Option<Object<Manager>>> + Send + 'a>>;
}

/// A connection to one tenant's database. Dropping it gives it back to the tenant's pool.
///
/// If the tenant moves while this is open to write, the first write that Postgres refuses goes to where it lives now, and everything after it.
pub struct TenantDb<I> {
    connection: Object<Manager>,
    onward: Arc<dyn Onward>,
    moved: OnceLock<Object<Manager>>,
    route: Arc<Route>,
    intent: PhantomData<fn() -> I>,
}

impl<I: Intent> TenantDb<I> {
    pub(super) fn new(connection: Object<Manager>, route: Arc<Route>, onward: Arc<dyn Onward>) -> Self {
        Self { connection, onward, moved: OnceLock::new(), route, intent: PhantomData }
    }

    fn current(&self) -> &Connection {
        self.moved.get().unwrap_or(&self.connection)
    }

    /// Whether a statement is to be sent again: Postgres refused it, so it was not carried out, and what it is sent to next is somewhere else.
    async fn goes_on<T>(&self, done: &Result<T, tokio_postgres::Error>) -> bool {
        let is_refused = matches!(done, Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        if !is_refused || !I::WRITES || self.moved.get().is_some() {
            return false;
        }
        let Some(connection) = self.onward.onward(&self.route).await else { return false };
        self.connection.suspect.store(true, Ordering::Relaxed);
        // Another statement of the same request may have come first: then there is one already.
        let _ = self.moved.set(connection);
        true
    }

    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.route.placement.tenant
    }

    /// Whether its data is being carried to another cluster: what would be written now is not.
    pub fn is_held(&self) -> bool {
        self.route.placement.held
    }

    /// How this tenant's callers write local numbers.
    pub fn region(&self) -> Region {
        self.route.placement.region
    }

    /// For single statements, each a transaction of its own.
    pub fn conn(&self) -> TenantConn<'_, I> {
        TenantConn { db: self }
    }
}

/// What the domain functions of [`crate::tenant`] take.
pub struct TenantConn<'c, I> {
    db: &'c TenantDb<I>,
}

impl<I> Clone for TenantConn<'_, I> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<I> Copy for TenantConn<'_, I> {}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl<I: Intent> TenantConn<'_, I> {
    pub(in crate::tenant) async fn query(self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, TenantError> {
        let mut done = self.query_once(sql, params).await;
        if self.db.goes_on(&done).await {
            done = self.query_once(sql, params).await;
        }
        self.checked(done)
    }

    pub(in crate::tenant) async fn query_opt(
        self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, TenantError> {
        let mut rows = self.query(sql, params).await?.into_iter();
        match (rows.next(), rows.next()) {
            (row, None) => Ok(row),
            _ => Err(TenantError::Unexpected("more rows than one came".into())),
        }
    }

    pub(in crate::tenant) async fn query_one(self, sql: &'static str, params: Params<'_>) -> Result<Row, TenantError> {
        let row = self.query_opt(sql, params).await?;
        row.ok_or_else(|| TenantError::Unexpected("no row came".into()))
    }

    async fn query_once(self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.query(&client.prepare_cached(sql).await?, params).await
    }

    /// A connection whose tables vanished under it is not used again: the next one must prove itself anew.
    fn checked<T>(self, result: Result<T, tokio_postgres::Error>) -> Result<T, TenantError> {
        result.map_err(TenantError::from).inspect_err(|error| {
            if !matches!(error, TenantError::Unstorable(_)) {
                self.db.current().suspect.store(true, Ordering::Relaxed);
            }
        })
    }
}

impl TenantConn<'_, Write> {
    pub(in crate::tenant) async fn execute(self, sql: &'static str, params: Params<'_>) -> Result<u64, TenantError> {
        let mut done = self.execute_once(sql, params).await;
        if self.db.goes_on(&done).await {
            done = self.execute_once(sql, params).await;
        }
        self.checked(done)
    }

    async fn execute_once(self, sql: &str, params: Params<'_>) -> Result<u64, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.execute(&client.prepare_cached(sql).await?, params).await
    }
}
