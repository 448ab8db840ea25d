//! The statements that a tenant's login is refused, by what refuses them. Three cannot be turned red by a change of ours: a
//! table of another database (0A000), renaming oneself (0A000), and `prepare transaction` (55000, a setting of the server).
//! Those about the whole server are in [`super::server`].

use super::server::{FUNCTIONS, SUPERUSER};

/// Statements that one protection refuses.
pub(super) struct Group {
    /// What protects.
    pub(super) guard: &'static str,
    /// The one-line change of the product that turns the group red. For readers; each was made and seen.
    #[expect(dead_code, reason = "it is read by people")]
    pub(super) red: &'static str,
    pub(super) rows: &'static [Row],
}

/// One statement. `{b}` is B's schema, `{b:rw:}` a role of B's, `{oid memories OID}` the oid of a relation of B's.
pub(super) struct Row {
    pub(super) sql: &'static str,
    /// The SQLSTATE when B lives in the same database, on the same cluster, elsewhere; `None` where it makes no sense.
    pub(super) states: [Option<&'static str>; 3],
    /// It cannot stand in a transaction.
    pub(super) alone: bool,
    /// A may do it to what is its own.
    pub(super) works_on_own: bool,
}

const DENIED: Option<&str> = Some("42501");

/// Refused wherever B lives.
pub(super) const fn anywhere(sql: &'static str) -> Row {
    Row { sql, states: [DENIED; 3], alone: false, works_on_own: false }
}

/// About B's schema; where that is not in A's database it does not exist.
const fn theirs(sql: &'static str, absent: &'static str) -> Row {
    Row { states: [DENIED, Some(absent), Some(absent)], ..anywhere(sql) }
}

/// About an object in A's own database by its oid.
pub(super) const fn by_oid(sql: &'static str) -> Row {
    Row { states: [DENIED, None, None], ..anywhere(sql) }
}

/// About B's role, session or database; on another cluster it does not exist.
pub(super) const fn role(sql: &'static str, absent: &'static str) -> Row {
    Row { states: [DENIED, DENIED, Some(absent)], ..anywhere(sql) }
}

impl Row {
    pub(super) const fn with(self, state: &'static str) -> Self {
        Self { states: [Some(state); 3], ..self }
    }

    pub(super) const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    const fn own(self) -> Self {
        Self { works_on_own: true, ..self }
    }
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        guard: "a tenant's schema has nothing for PUBLIC",
        red: "steps/schema.rs: for `revoke all on schema` write `grant usage on schema {schema} to public; grant all on all \
              tables in schema {schema} to public; grant all on all sequences in schema {schema} to public`",
        rows: NEIGHBOUR,
    },
    Group {
        guard: "a login is in the group with DML, not in the owner",
        red: "steps/roles.rs: grant the login the owner role: `grant {group}, {owner} to {role}`",
        rows: DML_ONLY,
    },
    Group {
        guard: "the provisioner's tables are for reading",
        red: "steps/schema.rs: leave out the revokes on READ_ONLY_TABLES and HISTORY_TABLE",
        rows: READ_ONLY,
    },
    Group {
        guard: "a login has no attribute and no membership but its own group's",
        red: "steps/roles.rs: `create role {role} createrole createdb`; for the SET ROLE rows: bootstrap/cluster.rs `create role \
              {admin} … superuser` and roles.rs `login superuser`",
        rows: ROLES,
    },
    Group {
        guard: "a database has nothing for PUBLIC",
        red: "steps/database.rs, clone_template: for `revoke all on database` write `grant all on database {} to public`",
        rows: DATABASE,
    },
    Group {
        guard: "functions with which one could watch, lock or signal are taken from PUBLIC",
        red: "bootstrap/cluster.rs, CLOSED_FUNCTIONS: leave the name out",
        rows: FUNCTIONS,
    },
    Group {
        guard: "no procedural language",
        red: "bootstrap/cluster.rs: leave out `revoke usage on language plpgsql`",
        rows: &[anywhere("do $$ begin end $$"), anywhere("do language plpgsql $$ begin perform 1; end $$")],
    },
    Group {
        guard: "Postgres itself, for whoever is not a superuser",
        red: "bootstrap/cluster.rs: `create role {admin} … superuser`, and steps/roles.rs: `login superuser`",
        rows: SUPERUSER,
    },
];

const NEIGHBOUR: &[Row] = &[
    theirs("select * from {b}.memories", "42P01").own(),
    theirs("insert into {b}.memories (user_id, content) values ('x', 'y')", "42P01").own(),
    theirs("update {b}.memories set content = 'x'", "42P01").own(),
    theirs("delete from {b}.memories", "42P01").own(),
    theirs("merge into {b}.memories m using (select 1) s on true when matched then delete", "42P01").own(),
    theirs("truncate {b}.memories", "3F000"),
    theirs("copy {b}.memories to stdout", "3F000").own(),
    theirs("copy {b}.memories from stdin", "3F000"),
    theirs("copy (select * from {b}.memories) to stdout", "42P01").own(),
    theirs("lock table {b}.memories in access share mode", "3F000").own(),
    theirs("select * from {b}.memories for update", "42P01").own(),
    theirs("explain select * from {b}.memories where content > 'a'", "42P01").own(),
    theirs("explain analyze delete from {b}.memories", "42P01").own(),
    theirs("prepare reach as select * from {b}.memories", "42P01").own(),
    theirs("declare reach cursor for select * from {b}.memories", "42P01").own(),
    theirs("select * from {b}.recent", "42P01").own(),
    theirs("select {b}.recall()", "3F000"),
    theirs("select nextval('{b}.serial')", "3F000"),
    theirs("select '{b}.memories'::regclass", "3F000").own(),
    theirs("select null::{b}.memories", "3F000").own(),
    theirs("select query_to_xml('select * from {b}.memories', true, false, '')", "42P01").own(),
    theirs("select schema_to_xml('{b}', true, false, '')", "3F000").own(),
    theirs("select currtid2('{b}.memories', '(0,1)')", "3F000").own(),
    theirs("select ts_stat('select words from {b}.memories')", "42P01").own(),
    theirs("set local search_path = {b}; select * from recent", "42P01").own().with("42P01"),
    theirs("set local search_path = {b}; select recall()", "42883").with("42883"),
    by_oid("select table_to_xml({oid memories OID}::regclass, true, false, '')").own(),
    by_oid("select nextval({oid serial OID}::regclass)"),
    by_oid("select setval({oid serial OID}::regclass, 9)"),
    by_oid("select currval({oid serial OID}::regclass)"),
    by_oid("select pg_sequence_last_value({oid serial OID}::regclass)"),
    by_oid("select * from pg_sequence_parameters({oid serial OID})"),
    by_oid("select gin_clean_pending_list({oid memories_words OID}::regclass)"),
    theirs("grant select on {b}.memories to public", "3F000"),
    theirs("comment on table {b}.memories is 'x'", "3F000"),
    theirs("alter table {b}.memories add x integer", "3F000"),
    theirs("drop table {b}.memories", "3F000"),
    theirs("drop schema {b} cascade", "3F000"),
    theirs("alter schema {b} rename to x", "3F000"),
    theirs("create table {b}.x ()", "3F000"),
    theirs("create function {b}.x() returns integer language sql as 'select 1'", "3F000"),
    theirs("vacuum {b}.memories", "3F000").alone(),
    theirs("analyze {b}.memories", "3F000").own(),
    theirs("reindex table {b}.memories", "3F000"),
    Row { states: [None, Some("0A000"), Some("0A000")], ..anywhere("select * from {b_database}.{b}.memories") },
];

const DML_ONLY: &[Row] = &[
    anywhere("truncate memories"),
    anywhere("alter table memories add x integer"),
    anywhere("alter table memories disable trigger all"),
    anywhere("drop table memories"),
    anywhere("drop schema {a} cascade"),
    anywhere("alter schema {a} rename to x"),
    anywhere("create table {a}.x ()"),
    anywhere("create table {a}.x as select * from memories"),
    anywhere("select * into {a}.x from memories"),
    anywhere("create view {a}.x as select 1"),
    anywhere("create materialized view {a}.x as select 1"),
    anywhere("create sequence {a}.x"),
    anywhere("create type {a}.x as (x integer)"),
    anywhere("create domain {a}.x as text"),
    anywhere("create function {a}.now() returns integer language sql as 'select 1'"),
    anywhere("create operator {a}.= (leftarg = text, rightarg = text, function = textne)"),
    anywhere(
        "create trigger x before insert on memories for each row execute function suppress_redundant_updates_trigger()",
    ),
    anywhere("create rule x as on insert to memories do instead nothing"),
    anywhere("create policy x on memories"),
    anywhere("create index on memories (user_id)"),
    anywhere("create statistics {a}.x on user_id, type from memories"),
    anywhere("cluster memories using memories_newest"),
    anywhere("comment on table memories is 'x'"),
    anywhere("comment on schema {a} is 'x'"),
    anywhere("alter function recall() security definer"),
    anywhere("set local role {a:owner:}"),
    anywhere("drop owned by {a:owner:}"),
];

const READ_ONLY: &[Row] = &[
    anywhere("update identity set tenant_id = 7"),
    anywhere("delete from identity"),
    anywhere("insert into identity (one_row, tenant_id, epoch) values (true, 7, 1) on conflict do nothing"),
    anywhere("insert into numbers (kind, value) values ('phone', '+18005550199')"),
    anywhere("update numbers set value = 'x'"),
    anywhere("delete from numbers"),
    anywhere("copy numbers from stdin"),
    anywhere("select * from refinery_schema_history"),
    anywhere("delete from refinery_schema_history"),
];

const ROLES: &[Row] = &[
    role("set local role {b:a:}", "22023").own(),
    role("set local role {b:b:}", "22023"),
    role("set local role {b:rw:}", "22023").own(),
    role("set local role {b:owner:}", "22023"),
    anywhere("set local role {sw}_admin"),
    anywhere("set local role {sw}_admin_a"),
    anywhere("set local role postgres"),
    anywhere("set local role pg_monitor"),
    anywhere("set local role pg_read_all_data"),
    anywhere("set local role pg_signal_backend"),
    role("set local session authorization {b:a:}", "22023").own(),
    anywhere("set local session authorization postgres"),
    role("grant {b:rw:} to {a:a:}", "42704"),
    role("grant {a:a:} to {b:a:}", "42704"),
    role("grant {a:rw:} to {b:a:}", "42704"),
    anywhere("grant pg_read_all_data to {a:a:}"),
    role("revoke {b:rw:} from {b:a:}", "42704"),
    role("alter role {b:a:} password 'x'", "42704").own(),
    role("alter role {b:a:} set search_path = x", "42704").own(),
    role("alter role {b:a:} nologin", "42704"),
    role("alter role {b:a:} rename to x", "42704"),
    anywhere("drop role {b:a:}"),
    role("drop owned by {b:rw:}", "42704"),
    role("reassign owned by {b:owner:} to {a:owner:}", "42704"),
    role("comment on role {b:a:} is 'x'", "42704"),
    role("alter default privileges for role {b:owner:} grant all on tables to public", "42704"),
    anywhere("alter role {a:a:} superuser"),
    anywhere("alter role {a:a:} createrole"),
    anywhere("alter role {a:a:} createdb"),
    anywhere("alter role {a:a:} replication"),
    anywhere("alter role {a:a:} bypassrls"),
    anywhere("alter role {a:a:} connection limit -1"),
    anywhere("alter role {a:a:} valid until '2000-01-01'"),
    anywhere("alter role {a:a:} nologin"),
    anywhere("alter role {a:a:} rename to x").with("0A000"),
    anywhere("create role x"),
    anywhere("create role x superuser"),
    anywhere("create database {sw}_x").alone(),
    Row { states: [DENIED, DENIED, None], ..anywhere("select pg_terminate_backend({b_pid})") },
    Row { states: [DENIED, DENIED, None], ..anywhere("select pg_cancel_backend({b_pid})") },
    role("alter database {b_database} set work_mem = '1MB'", "3D000"),
    role("alter database {b_database} connection limit 0", "3D000"),
    role("drop database {b_database}", "3D000").alone(),
    anywhere("alter database {a_database} with allow_connections false"),
    anywhere("grant connect on database {sw}_template to public"),
];

const DATABASE: &[Row] = &[
    anywhere("create schema x"),
    anywhere("create schema authorization current_user"),
    anywhere("create temp table identity (tenant_id integer)"),
    anywhere("create temp table memories as select 1"),
    anywhere("create temp view memories as select 1"),
    anywhere("create temp sequence x"),
    anywhere("create function pg_temp.now() returns integer language sql as 'select 1'"),
    anywhere("create publication x"),
    anywhere("create extension citext"),
    anywhere("create table public.x ()"),
    anywhere("create function public.x() returns integer language sql as 'select 1'"),
];
