//! A tenant's life: created, suspended, resumed; and repaired, when it has harmed itself.
//!
//! Every operation takes the tenant's lock in the control database, writes down as a job what is to be, and carries it out step by
//! step. Killed anywhere, it is finished by the same command run again, or by a worker.

use serde_json::{Value, json};
use strowger::clock::Clock;
use strowger::control::Change;
use strowger::control::clusters::{self, Cluster, Isolation};
use strowger::control::jobs::{self, Begin, Job, Kind, Subject};
use strowger::control::keys::{self, Ring};
use strowger::control::placements::{self, NewPlacement};
use strowger::control::tenants::{self, State, Tenant};
use strowger::id::{Region, TenantId};
use strowger::schema;
use strowger::vault::{Scope, Secret};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::placement::{self, Candidate, Wanted};
use crate::reconcile::{self, hold};
use crate::steps;

/// What a new tenant is to be.
pub struct NewTenant<'a> {
    /// The operator's handle for it, unique.
    pub name: &'a str,
    /// An id, for imports; else the next one.
    pub id: Option<TenantId>,
    /// Schema or database.
    pub isolation: Isolation,
    /// A cluster by name; else the one with the most room.
    pub cluster: Option<&'a str>,
    /// Only a cluster with this region label.
    pub cluster_region: Option<&'a str>,
    /// Default region of its callers' numbers.
    pub region: Region,
}

/// Creates a tenant, or finishes creating it, or finds that it is there as asked: the same result each time.
pub async fn create(with: &Provisioner, new: &NewTenant<'_>) -> Result<Tenant> {
    make(with, new, Kind::Create, &json!({})).await
}

/// The same by either kind of job that makes a tenant.
pub(crate) async fn make(with: &Provisioner, new: &NewTenant<'_>, kind: Kind, params: &Value) -> Result<Tenant> {
    check_name(new.name)?;
    if with.installation.reconciling {
        let text = "the control database was restored and may not know of every id that was given: `strowgerctl control reconcile` first";
        return Err(Error::Conflict(text.into()));
    }
    let (id, job) = match tenants::find(&with.control, new.name).await? {
        Some(found) => (as_asked(with, found, new).await?.id, None),
        None => match reserve(with, new, kind, params).await {
            // Somebody else may have reserved it just now: another command, or the last words of a killed one.
            Err(Error::Conflict(text)) => match tenants::find(&with.control, new.name).await? {
                Some(found) => (as_asked(with, found, new).await?.id, None),
                None => return Err(Error::Conflict(text)),
            },
            reserved => reserved.map(|(id, job)| (id, Some(job)))?,
        },
    };
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    if job.is_none() {
        refuse_otherwise_made(with, &tenant, kind, params).await?;
    }
    match (tenant.state, job) {
        (State::Provisioning, Some(job)) => held.finish(job).await?,
        (State::Provisioning, None) => held.run(kind, params).await?,
        (State::Deleted | State::Erasing | State::Erased, _) => {
            return Err(Error::Conflict(format!("tenant {id} was deleted; its name and id are not used again")));
        }
        (State::Active | State::ReadOnly | State::Suspended, _) => return Ok(tenant),
    }
    let made = get(with, id).await?;
    held.give_back().await;
    Ok(made)
}

/// A tenant of that name that is there already is what was asked for only if it was made in the same way, of the same backup.
async fn refuse_otherwise_made(with: &Provisioner, tenant: &Tenant, kind: Kind, params: &Value) -> Result<()> {
    let Some(job) = jobs::maker(&with.control, tenant.id).await? else { return Ok(()) };
    let same = job.kind == kind && job.params == *params;
    // Whoever asks for a tenant that is served, and not what it was made of, finds it.
    if same || kind == Kind::Create && tenant.state != State::Provisioning {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "there is a tenant {} named \"{}\" that job {} ({}) makes or made of something else: use another name",
        tenant.id,
        tenant.name,
        job.id,
        job.kind.as_str()
    )))
}

/// Gives a tenant another name. Nothing else knows its name, so nothing else changes.
pub async fn rename(with: &Provisioner, id: TenantId, name: &str, reason: &str) -> Result<Tenant> {
    check_name(name)?;
    let _held = hold(with, Subject::Tenant(id)).await?;
    if get(with, id).await?.name != name {
        let mut change = with.control.change(&with.actor).await?;
        tenants::rename(&mut change, id, name, reason).await?;
        change.commit().await?;
    }
    get(with, id).await
}

/// Whether a tenant can have that name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Error::Conflict(
            "a tenant's name has 1 to 200 characters, none of them a control character".into(),
        ));
    }
    Ok(())
}

/// Whether callers can be told that.
pub(crate) fn check_sentence(text: &str) -> Result<&str> {
    if text.trim().is_empty() || text.chars().count() > 1000 || text.chars().any(char::is_control) {
        let why = "a sentence has 1 to 1000 characters, none of them a control character";
        return Err(Error::Conflict(why.into()));
    }
    Ok(text)
}

/// A tenant of that name is the one meant only if it is what was asked for.
async fn as_asked(with: &Provisioner, found: Tenant, new: &NewTenant<'_>) -> Result<Tenant> {
    let label = match new.cluster_region {
        Some(_) => steps::cluster_of(with, &found).await?.region,
        None => String::new(),
    };
    let differs = [
        (new.id.is_some_and(|id| id != found.id), "id", found.id.to_string()),
        (new.isolation != found.isolation, "isolation", found.isolation.as_str().to_owned()),
        (new.cluster.is_some_and(|name| name != found.cluster), "cluster", found.cluster.clone()),
        (new.cluster_region.is_some_and(|region| region != label), "cluster region", label),
        (new.region != found.region, "region", found.region.to_string()),
    ];
    match differs.into_iter().find(|(differs, ..)| *differs) {
        None => Ok(found),
        Some((_, what, value)) => Err(Error::Conflict(format!(
            "there is a tenant {} named \"{}\" with {what} {value}: use another name, or ask for the same",
            found.id, found.name
        ))),
    }
}

/// Writes down, in one transaction, everything that the steps need: a crash after it leaves a job that can be finished.
async fn reserve(with: &Provisioner, new: &NewTenant<'_>, kind: Kind, params: &Value) -> Result<(TenantId, Job)> {
    let prefix = &with.installation.prefix;
    let mut change = with.control.change(&with.actor).await?;
    let id = tenants::reserve(&mut change, new.id, new.name, new.region).await?;
    let cluster = choose_cluster(&mut change, new).await?;
    let (key, wrapped) = with.server_ring.new_data_key(Scope::Tenant(id), 1);
    keys::create(&mut change, Scope::Tenant(id), Ring::Server, &wrapped).await?;
    let login = prefix.tenant(id, "a");
    let placement = NewPlacement {
        cluster: cluster.id,
        isolation: new.isolation,
        database: &match new.isolation {
            Isolation::Schema => Cluster::shared_database(prefix),
            Isolation::Database => prefix.tenant_database(id),
        },
        schema: &schema::name(id),
        login: &login,
        password: &key.seal(&login, Secret::random_password().expose()),
    };
    placements::create(&mut change, id, &placement).await?;
    // Not the name: audit rows are never changed, and an erasure leaves no name.
    change.record("tenant.reserve", Some(id), json!({ "cluster": cluster.name })).await?;
    let job = reconcile::begin(with, &mut change, kind, &Subject::Tenant(id), params).await?;
    change.commit().await?;
    Ok((id, job))
}

/// Chosen within the change that has taken an id, when no other creation can choose.
async fn choose_cluster(change: &mut Change, new: &NewTenant<'_>) -> Result<Candidate> {
    let all: Vec<Candidate> = clusters::candidates(change).await?.into_iter().map(Candidate::of).collect();
    let wanted = Wanted { isolation: new.isolation, cluster: new.cluster, region: new.cluster_region };
    placement::choose(&all, &wanted).cloned().map_err(Error::Conflict)
}

/// Why a tenant's state is changed, and until when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Because<'a> {
    /// For the operators who come after; never shown to callers.
    pub reason: &'a str,
    /// When the tenant is to be served again in full, if that is known.
    pub until: Option<OffsetDateTime>,
    /// What callers hear meanwhile, from now on instead of what they heard before; `None` leaves that.
    pub sentence: Option<&'a str>,
}

impl<'a> Because<'a> {
    /// For a reason, without an end.
    pub fn of(reason: &'a str) -> Self {
        Self { reason, ..Self::default() }
    }
}

/// Changes what a tenant's callers hear while it is suspended or switched off; `None`: the platform's sentence. Running servers know when
/// this returns.
pub async fn say_suspended(with: &Provisioner, id: TenantId, sentence: Option<&str>) -> Result<Tenant> {
    let sentence = sentence.map(check_sentence).transpose()?;
    let _held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    if !tenant.state.is_kept() {
        return Err(Error::Conflict(format!("tenant {id} is {}: nobody calls it", tenant.state.as_str())));
    }
    let mut change = with.control.change(&with.actor).await?;
    tenants::say_suspended(&mut change, id, sentence).await?;
    change.commit().await?;
    with.settle_all().await?;
    get(with, id).await
}

/// Blocks a tenant, in Postgres itself: no login works and no session is left when this returns.
pub async fn suspend(with: &Provisioner, id: TenantId, because: Because<'_>) -> Result<Tenant> {
    change_state(with, id, Kind::Suspend, State::Suspended, because).await
}

/// Serves a tenant for reading only: Postgres itself refuses what would write when this returns.
pub async fn make_read_only(with: &Provisioner, id: TenantId, because: Because<'_>) -> Result<Tenant> {
    change_state(with, id, Kind::ReadOnly, State::ReadOnly, because).await
}

/// Serves a suspended or read-only tenant again in full.
pub async fn resume(with: &Provisioner, id: TenantId, reason: &str) -> Result<Tenant> {
    match get(with, id).await?.state {
        State::Provisioning => {
            return Err(Error::Conflict(format!("tenant {id} is not made yet: `strowgerctl job list --tenant {id}`")));
        }
        State::Deleted => {
            let text = format!("tenant {id} is deleted: `strowgerctl tenant undelete {id}` serves it again");
            return Err(Error::Conflict(text));
        }
        _ => {}
    }
    change_state(with, id, Kind::Resume, State::Active, Because::of(reason)).await
}

async fn change_state(
    with: &Provisioner,
    id: TenantId,
    kind: Kind,
    next: State,
    because: Because<'_>,
) -> Result<Tenant> {
    let subject = Subject::Tenant(id);
    let held = hold(with, subject.clone()).await?;
    let tenant = get(with, id).await?;
    if !tenant.state.may_become(next) {
        let text = format!("tenant {id} is {} and cannot become {}", tenant.state.as_str(), next.as_str());
        return Err(Error::Conflict(text));
    }
    let mut change = with.control.change(&with.actor).await?;
    if let Some(sentence) = because.sentence {
        tenants::say_suspended(&mut change, id, Some(check_sentence(sentence)?)).await?;
    }
    let mut params = json!({ "reason": because.reason });
    if let Some(until) = because.until {
        params["until"] =
            until.format(&Rfc3339).map_err(|_| Error::Conflict("that time is too far off".into()))?.into();
    }
    let job = reconcile::begin(with, &mut change, kind, &subject, &params).await?;
    if let Some(until) = because.until {
        let left = until - Clock::system().now();
        if !left.is_positive() {
            return Err(Error::Conflict("that time has passed".into()));
        }
        let seconds = left.whole_seconds() + 1;
        // Written down together with what it will end: a kill cannot leave a tenant blocked for ever.
        let params = json!({ "reason": "its time was over" });
        jobs::begin(&mut change, Kind::Resume, &subject, &params, Begin::Later(seconds)).await?;
    }
    change.commit().await?;
    held.finish(job).await?;
    get(with, id).await
}

/// Puts an active tenant's roles, password, settings and grants back to what control says.
pub async fn repair(with: &Provisioner, id: TenantId) -> Result<()> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = get(with, id).await?;
    if !tenant.state.is_served() {
        let text = format!("tenant {id} is {}: only one that is served is repaired", tenant.state.as_str());
        return Err(Error::Conflict(text));
    }
    held.run(Kind::Repair, &json!({})).await
}

/// The tenant login's libpq URL, for support. The audit log says who took it, before it is shown.
pub async fn connection(with: &Provisioner, id: TenantId) -> Result<String> {
    let tenant = get(with, id).await?;
    let cluster = steps::cluster_of(with, &tenant).await?;
    let (password, _) = steps::credential(with, id).await?;
    let mut change = with.control.change(&with.actor).await?;
    change.record("tenant.connection", Some(id), json!({ "login": tenant.login_role })).await?;
    change.commit().await?;
    // A host that is a folder, with a socket in it, is written as one word.
    let host = cluster.address.host.replace('/', "%2F");
    let hosts: Vec<String> = host.split(',').map(|host| format!("{host}:{}", cluster.address.port)).collect();
    let (mode, _) = cluster.address.tls.to_columns();
    Ok(format!(
        "postgres://{}:{}@{}/{}?sslmode={mode}&options=-csearch_path%3D{}",
        tenant.login_role,
        password.expose_str().unwrap_or_default(),
        hosts.join(","),
        tenant.database,
        tenant.schema
    ))
}

/// A tenant by id, or an error that says so.
pub async fn get(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    steps::tenant(with, id).await
}
