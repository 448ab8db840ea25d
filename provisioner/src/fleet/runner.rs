//! Carries a run out: wave after wave, several tenants at once, each under its own lock.
//!
//! A worker holds two sessions in all, one for locks and one for each shared database, as far as the cluster has room for them
//! (`room`), and writes to control once for a handful of tenants. What is lost between a tenant's commit and that write is found
//! again in the tenant's history.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strowger::clock::Clock;
use strowger::control::clusters::{self, ClusterId, Isolation};
use strowger::control::locks::{self, Locks};
use strowger::control::migrations::{self, Outcome, Planned, RunState};
use strowger::control::tenants::{self, Tenant};
use strowger::id::TenantId;
use tokio::task::JoinSet;

use super::apply::{Attempt, Site, Trouble};
use super::room::{Place, Rooms};
use super::sequence::Sequence;
use super::waves::Options;
use crate::Provisioner;
use crate::admin_db::AdminDb;
use crate::error::{Error, Result};

/// How many tenants a worker takes at most before it writes to control. It holds their locks for as long.
const HANDFUL: usize = 8;
/// A backend remembers every table it has touched: after so many tenants it is let go.
const TENANTS_PER_CONNECTION: usize = 500;
/// Before busy tenants are tried a second time; doubled each time after.
const BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Tenants that are done with, well or badly.
    pub over: usize,
    /// Of those, how many failed.
    pub failed: usize,
    /// All of them.
    pub of: usize,
}

/// Is told after every tenant.
pub type Watch = Arc<dyn Fn(Step) + Send + Sync>;

/// What all workers of a run share.
pub(super) struct Run {
    pub(super) with: Arc<Provisioner>,
    pub(super) id: i64,
    pub(super) sequence: Sequence,
    pub(super) options: Options,
    pub(super) watch: Watch,
}

struct Shared {
    run: Run,
    rooms: Rooms,
    clock: Clock,
    queue: Mutex<VecDeque<TenantId>>,
    /// Those to be tried again after the others, and what is said of them if they are not.
    busy: Mutex<Vec<Outcome>>,
    failed: AtomicUsize,
    over: AtomicUsize,
    of: usize,
    /// When so many have failed, nobody else is begun.
    budget: AtomicUsize,
    told_to_stop: AtomicBool,
}

/// The name of the lock that a run at work holds.
pub(super) fn lock_name(run: i64) -> String {
    format!("migration run {run}")
}

/// Does all that is planned, and says in control how it ended. The run's lock is held by the caller.
pub(super) async fn carry_out(run: Run, planned: &[Planned]) -> Result<RunState> {
    let with = Arc::clone(&run.with);
    let rooms = Rooms::new(clusters::list(&with.control).await?);
    let id = run.id;
    let shared = Arc::new(Shared {
        rooms,
        clock: Clock::system(),
        queue: Mutex::default(),
        busy: Mutex::default(),
        failed: AtomicUsize::new(0),
        over: AtomicUsize::new(0),
        of: planned.len(),
        budget: AtomicUsize::new(run.options.max_failures),
        told_to_stop: AtomicBool::new(false),
        run,
    });
    let mut waves: BTreeMap<i32, Vec<TenantId>> = BTreeMap::new();
    for one in planned {
        waves.entry(one.wave).or_default().push(one.tenant);
    }
    let mut workers = Vec::new();
    for (number, tenants) in waves {
        // One canary that fails is enough.
        let budget = if number == 0 { 1 } else { shared.run.options.max_failures };
        shared.budget.store(budget, Ordering::Relaxed);
        wave(&shared, &mut workers, tenants).await?;
        if shared.is_over() {
            break;
        }
    }
    let state = shared.ended();
    let mut change = with.control.change(&with.actor).await?;
    migrations::finish(&mut change, id, state).await?;
    change.commit().await?;
    Ok(state)
}

/// Everybody of a wave, the busy ones again after the others.
async fn wave(shared: &Arc<Shared>, workers: &mut Vec<Worker>, tenants: Vec<TenantId>) -> Result<()> {
    let (mut tenants, mut pause) = (tenants, BACKOFF);
    for attempt in 1..=shared.run.options.attempts {
        let many = shared.run.options.parallel.min(tenants.len());
        while workers.len() < many {
            workers.push(Worker { locks: Locks::open(&shared.run.with.control).await?, open: HashMap::new() });
        }
        lock(&shared.queue).extend(tenants.drain(..));
        let mut at_work = JoinSet::new();
        for worker in workers.drain(..) {
            at_work.spawn(worker.work(Arc::clone(shared), attempt));
        }
        while let Some(ended) = at_work.join_next().await {
            workers.push(ended.map_err(|error| Error::Unavailable(format!("a worker ended: {error}")))??);
        }
        let busy = std::mem::take(&mut *lock(&shared.busy));
        if busy.is_empty() || shared.is_over() {
            break;
        }
        if attempt == shared.run.options.attempts {
            shared.failed.fetch_add(busy.len(), Ordering::Relaxed);
            shared.over.fetch_add(busy.len(), Ordering::Relaxed);
            shared.note(&busy).await?;
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_BACKOFF);
        shared.heed(migrations::state(&shared.run.with.control, shared.run.id).await?);
        tenants = busy.iter().map(|outcome| outcome.tenant).collect();
    }
    // Whoever is left when a run is over stays as it was.
    lock(&shared.queue).clear();
    Ok(())
}

impl Shared {
    fn is_over(&self) -> bool {
        self.told_to_stop.load(Ordering::Relaxed)
            || self.failed.load(Ordering::Relaxed) >= self.budget.load(Ordering::Relaxed)
    }

    fn ended(&self) -> RunState {
        if self.failed.load(Ordering::Relaxed) > 0 {
            RunState::Failed
        } else if self.told_to_stop.load(Ordering::Relaxed) {
            RunState::Stopped
        } else {
            RunState::Done
        }
    }

    fn heed(&self, state: RunState) {
        if state == RunState::Stopping {
            self.told_to_stop.store(true, Ordering::Relaxed);
        }
    }

    /// A few tenants, fewer near the end, so that no worker is left with nothing to do.
    fn handful(&self) -> Vec<TenantId> {
        let mut queue = lock(&self.queue);
        let many = (queue.len() / (2 * self.run.options.parallel)).clamp(1, HANDFUL).min(queue.len());
        queue.drain(..many).collect()
    }

    async fn note(&self, outcomes: &[Outcome]) -> Result<()> {
        let with = &self.run.with;
        let mut change = with.control.change(&with.actor).await?;
        let (state, noted) = migrations::note(&mut change, self.run.id, outcomes).await?;
        if !noted.is_empty() {
            change.commit().await?;
        }
        // It was migrated where it was, or as it was, before somebody changed that: how it is now is looked at once more.
        for outdated in outcomes.iter().filter(|o| o.error.is_none() && !noted.contains(&o.tenant)) {
            let error = Some("its placement was changed by somebody else meanwhile".to_owned());
            self.over.fetch_sub(1, Ordering::Relaxed);
            lock(&self.busy).push(Outcome { error, ..outdated.clone() });
        }
        self.heed(state);
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        let (over, failed) = (self.over.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        (self.run.watch)(Step { over, failed, of: self.of });
    }
}

/// One of those who work at the same time.
struct Worker {
    locks: Locks,
    /// Connections to shared databases.
    open: HashMap<ClusterId, Open>,
}

/// A connection to a tenant's database.
struct Open {
    db: AdminDb,
    /// How many tenants it has served.
    served: usize,
    /// Given back after the connection: fields are dropped in this order.
    #[expect(dead_code, reason = "held, not read")]
    place: Place,
}

impl Worker {
    async fn work(mut self, shared: Arc<Shared>, attempt: u32) -> Result<Self> {
        while !shared.is_over() {
            let few = shared.handful();
            if few.is_empty() {
                break;
            }
            let names: Vec<String> = few.iter().map(|tenant| locks::of_tenant(*tenant)).collect();
            let ours = self.locks.try_take(&names).await?;
            let done = self.those(&shared, &few, &ours, attempt).await;
            let held: Vec<String> =
                names.into_iter().zip(&ours).filter(|(_, ours)| **ours).map(|(name, _)| name).collect();
            self.locks.give_back(&held).await?;
            done?;
        }
        // Another may be waiting for the places.
        self.open.clear();
        Ok(self)
    }

    async fn those(&mut self, shared: &Shared, few: &[TenantId], ours: &[bool], attempt: u32) -> Result<()> {
        // Read under the locks: a tenant may have been moved, deleted or migrated since the run was planned.
        let found = tenants::among(&shared.run.with.control, few).await?;
        let mut outcomes = Vec::new();
        for tenant in found.iter().filter(|tenant| tenant.state.is_kept()) {
            if shared.is_over() {
                break;
            }
            if few.iter().zip(ours).any(|(id, ours)| *id == tenant.id && !ours) {
                let tried = Attempt { trouble: Some(Trouble::held()), ..Attempt::default() };
                shared.sort(tenant, tried, Duration::ZERO, attempt);
                continue;
            }
            let began = shared.clock.elapsed();
            let tried = self.one(shared, tenant).await;
            outcomes.extend(shared.sort(tenant, tried, shared.clock.elapsed().saturating_sub(began), attempt));
        }
        if outcomes.is_empty() { Ok(()) } else { shared.note(&outcomes).await }
    }

    /// One tenant, on a connection that is kept if it is a shared database's and nothing went wrong.
    async fn one(&mut self, shared: &Shared, tenant: &Tenant) -> Attempt {
        let run = &shared.run;
        let mut open = match self.connection(shared, tenant).await {
            Ok(open) => open,
            Err(error) => return Attempt { trouble: Some(Trouble::unreachable(&error)), ..Attempt::default() },
        };
        let tried = Site::new(&run.with, &open.db, tenant, &run.sequence, run.options.lock_timeout_ms).bring().await;
        open.served += 1;
        let lasts = open.served <= TENANTS_PER_CONNECTION && tried.trouble.is_none();
        if tenant.isolation == Isolation::Schema && lasts {
            self.open.insert(tenant.cluster_id(), open);
        }
        tried
    }

    async fn connection(&mut self, shared: &Shared, tenant: &Tenant) -> Result<Open> {
        if tenant.isolation == Isolation::Schema
            && let Some(open) = self.open.remove(&tenant.cluster_id())
        {
            return Ok(open);
        }
        let with = &shared.run.with;
        let (cluster, places) = shared.rooms.of_tenant(with, tenant).await?;
        let place = match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                // Who waits holds nothing that somebody else may be waiting for.
                self.open.clear();
                places.acquire_owned().await.map_err(|error| Error::Unavailable(error.to_string()))?
            }
        };
        Ok(Open { db: AdminDb::open(with, cluster, &tenant.database).await?, served: 0, place })
    }
}

impl Shared {
    /// What is written down now, or later if the tenant is busy.
    fn sort(&self, tenant: &Tenant, tried: Attempt, took: Duration, attempt: u32) -> Option<Outcome> {
        let mut outcome = Outcome {
            tenant: tenant.id,
            generation: tenant.generation,
            from: tried.from.unwrap_or(tenant.schema_version),
            to: tried.to.unwrap_or(tenant.schema_version),
            ms: i32::try_from(took.as_millis()).unwrap_or(i32::MAX),
            attempts: i32::try_from(attempt).unwrap_or(i32::MAX),
            error: None,
        };
        match tried.trouble {
            Some(Trouble::Busy(text)) => {
                outcome.error = Some(text);
                lock(&self.busy).push(outcome);
                return None;
            }
            Some(Trouble::Broken(text)) => {
                outcome.error = Some(text);
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        self.over.fetch_add(1, Ordering::Relaxed);
        Some(outcome)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
