//! Postgres servers that hold tenants.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Change, Control, ControlError};
use crate::id::Prefix;
use crate::vault::{LoginPassword, Sealed};

/// A cluster's key in the control database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ClusterId(pub(crate) i32);

impl ClusterId {
    /// The number itself, for sorting and SQL parameters.
    pub fn get(self) -> i32 {
        self.0
    }

    /// As read from its column.
    pub fn from_stored(id: i32) -> Self {
        Self(id)
    }
}

/// How a tenant is kept apart on its cluster. The guarantees are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A schema in the cluster's shared database.
    Schema,
    /// A database of its own.
    Database,
}

impl Isolation {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Database => "database",
        }
    }
    /// The kind of cluster that holds it.
    pub fn cluster_kind(self) -> &'static str {
        match self {
            Self::Schema => "shared",
            Self::Database => "dedicated",
        }
    }
}

impl std::str::FromStr for Isolation {
    type Err = ControlError;
    fn from_str(s: &str) -> Result<Self, ControlError> {
        match s {
            "schema" => Ok(Self::Schema),
            "database" => Ok(Self::Database),
            other => Err(ControlError::Unknown(format!("isolation {other}"))),
        }
    }
}

/// Whether and how connections to a cluster are encrypted.
#[derive(Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: for a loopback address or a tunnel.
    Disable,
    /// With the server's name checked against this authority (PEM), or against the public ones.
    VerifyFull(Option<String>),
}

impl Tls {
    /// The two stored columns.
    pub fn to_columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Disable => ("disable", None),
            Self::VerifyFull(ca) => ("verify-full", ca.as_deref()),
        }
    }

    pub(super) fn from_columns(mode: &str, ca: Option<String>) -> Result<Self, ControlError> {
        match mode {
            "disable" => Ok(Self::Disable),
            "verify-full" => Ok(Self::VerifyFull(ca)),
            other => Err(ControlError::Unknown(format!("tls {other}"))),
        }
    }
}

/// Where a cluster listens.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// A host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How to encrypt.
    pub tls: Tls,
}

/// Whether a cluster takes new tenants. Those it has are served whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// It does.
    Open,
    /// It does not.
    Cordoned,
    /// It does not, and those that live there are to be moved away.
    Draining,
}

impl Admission {
    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
        }
    }
}

impl std::str::FromStr for Admission {
    type Err = ControlError;
    fn from_str(s: &str) -> Result<Self, ControlError> {
        [Self::Open, Self::Cordoned, Self::Draining]
            .into_iter()
            .find(|admission| admission.as_str() == s)
            .ok_or_else(|| ControlError::Unknown(format!("admission {s}")))
    }
}

/// One Postgres server.
#[derive(Clone)]
pub struct Cluster {
    /// Its key.
    pub id: ClusterId,
    /// The operator's name for it.
    pub name: String,
    /// `shared` or `dedicated`.
    pub kind: String,
    /// A label for choosing; may be empty.
    pub region: String,
    /// Where it listens.
    pub address: Address,
    /// What all instances together may hold open here.
    pub connection_budget: u32,
    /// Whether it takes new tenants.
    pub admission: Admission,
}

impl Cluster {
    /// How tenants are kept apart there.
    pub fn isolation(&self) -> Isolation {
        if self.kind == Isolation::Schema.cluster_kind() { Isolation::Schema } else { Isolation::Database }
    }

    /// The database that holds tenants' schemas on a shared cluster.
    pub fn shared_database(prefix: &Prefix) -> String {
        prefix.name("shared")
    }
}

const COLUMNS: &str = "id, name, kind, region, host, port, tls, tls_ca, connection_budget, admission";

fn from_row(row: &PgRow) -> Result<Cluster, ControlError> {
    Ok(Cluster {
        id: ClusterId(row.try_get("id")?),
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        region: row.try_get("region")?,
        address: address(row)?,
        connection_budget: u32::try_from(row.try_get::<i32, _>("connection_budget")?).unwrap_or(1),
        admission: row.try_get::<String, _>("admission")?.parse()?,
    })
}

pub(super) fn address(row: &PgRow) -> Result<Address, ControlError> {
    let port: i32 = row.try_get("port")?;
    Ok(Address {
        host: row.try_get("host")?,
        port: u16::try_from(port).map_err(|_| ControlError::Unknown(format!("port {port}")))?,
        tls: Tls::from_columns(row.try_get("tls")?, row.try_get("tls_ca")?)?,
    })
}

/// All clusters, oldest first.
pub async fn list(control: &Control) -> Result<Vec<Cluster>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select {COLUMNS} from clusters order by id"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// The cluster of that id, if there is one.
pub async fn get(control: &Control, id: ClusterId) -> Result<Option<Cluster>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("select {COLUMNS} from clusters where id = $1"));
    sqlx::query(sql).bind(id.0).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// How many tenants a cluster holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Those that may hold connections: all but the deleted ones.
    pub served: u32,
    /// All whose data is there, deleted ones too.
    pub kept: u32,
}

const WITH_OCCUPANCY: &str = "select clusters.*, coalesce(o.kept - o.deleted, 0) as served, coalesce(o.kept, 0) as kept
     from clusters left join occupancy o on o.cluster_id = clusters.id
     order by clusters.id";

fn occupied(row: &PgRow) -> Result<(Cluster, Occupancy), ControlError> {
    let count =
        |column| -> Result<u32, ControlError> { Ok(u32::try_from(row.try_get::<i32, _>(column)?).unwrap_or(0)) };
    Ok((from_row(row)?, Occupancy { served: count("served")?, kept: count("kept")? }))
}

/// All clusters, oldest first, with what they hold.
pub async fn occupancy(control: &Control) -> Result<Vec<(Cluster, Occupancy)>, ControlError> {
    sqlx::query(WITH_OCCUPANCY).fetch_all(control.pool()).await?.iter().map(occupied).collect()
}

/// The same within a change, where a new tenant is about to be placed.
///
/// After [`super::tenants::reserve`], which lets in one at a time, it counts every placement made before. The rows stay as they
/// are until the change ends: a cluster that is cordoned meanwhile waits for us.
pub async fn candidates(change: &mut Change) -> Result<Vec<(Cluster, Occupancy)>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{WITH_OCCUPANCY} for share of clusters"));
    sqlx::query(sql).fetch_all(change.conn()).await?.iter().map(occupied).collect()
}

/// Opens a cluster to new tenants, or closes it.
pub async fn set_admission(change: &mut Change, name: &str, admission: Admission) -> Result<(), ControlError> {
    let done = sqlx::query("update clusters set admission = $2 where name = $1")
        .bind(name)
        .bind(admission.as_str())
        .execute(change.conn())
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(unknown_cluster(name)));
    }
    let detail = serde_json::json!({ "cluster": name, "admission": admission.as_str() });
    change.record("cluster.set_admission", None, detail).await
}

/// What to say of a name that no cluster has.
pub fn unknown_cluster(name: &str) -> String {
    format!("there is no cluster {name}: see `strowgerctl cluster list`")
}

/// Forgets a cluster and the credential for it. One where any tenant's data is left is refused, and stays as it was.
pub async fn remove(change: &mut Change, name: &str) -> Result<(), ControlError> {
    // Whoever places a tenant there has the row, or waits for it.
    let row = sqlx::query("select id, host, port from clusters where name = $1 for update")
        .bind(name)
        .fetch_optional(change.conn())
        .await?
        .ok_or_else(|| ControlError::Conflict(unknown_cluster(name)))?;
    let id: i32 = row.try_get(0)?;
    let kept: i64 = sqlx::query_scalar("select count(*) from placements where cluster_id = $1")
        .bind(id)
        .fetch_one(change.conn())
        .await?;
    if kept > 0 {
        return Err(ControlError::Conflict(format!(
            "{kept} tenants that are not erased live on cluster {name}: see `strowgerctl tenant list`; deleted ones count until \
             they are erased. `strowgerctl cluster drain {name}` keeps new ones away"
        )));
    }
    let former: i64 = sqlx::query_scalar("select count(*) from moves where cluster_id = $1")
        .bind(id)
        .fetch_one(change.conn())
        .await?;
    if former > 0 {
        return Err(ControlError::Conflict(format!(
            "{former} tenants are on their way to cluster {name}, or have left it and what they had there is kept: a worker drops that in its time"
        )));
    }
    for sql in [
        "delete from cluster_replicators where cluster_id = $1",
        "delete from cluster_admins where cluster_id = $1",
        "delete from clusters where id = $1",
    ] {
        sqlx::query(sql).bind(id).execute(change.conn()).await?;
    }
    let (host, port): (String, i32) = (row.try_get(1)?, row.try_get(2)?);
    change.record("cluster.remove", None, serde_json::json!({ "cluster": name, "host": host, "port": port })).await
}

/// A cluster to be registered.
pub struct NewCluster<'a> {
    /// The operator's name for it.
    pub name: &'a str,
    /// Which isolation it is for.
    pub holds: Isolation,
    /// A label for choosing.
    pub region: &'a str,
    /// Where it listens.
    pub address: &'a Address,
    /// What all instances together may hold open here.
    pub connection_budget: u32,
    /// The role that the provisioner logs in as.
    pub admin_login: &'a str,
    /// Its password, under the provisioner's ring.
    pub admin_password: &'a Sealed<LoginPassword>,
}

/// Registers a cluster, or gives a registered one a new address and credential.
pub async fn put(change: &mut Change, new: &NewCluster<'_>) -> Result<ClusterId, ControlError> {
    let (tls, ca) = new.address.tls.to_columns();
    let sql = "insert into clusters (name, kind, region, host, port, tls, tls_ca, connection_budget)
               values ($1, $2, $3, $4, $5, $6, $7, $8)
               on conflict (name) do update set host = excluded.host, port = excluded.port, tls = excluded.tls,
                   tls_ca = excluded.tls_ca, connection_budget = excluded.connection_budget, region = excluded.region
               returning id";
    let id: i32 = sqlx::query_scalar(sql)
        .bind(new.name)
        .bind(new.holds.cluster_kind())
        .bind(new.region)
        .bind(&new.address.host)
        .bind(i32::from(new.address.port))
        .bind(tls)
        .bind(ca)
        .bind(i32::try_from(new.connection_budget).unwrap_or(i32::MAX))
        .fetch_one(change.conn())
        .await?;
    let sql = "insert into cluster_admins (cluster_id, login, sealed_password) values ($1, $2, $3)
               on conflict (cluster_id) do update set login = excluded.login, sealed_password = excluded.sealed_password,
                   next_login = null, next_sealed_password = null, retiring_login = null";
    sqlx::query(sql).bind(id).bind(new.admin_login).bind(new.admin_password.as_bytes()).execute(change.conn()).await?;
    let detail = serde_json::json!({ "cluster": new.name, "host": new.address.host, "port": new.address.port });
    change.record("cluster.put", None, detail).await?;
    Ok(ClusterId(id))
}

/// Follows a private cluster that came back on another port.
pub async fn set_port(change: &mut Change, name: &str, port: u16) -> Result<(), ControlError> {
    sqlx::query("update clusters set port = $2 where name = $1")
        .bind(name)
        .bind(i32::from(port))
        .execute(change.conn())
        .await?;
    change.record("cluster.set_port", None, serde_json::json!({ "cluster": name, "port": port })).await
}

/// The provisioner's credential on a cluster. The server's role may not read this table.
pub async fn admin(control: &Control, id: ClusterId) -> Result<(String, Sealed<LoginPassword>), ControlError> {
    let row = sqlx::query("select login, sealed_password from cluster_admins where cluster_id = $1")
        .bind(id.0)
        .fetch_one(control.pool())
        .await?;
    Ok((row.try_get(0)?, Sealed::from_stored(row.try_get(1)?)))
}
