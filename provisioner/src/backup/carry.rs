//! One tenant's tables straight from one place into another: a backup that is restored at once, with no file in between.

use std::io::Cursor;

use futures_util::{SinkExt as _, TryStreamExt as _};
use strowger::control::tenants::Tenant;
use strowger::schema::{self, HISTORY_TABLE};

use super::dump::{columns_of, shapes};
use super::format::Table;
use super::load::{Target, compare, lay_out, name, same_sequences, set_sequences};
use super::tally::Tally;
use crate::admin_db::ident;
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::steps::{self, Owner};

/// Written anew where the data arrives, with the epoch that it has there.
const IDENTITY: &str = "identity";
/// Up to so many bytes are read again while nothing is written, and compared.
const READ_AGAIN: u64 = 8 << 20;
/// Of up to so many the rows are counted. More would keep writers waiting; that all of it came is the stream's word then.
const COUNTED_AGAIN: u64 = 128 << 20;
/// Rows are sent on together: each message of its own would wake both ends.
const AT_ONCE: usize = 1 << 16;

/// Reads every table in `source`'s one snapshot, fills `into` with it, and compares what is there then: rows, bytes, checksums and
/// sequences; gives how many bytes that was. The caller commits. The schema version stays; the mirror of numbers comes along.
pub(crate) async fn carry(source: &Owner<'_>, from: &Tenant, into: &Owner<'_>, target: &Target<'_>) -> Result<u64> {
    let what = format!("tenant {}", from.id);
    source.enter(&from.schema).await?;
    let version = version_of(source, from).await?;
    let names = schema::tables(version);
    let mut tables = shapes(source, &names).await?;
    sizes(source, &mut tables).await?;
    let untied = lay_out(into, target, version, &tables, &what).await?;
    tables.retain(|table| table.name != IDENTITY);
    target.meter.count("copied", None);
    for table in &mut tables {
        stream(source, into, table, target.meter).await?;
    }
    untied.tie(into).await?;
    let bytes = tables.iter().map(|table| table.bytes).sum();
    target.meter.count("read back", Some(bytes));
    for table in &tables {
        compare(into, &what, table).await?;
        target.meter.add(table.bytes);
    }
    same_sequences(&tables, &shapes(into, &names).await?, &what)?;
    name(into, target).await?;
    into.run(&steps::rights(target.prefix, target.tenant, target.writes).1).await?;
    Ok(bytes)
}

/// About how many bytes each table has, as it was last vacuumed or analyzed, until they are counted. Functions that look are not for tenants.
async fn sizes(source: &Owner<'_>, tables: &mut [Table]) -> Result<()> {
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let sql = "select greatest(c.relpages, 0)::bigint * current_setting('block_size')::bigint
               from unnest($1::text[]) with ordinality t (name, place) join pg_class c on c.oid = t.name::regclass order by place";
    let sizes = source.query(sql, &[&names]).await?;
    for (table, row) in tables.iter_mut().zip(sizes) {
        table.bytes = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
    }
    Ok(())
}

/// Sets sequences, which a stream of writes does not bring along, and compares both ends, neither of which is written to: sequences, and
/// what can be read of so many bytes in a moment, everything or how many rows.
pub(crate) async fn catch_up(
    source: &Owner<'_>,
    from: &Tenant,
    into: &Owner<'_>,
    there: &Tenant,
    bytes: u64,
) -> Result<()> {
    let what = format!("tenant {}", from.id);
    source.enter(&from.schema).await?;
    into.enter(&there.schema).await?;
    let names = schema::tables(version_of(source, from).await?);
    let mut tables = shapes(source, &names).await?;
    tables.retain(|table| table.name != IDENTITY);
    for table in &mut tables {
        if bytes <= READ_AGAIN {
            let mut rows = std::pin::pin!(source.copy_out(&format!("copy {} to stdout", columns_of(table))).await?);
            let mut tally = Tally::default();
            while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {}", table.name)))? {
                tally.feed(&bytes);
            }
            (table.rows, table.bytes, table.checksum) = (tally.rows, tally.bytes, tally.checksum());
            compare(into, &what, table).await?;
            continue;
        }
        if bytes <= COUNTED_AGAIN {
            same_count(source, into, table, &what).await?;
        }
        set_sequences(into, table).await?;
    }
    same_sequences(&tables, &shapes(into, &names).await?, &what)
}

async fn same_count(source: &Owner<'_>, into: &Owner<'_>, table: &Table, what: &str) -> Result<()> {
    let count = format!("select count(*) from {}", ident(&table.name));
    // At once: nothing is written to the tenant meanwhile.
    let (read, found) = tokio::try_join!(source.query_one(&count, &[]), into.query_one(&count, &[]))?;
    let (read, found): (i64, i64) = (read.get(0), found.get(0));
    if read == found {
        return Ok(());
    }
    let why = format!("{what}: {} has {read} rows and {found} where it moves to: nothing was changed", table.name);
    Err(Error::Conflict(why))
}

/// What a schema's own history says; one that this build does not know is refused.
pub(crate) async fn version_of(source: &Owner<'_>, tenant: &Tenant) -> Result<i32> {
    let sql = format!("select coalesce(max(version), 0) from {HISTORY_TABLE}");
    let version: i32 = source.query_one(&sql, &[]).await?.get(0);
    if (1..=schema::MAX).contains(&version) {
        return Ok(version);
    }
    Err(Error::Conflict(format!(
        "tenant {} has schema version {version} and this build knows 1 to {}: use the strowgerctl that migrated it",
        tenant.id,
        schema::MAX
    )))
}

/// Sends a table on as it is read, and counts it. In memory are so many bytes and a row.
async fn stream(source: &Owner<'_>, into: &Owner<'_>, table: &mut Table, meter: &Meter) -> Result<()> {
    let columns = columns_of(table);
    let mut rows = std::pin::pin!(source.copy_out(&format!("copy {columns} to stdout")).await?);
    let mut sink = std::pin::pin!(into.copy_in(&format!("copy {columns} from stdin")).await?);
    let failed = || Error::postgres(format!("write {}", table.name));
    let (mut tally, mut text) = (Tally::default(), Vec::with_capacity(AT_ONCE));
    while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {}", table.name)))? {
        tally.feed(&bytes);
        meter.add(u64::try_from(bytes.len()).unwrap_or_default());
        text.extend_from_slice(&bytes);
        if text.len() >= AT_ONCE {
            sink.send(Cursor::new(std::mem::take(&mut text))).await.map_err(failed())?;
        }
    }
    sink.send(Cursor::new(text)).await.map_err(failed())?;
    sink.as_mut().finish().await.map_err(failed())?;
    (table.rows, table.bytes, table.checksum) = (tally.rows, tally.bytes, tally.checksum());
    Ok(())
}
