//! Where tenants move to, and where they lived before: at most one other place for each.

use serde_json::json;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::clusters::{ClusterId, Isolation};
use super::jobs::State as JobState;
use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{LoginPassword, Sealed};

/// A place that a tenant does not live in now.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its cluster.
    pub cluster: ClusterId,
    /// That cluster's name.
    pub cluster_name: String,
    /// How the tenant is kept apart there.
    pub isolation: Isolation,
    /// Its database there.
    pub database: String,
    /// The login that it will have, or had, there.
    pub login: String,
}

/// What such a place is to the tenant.
pub enum Standing {
    /// It is on its way there; this logs in.
    Open(Sealed<LoginPassword>),
    /// It has left, and what it had is kept.
    Kept {
        /// Whether the time has passed.
        is_over: bool,
    },
}

/// A tenant's other place.
pub struct Move {
    /// Whose.
    pub tenant: TenantId,
    /// Where.
    pub place: Place,
    /// What for.
    pub standing: Standing,
    /// Whether anything that replicates the tenant to there may be on either cluster.
    pub replicates: bool,
    /// How long nothing was written when the tenant left there, in milliseconds; `None` while it is on its way, or if nobody knows.
    pub held_ms: Option<i64>,
    /// Where the tenant's newest move stands.
    pub job: Option<JobState>,
}

impl Move {
    /// Whether the place is as it must be: it is kept, or somebody will bring the move to its end without being told to.
    pub fn is_meant(&self) -> bool {
        matches!(self.standing, Standing::Kept { .. }) || self.job.is_some_and(JobState::is_open)
    }
}

const SELECT: &str = "select m.tenant_id, m.state, m.cluster_id, c.name, m.isolation, m.database, m.login, m.sealed_password, m.replicates, m.held_ms,
            m.kept_until <= now() as is_over,
            (select j.state from jobs j where j.tenant_id = m.tenant_id and j.kind = 'move' order by j.id desc limit 1) as job
     from moves m join clusters c on c.id = m.cluster_id";

fn from_row(row: &PgRow) -> Result<Move, ControlError> {
    let standing = match row.try_get::<Option<Vec<u8>>, _>("sealed_password")? {
        Some(sealed) => Standing::Open(Sealed::from_stored(sealed)),
        None => Standing::Kept { is_over: row.try_get("is_over")? },
    };
    let place = Place {
        cluster: ClusterId(row.try_get("cluster_id")?),
        cluster_name: row.try_get("name")?,
        isolation: row.try_get::<String, _>("isolation")?.parse()?,
        database: row.try_get("database")?,
        login: row.try_get::<Option<String>, _>("login")?.unwrap_or_default(),
    };
    let job = row.try_get::<Option<String>, _>("job")?.map(|state| state.parse()).transpose()?;
    Ok(Move {
        tenant: row.try_get::<i32, _>("tenant_id")?.try_into()?,
        place,
        standing,
        replicates: row.try_get("replicates")?,
        held_ms: row.try_get("held_ms")?,
        job,
    })
}

/// A tenant's other place, if it has one.
pub async fn get(control: &Control, tenant: TenantId) -> Result<Option<Move>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} where m.tenant_id = $1"));
    sqlx::query(sql).bind(tenant.get()).fetch_optional(control.pool()).await?.as_ref().map(from_row).transpose()
}

/// All of them.
pub async fn list(control: &Control) -> Result<Vec<Move>, ControlError> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} order by m.tenant_id"));
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(from_row).collect()
}

/// Notes where a tenant is to move, in the place of what was noted before.
pub async fn open(
    change: &mut Change,
    tenant: TenantId,
    to: &Place,
    password: &Sealed<LoginPassword>,
) -> Result<(), ControlError> {
    let sql = "insert into moves (tenant_id, state, cluster_id, isolation, database, login, sealed_password)
               values ($1, 'open', $2, $3, $4, $5, $6)
               on conflict (tenant_id) do update
               set state = excluded.state, cluster_id = excluded.cluster_id, isolation = excluded.isolation, database = excluded.database,
                   login = excluded.login, sealed_password = excluded.sealed_password, kept_until = null, held_ms = null";
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(to.cluster.0)
        .bind(to.isolation.as_str())
        .bind(&to.database)
        .bind(&to.login)
        .bind(password.as_bytes())
        .execute(change.conn())
        .await?;
    change.record("move.open", Some(tenant), json!({ "cluster": to.cluster_name, "isolation": to.isolation })).await
}

/// How long nothing is written to a tenant that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// While all of it is carried over: servers refuse writes by name.
    Long,
    /// For a moment: servers let writes wait for its end.
    Brief,
}

/// Says that nothing is written to a tenant's data, or with `None` that it is again. Said twice it counts once.
pub async fn hold(change: &mut Change, tenant: TenantId, hold: Option<Hold>) -> Result<(), ControlError> {
    let sql = "update placements set held = $2, turns_soon = $3, generation = generation + 1
               where tenant_id = $1 and (held, turns_soon) <> ($2, $3)";
    let (held, soon) = (hold.is_some(), hold == Some(Hold::Brief));
    sqlx::query(sql).bind(tenant.get()).bind(held).bind(soon).execute(change.conn()).await?;
    change.record("placement.hold", Some(tenant), json!({ "held": held, "briefly": soon })).await
}

/// Notes that something that replicates a tenant to where it moves may be on its clusters, or that nothing is.
pub async fn replicate(change: &mut Change, tenant: TenantId, replicates: bool) -> Result<(), ControlError> {
    let sql = "update moves set replicates = $2 where tenant_id = $1 and replicates <> $2";
    sqlx::query(sql).bind(tenant.get()).bind(replicates).execute(change.conn()).await?;
    change.record("move.replicate", Some(tenant), json!({ "replicates": replicates })).await
}

/// The tenant lives where it was on its way to, with data of that epoch, and is written to again; where it lived is kept.
///
/// All of it is this one change, and `held_ms`, how long nothing was written, is noted with it. What a restore had replaced stays behind, and with it the way back to that.
pub async fn turn(
    change: &mut Change,
    tenant: TenantId,
    epoch: i32,
    keep_s: i64,
    held_ms: u64,
) -> Result<(), ControlError> {
    let sql = "with former as (select cluster_id, isolation, database from placements where tenant_id = $1),
                    turned as (
                        update placements p
                        set cluster_id = m.cluster_id, isolation = m.isolation, database = m.database, login = m.login,
                            sealed_password = m.sealed_password, next_login = null, next_sealed_password = null, retiring_login = null,
                            epoch = $2, generation = p.generation + 1, held = false, turns_soon = false
                        from moves m where p.tenant_id = $1 and m.tenant_id = $1 and m.state = 'open'
                        returning p.cluster_id as now)
               update moves m
               set state = 'kept', cluster_id = f.cluster_id, isolation = f.isolation, database = f.database, login = null,
                   sealed_password = null, kept_until = now() + $3 * interval '1 second', held_ms = $4
               from former f, turned where m.tenant_id = $1
               returning f.cluster_id, turned.now";
    let row =
        sqlx::query(sql).bind(tenant.get()).bind(epoch).bind(keep_s).bind(i64::try_from(held_ms).unwrap_or(i64::MAX));
    let row = row.fetch_optional(change.conn()).await?;
    let row = row.ok_or_else(|| ControlError::Conflict(format!("tenant {tenant} is on its way to nowhere")))?;
    sqlx::query("delete from replaced_schemas where tenant_id = $1").bind(tenant.get()).execute(change.conn()).await?;
    let (from, to): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
    let detail =
        json!({ "from_cluster": from, "to_cluster": to, "epoch": epoch, "kept_s": keep_s, "held_ms": held_ms });
    change.record("placement.move", Some(tenant), detail).await
}

/// Notes where a tenant lived before, as that cluster tells it; kept for so many seconds.
pub async fn keep(
    change: &mut Change,
    tenant: TenantId,
    cluster: ClusterId,
    isolation: Isolation,
    database: &str,
    keep_s: i64,
) -> Result<(), ControlError> {
    let sql = "insert into moves (tenant_id, state, cluster_id, isolation, database, kept_until)
               values ($1, 'kept', $2, $3, $4, now() + $5 * interval '1 second') on conflict (tenant_id) do nothing";
    sqlx::query(sql)
        .bind(tenant.get())
        .bind(cluster.0)
        .bind(isolation.as_str())
        .bind(database)
        .bind(keep_s)
        .execute(change.conn())
        .await?;
    change.record("move.keep", Some(tenant), json!({ "cluster": cluster.0, "kept_s": keep_s })).await
}

/// Forgets a tenant's other place, where nothing is left.
pub async fn forget(change: &mut Change, tenant: TenantId) -> Result<(), ControlError> {
    sqlx::query("delete from moves where tenant_id = $1").bind(tenant.get()).execute(change.conn()).await?;
    change.record("move.forget", Some(tenant), json!({})).await
}
