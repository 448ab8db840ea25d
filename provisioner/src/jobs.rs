//! What an operator does about jobs: looks at them, retries, cancels and approves them.

use std::time::Duration;

use strowger::control::jobs::{self, Job, Kind, State, Wanted};

use crate::error::{Error, Result};
use crate::{Provisioner, operations, reconcile};

/// A job by id, or an error that says so.
pub async fn get(with: &Provisioner, id: i64) -> Result<Job> {
    jobs::get(&with.control, id)
        .await?
        .ok_or_else(|| Error::Conflict(format!("there is no job {id}: see `strowgerctl job list`")))
}

/// What the steps of a kind of job are called, in the order in which they are carried out.
pub fn steps(kind: Kind) -> Vec<&'static str> {
    operations::steps(kind).iter().map(|step| step.name()).collect()
}

/// Carries out once more a job that was given up.
pub async fn retry(with: &Provisioner, id: i64) -> Result<Job> {
    let job = get(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    jobs::retry(&mut change, &job).await?;
    change.commit().await?;
    carry_out(with, id).await
}

/// Takes a job back, as far as it has come.
pub async fn cancel(with: &Provisioner, id: i64) -> Result<Job> {
    let job = get(with, id).await?;
    if job.state == State::Cancelled {
        return Ok(job);
    }
    if let Some(why) = operations::undone_by(job.kind).filter(|_| job.state != State::Waiting) {
        return Err(Error::Conflict(format!("job {id} ({}) cannot be cancelled: {why}", job.kind.as_str())));
    }
    let mut change = with.control.change(&with.actor).await?;
    jobs::cancel(&mut change, &job).await?;
    change.commit().await?;
    let ended = carry_out(with, id).await?;
    // Whoever was at its last step did not ask again.
    if ended.state == State::Done {
        return Err(Error::Conflict(format!("job {id} was done before it could be taken back")));
    }
    Ok(ended)
}

/// Approves a job that destroys, for just what it says now, and carries it out.
pub async fn approve(with: &Provisioner, id: i64) -> Result<Job> {
    let job = get(with, id).await?;
    if !job.kind.destroys() || !job.state.is_open() {
        let text = format!("job {id} ({}) is {} and needs no approval", job.kind.as_str(), job.state.as_str());
        return Err(Error::Conflict(text));
    }
    let mut change = with.control.change(&with.actor).await?;
    operations::approve(with, &mut change, &job).await?;
    change.commit().await?;
    carry_out(with, id).await
}

/// Carries a queued job out here, or waits for whoever is at it; unless we are not to wait.
async fn carry_out(with: &Provisioner, id: i64) -> Result<Job> {
    if with.wait { wait(with, id).await } else { get(with, id).await }
}

/// Waits until a job has ended, carrying it out if nobody else does. One that was given up is an error.
pub async fn wait(with: &Provisioner, id: i64) -> Result<Job> {
    loop {
        let job = get(with, id).await?;
        with.report(&job);
        match job.state {
            State::Done | State::Cancelled => return Ok(job),
            State::Failed | State::RecoveryFailed => {
                return Err(Error::Unavailable(format!(
                    "job {id} ({} {}) is {}: {}; `strowgerctl job retry {id}` tries again",
                    job.kind.as_str(),
                    job.subject,
                    job.state.as_str(),
                    job.error().unwrap_or("no reason was noted")
                )));
            }
            State::Waiting => {
                return Err(Error::Conflict(format!("job {id} waits for `strowgerctl job approve {id}`")));
            }
            State::Queued | State::Running => {}
        }
        match reconcile::claim(with, Wanted::One(id)).await? {
            Some((_, done)) => done?,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
