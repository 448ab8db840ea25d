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

    /// Whether a statement that was refused is to be sent again: it was not carried out, and what it is sent to next is somewhere else.
    async fn goes_on(&self, is_refused: bool) -> bool {
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

impl TenantDb<Write> {
    /// For several statements that become true together.
    pub async fn begin(&mut self) -> Result<TenantTx<'_>, TenantError> {
        Ok(TenantTx(self.connection.client.transaction().await?))
    }
}

/// A transaction. Dropping it undoes it.
pub struct TenantTx<'c>(deadpool_postgres::Transaction<'c>);

impl TenantTx<'_> {
    /// Makes it true.
    pub async fn commit(self) -> Result<(), TenantError> {
        Ok(self.0.commit().await?)
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

/// Whether Postgres took a right away that the connection was opened with.
fn is_refused<T>(done: &Result<T, tokio_postgres::Error>) -> bool {
    matches!(done, Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl<I: Intent> TenantConn<'_, I> {
    pub(in crate::tenant) async fn query(self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, TenantError> {
        let mut done = self.once(sql, params).await;
        if self.db.goes_on(is_refused(&done)).await {
            done = self.once(sql, params).await;
        }
        self.checked(done)
    }

    pub(in crate::tenant) async fn query_opt(
        self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Option<Row>, TenantError> {
        let mut done = self.once_opt(sql, params).await;
        if self.db.goes_on(is_refused(&done)).await {
            done = self.once_opt(sql, params).await;
        }
        self.checked(done)
    }

    pub(in crate::tenant) async fn query_one(self, sql: &'static str, params: Params<'_>) -> Result<Row, TenantError> {
        let mut done = self.once_one(sql, params).await;
        if self.db.goes_on(is_refused(&done)).await {
            done = self.once_one(sql, params).await;
        }
        self.checked(done)
    }

    async fn once(self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.query(&client.prepare_cached(sql).await?, params).await
    }

    async fn once_opt(self, sql: &str, params: Params<'_>) -> Result<Option<Row>, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.query_opt(&client.prepare_cached(sql).await?, params).await
    }

    async fn once_one(self, sql: &str, params: Params<'_>) -> Result<Row, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.query_one(&client.prepare_cached(sql).await?, params).await
    }

    /// A connection whose tables vanished under it is not used again: the next one must prove itself anew.
    fn checked<T>(self, result: Result<T, tokio_postgres::Error>) -> Result<T, TenantError> {
        result.map_err(|error| {
            let error = TenantError::from(error);
            if !matches!(error, TenantError::Unstorable(_)) {
                self.db.current().suspect.store(true, Ordering::Relaxed);
            }
            error
        })
    }
}

impl TenantConn<'_, Write> {
    pub(in crate::tenant) async fn execute(self, sql: &'static str, params: Params<'_>) -> Result<u64, TenantError> {
        let mut done = self.once_executed(sql, params).await;
        if self.db.goes_on(is_refused(&done)).await {
            done = self.once_executed(sql, params).await;
        }
        self.checked(done)
    }

    async fn once_executed(self, sql: &str, params: Params<'_>) -> Result<u64, tokio_postgres::Error> {
        let client = &self.db.current().client;
        client.execute(&client.prepare_cached(sql).await?, params).await
    }
}
