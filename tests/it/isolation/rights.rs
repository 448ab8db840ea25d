//! The roles and access lists that all of it stands on.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation::{Database, Schema};
use tokio_postgres::Client;

use crate::support::{World, world};

/// Everything that PUBLIC may do with an object that is ours, and with the database itself. An access list that is null is
/// Postgres's default, so it is written out first.
const PUBLIC_RIGHTS: &str = "
    select 'database ' || datname from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
    where grantee = 0 and datname = current_database()
    union all
    select 'schema ' || nspname from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
    where grantee = 0 and nspname not in ('pg_catalog', 'information_schema')
    union all
    select 'relation ' || oid::regclass from pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
    where grantee = 0 and relnamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    union all
    select 'function ' || oid::regprocedure from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
    where grantee = 0 and pronamespace not in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    union all
    select 'language ' || lanname from pg_language, aclexplode(coalesce(lanacl, acldefault('l', lanowner)))
    where grantee = 0 and lanname = 'plpgsql'
    union all
    select 'default of ' || defaclrole::regrole from pg_default_acl, aclexplode(defaclacl) where grantee = 0
    union all
    select 'new functions of ' || rolname from pg_roles where rolname ~ '_t[0-9]+_owner$'
    and exists (select from pg_namespace where nspowner = pg_roles.oid)
    and not exists (select from pg_default_acl where defaclrole = pg_roles.oid and defaclobjtype = 'f')";

async fn public_rights(db: &Client) -> Vec<String> {
    db.query(PUBLIC_RIGHTS, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Turned red by leaving out any of the revokes in bootstrap/cluster.rs (databases, schema public, plpgsql) and in
/// steps/schema.rs, `grants` (the schema, functions by default).
#[test]
fn a_fresh_database_has_nothing_for_public() {
    world(async |w| {
        let database = w.tenant("D", Database).await.database;
        let shared = w.tenant("A", Schema).await.database;
        let template = w.prefix.name("template");
        for cluster in ["shared", "dedicated"] {
            let root = w.superuser(cluster, "postgres").await;
            root.batch_execute(&format!("alter database {template} with allow_connections true")).await.unwrap();
        }
        for (cluster, name) in
            [("shared", &shared), ("shared", &template), ("dedicated", &template), ("dedicated", &database)]
        {
            assert_eq!(public_rights(&w.superuser(cluster, name).await).await, [""; 0], "{name} on {cluster}");
        }
        let sql = "select datname::text from pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
                   where grantee = 0 and (datname like $1 or datname in ('postgres', 'template1'))";
        for cluster in ["control", "shared", "dedicated"] {
            let open =
                w.superuser(cluster, "postgres").await.query(sql, &[&format!("{}\\_%", w.prefix)]).await.unwrap();
            assert!(open.is_empty(), "{cluster}: {:?}", open.iter().map(|row| row.get(0)).collect::<Vec<String>>());
        }
        let control = w.superuser("control", &w.prefix.name("control")).await;
        let schema = "select count(*) from pg_namespace, aclexplode(nspacl) where nspname = 'public' and grantee = 0";
        assert_eq!(control.query_one(schema, &[]).await.unwrap().get::<_, i64>(0), 0);
    });
}

/// Turned red by leaving out the line of steps/roles.rs that makes it so.
#[test]
fn a_tenants_roles_have_no_attribute_but_the_few_they_need() {
    world(async |w| {
        for isolation in [Schema, Database] {
            let tenant = w.tenant(isolation.as_str(), isolation).await;
            let db = w.superuser(&tenant.cluster, "postgres").await;
            let sql =
                "select rolcanlogin, rolconnlimit, rolpassword is not null, rolsuper or rolcreaterole or rolcreatedb
                              or rolreplication or rolbypassrls,
                              (select string_agg(x, ' ' order by x) from pg_db_role_setting s, unnest(setconfig) x
                               where s.setrole = a.oid and s.setdatabase = 0)
                       from pg_authid a where rolname = $1";
            let path = format!(
                "idle_in_transaction_session_timeout=15s lock_timeout=5s search_path={} statement_timeout=15s",
                tenant.schema
            );
            for (role, login, limit, settings) in [
                ("owner", false, -1, None),
                ("rw", false, -1, None),
                ("a", true, 20, Some(&path)),
                ("b", false, 20, Some(&path)),
            ] {
                let row = db.query_one(sql, &[&w.prefix.tenant(tenant.id, role)]).await.unwrap();
                let found = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
                assert_eq!(found, (login, limit, login, false, settings.cloned()), "{role}");
            }
        }
    });
}

async fn memberships(w: &World, cluster: &str) -> BTreeSet<String> {
    let sql = "select r.rolname || ' has ' || m.rolname || case when admin_option then ' with admin option' else '' end
               from pg_auth_members join pg_roles r on r.oid = roleid join pg_roles m on m.oid = member
               where r.rolname like $1 or m.rolname like $1";
    let rows = w.superuser(cluster, "postgres").await.query(sql, &[&format!("{}\\_%", w.prefix)]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0).replace(&format!("{}_", w.prefix), "")).collect()
}

/// Turned red by leaving the revoke out of `Owner::commit` in steps/schema.rs, or by any membership more in steps/roles.rs.
#[test]
fn the_admin_is_in_no_owner_role_and_a_login_only_in_its_own_groups() {
    world(async |w| {
        let a = w.tenant("A", Schema).await;
        let d = w.tenant("D", Database).await;
        let account = w.account(1, None).await;
        for (tenant, number) in [(&a, "+18005550101"), (&d, "+18005550102")] {
            w.assign(number, tenant.id, &account).await;
            provisioner::tenants::repair(&w.with, tenant.id).await.unwrap();
        }
        let expected = |tenant: String, shared: bool| {
            let mut all = BTreeSet::from(
                [
                    "admin has admin_a",
                    "admin has admin_b",
                    "pg_signal_backend has admin",
                    "pg_read_all_stats has admin",
                ]
                .map(str::to_owned),
            );
            for turn in ["a", "b"] {
                all.insert(format!("t{tenant}_rw has t{tenant}_{turn}"));
                if shared {
                    all.insert(format!("tenants has t{tenant}_{turn}"));
                }
            }
            all
        };
        assert_eq!(memberships(&w, "shared").await, expected(a.id.to_string(), true));
        assert_eq!(memberships(&w, "dedicated").await, expected(d.id.to_string(), false));
        for cluster in ["shared", "dedicated"] {
            let sql = "select count(*) from pg_roles where rolname = any($1) and rolcanlogin = (rolname ~ '_a$') and not rolsuper
                       and not rolreplication and not rolbypassrls";
            let admins = ["admin", "admin_a", "admin_b"].map(|what| w.prefix.name(what)).to_vec();
            let row = w.superuser(cluster, "postgres").await.query_one(sql, &[&admins]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 3);
        }
    });
}
