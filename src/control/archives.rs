//! Clusters whose write-ahead log is archived, and what is known of where a tenant lived at an earlier moment.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::clusters::ClusterId;
use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{ArchivePass, Sealed};

/// An archive that pgBackRest can restore a cluster from.
pub struct Archive {
    /// The cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub cluster_name: String,
    /// What pgBackRest calls it.
    pub stanza: String,
    /// pgBackRest's settings: a file on the machine where restores are made.
    pub config: String,
    /// The folder in which clusters are restored aside.
    pub aside: String,
    /// What we make and keep ourselves; `None` for an operator's own archive.
    pub ours: Option<Ours>,
    /// When archiving was ended; what was archived by then is there.
    pub ended_at: Option<OffsetDateTime>,
}

/// An archive that we make ourselves.
pub struct Ours {
    /// Where it lies.
    pub repo: String,
    /// What it is encrypted with, under the provisioner's ring.
    pub pass: Sealed<ArchivePass>,
    /// How many days back it reaches.
    pub kept_days: i32,
}

const SELECT: &str =
    "select a.cluster_id, c.name, a.stanza, a.config, a.aside, a.repo, a.sealed_pass, a.kept_days, a.ended_at
     from archives a join clusters c on c.id = a.cluster_id";

fn from_row(row: &PgRow) -> Result<Archive, ControlError> {
    let ours = match row.try_get::<Option<String>, _>(5)? {
        None => None,
        Some(repo) => Some(Ours { repo, pass: Sealed::from_stored(row.try_get(6)?), kept_days: row.try_get(7)? }),
    };
    Ok(Archive {
        cluster: ClusterId(row.try_get(0)?),
        cluster_name: row.try_get(1)?,
        stanza: row.try_get(2)?,
        config: row.try_get(3)?,
        aside: row.try_get(4)?,
        ours,
        ended_at: row.try_get(8)?,
    })
}

/// All archives.
pub async fn list(control: &Control) -> Result<Vec<Archive>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} order by c.id"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// The archive of a cluster, if it has one.
pub async fn get(control: &Control, cluster: ClusterId) -> Result<Option<Archive>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where c.id = $1"));
    sqlx::query(sql).bind(cluster.0).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// Registers an archive, or says anew what is known of it. Whether it has ended stays.
pub async fn put(change: &mut Change, new: &Archive) -> Result<(), ControlError> {
    let sql = "insert into archives (cluster_id, stanza, config, aside, repo, sealed_pass, kept_days)
               values ($1, $2, $3, $4, $5, $6, $7)
               on conflict (cluster_id) do update
               set stanza = excluded.stanza, config = excluded.config, aside = excluded.aside, repo = excluded.repo,
                   sealed_pass = excluded.sealed_pass, kept_days = excluded.kept_days";
    let ours = new.ours.as_ref();
    sqlx::query(sql)
        .bind(new.cluster.0)
        .bind(&new.stanza)
        .bind(&new.config)
        .bind(&new.aside)
        .bind(ours.map(|ours| &ours.repo))
        .bind(ours.map(|ours| ours.pass.as_bytes()))
        .bind(ours.map(|ours| ours.kept_days))
        .execute(change.conn())
        .await?;
    let detail = serde_json::json!({
        "cluster": new.cluster_name, "stanza": new.stanza, "config": new.config, "repo": ours.map(|ours| &ours.repo),
        "kept_days": ours.map(|ours| ours.kept_days),
    });
    change.record("archive.put", None, detail).await
}

/// Notes that nothing is archived any more, from now on; or that it is again.
pub async fn end(change: &mut Change, archive: &Archive, ended: bool) -> Result<(), ControlError> {
    let sql = "update archives set ended_at = case when $2 then coalesce(ended_at, now()) end, failing_since = null
               where cluster_id = $1";
    sqlx::query(sql).bind(archive.cluster.0).bind(ended).execute(change.conn()).await?;
    let detail = serde_json::json!({ "cluster": archive.cluster_name, "ended": ended });
    change.record("archive.end", None, detail).await
}

/// Forgets an archive of which nothing is left, or that was never ours to keep.
pub async fn forget(change: &mut Change, archive: &Archive) -> Result<(), ControlError> {
    sqlx::query("delete from archives where cluster_id = $1").bind(archive.cluster.0).execute(change.conn()).await?;
    change.record("archive.forget", None, serde_json::json!({ "cluster": archive.cluster_name })).await
}

/// Notes what a cluster says of its archiving: since when it fails, if it does. For figures, which are read here and nowhere else.
pub async fn saw(
    control: &Control,
    cluster: ClusterId,
    failing_since: Option<OffsetDateTime>,
) -> Result<(), ControlError> {
    let sql = "update archives set looked_at = now(), failing_since = case when $2::timestamptz is not null
                   then least(failing_since, $2) end
               where cluster_id = $1 and ended_at is null";
    sqlx::query(sql).bind(cluster.0).bind(failing_since).execute(control.pool()).await?;
    Ok(())
}

/// The cluster that a tenant lived on at a moment, if it has moved since: the one that its first move after that left.
pub async fn lived_on(
    control: &Control,
    tenant: TenantId,
    at: OffsetDateTime,
) -> Result<Option<ClusterId>, ControlError> {
    let sql = "select (detail->>'from_cluster')::int from audit
               where tenant_id = $1 and action = 'placement.move' and at > $2 order by id limit 1";
    let found: Option<i32> = sqlx::query_scalar(sql).bind(tenant.get()).bind(at).fetch_optional(control.pool()).await?;
    Ok(found.map(ClusterId))
}

/// When a tenant was made.
pub async fn made_at(control: &Control, tenant: TenantId) -> Result<OffsetDateTime, ControlError> {
    let sql = "select created_at from tenants where id = $1";
    Ok(sqlx::query_scalar(sql).bind(tenant.get()).fetch_one(control.pool()).await?)
}
