//! A new tenant's schema is made by one batch; an older one got there migration by migration. Postgres's catalogs say that
//! the two are the same, down to defaults, storage, owners and grants.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::schema;
use tokio_postgres::Client;

use crate::support::{World, world};

/// What the catalogs hold of one schema: a name, and a query with the schema's name as its parameter.
const CATALOGS: [(&str, &str); 13] = [
    ("schema", "select pg_get_userbyid(nspowner), nspacl, obj_description(oid) from pg_namespace where nspname = $1"),
    (
        "default rights",
        "select pg_get_userbyid(d.defaclrole), defaclobjtype, defaclacl, n.nspname from pg_default_acl d
         left join pg_namespace n on n.oid = d.defaclnamespace
         where n.nspname = $1 or pg_get_userbyid(d.defaclrole) = (select pg_get_userbyid(nspowner) from pg_namespace where nspname = $1)",
    ),
    (
        "relations",
        "select relname, relkind, pg_get_userbyid(relowner), relacl, relpersistence, reloptions, relreplident, relrowsecurity,
                relforcerowsecurity, relispartition, relhastriggers, relhasrules, am.amname, spc.spcname, obj_description(c.oid, 'pg_class')
         from pg_class c left join pg_am am on am.oid = c.relam left join pg_tablespace spc on spc.oid = c.reltablespace
         where relnamespace = $1::regnamespace",
    ),
    (
        "columns",
        "select c.relname, a.attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage,
                attcompression, attstattarget, attisdropped, attoptions, attacl, attislocal, attinhcount, co.collname,
                pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
         from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_collation co on co.oid = a.attcollation
         left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where c.relnamespace = $1::regnamespace and a.attnum > 0",
    ),
    (
        "constraints",
        "select conrelid::regclass, conname, contype, condeferrable, condeferred, convalidated, connoinherit, conislocal,
                pg_get_constraintdef(oid) from pg_constraint where connamespace = $1::regnamespace",
    ),
    (
        "indexes",
        "select pg_get_indexdef(i.indexrelid), indisunique, indisprimary, indisexclusion, indimmediate, indisclustered, indisvalid,
                indisready, indislive, indisreplident, indnullsnotdistinct
         from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace = $1::regnamespace",
    ),
    (
        "functions",
        "select pg_get_functiondef(oid), pg_get_userbyid(proowner), proacl from pg_proc
         where pronamespace = $1::regnamespace and prokind <> 'a'",
    ),
    (
        "triggers",
        "select pg_get_triggerdef(t.oid), tgenabled from pg_trigger t join pg_class c on c.oid = t.tgrelid
         where c.relnamespace = $1::regnamespace and not tgisinternal",
    ),
    (
        "rules",
        "select pg_get_ruledef(r.oid), ev_enabled from pg_rewrite r join pg_class c on c.oid = r.ev_class
         where c.relnamespace = $1::regnamespace",
    ),
    (
        "policies",
        "select polname, c.relname, polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid),
                pg_get_expr(polwithcheck, polrelid)
         from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = $1::regnamespace",
    ),
    (
        "types",
        "select typname, typtype, typcategory, pg_get_userbyid(typowner), typacl, typdefault, typnotnull, format_type(typbasetype, typtypmod),
                (select array_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid)
         from pg_type t where typnamespace = $1::regnamespace",
    ),
    (
        "sequences",
        "select c.relname, format_type(seqtypid, null), seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle, d.refobjid::regclass,
                d.refobjsubid
         from pg_sequence s join pg_class c on c.oid = s.seqrelid
         left join pg_depend d on d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i')
              and d.refclassid = 'pg_class'::regclass
         where c.relnamespace = $1::regnamespace",
    ),
    (
        "inheritance, statistics",
        "select inhrelid::regclass::text, inhparent::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where c.relnamespace = $1::regnamespace
         union all select pg_get_statisticsobjdef(oid), null from pg_statistic_ext where stxnamespace = $1::regnamespace",
    ),
];

/// All of them, a line an object, with the tenant's own names taken out.
async fn read(db: &Client, w: &World, tenant: &Tenant) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let owners = w.prefix.tenant(tenant.id, "");
    let mut plain = |what: &str, line: &str| {
        all.insert(format!("{what}: {}", line.replace(&tenant.schema, "SCHEMA").replace(&owners, "TENANT_")));
    };
    for (what, sql) in CATALOGS {
        // A record's text form holds every column, whatever its type.
        let sql = format!("select x::text from ({}) x", sql.replace("$1", &format!("'{}'", tenant.schema)));
        for row in db.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{what}: {error:?}")) {
            plain(what, row.get(0));
        }
    }
    for (what, columns, table) in [
        ("history", "version, name, checksum", schema::HISTORY_TABLE),
        ("configuration", "version, content, created_by", "configurations"),
    ] {
        let sql = format!("select x::text from (select {columns} from {}.{table}) x", tenant.schema);
        db.query(&sql, &[]).await.unwrap().iter().for_each(|row| plain(what, row.get(0)));
    }
    all
}

/// Empties a tenant's schema and lets refinery make everything anew, one migration after the other, as its owner.
async fn replay(db: &mut Client, w: &World, tenant: &Tenant) {
    let (name, owner) = (&tenant.schema, w.prefix.tenant(tenant.id, "owner"));
    let again = format!(
        "drop schema {name} cascade; create schema {name} authorization {owner}; set role {owner}; set search_path = {name}"
    );
    db.batch_execute(&again).await.unwrap();
    let report = schema::migrations().run_async(db).await.unwrap();
    assert_eq!(report.applied_migrations().len(), schema::migrations().get_migrations().len(), "each of them");
    let identity =
        format!("insert into identity (tenant_id, epoch) values ({}, 1); reset role; reset search_path", tenant.id);
    db.batch_execute(&identity).await.unwrap();
    // The rights of the tenant's logins are not a migration's.
    w.ctl(&["tenant", "repair", &tenant.id.to_string()]).json();
}

/// Turns red when the batch leaves a migration or its history row out, writes another history table than refinery's, runs as somebody else
/// than the owner, or when creating and repairing grant different things.
#[test]
fn a_schema_made_by_the_batch_is_the_same_as_one_made_step_by_step() {
    world(async |w| {
        for isolation in [Isolation::Schema, Isolation::Database] {
            let [batch, steps] = ["batch", "steps"].map(|how| format!("{} by {how}", isolation.as_str()));
            let (batch, steps) = (w.tenant(&batch, isolation).await, w.tenant(&steps, isolation).await);
            let made = read(&w.superuser(&batch.cluster, &batch.database).await, &w, &batch).await;
            let mut db = w.superuser(&steps.cluster, &steps.database).await;
            replay(&mut db, &w, &steps).await;
            let replayed = read(&db, &w, &steps).await;
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            assert_eq!(
                only(&made, &replayed),
                only(&replayed, &made),
                "{isolation:?}: only made by the batch, only by the steps"
            );
            assert_eq!(made, replayed);
            for (what, least) in
                [("relations", 20), ("columns", 40), ("constraints", 10), ("indexes", 10), ("history", 2)]
            {
                let found = made.iter().filter(|line| line.starts_with(what)).count();
                assert!(found >= least, "the control: {found} {what} were read");
            }
            assert!(made.iter().any(|line| line.contains("to_tsvector")), "generated columns are compared");
        }
    });
}
