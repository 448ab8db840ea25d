//! The writes of a tenant that moves, carried along by Postgres's own logical replication while it is copied.
//!
//! Where it lives: a publication of its tables, a slot, and a login that may replicate and read no table. Where it moves to: a
//! subscription. All four have one name, made of the tenant's id, so whoever comes after a kill finds what is there and removes it.
//!
//! What a newcomer gets wrong: the slot is made before the copy is read, and nothing joins the two but the position that was read under
//! the lock. What was committed before it is in the copy, what came after is in the stream, and nothing is in both.

use std::time::Duration;

use strowger::control::clusters::{Address, Cluster, Tls};
use strowger::control::tenants::Tenant;
use strowger::schema;
use strowger::vault::Secret;

use crate::admin_db::{AdminDb, ident, literal};
use crate::error::{Error, Result};
use crate::{Provisioner, scram, steps};

/// How often it is tried to lock the tables, each time so briefly that no writer waits for long or is taken for a deadlock's victim.
const LOCK_TRIES: u32 = 100;
/// How long a stream may stand still.
const STALLED: Duration = Duration::from_secs(60);
/// How often it is looked how far the stream is.
const LOOK: Duration = Duration::from_millis(10);
/// A stream that reaches a position of now within this time is close behind.
const CLOSE: Duration = Duration::from_millis(200);
/// How often that is tried: who writes faster than it is carried along does not move online.
const CHASES: u32 = 1000;

/// What all parts of a tenant's move are called.
pub(crate) fn name(with: &Provisioner, tenant: &Tenant) -> String {
    with.installation.prefix.tenant(tenant.id, "move")
}

/// Both ends of a tenant's stream, as the logins that replicate.
pub(crate) struct Line {
    here: AdminDb,
    there: AdminDb,
    name: String,
}

impl Line {
    /// Logs in at both ends. Nothing is made.
    pub(crate) async fn open(
        with: &Provisioner,
        (from, tenant): (&Cluster, &Tenant),
        (to, there): (&Cluster, &Tenant),
    ) -> Result<Self> {
        Ok(Self {
            here: AdminDb::open_to_replicate(with, from, &tenant.database, tenant).await?,
            there: AdminDb::open_to_replicate(with, to, &there.database, there).await?,
            name: name(with, tenant),
        })
    }

    /// From here on the source keeps what is written. Gives the password of the login that may ask for it.
    ///
    /// Transactions elsewhere on the server that began before may take so long to end: no slot is made before.
    pub(crate) async fn begin(
        &self,
        with: &Provisioner,
        tenant: &Tenant,
        version: i32,
        patience: Duration,
    ) -> Result<Secret> {
        let (password, name) = (Secret::random_password(), ident(&self.name));
        let entrance = if steps::is_shared(tenant) {
            format!("grant {} to {name}", ident(&steps::shared_group(with)))
        } else {
            format!("grant connect on database {} to {name}", ident(&tenant.database))
        };
        self.here
            .run(&format!(
                "create role {name} login replication connection limit 4 password {}; {entrance}; create publication {name} for table {}",
                literal(&scram::verifier(&password)?),
                tables(tenant, version)
            ))
            .await?;
        self.here.run(&format!("set statement_timeout = {}", patience.as_millis())).await?;
        let sql = "select pg_create_logical_replication_slot($1::text::name, 'pgoutput')::text";
        match self.here.query(sql, &[&self.name]).await {
            Err(Error::Postgres { sqlstate, .. }) if sqlstate == "57014" => Err(Error::Unavailable(format!(
                "no replication slot within {} s: transactions that began before keep it from being made ({}); end them, wait \
                 for longer with --patience, or move with --offline",
                patience.as_secs(),
                old_transactions(&self.here).await?.join(", ")
            ))),
            made => made.map(drop),
        }?;
        self.here.run("reset statement_timeout").await?;
        Ok(password)
    }

    /// Keeps everybody from writing to the tenant until [`Line::unlock`]. Writers wait; nobody is refused.
    pub(crate) async fn lock(&self, tenant: &Tenant, version: i32) -> Result<()> {
        // Less than a writer waits before it looks for a deadlock, so that it is never the one that gives way.
        let sql =
            format!("begin; set local lock_timeout = '300ms'; lock table {} in share mode", tables(tenant, version));
        for _ in 1..LOCK_TRIES {
            match self.here.run(&sql).await {
                Err(Error::Postgres { sqlstate, .. }) if matches!(sqlstate.as_str(), "55P03" | "40P01") => {
                    self.here.run("rollback").await?;
                    tokio::time::sleep(LOOK * 10).await;
                }
                done => return done,
            }
        }
        Err(Error::Unavailable(format!(
            "tenant {}: transactions that write to it do not end; nothing was changed",
            tenant.id
        )))
    }

    /// Lets writers go on; the position between what was written before the lock and what comes after it.
    pub(crate) async fn unlock(&self) -> Result<String> {
        let at = self.here.query("select pg_current_wal_insert_lsn()::text", &[]).await?;
        self.here.run("rollback").await?;
        Ok(at.first().map_or_else(String::new, |row| row.get(0)))
    }

    /// Begins the stream at the position up to which the target was copied.
    pub(crate) async fn subscribe(&self, at: &Cluster, tenant: &Tenant, password: &Secret, copied: &str) -> Result<()> {
        let name = ident(&self.name);
        let way = conninfo(&at.address, &self.name, password, &tenant.database);
        self.there
            .run(&format!(
                "create subscription {name} connection {} publication {name} with (enabled = false, create_slot = false, copy_data = \
                 false, slot_name = {name}, synchronous_commit = 'local')",
                literal(&way)
            ))
            .await?;
        let sql = "select pg_replication_origin_advance('pg_' || s.oid, $2::text::pg_lsn)::text
                   from pg_subscription s join pg_database d on d.oid = s.subdbid
                   where s.subname = $1::text::name and d.datname = current_database()";
        self.there.query(sql, &[&self.name, &copied]).await?;
        self.there.run(&format!("alter subscription {name} enable")).await
    }

    /// Up to where everything that was acknowledged so far stands in the source's log.
    ///
    /// What a server without synchronous commits has acknowledged may not be on its disk, where replication reads: a commit of our own,
    /// all of which wait for the disk, takes it along.
    pub(crate) async fn acknowledged(&self) -> Result<String> {
        let sql = "select pg_current_wal_insert_lsn()::text, pg_logical_emit_message(true, 'strowger', '')::text";
        let at = self.here.query(sql, &[]).await?;
        Ok(at.first().map_or_else(String::new, |row| row.get(0)))
    }

    /// Waits until the target is close behind.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        for _ in 0..CHASES {
            let began = strowger::clock::Clock::system();
            self.reach(&self.acknowledged().await?, STALLED).await?;
            if began.elapsed() < CLOSE {
                return Ok(());
            }
        }
        Err(Error::Unavailable("what is written comes faster than it is carried along: nothing was changed".into()))
    }

    /// Waits until the target has what was written up to `at`, on its disk. It may stand still for so long.
    pub(crate) async fn reach(&self, at: &str, patience: Duration) -> Result<()> {
        let sql =
            "select coalesce(confirmed_flush_lsn >= $2::text::pg_lsn, false), coalesce(confirmed_flush_lsn::text, ''),
                          coalesce(wal_status = 'lost', false)
                   from pg_replication_slots where slot_name = $1::text::name";
        let (mut left, mut last) = (patience, String::new());
        loop {
            let found = self.here.query(sql, &[&self.name, &at]).await?;
            let Some(row) = found.first() else { return Err(self.lost("somebody dropped it")) };
            if row.get(2) {
                return Err(self.lost("the source did not keep what was written (max_slot_wal_keep_size)"));
            }
            if row.get(0) {
                return Ok(());
            }
            if !self.there.is_open() {
                return Err(Error::Unavailable(format!("{} went away: nothing was changed", self.there.what())));
            }
            let now: String = row.get(1);
            if now != last {
                (left, last) = (patience, now);
            }
            if left.is_zero() {
                return Err(Error::Unavailable(format!(
                    "the target does not catch up, its server's log says why (subscription {}): nothing was changed",
                    self.name
                )));
            }
            tokio::time::sleep(LOOK).await;
            left = left.saturating_sub(LOOK);
        }
    }

    fn lost(&self, why: &str) -> Error {
        Error::Unavailable(format!("replication slot {} is lost: {why}; the move begins anew", self.name))
    }

    /// Leaves nothing at either end.
    pub(crate) async fn end(&self) -> Result<()> {
        end_there(&self.there, &self.name).await?;
        end_here(&self.here, &self.name).await
    }
}

/// Leaves nothing of a tenant's stream at either end. One that does not answer keeps the other from nothing.
pub(crate) async fn end(
    with: &Provisioner,
    (from, tenant): (&Cluster, &Tenant),
    (to, there): (&Cluster, &Tenant),
) -> Result<()> {
    let name = name(with, tenant);
    let ended = match AdminDb::open_to_replicate(with, to, &there.database, there).await {
        Ok(db) => end_there(&db, &name).await,
        Err(error) => Err(error),
    };
    end_here(&AdminDb::open_to_replicate(with, from, &tenant.database, tenant).await?, &name).await?;
    ended
}

/// Leaves nothing of a tenant's stream in one of its two places, whichever end it has there.
pub(crate) async fn end_at(with: &Provisioner, cluster: &Cluster, database: &str, tenant: &Tenant) -> Result<()> {
    let name = name(with, tenant);
    let db = AdminDb::open_to_replicate(with, cluster, database, tenant).await?;
    end_there(&db, &name).await?;
    end_here(&db, &name).await
}

/// The slot is not the subscription's any more when that is dropped: the source need not answer.
async fn end_there(there: &AdminDb, name: &str) -> Result<()> {
    let sql = "select 1 from pg_subscription s join pg_database d on d.oid = s.subdbid
               where s.subname = $1 and d.datname = current_database()";
    if !there.exists(sql, name).await? {
        return Ok(());
    }
    let name = ident(name);
    for sql in ["disable", "set (slot_name = none)"] {
        there.run(&format!("alter subscription {name} {sql}")).await?;
    }
    there.run(&format!("drop subscription {name}")).await
}

async fn end_here(here: &AdminDb, name: &str) -> Result<()> {
    let role = ident(name);
    let is_there = here.exists("select 1 from pg_roles where rolname = $1", name).await?;
    if is_there {
        here.run(&format!("alter role {role} nologin")).await?;
        here.end_sessions("usename = $1::text::name", &[&name]).await?;
    }
    if here.exists("select 1 from pg_replication_slots where slot_name = $1", name).await? {
        here.query("select pg_drop_replication_slot($1::text::name)::text", &[&name]).await?;
    }
    here.run(&format!("drop publication if exists {role}")).await?;
    if is_there {
        here.run(&format!("drop owned by {role}; drop role {role}")).await?;
    }
    Ok(())
}

/// What keeps a slot from being made, by whom and for how long.
pub(crate) async fn old_transactions(db: &AdminDb) -> Result<Vec<String>> {
    let sql = "select format('pid %s of %s for %s s', pid, coalesce(usename, '-'), extract(epoch from now() - xact_start)::bigint)
               from pg_stat_activity
               where backend_xid is not null and pid <> pg_backend_pid() and xact_start < now() - interval '10 s' order by xact_start";
    Ok(db.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// The tables of a schema version as SQL. Whose data it is, is written anew at the target.
fn tables(tenant: &Tenant, version: i32) -> String {
    let schema = ident(&tenant.schema);
    let all = schema::tables(version).into_iter().filter(|name| *name != "identity");
    all.map(|name| format!("{schema}.{}", ident(name))).collect::<Vec<_>>().join(", ")
}

/// How the target reaches the source, in libpq's words.
///
/// The target's server has no file to check the source's certificate against, and needs none: with channel binding each end proves that
/// it knows the password's verifier, over that very certificate, so whoever sits in between is found out.
fn conninfo(at: &Address, user: &str, password: &Secret, database: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let one = if at.host.contains(',') { " target_session_attrs=read-write" } else { "" };
    let tls = if at.tls == Tls::Disable { "disable" } else { "require channel_binding=require" };
    format!(
        "host={} port={} user={} password={} dbname={} sslmode={tls}{one}",
        quoted(&at.host),
        at.port,
        quoted(user),
        quoted(password.expose_str().unwrap_or_default()),
        quoted(database)
    )
}
