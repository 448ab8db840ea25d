//! Everything of one tenant as files for people and spreadsheets: no backup, and not sealed.

use std::io::Write as _;
use std::path::Path;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use strowger::control::tenants::Tenant;
use strowger::schema::{self, HISTORY_TABLE};

use super::dump::{columns_of, shapes};
use super::extract::{new_csv, new_file, new_folder};
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::steps::Owner;

const README: &str = "\
# Everything of one tenant

One CSV file for each table: UTF-8, a header line, every value in double quotes, nothing between two commas for NULL. All files are of
one moment. `export.json` says which moment, and how many rows each file has.
Columns that are computed from others are left out. What a table and a column mean is said in the migrations that make them
(tenant-migrations/ of Strowger). Files are loaded with `\\copy TABLE (COLUMNS) from 'TABLE.csv' with (format csv, header)`.
";

/// Writes a new folder; how many rows there are of each table.
pub(crate) async fn export(with: &Provisioner, db: &mut AdminDb, tenant: &Tenant, out: &Path) -> Result<Value> {
    let owner = Owner::reading(db, &with.installation.prefix, tenant).await?;
    let at: time::OffsetDateTime = owner.query_one("select now()", &[]).await?.get(0);
    owner.enter(&tenant.schema).await?;
    let sql = format!("select coalesce(max(version), 0) from {HISTORY_TABLE}");
    let version: i32 = owner.query_one(&sql, &[]).await?.get(0);
    new_folder(out)?;
    let mut counts = serde_json::Map::new();
    for table in shapes(&owner, &schema::tables(version)).await? {
        let (name, mut file) = new_csv(out, &table)?;
        // A row is a message.
        let mut count: u64 = 0;
        let mut rows = std::pin::pin!(owner.copy_out(&format!("copy {} to stdout", columns_of(&table))).await?);
        while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {}", table.name)))? {
            file.feed(&bytes).map_err(Error::io(format!("write {name}")))?;
            count += 1;
        }
        file.flush().map_err(Error::io(format!("write {name}")))?;
        counts.insert(table.name, count.into());
    }
    owner.lay_down().await?;
    let shown = json!({ "customer_id": tenant.id, "at": at.to_string(), "schema_version": version, "rows": counts });
    for (name, text) in [("export.json", format!("{shown:#}\n")), ("README.md", README.to_owned())] {
        new_file(out, name)?.write_all(text.as_bytes()).map_err(Error::io(format!("write {name}")))?;
    }
    Ok(shown)
}
