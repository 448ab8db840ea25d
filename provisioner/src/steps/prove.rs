//! Proves by catalog queries that nothing on any cluster is named after a tenant or belongs to its roles.
//!
//! Every registered cluster is asked, and on each every database that the admin may enter, not only those where the tenant
//! is known to have lived: what an old move or a hand at psql left is found too.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use strowger::control::clusters::{self, Cluster};
use strowger::id::TenantId;

use super::MAINTENANCE_DATABASE;
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};

/// What is cluster-wide. `$1` is a regular expression for the tenant's names.
const IN_CLUSTER: [(&str, &str); 6] = [
    ("roles", "select rolname::text from pg_roles where rolname ~ $1"),
    ("databases", "select datname::text from pg_database where datname ~ $1"),
    ("replication_slots", "select slot_name::text from pg_replication_slots where slot_name ~ $1 or database ~ $1"),
    ("subscriptions", "select subname::text from pg_subscription where subname ~ $1"),
    (
        "settings_of_no_role",
        "select array_to_string(setconfig, ', ') from pg_db_role_setting
         where setrole <> 0 and $1 <> '' and not exists (select from pg_roles r where r.oid = setrole)",
    ),
    (
        // Roles of other tenants that are dropped meanwhile leave nothing either.
        "dangling_dependencies",
        "select 'role ' || refobjid from pg_shdepend d
         where refclassid = 'pg_authid'::regclass and $1 <> '' and not exists (select from pg_roles r where r.oid = refobjid)",
    ),
];

/// What each database has of its own.
const IN_DATABASE: [(&str, &str); 4] = [
    ("schemas", "select nspname::text from pg_namespace where nspname ~ $1"),
    ("publications", "select pubname::text from pg_publication where pubname ~ $1"),
    ("published_tables", "select distinct pubname || ': ' || schemaname from pg_publication_tables where schemaname ~ $1"),
    (
        "default_privileges",
        "select 'default privileges ' || d.oid from pg_default_acl d
         where $1 <> '' and (defaclnamespace <> 0 and not exists (select from pg_namespace n where n.oid = defaclnamespace)
               or not exists (select from pg_roles r where r.oid = defaclrole))",
    ),
];

/// What was looked at, if nothing was found; else an error that names what was.
pub(crate) async fn prove_absent(with: &Provisioner, id: TenantId) -> Result<Value> {
    let names = format!("^({}_)?t(enant_)?{id}(_.*)?$", with.installation.prefix);
    let (mut looked, mut found) = (Vec::new(), Vec::new());
    for cluster in clusters::list(&with.control).await? {
        looked.push(look(with, &cluster, &names, &mut found).await?);
    }
    if found.is_empty() {
        return Ok(looked.into());
    }
    Err(Error::Conflict(format!(
        "tenant {id} is not erased: this is left of it: {}. Drop it, then `strowgerctl job retry`; `strowgerctl doctor` explains",
        found.join("; ")
    )))
}

async fn look(with: &Provisioner, cluster: &Cluster, names: &str, found: &mut Vec<String>) -> Result<Value> {
    let db = AdminDb::open(with, cluster, MAINTENANCE_DATABASE).await?;
    let mut counts = BTreeMap::new();
    ask(&db, &IN_CLUSTER, names, &cluster.name, &mut counts, found).await?;
    let sql = "select datname::text from pg_database
               where datallowconn and has_database_privilege(current_user, oid, 'connect') order by datname";
    let mut databases: Vec<String> = Vec::new();
    for row in db.query(sql, &[]).await? {
        let database: String = row.get(0);
        let place = format!("{}/{database}", cluster.name);
        let asked = async {
            let db = AdminDb::open(with, cluster, &database).await?;
            ask(&db, &IN_DATABASE, names, &place, &mut counts, found).await
        };
        match asked.await {
            Ok(()) => databases.push(database),
            // Another tenant's database may be dropped while we look.
            Err(_) if !db.exists("select 1 from pg_database where datname = $1", &database).await? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(json!({ "cluster": cluster.name, "databases": databases, "found": counts }))
}

async fn ask(
    db: &AdminDb,
    questions: &[(&'static str, &str)],
    names: &str,
    place: &str,
    counts: &mut BTreeMap<&'static str, usize>,
    found: &mut Vec<String>,
) -> Result<()> {
    for (what, sql) in questions {
        let rows = db.query(sql, &[&names]).await?;
        *counts.entry(what).or_default() += rows.len();
        found.extend(rows.iter().map(|row| format!("{place}: {what}: {}", row.get::<_, String>(0))));
    }
    Ok(())
}
