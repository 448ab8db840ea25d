//! Whether a tenant can be written to while it moves, and what speaks against it.

use strowger::control::clusters::Cluster;
use strowger::control::replicators;
use strowger::control::tenants::Tenant;

use super::Plan;
use crate::Provisioner;
use crate::admin_db::{AdminDb, no_replicator};
use crate::error::{Error, Result};

/// How a tenant is carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is copied while it is written to; only the last of it is carried over while nothing is written. Refused where a server cannot.
    Online,
    /// Nothing is written while all of it is carried over.
    Offline,
    /// Online where both servers can.
    Either,
}

/// What an operator says of a move beside where it goes.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// How the tenant is carried over.
    pub way: Way,
    /// For how many seconds what it leaves is kept.
    pub keep_s: i64,
    /// How many seconds transactions that began before an online move may take to end.
    pub patience_s: i64,
}

/// Whether it goes online.
pub(super) fn chosen(planned: &Plan, way: Way) -> Result<bool> {
    match way {
        Way::Offline => Ok(false),
        Way::Either => Ok(planned.only_offline.is_empty()),
        Way::Online if planned.only_offline.is_empty() => Ok(true),
        Way::Online => Err(Error::Conflict(format!(
            "tenant {} does not move while it is written to: {}; with --offline it moves, and nothing is written meanwhile",
            planned.customer_id,
            planned.only_offline.join("; ")
        ))),
    }
}

/// Why a tenant can move offline only; `here` and `there` are sessions of the two servers.
pub(super) async fn obstacles(
    with: &Provisioner,
    tenant: &Tenant,
    (from, here): (&Cluster, &AdminDb),
    (to, there): (&Cluster, &AdminDb),
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for cluster in [from, to] {
        if replicators::get(&with.control, cluster.id).await?.is_none() {
            found.push(no_replicator(cluster));
        }
    }
    found.extend(at_source(from, here).await?);
    found.extend(at_target(to, there).await?);
    found.extend(without_key(with, from, tenant).await?);
    Ok(found)
}

async fn at_source(from: &Cluster, here: &AdminDb) -> Result<Vec<String>> {
    let sql = "select current_setting('wal_level') = 'logical', current_setting('server_version_num')::int >= 150000,
                      (select count(*) from pg_replication_slots) < current_setting('max_replication_slots')::bigint,
                      (select count(*) from pg_stat_replication) < current_setting('max_wal_senders')::bigint";
    let whys = [
        "does not log what replication needs: as superuser, alter system set wal_level = 'logical', and restart it",
        "is older than Postgres 15",
        "has no replication slot left (max_replication_slots)",
        "has no WAL sender left (max_wal_senders)",
    ];
    unmet(from, here, sql, &whys).await
}

async fn at_target(to: &Cluster, there: &AdminDb) -> Result<Vec<String>> {
    let sql = "select current_setting('server_version_num')::int >= 150000,
                      (select count(*) from pg_subscription) < current_setting('max_replication_slots')::bigint,
                      (select count(*) from pg_subscription where subenabled) < current_setting('max_logical_replication_workers')::bigint";
    let whys = [
        "is older than Postgres 15",
        "has no replication origin left (max_replication_slots)",
        "has no worker left (max_logical_replication_workers)",
    ];
    unmet(to, there, sql, &whys).await
}

async fn unmet(cluster: &Cluster, db: &AdminDb, sql: &str, whys: &[&str]) -> Result<Vec<String>> {
    let rows = db.query(sql, &[]).await?;
    let is_met = |at: usize| rows.first().is_some_and(|row| row.get(at));
    let unmet = whys.iter().enumerate().filter(|(at, _)| !is_met(*at));
    Ok(unmet.map(|(_, why)| format!("cluster {} {why}", cluster.name)).collect())
}

/// A change of a row that nothing identifies cannot be carried along.
async fn without_key(with: &Provisioner, from: &Cluster, tenant: &Tenant) -> Result<Option<String>> {
    let db = AdminDb::open(with, from, &tenant.database).await?;
    let sql = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = $1 and c.relkind = 'r' and c.relreplident in ('d', 'n') and c.relname <> $2
                 and (c.relreplident = 'n' or not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))
               order by 1";
    let rows = db.query(sql, &[&tenant.schema, &strowger::schema::HISTORY_TABLE]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((!names.is_empty()).then(|| format!("nothing identifies the rows of {}", names.join(", "))))
}
