//! A platform as there are many: one database for all customers, with all that gathers in one over the years.

use std::process::Command;

use provisioner::tenants;
use strowger::control::tenants::Tenant;
use tokio_postgres::Client;

use crate::support::World;

/// Serial ids, integer customers; `i` decides what is wrong with a row.
const TABLES: &str = "
    create table memories (id serial primary key, customer_id integer, user_id text, type varchar(50), key text, value text,
                           created_at timestamp, importance real);
    create table call_summaries (id serial primary key, customer_id integer, user_id text, call_sid text, summary text,
                                 key_topics text[], variables jsonb, created_at timestamptz);
    create table caller_profiles (id serial, customer_id integer, user_id text, name text, profile_data json, created_at timestamptz,
                                  updated_at timestamptz);
    create table personality_metrics (id uuid primary key, customer_id integer, user_id text, warmth real, haste integer,
                                      created_at timestamptz);
    create table personality_averages (customer_id integer, user_id text, averages jsonb, call_count bigint, updated_at timestamptz);
    create table sessions (id serial)";

/// A caller's number as row `i` has it, and as it must come out.
const USER: &str = "case i % 50 when 0 then null when 1 then 'anonymous' when 2 then '12' when 3 then '(555) 123-' || lpad((i % 100)::text, 4, '0')
                    when 4 then '+44 20 7946 0' || lpad((i % 1000)::text, 3, '0') when 5 then 'wa:user.' || i % 7
                    when 6 then '1555' || lpad((i % 200)::text, 7, '0') else '+1555' || lpad((i % 200)::text, 7, '0') end";
const NORMAL: &str =
    "case when user_id is null or user_id in ('anonymous', '12') then null when user_id like 'wa:%' then user_id
                      when user_id like '(%' then '+1' || regexp_replace(user_id, '[^0-9]', '', 'g')
                      else '+' || regexp_replace(user_id, '[^0-9]', '', 'g') end";

pub(super) struct Legacy {
    pub(super) url: String,
    db: Client,
}

impl Legacy {
    pub(super) async fn new(w: &World) -> Self {
        let legacy = Self::empty(w, "legacy").await;
        legacy.run(TABLES).await;
        legacy
    }

    /// A database without tables. It goes with the world.
    pub(super) async fn empty(w: &World, name: &str) -> Self {
        let name = w.prefix.name(name);
        // Not where tenants live: a cluster with a database that everybody can enter takes no tenants.
        let server = w.superuser("control", "postgres").await;
        server.batch_execute(&format!("create database {name}")).await.unwrap();
        let url = World::superuser_url("control");
        let url = format!("{}/{name}", url.rsplit_once('/').unwrap().0);
        Self { url, db: w.superuser("control", &name).await }
    }

    pub(super) async fn run(&self, sql: &str) {
        self.db.batch_execute(sql).await.unwrap();
    }

    pub(super) async fn fill(&self, memories: usize) {
        self.run(&format!(
            "insert into memories (customer_id, user_id, type, key, value, created_at, importance)
             select case when i % 1999 = 0 then null when i % 1777 = 0 then 99 else 10 * (1 + i % 3) end, {USER},
                    case when i % 13 = 0 then null else 'note' end,
                    case i % 10 when 0 then 'k' || i % 600 when 5 then '' end,
                    case when i % 97 = 0 then null when i % 500 = 7 then repeat('x', 1048576) when i % 11 = 0 then '🎷 fact ' || i
                         else 'fact ' || i end,
                    case when i % 41 > 0 then timestamp '2024-01-01 00:00:00.123456' + i * interval '1 minute' end, 0.5
             from generate_series(1, {memories}) i;
             insert into call_summaries (customer_id, user_id, call_sid, summary, key_topics, variables, created_at)
             select 10 * (1 + i % 3), {USER}, case when i % 4 > 0 then 'CA' || i % 80 end, 'About ' || i,
                    case i % 3 when 0 then array['a, b', '\"c\"', '🎷'] when 1 then '{{}}' end, jsonb_build_object('b', i, 'a', null),
                    timestamptz '2024-01-01' + i * interval '1 hour' from generate_series(1, 120) i;
             insert into caller_profiles (customer_id, user_id, name, profile_data, created_at, updated_at)
             select 10 * (1 + i % 3), {USER}, 'Nm' || i, ('{{\"z\": 1, \"a\": [' || i || ']}}')::json, '2024-01-01', timestamptz '2024-01-01' + i * interval '1 hour'
             from generate_series(1, 700) i;
             insert into personality_metrics select gen_random_uuid(), 10 * (1 + i % 3), {USER}, i / 7.0, i, timestamptz '2024-01-01' + i * interval '1 s'
             from generate_series(1, 90) i;
             insert into personality_averages select 10 * (1 + i % 3), {USER}, '{{\"warmth\": 0.10}}', i - 3, timestamptz '2024-01-01' + i * interval '1 s'
             from generate_series(1, 60) i"
        ))
        .await;
    }

    /// Of everything that is there.
    pub(super) async fn fingerprint(&self) -> String {
        let sql = "select md5(string_agg(md5(t::text), '' order by t::text)) from memories t";
        let one: String = self.db.query_one(sql, &[]).await.unwrap().get(0);
        let sql = "select md5(string_agg(md5(t::text), '' order by t::text)) from caller_profiles t";
        one + self.db.query_one(sql, &[]).await.unwrap().get::<_, &str>(0)
    }

    /// By psql on both sides and with SQL that the import knows nothing of: counts and checksums.
    pub(super) async fn equals(&self, w: &World, tenants: &[Tenant], of: &[(&str, &str)]) {
        for (tenant, old) in tenants.iter().zip([10, 20, 30]) {
            let there = as_tenant(w, tenant).await;
            for (source, target) in of {
                let source = source.replace("$normal", NORMAL).replace("$old", &format!("{old}"));
                let (left, right) = (psql(&self.url, &source), psql(&there, target));
                assert!(
                    left.len() > 33 && !left.starts_with("0|"),
                    "the control: there is something to compare: {left}"
                );
                assert_eq!(left, right, "customer {old}: {target}");
            }
        }
    }
}

/// Both sides of one table, as psql is asked for them.
pub(super) const MEMORIES: (&str, &str) = (
    "with good as (select *, $normal as caller, coalesce(type, 'general') as kind, nullif(key, '') as k,
                          coalesce(created_at, '1970-01-01') as at from memories where customer_id = $old),
          ranked as (select *, row_number() over (partition by caller, kind, coalesce(k, '#' || id) order by at desc, id desc) as place
                     from good where caller is not null and value is not null)
     select count(*), md5(string_agg(md5(concat_ws('|', caller, kind, coalesce(k, '-'), value, to_char(at, 'YYYYMMDDHH24MISSUS'))), ''
                          order by caller collate \"C\", value collate \"C\", at)) from ranked where place = 1",
    "select count(*), md5(string_agg(md5(concat_ws('|', user_id, type, coalesce(key, '-'), content,
                                                   to_char(created_at at time zone 'UTC', 'YYYYMMDDHH24MISSUS'))), ''
                          order by user_id collate \"C\", content collate \"C\", created_at)) from memories",
);

/// Both sides of one table, as psql is asked for them.
pub(super) const SUMMARIES: (&str, &str) = (
    "with good as (select *, $normal as caller from call_summaries where customer_id = $old),
          ranked as (select *, row_number() over (partition by coalesce(call_sid, '#' || id) order by created_at desc) as place
                     from good where caller is not null)
     select count(*), md5(string_agg(md5(concat_ws('|', caller, coalesce(call_sid, '-'), summary, coalesce(key_topics, '{}'), variables,
                                                   extract(epoch from created_at))), '' order by summary collate \"C\")) from ranked where place = 1",
    "select count(*), md5(string_agg(md5(concat_ws('|', user_id, coalesce(call_sid, '-'), summary, key_topics, variables,
                                                   extract(epoch from created_at))), '' order by summary collate \"C\")) from call_summaries",
);

/// Both sides of one table, as psql is asked for them.
pub(super) const PROFILES: (&str, &str) = (
    "with good as (select *, $normal as caller from caller_profiles where customer_id = $old),
          ranked as (select *, row_number() over (partition by caller order by updated_at desc, id desc) as place
                     from good where caller is not null)
     select count(*), md5(string_agg(md5(concat_ws('|', caller, name, profile_data::jsonb, extract(epoch from updated_at))), ''
                          order by caller collate \"C\")) from ranked where place = 1",
    "select count(*), md5(string_agg(md5(concat_ws('|', user_id, name, fields, extract(epoch from updated_at))), ''
                          order by user_id collate \"C\")) from caller_profiles",
);

/// A tenant's own login, as a libpq URL.
pub(super) async fn as_tenant(w: &World, tenant: &Tenant) -> String {
    tenants::connection(&w.with, tenant.id).await.unwrap()
}

/// What psql prints: a row, its columns divided by bars.
pub(super) fn psql(url: &str, sql: &str) -> String {
    let ran = Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).output().unwrap();
    assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}
