//! Data keys change their master key. What they have sealed stays as it is, and so does whoever has one open.

use strowger::control::changes;
use strowger::control::jobs::{Job, Subject};
use strowger::control::keys::{self, Ring};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::{PATIENCE, Provisioner};

/// So many data keys are wrapped anew in one transaction.
const BATCH: i64 = 200;

/// What a rewrapping's job says.
#[derive(serde::Deserialize)]
struct Asked {
    to: String,
}

fn asked(job: &Job) -> Result<(Ring, String)> {
    let asked = serde_json::from_value(job.params.clone());
    match (&job.subject, asked) {
        (Subject::Ring(ring), Ok(Asked { to })) => Ok((*ring, to)),
        _ => Err(Error::Conflict(format!("job {} does not say which master key is to wrap", job.id))),
    }
}

/// Whether whoever has to open what a master key wraps has it: we, and every running server. Those that have not are named.
pub(crate) async fn master_known(with: &Provisioner, ring: Ring, key: &str) -> Result<()> {
    let nonce = Uuid::new_v4();
    let challenge = with.ring(ring).challenge(key, nonce.as_bytes()).ok_or_else(|| {
        let name = ring.as_str();
        Error::Conflict(format!("there is no key {key} on the {name} ring here: `strowgerctl ring list --ring {name}`"))
    })?;
    if ring == Ring::Admin {
        return Ok(());
    }
    let without = changes::without_master_key(&with.control, nonce, &challenge, PATIENCE).await?;
    if without.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "these running servers have not shown that they have key {key} of the server ring, and could not open what it wraps: {}; give \
         them a copy of the ring file (they need no restart) and run this again",
        without.join(", ")
    )))
}

/// The same for a job.
pub(crate) async fn master_known_of(with: &Provisioner, job: &Job) -> Result<()> {
    let (ring, to) = asked(job)?;
    master_known(with, ring, &to).await
}

/// Wraps what is not wrapped with the job's master key yet, a batch a transaction; killed anywhere, what is left is what is left.
pub(crate) async fn rewrap(with: &Provisioner, job: &Job) -> Result<()> {
    let (ring, to) = asked(job)?;
    loop {
        let mut change = with.control.change(&with.actor).await?;
        let done = keys::rewrap(&mut change, ring, &to, BATCH, |scope, old| {
            let refused = Error::vault(format!("the data key of {scope:?}"));
            with.ring(ring).rewrap_data_key(scope, old, &to).map_err(refused)
        })
        .await?;
        if done == 0 {
            return Ok(());
        }
        change.commit().await?;
    }
}
