//! The privileged half of Strowger: what creates roles, schemas and databases, and what holds the admin credentials.
//!
//! It depends on the `strowger` library and never the reverse; nothing that faces the internet links it. The binary,
//! `strowgerctl`, is a thin command line over the operations here: [`tenants`], [`erase`], [`numbers`], [`credentials`], [`bootstrap`].
//! Long work stands in the control database as a job, so that a [`worker`] can finish what a killed command began.
//!
//! A Rust program can do what the command line does, and route to what it made (`tests/it/library.rs` runs this example):
//!
//! ```no_run
#![doc = include_str!("../examples/library.rs")]
//! ```

pub mod error;
mod files;
mod postgres;
mod scram;
pub mod rhythm;
mod shipped;
mod admin_db;
mod signing;
mod meter;
mod steps;
mod archive;
pub mod backup;
mod replication;
mod moving;
mod operations;
mod reconcile;
pub mod bootstrap;
pub mod placement;
pub mod clusters;
pub mod tenants;
pub mod erase;
pub mod backups;
pub mod restore;
pub mod archives;
pub mod moves;
pub mod numbers;
pub mod credentials;
pub mod twilio;
mod as_tenant;
pub mod profiles;
pub mod playbooks;
pub mod configuration;
pub mod models;
pub mod audit;
pub mod rotation;
pub mod jobs;
pub mod fleet;
pub mod declared;
pub mod doctor;
pub mod control_copy;
pub mod metrics;
pub mod worker;
pub mod settings;
pub mod rings;
pub mod embedded;
pub mod import;
pub mod demo;
pub mod cli;

use std::time::Duration;

use strowger::control::changes::{self, Heard};
use strowger::control::installation::{self, Installation};
use strowger::control::jobs::{self as job_rows, HOLDER_PREFIX, Job};
use strowger::control::keys::{self, Ring};
use strowger::control::{Actor, Change, Control};
use strowger::vault::{DataKey, MasterRing, Scope};
use uuid::Uuid;

use admin_db::KeptSessions;
use error::{Error, Result};

/// How long a command waits for running servers to have acted on its change.
const PATIENCE: Duration = Duration::from_secs(3);

/// The control database, both rings, and who acts: what every operation needs.
pub struct Provisioner {
    control: Control,
    server_ring: MasterRing,
    admin_ring: MasterRing,
    installation: Installation,
    actor: Actor,
    /// Tells this process's sessions from those that a killed one left behind, and names it as the holder of jobs.
    run: String,
    /// Whether an operation carries its job out itself, or leaves it to a worker.
    wait: bool,
    reporter: Option<Reporter>,
    kept_sessions: KeptSessions,
}

/// Hears how far jobs are.
type Reporter = Box<dyn Fn(&Job) + Send + Sync>;

impl Provisioner {
    /// Connects to an initialised control database.
    pub async fn open(
        control_url: &str,
        server_ring: MasterRing,
        admin_ring: MasterRing,
        actor: Actor,
    ) -> Result<Self> {
        let run = Uuid::new_v4().simple().to_string();
        let control = Control::patient(control_url, &format!("{HOLDER_PREFIX}{run}"), 8)?;
        let installation = installation::get(&control).await?;
        let installation = installation.ok_or_else(|| {
            Error::Conflict("this control database is not initialised: run `strowgerctl init`".into())
        })?;
        Ok(Self {
            control,
            server_ring,
            admin_ring,
            installation,
            actor,
            run,
            wait: true,
            reporter: None,
            kept_sessions: KeptSessions::default(),
        })
    }

    /// Operations only write their jobs down, for a worker to carry out.
    #[must_use]
    pub fn without_waiting(self) -> Self {
        Self { wait: false, ..self }
    }

    /// Tells `reporter` how far jobs are.
    #[must_use]
    pub fn reporting(self, reporter: impl Fn(&Job) + Send + Sync + 'static) -> Self {
        Self { reporter: Some(Box::new(reporter)), ..self }
    }

    fn report(&self, job: &Job) {
        if let Some(reporter) = &self.reporter {
            reporter(job);
        }
    }

    /// The control database, for reading.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Begins a change in the name of who acts.
    async fn change(&self) -> Result<Change> {
        Ok(self.control.change(&self.actor).await?)
    }

    /// The same for a job of ours, which stays ours until the change ends. One that was taken over, or cancelled while it is carried out,
    /// changes nothing any more.
    async fn change_of(&self, job: &Job) -> Result<Change> {
        let mut change = self.change().await?;
        if job_rows::keep(&mut change, job, &self.run).await? {
            return Ok(change);
        }
        let text =
            format!("job {} was cancelled, or taken over by another process: `strowgerctl job show {0}`", job.id);
        Err(Error::Unavailable(text))
    }

    /// What holds for the whole installation.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Waits until running servers have acted on what was committed.
    pub async fn settle(&self) -> Result<Heard> {
        Ok(changes::settle(&self.control, Uuid::new_v4(), PATIENCE).await?)
    }

    /// The same, for changes that only the servers' own caches enforce: one that has not confirmed is an error.
    async fn settle_all(&self) -> Result<()> {
        let Heard { instances, acknowledged } = self.settle().await?;
        if acknowledged < instances {
            return Err(Error::Unavailable(format!(
                "it is done, but {} of {instances} running servers have not confirmed that they know; stop those that are cut off, \
                 or run this again",
                instances - acknowledged
            )));
        }
        Ok(())
    }

    /// The ring that the servers have too.
    pub fn server_ring(&self) -> &MasterRing {
        &self.server_ring
    }

    fn ring(&self, which: Ring) -> &MasterRing {
        match which {
            Ring::Server => &self.server_ring,
            Ring::Admin => &self.admin_ring,
        }
    }

    async fn platform_key(&self, which: Ring) -> Result<DataKey> {
        self.data_key(Scope::Platform, which).await
    }

    /// The data key that seals what belongs to `scope`.
    async fn data_key(&self, scope: Scope, which: Ring) -> Result<DataKey> {
        let missing = || Error::Conflict(format!("{scope:?} has no data key"));
        let wrapped = keys::newest(&self.control, scope, which).await?.ok_or_else(missing)?;
        self.ring(which).unwrap_data_key(scope, &wrapped).map_err(Error::vault(format!("the data key of {scope:?}")))
    }
}
