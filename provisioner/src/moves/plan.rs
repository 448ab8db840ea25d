//! What a move would be, before anything is changed: how much there is, what the other server is, and what speaks against it.

use serde::Serialize;
use strowger::control::clusters::{self, Cluster, Isolation, Occupancy};
use strowger::control::jobs::{self, Kind, State as JobState};
use strowger::control::moves as rows;
use strowger::control::restores;
use strowger::control::tenants::Tenant;
use strowger::control::turns::{self, Whose};
use strowger::id::TenantId;
use strowger::schema::{self, HISTORY_TABLE};

use super::extensions::{self, Extension};
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::placement::{self, Candidate, Wanted};
use crate::steps::{self, MAINTENANCE_DATABASE, Owner};
use crate::{Provisioner, backup, moving, replication};

/// A careful guess at what goes through in a second: read, checked, written, indexed, and read back.
const BYTES_PER_S: i64 = 8 * 1024 * 1024;

/// What a move would be.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Whose.
    pub customer_id: TenantId,
    /// Where it lives.
    pub from: Side,
    /// Where it would live.
    pub to: Side,
    /// Of its schema; it stays.
    pub schema_version: Option<i32>,
    /// Of all tables.
    pub rows: i64,
    /// Of all tables with their indexes.
    pub bytes: i64,
    /// Each table.
    pub tables: Vec<Size>,
    /// What its database has beyond Postgres itself.
    pub extensions: Vec<Extension>,
    /// Why it would have to move offline; nothing: it can be written to while it moves.
    pub only_offline: Vec<String>,
    /// About how long it takes, by its size alone; offline nothing can be written to it for so long.
    pub estimated_s: i64,
    /// What there is on the cluster where it would live.
    pub room: Room,
    /// What is lost on the way.
    pub notes: Vec<String>,
    /// Why it would be refused now; nothing: it would not.
    pub refused: Vec<String>,
}

/// One end of a move.
#[derive(Debug, Serialize)]
pub struct Side {
    /// The cluster's name.
    pub cluster: String,
    /// How the tenant is kept apart there.
    pub isolation: Isolation,
    /// Its database there.
    pub database: String,
    /// What the server calls itself.
    pub postgres: String,
}

/// A table's size.
#[derive(Debug, Serialize)]
pub struct Size {
    /// Its name.
    pub name: String,
    /// How many rows.
    pub rows: i64,
    /// With indexes and TOAST.
    pub bytes: i64,
}

/// What a cluster holds, and could.
#[derive(Debug, Serialize)]
pub struct Room {
    /// Tenants whose data is there.
    pub tenants: u32,
    /// What all servers together may hold open there.
    pub connection_budget: u32,
    /// Sessions of everybody now.
    pub connections: i64,
    /// How many sessions the server admits.
    pub max_connections: i64,
    /// Tables, indexes and TOAST of tenants, estimated.
    pub relations: u64,
}

/// Looks at both ends. Nothing is locked and nothing is changed.
pub async fn plan(with: &Provisioner, id: TenantId, to: &str) -> Result<Plan> {
    let tenant = steps::tenant(with, id).await?;
    let (from, to) = (steps::cluster_of(with, &tenant).await?, moving::cluster(with, to).await?);
    let there = tenant.at(&moving::place_on(with, &to, &tenant));
    let (here_db, there_db) = (
        AdminDb::open(with, &from, MAINTENANCE_DATABASE).await?,
        AdminDb::open(with, &to, MAINTENANCE_DATABASE).await?,
    );
    let (here_server, there_server) = (Server::of(&here_db).await?, Server::of(&there_db).await?);
    let all = clusters::occupancy(&with.control).await?;
    let held =
        all.into_iter().find(|(cluster, _)| cluster.id == to.id).map_or_else(Occupancy::default, |(_, held)| held);

    let mut refused = refusals(with, &tenant, &to, held).await?;
    if tenant.cluster_id() != to.id && here_server.identity == there_server.identity {
        refused.push(format!(
            "clusters {} and {} are one server, and a tenant's roles are one server's",
            from.name, to.name
        ));
    }
    if there_server.connections + 3 >= there_server.max_connections {
        refused.push(format!("cluster {} has no session left", to.name));
    }
    refused.extend(leftovers(with, &tenant, &there, &there_db).await?);
    let (mut tables, mut extensions) = (Vec::new(), Vec::new());
    let mut schema_version = None;
    if backup::has_data(&tenant) {
        extensions = extensions::of(with, (&from, &tenant), (&to, &there), &there_db).await?;
        refused.extend(extensions::missing(&extensions, &there));
        match sizes(with, &from, &tenant).await {
            Ok((version, sizes)) => (schema_version, tables) = (Some(version), sizes),
            Err(Error::Conflict(why)) => refused.push(why),
            Err(other) => return Err(other),
        }
    }
    let only_offline = if tenant.cluster_id() == to.id {
        Vec::new()
    } else {
        super::way::obstacles(with, &tenant, (&from, &here_db), (&to, &there_db)).await?
    };
    let bytes = tables.iter().map(|table| table.bytes).sum();
    Ok(Plan {
        customer_id: id,
        from: side(&tenant, here_server.version),
        to: side(&there, there_server.version),
        schema_version,
        rows: tables.iter().map(|table| table.rows).sum(),
        bytes,
        tables,
        extensions,
        estimated_s: 1 + bytes / BYTES_PER_S,
        room: Room {
            tenants: held.kept,
            connection_budget: to.connection_budget,
            connections: there_server.connections,
            max_connections: there_server.max_connections,
            relations: u64::from(held.kept) * schema::RELATIONS,
        },
        notes: notes(with, &tenant, &to, only_offline.is_empty().then_some(&here_db)).await?,
        only_offline,
        refused,
    })
}

fn side(tenant: &Tenant, postgres: String) -> Side {
    Side { cluster: tenant.cluster.clone(), isolation: tenant.isolation, database: tenant.database.clone(), postgres }
}

/// What control knows that speaks against it.
async fn refusals(with: &Provisioner, tenant: &Tenant, to: &Cluster, held: Occupancy) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    let id = tenant.id;
    if tenant.cluster_id() == to.id {
        refused.push(format!("it lives on cluster {} already", to.name));
    }
    if !tenant.state.is_kept() {
        refused.push(format!("it is {}", tenant.state.as_str()));
    }
    let candidate = Candidate::of((to.clone(), held));
    let wanted = Wanted { isolation: to.isolation(), cluster: Some(&to.name), region: None };
    refused.extend(placement::why_not(&candidate, &wanted).map(|why| format!("cluster {} {why}", to.name)));
    if candidate.is_crowded() {
        refused.push(format!("cluster {} is full: its catalogs are crowded", to.name));
    }
    if let Some(turn) = turns::get(&with.control, Whose::Tenant(id)).await?
        && (turn.next.is_some() || turn.retiring.is_some())
    {
        refused.push(format!("its logins change turns: `strowgerctl rotate tenant {id}` ends that"));
    }
    for job in jobs::list(&with.control, Some(id), None, i64::MAX).await? {
        // One that has shut the tenant out, and waits to be tried again, would look for its schemas where they are no more.
        let restores = job.kind == Kind::Restore && job.state.is_open();
        if restores || job.state == JobState::Running {
            refused.push(format!("job {} ({}) is at it: `strowgerctl job wait {0}`", job.id, job.kind.as_str()));
        }
    }
    Ok(refused)
}

/// What is there that no move of the tenant has left: it is not written over.
async fn leftovers(with: &Provisioner, tenant: &Tenant, there: &Tenant, db: &AdminDb) -> Result<Option<String>> {
    let known = rows::get(&with.control, tenant.id).await?.is_some_and(|row| row.place.cluster == there.cluster_id());
    if known || tenant.cluster_id() == there.cluster_id() {
        return Ok(None);
    }
    let names: Vec<String> =
        ["owner", "rw", "a", "b"].map(|what| with.installation.prefix.tenant(tenant.id, what)).into();
    let sql = "select rolname::text from pg_roles where rolname = any ($1)
               union all select datname::text from pg_database where datname = $2";
    let own = with.installation.prefix.tenant_database(tenant.id);
    let found: Vec<String> = db.query(sql, &[&names, &own]).await?.iter().map(|row| row.get(0)).collect();
    Ok((!found.is_empty()).then(|| {
        format!(
            "cluster {} has {} already, and nobody knows why: `strowgerctl doctor`",
            there.cluster,
            found.join(", ")
        )
    }))
}

/// What nobody is asked about. `here` is a session of the source, when the tenant can move online.
async fn notes(with: &Provisioner, tenant: &Tenant, to: &Cluster, here: Option<&AdminDb>) -> Result<Vec<String>> {
    let mut notes = match here {
        Some(here) => of_source(tenant, here).await?,
        None => Vec::new(),
    };
    if restores::kept(&with.control, tenant.id).await?.is_some() {
        notes.push(
            "what its last restore replaced stays behind: `backup undo` does not bring it back after the move"
                .to_owned(),
        );
    }
    if let Some(former) = rows::get(&with.control, tenant.id).await?
        && former.place.cluster != to.id
    {
        notes.push(format!("what is kept of it on cluster {} is dropped first", former.place.cluster_name));
    }
    Ok(notes)
}

/// What an online move waits for at the source, and what could fill its disk meanwhile.
async fn of_source(tenant: &Tenant, here: &AdminDb) -> Result<Vec<String>> {
    let mut notes: Vec<String> = replication::old_transactions(here)
        .await?
        .iter()
        .map(|old| {
            format!("online it waits for a transaction on cluster {}, --patience at most: {old}", tenant.cluster)
        })
        .collect();
    let sql = "select current_setting('max_slot_wal_keep_size') = '-1'";
    if here.query(sql, &[]).await?.first().is_some_and(|row| row.get(0)) {
        notes.push(format!(
            "cluster {} keeps as much of its log for a slot as there is: max_slot_wal_keep_size would cap that",
            tenant.cluster
        ));
    }
    Ok(notes)
}

/// A server, as it says itself.
struct Server {
    version: String,
    identity: i64,
    connections: i64,
    max_connections: i64,
}

impl Server {
    async fn of(db: &AdminDb) -> Result<Self> {
        let sql = "select current_setting('server_version'), (select system_identifier from pg_control_system()),
                          (select sum(numbackends)::bigint from pg_stat_database), current_setting('max_connections')::bigint";
        let rows = db.query(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::Unavailable(format!("{} does not say what it is", db.what())))?;
        Ok(Self { version: row.get(0), identity: row.get(1), connections: row.get(2), max_connections: row.get(3) })
    }
}

/// The schema's version, and how much each table holds. One that no migration made would be left behind, so it is refused.
async fn sizes(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<(i32, Vec<Size>)> {
    let mut db = AdminDb::open(with, cluster, &tenant.database).await?;
    let sql = "select c.relname::text, pg_total_relation_size(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = $1 and c.relkind in ('r', 'p', 'm', 'v', 'f') order by c.oid";
    let there: Vec<(String, i64)> =
        db.query(sql, &[&tenant.schema]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    let owner = Owner::reading(&mut db, &with.installation.prefix, tenant).await?;
    owner.enter(&tenant.schema).await?;
    let version = backup::version_of(&owner, tenant).await?;
    let known = schema::tables(version);
    let unknown: Vec<&str> = there
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| *name != HISTORY_TABLE && !known.contains(name))
        .collect();
    if !unknown.is_empty() {
        return Err(Error::Conflict(format!("its schema has {} that no migration made", unknown.join(", "))));
    }
    let counts: Vec<String> =
        known.iter().map(|name| format!("(select count(*) from {})", crate::admin_db::ident(name))).collect();
    let counted = owner.query_one(&format!("select {}", counts.join(", ")), &[]).await?;
    owner.lay_down().await?;
    let size = |(at, name): (usize, &&str)| Size {
        name: (*name).to_owned(),
        rows: counted.get(at),
        bytes: there.iter().find(|(there, _)| there == name).map_or(0, |(_, bytes)| *bytes),
    };
    Ok((version, known.iter().enumerate().map(size).collect()))
}
