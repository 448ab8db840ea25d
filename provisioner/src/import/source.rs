//! The other platform's database, in one snapshot that nothing can be written through.

use std::pin::Pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use strowger::pg;
use tokio_postgres::{Client, IsolationLevel, Row, RowStream, Transaction};

use crate::admin_db::{self, ident};
use crate::bootstrap::Superuser;
use crate::error::{Error, Result};

/// Every session there: nothing is written, texts come out the same whatever the server's defaults are, nothing is found but what
/// is named with its schema, and no timeout of the platform's ends a long import.
const OPTIONS: &str = "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO -c search_path=pg_catalog \
                       -c extra_float_digits=1 -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 \
                       -c client_encoding=UTF8";

/// A session on it.
pub(super) struct Source {
    client: Client,
}

impl Source {
    /// Opens one by a libpq URL.
    pub(super) async fn open(url: &str) -> Result<Self> {
        let at = Superuser::from_url_of("the source's URL", url)?;
        let config: std::result::Result<tokio_postgres::Config, _> =
            url.replace("sslmode=verify-full", "sslmode=require").parse();
        let database = config.ok().and_then(|config| config.get_dbname().map(str::to_owned));
        let database = database.ok_or_else(|| Error::Conflict("the source's URL names no database".into()))?;
        Self::open_as(&at, &database).await
    }

    pub(super) async fn open_as(at: &Superuser, database: &str) -> Result<Self> {
        let mut config = admin_db::login(&at.address, &at.user, &at.password, database);
        config.application_name("strowger import source").options(OPTIONS).keepalives_idle(Duration::from_secs(60));
        let client = admin_db::connect(config, &at.address, "the source").await?;
        Ok(Self { client })
    }

    /// Everything is read as of now.
    pub(super) async fn snapshot(&mut self) -> Result<Snapshot<'_>> {
        let begun = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let snapshot = Snapshot(begun.start().await.map_err(failed)?);
        // Bytes of no known encoding could not be written anywhere.
        let encoding: String =
            snapshot.rows("show server_encoding").await?.first().map_or_else(String::new, |r| r.get(0));
        if encoding == "SQL_ASCII" {
            let text = "the source's encoding is SQL_ASCII, which says nothing: dump it with pg_dump --encoding=UTF8 and use --dump";
            return Err(Error::Conflict(text.into()));
        }
        Ok(snapshot)
    }
}

/// The source as it was when the snapshot was taken.
pub(super) struct Snapshot<'s>(Transaction<'s>);

/// Rows as they come; only a few are held.
pub(super) type Rows = Pin<Box<RowStream>>;

impl Snapshot<'_> {
    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        self.0.query(sql, &[]).await.map_err(failed)
    }

    pub(super) async fn stream(&self, sql: &str) -> Result<Rows> {
        let none: [&str; 0] = [];
        self.0.query_raw(sql, none).await.map(Box::pin).map_err(failed)
    }

    /// The schemas and names of tables that are like one of these, and their columns.
    pub(super) async fn table(&self, name: &str) -> Result<Option<Table>> {
        let (schema, name) = name.split_once('.').unwrap_or(("public", name));
        let sql = "select c.relkind::text, a.attname::text, format_type(t.oid, null)
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                   join pg_type b on b.oid = a.atttypid
                   join pg_type t on t.oid = case b.typtype when 'd' then b.typbasetype else b.oid end
                   where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'm', 'v', 'f') order by a.attnum";
        let rows = self.0.query(sql, &[&schema, &name]).await.map_err(failed)?;
        let Some(first) = rows.first() else { return Ok(None) };
        // A row is known by its place, which only a table has.
        if matches!(first.get(0), "v" | "f") {
            let text =
                format!("{schema}.{name} is a view or a foreign table: make a materialized view of it, or a dump");
            return Err(Error::Conflict(text));
        }
        let columns = rows.iter().map(|row| Column { name: row.get(1), kind: row.get(2) }).collect();
        Ok(Some(Table { name: format!("{schema}.{name}"), sql: format!("{}.{}", ident(schema), ident(name)), columns }))
    }

    /// Tables that are not among these.
    pub(super) async fn others(&self, known: &[String]) -> Result<Vec<String>> {
        let sql = "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where c.relkind in ('r', 'p', 'm', 'v', 'f') and n.nspname <> 'information_schema'
                     and not starts_with(n.nspname, 'pg_') and not c.relispartition and n.nspname || '.' || c.relname <> all($1)
                   order by 1";
        let rows = self.0.query(sql, &[&known]).await.map_err(failed)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// The next row.
pub(super) async fn next(rows: &mut Rows) -> Result<Option<Row>> {
    rows.try_next().await.map_err(failed)
}

/// A table of the source.
pub(super) struct Table {
    /// With its schema.
    pub(super) name: String,
    /// The same, quoted.
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
}

/// One of its columns.
pub(super) struct Column {
    pub(super) name: String,
    /// As Postgres calls the type, without its modifiers.
    pub(super) kind: String,
}

/// Not Postgres's message: it can quote a row.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: tokio_postgres::Error) -> Error {
    let text = format!("read the source: {}", pg::describe(&error));
    if error.code().is_some() { Error::Conflict(text) } else { Error::Unavailable(text) }
}
