//! A backup into a schema that does not exist yet, and the proof that it is all there.
//!
//! All of it is one transaction, which is the caller's to commit: a restore that stops anywhere leaves nothing, and one that is only
//! meant as a proof is rolled back.

use std::io::Cursor;

use futures_util::{SinkExt as _, TryStreamExt as _};
use strowger::control::tenants::Tenant;
use strowger::id::Prefix;
use strowger::schema::{self, READ_ONLY_TABLES};

use super::chunks::Opened;
use super::dump::{columns_of, shapes};
use super::format::{Manifest, Table};
use super::tally::Tally;
use super::untied::{Untied, untie};
use crate::admin_db::{ident, literal};
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::steps::{self, Owner};

/// What the schema is made for.
pub(crate) struct Target<'a> {
    pub(crate) prefix: &'a Prefix,
    /// Whose roles get it, with the schema's name, which is free.
    pub(crate) tenant: &'a Tenant,
    /// What its identity row says.
    pub(crate) epoch: i32,
    /// Whether its logins may write.
    pub(crate) writes: bool,
    /// Where it is said how far that is.
    pub(crate) meter: &'a Meter,
}

/// Makes the schema with everything in it and compares it with the manifest; then migrates it to this build's version.
///
/// The identity row is made anew. The mirror of numbers stays empty: whose a number is was decided since, in control.
pub(crate) async fn load(owner: &Owner<'_>, mut from: Opened, target: &Target<'_>) -> Result<Manifest> {
    let (version, tenant) = (from.manifest.known_version()?, target.tenant);
    let what = format!("backup {}", from.manifest.backup);
    let untied = lay_out(owner, target, version, &from.manifest.tables, &what).await?;
    let bytes = from.manifest.tables.iter().map(|table| table.bytes).sum();
    target.meter.count("restored", Some(bytes));
    for table in from.manifest.tables.clone() {
        fill(owner, &mut from, &table, target.meter).await?;
    }
    let manifest = from.manifest.clone();
    from.end().await?;
    untied.tie(owner).await?;
    target.meter.count("read back", Some(bytes));
    for table in manifest.tables.iter().filter(|table| !READ_ONLY_TABLES.contains(&table.name.as_str())) {
        compare(owner, &what, table).await?;
        target.meter.add(table.bytes);
    }
    same_sequences(&manifest.tables, &shapes(owner, &schema::tables(version)).await?, &what)?;
    owner.run(&schema::between(version + 1..=schema::MAX, &steps::now())).await?;
    name(owner, target).await?;
    owner.run(&steps::rights(target.prefix, tenant, target.writes).1).await?;
    Ok(manifest)
}

/// Makes the schema of a version with empty tables, which must be shaped as expected; gives what is taken off them until they are full.
pub(super) async fn lay_out(
    owner: &Owner<'_>,
    target: &Target<'_>,
    version: i32,
    expected: &[Table],
    what: &str,
) -> Result<Untied> {
    let role = target.prefix.tenant(target.tenant.id, "owner");
    let schema = ident(&target.tenant.schema);
    owner.run(&format!("create schema {schema} authorization {}", ident(&role))).await?;
    owner.enter(&target.tenant.schema).await?;
    owner.run(&steps::rights(target.prefix, target.tenant, target.writes).0).await?;
    owner.run(&schema::batch_to(version, &steps::now())).await?;
    let names = schema::tables(version);
    same_shape(&shapes(owner, &names).await?, expected, version, what)?;
    let untied = untie(owner, expected).await?;
    // What the migrations themselves have put there.
    owner.run(&format!("truncate {}", names.join(", "))).await?;
    Ok(untied)
}

/// Has the schema say whose it is.
pub(super) async fn name(owner: &Owner<'_>, target: &Target<'_>) -> Result<()> {
    let sql = "insert into identity (tenant_id, epoch) values ($1, $2)";
    owner.execute(sql, &[&target.tenant.id.get(), &target.epoch]).await.map(drop)
}

fn same_shape(made: &[Table], expected: &[Table], version: i32, what: &str) -> Result<()> {
    let shape = |tables: &[Table]| -> Vec<(String, Vec<String>)> {
        tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect()
    };
    if shape(made) == shape(expected) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "{what} has other tables or columns than schema version {version} makes: `strowgerctl backup extract` reads a backup of it"
    )))
}

/// Sends a table's pieces on as they are opened; the last one is sent only if all of them are what the manifest says.
async fn fill(owner: &Owner<'_>, from: &mut Opened, table: &Table, meter: &Meter) -> Result<()> {
    let failed = || Error::postgres(format!("restore {}", table.name));
    let mut into = if READ_ONLY_TABLES.contains(&table.name.as_str()) {
        None
    } else {
        Some(Box::pin(owner.copy_in(&format!("copy {} from stdin", columns_of(table))).await?))
    };
    let mut tally = Tally::default();
    for number in 0..table.chunks {
        let text = from.piece(table, number).await?;
        tally.feed(&text);
        meter.add(u64::try_from(text.len()).unwrap_or_default());
        if let Some(into) = &mut into {
            into.send(Cursor::new(text)).await.map_err(failed())?;
        }
    }
    tally.expect(&format!("backup {}", from.manifest.backup), table, "in the store")?;
    if let Some(mut into) = into {
        into.as_mut().finish().await.map_err(failed())?;
    }
    Ok(())
}

/// Reads a filled table back, and sets its sequences.
pub(super) async fn compare(owner: &Owner<'_>, what: &str, table: &Table) -> Result<()> {
    let mut tally = Tally::default();
    let mut rows = std::pin::pin!(owner.copy_out(&format!("copy {} to stdout", columns_of(table))).await?);
    while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {} back", table.name)))? {
        tally.feed(&bytes);
    }
    tally.expect(what, table, "read back")?;
    set_sequences(owner, table).await
}

/// Has a table's sequences go on where they stand in `table`.
pub(super) async fn set_sequences(owner: &Owner<'_>, table: &Table) -> Result<()> {
    for sequence in &table.sequences {
        let sql = format!(
            "select setval(pg_get_serial_sequence({}, {}), {}, {})",
            literal(&ident(&table.name)),
            literal(&sequence.column),
            sequence.last_value,
            sequence.is_called
        );
        owner.run(&sql).await?;
    }
    Ok(())
}

/// Every sequence stands where it stood.
pub(super) fn same_sequences(read: &[Table], filled: &[Table], what: &str) -> Result<()> {
    for table in read {
        let there = filled.iter().find(|filled| filled.name == table.name).map(|filled| &filled.sequences);
        if there != Some(&table.sequences) {
            return Err(Error::Conflict(format!(
                "{what}: a sequence of {} stands elsewhere: nothing was changed",
                table.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::format::Sequence;
    use super::{Table, same_sequences};

    fn table(last_value: i64) -> Table {
        let sequence = Sequence { column: "id".into(), last_value, is_called: true };
        Table {
            name: "calls".into(),
            columns: Vec::new(),
            rows: 0,
            bytes: 0,
            checksum: String::new(),
            chunks: 0,
            sequences: vec![sequence],
        }
    }

    #[test]
    fn a_sequence_that_stands_elsewhere_or_is_missing_is_refused() {
        assert!(same_sequences(&[table(7)], &[table(7)], "x").is_ok());
        assert!(same_sequences(&[table(7)], &[table(6)], "x").is_err());
        assert!(same_sequences(&[table(7)], &[], "x").is_err());
    }
}
