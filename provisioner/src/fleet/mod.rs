//! Brings a whole fleet to a newer schema version, one tenant at a time and many at once.
//!
//! One query to control finds who is behind; whoever is not costs nothing. Canaries go first, then waves. A tenant is
//! migrated in one transaction under its own lock, and one that fails stays as it was and is served on. What a run does is
//! written down tenant by tenant, so that it can be stopped, killed and taken up again.
//!
//! The history in a tenant's own schema is the truth: it is read under a lock before anything is applied, and
//! [`reconcile`] corrects control's copy by it.

mod apply;
mod reconcile;
mod room;
mod runner;
mod sequence;
mod statements;
mod waves;

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use strowger::control::clusters;
use strowger::control::locks::{self, Locks};
use strowger::control::migrations::{self, Migration, Planned, RunState};
use strowger::control::tenants::{self, Tenant};
use strowger::id::TenantId;
use time::OffsetDateTime;

pub use reconcile::{Finding, reconcile};
pub use runner::{Step, Watch};
pub use waves::{Options, Wave, Waves};

use crate::Provisioner;
use crate::error::{Error, Result};
use runner::Run;
use sequence::Sequence;

/// What a run would do.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The version that everybody is to have.
    pub target: i32,
    /// Who, in which order.
    pub waves: Vec<Wave>,
    /// What somebody of these waves lacks.
    pub migrations: Vec<String>,
    #[serde(skip)]
    planned: Vec<Planned>,
}

/// How a run went or goes.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its number.
    pub run: i64,
    /// Where it stands; `interrupted` if its runner died.
    pub state: &'static str,
    /// The version it brings tenants to.
    pub target: i32,
    /// Tenants at the target.
    pub done: i64,
    /// Tenants to be tried yet.
    pub waiting: i64,
    /// Tenants tried in vain; they are served at the version they had.
    pub failed: i64,
    /// Who ordered it.
    pub actor: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When its runner came to an end.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// What an operator may want to do next.
    pub next: &'static str,
}

/// Says what a run would do, and changes nothing.
pub async fn plan(with: &Provisioner, options: &Options) -> Result<Plan> {
    waves::check(options)?;
    let sequence = Sequence::load(options.migrations.as_deref())?;
    planned(with, options, &sequence).await
}

async fn planned(with: &Provisioner, options: &Options, sequence: &Sequence) -> Result<Plan> {
    let target = sequence.target();
    let behind = tenants::below(&with.control, target).await?;
    for id in options.canaries.iter().filter(|id| !behind.iter().any(|tenant| tenant.id == **id)) {
        let known = tenants::get(&with.control, *id).await?;
        if known.is_none_or(|tenant| !tenant.state.is_kept()) {
            return Err(Error::Conflict(format!("canary {id} is not a tenant that is served")));
        }
    }
    let mut waves = Vec::new();
    if !behind.is_empty() {
        let all = clusters::list(&with.control).await?;
        let regions: HashMap<_, _> = all.into_iter().map(|cluster| (cluster.id, cluster.region)).collect();
        let region_of = |tenant: &Tenant| regions.get(&tenant.cluster_id()).cloned().unwrap_or_default();
        waves = waves::plan(options, &behind, region_of);
    }
    let oldest = behind.iter().map(|tenant| tenant.schema_version).min().unwrap_or(target);
    let planned = waves::planned(&waves, &behind);
    Ok(Plan { target, waves, migrations: sequence.names_after(oldest), planned })
}

/// Brings everybody who is behind to the newest version; `None`: nobody was.
pub async fn run(with: &Arc<Provisioner>, options: Options, watch: Watch) -> Result<Option<Status>> {
    waves::check(&options)?;
    let sequence = Sequence::load(options.migrations.as_deref())?;
    let plan = planned(with, &options, &sequence).await?;
    if plan.planned.is_empty() {
        return Ok(None);
    }
    let mut change = with.control.change(&with.actor).await?;
    let id = migrations::start(&mut change, plan.target, &json!(options), &plan.planned).await?;
    change.commit().await?;
    let _lock = hold(with, id).await?;
    runner::carry_out(Run { with: Arc::clone(with), id, sequence, options, watch }, &plan.planned).await?;
    status(with, Some(id)).await.map(Some)
}

/// Goes on with a run that was stopped, killed or not entirely well: with what is left, in the waves it had.
pub async fn resume(with: &Arc<Provisioner>, id: Option<i64>, watch: Watch) -> Result<Status> {
    let run = find(with, id).await?;
    if run.state == RunState::Done {
        return Err(Error::Conflict(format!("run {} is done: `strowgerctl migrate run` begins another", run.id)));
    }
    let _lock = hold(with, run.id).await?;
    let what = |error| Error::Conflict(format!("run {} was written down by another build: {error}", run.id));
    let options: Options = serde_json::from_value(run.options.clone()).map_err(what)?;
    let sequence = Sequence::load(options.migrations.as_deref())?;
    if sequence.target() != run.target {
        return Err(Error::Conflict(format!(
            "run {} was to bring tenants to version {}, and the newest is {} now: `strowgerctl migrate run` begins another",
            run.id,
            run.target,
            sequence.target()
        )));
    }
    let planned = left(with, run.id, run.target).await?;
    let mut change = with.control.change(&with.actor).await?;
    migrations::take_up(&mut change, run.id, &planned).await?;
    change.commit().await?;
    runner::carry_out(Run { with: Arc::clone(with), id: run.id, sequence, options, watch }, &planned).await?;
    status(with, Some(run.id)).await
}

/// Who is still behind, in the wave that they had. Whoever came later is in the last.
async fn left(with: &Provisioner, run: i64, target: i32) -> Result<Vec<Planned>> {
    let known = migrations::tenants(&with.control, run, None).await?;
    let last = known.iter().map(|row| row.wave).max().unwrap_or(1);
    let wave_of: HashMap<TenantId, i32> = known.iter().map(|row| (row.tenant, row.wave)).collect();
    let planned = |tenant: &Tenant| Planned {
        tenant: tenant.id,
        wave: wave_of.get(&tenant.id).copied().unwrap_or(last),
        from: tenant.schema_version,
    };
    Ok(tenants::below(&with.control, target).await?.iter().map(planned).collect())
}

/// Asks a run to begin no other tenant. What is under way ends well.
pub async fn stop(with: &Provisioner, id: Option<i64>) -> Result<Status> {
    let run = find(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    if !migrations::ask_to_stop(&mut change, run.id).await? {
        return Err(Error::Conflict(format!("run {} is not at work", run.id)));
    }
    change.commit().await?;
    status(with, Some(run.id)).await
}

/// How a run stands; without a number the newest.
pub async fn status(with: &Provisioner, id: Option<i64>) -> Result<Status> {
    let run = find(with, id).await?;
    let counts = migrations::counts(&with.control, run.id).await?;
    let at_work = matches!(run.state, RunState::Running | RunState::Stopping)
        && locks::is_held(&with.control, &runner::lock_name(run.id)).await?;
    let (state, next) = match (run.state, at_work) {
        (RunState::Running, true) => ("running", "strowgerctl migrate stop"),
        (RunState::Stopping, true) => ("stopping", "wait: what is under way ends"),
        (RunState::Running | RunState::Stopping, false) => ("interrupted", "strowgerctl migrate resume"),
        (RunState::Stopped, _) => ("stopped", "strowgerctl migrate resume"),
        (RunState::Failed, _) => ("failed", "mend what the errors say, then strowgerctl migrate resume"),
        (RunState::Done, _) => ("done", "nothing"),
    };
    Ok(Status {
        run: run.id,
        state,
        target: run.target,
        done: counts.done,
        waiting: counts.waiting,
        failed: counts.failed,
        actor: run.actor,
        started_at: run.started_at,
        ended_at: run.ended_at,
        next,
    })
}

/// The tenants of a run: those that failed, or all.
pub async fn tenants_of(with: &Provisioner, run: i64, all: bool) -> Result<Vec<Migration>> {
    Ok(migrations::tenants(&with.control, run, (!all).then_some("failed")).await?)
}

async fn find(with: &Provisioner, id: Option<i64>) -> Result<migrations::Run> {
    migrations::run(&with.control, id).await?.ok_or_else(|| {
        Error::Conflict(match id {
            Some(id) => format!("there is no migration run {id}"),
            None => "no fleet migration has been run: `strowgerctl migrate plan` says what one would do".to_owned(),
        })
    })
}

/// The run's lock: whoever holds it carries it out.
async fn hold(with: &Provisioner, run: i64) -> Result<Locks> {
    let mut locks = Locks::open(&with.control).await?;
    match locks.try_take(&[runner::lock_name(run)]).await?.as_slice() {
        [true] => Ok(locks),
        _ => Err(Error::Conflict(format!("run {run} is under way: `strowgerctl migrate status`"))),
    }
}
