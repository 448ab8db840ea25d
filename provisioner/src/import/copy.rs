//! An import at work: each table read three times from one snapshot, and every row put into one of the counts.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;
use strowger::id::{Region, TenantId};
use strowger::tenant::imports::Standing;
use uuid::Uuid;

use super::Options;
use super::doubles::Doubles;
use super::mapping::Mapping;
use super::rejects::Rejects;
use super::report::{Count, Here, Report};
use super::row::{self, Origin, Raw};
use super::shape::{Shape, Shapes};
use super::source::{self, Snapshot};
use super::tenants::{Doors, Put};
use crate::Provisioner;
use crate::error::{Error, Result};

/// A batch is sent when it holds so many bytes, whatever its number of rows.
const BATCH_BYTES: usize = 4 << 20;

/// One import at work.
pub(super) struct Import<'a> {
    pub(super) with: &'a Provisioner,
    pub(super) mapping: &'a Mapping,
    pub(super) options: &'a Options,
    pub(super) snapshot: Snapshot<'a>,
    pub(super) regions: BTreeMap<TenantId, Region>,
    pub(super) run: Uuid,
}

/// What a row is found to be.
enum Judged {
    Good(TenantId, Vec<Option<String>>),
    Rejected(String),
}

/// Which pass over a table it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Put,
    Compare,
}

impl Import<'_> {
    pub(super) async fn all(&self, shapes: Shapes, mut counts: Vec<Count>, mut rejects: Rejects) -> Result<Report> {
        let (mut here, mut doors) = (Vec::new(), None);
        if !self.options.dry_run {
            self.begin().await?;
            doors = Some(Doors::open(self.with, self.regions.keys()).await?);
        }
        for shape in &shapes.tables {
            let doors = doors.as_ref();
            let first = here.len();
            here.extend(self.before(doors, shape, &counts).await?);
            self.table(doors, shape, &mut counts, &mut rejects).await?;
            for (doors, there) in doors.iter().flat_map(|d| std::iter::repeat(*d)).zip(&mut here[first..]) {
                there.after = doors.total(there.customer_id, shape.target).await?;
            }
        }
        let rejects = rejects.end()?;
        let (run, dry_run) = (self.run, self.options.dry_run);
        let mut report =
            Report { run, dry_run, verdict: "different", shapes, counts, here, rejects, skipped: Vec::new() };
        if report.is_equal() {
            report.verdict = "equal";
        }
        if !dry_run {
            self.end(&report).await?;
        }
        Ok(report)
    }

    async fn before(&self, doors: Option<&Doors>, shape: &Shape, counts: &[Count]) -> Result<Vec<Here>> {
        let Some(doors) = doors else { return Ok(Vec::new()) };
        let mut here: Vec<Here> = Vec::new();
        for count in counts.iter().filter(|count| count.table == shape.to) {
            let Some(customer_id) = count.customer_id else { continue };
            if here.iter().all(|there| there.customer_id != customer_id) {
                let before = doors.total(customer_id, shape.target).await?;
                here.push(Here { table: shape.to, customer_id, before, after: before });
            }
        }
        Ok(here)
    }

    /// The three passes.
    async fn table(
        &self,
        doors: Option<&Doors>,
        shape: &Shape,
        counts: &mut [Count],
        rejects: &mut Rejects,
    ) -> Result<()> {
        let mut doubles = Doubles::default();
        let mut rows = self.snapshot.stream(&shape.skim_sql).await?;
        while let Some(raw) = next(&mut rows).await? {
            if let Judged::Good(tenant, values) = self.judge(shape, &raw) {
                doubles.see(shape, tenant, &raw, &values);
            }
        }
        drop(rows);
        let mut table =
            Table { shape, doors, batch: Batch::default(), merged: doubles.merged(), refused: HashSet::new() };
        self.pass(Pass::Put, &mut table, counts, rejects).await?;
        if doors.is_some() {
            self.pass(Pass::Compare, &mut table, counts, rejects).await?;
        }
        Ok(())
    }

    async fn pass(&self, pass: Pass, table: &mut Table<'_>, counts: &mut [Count], rejects: &mut Rejects) -> Result<()> {
        let sql = if pass == Pass::Put { &table.shape.read_sql } else { &table.shape.skim_sql };
        let mut rows = self.snapshot.stream(sql).await?;
        while let Some(raw) = next(&mut rows).await? {
            match self.judge(table.shape, &raw) {
                Judged::Rejected(reason) => {
                    if pass == Pass::Put {
                        table.count(counts, &raw).rejected.add(raw.sum);
                        rejects.note(&table.shape.from, table.shape.target, &raw, "rejected", &reason)?;
                    }
                }
                Judged::Good(..) if table.merged.contains(&raw.place) => {
                    if pass == Pass::Put {
                        table.count(counts, &raw).merged.add(raw.sum);
                        rejects.note(
                            &table.shape.from,
                            table.shape.target,
                            &raw,
                            "merged",
                            "a newer row stands for it",
                        )?;
                    }
                }
                Judged::Good(..) if table.refused.contains(&raw.place) => {}
                Judged::Good(tenant, values) => {
                    if table.batch.is_full(tenant, self.options.batch) {
                        table.flush(pass, counts, rejects).await?;
                    }
                    table.batch.push(tenant, raw, values);
                }
            }
        }
        table.flush(pass, counts, rejects).await
    }

    fn judge(&self, shape: &Shape, raw: &Raw) -> Judged {
        let whose = shape.whose(self.mapping, raw.tenant.as_deref());
        let Some((tenant, region)) = whose.and_then(|id| Some((id, *self.regions.get(&id)?))) else {
            return Judged::Rejected("the tenant column names nobody here".to_owned());
        };
        let (installation, platform) = (self.with.installation.prefix.as_str(), self.mapping.name.as_str());
        let origin = Origin { installation, platform, table: &shape.from };
        match row::judge(shape.target, raw, &origin, region) {
            Ok(values) => Judged::Good(tenant, values),
            Err(reason) => Judged::Rejected(reason),
        }
    }

    async fn begin(&self) -> Result<()> {
        let tenants: Vec<&TenantId> = self.regions.keys().collect();
        let mut change = self.with.control.change(&self.with.actor).await?;
        let detail = json!({ "run": self.run, "mapping": self.mapping.name, "tenants": tenants });
        change.record("import.begin", None, detail).await?;
        Ok(change.commit().await?)
    }

    /// Counts alone: no row's words come here.
    async fn end(&self, report: &Report) -> Result<()> {
        let mut change = self.with.control.change(&self.with.actor).await?;
        for id in self.regions.keys() {
            let mine = report.counts.iter().filter(|count| count.customer_id == Some(*id));
            let counts: Vec<_> = mine
                .map(|count| {
                    json!({ "table": count.table, "source": count.source.rows, "imported": count.imported.rows,
                            "newer_here": count.newer_here.rows, "merged": count.merged.rows,
                            "rejected": count.rejected.rows, "wrong": count.wrong.rows })
                })
                .collect();
            change.record("import.tenant", Some(*id), json!({ "run": self.run, "counts": counts })).await?;
        }
        let detail = json!({ "run": self.run, "verdict": report.verdict, "rejected": report.rejected() });
        change.record("import.end", None, detail).await?;
        Ok(change.commit().await?)
    }
}

async fn next(rows: &mut source::Rows) -> Result<Option<Raw>> {
    let Some(row) = source::next(rows).await? else { return Ok(None) };
    let unreadable = |error| Error::Unavailable(format!("read the source: {}", strowger::pg::describe(&error)));
    Raw::read(&row).map(Some).map_err(unreadable)
}

/// One table on its way.
struct Table<'a> {
    shape: &'a Shape,
    doors: Option<&'a Doors>,
    batch: Batch,
    merged: HashSet<String>,
    /// Rows that Postgres did not take.
    refused: HashSet<String>,
}

/// Rows of one tenant that go together.
#[derive(Default)]
struct Batch {
    tenant: Option<TenantId>,
    rows: Vec<(Raw, Vec<Option<String>>)>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self, next: TenantId, most: usize) -> bool {
        self.rows.len() >= most || self.bytes >= BATCH_BYTES || self.tenant.is_some_and(|tenant| tenant != next)
    }

    fn push(&mut self, tenant: TenantId, raw: Raw, values: Vec<Option<String>>) {
        self.tenant = Some(tenant);
        self.bytes += raw.size();
        self.rows.push((raw, values));
    }
}

/// A list for each field.
fn columns(rows: &[(Raw, Vec<Option<String>>)]) -> Vec<Vec<Option<String>>> {
    let width = rows.first().map_or(0, |(_, values)| values.len());
    (0..width).map(|i| rows.iter().map(|(_, values)| values[i].clone()).collect()).collect()
}

impl Table<'_> {
    /// The count that a row belongs to.
    fn count<'c>(&self, counts: &'c mut [Count], raw: &Raw) -> &'c mut Count {
        let at = counts.iter().position(|count| count.table == self.shape.to && count.tenant_value == raw.tenant);
        &mut counts[at.unwrap_or_default()]
    }

    async fn flush(&mut self, pass: Pass, counts: &mut [Count], rejects: &mut Rejects) -> Result<()> {
        let Batch { tenant, rows, .. } = std::mem::take(&mut self.batch);
        let Some(tenant) = tenant else { return Ok(()) };
        match (self.doors, pass) {
            (None, _) => rows.iter().for_each(|(raw, _)| self.count(counts, raw).imported.add(raw.sum)),
            (Some(doors), Pass::Put) => self.put(doors, tenant, &rows, counts, rejects).await?,
            (Some(doors), Pass::Compare) => self.compare(doors, tenant, &rows, counts).await?,
        }
        Ok(())
    }

    /// Together; if Postgres does not take one of them, each by itself, and that one is rejected.
    async fn put(
        &mut self,
        doors: &Doors,
        tenant: TenantId,
        rows: &[(Raw, Vec<Option<String>>)],
        counts: &mut [Count],
        rejects: &mut Rejects,
    ) -> Result<()> {
        if let Put::Done = doors.put(tenant, self.shape.target, &columns(rows)).await? {
            return Ok(());
        }
        for one in rows.chunks(1) {
            let Put::Unstorable(why) = doors.put(tenant, self.shape.target, &columns(one)).await? else { continue };
            let raw = &one[0].0;
            self.refused.insert(raw.place.clone());
            self.count(counts, raw).rejected.add(raw.sum);
            rejects.note(
                &self.shape.from,
                self.shape.target,
                raw,
                "rejected",
                &format!("Postgres does not take it: {why}"),
            )?;
        }
        Ok(())
    }

    async fn compare(
        &self,
        doors: &Doors,
        tenant: TenantId,
        rows: &[(Raw, Vec<Option<String>>)],
        counts: &mut [Count],
    ) -> Result<()> {
        let sums: Vec<i64> = rows.iter().map(|(raw, _)| raw.sum).collect();
        let standings = doors.compare(tenant, self.shape.target, &columns(rows), &sums).await?;
        for ((raw, _), standing) in rows.iter().zip(standings) {
            let count = self.count(counts, raw);
            match standing {
                Standing::Same => count.imported.add(raw.sum),
                Standing::Newer => count.newer_here.add(raw.sum),
                Standing::Missing | Standing::Different => count.wrong.add(raw.sum),
            }
        }
        Ok(())
    }
}
