//! One database that holds tenants' schemas: what is there, who owns it, who may do what, and whose it says it is.

use std::collections::{BTreeSet, HashMap, HashSet};

use strowger::control::numbers::Assignment;
use strowger::control::tenants::{State, Tenant};
use strowger::schema::{HISTORY_TABLE, READ_ONLY_TABLES};
use tokio_postgres::types::ToSql;

use super::ward::Ward;
use super::{Finding, Remedy, id_in, is_served};
use crate::Provisioner;
use crate::admin_db::{AdminDb, ident, literal};
use crate::bootstrap::CLOSED_FUNCTIONS;
use crate::error::{Error, Result};

/// So many tenants' rows are read in one transaction: it holds their roles' memberships for a few milliseconds.
const AT_ONCE: usize = 100;

const SCHEMA: &str = "tenant_";

pub(super) async fn look(with: &Provisioner, ward: &mut Ward<'_>, database: &str) -> Result<()> {
    let mut db = AdminDb::open(with, ward.cluster, database).await?;
    let all = ward.known.settled(ward.cluster.id);
    let tenants: HashMap<&str, &Tenant> =
        all.into_iter().filter(|t| t.database == database).map(|t| (t.schema.as_str(), t)).collect();
    let owned = schemas(&db, ward, database, &tenants).await?;
    grants(&db, ward, database, &tenants).await?;
    functions(&db, ward, database).await?;
    publications(&db, ward, database).await?;
    let readable = with_tables(&db, ward, database, &owned, &tenants).await?;
    for some in readable.chunks(AT_ONCE) {
        contents(&mut db, ward, database, some).await?;
    }
    Ok(())
}

fn place(ward: &Ward<'_>, database: &str) -> String {
    format!("{}, database {database}", ward.place())
}

/// The schemas of tenants that are there and belong to the tenant's owner role.
async fn schemas(
    db: &AdminDb,
    ward: &mut Ward<'_>,
    database: &str,
    tenants: &HashMap<&str, &Tenant>,
) -> Result<BTreeSet<String>> {
    let sql =
        "select nspname::text, pg_get_userbyid(nspowner)::text from pg_namespace where nspname ~ '^tenant_[0-9]+$'";
    let mut owned = BTreeSet::new();
    let mut there = HashSet::new();
    for row in db.query(sql, &[]).await? {
        let (schema, owner): (String, String) = (row.get(0), row.get(1));
        match (tenants.get(schema.as_str()), id_in(&schema, SCHEMA)) {
            (Some(tenant), _) if owner == ward.known.prefix.tenant(tenant.id, "owner") => {
                owned.insert(schema.clone());
            }
            (Some(tenant), _) => {
                let must = ward.known.prefix.tenant(tenant.id, "owner");
                let what = format!("schema {schema} belongs to {owner} and must belong to {must}");
                let advice = format!("as superuser: alter schema {schema} owner to {must}; and of everything in it");
                ward.push(Finding::new("schema.owner", place(ward, database), what, advice));
            }
            (None, Some((id, _))) if ward.known.is_orphan(id) => {
                let what = format!("schema {schema}: control has no tenant {id}");
                let advice =
                    "look whether its data is needed; --fix drops it if it is empty, --fix --drop-data in any case";
                let remedy = Remedy::DropSchema(ward.cluster.name.clone(), database.to_owned(), id);
                ward.push(Finding::new("schema.orphan", place(ward, database), what, advice).mended_by(remedy));
            }
            (None, Some((id, _)))
                if !ward.known.busy.contains(&id)
                    && !ward.known.elsewhere.contains(&(ward.cluster.id, id))
                    && ward.known.tenants.get(&id).is_some_and(|t| t.state != State::Provisioning) =>
            {
                let what = format!("schema {schema}: tenant {id} lives elsewhere");
                ward.push(Finding::new("schema.unknown", place(ward, database), what, "look what it is, then drop it"));
            }
            _ => {}
        }
        there.insert(schema);
    }
    let mut missing: Vec<&&str> = tenants.keys().filter(|schema| !there.contains(**schema)).collect();
    missing.sort();
    for schema in missing {
        let what = format!("schema {schema}");
        ward.push(Finding::new("schema.missing", place(ward, database), what, "restore it from a backup"));
    }
    Ok(owned)
}

/// Rights on tenants' schemas and tables that somebody else has, and rights that the tenant lacks.
async fn grants(db: &AdminDb, ward: &mut Ward<'_>, database: &str, tenants: &HashMap<&str, &Tenant>) -> Result<()> {
    let sql = "select nspname::text, what, grantee, string_agg(lower(privilege), ', ' order by privilege) from (
                   select n.nspname, 'schema ' || quote_ident(n.nspname) as what,
                          case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end as grantee,
                          a.privilege_type as privilege, pg_get_userbyid(n.nspowner)::text as owner
                   from pg_namespace n, aclexplode(n.nspacl) a
                   union all
                   select n.nspname, case c.relkind when 'S' then 'sequence ' else 'table ' end || c.oid::regclass,
                          case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end,
                          a.privilege_type, pg_get_userbyid(c.relowner)::text
                   from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a) x
               where nspname ~ '^tenant_[0-9]+$' and grantee <> owner group by 1, 2, 3 order by 1, 2, 3";
    for row in db.query(sql, &[]).await? {
        let (schema, on, to, rights): (String, String, String, String) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let Some(tenant) = tenants.get(schema.as_str()) else { continue };
        if to == ward.known.prefix.tenant(tenant.id, "rw") {
            continue;
        }
        let code = if to == "public" { "grant.public" } else { "grant.foreign" };
        let grantee = if to == "public" { to.clone() } else { ident(&to) };
        let sql = format!("revoke all on {on} from {grantee}");
        let what = format!("{to} has {rights} on {on}");
        let remedy = Remedy::AsOwner(tenant.id, sql.clone());
        ward.push(Finding::new(code, place(ward, database), what, sql).mended_by(remedy));
    }
    let read_only: Vec<String> = READ_ONLY_TABLES.map(str::to_owned).into();
    let sql = "select n.nspname::text, string_agg(c.relname::text, ', ' order by c.relname::text)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join pg_roles g on g.rolname = $3 || substr(n.nspname, 8) || '_rw'
               where n.nspname ~ '^tenant_[0-9]+$' and c.relkind in ('r', 'p') and
                     (c.relname = $2 and has_table_privilege(g.oid, c.oid, 'select')
                      or c.relname <> $2 and not has_table_privilege(g.oid, c.oid, 'select')
                      or c.relname <> $2 and n.nspname = any ($4::text[] || $5::text[])
                         and (select bool_or(has_table_privilege(g.oid, c.oid, p) = (c.relname = any ($1) or n.nspname = any ($5::text[])))
                              from unnest(array['insert', 'update', 'delete']) p))
               group by 1 order by 1";
    // What a tenant that is not served may write is put right when it is served again; one that moves, when it has moved.
    let [written, read] = [State::Active, State::ReadOnly].map(|state| {
        let schemas: Vec<&str> =
            tenants.iter().filter(|(_, tenant)| tenant.state == state && !tenant.held).map(|(name, _)| *name).collect();
        schemas
    });
    let params: [&(dyn ToSql + Sync); 5] = [&read_only, &HISTORY_TABLE, &ward.known.prefix.name("t"), &written, &read];
    for row in db.query(sql, &params).await? {
        let (schema, tables): (String, String) = (row.get(0), row.get(1));
        let Some(tenant) = tenants.get(schema.as_str()) else { continue };
        let what = format!("tenant {}'s logins have other rights than they must on {tables}", tenant.id);
        let finding = Finding::new("grant.wrong", place(ward, database), what, "`strowgerctl tenant repair`");
        ward.push(finding.mended_if(is_served(tenant), Remedy::Repair(tenant.id)));
    }
    Ok(())
}

/// Functions with which one tenant could watch, lock or signal another.
async fn functions(db: &AdminDb, ward: &mut Ward<'_>, database: &str) -> Result<()> {
    let sql = "select string_agg(distinct proname::text, ', ' order by proname::text) from pg_proc p
               where pronamespace = 'pg_catalog'::regnamespace and proname ~ $1
                 and (proacl is null or exists (select from aclexplode(proacl) where grantee = 0))";
    let rows = db.query(sql, &[&CLOSED_FUNCTIONS]).await?;
    if let Some(names) = rows.first().and_then(|row| row.get::<_, Option<String>>(0)) {
        let what = format!("every login may call {names}: with these one tenant can watch, lock or signal another");
        let advice = "as superuser, in that database: revoke execute on function … from public";
        ward.push(Finding::new("functions.public", place(ward, database), what, advice));
    }
    Ok(())
}

async fn publications(db: &AdminDb, ward: &mut Ward<'_>, database: &str) -> Result<()> {
    let sql = "select pubname::text from pg_publication order by 1";
    for row in db.query(sql, &[]).await? {
        let name: String = row.get(0);
        let id = id_in(&name, SCHEMA).or_else(|| id_in(&name, &ward.known.prefix.name("t")));
        if id.is_some_and(|(id, _)| ward.known.is_orphan(id)) {
            let what = format!("publication {name}: control has no such tenant");
            let sql = format!("drop publication {}", ident(&name));
            let remedy = Remedy::AsAdmin(ward.cluster.name.clone(), database.to_owned(), sql.clone());
            ward.push(Finding::new("publication.orphan", place(ward, database), what, sql).mended_by(remedy));
        }
    }
    Ok(())
}

/// Of the owned schemas, those whose identity and mirror are there to be read.
async fn with_tables<'t>(
    db: &AdminDb,
    ward: &mut Ward<'_>,
    database: &str,
    owned: &BTreeSet<String>,
    tenants: &HashMap<&str, &'t Tenant>,
) -> Result<Vec<&'t Tenant>> {
    let sql = "select n.nspname::text, array_agg(c.relname::text) from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname ~ '^tenant_[0-9]+$' and c.relkind in ('r', 'p')
                 and pg_get_userbyid(c.relowner) = pg_get_userbyid(n.nspowner) group by 1";
    let mut tables: HashMap<String, Vec<String>> = HashMap::new();
    for row in db.query(sql, &[]).await? {
        tables.insert(row.get(0), row.get(1));
    }
    let mut readable = Vec::new();
    for schema in owned {
        let Some(tenant) = tenants.get(schema.as_str()) else { continue };
        let there = tables.remove(schema).unwrap_or_default();
        let missing: Vec<&str> =
            READ_ONLY_TABLES.into_iter().filter(|t| !there.iter().any(|there| there == t)).collect();
        if missing.is_empty() {
            readable.push(*tenant);
        } else {
            let what = format!("schema {schema} has no table {} of its own", missing.join(", "));
            ward.push(Finding::new("table.missing", place(ward, database), what, "restore it from a backup"));
        }
    }
    Ok(readable)
}

/// Whose schema each says it is, and which numbers it owns. Becomes a member of the owners and undoes that again.
async fn contents(db: &mut AdminDb, ward: &mut Ward<'_>, database: &str, tenants: &[&Tenant]) -> Result<()> {
    let prefix = &ward.known.prefix;
    let owners: Vec<String> = tenants.iter().map(|tenant| ident(&prefix.tenant(tenant.id, "owner"))).collect();
    let each = |columns: &str, table: &str| {
        let one = |t: &&Tenant| format!("select {} as id, {columns} from {}.{table}", t.id, ident(&t.schema));
        tenants.iter().map(one).collect::<Vec<_>>().join(" union all ")
    };
    let (identities, mirrors) = (each("tenant_id, epoch", "identity"), each("kind, value", "numbers"));
    let failed = |what: String| Error::postgres(format!("read what {what} says of itself"));
    let what = db.what();
    let tx = db.begin().await?;
    let join = format!("grant {} to {}", owners.join(", "), ident(&prefix.name("admin")));
    tx.batch_execute(&join).await.map_err(failed(what.clone()))?;
    let identities = tx.query(&identities, &[]).await.map_err(failed(what.clone()))?;
    let mirrors = tx.query(&mirrors, &[]).await.map_err(failed(what.clone()))?;
    tx.rollback().await.map_err(failed(what))?;

    let mut says: HashMap<i32, (i32, i32)> = HashMap::new();
    for row in identities {
        says.insert(row.get(0), (row.get(1), row.get(2)));
    }
    for tenant in tenants {
        let id = tenant.id.get();
        let must = ward.known.epochs.get(&id).map(|epoch| (id, *epoch));
        if says.get(&id).copied() != must {
            let said =
                says.get(&id).map_or("nobody's".to_owned(), |(id, epoch)| format!("tenant {id}'s, epoch {epoch}"));
            let what = format!("schema {} says that it is {said}", tenant.schema);
            let advice = "find out whose data it is: no call is served from it until its identity is right";
            ward.push(Finding::new("identity.wrong", place(ward, database), what, advice));
        }
    }
    let mut mirrored: HashSet<(i32, String)> = HashSet::new();
    for row in mirrors {
        let (kind, value): (String, String) = (row.get(1), row.get(2));
        mirrored.insert((row.get(0), if kind == "phone" { value } else { format!("{kind}:{value}") }));
    }
    mirror(ward, database, tenants, mirrored);
    Ok(())
}

fn mirror(ward: &mut Ward<'_>, database: &str, tenants: &[&Tenant], mut mirrored: HashSet<(i32, String)>) {
    let here: HashMap<i32, &&Tenant> = tenants.iter().map(|tenant| (tenant.id.get(), tenant)).collect();
    for row in &ward.known.numbers {
        let number = row.number.to_string();
        match row.assignment {
            Assignment::Active(id) if here.contains_key(&id.get()) && !mirrored.remove(&(id.get(), number.clone())) => {
                let what = format!("{number} is tenant {id}'s, and its schema does not know: its calls are refused");
                let advice = format!("`strowgerctl number assign {number} --tenant {id}`");
                let finding = Finding::new("mirror.missing", place(ward, database), what, advice);
                let active = here.get(&id.get()).is_some_and(|tenant| is_served(tenant));
                ward.found.push(finding.mended_if(active, Remedy::AddToMirror(number)));
            }
            Assignment::Moving { .. } => mirrored.retain(|(_, moving)| *moving != number),
            _ => {}
        }
    }
    let mut extra: Vec<_> = mirrored.into_iter().collect();
    extra.sort();
    for (id, number) in extra {
        let Some(tenant) = here.get(&id) else { continue };
        let what = format!("tenant {id}'s schema owns {number}, which control does not give it");
        let advice = format!("delete it from {}.numbers, or use --fix", tenant.schema);
        let remedy = Remedy::RemoveFromMirror(tenant.id, number);
        ward.push(Finding::new("mirror.extra", place(ward, database), what, advice).mended_by(remedy));
    }
}

/// Whether any table of a schema has a row; its owner role must be one that the admin can join.
pub(super) async fn holds_rows(db: &mut AdminDb, schema: &str, owner: &str, admin: &str) -> Result<bool> {
    let what = db.what();
    let tx = db.begin().await?;
    let failed = || Error::postgres(what.clone());
    tx.batch_execute(&format!("grant {} to {}", ident(owner), ident(admin))).await.map_err(failed())?;
    let sql = format!(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = {} and c.relkind in ('r', 'p', 'm')",
        literal(schema)
    );
    for row in tx.query(&sql, &[]).await.map_err(failed())? {
        let table: String = row.get(0);
        let any = tx.query_one(&format!("select exists (select from {table})"), &[]).await.map_err(failed())?;
        if any.get(0) {
            return Ok(true);
        }
    }
    Ok(false)
}
