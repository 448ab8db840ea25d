//! A tenant's rows in and out, with its owner's rights.

use std::io::Cursor;

use strowger::control::tenants::Tenant;
use strowger::id::Prefix;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, CopyOutStream, Row};

use super::Owner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};

impl<'c> Owner<'c> {
    /// Takes the role on to read: every statement sees the moment of the first.
    pub(crate) async fn reading(db: &'c mut AdminDb, prefix: &Prefix, tenant: &Tenant) -> Result<Self> {
        let what = db.what();
        Self::within(db.begin_snapshot().await?, what, prefix, tenant).await
    }

    /// Runs one query.
    pub(crate) async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.tx.query(sql, params).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Runs one query that has one row.
    pub(crate) async fn query_one(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.tx.query_one(sql, params).await.map_err(Error::postgres(self.what.clone()))
    }

    /// What a `copy … to stdout` says.
    pub(crate) async fn copy_out(&self, sql: &str) -> Result<CopyOutStream> {
        self.tx.copy_out(sql).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Takes what a `copy … from stdin` reads.
    pub(crate) async fn copy_in(&self, sql: &str) -> Result<CopyInSink<Cursor<Vec<u8>>>> {
        self.tx.copy_in(sql).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Ends it as if it had never been: the role is laid down, and whatever was made is gone.
    pub(crate) async fn lay_down(self) -> Result<()> {
        self.tx.rollback().await.map_err(Error::postgres(self.what))
    }
}
