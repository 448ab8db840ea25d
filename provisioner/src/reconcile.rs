//! Makes what was asked for so: one job at a time for one subject, by whichever process holds it.
//!
//! A command writes its job down and carries it out itself; if it is killed, the same command run again, or a worker, goes on.
//! A holder asks at every step whether the job is still its own, and stops when it is not. Cancelled, it stops where it is, and takes back.

use std::time::Duration;

use serde_json::Value;
use strowger::control::jobs::{self, Begin, Job, Kind, State, Subject, Wanted};
use strowger::control::keys::Ring;
use strowger::control::{Change, locks};
use strowger::vault::{JobApproval, Sealed};
use tokio::time::MissedTickBehavior;

use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::operations::{self, Context, approve};
use crate::{Provisioner, backup};

/// What takes no longer says nothing of itself: its steps do. A third of a lease.
const FIRST_BEAT: Duration = Duration::from_secs(10);
/// How often a holder says from then on that it is alive, and hears whether its job was cancelled.
const BEAT: Duration = Duration::from_secs(1);
/// After so many failures a job is given up until an operator says otherwise: about a quarter of an hour.
const ATTEMPTS: i32 = 10;

/// The right to change one subject: its lock, and thereby every job about it.
pub(crate) struct Held<'p> {
    with: &'p Provisioner,
    subject: Subject,
    lock: locks::Lock,
}

/// Waits until nobody else changes the subject.
pub(crate) async fn hold(with: &Provisioner, subject: Subject) -> Result<Held<'_>> {
    let lock = locks::hold(&with.control, &subject.to_string()).await?;
    Ok(Held { with, subject, lock })
}

impl Held<'_> {
    /// Writes a job down and carries it out; or leaves it to a worker, if we are not to wait.
    pub(crate) async fn run(&self, kind: Kind, params: &Value) -> Result<()> {
        let mut change = self.with.control.change(&self.with.actor).await?;
        let job = begin(self.with, &mut change, kind, &self.subject, params).await?;
        change.commit().await?;
        self.finish(job).await
    }

    /// Gives the right back. Dropping does too, but then the next lock needs a session of its own.
    pub(crate) async fn give_back(self) {
        self.lock.give_back(&self.with.control).await;
    }

    /// Carries out a job that this process has begun. One that somebody cancels meanwhile is taken back, and nothing was done.
    pub(crate) async fn finish(&self, job: Job) -> Result<()> {
        self.with.report(&job);
        let (id, undo) = (job.id, job.undo);
        if job.state != State::Running || carry_out(self.with, job).await? != State::Cancelled || undo {
            return Ok(());
        }
        Err(Error::Conflict(format!("job {id} was cancelled, and what it had done was taken back")))
    }
}

/// Writes a job down within a change, with our approval if its kind needs one, and ends those that it contradicts.
pub(crate) async fn begin(
    with: &Provisioner,
    change: &mut Change,
    kind: Kind,
    subject: &Subject,
    params: &Value,
) -> Result<Job> {
    let begin = if with.wait { Begin::Here(&with.run) } else { Begin::Later(0) };
    let mut job = jobs::begin(change, kind, subject, params, begin).await?;
    jobs::supersede(change, &job, operations::supersedes(kind)).await?;
    if kind.destroys() {
        job.approval = Some(approve(with, change, &job).await?);
    }
    Ok(job)
}

async fn check_approval(with: &Provisioner, job: &Job) -> Result<()> {
    let refused = || {
        Error::Conflict(format!(
            "job {} is not approved: `strowgerctl job approve {0}` if it is to be carried out",
            job.id
        ))
    };
    let approval = Sealed::<JobApproval>::from_stored(job.approval.clone().ok_or_else(refused)?);
    let key = with.platform_key(Ring::Admin).await?;
    key.open(&job.approved_as(), &approval).map(drop).map_err(|_| refused())
}

/// Claims a job that is due (or the one that is wanted) and carries it out; `None` if there is none.
pub(crate) async fn claim(with: &Provisioner, wanted: Wanted) -> Result<Option<(Job, Result<()>)>> {
    let Some(job) = jobs::claim(&with.control, &with.run, wanted).await? else { return Ok(None) };
    // Its former holder may still be waiting for an answer somewhere; whoever has the lock is alone.
    let held = hold(with, job.subject.clone()).await?;
    with.report(&job);
    let done = carry_out(with, job.clone()).await.map(drop);
    held.give_back().await;
    Ok(Some((job, done)))
}

/// Brings a job to its end, one or the other.
async fn carry_out(with: &Provisioner, mut job: Job) -> Result<State> {
    let mut ended = attempt(with, &job).await;
    if ended.is_err()
        && let Ok(Some(cancelled)) = jobs::cancelled(&with.control, &job, &with.run).await
    {
        job = cancelled;
        ended = match operations::break_off(with, &job).await {
            Ok(()) => attempt(with, &job).await,
            Err(error) => Err(error),
        };
    }
    match ended {
        Ok(state) => {
            jobs::end(&with.control, &job, &with.run, state).await?;
            Ok(state)
        }
        Err(error) => {
            // A schedule asks again by itself, and its job takes nobody's place until then.
            let give_up = (job.attempts >= ATTEMPTS || error.is_final() || backup::is_scheduled(&job))
                && !keeps_tenant_out(with, &job, &error).await;
            jobs::fail(&with.control, &job, &with.run, &error.to_string(), give_up).await?;
            Err(error)
        }
    }
}

/// All of it, unless the job is no longer ours to go on with: then it stops in the middle.
async fn attempt(with: &Provisioner, job: &Job) -> Result<State> {
    let meter = Meter::default();
    tokio::select! {
        ended = walk(with, job, &meter) => ended,
        told = beat(with, job, &meter) => Err(told),
    }
}

/// Whether what it was at when it failed keeps its tenant from being served in full: only going on with it changes that.
async fn keeps_tenant_out(with: &Provisioner, job: &Job, error: &Error) -> bool {
    // A restore that cannot succeed is taken up by an operator.
    if job.kind == Kind::Restore && error.is_final() {
        return false;
    }
    jobs::keeps_tenant_out(&with.control, job.id).await.unwrap_or(false)
}

/// All steps forward; or, of a job that somebody has cancelled, all of them back.
async fn walk(with: &Provisioner, job: &Job, meter: &Meter) -> Result<State> {
    let steps = operations::steps(job.kind);
    let mut context = Context::of(with, job, meter).await?;
    if context.is_moot() {
        return Ok(if job.undo { State::Cancelled } else { State::Done });
    }
    if job.kind.destroys() {
        check_approval(with, job).await?;
    }
    if job.undo {
        // Every step is taken back, begun or not: taking back finds what there is.
        for (left, step) in steps.iter().enumerate().rev() {
            checkpoint(with, job, step.name(), steps.len() - 1 - left, steps.len()).await?;
            context.take_back(*step).await?;
        }
        return Ok(State::Cancelled);
    }
    let first = operations::first(job.kind, job.step.as_deref());
    for (done, step) in steps.iter().enumerate().skip(first) {
        checkpoint(with, job, step.name(), done, steps.len()).await?;
        context.carry_out(*step).await?;
    }
    context.close().await;
    Ok(State::Done)
}

async fn checkpoint(with: &Provisioner, job: &Job, step: &str, done: usize, total: usize) -> Result<()> {
    let fresh = jobs::checkpoint(&with.control, job, &with.run, step, done, total).await?;
    let fresh = fresh.ok_or_else(|| lost(job))?;
    with.report(&fresh);
    if fresh.undo == job.undo { Ok(()) } else { Err(cancelled(job)) }
}

/// Says that we are alive, and how far, until the job is no longer ours, or no longer to be carried out.
async fn beat(with: &Provisioner, job: &Job, meter: &Meter) -> Error {
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_BEAT, BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // A control database that is away for a moment says nothing about whose job it is; the next checkpoint asks.
        match jobs::beat(&with.control, job, &with.run, meter.read().as_deref()).await {
            Ok(None) => return lost(job),
            Ok(Some(now)) if now.state == State::Running && now.undo != job.undo => return cancelled(job),
            Ok(Some(now)) if now.detail.is_some() => with.report(&now),
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

fn cancelled(job: &Job) -> Error {
    Error::Unavailable(format!("job {} was cancelled: it is taken back", job.id))
}

fn lost(job: &Job) -> Error {
    Error::Unavailable(format!("job {} was taken over by another process: `strowgerctl job show {0}`", job.id))
}
