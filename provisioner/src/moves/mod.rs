//! A tenant moved to another cluster, and back: what an operator can ask for.
//!
//! Going back is a move too: it carries along what was written since, so nothing that was acknowledged is lost.

mod extensions;
mod plan;
mod way;

use std::time::Duration;

use serde_json::json;
use strowger::control::clusters::{self, Isolation};
use strowger::control::jobs::{self, Job, Kind, State as JobState, Subject};
use strowger::control::locks;
use strowger::control::moves::{self as rows, Standing};
use strowger::control::tenants::{self, Tenant};
use strowger::id::TenantId;

pub use extensions::Extension;
pub use plan::{Plan, Room, Side, Size, plan};
pub use way::{How, Way};

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::placement::{self, Candidate, Wanted};
use crate::reconcile::{Held, hold};
use crate::{moving, steps};

/// How long another command at the tenant may take to end: what a killed one held is given back at once, but not at the same moment.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// Moves a tenant to a cluster. Run again, it goes on as it was begun, but for the patience, or finds it done.
pub async fn to(with: &Provisioner, id: TenantId, cluster: &str, how: How) -> Result<Tenant> {
    let held = hold_soon(with, id).await?;
    if let Some(mut job) = begun(with, id).await? {
        if job.params["to"] != cluster {
            return Err(Error::Conflict(format!(
                "tenant {id} is on its way to cluster {}: `strowgerctl job wait {1}` ends that, `job cancel {1}` takes it back",
                job.params["to"].as_str().unwrap_or_default(),
                job.id
            )));
        }
        job.params["patience_s"] = json!(how.patience_s);
        return run(with, held, id, &job.params).await;
    }
    let tenant = steps::tenant(with, id).await?;
    if tenant.cluster == cluster
        && let Some(former) = rows::get(&with.control, id).await?
    {
        // It came here by a move. One that was given up after its turn is brought to its end.
        return match former.job {
            Some(JobState::Done) | None => Ok(tenant),
            Some(_) => run(with, held, id, &json!({ "to": cluster, "keep_s": how.keep_s })).await,
        };
    }
    let planned = plan(with, id, cluster).await?;
    if !planned.refused.is_empty() {
        return Err(Error::Conflict(format!("tenant {id} does not move: {}", planned.refused.join("; "))));
    }
    let online = way::chosen(&planned, how.way)?;
    let params = json!({ "to": cluster, "keep_s": how.keep_s, "online": online, "patience_s": how.patience_s });
    run(with, held, id, &params).await
}

async fn run(with: &Provisioner, held: Held<'_>, id: TenantId, params: &serde_json::Value) -> Result<Tenant> {
    held.run(Kind::Move, params).await?;
    steps::tenant(with, id).await
}

/// How long nothing was written to a tenant when it last moved, in milliseconds; `None` if nobody knows.
pub async fn pause_ms(with: &Provisioner, id: TenantId) -> Result<Option<i64>> {
    Ok(rows::get(&with.control, id).await?.and_then(|row| row.held_ms))
}

/// How a cluster keeps tenants apart.
pub async fn isolation_on(with: &Provisioner, cluster: &str) -> Result<Isolation> {
    Ok(moving::cluster(with, cluster).await?.isolation())
}

/// Moves a tenant back to where it lived, with what was written since. A move that was killed is finished first, and that is all.
///
/// It goes online where both servers can, unless another way is asked for.
pub async fn undo(with: &Provisioner, id: TenantId, how: How) -> Result<Tenant> {
    if let Some(job) = begun(with, id).await? {
        return to(with, id, job.params["to"].as_str().unwrap_or_default(), how).await;
    }
    match rows::get(&with.control, id).await? {
        Some(former) if matches!(former.standing, Standing::Kept { .. }) => {
            to(with, id, &former.place.cluster_name, how).await
        }
        _ => {
            let text = format!(
                "nothing is kept of where tenant {id} lived before: `strowgerctl tenant move {id} --to` moves it anywhere"
            );
            Err(Error::Conflict(text))
        }
    }
}

/// The tenant's move that somebody is at, or that waits for somebody.
async fn begun(with: &Provisioner, id: TenantId) -> Result<Option<Job>> {
    let all = jobs::list(&with.control, Some(id), None, i64::MAX).await?;
    Ok(all.into_iter().find(|job| job.kind == Kind::Move && job.state.is_open()))
}

/// Holds the tenant, unless another command has it for long: that one is named.
async fn hold_soon(with: &Provisioner, id: TenantId) -> Result<Held<'_>> {
    let mut left = PATIENCE;
    while locks::is_held(&with.control, &locks::of_tenant(id)).await? {
        if left.is_zero() {
            return Err(Error::Unavailable(format!("tenant {id} does not move: {}", at_work(with, id).await?)));
        }
        tokio::time::sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
    hold(with, Subject::Tenant(id)).await
}

/// Who is at the tenant, in words.
async fn at_work(with: &Provisioner, id: TenantId) -> Result<String> {
    let running = jobs::list(&with.control, Some(id), Some(JobState::Running), 1).await?;
    Ok(running.first().map_or_else(
        || "another command is at it; try again later".to_owned(),
        |job| format!("job {} ({}) is at it: `strowgerctl job wait {0}`, then try again", job.id, job.kind.as_str()),
    ))
}

/// Drops what was kept where tenants lived before and whose time has passed; how many.
pub async fn end_kept(with: &Provisioner) -> Result<usize> {
    let is_over = |row: &rows::Move| matches!(row.standing, Standing::Kept { is_over: true });
    let over: Vec<TenantId> =
        rows::list(&with.control).await?.iter().filter(|row| is_over(row)).map(|row| row.tenant).collect();
    for id in &over {
        let _held = hold(with, Subject::Tenant(*id)).await?;
        // It may be on its way back by now, and a move that has turned and not ended has yet to shut the place.
        if begun(with, *id).await?.is_none()
            && let Some(row) = rows::get(&with.control, *id).await?
            && is_over(&row)
        {
            moving::drop_other(with, &steps::tenant(with, *id).await?).await?;
        }
    }
    Ok(over.len())
}

/// A move that would even clusters out.
#[derive(Debug, serde::Serialize)]
pub struct Proposed {
    /// Whose.
    pub customer_id: TenantId,
    /// Where it lives.
    pub from: String,
    /// Where it would have more connections.
    pub to: String,
}

/// Moves that would give tenants more connections each, the newest tenants of a cluster first. Nothing is moved.
pub async fn proposed(with: &Provisioner) -> Result<Vec<Proposed>> {
    let all: Vec<Candidate> = clusters::occupancy(&with.control).await?.into_iter().map(Candidate::of).collect();
    let mut left: Vec<Tenant> =
        tenants::list(&with.control).await?.into_iter().filter(|tenant| tenant.state.is_kept()).collect();
    let mut proposed = Vec::new();
    for (from, to) in placement::even_out(&all) {
        let (Some(from), Some(to)) = (all.get(from), all.get(to)) else { continue };
        let Some(at) = left.iter().rposition(|tenant| tenant.cluster_id() == from.id) else { continue };
        let customer_id = left.remove(at).id;
        proposed.push(Proposed { customer_id, from: from.name.clone(), to: to.name.clone() });
    }
    Ok(proposed)
}

/// A tenant that was moved off a cluster, or why not.
#[derive(Debug, serde::Serialize)]
pub struct Moved {
    /// Whose.
    pub customer_id: TenantId,
    /// Where it lives now.
    pub cluster: Option<String>,
    /// Why it lives where it did.
    pub error: Option<String>,
}

/// Moves every tenant off a cluster, one after the other, each to where a new one would be placed. One that fails keeps none from moving.
pub async fn empty(with: &Provisioner, name: &str, how: How) -> Result<Vec<Moved>> {
    moving::cluster(with, name).await?;
    let mut all = Vec::new();
    for tenant in tenants::list(&with.control).await?.iter().filter(|tenant| tenant.cluster == name) {
        let moved = move_off(with, tenant, how).await;
        let (cluster, error) = match moved {
            Ok(moved) => (Some(moved.cluster), None),
            Err(error) => (None, Some(error.to_string())),
        };
        all.push(Moved { customer_id: tenant.id, cluster, error });
    }
    Ok(all)
}

async fn move_off(with: &Provisioner, tenant: &Tenant, how: How) -> Result<Tenant> {
    let to_name = match begun(with, tenant.id).await? {
        Some(job) => job.params["to"].as_str().unwrap_or_default().to_owned(),
        None => {
            let all = clusters::occupancy(&with.control).await?;
            let all: Vec<Candidate> =
                all.into_iter().map(Candidate::of).filter(|other| other.id != tenant.cluster_id()).collect();
            let wanted = Wanted { isolation: tenant.isolation, cluster: None, region: None };
            placement::choose(&all, &wanted).map_err(Error::Conflict)?.name.clone()
        }
    };
    to(with, tenant.id, &to_name, how).await
}
