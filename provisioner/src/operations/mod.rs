//! How each step of a job is carried out and taken back; `kinds` lists which kind of job has which.
//!
//! A step says what must be so and makes it so: carried out twice it changes nothing the second time, and so does taking it back.

mod kinds;

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::clusters::Cluster;
use strowger::control::jobs::{self, Begin, Job, Kind, Subject};
use strowger::control::keys::Ring;
use strowger::control::tenants::{self, State, Tenant};
use strowger::control::{Change, restores, tokens};
use strowger::id::TenantId;
use strowger::vault::JobApproval;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admin_db::AdminDb;
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::steps::Logins;
use crate::{Provisioner, backup, moving, steps};
pub(crate) use kinds::{Step, first, steps, supersedes, undone_by};

/// How long a deleted tenant is kept when nobody says otherwise.
const GRACE_S: i64 = 30 * 24 * 3600;
/// How far the provisioner's clock and the control database's may be apart.
const CLOCKS_DIFFER_S: i64 = 300;

/// A job that is being carried out, under its subject's lock.
pub(crate) struct Context<'p> {
    with: &'p Provisioner,
    job: &'p Job,
    meter: &'p Meter,
    place: Option<(Tenant, Cluster)>,
    session: Session,
}

/// The admin's session on the tenant's cluster, kept from step to step: opening one costs as much as a step.
#[derive(Default)]
struct Session(Option<AdminDb>);

impl Session {
    /// The one in that database, opened if need be. An earlier holder's statements were ended when it was opened; a later holder
    /// ends it.
    async fn at(&mut self, with: &Provisioner, place: &(Tenant, Cluster), database: &str) -> Result<&mut AdminDb> {
        let (tenant, cluster) = place;
        let db = match self.0.take().filter(|db| db.is_open_in(database)) {
            Some(db) => db,
            None => AdminDb::take_for(with, cluster, database, tenant).await?,
        };
        Ok(self.0.insert(db))
    }

    /// Keeps it for the next job, unless it is in a database that only this tenant is in.
    async fn keep(self, with: &Provisioner, tenant: &Tenant) {
        if let Some(db) = self.0.filter(|db| db.is_open_in(steps::database_for_roles(tenant))) {
            db.keep(with).await;
        }
    }
}

impl<'p> Context<'p> {
    pub(crate) async fn of(with: &'p Provisioner, job: &'p Job, meter: &'p Meter) -> Result<Self> {
        let place = match job.subject {
            Subject::Tenant(id) => match tenants::get(&with.control, id).await? {
                Some(tenant) => Some((tenant.clone(), steps::cluster_of(with, &tenant).await?)),
                None => None,
            },
            Subject::Number(_) | Subject::Key(_) | Subject::Ring(_) | Subject::Cluster(_) => None,
        };
        Ok(Self { with, job, meter, place, session: Session::default() })
    }

    /// Whether the tenant is in a state in which the job has nothing to do any more, forward or back.
    pub(crate) fn is_moot(&self) -> bool {
        let Some((tenant, _)) = &self.place else { return matches!(self.job.subject, Subject::Tenant(_)) };
        match self.job.kind {
            Kind::Create | Kind::RestoreAs => tenant.state != State::Provisioning,
            Kind::Repair => !tenant.state.is_served(),
            Kind::Suspend | Kind::ReadOnly => !tenant.state.is_kept() || self.is_over(),
            Kind::Resume | Kind::RotateLogin | Kind::Restore => !tenant.state.is_kept(),
            Kind::Delete => matches!(tenant.state, State::Erasing | State::Erased),
            Kind::Undelete => !matches!(tenant.state, State::Deleted | State::Active),
            // An erasure that waits for the end of a grace is for a deleted tenant only.
            Kind::Erase => tenant.state != State::Deleted && self.job.params["any_state"] != Value::Bool(true),
            Kind::Backup | Kind::Move => !backup::has_data(tenant),
            Kind::HandOver | Kind::RetireKey | Kind::Rewrap | Kind::RotateAdmin => false,
        }
    }

    pub(crate) async fn carry_out(&mut self, step: Step) -> Result<()> {
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
                let next = match self.job.kind {
                    Kind::Delete | Kind::Erase => State::Deleted,
                    Kind::ReadOnly => State::ReadOnly,
                    _ => State::Suspended,
                };
                if self.job.kind == Kind::Erase {
                    steps::refuse_moving_numbers(with, tenant.id).await?;
                    self.refuse_early()?;
                }
                self.transition(tenant.id, next).await
            }
            (Step::Home, Some(place)) => make_home(with, place, &mut self.session).await,
            // A suspended tenant stays shut out.
            (Step::Roles | Step::Grants, Some((tenant, _)))
                if self.job.kind == Kind::Restore && !tenant.state.is_served() =>
            {
                Ok(())
            }
            (Step::Roles | Step::Database | Step::Grants, Some(place)) => {
                make(with, self.job, place, &mut self.session, step).await
            }
            (Step::Activate, Some((tenant, _))) => self.transition(tenant.id, State::Active).await,
            (Step::Fence, Some((tenant, cluster))) => steps::fence(with, cluster, tenant).await,
            // Nobody waits for a tenant that is not served anyway.
            (Step::NoteShut, Some((tenant, _))) if !tenant.state.is_served() => Ok(()),
            (Step::NoteShut, _) => Ok(restores::shut(&with.control, self.job.id).await?),
            (Step::NoteOpen, _) => Ok(restores::opened(&with.control, self.job.id).await?),
            (Step::Belongings, Some((tenant, _))) => steps::take_belongings(with, tenant.id).await,
            (Step::DropSchema, Some((tenant, cluster))) => {
                // A database is not dropped while a slot in it is there.
                moving::end_replication(with, tenant).await?;
                steps::drop_schema(with, cluster, tenant).await
            }
            (Step::DropDatabase, Some((tenant, cluster))) => steps::drop_database(with, cluster, tenant).await,
            (Step::DropRoles, Some((tenant, cluster))) => steps::drop_roles(with, cluster, tenant).await,
            (Step::Shred, Some((tenant, _))) => steps::shred(with, self.job, tenant.id).await,
            (Step::DropBackups, Some((tenant, _))) => backup::destroy_all(with, tenant.id).await,
            (Step::Fill, Some(place)) => backup::fill(with, self.job, place, self.meter).await,
            (Step::Beside, Some(place)) => backup::beside(with, self.job, place, self.meter).await,
            (Step::Swap, Some((tenant, cluster))) => backup::swap(with, self.job, tenant, cluster).await,
            (Step::MakeReady, Some((tenant, _))) => moving::make_ready(with, self.job, tenant).await,
            (Step::Carry, Some(place)) => moving::carry(with, self.job, place, self.meter).await,
            (Step::Leave, Some((tenant, _))) => moving::leave(with, tenant).await,
            (Step::DropOther, Some((tenant, _))) => moving::drop_other(with, tenant).await,
            (Step::BackUp, Some((tenant, cluster))) => backup::back_up(with, self.job, tenant, cluster).await,
            (Step::Prune, Some((tenant, _))) => backup::retain(with, self.job, tenant.id).await,
            (_, None) => Err(Error::Conflict(format!("job {} is about a tenant that is not there", self.job.id))),
        }
    }

    /// All steps are done: the next job of this process may go on with what this one opened.
    pub(crate) async fn close(self) {
        if let Some((tenant, _)) = &self.place {
            self.session.keep(self.with, tenant).await;
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

    pub(crate) async fn take_back(&mut self, step: Step) -> Result<()> {
        // A database is not dropped while somebody is in it.
        self.session = Session::default();
        if step == Step::RetireKey {
            return self.retire_key(false).await;
        }
        let Some((tenant, cluster)) = &self.place else { return Ok(()) };
        match step {
            Step::Reservation => {
                let mut change = self.with.control.change(&self.with.actor).await?;
                tenants::forget(&mut change, tenant.id, State::Erased, "its creation was cancelled").await?;
                Ok(change.commit().await?)
            }
            Step::Home => {
                steps::drop_schema(self.with, cluster, tenant).await?;
                steps::drop_database(self.with, cluster, tenant).await?;
                steps::drop_roles(self.with, cluster, tenant).await
            }
            Step::Roles => steps::drop_roles(self.with, cluster, tenant).await,
            Step::Database => steps::drop_database(self.with, cluster, tenant).await,
            Step::Fill => steps::drop_schema(self.with, cluster, tenant).await,
            Step::BackUp => backup::take_back(self.with, self.job, tenant.id).await,
            Step::MakeReady => moving::take_back(self.with, self.job, tenant, cluster).await,
            _ => Ok(()),
        }
    }

    /// When what was asked for is to end by itself.
    fn until(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.job.params.get("until")?.as_str()?, &Rfc3339).ok()
    }

    /// Whether its end has come before it was begun: the tenant may be served again by now.
    fn is_over(&self) -> bool {
        self.until().is_some_and(|until| until <= Clock::system().now())
    }

    async fn transition(&self, id: TenantId, next: State) -> Result<()> {
        let reason = self.job.params.get("reason").and_then(Value::as_str).unwrap_or_default();
        let until = if next == State::Active { None } else { self.until() };
        let mut change = self.with.control.change(&self.with.actor).await?;
        tenants::transition(&mut change, id, next, reason, until).await?;
        if self.job.kind == Kind::Delete {
            self.schedule_erasure(&mut change).await?;
        }
        if matches!(self.job.kind, Kind::Create | Kind::RestoreAs) {
            // With this the creation is whole: whoever asks again finds the tenant, and no job to go on with.
            jobs::done(&mut change, self.job.id).await?;
        }
        Ok(change.commit().await?)
    }

    /// Queues what follows a deletion. Whoever approved the deletion approved this, for no earlier than the end of its grace.
    async fn schedule_erasure(&self, change: &mut Change) -> Result<()> {
        let Subject::Tenant(id) = self.job.subject else { return Ok(()) };
        let said = self.job.params.get("grace_s").and_then(Value::as_i64);
        if said.is_none() && jobs::erasure(&self.with.control, id).await?.is_some() {
            return Ok(());
        }
        let grace = said.unwrap_or(GRACE_S);
        let not_before = (Clock::system().now() + time::Duration::seconds(grace)).unix_timestamp();
        let params = json!({ "not_before": not_before, "after": self.job.id });
        let job = jobs::begin(change, Kind::Erase, &self.job.subject, &params, Begin::Later(grace)).await?;
        approve(self.with, change, &job).await.map(drop)
    }

    /// The approval covers this moment, so that writing into the control database does not cut a grace short.
    fn refuse_early(&self) -> Result<()> {
        let not_before = self.job.params.get("not_before").and_then(Value::as_i64).unwrap_or_default();
        // The clock that made the job due is another one.
        if Clock::system().now().unix_timestamp() + CLOCKS_DIFFER_S < not_before {
            return Err(Error::Conflict(format!("job {} is not due: the tenant's grace lasts", self.job.id)));
        }
        Ok(())
    }
}

/// Ends what an attempt that was stopped in the middle of a step still has under way: it would run on beside what takes it back.
pub(crate) async fn break_off(with: &Provisioner, job: &Job) -> Result<()> {
    let Subject::Tenant(id) = job.subject else { return Ok(()) };
    match tenants::get(&with.control, id).await? {
        Some(tenant) => moving::break_off(with, &tenant).await,
        None => Ok(()),
    }
}

/// Makes what a new tenant is on its cluster.
async fn make_home(with: &Provisioner, place: &(Tenant, Cluster), session: &mut Session) -> Result<()> {
    let (tenant, _) = place;
    let (password, epoch) = steps::credential(with, tenant.id).await?;
    let db = session.at(with, place, steps::database_for_roles(tenant)).await?;
    if steps::is_shared(tenant) {
        return steps::ensure_roles_and_schema(with, db, tenant, &password, epoch).await;
    }
    steps::ensure_roles(with, db, tenant, &password).await?;
    steps::ensure_database(with, db, tenant).await?;
    steps::ensure_schema(with, session.at(with, place, &tenant.database).await?, tenant, epoch).await
}

/// Makes so again what a tenant needs on its cluster.
async fn make(
    with: &Provisioner,
    job: &Job,
    place: &(Tenant, Cluster),
    session: &mut Session,
    step: Step,
) -> Result<()> {
    let (tenant, _) = place;
    let database = match step {
        Step::Roles | Step::Database => steps::database_for_roles(tenant),
        _ => &tenant.database,
    };
    let db = session.at(with, place, database).await?;
    match step {
        Step::Roles => {
            let (password, _) = steps::credential(with, tenant.id).await?;
            steps::ensure_roles(with, db, tenant, &password).await
        }
        Step::Database => steps::ensure_database(with, db, tenant).await,
        _ => {
            let writes = match job.kind {
                Kind::ReadOnly => false,
                Kind::Repair | Kind::Restore => tenant.state == State::Active,
                _ => true,
            };
            // What is being carried over is not written to, whoever else puts its rights back.
            steps::ensure_grants(with, db, tenant, writes && !tenant.held).await
        }
    }
}

/// Seals an operator's word for this very job: only who has the provisioner's ring can.
pub(crate) async fn approve(with: &Provisioner, change: &mut Change, job: &Job) -> Result<Vec<u8>> {
    let key = with.platform_key(Ring::Admin).await?;
    let approval = key.seal::<JobApproval>(&job.approved_as(), b"approved");
    jobs::approve(change, job, approval.as_bytes()).await?;
    Ok(approval.as_bytes().to_vec())
}
