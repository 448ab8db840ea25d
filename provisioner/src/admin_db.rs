//! The provisioner's own connections, and the only place that quotes identifiers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use strowger::control::clusters::{self, Address, Cluster, ClusterId};
use strowger::control::replicators;
use strowger::control::tenants::Tenant;
use strowger::pg::{self, Connector};
use strowger::vault::Secret;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, IsolationLevel, Row, SimpleQueryMessage, SimpleQueryRow, Transaction};

use crate::Provisioner;
use crate::error::{Error, Result};

/// How long sessions of a login that is refused may take to end by themselves: longer than a server's request may take.
const GRACE: Duration = Duration::from_secs(30);
/// How many jobs one session serves: it remembers the tables of every tenant that it has seen, for as long as it lives.
const JOBS_OF_A_SESSION: u32 = 50;
/// How often sessions that are to end are looked for.
const LOOK: Duration = Duration::from_millis(25);

/// What is committed is on the disk before control is told of it, also on a server that acknowledges its tenants' writes before that.
const DURABLE: &str =
    "select set_config('synchronous_commit', 'local', false) where current_setting('synchronous_commit') = 'off'";

/// An identifier as SQL. Ours are made of ids and a checked prefix; quoting is the second lock on the door.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL, for the statements that take no parameters.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")).replacen(
        '\'',
        if text.contains('\\') { "E'" } else { "'" },
        1,
    )
}

/// What to say of a cluster on which nobody may replicate.
pub(crate) fn no_replicator(cluster: &Cluster) -> String {
    format!("cluster {0} has no login that may replicate: `strowgerctl cluster online {0}` makes one", cluster.name)
}

/// Opens a connection and drives it in the background.
pub(crate) async fn connect(config: Config, address: &Address, what: &str) -> Result<Client> {
    let failed = || Error::postgres(format!("connect to {what}"));
    match pg::connector(&address.tls).map_err(|e| Error::Conflict(e.to_string()))? {
        Connector::Plain(plain) => {
            let (client, connection) = config.connect(plain).await.map_err(failed())?;
            tokio::spawn(connection);
            Ok(client)
        }
        Connector::Tls(tls) => {
            let (client, connection) = config.connect(tls).await.map_err(failed())?;
            tokio::spawn(connection);
            Ok(client)
        }
    }
}

/// A configuration for a login on a cluster.
pub(crate) fn login(address: &Address, user: &str, password: &Secret, database: &str) -> Config {
    let mut config = pg::config(address);
    config.user(user).password(password.expose()).dbname(database).application_name("strowgerctl");
    config
}

/// Sessions that wait for the next job of this process, as many as it carried out jobs at once.
#[derive(Default)]
pub(crate) struct KeptSessions(Mutex<Vec<AdminDb>>);

impl KeptSessions {
    fn take(&self, cluster: ClusterId, database: &str) -> Option<AdminDb> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|db| !db.client.is_closed());
        let at = all.iter().position(|db| db.cluster == cluster && db.database == database)?;
        Some(all.swap_remove(at))
    }

    fn put(&self, db: AdminDb) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(db);
    }
}

/// The provisioner's two logins on every cluster, which take turns.
fn admin_logins(with: &Provisioner) -> [String; 2] {
    ["admin_a", "admin_b"].map(|what| with.installation.prefix.name(what))
}

/// A session as the installation's admin role in one database of one cluster.
pub(crate) struct AdminDb {
    client: Client,
    cluster: ClusterId,
    database: String,
    what: String,
    /// How many it was opened and kept for.
    jobs: u32,
}

impl AdminDb {
    /// Logs in with the sealed credential and takes on the admin role.
    pub(crate) async fn open(with: &Provisioner, cluster: &Cluster, database: &str) -> Result<Self> {
        Self::open_as(with, cluster, database, "strowgerctl").await
    }

    /// The same on a copy of a cluster that is restored aside, where the role of either login may be the one that was in use.
    ///
    /// It asks for no password: nobody else reaches it.
    pub(crate) async fn open_aside(with: &Provisioner, cluster: &Cluster, database: &str) -> Result<Self> {
        let [first, other] = admin_logins(with);
        match Self::enter(with, cluster, database, &first, &Secret::new(Vec::new()), "strowgerctl").await {
            Err(Error::Postgres { sqlstate, .. }) if sqlstate == "28000" => {
                Self::enter(with, cluster, database, &other, &Secret::new(Vec::new()), "strowgerctl").await
            }
            opened => opened,
        }
    }

    /// The same to work on one tenant, whose lock is held: no statement of an earlier holder runs on after this.
    ///
    /// A killed command loses its lock at once, but what it sent last may still be under way on the cluster.
    pub(crate) async fn open_for(
        with: &Provisioner,
        cluster: &Cluster,
        database: &str,
        tenant: &Tenant,
    ) -> Result<Self> {
        Self::open_alone(with, cluster, database, &Self::sessions_of(tenant)).await
    }

    /// The same after an attempt of our own that was stopped in the middle: what it sent last is ended too.
    pub(crate) async fn open_anew(
        with: &Provisioner,
        cluster: &Cluster,
        database: &str,
        tenant: &Tenant,
    ) -> Result<Self> {
        let db = Self::open_for(with, cluster, database, tenant).await?;
        let which = "usename = any($1) and application_name = $2 and pid <> pg_backend_pid()";
        db.end_sessions(which, &[&admin_logins(with).as_slice(), &Self::session_of(with, tenant)]).await?;
        Ok(db)
    }

    /// The same, if possible by a session that an earlier job of this process kept: it knows the catalogs already.
    pub(crate) async fn take_for(
        with: &Provisioner,
        cluster: &Cluster,
        database: &str,
        tenant: &Tenant,
    ) -> Result<Self> {
        // One that broke while nobody used it is no error.
        if let Some(db) = with.kept_sessions.take(cluster.id, database)
            && db.rename(&Self::session_of(with, tenant)).await.is_ok()
            && db.end_earlier(with, tenant).await.is_ok()
        {
            return Ok(db);
        }
        Self::open_for(with, cluster, database, tenant).await
    }

    /// Keeps the session for the process's next job, under a name that no holder of a tenant's lock ends.
    pub(crate) async fn keep(mut self, with: &Provisioner) {
        self.jobs += 1;
        if self.jobs <= JOBS_OF_A_SESSION && self.rename("strowgerctl").await.is_ok() {
            with.kept_sessions.put(self);
        }
    }

    async fn rename(&self, name: &str) -> Result<()> {
        self.run(&format!("set application_name = {}", literal(name))).await
    }

    /// The same to work on the admin's own logins on a cluster, whose lock is held.
    pub(crate) async fn open_for_admin(with: &Provisioner, cluster: &Cluster, database: &str) -> Result<Self> {
        Self::open_alone(with, cluster, database, "strowgerctl admin ").await
    }

    async fn open_alone(with: &Provisioner, cluster: &Cluster, database: &str, subject: &str) -> Result<Self> {
        let db = Self::open_as(with, cluster, database, &format!("{subject}{}", with.run)).await?;
        db.end_others(with, subject).await?;
        Ok(db)
    }

    fn sessions_of(tenant: &Tenant) -> String {
        format!("strowgerctl tenant {} ", tenant.id)
    }

    /// What a session is called while it works on a tenant.
    pub(crate) fn session_of(with: &Provisioner, tenant: &Tenant) -> String {
        format!("{}{}", Self::sessions_of(tenant), with.run)
    }

    /// Ends the sessions that earlier holders of a tenant's lock opened for it.
    pub(crate) async fn end_earlier(&self, with: &Provisioner, tenant: &Tenant) -> Result<()> {
        self.end_others(with, &Self::sessions_of(tenant)).await
    }

    /// An earlier holder may have come with the login that was in use then.
    async fn end_others(&self, with: &Provisioner, subject: &str) -> Result<()> {
        let which = "usename = any($1) and starts_with(application_name, $2) and application_name <> $3";
        let logins = admin_logins(with);
        self.end_sessions(which, &[&logins.as_slice(), &subject, &format!("{subject}{}", with.run)]).await
    }

    /// A session as the login that replicates on a cluster, to work on one tenant, whose lock is held. No statement of an earlier holder's,
    /// or of an earlier attempt of ours, runs on after this.
    pub(crate) async fn open_to_replicate(
        with: &Provisioner,
        cluster: &Cluster,
        database: &str,
        tenant: &Tenant,
    ) -> Result<Self> {
        let Some((user, sealed)) = replicators::get(&with.control, cluster.id).await? else {
            return Err(Error::Conflict(no_replicator(cluster)));
        };
        let key = with.platform_key(strowger::control::keys::Ring::Admin).await?;
        let password = key
            .open(&user, &sealed)
            .map_err(Error::vault(format!("the login that replicates on cluster {}", cluster.name)))?;
        let what = format!("database {database} on cluster {}", cluster.name);
        let mut config = login(&cluster.address, &user, &password, database);
        let name = Self::session_of(with, tenant);
        config.application_name(&name);
        let client = connect(config, &cluster.address, &what).await?;
        let db = Self { client, cluster: cluster.id, database: database.to_owned(), what, jobs: 1 };
        db.run(DURABLE).await?;
        let which = "usename = $1::text::name and starts_with(application_name, $2) and pid <> pg_backend_pid()";
        db.end_sessions(which, &[&user, &Self::sessions_of(tenant)]).await?;
        Ok(db)
    }

    async fn open_as(with: &Provisioner, cluster: &Cluster, database: &str, name: &str) -> Result<Self> {
        match Self::open_once(with, cluster, database, name).await {
            // The login may have retired since control was asked for it: asked again, it names the next one.
            Err(Error::Postgres { sqlstate, .. }) if matches!(sqlstate.as_str(), "28P01" | "28000") => {
                Self::open_once(with, cluster, database, name).await
            }
            opened => opened,
        }
    }

    async fn open_once(with: &Provisioner, cluster: &Cluster, database: &str, name: &str) -> Result<Self> {
        let (user, sealed) = clusters::admin(&with.control, cluster.id).await?;
        let key = with.platform_key(strowger::control::keys::Ring::Admin).await?;
        let password = key
            .open(&user, &sealed)
            .map_err(Error::vault(format!("the admin credential of cluster {}", cluster.name)))?;
        Self::enter(with, cluster, database, &user, &password, name).await
    }

    async fn enter(
        with: &Provisioner,
        cluster: &Cluster,
        database: &str,
        user: &str,
        password: &Secret,
        name: &str,
    ) -> Result<Self> {
        let what = format!("database {database} on cluster {}", cluster.name);
        let mut config = login(&cluster.address, user, password, database);
        config.application_name(name);
        let client = connect(config, &cluster.address, &what).await?;
        let db = Self { client, cluster: cluster.id, database: database.to_owned(), what, jobs: 1 };
        db.run(&format!("set role {}; {DURABLE}", ident(&with.installation.prefix.name("admin")))).await?;
        Ok(db)
    }

    /// Whether its server has not gone away.
    pub(crate) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Whether it can go on to be used for that database.
    pub(crate) fn is_open_in(&self, database: &str) -> bool {
        self.database == database && self.is_open()
    }

    /// Runs statements without parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Runs statements without parameters, and gives the rows of those that have some, as texts.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>> {
        let found = self.client.simple_query(sql).await.map_err(Error::postgres(self.what.clone()))?;
        let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
        Ok(found.into_iter().filter_map(row).collect())
    }

    /// Runs one query.
    pub(crate) async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.client.query(sql, params).await.map_err(Error::postgres(self.what.clone()))
    }

    /// Waits until the sessions of logins that are refused have ended, and ends those that outstay their grace.
    pub(crate) async fn drain(&self, logins: &[String]) -> Result<()> {
        let mut left = GRACE;
        while !left.is_zero()
            && !self.query("select 1 from pg_stat_activity where usename = any($1)", &[&logins]).await?.is_empty()
        {
            tokio::time::sleep(LOOK).await;
            left = left.saturating_sub(LOOK);
        }
        self.end_sessions("usename = any($1)", &[&logins]).await
    }

    /// Ends sessions and waits until none is left. `which` is a condition on `pg_stat_activity`.
    pub(crate) async fn end_sessions(&self, which: &str, params: &[&(dyn ToSql + Sync)]) -> Result<()> {
        let sql = format!("select count(pg_terminate_backend(pid)) from pg_stat_activity where {which}");
        for _ in 0..200 {
            let left: i64 = self.query(&sql, params).await?.first().map_or(0, |row| row.get(0));
            if left == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Error::Unavailable(format!("{}: sessions did not end; run the command again", self.what)))
    }

    /// Whether a query about one name in the catalogs has a row; one round trip.
    pub(crate) async fn exists(&self, sql: &str, name: &str) -> Result<bool> {
        let rows = self.client.query_typed(sql, &[(&name, Type::NAME)]).await;
        Ok(!rows.map_err(Error::postgres(self.what.clone()))?.is_empty())
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>> {
        self.client.transaction().await.map_err(Error::postgres(self.what.clone()))
    }

    /// Begins a transaction all of whose statements see the same moment.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<Transaction<'_>> {
        let begun = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await;
        begun.map_err(Error::postgres(self.what.clone()))
    }

    /// For error texts.
    pub(crate) fn what(&self) -> String {
        self.what.clone()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        assert_eq!(super::ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(super::literal("a'b"), "'a''b'");
        assert_eq!(super::literal("a\\'b"), "E'a\\\\''b'");
    }
}
