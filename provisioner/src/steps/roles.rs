//! A tenant's four roles: an owner that nobody logs in as, a group with the rights, and two logins that take turns.

use strowger::budget::LOGIN_CONNECTION_LIMIT;
use strowger::control::clusters::Cluster;
use strowger::control::keys::Ring;
use strowger::control::tenants::Tenant;
use strowger::control::turns::{self, Turn, Whose};
use strowger::vault::{Scope, Secret};

use super::{MAINTENANCE_DATABASE, is_shared, shared_group};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident, literal};
use crate::error::{Error, Result};
use crate::scram;

/// Also sent in every startup packet; on the role they hold for whoever else gets hold of the login.
const SETTINGS: [(&str, &str); 3] =
    [("statement_timeout", "15s"), ("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "15s")];

/// Makes roles, passwords, settings and memberships what they must be, in one transaction.
pub(crate) async fn ensure_roles(with: &Provisioner, db: &AdminDb, tenant: &Tenant, password: &Secret) -> Result<()> {
    db.run(&roles_sql(with, db, tenant, password).await?).await
}

/// The statements that make them so. Sent as one message, they are one transaction.
pub(super) async fn roles_sql(with: &Provisioner, db: &AdminDb, tenant: &Tenant, password: &Secret) -> Result<String> {
    let prefix = &with.installation.prefix;
    let all = ["owner", "rw", "a", "b"].map(|what| prefix.tenant(tenant.id, what));
    let there = existing(db, &all).await?;
    let mut sql = String::new();
    for role in all[..2].iter().filter(|role| !there.contains(role)) {
        sql.push_str(&format!("create role {} nologin;\n", ident(role)));
    }
    let turn = turns::get(&with.control, Whose::Tenant(tenant.id)).await?;
    for login in &all[2..] {
        let credential = match &turn {
            _ if *login == tenant.login_role => armed(password)?,
            // While logins change turns, both are right: one is about to be used, or may still be.
            Some(Turn { next: Some((next, sealed)), .. }) if next == login => {
                let key = with.data_key(Scope::Tenant(tenant.id), Ring::Server).await?;
                armed(&key.open(next, sealed).map_err(Error::vault(format!("the next password of {login}")))?)?
            }
            Some(Turn { retiring: Some(retiring), .. }) if retiring == login => String::new(),
            // The other login waits for its turn without a password.
            _ => DISARMED.to_owned(),
        };
        sql.push_str(&login_sql(with, db, tenant, login, there.contains(login), &credential).await?);
    }
    Ok(sql)
}

/// Which of these roles exist.
async fn existing(db: &AdminDb, names: &[String]) -> Result<Vec<String>> {
    let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
    let rows = db.rows(&format!("select rolname from pg_roles where rolname in ({})", names.join(", "))).await?;
    Ok(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
}

/// What lets a login in.
pub(super) fn armed(password: &Secret) -> Result<String> {
    Ok(format!("login password {}", literal(&scram::verifier(password)?)))
}

/// What shuts it out.
pub(super) const DISARMED: &str = "nologin password null";

/// Makes one login of a tenant what it must be. An empty `credential` leaves it as it is.
pub(super) async fn login_sql(
    with: &Provisioner,
    db: &AdminDb,
    tenant: &Tenant,
    login: &str,
    exists: bool,
    credential: &str,
) -> Result<String> {
    let role = ident(login);
    let (mut sql, own) = if exists {
        (String::new(), databases_with_settings(db, login).await?)
    } else {
        (format!("create role {role};\n"), Vec::new())
    };
    sql.push_str(&format!(
        "alter role {role} {credential} connection limit {LOGIN_CONNECTION_LIMIT} valid until 'infinity';\n"
    ));
    sql.push_str(&settings(&role, &tenant.schema, &own));
    let group = with.installation.prefix.tenant(tenant.id, "rw");
    sql.push_str(&format!("grant {} to {role};\n", ident(&group)));
    if is_shared(tenant) {
        sql.push_str(&format!("grant {} to {role};\n", ident(&shared_group(with))));
    }
    Ok(sql)
}

/// Databases in which a login has given itself settings of its own.
async fn databases_with_settings(db: &AdminDb, login: &str) -> Result<Vec<String>> {
    let sql = "select d.datname::text from pg_db_role_setting s
               join pg_roles r on r.oid = s.setrole join pg_database d on d.oid = s.setdatabase where r.rolname = $1";
    Ok(db.query(sql, &[&login]).await?.iter().map(|row| row.get(0)).collect())
}

fn settings(role: &str, schema: &str, own: &[String]) -> String {
    let mut sql = format!("alter role {role} reset all;\n");
    for database in own {
        sql.push_str(&format!("alter role {role} in database {} reset all;\n", ident(database)));
    }
    sql.push_str(&format!("alter role {role} set search_path = {};\n", ident(schema)));
    for (name, value) in SETTINGS {
        sql.push_str(&format!("alter role {role} set {name} = '{value}';\n"));
    }
    sql
}

/// What `pg_db_role_setting` must hold for a login of a tenant, sorted.
pub(crate) fn expected_settings(schema: &str) -> Vec<String> {
    let mut all: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.push(format!("search_path={schema}"));
    all.sort_unstable();
    all
}

/// Shuts a tenant out: no login works, no session is left. Acknowledged writes are all there when this returns.
pub(crate) async fn fence(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    let db = AdminDb::open_for(with, cluster, MAINTENANCE_DATABASE, tenant).await?;
    let logins = refuse(with, &db, tenant).await?;
    db.end_sessions("usename = any($1)", &[&logins]).await
}

/// The same where a tenant has lived: whoever still reads there may come to an end.
pub(crate) async fn leave(with: &Provisioner, cluster: &Cluster, tenant: &Tenant) -> Result<()> {
    let db = AdminDb::open_for(with, cluster, MAINTENANCE_DATABASE, tenant).await?;
    db.drain(&refuse(with, &db, tenant).await?).await
}

async fn refuse(with: &Provisioner, db: &AdminDb, tenant: &Tenant) -> Result<Vec<String>> {
    let logins: Vec<String> = ["a", "b"].map(|turn| with.installation.prefix.tenant(tenant.id, turn)).into();
    for login in &logins {
        if db.exists("select 1 from pg_roles where rolname = $1", login).await? {
            db.run(&format!("alter role {} nologin", ident(login))).await?;
        }
    }
    Ok(logins)
}
