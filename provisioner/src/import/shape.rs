//! Which columns of the source become which fields: a mapping held against the tables that are there, as SQL.
//!
//! Every expression gives the field's canonical text, so that what is read, what is compared and what anybody computes with psql is
//! one and the same.

use serde::Serialize;
use strowger::tenant::imports::{Absent, Field, Kind, Target, UTC, checksum};

use super::mapping::{Mapping, REST, TableMapping};
use super::source::{Column, Snapshot, Table};
use crate::admin_db::{ident, literal};
use crate::error::{Error, Result};

/// What is found wrong is put together with the rest before anybody hears of it.
type Checked<T, E> = std::result::Result<T, E>;

/// One table of the source and what it becomes.
#[derive(Debug, Serialize)]
pub struct Shape {
    /// The source's table.
    pub from: String,
    /// The table here.
    pub to: &'static str,
    /// The column that says whose a row is.
    pub tenant_column: Option<String>,
    /// Which column each field comes from; a field that is not here gets its default.
    pub fields: Vec<(&'static str, String)>,
    /// Columns that nothing is made of: they stay where they are.
    pub left_out: Vec<String>,
    /// Counts and checksums by value of the tenant column, for psql on the source.
    pub source_sql: String,
    /// Count and checksum of everything in the table here, for psql on a tenant's database.
    pub target_sql: &'static str,
    #[serde(skip)]
    pub(super) target: &'static Target,
    /// Reads every row: tenant, the row's place, checksum, then the fields.
    #[serde(skip)]
    pub(super) read_sql: String,
    /// The same with long texts cut short.
    #[serde(skip)]
    pub(super) skim_sql: String,
}

/// The tables that are there.
#[derive(Debug, Serialize)]
pub struct Shapes {
    /// Those that are imported.
    pub tables: Vec<Shape>,
    /// Those that the mapping names and that are not there.
    pub missing: Vec<&'static str>,
    /// Those that the mapping does not name.
    pub other_tables: Vec<String>,
}

/// Holds a mapping against a source.
pub(super) async fn find(source: &Snapshot<'_>, mapping: &Mapping) -> Result<Shapes> {
    let (mut tables, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &mapping.tables {
        let mut found = None;
        for name in &entry.from {
            found = found.or(source.table(name).await?);
        }
        match found {
            None => missing.push(entry.target.name),
            Some(table) => match shape(&table, entry, mapping) {
                Ok(shape) => tables.push(shape),
                Err(wrong) => problems.extend(wrong.into_iter().map(|what| format!("{}: {what}", table.name))),
            },
        }
    }
    if tables.is_empty() && problems.is_empty() {
        problems.push("none of the mapping's tables is in the source".to_owned());
    }
    if !problems.is_empty() {
        return Err(Error::Conflict(format!("nothing was changed:\n  {}", problems.join("\n  "))));
    }
    let known: Vec<String> = tables.iter().map(|shape| shape.from.clone()).collect();
    Ok(Shapes { tables, missing, other_tables: source.others(&known).await? })
}

fn shape(table: &Table, entry: &TableMapping, mapping: &Mapping) -> Checked<Shape, Vec<String>> {
    let target = entry.target;
    let column = |name: &String| table.columns.iter().find(|column| column.name == *name);
    let tenant = mapping.tenant_column.iter().find_map(column);
    let mut problems = Vec::new();
    if tenant.is_none() && mapping.all_to.is_none() {
        let looked_for = mapping.tenant_column.join(", ");
        problems.push(format!(
            "no column says whose a row is (looked for: {looked_for}): say --all-to TENANT if all are one's"
        ));
    }
    // The first of the columns that is there, or what is left of the row.
    let chosen: Vec<Option<Chosen<'_>>> = entry
        .columns
        .iter()
        .map(|names| {
            names.iter().find_map(|n| if n == REST { Some(Chosen::Rest) } else { column(n).map(Chosen::Column) })
        })
        .collect();
    for ((field, names), _) in
        target.fields.iter().zip(&entry.columns).zip(&chosen).filter(|(_, chosen)| chosen.is_none())
    {
        if field.absent == Absent::Refused {
            problems.push(format!("no column for {} (looked for: {})", field.name, names.join(", ")));
        }
    }
    let takers =
        chosen.iter().flatten().filter_map(|c| if let Chosen::Column(column) = c { Some(*column) } else { None });
    let taken: Vec<&str> = takers.chain(tenant).map(|column| column.name.as_str()).collect();
    let takes_rest =
        target.fields.iter().zip(&chosen).any(|(f, c)| f.kind == Kind::Object && matches!(c, Some(Chosen::Rest)));
    let expressions = target.fields.iter().zip(&chosen).map(|(field, chosen)| value(field, chosen.as_ref(), &taken));
    let expressions: Vec<String> = expressions.filter_map(|e| e.map_err(|what| problems.push(what)).ok()).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let left_out = table.columns.iter().filter(|c| !takes_rest && !taken.contains(&c.name.as_str()));
    let sql = Sql::new(table, target, tenant, &expressions);
    Ok(Shape {
        from: table.name.clone(),
        to: target.name,
        tenant_column: tenant.map(|column| column.name.clone()),
        fields: target.fields.iter().zip(&chosen).filter_map(|(f, c)| Some((f.name, c.as_ref()?.name()))).collect(),
        left_out: left_out.map(|column| column.name.clone()).collect(),
        source_sql: sql.counts(),
        target_sql: target.total,
        target,
        read_sql: sql.read(false),
        skim_sql: sql.read(true),
    })
}

enum Chosen<'t> {
    Column(&'t Column),
    Rest,
}

impl Chosen<'_> {
    fn name(&self) -> String {
        match self {
            Self::Column(column) => column.name.clone(),
            Self::Rest => REST.to_owned(),
        }
    }
}

/// A field's canonical text.
fn value(field: &Field, chosen: Option<&Chosen<'_>>, taken: &[&str]) -> Checked<String, String> {
    let found = match chosen {
        None => None,
        Some(Chosen::Rest) => Some(rest(field.kind, taken)),
        Some(Chosen::Column(column)) => Some(of_column(field, column)?),
    };
    Ok(match (found, field.absent) {
        (found, Absent::As(text)) => {
            found.map_or_else(|| literal(text), |e| format!("coalesce({e}, {})", literal(text)))
        }
        (found, _) => found.unwrap_or_else(|| "null::text".to_owned()),
    })
}

/// All of a row that nothing else takes; for an id, its fingerprint: rows that are alike are one.
fn rest(kind: Kind, taken: &[&str]) -> String {
    if kind == Kind::Id {
        return "md5(t::text)".to_owned();
    }
    let taken: Vec<String> = taken.iter().map(|name| literal(name)).collect();
    format!("(to_jsonb(t) - array[{}]::text[])::text", taken.join(", "))
}

fn of_column(field: &Field, column: &Column) -> Checked<String, String> {
    let c = format!("t.{}", ident(&column.name));
    let is_json = matches!(column.kind.as_str(), "json" | "jsonb");
    Ok(match field.kind {
        // Many platforms write an empty text where they have none; as a key it would make all memories one.
        Kind::Text(_) if field.absent != Absent::Refused => format!("nullif({c}::text, '')"),
        Kind::Id | Kind::Caller | Kind::Text(_) | Kind::Count => format!("{c}::text"),
        Kind::Moment => moment(&c, column)?,
        Kind::Object if is_json => format!(
            "(case jsonb_typeof({c}::jsonb) when 'object' then {c}::jsonb when 'null' then null
              else nullif(jsonb_build_object('value', {c}::jsonb), '{{\"value\": null}}') end)::text"
        ),
        Kind::Object => format!("case when {c} is not null then jsonb_build_object('value', to_jsonb({c}))::text end"),
        Kind::Texts => {
            let json = if is_json { format!("{c}::jsonb") } else { format!("to_jsonb({c})") };
            format!(
                "case when {c} is not null then to_jsonb(array(select jsonb_array_elements_text(
                 case jsonb_typeof({json}) when 'array' then {json} else jsonb_build_array({json}) end)))::text end"
            )
        }
    })
}

fn moment(c: &str, column: &Column) -> Checked<String, String> {
    let timestamp = match column.kind.as_str() {
        "timestamp with time zone" => format!("{c} at time zone 'UTC'"),
        "timestamp without time zone" | "date" => format!("{c}::timestamp"),
        // Seconds or milliseconds since 1970; no call was taken in the year 5138.
        "bigint" | "integer" | "double precision" | "numeric" => format!(
            "to_timestamp(case when {c} > 100000000000 then {c} / 1000.0 else {c} end::float8) at time zone 'UTC'"
        ),
        other => {
            let name = &column.name;
            return Err(format!("{name} is {other}, and no moment: make a materialized view with a timestamp of it"));
        }
    };
    // `to_char` has nothing to say of infinity, which is not nothing.
    Ok(format!("coalesce(to_char({timestamp}, {}), {c}::text)", literal(UTC)))
}

struct Sql {
    table: String,
    tenant: String,
    sum: String,
    fields: Vec<String>,
    skimmed: Vec<String>,
}

impl Sql {
    fn new(table: &Table, target: &Target, tenant: Option<&Column>, expressions: &[String]) -> Self {
        let summed = target.fields.iter().zip(expressions).filter(|(f, _)| !matches!(f.kind, Kind::Id | Kind::Caller));
        let summed: Vec<String> = summed.map(|(_, expression)| expression.clone()).collect();
        let skim = |(field, e): (&Field, &String)| {
            if field.kind == Kind::Text(None) { format!("left({e}, 1)") } else { e.clone() }
        };
        Self {
            table: table.sql.clone(),
            tenant: tenant.map_or_else(|| "null::text".to_owned(), |column| format!("t.{}::text", ident(&column.name))),
            sum: checksum(&summed),
            fields: expressions.to_vec(),
            skimmed: target.fields.iter().zip(expressions).map(skim).collect(),
        }
    }

    fn counts(&self) -> String {
        format!(
            "select {} as tenant, count(*), sum({})::text as checksum from {} t group by 1 order by 1",
            self.tenant, self.sum, self.table
        )
    }

    /// In the order of tenants, so that one tenant's rows are worked on at a time.
    fn read(&self, skim: bool) -> String {
        let fields = if skim { &self.skimmed } else { &self.fields };
        format!(
            "select {}, t.tableoid::text || ' ' || t.ctid::text, {}, {} from {} t order by 1",
            self.tenant,
            self.sum,
            fields.join(", "),
            self.table
        )
    }
}
