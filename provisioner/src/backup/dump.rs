//! Reads all of a tenant's tables in one snapshot, and writes them as they come.

use futures_util::TryStreamExt as _;
use strowger::control::jobs::Job;
use strowger::control::keys::{self, Ring};
use strowger::control::tenants::Tenant;
use strowger::schema::{self, HISTORY_TABLE};
use strowger::vault::Scope;
use time::OffsetDateTime;
use uuid::Uuid;

use super::chunks::{PIECE, Pieces};
use super::format::{Manifest, Seal, Sequence, Table};
use super::store::Store;
use super::tally::Tally;
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::error::{Error, Result};
use crate::steps::Owner;

/// Writes a whole backup. One of that id that is there already stays: it is whole. With a moment, `db` is in a copy of the cluster as it
/// was then.
pub(crate) async fn dump(
    with: &Provisioner,
    job: &Job,
    db: &mut AdminDb,
    tenant: &Tenant,
    id: Uuid,
    store: &Store,
    moment: Option<OffsetDateTime>,
) -> Result<()> {
    if store.has(id).await? {
        return Ok(());
    }
    let missing = || Error::Conflict(format!("tenant {} has no data key", tenant.id));
    let wrapped = keys::newest(&with.control, Scope::Tenant(tenant.id), Ring::Server).await?.ok_or_else(missing)?;
    let seal = Seal::new(id, tenant.id, &with.server_ring, wrapped)?;
    let owner = Owner::reading(db, &with.installation.prefix, tenant).await?;
    let mut manifest = begin(with, &owner, tenant, id, moment).await?;
    let mut pieces = Pieces::new(&seal.key, id, store.begin(id).await?);
    let mut read = read_all(&owner, &mut pieces, &mut manifest).await;
    if read.is_ok() {
        read = owner.lay_down().await;
    }
    let writing = pieces.end();
    // Whoever takes the job over begins anew in the same place: what is there by then is not ours to complete.
    let ours = match read {
        Ok(()) => with.change_of(job).await,
        Err(error) => Err(error),
    };
    match ours {
        Ok(_until_it_is_complete) => writing.complete(&seal.close(&manifest)?).await,
        Err(error) => {
            writing.abandon().await;
            Err(error)
        }
    }
}

async fn read_all(owner: &Owner<'_>, pieces: &mut Pieces<'_>, manifest: &mut Manifest) -> Result<()> {
    for table in &mut manifest.tables {
        read(owner, pieces, table).await?;
    }
    pieces.finish().await
}

/// Takes the snapshot, and looks at the tables that this schema version has; no others.
async fn begin(
    with: &Provisioner,
    owner: &Owner<'_>,
    tenant: &Tenant,
    id: Uuid,
    moment: Option<OffsetDateTime>,
) -> Result<Manifest> {
    // A copy has written since on its own, under the same numbers.
    let sql = "select coalesce($1, now()), current_setting('server_version'),
                      (case when $1 is null then pg_current_wal_lsn() else pg_last_wal_replay_lsn() end)::text";
    let now = owner.query_one(sql, &[&moment]).await?;
    owner.enter(&tenant.schema).await?;
    let sql = format!("select coalesce(max(version), 0) from {HISTORY_TABLE}");
    let schema_version: i32 = owner.query_one(&sql, &[]).await?.get(0);
    if schema_version > schema::MAX {
        return Err(Error::Conflict(format!(
            "tenant {} has schema version {schema_version} and this build knows up to {}: use the newer strowgerctl",
            tenant.id,
            schema::MAX
        )));
    }
    Ok(Manifest {
        backup: id,
        customer_id: tenant.id,
        installation: with.installation.prefix.as_str().to_owned(),
        schema_version,
        postgres: now.get(1),
        taken_at: now.get(0),
        lsn: now.get(2),
        tables: shapes(owner, &schema::tables(schema_version)).await?,
    })
}

/// Columns and sequences of tables that are known by name: each is one look into an index.
pub(super) async fn shapes(owner: &Owner<'_>, names: &[&str]) -> Result<Vec<Table>> {
    let sql = "select t.place, a.attname::text, pg_get_serial_sequence(t.name, a.attname)
               from unnest($1::text[]) with ordinality t (name, place)
               join pg_attribute a on a.attrelid = t.name::regclass and a.attnum > 0 and not a.attisdropped
               where a.attgenerated = '' order by t.place, a.attnum";
    let empty = |name: &&str| Table {
        name: (*name).to_owned(),
        columns: Vec::new(),
        rows: 0,
        bytes: 0,
        checksum: Tally::default().checksum(),
        chunks: 0,
        sequences: Vec::new(),
    };
    let mut tables: Vec<Table> = names.iter().map(empty).collect();
    for row in owner.query(sql, &[&names]).await? {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or_default();
        let Some(table) = tables.get_mut(place) else { continue };
        let column: String = row.get(1);
        if let Some(sequence) = row.get::<_, Option<String>>(2) {
            let at = owner.query_one(&format!("select last_value, is_called from {sequence}"), &[]).await?;
            table.sequences.push(Sequence { column: column.clone(), last_value: at.get(0), is_called: at.get(1) });
        }
        table.columns.push(column);
    }
    Ok(tables)
}

/// `t (a, b)`, as COPY wants it.
pub(super) fn columns_of(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| ident(column)).collect();
    format!("{} ({})", ident(&table.name), columns.join(", "))
}

async fn read(owner: &Owner<'_>, pieces: &mut Pieces<'_>, table: &mut Table) -> Result<()> {
    let mut rows = std::pin::pin!(owner.copy_out(&format!("copy {} to stdout", columns_of(table))).await?);
    let (mut tally, mut text) = (Tally::default(), Vec::with_capacity(PIECE));
    while let Some(bytes) = rows.try_next().await.map_err(Error::postgres(format!("read {}", table.name)))? {
        tally.feed(&bytes);
        let mut rest: &[u8] = &bytes;
        while text.len() + rest.len() >= PIECE {
            let (fits, over) = rest.split_at(PIECE - text.len());
            text.extend_from_slice(fits);
            let full = std::mem::replace(&mut text, Vec::with_capacity(PIECE));
            pieces.add(&table.name, table.chunks, full).await?;
            table.chunks += 1;
            rest = over;
        }
        text.extend_from_slice(rest);
    }
    if !text.is_empty() {
        pieces.add(&table.name, table.chunks, text).await?;
        table.chunks += 1;
    }
    (table.rows, table.bytes, table.checksum) = (tally.rows, tally.bytes, tally.checksum());
    Ok(())
}
