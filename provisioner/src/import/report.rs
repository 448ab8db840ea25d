//! What an import came to, by table and tenant: every row of the source is in one of the counts.

use serde::Serialize;
use strowger::id::TenantId;
use uuid::Uuid;

use super::shape::Shapes;

/// A number of rows and the sum of their checksums.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many.
    pub rows: i64,
    /// The sum, as `sum(…)` gives it in Postgres: a text in JSON, since it is longer than a number may be there.
    #[serde(serialize_with = "as_text")]
    pub checksum: i128,
}

fn as_text<S: serde::Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Tally {
    pub(super) fn add(&mut self, sum: i64) {
        self.rows += 1;
        self.checksum += i128::from(sum);
    }

    pub(super) fn of(rows: i64, checksum: &str) -> Self {
        Self { rows, checksum: checksum.parse().unwrap_or_default() }
    }
}

impl std::ops::Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, checksum: self.checksum + other.checksum }
    }
}

/// One table's rows with one value of the tenant column.
#[derive(Debug, Serialize)]
pub struct Count {
    /// The table here.
    pub table: &'static str,
    /// What the tenant column says.
    pub tenant_value: Option<String>,
    /// Who that is here; nobody: all of it is rejected.
    pub customer_id: Option<TenantId>,
    /// What the source itself says it has.
    pub source: Tally,
    /// Rows that are there now, value for value; in a dry run, those that would be.
    pub imported: Tally,
    /// The tenant has a newer one in its place, which stays.
    pub newer_here: Tally,
    /// Another row of the source, newer or its double, stands for it.
    pub merged: Tally,
    /// They cannot be imported; the file of rejects says why.
    pub rejected: Tally,
    /// They should be there and are not: this is never so after an import that ended well.
    pub wrong: Tally,
}

impl Count {
    pub(super) fn new(
        table: &'static str,
        tenant_value: Option<String>,
        customer_id: Option<TenantId>,
        source: Tally,
    ) -> Self {
        let none = Tally::default();
        let (imported, newer_here, merged, rejected, wrong) = (none, none, none, none, none);
        Self { table, tenant_value, customer_id, source, imported, newer_here, merged, rejected, wrong }
    }

    /// Whether every row of the source is accounted for and where it should be.
    pub(super) fn is_whole(&self) -> bool {
        let seen = self.imported + self.newer_here + self.merged + self.rejected;
        self.wrong.rows == 0 && seen == self.source
    }
}

/// What is in a tenant's table, with rows that were there before.
#[derive(Debug, Serialize)]
pub struct Here {
    /// The table.
    pub table: &'static str,
    /// Whose.
    pub customer_id: TenantId,
    /// When the import began.
    pub before: Tally,
    /// When it ended.
    pub after: Tally,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Names it in the audit log.
    pub run: Uuid,
    /// Nothing was written.
    pub dry_run: bool,
    /// `equal` or `different`.
    pub verdict: &'static str,
    /// What became of which table, and what stayed where it is.
    #[serde(flatten)]
    pub shapes: Shapes,
    /// By table and value of the tenant column.
    pub counts: Vec<Count>,
    /// By table and tenant; not in a dry run.
    pub here: Vec<Here>,
    /// Where what was rejected or merged is written down.
    pub rejects: Option<std::path::PathBuf>,
    /// Statements of a dump that failed and that no row depends on.
    pub skipped: Vec<String>,
}

impl Report {
    /// Rows that should be there and are not, or are not accounted for.
    pub fn is_equal(&self) -> bool {
        self.counts.iter().all(Count::is_whole)
    }

    /// Rows that could not be imported.
    pub fn rejected(&self) -> i64 {
        self.counts.iter().map(|count| count.rejected.rows).sum()
    }
}
