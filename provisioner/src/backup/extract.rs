//! A backup as files that psql loads without us.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use strowger::schema;

use super::chunks::Opened;
use super::dump::columns_of;
use super::format::Manifest;
use crate::error::{Error, Result};
use crate::steps;

/// Writes `load.sql`, a `.copy` file for each table, and the manifest in the clear, into a new folder.
pub(crate) async fn extract(mut from: Opened, out: &Path) -> Result<Manifest> {
    let version = from.manifest.schema_version;
    if !(1..=schema::MAX).contains(&version) {
        return Err(Error::Conflict(format!("schema version {version} is not known to this build")));
    }
    new_folder(out)?;
    let manifest = from.manifest.clone();
    for table in &manifest.tables {
        let mut file = new_file(out, &format!("{}.copy", table.name))?;
        for number in 0..table.chunks {
            let text = from.piece(table, number).await?;
            file.write_all(&text).map_err(Error::io(format!("write {}.copy", table.name)))?;
        }
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
         -- It makes a schema named {} and fails if there is one.\nbegin;\ncreate schema {2};\nset local search_path = {2};\n",
        manifest.customer_id,
        manifest.taken_at,
        schema::name(manifest.customer_id),
    );
    sql.push_str(&schema::batch_to(manifest.schema_version, &steps::now()));
    sql.push_str(&format!("truncate {};\n", names.join(", ")));
    for table in &manifest.tables {
        sql.push_str(&format!("\\copy {} from '{}.copy'\n", columns_of(table), table.name));
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

pub(super) fn new_file(out: &Path, name: &str) -> Result<std::fs::File> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out.join(name));
    opened.map_err(Error::io(format!("create {name}")))
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    new_file(out, name)?.write_all(bytes).map_err(Error::io(format!("write {name}")))
}
