//! Rows from another platform into a tenant's tables, and the proof that they are there.
//!
//! Two rules make an import harmless to repeat and to kill: a row put twice is there once, and a row of the tenant's that is
//! newer is never replaced. Each batch is one statement, so there is no half of one.
//!
//! All values travel as text in one canonical form each, so that a checksum over them is the same wherever Postgres computes it.

use super::{Intent, TenantConn, TenantError, Write};

/// What a field holds, and with it its canonical text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A UUID.
    Id,
    /// A caller key.
    Caller,
    /// Text of at most so many characters, if there is a limit.
    Text(Option<usize>),
    /// A moment in UTC, with microseconds, in the form of [`UTC`].
    Moment,
    /// A JSON object, as `jsonb` prints it.
    Object,
    /// A JSON array of texts.
    Texts,
    /// A whole number that is not negative.
    Count,
}

/// What is written where the source has nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Nothing: such a row cannot be imported.
    Refused,
    /// NULL.
    Null,
    /// This.
    As(&'static str),
}

/// One column that is imported.
#[derive(Debug)]
pub struct Field {
    /// Its name here.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What stands for nothing.
    pub absent: Absent,
}

/// A table that rows are imported into.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Its fields, in the order in which values are given.
    pub fields: &'static [Field],
    /// Of rows that have the same values in all of these, one can be there; the newest wins. NULL is like nothing.
    pub unique: &'static [&'static [&'static str]],
    /// The field that says which of two is newer.
    pub newest: &'static str,
    /// How many rows there are, and the sum of their checksums.
    pub total: &'static str,
    put: &'static str,
    compare: &'static str,
}

/// The form of a moment, for Postgres's `to_char`.
pub const UTC: &str = r#"YYYY-MM-DD"T"HH24:MI:SS.US"Z""#;

/// When something happened of which nobody knows when: older than everything else.
const LONG_AGO: Absent = Absent::As("1970-01-01T00:00:00.000000Z");

const fn field(name: &'static str, kind: Kind, absent: Absent) -> Field {
    Field { name, kind, absent }
}

/// A row's checksum over the canonical texts of its fields, all but id and caller: 60 bits, added up for many rows.
pub fn checksum(fields: &[String]) -> String {
    let each: Vec<String> = fields.iter().map(|f| format!("coalesce(md5(convert_to({f}, 'UTF8')), '-')")).collect();
    format!("('x' || left(md5(concat_ws('|', {})), 15))::bit(60)::bigint", each.join(", "))
}

macro_rules! checksum {
    ($first:expr $(, $field:expr)*) => {
        concat!(
            "('x' || left(md5(concat_ws('|', coalesce(md5(convert_to(", $first, ", 'UTF8')), '-')",
            $(", coalesce(md5(convert_to(", $field, ", 'UTF8')), '-')",)*
            ")), 15))::bit(60)::bigint"
        )
    };
}

macro_rules! utc {
    ($column:literal) => {
        concat!("to_char(", $column, r#" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
    };
}

macro_rules! total {
    ($table:literal, $sum:expr) => {
        concat!("select count(*), coalesce(sum(", $sum, "), 0)::text from ", $table, " m")
    };
}

/// What became of each row: `n` are the rows as they should be, `m` what is there.
macro_rules! compare {
    ($columns:literal, $found:literal, $newest:literal, $sum:expr) => {
        concat!(
            "select case when m.user_id is null then 'missing' when m.user_id = n.user_id and n.sum = ",
            $sum,
            " then 'same' when m.",
            $newest,
            " > n.",
            $newest,
            "::timestamptz then 'newer' else 'different' end
             from unnest(",
            $columns,
            ", sum, place) left join lateral (",
            $found,
            ") m on true order by n.place"
        )
    };
}

macro_rules! memories {
    () => {
        checksum!("m.type", "m.key", "m.content", utc!("m.created_at"))
    };
}
macro_rules! summaries {
    () => {
        checksum!("m.call_sid", "m.summary", "to_jsonb(m.key_topics)::text", "m.variables::text", utc!("m.created_at"))
    };
}
macro_rules! profiles {
    () => {
        checksum!("m.name", "m.quick_bio", "m.fields::text", utc!("m.created_at"), utc!("m.updated_at"))
    };
}
macro_rules! metrics {
    () => {
        checksum!("m.metrics::text", utc!("m.created_at"))
    };
}
macro_rules! averages {
    () => {
        checksum!("m.averages::text", "m.calls::text", utc!("m.updated_at"))
    };
}

/// The tables that an import fills.
pub static TARGETS: [Target; 5] = [
    Target {
        name: "memories",
        fields: &[
            field("id", Kind::Id, Absent::Refused),
            field("user_id", Kind::Caller, Absent::Refused),
            field("type", Kind::Text(Some(64)), Absent::As("general")),
            field("key", Kind::Text(Some(256)), Absent::Null),
            field("content", Kind::Text(None), Absent::Refused),
            field("created_at", Kind::Moment, LONG_AGO),
        ],
        unique: &[&["id"], &["user_id", "type", "key"]],
        newest: "created_at",
        total: total!("memories", memories!()),
        put: "with n as (
                  select id::uuid, user_id, type, key, content, created_at::timestamptz
                  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                       as n (id, user_id, type, key, content, created_at)),
              older as (
                  update memories m set content = n.content, created_at = n.created_at from n
                  where m.user_id = n.user_id and m.type = n.type and m.key = n.key and m.id <> n.id
                    and m.created_at <= n.created_at and (m.content, m.created_at) is distinct from (n.content, n.created_at))
              insert into memories as m (id, user_id, type, key, content, created_at)
              select * from n where not exists (
                  select from memories o where o.user_id = n.user_id and o.type = n.type and o.key = n.key and o.id <> n.id)
              on conflict (id) do update set user_id = excluded.user_id, type = excluded.type, key = excluded.key,
                                             content = excluded.content, created_at = excluded.created_at
              where m.created_at <= excluded.created_at
                and (m.user_id, m.type, m.key, m.content, m.created_at) is distinct from
                    (excluded.user_id, excluded.type, excluded.key, excluded.content, excluded.created_at)",
        compare: compare!(
            "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
             with ordinality as n (id, user_id, type, key, content, created_at",
            "select * from memories where id = n.id::uuid union all
             select * from memories where user_id = n.user_id and type = n.type and key = n.key and id <> n.id::uuid limit 1",
            "created_at",
            memories!()
        ),
    },
    Target {
        name: "call_summaries",
        fields: &[
            field("id", Kind::Id, Absent::Refused),
            field("user_id", Kind::Caller, Absent::Refused),
            field("call_sid", Kind::Text(Some(256)), Absent::Null),
            field("summary", Kind::Text(None), Absent::Refused),
            field("key_topics", Kind::Texts, Absent::As("[]")),
            field("variables", Kind::Object, Absent::As("{}")),
            field("created_at", Kind::Moment, LONG_AGO),
        ],
        unique: &[&["id"], &["call_sid"]],
        newest: "created_at",
        total: total!("call_summaries", summaries!()),
        put: "with n as (
                  select id::uuid, user_id, call_sid, summary, array(select jsonb_array_elements_text(key_topics::jsonb)) as key_topics,
                         variables::jsonb, created_at::timestamptz
                  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
                       as n (id, user_id, call_sid, summary, key_topics, variables, created_at)),
              older as (
                  update call_summaries m set user_id = n.user_id, summary = n.summary, key_topics = n.key_topics,
                                              variables = n.variables, created_at = n.created_at from n
                  where m.call_sid = n.call_sid and m.id <> n.id and m.created_at <= n.created_at
                    and (m.user_id, m.summary, m.key_topics, m.variables, m.created_at) is distinct from
                        (n.user_id, n.summary, n.key_topics, n.variables, n.created_at))
              insert into call_summaries as m (id, user_id, call_sid, summary, key_topics, variables, created_at)
              select * from n where not exists (select from call_summaries o where o.call_sid = n.call_sid and o.id <> n.id)
              on conflict (id) do update set user_id = excluded.user_id, call_sid = excluded.call_sid, summary = excluded.summary,
                                             key_topics = excluded.key_topics, variables = excluded.variables,
                                             created_at = excluded.created_at
              where m.created_at <= excluded.created_at
                and (m.user_id, m.call_sid, m.summary, m.key_topics, m.variables, m.created_at) is distinct from
                    (excluded.user_id, excluded.call_sid, excluded.summary, excluded.key_topics, excluded.variables, excluded.created_at)",
        compare: compare!(
            "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])
             with ordinality as n (id, user_id, call_sid, summary, key_topics, variables, created_at",
            "select * from call_summaries where id = n.id::uuid union all
             select * from call_summaries where call_sid = n.call_sid and id <> n.id::uuid limit 1",
            "created_at",
            summaries!()
        ),
    },
    Target {
        name: "caller_profiles",
        fields: &[
            field("user_id", Kind::Caller, Absent::Refused),
            field("name", Kind::Text(None), Absent::Null),
            field("quick_bio", Kind::Text(None), Absent::As("")),
            field("fields", Kind::Object, Absent::As("{}")),
            field("created_at", Kind::Moment, LONG_AGO),
            field("updated_at", Kind::Moment, LONG_AGO),
        ],
        unique: &[&["user_id"]],
        newest: "updated_at",
        total: total!("caller_profiles", profiles!()),
        put: "insert into caller_profiles as m (user_id, name, quick_bio, fields, created_at, updated_at)
              select user_id, name, quick_bio, fields::jsonb, created_at::timestamptz, updated_at::timestamptz
              from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                   as n (user_id, name, quick_bio, fields, created_at, updated_at)
              on conflict (user_id) do update set name = excluded.name, quick_bio = excluded.quick_bio, fields = excluded.fields,
                                                  created_at = excluded.created_at, updated_at = excluded.updated_at
              where m.updated_at <= excluded.updated_at
                and (m.name, m.quick_bio, m.fields, m.created_at, m.updated_at) is distinct from
                    (excluded.name, excluded.quick_bio, excluded.fields, excluded.created_at, excluded.updated_at)",
        compare: compare!(
            "$1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
             with ordinality as n (user_id, name, quick_bio, fields, created_at, updated_at",
            "select * from caller_profiles where user_id = n.user_id",
            "updated_at",
            profiles!()
        ),
    },
    Target {
        name: "personality_metrics",
        fields: &[
            field("id", Kind::Id, Absent::Refused),
            field("user_id", Kind::Caller, Absent::Refused),
            field("metrics", Kind::Object, Absent::As("{}")),
            field("created_at", Kind::Moment, LONG_AGO),
        ],
        unique: &[&["id"]],
        newest: "created_at",
        total: total!("personality_metrics", metrics!()),
        put: "insert into personality_metrics as m (id, user_id, metrics, created_at)
              select id::uuid, user_id, metrics::jsonb, created_at::timestamptz
              from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (id, user_id, metrics, created_at)
              on conflict (id) do update set user_id = excluded.user_id, metrics = excluded.metrics, created_at = excluded.created_at
              where m.created_at <= excluded.created_at
                and (m.user_id, m.metrics, m.created_at) is distinct from (excluded.user_id, excluded.metrics, excluded.created_at)",
        compare: compare!(
            "$1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) with ordinality as n (id, user_id, metrics, created_at",
            "select * from personality_metrics where id = n.id::uuid",
            "created_at",
            metrics!()
        ),
    },
    Target {
        name: "personality_averages",
        fields: &[
            field("user_id", Kind::Caller, Absent::Refused),
            field("averages", Kind::Object, Absent::As("{}")),
            field("calls", Kind::Count, Absent::As("0")),
            field("updated_at", Kind::Moment, LONG_AGO),
        ],
        unique: &[&["user_id"]],
        newest: "updated_at",
        total: total!("personality_averages", averages!()),
        put: "insert into personality_averages as m (user_id, averages, calls, updated_at)
              select user_id, averages::jsonb, calls::int, updated_at::timestamptz
              from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (user_id, averages, calls, updated_at)
              on conflict (user_id) do update set averages = excluded.averages, calls = excluded.calls, updated_at = excluded.updated_at
              where m.updated_at <= excluded.updated_at
                and (m.averages, m.calls, m.updated_at) is distinct from (excluded.averages, excluded.calls, excluded.updated_at)",
        compare: compare!(
            "$1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) with ordinality as n (user_id, averages, calls, updated_at",
            "select * from personality_averages where user_id = n.user_id",
            "updated_at",
            averages!()
        ),
    },
];

/// Values of several rows, a list a field, in the order of [`Target::fields`].
pub type Columns = [Vec<Option<String>>];

/// Puts rows, all of them or none. No two of them may be the same by [`Target::unique`].
pub async fn put(conn: TenantConn<'_, Write>, target: &Target, rows: &Columns) -> Result<(), TenantError> {
    let params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = rows.iter().map(|column| column as _).collect();
    conn.execute(target.put, &params).await?;
    Ok(())
}

/// What became of a row that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there, value for value, with the right caller.
    Same,
    /// The tenant has a newer one in its place.
    Newer,
    /// It is not there.
    Missing,
    /// What is there is not it.
    Different,
}

/// Looks each row up, and compares it by its caller and its checksum; long texts need not be given.
pub async fn compare<I: Intent>(
    conn: TenantConn<'_, I>,
    target: &Target,
    rows: &Columns,
    sums: &[i64],
) -> Result<Vec<Standing>, TenantError> {
    let mut params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = rows.iter().map(|column| column as _).collect();
    params.push(&sums);
    let found = conn.query(target.compare, &params).await?;
    found
        .iter()
        .map(|row| {
            Ok(match row.try_get(0)? {
                "same" => Standing::Same,
                "newer" => Standing::Newer,
                "missing" => Standing::Missing,
                _ => Standing::Different,
            })
        })
        .collect()
}

/// How many rows a table has, and the sum of their checksums.
pub async fn total<I: Intent>(conn: TenantConn<'_, I>, target: &Target) -> Result<(i64, String), TenantError> {
    let row = conn.query_one(target.total, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_write_a_checksum_are_one() {
        let fields = ["m.type", "m.key", "m.content", utc!("m.created_at")].map(str::to_owned);
        assert_eq!(checksum(&fields), memories!());
        assert_eq!(utc!("x"), format!("to_char(x at time zone 'UTC', '{UTC}')"));
    }

    #[test]
    fn every_target_names_its_own_fields() {
        for target in &TARGETS {
            let has = |name: &&str| target.fields.iter().any(|field| field.name == *name);
            assert!(target.unique.iter().copied().flatten().all(has) && has(&target.newest), "{}", target.name);
            for n in 1..=target.fields.len() {
                assert!(
                    target.put.contains(&format!("${n}::text[]")) && target.compare.contains(&format!("${n}::text[]"))
                );
            }
        }
    }
}
