//! What a tenant's database has beyond Postgres itself, and whether there is as much where it goes.

use serde::Serialize;
use strowger::control::clusters::Cluster;
use strowger::control::tenants::Tenant;

use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::Result;
use crate::steps;

/// An extension of the database that a tenant lives in.
#[derive(Debug, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What there is of it where the tenant goes: in a database that is there the version, for one that is to be made what that server
    /// offers; `None`: nothing.
    pub there: Option<String>,
}

/// Those of a tenant's database. Postgres's own `plpgsql` is everywhere.
pub(super) async fn of(
    with: &Provisioner,
    (from, tenant): (&Cluster, &Tenant),
    (to, there): (&Cluster, &Tenant),
    there_db: &AdminDb,
) -> Result<Vec<Extension>> {
    let here = AdminDb::open(with, from, &tenant.database).await?;
    let sql = "select extname::text, extversion from pg_extension where extname <> 'plpgsql' order by extname";
    let all: Vec<(String, String)> = here.query(sql, &[]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let found = if steps::is_shared(there) {
        AdminDb::open(with, to, &there.database).await?.query(sql, &[]).await?
    } else {
        there_db.query("select name::text, default_version from pg_available_extensions", &[]).await?
    };
    let found: Vec<(String, String)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    let of_name = |name: &str| found.iter().find(|(other, _)| other == name).map(|(_, version)| version.clone());
    Ok(all.into_iter().map(|(name, version)| Extension { there: of_name(&name), name, version }).collect())
}

/// Why a tenant does not go where one of them is not.
pub(super) fn missing(all: &[Extension], there: &Tenant) -> Option<String> {
    let names: Vec<&str> = all.iter().filter(|one| one.there.is_none()).map(|one| one.name.as_str()).collect();
    let place = if steps::is_shared(there) {
        format!("database {} on cluster {}", there.database, there.cluster)
    } else {
        format!("cluster {}'s server", there.cluster)
    };
    (!names.is_empty()).then(|| format!("{place} has no extension {}, which its database has", names.join(", ")))
}
