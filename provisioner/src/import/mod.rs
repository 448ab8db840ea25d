//! An existing platform's database, one for all its customers, into tenants' own schemas and databases.
//!
//! `mapping` is the file that says what goes where; `source` reads the other database in one snapshot, `dump` makes such a database of a
//! plain SQL dump; `shape` turns the mapping and the tables that are there into SQL; `row` judges one row; `doubles` finds the rows that
//! another one stands for; `copy` makes the passes; `tenants` writes through each tenant's own login; `rejects` and `report` say what became of every row.
//!
//! A table is read three times from the same snapshot: for doubles, to write, to compare. No mark of progress is kept. The id of a
//! row is the same each time and putting it twice changes nothing, so a run that was killed anywhere is gone on with by running it
//! again, and the third pass says of every single row whether it is there.
//!
//! What a newcomer gets wrong: nothing is dropped. A row is imported, merged, rejected with a reason, or the tenant has a newer one;
//! the four and what the source itself counts must be equal, by number and by checksum, or the import says it failed.

mod copy;
mod doubles;
mod dump;
mod mapping;
mod rejects;
mod report;
mod row;
mod shape;
mod source;
mod tenants;

use std::path::{Path, PathBuf};

use strowger::control::audit::{self, AuditRow};
use strowger::id::TenantId;
use uuid::Uuid;

pub use mapping::{Mapping, read};
pub use report::{Count, Here, Report, Tally};

use self::copy::Import;
use self::rejects::Rejects;
use self::shape::{Shape, Shapes};
use self::source::{Snapshot, Source};
use crate::Provisioner;
use crate::error::Result;

/// Where rows come from.
pub enum From<'a> {
    /// A Postgres database, by its libpq URL.
    Url(&'a str),
    /// A plain SQL dump.
    Dump(&'a Path),
}

/// How to go about it.
pub struct Options {
    /// Write nothing to any tenant.
    pub dry_run: bool,
    /// Rows that are written at once.
    pub batch: usize,
    /// Where to write down what is rejected or merged; in a dry run it may be nowhere.
    pub rejects: Option<PathBuf>,
}

/// Imports, or says what an import would come to.
pub async fn run(with: &Provisioner, mapping: &Mapping, from: &From<'_>, options: &Options) -> Result<Report> {
    let (mut source, skipped, _loaded) = match from {
        From::Url(url) => (Source::open(url).await?, Vec::new(), None),
        From::Dump(path) => {
            let mut loaded = dump::load(path).await?;
            let skipped = std::mem::take(&mut loaded.skipped);
            (Source::open_as(&loaded.login, dump::DATABASE).await?, skipped, Some(loaded))
        }
    };
    let snapshot = source.snapshot().await?;
    let shapes = shape::find(&snapshot, mapping).await?;
    let counts = count(&snapshot, &shapes, mapping).await?;
    let mut all: Vec<TenantId> = counts.iter().filter_map(|count| count.customer_id).chain(mapping.named()).collect();
    all.sort_unstable();
    all.dedup();
    let regions = tenants::regions(with, &all).await?;
    let rejects = Rejects::create(options.rejects.as_deref())?;
    let import = Import { with, mapping, options, snapshot, regions, run: Uuid::new_v4() };
    let mut report = import.all(shapes, counts, rejects).await?;
    report.skipped = skipped;
    Ok(report)
}

/// What the log knows of imports: how each began and ended, newest first. One that only began was killed, or is at work.
pub async fn status(with: &Provisioner, limit: i64) -> Result<Vec<AuditRow>> {
    Ok(audit::of_actions(&with.control, &["import.begin", "import.end"], limit).await?)
}

/// Counts and checksums as the source itself gives them.
async fn count(source: &Snapshot<'_>, shapes: &Shapes, mapping: &Mapping) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for shape in &shapes.tables {
        for row in source.rows(&shape.source_sql).await? {
            let value: Option<String> = row.get(0);
            let tenant = shape.whose(mapping, value.as_deref());
            let sum: Option<&str> = row.get(2);
            counts.push(Count::new(shape.to, value, tenant, Tally::of(row.get(1), sum.unwrap_or("0"))));
        }
    }
    Ok(counts)
}

impl Shape {
    /// Whose a row with that value is.
    fn whose(&self, mapping: &Mapping, value: Option<&str>) -> Option<TenantId> {
        match (&self.tenant_column, value) {
            (None, _) => mapping.all_to,
            (Some(_), Some(value)) => mapping.tenant_of(value),
            (Some(_), None) => None,
        }
    }
}
