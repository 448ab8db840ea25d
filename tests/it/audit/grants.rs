//! Who writes the log cannot rewrite it.

use tokio_postgres::error::SqlState;

use super::findings;
use crate::support::{connect, world};

/// Red when `audit_grants` leaves a table or function with the provisioner's login, grants it a column more, or when that
/// login owns the database, and with it the schema: then it may drop what it does not own.
#[test]
fn the_provisioners_login_appends_and_does_nothing_else() {
    world(async |w| {
        let db = connect(&w.urls.provisioner).await.unwrap();
        let (me, keeper, database) = (w.prefix.name("control"), w.prefix.name("audit"), w.prefix.name("control"));
        for refused in [
            "update audit set actor = 'x'",
            "update audit set detail = '{}' where seq = 1",
            "delete from audit",
            "truncate audit",
            "merge into audit using (select 1) s on true when matched then delete",
            "do $$ begin lock table audit in access exclusive mode; end $$",
            "select * from audit for update",
            "alter table audit disable trigger append",
            "alter table audit disable trigger all",
            "alter table audit add column x int",
            "alter table audit alter column hash drop not null",
            "alter table audit rename to audit_old",
            "alter table audit set unlogged",
            &format!("alter table audit owner to {me}"),
            "drop table audit",
            "drop trigger append on audit",
            "create trigger more before insert on audit for each row execute function announce('job')",
            "create rule nothing as on insert to audit do instead nothing",
            "create table more (chain int, seq bigint, foreign key (chain, seq) references audit (chain, seq))",
            "create table more () inherits (audit)",
            "create index more on audit (actor)",
            "insert into audit (actor, action, chain) values ('x', 'y', 7)",
            "insert into audit (actor, action, seq) values ('x', 'y', 7)",
            "insert into audit (actor, action, hash, previous) values ('x', 'y', '', '')",
            "insert into audit (actor, action, at) values ('x', 'y', now())",
            "insert into audit (id, actor, action) overriding system value values (1, 'x', 'y')",
            "update audit_heads set seq = 0",
            "insert into audit_heads values (7, 7, '')",
            "delete from audit_heads",
            "truncate audit_heads",
            "select * from audit_heads for update",
            "drop table audit_heads",
            "create or replace function audit_append() returns trigger language plpgsql as 'begin return new; end'",
            "alter function audit_append() reset all",
            "alter function audit_hash(audit) rename to audit_hash_old",
            "drop function audit_append() cascade",
            "drop function audit_field(text) cascade",
            "drop schema public cascade",
            "alter schema public rename to private",
            &format!("alter schema public owner to {me}"),
            &format!("drop database {database}"),
            &format!("alter database {database} set session_replication_role = replica"),
            &format!("alter database {database} owner to {me}"),
            "set session_replication_role = replica",
            "create temporary table audit_heads (chain int)",
            "create schema more",
            &format!("set role {keeper}"),
            &format!("grant {keeper} to {me}"),
            &format!("alter role {keeper} login"),
            &format!("reassign owned by {keeper} to {me}"),
            &format!("drop owned by {keeper}"),
        ] {
            let error = db.batch_execute(refused).await.expect_err(refused);
            assert_eq!(error.code().map(SqlState::code), Some("42501"), "{refused}: {error}");
        }
        assert_eq!(findings(&w, &[]), [""; 0]);
    });
}

/// Whatever the login sets for its session or makes in the schema, the trigger computes the same. Red when `audit_append` has no
/// `search_path` of its own, or a setting of the session changes what is hashed.
#[test]
fn a_session_cannot_bend_what_is_hashed() {
    world(async |w| {
        let db = connect(&w.urls.provisioner).await.unwrap();
        db.batch_execute(
            "create function public.clock_timestamp() returns timestamptz language sql as 'select timestamptz ''2000-06-01''';
             create function public.sha256(text) returns bytea language sql as 'select ''''::bytea';
             set search_path = pg_temp, public, pg_catalog; set timezone = 'Asia/Kathmandu'; set datestyle = 'German';
             set bytea_output = 'escape'; set extra_float_digits = -15; set intervalstyle = 'iso_8601';
             insert into public.audit (actor, action, detail) values ('x', 'y', '{\"b\":1.50,\"a\":[1e400,\"ü\"]}'), ('x', 'z', '{}');
             insert into public.audit (actor, action, tenant_id) values ('x', 'z', -5)
             on conflict do nothing",
        )
        .await
        .unwrap();
        assert_eq!(findings(&w, &[]), [""; 0]);
        let newest = &w.ctl(&["audit", "list", "--limit", "1"]).json()[0];
        assert!(!newest["at"].as_str().unwrap().starts_with("2000"), "{newest}");
    });
}

/// Red when `server_grants` grants the server the log.
#[test]
fn the_servers_login_cannot_even_read_it() {
    world(async |w| {
        let db = connect(&w.urls.server).await.unwrap();
        for refused in [
            "select 1 from audit",
            "select 1 from audit_heads",
            "select 1 from audit_key",
            "insert into audit (actor, action) values ('x', 'y')",
            "select audit_append()",
        ] {
            let error = db.batch_execute(refused).await.expect_err(refused);
            assert_eq!(error.code().map(SqlState::code), Some("42501"), "{refused}: {error}");
        }
    });
}
