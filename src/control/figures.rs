//! The installation in figures, for what watches it. Counts, ages and states; no tenant's name or id, so there are never more of them.

use sqlx::Row as _;

use super::{Control, ControlError};

/// A figure of which there may be several, told apart by one label.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// As it is exposed; a unit is its last word.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// The label's name; `None` where there is one figure.
    pub label: Option<&'static str>,
}

/// One of a family.
#[derive(Debug, Clone)]
pub struct Figure {
    /// The family's name.
    pub name: String,
    /// The label's value; empty where the family has none.
    pub label: String,
    /// Now.
    pub value: f64,
}

const fn family(name: &'static str, label: Option<&'static str>, help: &'static str) -> Family {
    Family { name, help, label }
}

/// All families, in the order in which they are shown.
///
/// The schedule `all` is the one for every tenant without one of its own; `own` are those.
pub const FAMILIES: &[Family] = &[
    family("strowger_tenants", Some("state"), "Tenants by state."),
    family("strowger_backup_covered_tenants", Some("schedule"), "Tenants that a schedule of backups covers."),
    family("strowger_backup_never_tenants", Some("schedule"), "Covered tenants that have no good backup."),
    family("strowger_backup_due_tenants", Some("schedule"), "Covered tenants whose next backup is due."),
    family(
        "strowger_backup_overdue_tenants",
        Some("schedule"),
        "Covered tenants due for more than an hour: what doctor names.",
    ),
    family(
        "strowger_backup_oldest_last_good_seconds",
        Some("schedule"),
        "Age of the oldest of the covered tenants' last good backups. Absent where none of them has one.",
    ),
    family(
        "strowger_backup_longest_overdue_seconds",
        Some("schedule"),
        "For how long the covered tenant that has waited longest has been due; 0 when none is.",
    ),
    family("strowger_backups", Some("state"), "Backups in the catalogue by state."),
    family("strowger_backups_stored_bytes", None, "What complete backups take up in their stores."),
    family("strowger_jobs", Some("state"), "Jobs that wait, run, or were given up."),
    family("strowger_job_longest_due_seconds", None, "For how long the job that has waited longest could have begun."),
    family("strowger_work_items", Some("state"), "Work items that wait, are being done, or were given up."),
    family(
        "strowger_archives",
        Some("state"),
        "Archives of clusters: working, failing, ended, or silent, of which no worker has heard for ten minutes.",
    ),
    family(
        "strowger_archive_longest_failing_seconds",
        None,
        "For how long the archive that has failed longest has; 0 when none does.",
    ),
    family("strowger_control_reconciling", None, "1 while a restored control database is not served from."),
];

/// All figures, with one query. A state that nobody is in is a 0; an age of nothing is left out.
pub async fn read(control: &Control) -> Result<Vec<Figure>, ControlError> {
    let sql = "
        with b as (
            select case when own then 'own' else 'all' end as schedule, last_at, due_at from scheduled_backups),
        s as (
            select s.schedule, count(b.schedule) as covered,
                   count(b.schedule) filter (where b.last_at is null) as never,
                   count(*) filter (where b.due_at <= now()) as due,
                   count(*) filter (where b.due_at < now() - interval '1 hour') as overdue,
                   extract(epoch from now() - min(b.last_at)) as oldest,
                   greatest(coalesce(extract(epoch from now() - min(b.due_at)), 0), 0) as longest
            from (values ('all'), ('own')) s (schedule) left join b using (schedule) group by 1),
        f (name, label, value) as (
            select 'strowger_tenants', state, count(t.id)
            from (values ('provisioning'), ('active'), ('read_only'), ('suspended'), ('deleted'), ('erasing')) s (state)
            left join tenants t using (state) group by state
            union all select 'strowger_backup_covered_tenants', schedule, covered from s
            union all select 'strowger_backup_never_tenants', schedule, never from s
            union all select 'strowger_backup_due_tenants', schedule, due from s
            union all select 'strowger_backup_overdue_tenants', schedule, overdue from s
            union all select 'strowger_backup_oldest_last_good_seconds', schedule, oldest from s
            union all select 'strowger_backup_longest_overdue_seconds', schedule, longest from s
            union all
            select 'strowger_backups', state, count(b.id)
            from (values ('writing'), ('complete'), ('deleting')) s (state) left join backups b using (state) group by state
            union all
            select 'strowger_backups_stored_bytes', '', coalesce(sum(stored_bytes), 0) from backups where state = 'complete'
            union all
            select 'strowger_jobs', state, count(j.id)
            from (values ('waiting'), ('queued'), ('running'), ('failed'), ('recovery_failed')) s (state)
            left join jobs j using (state) group by state
            union all
            select 'strowger_job_longest_due_seconds', '', greatest(coalesce(extract(epoch from now() - min(not_before)), 0), 0)
            from jobs where state = 'queued'
            union all
            select 'strowger_work_items', state, count(w.id)
            from (values ('queued'), ('leased'), ('dead')) s (state) left join work_items w using (state) group by state
            union all
            select 'strowger_archives', state, count(a.state)
            from (values ('working'), ('failing'), ('ended'), ('silent')) s (state)
            left join (select case when ended_at is not null then 'ended'
                                   when coalesce(looked_at, created_at) < now() - interval '10 minutes' then 'silent'
                                   when failing_since is not null then 'failing' else 'working' end as state
                       from archives) a using (state) group by state
            union all
            select 'strowger_archive_longest_failing_seconds', '', greatest(coalesce(extract(epoch from now() - min(failing_since)), 0), 0)
            from archives where ended_at is null
            union all
            select 'strowger_control_reconciling', '', count(*) from installation where reconciling_since is not null)
        select name, label, value::float8 as value from f where value is not null order by name, label";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(Figure { name: row.try_get("name")?, label: row.try_get("label")?, value: row.try_get("value")? })
        })
        .collect()
}
