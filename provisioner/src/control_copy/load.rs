//! Puts a copy into an empty control database: one transaction, at the end of which nothing is served from it.

use std::io::Cursor;
use std::path::Path;

use futures_util::SinkExt as _;
use strowger::control::Actor;
use strowger::id::Prefix;
use strowger::vault::{MasterRing, Scope, WrappedKey};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::dump::columns_of;
use super::file::{Manifest, Reader, Table};
use crate::admin_db::literal;
use crate::bootstrap::{self, ControlUrls, Superuser};
use crate::error::{Error, Result};

const DOING: &str = "restore the control database";
/// Jobs name schemas that they leave behind; those that were begun since the copy are not met again.
const JOBS_SINCE: i64 = 1_000_000;

/// What a restore made.
pub struct Restored {
    /// What was restored.
    pub manifest: Manifest,
    /// The ways into it; both passwords are new.
    pub urls: ControlUrls,
    /// It had been restored from this very copy before: nothing was loaded.
    pub again: bool,
}

/// Makes the control database again from a copy. All of the copy is opened before anything is changed.
pub async fn restore(
    at: &Superuser,
    path: &Path,
    keys: &Path,
    rings: (&MasterRing, &MasterRing),
    actor: &Actor,
) -> Result<Restored> {
    let manifest = super::prove(path, keys, rings.1)?;
    refuse_another_ring(&manifest, rings.0)?;
    let prefix: Prefix = manifest.installation.parse()?;
    let again = refuse_another(at, &prefix, manifest.copy).await?;
    if !again {
        let mut db = bootstrap::tables_of(at, &prefix, manifest.version).await?;
        load(&mut db, [(path, "control"), (keys, "keys")], &manifest, rings.1, actor).await?;
    }
    let urls = bootstrap::logins(at, &prefix).await?;
    bootstrap::upgrade(at, &prefix).await?;
    Ok(Restored { manifest, urls, again })
}

/// Whether what is there was restored from this copy and has not been served from since. Anything else that is there is kept.
async fn refuse_another(at: &Superuser, prefix: &Prefix, copy: Uuid) -> Result<bool> {
    let failed = || Error::postgres(DOING);
    let name = prefix.name("control");
    let sql = "select 1 from pg_database where datname = $1";
    if at.connect("postgres").await?.query_opt(sql, &[&name]).await.map_err(failed())?.is_none() {
        return Ok(false);
    }
    let db = at.connect(&name).await?;
    let sql =
        "select 1 from pg_attribute where attrelid = to_regclass('public.installation') and attname = 'restored_from'";
    if db.query_opt(sql, &[]).await.map_err(failed())?.is_none() {
        let sql = "select to_regclass('public.tenants') is null";
        if db.query_one(sql, &[]).await.map_err(failed())?.get(0) {
            return Ok(false);
        }
        return Err(Error::Conflict(format!(
            "database {name} is an older build's control database: nothing was changed"
        )));
    }
    let sql = "select exists (select from installation where restored_from = $1 and reconciling_since is not null),
                      exists (select from tenants) or exists (select from clusters) or exists (select from accounts)";
    let found = db.query_one(sql, &[&copy]).await.map_err(failed())?;
    match (found.get(0), found.get(1)) {
        (true, _) => Ok(true),
        (false, false) => Ok(false),
        (false, true) => Err(Error::Conflict(format!(
            "there is a control database {name} with something in it, and a copy is not restored over that: nothing was changed; \
             if it is to be given up, drop it first"
        ))),
    }
}

async fn load(
    db: &mut Client,
    files: [(&Path, &str); 2],
    manifest: &Manifest,
    admin_ring: &MasterRing,
    actor: &Actor,
) -> Result<()> {
    let failed = || Error::postgres(DOING);
    let tx = db.transaction().await.map_err(failed())?;
    let version: i32 = one(&tx, "select max(version)::int from refinery_schema_history").await?;
    if version != manifest.version {
        return Err(Error::Conflict(format!(
            "the copy is of version {} of the control database, and this is version {version}: nothing was changed; restore it \
             where there is none yet, with a strowgerctl that is no older",
            manifest.version
        )));
    }
    // Rows come as they were: no trigger announces, counts or chains them once more.
    let empty = "set local session_replication_role = replica;
                 do $$ declare t text; begin
                     for t in select quote_ident(relname) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
                              and relname <> 'refinery_schema_history' loop
                         execute 'truncate ' || t || ' cascade';
                     end loop;
                 end $$";
    tx.batch_execute(empty).await.map_err(failed())?;
    for (path, part) in files {
        let mut file = Reader::open(path, part, admin_ring)?;
        for table in file.manifest.clone().tables {
            fill(&tx, &mut file, &table).await?;
        }
        file.end()?;
    }
    bar(&tx, manifest, actor).await?;
    tx.commit().await.map_err(failed())
}

async fn fill(tx: &Transaction<'_>, file: &mut Reader, table: &Table) -> Result<()> {
    let failed = || Error::postgres(format!("restore the control database: {}", table.name));
    let sink = tx.copy_in::<_, Cursor<Vec<u8>>>(&format!("copy {} from stdin", columns_of(table))).await;
    let mut sink = std::pin::pin!(sink.map_err(failed())?);
    for number in 0.. {
        let text = file.piece(&table.name, number)?;
        if text.is_empty() {
            break;
        }
        sink.send(Cursor::new(text)).await.map_err(failed())?;
    }
    sink.as_mut().finish().await.map_err(failed())?;
    for (sequence, last, called) in &table.sequences {
        let sql = format!("select setval({}, {last}, {called})", literal(sequence));
        tx.batch_execute(&sql).await.map_err(failed())?;
    }
    Ok(())
}

/// What is served from it is sealed under the server's ring too: without that it would be of no use.
fn refuse_another_ring(manifest: &Manifest, server: &MasterRing) -> Result<()> {
    let (version, bytes) = manifest.server_key.clone();
    server.unwrap_data_key(Scope::Platform, &WrappedKey { version, bytes }).map(drop).map_err(|error| {
        Error::Conflict(format!(
            "the platform's data key does not open with this server ring: {error}: nothing was changed"
        ))
    })
}

/// Nothing is served from what was restored, and nothing that was to be done then is done now unasked.
async fn bar(tx: &Transaction<'_>, manifest: &Manifest, actor: &Actor) -> Result<()> {
    let detail = serde_json::json!({ "copy": manifest.copy, "taken_at": manifest.taken_at }).to_string();
    let sql = format!(
        "set local session_replication_role = origin;
         update installation
         set epoch = greatest(epoch + 1, extract(epoch from clock_timestamp())::bigint), reconciling_since = now(), restored_from = {};
         update jobs
         set state = case when kind in ('repair', 'hand-over', 'rotate-login') then 'cancelled' else 'failed' end, ended_at = now(),
             holder = null, lease_until = null,
             errors = errors || jsonb_build_object('at', now(), 'attempt', attempts, 'step', step,
                 'error', 'control was restored from a copy: it may have been done since, or called off')
         where state in ('waiting', 'queued', 'running');
         select setval(pg_get_serial_sequence('jobs', 'id'), (select coalesce(max(id), 0) from jobs) + {JOBS_SINCE});
         do $$ begin
             if to_regclass('moves') is null then return; end if;
             -- A tenant may have moved back since: where it lived then is not dropped by a worker now.
             delete from moves;
             -- Only what is held turns soon.
             if exists (select from pg_attribute where attrelid = 'placements'::regclass and attname = 'turns_soon') then
                 update placements set turns_soon = false where turns_soon;
             end if;
             update placements set held = false where held;
         end $$;
         insert into audit (actor, action, detail) values ({}, 'control.restore', {});",
        literal(&manifest.copy.to_string()),
        literal(actor.as_str()),
        literal(&detail)
    );
    tx.batch_execute(&sql).await.map_err(Error::postgres(DOING))
}

async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(tx: &Transaction<'_>, sql: &str) -> Result<T> {
    Ok(tx.query_one(sql, &[]).await.map_err(Error::postgres(DOING))?.get(0))
}
