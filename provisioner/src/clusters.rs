//! Clusters in service: closed to new tenants and opened again, taken out of the registry, and looked at.
//!
//! Preparing a server is [`bootstrap`](crate::bootstrap)'s. Everything here is one transaction in the control database or only reads:
//! there is nothing to finish after a kill.

use std::time::Duration;

use serde::Serialize;
use strowger::control::clusters::{self, Admission, Cluster, Isolation, Occupancy};
use strowger::control::replicators;
use strowger::schema;

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::bootstrap::SETTINGS;
use crate::error::{Error, Result};
use crate::steps::MAINTENANCE_DATABASE;

/// How long one cluster may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps new tenants away from a cluster, or lets them in again. From when this returns none is placed there.
pub async fn cordon(with: &Provisioner, name: &str, undo: bool) -> Result<()> {
    set_admission(with, name, if undo { Admission::Open } else { Admission::Cordoned }).await
}

/// Keeps new tenants away and says how many are still there. Nothing is moved.
pub async fn drain(with: &Provisioner, name: &str) -> Result<u32> {
    set_admission(with, name, Admission::Draining).await?;
    Ok(named(with, Some(name)).await?.first().map_or(0, |(_, held)| held.kept))
}

/// Whether tenants can move from and to a cluster while they are written to; one that is not registered needs no login for that.
pub(crate) async fn is_online(with: &Provisioner, name: &str) -> Result<bool> {
    let all = clusters::list(&with.control).await?;
    let Some(cluster) = all.iter().find(|cluster| cluster.name == name) else { return Ok(true) };
    Ok(replicators::get(&with.control, cluster.id).await?.is_some())
}

/// Forgets the login that may replicate on a cluster; its name, for whoever drops it there.
pub async fn forbid_online(with: &Provisioner, name: &str) -> Result<String> {
    let cluster = crate::moving::cluster(with, name).await?;
    let all = strowger::control::moves::list(&with.control).await?;
    if let Some(one) = all.iter().find(|one| one.replicates) {
        return Err(Error::Conflict(format!(
            "tenant {} is being moved with it: wait for that, or cancel its job",
            one.tenant
        )));
    }
    let mut change = with.control.change(&with.actor).await?;
    replicators::forget(&mut change, cluster.id).await?;
    change.commit().await?;
    Ok(with.installation.prefix.name("replicator"))
}

async fn set_admission(with: &Provisioner, name: &str, admission: Admission) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    clusters::set_admission(&mut change, name, admission).await?;
    Ok(change.commit().await?)
}

/// Forgets a cluster on which no tenant's data is left, with the admin login's credential. What is left on the server comes
/// back, as the statements that a superuser can remove it with.
pub async fn remove(with: &Provisioner, name: &str) -> Result<Vec<String>> {
    let mut change = with.control.change(&with.actor).await?;
    clusters::remove(&mut change, name).await?;
    change.commit().await?;
    let prefix = &with.installation.prefix;
    Ok([
        format!("alter database {} is_template false", prefix.name("template")),
        format!("drop database {}", prefix.name("template")),
        format!("drop database if exists {}", Cluster::shared_database(prefix)),
        format!("drop role if exists {}", prefix.name("tenants")),
        format!("revoke connect on database postgres, template1 from {}", prefix.name("admin")),
        format!("drop role if exists {}", prefix.name("replicator")),
        format!("drop role {}", ["admin_a", "admin_b", "admin"].map(|what| prefix.name(what)).join(", ")),
    ]
    .into())
}

/// A cluster as the control database knows it, and what it says itself.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The operator's name for it.
    pub name: String,
    /// `shared` or `dedicated`.
    pub kind: String,
    /// Its region label.
    pub region: String,
    /// Whether it takes new tenants.
    pub admission: Admission,
    /// Tenants whose data is there, deleted ones too.
    pub tenants: u32,
    /// What all servers together may hold open there.
    pub budget: u32,
    /// Whether it answered.
    pub reachable: bool,
    /// Why not.
    pub error: Option<String>,
    /// What it said.
    #[serde(flatten)]
    pub said: Said,
}

/// What a cluster says of itself; nothing if it does not answer.
#[derive(Debug, Default, Serialize)]
pub struct Said {
    /// Postgres's version.
    pub version: Option<String>,
    /// Sessions of everybody.
    pub connections: Option<i64>,
    /// How many sessions the server admits.
    pub max_connections: Option<i64>,
    /// Tables, indexes and TOAST of tenants: counted in a shared database, estimated for databases of their own.
    pub relations: Option<i64>,
    /// Of all this installation's databases there.
    pub size_bytes: Option<i64>,
    /// The age of the oldest transaction, of whatever role.
    pub oldest_transaction_s: Option<i64>,
    /// Settings that are not what `cluster add` demands, as `name = 'what it must be'`.
    pub wrong_settings: Option<Vec<String>>,
}

/// Asks a cluster, or all of them, how they are. One that does not answer says so in its row.
pub async fn status(with: &Provisioner, name: Option<&str>) -> Result<Vec<Status>> {
    let mut all = Vec::new();
    for (cluster, held) in named(with, name).await? {
        let asked = tokio::time::timeout(PATIENCE, ask(with, &cluster, held)).await;
        let late = || Err(Error::Unavailable(format!("no answer within {} s", PATIENCE.as_secs())));
        let (said, error) = match asked.unwrap_or_else(|_| late()) {
            Ok(said) => (said, None),
            Err(error) => (Said::default(), Some(error.to_string())),
        };
        all.push(Status {
            name: cluster.name,
            kind: cluster.kind,
            region: cluster.region,
            admission: cluster.admission,
            tenants: held.kept,
            budget: cluster.connection_budget,
            reachable: error.is_none(),
            error,
            said,
        });
    }
    Ok(all)
}

async fn named(with: &Provisioner, name: Option<&str>) -> Result<Vec<(Cluster, Occupancy)>> {
    let all = clusters::occupancy(&with.control).await?;
    let Some(name) = name else { return Ok(all) };
    let found: Vec<_> = all.into_iter().filter(|(cluster, _)| cluster.name == name).collect();
    if found.is_empty() { Err(Error::Conflict(clusters::unknown_cluster(name))) } else { Ok(found) }
}

async fn ask(with: &Provisioner, cluster: &Cluster, held: Occupancy) -> Result<Said> {
    let db = AdminDb::open(with, cluster, MAINTENANCE_DATABASE).await?;
    let sql = "select current_setting('server_version'), current_setting('max_connections')::bigint,
                      (select sum(numbackends)::bigint from pg_stat_database),
                      (select sum(pg_database_size(oid))::bigint from pg_database where starts_with(datname, $1)),
                      (select extract(epoch from max(now() - xact_start))::bigint from pg_stat_activity)";
    let ours = with.installation.prefix.name("");
    let rows = db.query(sql, &[&ours]).await?;
    let Some(row) = rows.first() else { return Ok(Said::default()) };
    Ok(Said {
        version: row.get(0),
        max_connections: row.get(1),
        connections: row.get(2),
        size_bytes: row.get(3),
        oldest_transaction_s: row.get(4),
        relations: Some(relations(with, cluster, held).await?),
        wrong_settings: Some(wrong_settings(&db).await?),
    })
}

async fn relations(with: &Provisioner, cluster: &Cluster, held: Occupancy) -> Result<i64> {
    if cluster.kind != Isolation::Schema.cluster_kind() {
        // Each database would have to be asked on a connection of its own.
        return Ok(i64::from(held.kept) * i64::try_from(schema::RELATIONS).unwrap_or(0));
    }
    let db = AdminDb::open(with, cluster, &Cluster::shared_database(&with.installation.prefix)).await?;
    // Below 16384 are Postgres's own.
    let rows = db.query("select count(*) from pg_class where oid >= 16384", &[]).await?;
    Ok(rows.first().map_or(0, |row| row.get(0)))
}

async fn wrong_settings(db: &AdminDb) -> Result<Vec<String>> {
    let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
    let rows = db.query("select name, setting from pg_settings where name = any($1)", &[&names]).await?;
    let found: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let wrong = SETTINGS.iter().filter(|(name, needed)| !found.iter().any(|(n, s)| n == name && s == needed));
    Ok(wrong.map(|(name, needed)| format!("{name} = '{needed}'")).collect())
}
