//! The closed list: what Postgres allows every login and nobody can take away. SECURITY.md says of each what it can harm.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use strowger::control::clusters::Isolation::Schema;

use super::pair::Pair;
use crate::support::world;

/// Something that cannot be refused.
struct Allowed {
    /// As SECURITY.md calls it.
    name: &'static str,
    /// It goes through. Filled like a row of [`super::statements`]; undone afterwards.
    sql: &'static str,
    /// True after `sql`, in the same transaction: what makes it harmless enough.
    and_yet: &'static str,
}

/// Turned red by refusing one of them, say with `revoke execute on function pg_get_constraintdef(oid) from public` in
/// bootstrap/cluster.rs, and by leaving a line out of SECURITY.md.
const ALLOWED: &[Allowed] = &[
    Allowed {
        name: "its own password and settings",
        sql: "alter role current_user password 'x'; alter role current_user set search_path = {b}",
        and_yet: "select not has_schema_privilege('{b}', 'usage')",
    },
    Allowed {
        name: "its own timeouts",
        sql: "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set lock_timeout = 0",
        and_yet: "select true",
    },
    Allowed {
        name: "its own groups",
        sql: "set local role {sw}_tenants; alter role current_user set work_mem = '1MB'",
        and_yet: "select not has_schema_privilege('{b}', 'usage') and not has_database_privilege(current_database(), 'create, temporary')",
    },
    Allowed {
        name: "drop owned, grant and revoke without effect",
        sql: "drop owned by {sw}_tenants; drop owned by current_user; grant select on memories to public; revoke all on memories from {a:rw:}",
        and_yet: "select has_database_privilege('{b:a:}', current_database(), 'connect') and has_table_privilege('{a:b:}', 'memories', 'select')
                     and not has_table_privilege('{b:a:}', '{a}.memories', 'select')",
    },
    Allowed {
        name: "its own default privileges",
        sql: "alter default privileges grant select on tables to public",
        and_yet: "select not has_schema_privilege('{a}', 'create')",
    },
    Allowed { name: "its own data", sql: "delete from memories", and_yet: "select not has_schema_privilege('{b}', 'usage')" },
    Allowed {
        name: "its own sessions",
        sql: "select pg_cancel_backend(0)",
        and_yet: "select not pg_has_role('{b:a:}', 'member') and not pg_has_role('pg_signal_backend', 'member')",
    },
    Allowed { name: "listen and notify", sql: "listen {b}; notify {b}, 'x'", and_yet: "select true" },
    Allowed {
        name: "names",
        sql: "select 1 / count(*) from pg_namespace where nspname = '{b}'; select 1 / count(*) from pg_roles where rolname = '{b:a:}';
              select 1 / count(*) from pg_database where datname = '{b_database}'",
        and_yet: "select bool_and(nspname ~ '^tenant_[0-9]+$') from pg_namespace where nspname ~ 'tenant'",
    },
    Allowed {
        name: "definitions",
        sql: "select 1 / count(pg_get_constraintdef(oid)) from pg_constraint where connamespace::text = (select oid::text from pg_namespace where nspname = '{b}');
              select 1 / count(pg_get_viewdef({oid recent OID})) from pg_class",
        and_yet: "select not has_table_privilege({oid memories OID}, 'select')
                     or not has_schema_privilege('{b}', 'usage')",
    },
    Allowed {
        name: "row estimates and file names",
        sql: "select 1 / sum(reltuples)::integer from pg_class where oid = {oid memories OID}; select 1 / count(pg_relation_filepath({oid memories OID})) from pg_class",
        and_yet: "select true",
    },
    Allowed {
        name: "access lists, memberships and settings",
        sql: "select 1 / count(*) from pg_class where relacl is not null and oid = {oid memories OID}; select 1 / count(*) from pg_auth_members;
              select 1 / count(*) from pg_db_role_setting; select has_table_privilege('{b:a:}', {oid memories OID}, 'select')",
        and_yet: "select bool_and(rolpassword = '********') from pg_roles",
    },
    Allowed {
        name: "transaction numbers",
        sql: "select pg_current_snapshot(); select txid_current(); select xmin from memories",
        and_yet: "select true",
    },
    Allowed {
        name: "facts about the server",
        sql: "select version(), pg_postmaster_start_time(), pg_conf_load_time(); select * from pg_settings; select * from pg_available_extensions",
        and_yet: "select count(*) = 0 from pg_settings where name in ('data_directory', 'hba_file', 'config_file')",
    },
    Allowed {
        name: "memory, disk and processor time",
        sql: "set local work_mem = '2GB'; set local maintenance_work_mem = '2GB'; set local max_parallel_workers_per_gather = 64; set local debug_print_plan = on",
        and_yet: "select rolconnlimit between 1 and 100 from pg_roles where rolname = current_user",
    },
    Allowed {
        name: "a transaction that is held open",
        sql: "lock table pg_class in access share mode; set local idle_in_transaction_session_timeout = 0",
        and_yet: "select true",
    },
];

#[test]
fn what_cannot_be_refused_is_allowed_and_harms_no_data_of_a_neighbour() {
    world(async |w| {
        let pair = Pair::new(&w, Schema, Schema).await;
        for row in ALLOWED {
            pair.db.batch_execute("begin").await.unwrap();
            pair.db.batch_execute(&pair.against_b(row.sql)).await.expect(row.name);
            let answer = pair.db.query_one(&pair.against_b(row.and_yet), &[]).await.expect(row.name);
            assert!(answer.get::<_, bool>(0), "{}", row.name);
            pair.db.batch_execute("rollback").await.unwrap();
            assert!(pair.still_reads_its_own().await, "{}", row.name);
        }
        pair.b_is_unharmed().await;
    });
}

#[test]
fn security_md_names_exactly_what_cannot_be_refused() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let (_, rest) = text.split_once("## What Postgres cannot refuse a login").expect("the section is there");
    let section = rest.split("\n## ").next().unwrap();
    let named: BTreeSet<&str> =
        section.lines().filter_map(|line| Some(line.strip_prefix("- **")?.split_once("**")?.0)).collect();
    let tested: BTreeSet<&str> = ALLOWED.iter().map(|row| row.name).collect();
    assert_eq!(named, tested);
}
