//! One cluster: its settings, roles, memberships and databases against what control says.

use std::collections::{HashMap, HashSet};

use strowger::budget::LOGIN_CONNECTION_LIMIT;
use strowger::control::clusters::{Cluster, Isolation};
use strowger::control::tenants::{State, Tenant};

use super::ward::Ward;
use super::{Finding, Known, Remedy, archive, database, id_in, is_served, replication};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident};
use crate::bootstrap::SETTINGS;
use crate::error::Result;
use crate::steps::{MAINTENANCE_DATABASE, expected_settings, shared_group};

const PARTS: [&str; 4] = ["owner", "rw", "a", "b"];

pub(super) async fn look(with: &Provisioner, known: &Known, cluster: &Cluster) -> Result<Vec<Finding>> {
    let db = AdminDb::open(with, cluster, MAINTENANCE_DATABASE).await?;
    let mut ward = Ward { known, cluster, found: Vec::new() };
    settings(&db, &mut ward).await?;
    roles(&db, &mut ward).await?;
    login_settings(&db, &mut ward).await?;
    memberships(with, &db, &mut ward).await?;
    replication::look(&db, &mut ward).await?;
    archive::look(with, &db, &mut ward).await?;
    for open in databases(&db, &mut ward).await? {
        database::look(with, &mut ward, &open).await?;
    }
    Ok(ward.found)
}

async fn settings(db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    for (name, needed) in SETTINGS {
        let rows = db.query("select setting from pg_settings where name = $1", &[&name]).await?;
        let setting = rows.first().map_or_else(String::new, |row| row.get(0));
        if setting != needed {
            let what = format!("{name} is {setting} and must be {needed}: callers' words could reach the server's log");
            let advice = format!("as superuser: alter system set {name} = '{needed}'; select pg_reload_conf();");
            let place = ward.place();
            ward.push(Finding::new("server.setting", place, what, advice));
        }
    }
    Ok(())
}

struct Role {
    can_login: bool,
    limit: i32,
    powers: bool,
    expires: bool,
}

async fn roles(db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    let sql = "select rolname::text, rolcanlogin, rolconnlimit,
                      rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls,
                      coalesce(rolvaliduntil, 'infinity') <> 'infinity'
               from pg_roles where rolname ~ $1 order by rolname";
    let before = ward.known.prefix.name("t");
    let mut there = HashMap::new();
    for row in db.query(sql, &[&format!("^{before}[0-9]+_")]).await? {
        let name: String = row.get(0);
        let role = Role { can_login: row.get(1), limit: row.get(2), powers: row.get(3), expires: row.get(4) };
        there.insert(name, role);
    }
    let mut expected = HashSet::new();
    for tenant in ward.known.settled(ward.cluster.id) {
        for part in PARTS {
            let name = ward.known.prefix.tenant(tenant.id, part);
            match there.get(&name) {
                None => missing_role(ward, tenant, &name),
                Some(role) => attributes(ward, tenant, part, &name, role),
            }
            expected.insert(name);
        }
    }
    let mut others: Vec<&String> = there.keys().filter(|name| !expected.contains(*name)).collect();
    others.sort();
    for name in others {
        unexpected_role(ward, name, &before);
    }
    Ok(())
}

fn missing_role(ward: &mut Ward<'_>, tenant: &Tenant, name: &str) {
    let advice =
        if is_served(tenant) { "`strowgerctl tenant repair`" } else { "`tenant resume` or `undelete` makes it" };
    let finding = Finding::new("role.missing", ward.place(), format!("role {name} of tenant {}", tenant.id), advice);
    ward.push(finding.mended_if(is_served(tenant), Remedy::Repair(tenant.id)));
}

fn attributes(ward: &mut Ward<'_>, tenant: &Tenant, part: &str, name: &str, role: &Role) {
    let serves = is_served(tenant) && name == tenant.login_role;
    let id = tenant.id;
    if role.can_login != serves {
        let what = if role.can_login { "can log in and must not" } else { "cannot log in and is the tenant's login" };
        let remedy = if is_served(tenant) { Remedy::Repair(id) } else { Remedy::Fence(id) };
        // Repair and fence are for the two logins; the others are changed directly.
        let remedy = if matches!(part, "a" | "b") {
            remedy
        } else {
            ward.as_admin(format!("alter role {} nologin", ident(name)))
        };
        let finding =
            Finding::new("role.login", ward.place(), format!("role {name} {what}"), "`strowgerctl tenant repair`");
        ward.push(finding.mended_by(remedy));
    }
    if matches!(part, "a" | "b")
        && is_served(tenant)
        && (i64::from(role.limit) != i64::from(LOGIN_CONNECTION_LIMIT) || role.expires)
    {
        let what = format!("role {name} has another connection limit or expires");
        let finding = Finding::new("role.limit", ward.place(), what, "`strowgerctl tenant repair`");
        ward.push(finding.mended_by(Remedy::Repair(id)));
    }
    if role.powers {
        let what = format!("role {name} has powers over the whole cluster");
        let sql = format!("alter role {} nocreaterole nocreatedb", ident(name));
        let advice =
            format!("as superuser: alter role {name} nosuperuser nocreaterole nocreatedb noreplication nobypassrls");
        let remedy = ward.as_admin(sql);
        ward.push(Finding::new("role.powers", ward.place(), what, advice).mended_by(remedy));
    }
}

fn unexpected_role(ward: &mut Ward<'_>, name: &str, before: &str) {
    let Some((id, _)) = id_in(name, before) else { return };
    let place = ward.place();
    if ward.known.is_orphan(id) {
        let what = format!("role {name}: control has no tenant {id}");
        let remedy = Remedy::DropRole(ward.cluster.name.clone(), name.to_owned(), id);
        ward.push(Finding::new("role.orphan", place, what, "drop it, or use --fix").mended_by(remedy));
    } else if !ward.known.busy.contains(&id)
        && !ward.known.elsewhere.contains(&(ward.cluster.id, id))
        && ward.known.tenants.get(&id).is_some_and(|t| t.state != State::Provisioning)
    {
        let what = format!("role {name}: tenant {id} lives elsewhere or has no such role");
        ward.push(Finding::new("role.unknown", place, what, "look what it is for, then drop it"));
    }
}

async fn login_settings(db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    let sql = "select r.rolname::text, (select array_agg(x order by x) from unnest(s.setconfig) x), s.setdatabase <> 0
               from pg_db_role_setting s join pg_roles r on r.oid = s.setrole where r.rolname ~ $1";
    let mut there: HashMap<String, Vec<(Vec<String>, bool)>> = HashMap::new();
    for row in db.query(sql, &[&format!("^{}[0-9]+_[ab]$", ward.known.prefix.name("t"))]).await? {
        there.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    for tenant in ward.known.settled(ward.cluster.id) {
        let expected = vec![(expected_settings(&tenant.schema), false)];
        for login in ["a", "b"].map(|turn| ward.known.prefix.tenant(tenant.id, turn)) {
            if is_served(tenant) && there.get(&login) != Some(&expected) {
                let what = format!("login {login} has other settings than it must");
                let finding = Finding::new("role.settings", ward.place(), what, "`strowgerctl tenant repair`");
                ward.push(finding.mended_by(Remedy::Repair(tenant.id)));
            }
        }
    }
    Ok(())
}

/// Who is a member of tenants' roles, and of what tenants' roles are members.
async fn memberships(with: &Provisioner, db: &AdminDb, ward: &mut Ward<'_>) -> Result<()> {
    let prefix = &ward.known.prefix;
    let (group, admin) = (shared_group(with), prefix.name("admin"));
    let mut expected = HashSet::new();
    for tenant in ward.known.settled(ward.cluster.id).iter().filter(|tenant| is_served(tenant)) {
        for login in ["a", "b"].map(|turn| prefix.tenant(tenant.id, turn)) {
            expected.insert((prefix.tenant(tenant.id, "rw"), login.clone()));
            if tenant.isolation == Isolation::Schema {
                expected.insert((group.clone(), login));
            }
        }
    }
    // From Postgres 16 on whoever makes a role is its member, with the right to grant it and without its rights.
    let sql = "select g.rolname::text, m.rolname::text,
                      coalesce(to_jsonb(a) ->> 'set_option', 'true')::bool or coalesce(to_jsonb(a) ->> 'inherit_option', 'true')::bool
               from pg_auth_members a join pg_roles g on g.oid = a.roleid join pg_roles m on m.oid = a.member
               where g.rolname ~ $1 or m.rolname ~ $1 or g.rolname = $2 order by 1, 2";
    let before = prefix.name("t");
    let ours = format!("^{before}[0-9]+_");
    for row in db.query(sql, &[&ours, &group]).await? {
        let pair: (String, String) = (row.get(0), row.get(1));
        if expected.remove(&pair) || !row.get::<_, bool>(2) {
            continue;
        }
        let id_of = |name: &str| id_in(name, &before).map(|(id, _)| id);
        let tenants = [id_of(&pair.0), id_of(&pair.1)];
        let one = tenants[0].is_none() || tenants[1].is_none() || tenants[0] == tenants[1];
        let of = tenants.into_iter().flatten().next().unwrap_or_default();
        // Of one tenant that is not settled, or unknown, something else is said.
        let settled =
            ward.known.settled(ward.cluster.id).iter().any(|tenant| tenant.id.get() == of && is_served(tenant));
        if one && !settled && pair.1 != admin {
            continue;
        }
        let code = if pair.1 == admin { "membership.admin" } else { "membership.extra" };
        let what = format!("{} is a member of {} and must not be", pair.1, pair.0);
        let sql = format!("revoke {} from {}", ident(&pair.0), ident(&pair.1));
        let remedy = ward.as_admin(sql.clone());
        ward.push(Finding::new(code, ward.place(), what, sql).mended_by(remedy));
    }
    let mut missing: Vec<_> = expected.into_iter().collect();
    missing.sort();
    for (granted, member) in missing {
        let Some(id) = id_in(&member, &before).and_then(|(id, _)| id.try_into().ok()) else { continue };
        let what = format!("{member} is not a member of {granted}");
        let finding = Finding::new("membership.missing", ward.place(), what, "`strowgerctl tenant repair`");
        ward.push(finding.mended_by(Remedy::Repair(id)));
    }
    Ok(())
}

/// Returns the databases that hold tenants' schemas and can be entered.
async fn databases(db: &AdminDb, ward: &mut Ward<'_>) -> Result<Vec<String>> {
    let (known, cluster) = (ward.known, ward.cluster);
    let sql = "select datname::text, datallowconn, has_database_privilege('public', oid, 'connect')
               from pg_database where starts_with(datname, $1)";
    let mut there: HashMap<String, (bool, bool)> = HashMap::new();
    for row in db.query(sql, &[&known.prefix.name("")]).await? {
        there.insert(row.get(0), (row.get(1), row.get(2)));
    }
    let mut holding: Vec<(String, Option<&Tenant>)> = Vec::new();
    if cluster.kind == Isolation::Schema.cluster_kind() {
        holding.push((Cluster::shared_database(&known.prefix), None));
    }
    let own = known.settled(cluster.id).into_iter().filter(|tenant| tenant.isolation == Isolation::Database);
    holding.extend(own.map(|tenant| (tenant.database.clone(), Some(tenant))));
    let template = known.prefix.name("template");
    if there.get(&template).is_some_and(|(open, _)| *open) {
        let remedy = ward.as_admin(format!("alter database {} with allow_connections false", ident(&template)));
        let what =
            format!("template database {template} lets sessions in: what they make there every new tenant inherits");
        ward.push(Finding::new("template.open", ward.place(), what, "close it, or use --fix").mended_by(remedy));
    }
    let mut open = Vec::new();
    for (name, tenant) in &holding {
        let Some((lets_in, public)) = there.get(name) else {
            let advice = "restore it from a backup";
            ward.push(Finding::new("database.missing", ward.place(), format!("database {name}"), advice));
            continue;
        };
        if *public {
            let remedy = ward.as_admin(format!("revoke all on database {} from public", ident(name)));
            let what = format!("every login of the cluster can enter database {name}");
            ward.push(Finding::new("database.public", ward.place(), what, "revoke it, or use --fix").mended_by(remedy));
        }
        if *lets_in {
            open.push(name.clone());
        } else if let Some(tenant) = tenant {
            let finding = Finding::new(
                "database.closed",
                ward.place(),
                format!("database {name} lets nobody in"),
                "`strowgerctl tenant repair`",
            );
            ward.push(finding.mended_if(is_served(tenant), Remedy::Repair(tenant.id)));
        }
    }
    let before = known.prefix.name("t");
    let mut orphans: Vec<(i32, &String)> = there
        .keys()
        .filter_map(|name| id_in(name, &before).filter(|(_, after)| after.is_empty()).map(|(id, _)| (id, name)))
        .filter(|(id, _)| known.is_orphan(*id))
        .collect();
    orphans.sort();
    for (id, name) in orphans {
        let what = format!("database {name}: control has no tenant {id}");
        let advice = "look whether its data is needed; --fix drops it if it is empty, --fix --drop-data in any case";
        let remedy = Remedy::DropDatabase(cluster.name.clone(), id);
        ward.push(Finding::new("database.orphan", ward.place(), what, advice).mended_by(remedy));
    }
    Ok(open)
}
