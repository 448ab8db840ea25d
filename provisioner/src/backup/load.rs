//! A backup into a schema that does not exist yet, and the proof that it is all there.
//!
//! All of it is one transaction, which is the caller's to commit: a restore that stops anywhere leaves nothing, and one that is only
//! meant as a proof is rolled back. Foreign keys are put on last, so that tables may refer to each other in circles.

use std::io::Cursor;

use futures_util::{SinkExt as _, TryStreamExt as _};
use strowger::control::tenants::Tenant;
use strowger::id::Prefix;
use strowger::schema::{self, READ_ONLY_TABLES};

use super::chunks::Opened;
use super::dump::{columns_of, shapes};
use super::format::{Manifest, Table};
use super::tally::Tally;
use crate::admin_db::{ident, literal};
use crate::error::{Error, Result};
use crate::steps::{self, Owner};

/// What the schema is made for.
pub(crate) struct Target<'a> {
    pub(crate) prefix: &'a Prefix,
    /// Whose roles get it, with the schema's name, which is free.
    pub(crate) tenant: &'a Tenant,
    /// What its identity row says.
    pub(crate) epoch: i32,
}

/// Makes the schema with everything in it and compares it with the manifest; then migrates it to this build's version.
///
/// The identity row is made anew. The mirror of numbers stays empty: whose a number is was decided since, in control.
pub(crate) async fn load(owner: &Owner<'_>, mut from: Opened, target: &Target<'_>) -> Result<Manifest> {
    let (version, tenant) = (from.manifest.schema_version, target.tenant);
    if !(1..=schema::MAX).contains(&version) {
        return Err(Error::Conflict(format!(
            "the backup has schema version {version} and this build knows up to {}: use the newer strowgerctl",
            schema::MAX
        )));
    }
    let role = target.prefix.tenant(tenant.id, "owner");
    owner.run(&format!("create schema {} authorization {}", ident(&tenant.schema), ident(&role))).await?;
    owner.enter(&tenant.schema).await?;
    owner.run(&schema::batch_to(version, &steps::now())).await?;
    let names = schema::tables(version);
    same_shape(&shapes(owner, &names).await?, &from.manifest)?;

    let keys = foreign_keys(owner, &names).await?;
    for key in &keys {
        owner.run(&format!("alter table {} drop constraint {}", key.table, key.name)).await?;
    }
    // What the migrations themselves have put there.
    owner.run(&format!("truncate {}", names.join(", "))).await?;
    for table in from.manifest.tables.clone() {
        fill(owner, &mut from, &table).await?;
    }
    let manifest = from.manifest.clone();
    from.end().await?;
    for key in &keys {
        owner.run(&format!("alter table {} add constraint {} {}", key.table, key.name, key.definition)).await?;
    }
    for table in &manifest.tables {
        compare(owner, &manifest, table).await?;
    }
    owner.run(&schema::between(version + 1..=schema::MAX, &steps::now())).await?;
    owner
        .execute("insert into identity (tenant_id, epoch) values ($1, $2)", &[&tenant.id.get(), &target.epoch])
        .await?;
    owner.run(&steps::grants(target.prefix, tenant, true)).await?;
    Ok(manifest)
}

fn same_shape(made: &[Table], manifest: &Manifest) -> Result<()> {
    let shape = |tables: &[Table]| -> Vec<(String, Vec<String>)> {
        tables.iter().map(|table| (table.name.clone(), table.columns.clone())).collect()
    };
    if shape(made) == shape(&manifest.tables) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "backup {} has other tables or columns than schema version {} makes: `strowgerctl backup extract` still reads it",
        manifest.backup, manifest.schema_version
    )))
}

struct ForeignKey {
    table: String,
    name: String,
    definition: String,
}

async fn foreign_keys(owner: &Owner<'_>, names: &[&str]) -> Result<Vec<ForeignKey>> {
    let sql = "select t.name, quote_ident(c.conname), pg_get_constraintdef(c.oid)
               from unnest($1::text[]) t (name) join pg_constraint c on c.conrelid = t.name::regclass
               where c.contype = 'f' order by 1, 2";
    let rows = owner.query(sql, &[&names]).await?;
    Ok(rows
        .iter()
        .map(|row| ForeignKey { table: ident(row.get(0)), name: row.get(1), definition: row.get(2) })
        .collect())
}

/// Sends a table's pieces on as they are opened; the last one is sent only if all of them are what the manifest says.
async fn fill(owner: &Owner<'_>, from: &mut Opened, table: &Table) -> Result<()> {
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
        if let Some(into) = &mut into {
            into.send(Cursor::new(text)).await.map_err(failed())?;
        }
    }
    expect(&from.manifest, table, &tally, "in the store")?;
    if let Some(mut into) = into {
        into.as_mut().finish().await.map_err(failed())?;
    }
    Ok(())
}

/// Reads a restored table back, and sets its sequences.
async fn compare(owner: &Owner<'_>, manifest: &Manifest, table: &Table) -> Result<()> {
    if READ_ONLY_TABLES.contains(&table.name.as_str()) {
        return Ok(());
    }
    let mut tally = Tally::default();
    let mut rows = std::pin::pin!(owner.copy_out(&format!("copy {} to stdout", columns_of(table))).await?);
    while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {} back", table.name)))? {
        tally.feed(&bytes);
    }
    expect(manifest, table, &tally, "restored")?;
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

fn expect(manifest: &Manifest, table: &Table, tally: &Tally, which: &str) -> Result<()> {
    if (tally.rows, tally.bytes, tally.checksum()) == (table.rows, table.bytes, table.checksum.clone()) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "backup {}: {} {which} has {} rows and {} bytes and should have {} and {}, or the same with other content: nothing was changed",
        manifest.backup, table.name, tally.rows, tally.bytes, table.rows, table.bytes
    )))
}
