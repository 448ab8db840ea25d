//! Mends what can be mended without losing anything; what holds rows is dropped only when that was said.

use std::collections::BTreeSet;

use serde_json::json;
use strowger::control::clusters::Cluster;
use strowger::control::jobs::Subject;
use strowger::control::numbers as rows;
use strowger::control::numbers::Assignment;
use strowger::control::tenants::{self as tenant_rows};
use strowger::id::TenantId;

use super::database::holds_rows;
use super::{Finding, Remedy, number};
use crate::admin_db::{AdminDb, ident};
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::steps::{self, MAINTENANCE_DATABASE, Mirror, Owner};
use crate::{Provisioner, erase, numbers, tenants};

/// What became of one remedy.
#[derive(Debug, serde::Serialize)]
pub struct Mended {
    /// What was done, or tried.
    pub what: String,
    /// Why it did not work.
    pub error: Option<String>,
}

/// Applies every remedy once. One that fails does not keep the others from working.
pub async fn fix(with: &Provisioner, findings: &[Finding], drop_data: bool) -> Result<Vec<Mended>> {
    // In the order of the variants: what closes first, and roles after what they own.
    let remedies: BTreeSet<&Remedy> = findings.iter().filter_map(|finding| finding.remedy.as_ref()).collect();
    let mut done = Vec::new();
    for remedy in remedies {
        let error = apply(with, remedy, drop_data).await.err().map(|error| error.to_string());
        if error.is_none() {
            let mut change = with.control.change(&with.actor).await?;
            change.record("doctor.fix", None, json!({ "remedy": remedy.to_string() })).await?;
            change.commit().await?;
        }
        done.push(Mended { what: remedy.to_string(), error });
    }
    Ok(done)
}

async fn apply(with: &Provisioner, remedy: &Remedy, drop_data: bool) -> Result<()> {
    match remedy {
        Remedy::Repair(id) => tenants::repair(with, *id).await,
        Remedy::Fence(id) => {
            let _held = hold(with, Subject::Tenant(*id)).await?;
            let tenant = steps::tenant(with, *id).await?;
            if super::is_served(&tenant) {
                return Ok(());
            }
            steps::fence(with, &steps::cluster_of(with, &tenant).await?, &tenant).await
        }
        Remedy::AsOwner(id, sql) => as_owner(with, *id, sql).await,
        Remedy::AsAdmin(cluster, database, sql) => open(with, cluster, database).await?.run(sql).await,
        Remedy::AddToMirror(text) | Remedy::FinishMove(text) => settle_number(with, text).await,
        Remedy::RemoveFromMirror(id, text) => remove_from_mirror(with, *id, text).await,
        Remedy::EndExpired => erase::end_expired(with).await.map(drop),
        Remedy::DropSchema(cluster, database, id) => drop_schema(with, cluster, database, *id, drop_data).await,
        Remedy::DropDatabase(cluster, id) => drop_database(with, cluster, *id, drop_data).await,
        Remedy::DropRole(cluster, role, id) => {
            let _held = hold_orphan(with, *id).await?;
            let db = open(with, cluster, MAINTENANCE_DATABASE).await?;
            db.run(&format!("drop role if exists {}", ident(role))).await
        }
    }
}

async fn cluster(with: &Provisioner, name: &str) -> Result<Cluster> {
    let all = strowger::control::clusters::list(&with.control).await?;
    let missing = || Error::Conflict(format!("there is no cluster {name}"));
    all.into_iter().find(|cluster| cluster.name == name).ok_or_else(missing)
}

async fn open(with: &Provisioner, name: &str, database: &str) -> Result<AdminDb> {
    AdminDb::open(with, &cluster(with, name).await?, database).await
}

async fn as_owner(with: &Provisioner, id: TenantId, sql: &str) -> Result<()> {
    let _held = hold(with, Subject::Tenant(id)).await?;
    let tenant = steps::tenant(with, id).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let mut db = AdminDb::open_for(with, &cluster, &tenant.database, &tenant).await?;
    let owner = Owner::of(&mut db, &with.installation.prefix, &tenant).await?;
    owner.enter(&tenant.schema).await?;
    owner.run(sql).await?;
    owner.commit().await
}

/// Hands a number to whom control says it is, or was meant for, once more.
async fn settle_number(with: &Provisioner, text: &str) -> Result<()> {
    let Some(number) = number(text) else { return Ok(()) };
    let Some(row) = rows::get(&with.control, &number).await? else { return Ok(()) };
    match row.assignment {
        Assignment::Active(to) | Assignment::Moving { to: Some(to), .. } => {
            numbers::assign(with, &number, to, Some(&row.account), "").await.map(drop)
        }
        Assignment::Moving { to: None, .. } => numbers::release(with, &number).await.map(drop),
        Assignment::Released => Ok(()),
    }
}

async fn remove_from_mirror(with: &Provisioner, id: TenantId, text: &str) -> Result<()> {
    let Some(number) = number(text) else { return Ok(()) };
    // In the order of a hand-over: the number's lock, then the tenant's.
    let _number = hold(with, Subject::Number(number.clone())).await?;
    let _tenant = hold(with, Subject::Tenant(id)).await?;
    let assignment = rows::get(&with.control, &number).await?.map(|row| row.assignment);
    match assignment {
        Some(Assignment::Active(owner)) if owner == id => return Ok(()),
        Some(Assignment::Moving { .. }) => return Ok(()),
        _ => {}
    }
    let tenant = steps::tenant(with, id).await?;
    Mirror::open(with, &steps::cluster_of(with, &tenant).await?, tenant).await?.remove(&number).await
}

/// Locks an id that control must know nothing of, now that it is locked.
async fn hold_orphan(with: &Provisioner, id: i32) -> Result<crate::reconcile::Held<'_>> {
    let id = TenantId::try_from(id)?;
    let held = hold(with, Subject::Tenant(id)).await?;
    if tenant_rows::get(&with.control, id).await?.is_some() {
        return Err(Error::Conflict(format!("tenant {id} is known to control: nothing of it is dropped")));
    }
    Ok(held)
}

fn refuse_rows(what: &str) -> Error {
    Error::Conflict(format!("{what} holds rows: `strowgerctl doctor --fix --drop-data` drops it all the same"))
}

async fn drop_schema(with: &Provisioner, cluster: &str, database: &str, id: i32, drop_data: bool) -> Result<()> {
    let _held = hold_orphan(with, id).await?;
    let mut db = open(with, cluster, database).await?;
    let schema = format!("tenant_{id}");
    let sql = "select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = $1";
    let Some(owner) = db.query(sql, &[&schema]).await?.first().map(|row| row.get::<_, String>(0)) else {
        return Ok(());
    };
    let admin = with.installation.prefix.name("admin");
    let ours = owner.starts_with(&with.installation.prefix.name("t"));
    if !ours {
        return Err(Error::Conflict(format!(
            "schema {schema} belongs to {owner}, not to a role of ours: drop it as superuser"
        )));
    }
    if !drop_data && holds_rows(&mut db, &schema, &owner, &admin).await? {
        return Err(refuse_rows(&format!("schema {schema}")));
    }
    let (owner, admin) = (ident(&owner), ident(&admin));
    // `drop owned` takes the role's default privileges along, which would keep it from being dropped.
    db.run(&format!("begin; grant {owner} to {admin}; drop schema {} cascade; drop owned by {owner}; revoke {owner} from {admin}; commit", ident(&schema)))
        .await
}

async fn drop_database(with: &Provisioner, cluster: &str, id: i32, drop_data: bool) -> Result<()> {
    let _held = hold_orphan(with, id).await?;
    let name = format!("{}{id}", with.installation.prefix.name("t"));
    let db = open(with, cluster, MAINTENANCE_DATABASE).await?;
    let sql = "select 1 from pg_database where datname = $1 and datallowconn";
    if !drop_data && db.exists(sql, &name).await? {
        let inside = open(with, cluster, &name).await?;
        // Without looking into tables: whoever left a database with tables in it meant something by it.
        let tables = "select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where c.relkind in ('r', 'p', 'm') and n.nspname !~ '^(pg_|information_schema$)' and $1 <> ''";
        if inside.exists(tables, &name).await? {
            return Err(refuse_rows(&format!("database {name}")));
        }
    }
    db.run(&format!("drop database if exists {} with (force)", ident(&name))).await
}
