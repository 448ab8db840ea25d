//! What each kind of job does, step by step, and how it is taken back. This is the whole list.
//!
//! A step says what must be so and makes it so: carried out twice it changes nothing the second time, and so does taking it back.

use serde_json::Value;
use strowger::control::clusters::Cluster;
use strowger::control::jobs::{self, Job, Kind, Subject};
use strowger::control::tenants::{self, State, Tenant};
use strowger::control::tokens;
use strowger::id::TenantId;

use crate::error::{Error, Result};
use crate::steps::Logins;
use crate::{Provisioner, steps};

/// One step of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reservation, which was made with the job; taken back, only the id is left.
    Reservation,
    Roles,
    Database,
    Schema,
    Grants,
    /// Control says that the tenant is served.
    Activate,
    /// Control says that the tenant is not served.
    Block,
    /// Postgres refuses the tenant's logins, and no session is left.
    Fence,
    /// Running servers know.
    Settle,
    HandOver,
    /// Control knows the login that comes next, and its password.
    Prepare,
    /// Postgres takes that login too.
    Arm,
    /// It is the one that is handed out, and the other one retires.
    Switch,
    /// Every running server knows; one that does not is an error.
    Confirm,
    /// Postgres refuses the login that retires.
    Disarm,
    /// Its sessions have ended.
    Drain,
    /// Tokens that the key signed are refused.
    RetireKey,
    /// Every running server has the master key.
    MasterKnown,
    Rewrap,
}

impl Step {
    /// As stored and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::Roles => "roles",
            Self::Database => "database",
            Self::Schema => "schema",
            Self::Grants => "grants",
            Self::Activate => "activate",
            Self::Block => "block",
            Self::Fence => "fence",
            Self::Settle => "settle",
            Self::HandOver => "hand-over",
            Self::Prepare => "prepare",
            Self::Arm => "arm",
            Self::Switch => "switch",
            Self::Confirm => "confirm",
            Self::Disarm => "disarm",
            Self::Drain => "drain",
            Self::RetireKey => "retire-key",
            Self::MasterKnown => "master-known",
            Self::Rewrap => "rewrap",
        }
    }
}

/// The steps of a kind, in order.
pub(crate) fn steps(kind: Kind) -> &'static [Step] {
    use Step::{Activate, Block, Database, Fence, Grants, HandOver, Reservation, Roles, Schema, Settle};
    use Step::{Arm, Confirm, Disarm, Drain, MasterKnown, Prepare, RetireKey, Rewrap, Switch};
    match kind {
        Kind::Create => &[Reservation, Roles, Database, Schema, Activate],
        Kind::Repair => &[Roles, Database, Grants],
        Kind::Suspend | Kind::Delete => &[Block, Fence, Settle],
        Kind::Resume => &[Roles, Database, Grants, Activate, Settle],
        Kind::HandOver => &[HandOver],
        // Refused before it is waited for: nobody who knows needs it, and whoever tries it looks again.
        Kind::RotateLogin => &[Prepare, Arm, Switch, Confirm, Disarm, Drain],
        Kind::RetireKey => &[RetireKey, Confirm],
        // Nobody has to be told: whoever comes with the former login is refused, looks again and comes with the next.
        Kind::RotateAdmin => &[Prepare, Arm, Switch, Disarm, Drain],
        Kind::Rewrap => &[MasterKnown, Rewrap],
    }
}

/// What taking a job back means to the operator; `None` for a kind that is taken back by its opposite.
pub(crate) fn undone_by(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Create | Kind::RetireKey => None,
        Kind::Suspend => Some("`strowgerctl tenant resume` takes a suspension back"),
        Kind::Resume => Some("`strowgerctl tenant suspend` takes a resumption back"),
        Kind::Delete => Some("a deletion is not taken back"),
        Kind::Repair => Some("a repair only puts back what must be so"),
        Kind::HandOver => Some("`strowgerctl number assign` or `number release` gives the number to somebody else"),
        Kind::RotateAdmin => Some("`strowgerctl rotate cluster` gives the provisioner yet another password there"),
        Kind::Rewrap => Some("`strowgerctl rotate master --to` the former key wraps everything with that one again"),
        Kind::RotateLogin => Some("`strowgerctl rotate tenant` gives the tenant yet another password"),
    }
}

/// The kinds that a new job of this kind ends if they still wait: they want something else for the same tenant.
pub(crate) fn supersedes(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Suspend => &[Kind::Resume, Kind::Repair],
        Kind::Resume => &[Kind::Suspend],
        Kind::Delete => &[Kind::Create, Kind::Suspend, Kind::Resume, Kind::Repair],
        Kind::Create
        | Kind::Repair
        | Kind::HandOver
        | Kind::RotateLogin
        | Kind::RetireKey
        | Kind::Rewrap
        | Kind::RotateAdmin => &[],
    }
}

/// A job that is being carried out, under its subject's lock.
pub(crate) struct Context<'p> {
    with: &'p Provisioner,
    job: &'p Job,
    place: Option<(Tenant, Cluster)>,
}

impl<'p> Context<'p> {
    pub(crate) async fn of(with: &'p Provisioner, job: &'p Job) -> Result<Self> {
        let place = match job.subject {
            Subject::Tenant(id) => match tenants::get(&with.control, id).await? {
                Some(tenant) => Some((tenant.clone(), steps::cluster_of(with, &tenant).await?)),
                None => None,
            },
            Subject::Number(_) | Subject::Key(_) | Subject::Ring(_) | Subject::Cluster(_) => None,
        };
        Ok(Self { with, job, place })
    }

    /// Whether the tenant is in a state in which the job has nothing to do any more, forward or back.
    pub(crate) fn is_moot(&self) -> bool {
        let Some((tenant, _)) = &self.place else { return matches!(self.job.subject, Subject::Tenant(_)) };
        match self.job.kind {
            Kind::Create => tenant.state != State::Provisioning,
            Kind::Repair => tenant.state != State::Active,
            Kind::Suspend | Kind::Resume => !matches!(tenant.state, State::Active | State::Suspended),
            Kind::Delete => tenant.state == State::Erased,
            Kind::RotateLogin => !matches!(tenant.state, State::Active | State::Suspended),
            Kind::HandOver | Kind::RetireKey | Kind::Rewrap | Kind::RotateAdmin => false,
        }
    }

    pub(crate) async fn carry_out(&self, step: Step) -> Result<()> {
        let with = self.with;
        match (step, &self.place) {
            (Step::Settle, _) => with.settle().await.map(drop),
            (Step::HandOver, _) => steps::hand_over(with, self.job).await,
            (Step::Reservation, _) => Ok(()),
            (Step::Confirm, _) => with.settle_all().await,
            (Step::MasterKnown, _) => steps::master_known_of(with, self.job).await,
            (Step::Rewrap, _) => steps::rewrap(with, self.job).await,
            (Step::RetireKey, _) => self.retire_key(true).await,
            (Step::Prepare, _) => self.logins().await?.prepare().await,
            (Step::Arm, _) => self.logins().await?.arm().await,
            (Step::Switch, _) => self.logins().await?.switch().await,
            (Step::Disarm, _) => self.logins().await?.disarm().await,
            (Step::Drain, _) => self.logins().await?.drain().await,
            (Step::Block, Some((tenant, _))) => {
                let next = if self.job.kind == Kind::Delete { State::Deleted } else { State::Suspended };
                self.transition(tenant.id, next).await
            }
            (Step::Activate, Some((tenant, _))) => self.transition(tenant.id, State::Active).await,
            (Step::Roles, Some((tenant, cluster))) => {
                let (password, _) = steps::credential(with, tenant.id).await?;
                steps::ensure_roles(with, cluster, tenant, &password).await
            }
            (Step::Database, Some((tenant, cluster))) => steps::ensure_database(with, cluster, tenant).await,
            (Step::Schema, Some((tenant, cluster))) => {
                let (_, epoch) = steps::credential(with, tenant.id).await?;
                steps::ensure_schema(with, cluster, tenant, epoch).await
            }
            (Step::Grants, Some((tenant, cluster))) => steps::ensure_grants(with, cluster, tenant).await,
            (Step::Fence, Some((tenant, cluster))) => steps::fence(with, cluster, tenant).await,
            (_, None) => Err(Error::Conflict(format!("job {} is about a tenant that is not there", self.job.id))),
        }
    }

    /// The logins that change turns, as they are now.
    async fn logins(&self) -> Result<Logins<'p>> {
        match (&self.place, &self.job.subject) {
            (Some((tenant, cluster)), _) => Logins::of_tenant(self.with, tenant, cluster).await,
            (None, Subject::Cluster(name)) => Logins::of_admin(self.with, name).await,
            _ => Err(Error::Conflict(format!("job {} is about logins that are not there", self.job.id))),
        }
    }

    /// Retires the job's signing key, or takes that back.
    async fn retire_key(&self, retire: bool) -> Result<()> {
        let Subject::Key(kid) = &self.job.subject else {
            return Err(Error::Conflict(format!("job {} is not about a signing key", self.job.id)));
        };
        let mut change = self.with.control.change(&self.with.actor).await?;
        if retire {
            tokens::retire(&mut change, kid).await?;
        } else {
            tokens::revive(&mut change, kid).await?;
        }
        Ok(change.commit().await?)
    }

    pub(crate) async fn take_back(&self, step: Step) -> Result<()> {
        if step == Step::RetireKey {
            return self.retire_key(false).await;
        }
        let Some((tenant, cluster)) = &self.place else { return Ok(()) };
        match step {
            Step::Reservation => {
                let mut change = self.with.control.change(&self.with.actor).await?;
                tenants::forget(&mut change, tenant.id, "its creation was cancelled").await?;
                Ok(change.commit().await?)
            }
            Step::Roles => steps::drop_roles(self.with, cluster, tenant).await,
            Step::Database => steps::drop_database(self.with, cluster, tenant).await,
            Step::Schema => steps::drop_schema(self.with, cluster, tenant).await,
            _ => Ok(()),
        }
    }

    async fn transition(&self, id: TenantId, next: State) -> Result<()> {
        let reason = self.job.params.get("reason").and_then(Value::as_str).unwrap_or_default();
        let mut change = self.with.control.change(&self.with.actor).await?;
        tenants::transition(&mut change, id, next, reason).await?;
        if self.job.kind == Kind::Create {
            // With this the creation is whole: whoever asks again finds the tenant, and no job to go on with.
            jobs::done(&mut change, self.job.id).await?;
        }
        Ok(change.commit().await?)
    }
}
