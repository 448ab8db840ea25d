//! A backup as files that psql loads without us.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use strowger::schema;

use super::chunks::Opened;
use super::csv::Csv;
use super::dump::columns_of;
use super::format::{Manifest, Table};
use crate::error::{Error, Result};
use crate::steps;

/// Writes `load.sql`, a CSV file for each table, and the manifest in the clear, into a new folder.
pub(crate) async fn extract(mut from: Opened, out: &Path) -> Result<Manifest> {
    let version = from.manifest.schema_version;
    if !(1..=schema::MAX).contains(&version) {
        return Err(Error::Conflict(format!("schema version {version} is not known to this build")));
    }
    new_folder(out)?;
    let manifest = from.manifest.clone();
    for table in &manifest.tables {
        let (name, mut file) = new_csv(out, table)?;
        for number in 0..table.chunks {
            file.feed(&from.piece(table, number).await?).map_err(Error::io(format!("write {name}")))?;
        }
        file.flush().map_err(Error::io(format!("write {name}")))?;
    }
    from.end().await?;
    let json = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    write(out, "manifest.json", &json)?;
    write(out, "load.sql", load_sql(&manifest).as_bytes())?;
    Ok(manifest)
}

fn load_sql(manifest: &Manifest) -> String {
    let names: Vec<&str> = manifest.tables.iter().map(|table| table.name.as_str()).collect();
    let mut sql = format!(
        "-- Tenant {} at {}. In this folder: psql -v ON_ERROR_STOP=1 -f load.sql DATABASE\n\
         -- It makes a schema named {} and fails if there is one.\n\\encoding UTF8\nbegin;\ncreate schema {2};\nset local search_path = {2};\n",
        manifest.customer_id,
        manifest.taken_at,
        schema::name(manifest.customer_id),
    );
    sql.push_str(&schema::batch_to(manifest.schema_version, &steps::now()));
    sql.push_str(&format!("truncate {};\n", names.join(", ")));
    for table in &manifest.tables {
        sql.push_str(&format!("\\copy {} from '{}.csv' with (format csv, header)\n", columns_of(table), table.name));
        for at in &table.sequences {
            sql.push_str(&format!(
                "select setval(pg_get_serial_sequence('{}', '{}'), {}, {});\n",
                table.name, at.column, at.last_value, at.is_called
            ));
        }
    }
    sql.push_str("commit;\n");
    sql
}

/// A folder that is not there yet, for its owner's eyes only.
pub(super) fn new_folder(out: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(out);
    made.map_err(Error::io(format!("create the folder {}", out.display())))
}

pub(super) fn new_file(out: &Path, name: &str) -> Result<File> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out.join(name));
    opened.map_err(Error::io(format!("create {name}")))
}

/// A table's file, with the names of its columns in it; and how it is called.
pub(super) fn new_csv(out: &Path, table: &Table) -> Result<(String, Csv<BufWriter<File>>)> {
    let name = format!("{}.csv", table.name);
    let mut csv = Csv::new(BufWriter::new(new_file(out, &name)?));
    csv.header(&table.columns).map_err(Error::io(format!("write {name}")))?;
    Ok((name, csv))
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    new_file(out, name)?.write_all(bytes).map_err(Error::io(format!("write {name}")))
}
