//! Reads the whole control database in one snapshot, and writes it as it comes.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt as _;
use strowger::control::keys::{self, Ring};
use strowger::vault::{Scope, WrappedKey};
use tokio_postgres::{Client, IsolationLevel, Transaction};
use uuid::Uuid;

use super::file::{Manifest, PIECE, Seal, Table, Writer};
use super::{KEYS, keys_beside};
use crate::Provisioner;
use crate::admin_db::ident;
use crate::bootstrap::Superuser;
use crate::error::{Error, Result};

const DOING: &str = "copy the control database";

/// Writes a copy to `path`, and the wrapped data keys beside it. Neither may be there.
pub async fn back_up(with: &Provisioner, control_url: &str, path: &Path) -> Result<Manifest> {
    let keys_path = keys_beside(path);
    for path in [path, keys_path.as_path()] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Conflict(format!("{} is there already and is not written over", path.display())));
        }
    }
    let wrapped = platform_key(with, Ring::Admin).await?;
    let seal = Seal::new(Uuid::new_v4(), &with.platform_key(Ring::Admin).await?, &wrapped);
    let at = Superuser::from_url_of("the control database's URL", control_url)?;
    let mut db = at.connect(&with.installation.prefix.name("control")).await?;
    let tx = snapshot(&mut db).await?;
    let (keys, rest) = tables(&tx).await?.into_iter().partition(|table| table.name == KEYS);
    // The keys first: a copy that has its name has its keys.
    write(&tx, &seal, &manifest(with, &tx, &seal, "keys", keys).await?, keys_path).await?;
    let manifest = manifest(with, &tx, &seal, "control", rest).await?;
    write(&tx, &seal, &manifest, path.to_owned()).await?;
    let mut change = with.change().await?;
    change.record("control.backup", None, serde_json::json!({ "copy": seal.copy })).await?;
    change.commit().await?;
    Ok(manifest)
}

async fn platform_key(with: &Provisioner, ring: Ring) -> Result<WrappedKey> {
    let missing = || Error::Conflict("the platform has no data key: run `strowgerctl init`".into());
    keys::newest(&with.control, Scope::Platform, ring).await?.ok_or_else(missing)
}

async fn snapshot(db: &mut Client) -> Result<Transaction<'_>> {
    let begin = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    begin.start().await.map_err(Error::postgres(DOING))
}

/// All of the control database is ours: its tables are those that are there.
async fn tables(tx: &Transaction<'_>) -> Result<Vec<Table>> {
    let sql = "select c.relname::text, array_agg(a.attname::text order by a.attnum),
                      array_agg(pg_get_serial_sequence(c.relname, a.attname) order by a.attnum)
               from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
               where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname not in ('refinery_schema_history', 'acknowledgements')
               group by c.relname order by c.relname";
    let mut all = Vec::new();
    for row in tx.query(sql, &[]).await.map_err(Error::postgres(DOING))? {
        let mut sequences = Vec::new();
        for name in row.get::<_, Vec<Option<String>>>(2).into_iter().flatten() {
            let at = tx.query_one(&format!("select last_value, is_called from {name}"), &[]).await;
            let at = at.map_err(Error::postgres(DOING))?;
            sequences.push((name, at.get(0), at.get(1)));
        }
        all.push(Table { name: row.get(0), columns: row.get(1), sequences });
    }
    Ok(all)
}

async fn manifest(
    with: &Provisioner,
    tx: &Transaction<'_>,
    seal: &Seal,
    part: &str,
    tables: Vec<Table>,
) -> Result<Manifest> {
    let sql = "select max(version)::int, now()::text from refinery_schema_history";
    let now = tx.query_one(sql, &[]).await.map_err(Error::postgres(DOING))?;
    let server_key = platform_key(with, Ring::Server).await?;
    let installation = with.installation.prefix.as_str().to_owned();
    Ok(Manifest {
        copy: seal.copy,
        part: part.to_owned(),
        installation,
        version: now.get(0),
        taken_at: now.get(1),
        server_key: (server_key.version, server_key.bytes),
        tables,
    })
}

async fn write(tx: &Transaction<'_>, seal: &Seal, manifest: &Manifest, path: PathBuf) -> Result<()> {
    let mut file = Writer::create(seal, manifest, &path)?;
    for table in &manifest.tables {
        let rows = tx.copy_out(&format!("copy {} to stdout", columns_of(table))).await;
        let mut rows = std::pin::pin!(rows.map_err(Error::postgres(DOING))?);
        let (mut text, mut number) = (Vec::new(), 0);
        while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(DOING))? {
            text.extend_from_slice(&bytes);
            while text.len() >= PIECE {
                let rest = text.split_off(PIECE);
                file.piece(&table.name, number, &text)?;
                (text, number) = (rest, number + 1);
            }
        }
        if !text.is_empty() {
            file.piece(&table.name, number, &text)?;
            number += 1;
        }
        file.piece(&table.name, number, b"")?;
    }
    file.complete()
}

/// `t (a, b)`, as COPY wants it.
pub(super) fn columns_of(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| ident(column)).collect();
    format!("{} ({})", ident(&table.name), columns.join(", "))
}
