//! Compares what control says with what every cluster has, both ways, and explains each difference.
//!
//! Looking changes nothing: the few rows of tenants that it reads, it reads in transactions that are rolled back. It asks
//! in bulk, a handful of queries for each cluster and each database, so that a fleet is looked at in one go. A tenant with
//! a job under way is left out: what looks wrong there may be half of what is being made right.

mod archive;
mod cluster;
mod control;
mod database;
mod fix;
mod replication;
mod ward;

use std::collections::{HashMap, HashSet};

use strowger::clock::Clock;
use strowger::control::clusters::{self, Cluster, ClusterId};
use strowger::control::jobs::{self, State as JobState};
use strowger::control::numbers::{self, NumberRow};
use strowger::control::tenants::{self, State, Tenant};
use strowger::control::{erasures, installation, moves, sealed};
use strowger::id::{Prefix, TenantId};
use strowger::phone::Number;

use crate::Provisioner;
use crate::error::Result;
pub use fix::{Mended, fix};

/// Something that is not as it must be.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What kind of thing, as `noun.adjective`; docs/operating.md lists them.
    pub code: &'static str,
    /// Where it was seen.
    pub place: String,
    /// What was seen.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// Whether `--fix` does it.
    pub fixable: bool,
    #[serde(skip)]
    remedy: Option<Remedy>,
}

/// What `--fix` does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Remedy {
    /// A statement as the admin, in a database of a cluster. First: what is open is closed before anything is opened.
    AsAdmin(String, String, String),
    Repair(TenantId),
    Fence(TenantId),
    /// A statement as the tenant's owner role.
    AsOwner(TenantId, String),
    AddToMirror(String),
    RemoveFromMirror(TenantId, String),
    FinishMove(String),
    EndExpired,
    DropSchema(String, String, i32),
    DropDatabase(String, i32),
    DropRole(String, String, i32),
}

/// As it is told and audited.
impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repair(id) => write!(f, "repair tenant {id}"),
            Self::Fence(id) => write!(f, "shut tenant {id} out"),
            Self::AsOwner(id, sql) => write!(f, "tenant {id}: {sql}"),
            Self::AsAdmin(cluster, database, sql) => write!(f, "cluster {cluster}, database {database}: {sql}"),
            Self::AddToMirror(number) => write!(f, "tell its tenant's schema that it owns {number}"),
            Self::RemoveFromMirror(id, number) => write!(f, "tell tenant {id}'s schema that it does not own {number}"),
            Self::FinishMove(number) => write!(f, "finish the move of {number}"),
            Self::EndExpired => f.write_str("end the erasures whose copies have expired"),
            Self::DropSchema(cluster, database, id) => {
                write!(f, "drop schema tenant_{id} in database {database} on cluster {cluster}")
            }
            Self::DropDatabase(cluster, id) => write!(f, "drop the database of tenant {id} on cluster {cluster}"),
            Self::DropRole(cluster, role, _) => write!(f, "drop role {role} on cluster {cluster}"),
        }
    }
}

impl Finding {
    fn new(code: &'static str, place: impl Into<String>, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { code, place: place.into(), what: what.into(), advice: advice.into(), fixable: false, remedy: None }
    }

    fn mended_by(self, remedy: Remedy) -> Self {
        Self { fixable: true, remedy: Some(remedy), ..self }
    }

    /// The id of the tenant that control does not know, if it is about one that could be dropped.
    fn orphan(&self) -> Option<i32> {
        match self.remedy {
            Some(Remedy::DropSchema(_, _, id) | Remedy::DropDatabase(_, id) | Remedy::DropRole(_, _, id)) => Some(id),
            _ => None,
        }
    }

    fn mended_if(self, holds: bool, remedy: Remedy) -> Self {
        if holds { self.mended_by(remedy) } else { self }
    }
}

/// What control says, read once.
struct Known {
    prefix: Prefix,
    clusters: Vec<Cluster>,
    tenants: HashMap<i32, Tenant>,
    /// Ids that were given to somebody once, whatever became of them.
    busy: HashSet<i32>,
    epochs: HashMap<i32, i32>,
    numbers: Vec<NumberRow>,
    /// Tenants' other places that are as they must be: on their way there, or kept.
    elsewhere: HashSet<(ClusterId, i32)>,
    /// Tenants that are replicated to where they are on their way, by a move that somebody will bring to its end.
    replicated: HashSet<i32>,
}

impl Known {
    async fn read(with: &Provisioner) -> Result<Self> {
        let tenants = tenants::list(&with.control).await?;
        let now = Clock::system().now();
        let mut busy = HashSet::new();
        for state in [JobState::Running, JobState::Queued] {
            for job in jobs::list(&with.control, None, Some(state), i64::MAX).await? {
                if let (jobs::Subject::Tenant(id), true) = (&job.subject, job.not_before <= now) {
                    busy.insert(id.get());
                }
            }
        }
        let moves = moves::list(&with.control).await?;
        let meant = || moves.iter().filter(|row| row.is_meant());
        Ok(Self {
            prefix: with.installation.prefix.clone(),
            clusters: clusters::list(&with.control).await?,
            tenants: tenants.into_iter().map(|tenant| (tenant.id.get(), tenant)).collect(),
            busy,
            epochs: sealed::epochs(&with.control).await?.into_iter().map(|(id, epoch)| (id.get(), epoch)).collect(),
            numbers: numbers::list(&with.control).await?,
            elsewhere: meant().map(|row| (row.place.cluster, row.tenant.get())).collect(),
            replicated: meant().filter(|row| row.replicates).map(|row| row.tenant.get()).collect(),
        })
    }

    /// The tenants that must be whole on a cluster, by id.
    fn settled(&self, cluster: ClusterId) -> Vec<&Tenant> {
        let made = |tenant: &&Tenant| {
            (tenant.state.is_kept() || tenant.state == State::Deleted)
                && tenant.cluster_id() == cluster
                && !self.busy.contains(&tenant.id.get())
        };
        let mut all: Vec<&Tenant> = self.tenants.values().filter(made).collect();
        all.sort_by_key(|tenant| tenant.id);
        all
    }

    /// Whether control knows nothing that is kept under this id: it was never given, or its tenant was erased.
    fn is_orphan(&self, id: i32) -> bool {
        !self.tenants.contains_key(&id) && !self.busy.contains(&id)
    }

    /// Whether what replicates a tenant is there without a move that it belongs to.
    fn is_left_over(&self, id: i32) -> bool {
        self.tenants.contains_key(&id) && !self.busy.contains(&id) && !self.replicated.contains(&id)
    }
}

fn is_served(tenant: &Tenant) -> bool {
    tenant.state.is_served()
}

/// The tenant's id in `<before><id><after>`.
fn id_in(name: &str, before: &str) -> Option<(i32, String)> {
    let rest = name.strip_prefix(before)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, after) = rest.split_at(digits);
    Some((id.parse().ok()?, after.to_owned()))
}

/// Found while a control database that was restored is not served from.
pub(crate) const RECONCILING: &str = "control.reconciling";

/// Everything that is not as it must be.
pub async fn examine(with: &Provisioner) -> Result<Vec<Finding>> {
    let known = Known::read(with).await?;
    let mut found = control::look(with, &known).await?;
    if !installation::is_serving(&with.control).await? {
        let what = "the control database was restored from a copy, and nothing is served from it";
        found.push(Finding::new(RECONCILING, "control", what, "`strowgerctl control reconcile`"));
    }
    if !erasures::expired(&with.control).await?.is_empty() {
        let advice = "run `strowgerctl worker`, which ends it unless an archive reaches back to before it: `cluster archive status`";
        let what = "a tenant is still erasing although every copy has expired";
        found.push(Finding::new("erasure.overdue", "control", what, advice).mended_by(Remedy::EndExpired));
    }
    for cluster in &known.clusters {
        match cluster::look(with, &known, cluster).await {
            Ok(more) => found.extend(more),
            Err(error) => found.push(Finding::new(
                "cluster.unreadable",
                format!("cluster {}", cluster.name),
                error.to_string(),
                "see that the cluster is up and can be reached from here; its tenants were not looked at",
            )),
        }
    }
    // What was made while we looked is not an orphan.
    let made: HashSet<i32> = tenants::list(&with.control).await?.iter().map(|tenant| tenant.id.get()).collect();
    found.retain(|finding| finding.orphan().is_none_or(|id| !made.contains(&id)));
    Ok(found)
}

fn number(text: &str) -> Option<Number> {
    text.parse().ok()
}
