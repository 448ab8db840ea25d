//! The loop over durable work.
//!
//! It claims an item, makes a principal of it, carries it out, and says how that ended; `kill -9` anywhere leaves the item
//! leased, and when the lease is over another server does it again. So every handler must be able to do its work twice and
//! have done it once. Woken by news and by a timer. What it must never do: log or store what an item says.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::model::Model;
use crate::app::processing::{self, Before, ProcessingError};
use crate::app::promises::{Item, PromiseError, Promises};
use crate::auth::Principal;
use crate::control::work::{self, Claimed, Ended, LEASE_S, MAX_ATTEMPTS, Swept};
use crate::control::{Control, ControlError};
use crate::directory::{Directory, DirectoryError};
use crate::tenant::{OpenError, Refused, Router};
use crate::vault::VaultError;

/// Items that one process works on at once.
const SLOTS: usize = 4;
/// How often due work is looked for without having been announced: what failed before is not announced again.
const LOOK: Duration = Duration::from_secs(1);
/// How long one attempt may take; the lease outlasts it.
const ATTEMPT: Duration = Duration::from_secs(90);
const _: () = assert!(ATTEMPT.as_secs() < LEASE_S as u64);
/// How often it is tried to say how an attempt ended.
const SAID_AGAIN: u32 = 5;
/// How often an outbox is looked into that nobody told us of, and for the first time after a start.
const SWEEP: Duration = Duration::from_secs(60);
/// Outboxes a sweep.
const SWEPT_AT_ONCE: usize = 60;
/// How often the outboxes that this process has written to are tried.
const SWEEP_KNOWN: Duration = Duration::from_secs(2);
/// How often what was done long ago is forgotten.
const PRUNE: Duration = Duration::from_secs(600);

/// Carries out durable work. One for a process, behind an [`Arc`].
pub struct Worker {
    /// Connections of its own: one that broke is found broken here, and no request is told that control is away.
    control: Control,
    directory: Arc<Directory>,
    router: Arc<Router>,
    promises: Arc<Promises>,
    model: Arc<Model>,
    /// Names this process as the holder of leases; never used twice.
    holder: String,
}

impl Worker {
    /// A worker over what a server has, with a control pool of its own.
    pub fn new(
        control: Control,
        directory: Arc<Directory>,
        router: Arc<Router>,
        promises: Arc<Promises>,
        model: Arc<Model>,
        holder: String,
    ) -> Self {
        Self { control, directory, router, promises, model, holder }
    }

    /// Works until `stop` says so, and ends what is under way.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let housekeeping = tokio::spawn(Arc::clone(&self).keep_house());
        let mut running = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stop.borrow() {
            tokio::select! {
                _ = stop.changed() => break,
                Some(_) = running.join_next() => {}
                () = self.directory.work_announced() => {}
                _ = look.tick() => {}
            }
            self.fill(&mut running).await;
        }
        housekeeping.abort();
        while running.join_next().await.is_some() {}
    }

    /// Claims as much as there is room for.
    async fn fill(self: &Arc<Self>, running: &mut JoinSet<()>) {
        while running.len() < SLOTS {
            match work::claim(&self.control, &self.holder, &Item::KINDS).await {
                Ok(Some(item)) => drop(running.spawn(Arc::clone(self).work_on(item))),
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%error, "could not ask for work");
                    return;
                }
            }
        }
    }

    /// One attempt at one item.
    async fn work_on(self: Arc<Self>, item: Claimed) {
        let how = if item.attempts > MAX_ATTEMPTS {
            Ended::Never("every attempt ended without a word: the process was killed, or hung".to_owned())
        } else {
            let attempt = tokio::time::timeout(ATTEMPT, self.attempt(&item)).await;
            attempt.unwrap_or_else(|_| Ended::Later("an attempt took too long".to_owned()))
        };
        if let Ended::Later(reason) | Ended::Away(reason) | Ended::Never(reason) = &how {
            tracing::warn!(tenant.id = %item.tenant(), work.id = item.id(), work.kind = item.kind, item.attempts, reason, "work failed");
        }
        self.say(&item, &how).await;
    }

    /// Says how an attempt ended. Unsaid, the lease ends by itself and the item is done again, which its handler can bear.
    async fn say(&self, item: &Claimed, how: &Ended) {
        for _ in 0..SAID_AGAIN {
            match work::end(&self.control, item, &self.holder, how).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(work.id = item.id(), %error, "could not say how work ended"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn attempt(&self, claimed: &Claimed) -> Ended {
        let item = match self.promises.read(claimed).await {
            Ok(item) => item,
            Err(error) => return unreadable(&error),
        };
        let who = Principal::from_work(claimed);
        self.carry_out(&who, &item).await.map_or_else(|error| failed(&error), |()| Ended::Done)
    }

    async fn carry_out(&self, who: &Principal, item: &Item) -> Result<(), ProcessingError> {
        let (router, model) = (&self.router, &self.model);
        match item {
            Item::ProcessCall { call_sid, ended } => {
                if let Some(ended) = *ended {
                    processing::close_call(router, who, call_sid, ended).await?;
                }
                processing::process_call(router, model, who, call_sid, Before::Stays).await
            }
            Item::LateTurn { call_sid, .. } => {
                processing::process_call(router, model, who, call_sid, Before::MakesWay).await
            }
        }
    }

    async fn keep_house(self: Arc<Self>) {
        let (mut soon, mut sweep, mut prune) = (
            tokio::time::interval(SWEEP_KNOWN),
            tokio::time::interval_at(tokio::time::Instant::now() + SWEEP, SWEEP),
            tokio::time::interval(PRUNE),
        );
        loop {
            let done = tokio::select! {
                _ = soon.tick() => self.sweep_known().await,
                _ = sweep.tick() => self.sweep().await,
                _ = prune.tick() => work::prune(&self.control).await.map(drop),
            };
            if let Err(error) = done {
                tracing::debug!(%error, "could not look after the queue");
            }
        }
    }

    /// Looks into the outboxes that this process has written to, once control is back.
    async fn sweep_known(&self) -> Result<(), ControlError> {
        for tenant in self.promises.waiting_outside() {
            if let Some(swept) = work::sweep(&self.control, tenant).await? {
                self.look_into(&swept).await;
            }
        }
        Ok(())
    }

    /// Looks into the outboxes whose turn it is.
    pub async fn sweep(&self) -> Result<(), ControlError> {
        for _ in 0..SWEPT_AT_ONCE {
            let Some(swept) = work::next_to_sweep(&self.control).await? else { return Ok(()) };
            self.look_into(&swept).await;
        }
        Ok(())
    }

    async fn look_into(&self, swept: &Swept) {
        match self.promises.carry_over(swept).await {
            Ok(0) => {}
            Ok(items) => tracing::info!(tenant.id = %swept.tenant(), items, "queued what was promised without control"),
            Err(error) => tracing::warn!(tenant.id = %swept.tenant(), %error, "could not look into an outbox"),
        }
    }
}

fn failed(error: &ProcessingError) -> Ended {
    let reason = error.to_string();
    match error {
        ProcessingError::Refused(Refused::Open { error: OpenError::Unreachable(_), .. }) => Ended::Away(reason),
        _ => Ended::Later(reason),
    }
}

/// What cannot be read now may be readable later, except where its content is the reason.
fn unreadable(error: &PromiseError) -> Ended {
    match error {
        PromiseError::Unknown => Ended::Never(error.to_string()),
        PromiseError::Refused(Refused::Directory(DirectoryError::Vault { error: why, .. }))
            if *why != VaultError::UnknownKey =>
        {
            Ended::Never(error.to_string())
        }
        PromiseError::Refused(_) | PromiseError::Tenant(_) => Ended::Later(error.to_string()),
    }
}
