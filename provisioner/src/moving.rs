//! The steps of a tenant's move to another cluster, and of the way back, which is a move too.
//!
//! Beside what the tenant has, its roles and database are made on the other cluster, with a new password. Then nothing is written to it
//! any more: control says so, servers refuse, and Postgres does. What is there is carried over and compared. One change in control turns
//! the tenant to the new place and lets it be written to again; where it lived is shut and kept for a while. That is the offline way;
//! `online` copies first, while the tenant is written to, and holds it only for what is left.
//!
//! What a newcomer gets wrong: a copy is only worth the lock under which it was made. A move that is gone on with after a kill copies anew,
//! and turns only while the job is still its holder's. A holder can lose its lock and live on, when the control database dies and comes
//! back: so it opens its sessions first and then asks whether the job is its own, because who takes the job over ends those sessions.

mod online;

use strowger::clock::Clock;
use strowger::control::clusters::{self, Cluster, Isolation};
use strowger::control::jobs::Job;
use strowger::control::keys::Ring;
use strowger::control::moves::{self, Hold, Move, Place, Standing};
use strowger::control::tenants::{State, Tenant};
use strowger::vault::{Scope, Secret};

use crate::Provisioner;
use crate::admin_db::{self, AdminDb, ident};
use crate::backup::{self, Target};
use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::steps::{self, MAINTENANCE_DATABASE, Owner};

pub(crate) use online::end as end_replication;

/// A cluster by name, or an error that says so.
pub(crate) async fn cluster(with: &Provisioner, name: &str) -> Result<Cluster> {
    let all = clusters::list(&with.control).await?;
    all.into_iter().find(|cluster| cluster.name == name).ok_or_else(|| Error::Conflict(clusters::unknown_cluster(name)))
}

/// How often an online move turns before it is given up. What keeps it from doing so in time is often gone the next time: a dropped
/// subscription waits for whoever else on that server is at one.
const TURNS: usize = 3;

/// Whether the tenant lives where all of it was carried to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turned {
    Yes,
    /// It took longer than writes can wait.
    TooLate,
}

/// Where a tenant would live on a cluster.
pub(crate) fn place_on(with: &Provisioner, to: &Cluster, tenant: &Tenant) -> Place {
    let prefix = &with.installation.prefix;
    Place {
        cluster: to.id,
        cluster_name: to.name.clone(),
        isolation: to.isolation(),
        database: match to.isolation() {
            Isolation::Schema => Cluster::shared_database(prefix),
            Isolation::Database => prefix.tenant_database(tenant.id),
        },
        login: prefix.tenant(tenant.id, "a"),
    }
}

async fn destination(with: &Provisioner, job: &Job) -> Result<Cluster> {
    let name = job.params["to"].as_str().unwrap_or_default();
    cluster(with, name).await
}

fn lives_on(tenant: &Tenant, cluster: &Cluster) -> bool {
    tenant.cluster_id() == cluster.id
}

/// The step that notes the place and makes roles and database there. What is kept elsewhere is dropped: there is one way back.
pub(crate) async fn make_ready(with: &Provisioner, job: &Job, tenant: &Tenant) -> Result<()> {
    let to = destination(with, job).await?;
    if lives_on(tenant, &to) {
        return Ok(());
    }
    online::end(with, tenant).await?;
    let other = moves::get(&with.control, tenant.id).await?;
    if other.as_ref().is_some_and(|other| other.place.cluster != to.id) {
        drop_other(with, tenant).await?;
    }
    if !matches!(&other, Some(Move { place, standing: Standing::Open(_), .. }) if place.cluster == to.id) {
        let place = place_on(with, &to, tenant);
        let key = with.data_key(Scope::Tenant(tenant.id), Ring::Server).await?;
        let sealed = key.seal(&place.login, Secret::random_password().expose());
        let mut change = with.control.change(&with.actor).await?;
        moves::open(&mut change, tenant.id, &place, &sealed).await?;
        change.commit().await?;
    }
    let (there, password) = arriving(with, tenant).await?;
    let db = AdminDb::open_for(with, &to, steps::database_for_roles(&there), &there).await?;
    steps::ensure_roles(with, &db, &there, &password).await?;
    steps::ensure_database(with, &db, &there).await
}

/// The tenant as it is to be, and what logs in there.
async fn arriving(with: &Provisioner, tenant: &Tenant) -> Result<(Tenant, Secret)> {
    let Some(Move { place, standing: Standing::Open(sealed), .. }) = moves::get(&with.control, tenant.id).await? else {
        return Err(Error::Conflict(format!("tenant {} is on its way to nowhere", tenant.id)));
    };
    let key = with.data_key(Scope::Tenant(tenant.id), Ring::Server).await?;
    let what = || format!("the new password of tenant {}", tenant.id);
    Ok((tenant.at(&place), key.open(&place.login, &sealed).map_err(Error::vault(what()))?))
}

/// The step that carries the data over and turns. One that fails leaves the tenant served in full where it is.
pub(crate) async fn carry(
    with: &Provisioner,
    job: &Job,
    (tenant, from): &(Tenant, Cluster),
    meter: &Meter,
) -> Result<()> {
    let to = destination(with, job).await?;
    if lives_on(tenant, &to) {
        return Ok(());
    }
    for turn in 1.. {
        let done = if job.params["online"] == true {
            online::carry(with, job, (tenant, from), &to, meter).await
        } else {
            carry_held(with, job, (tenant, from), &to, meter).await.map(|()| Turned::Yes)
        };
        if let Ok(Turned::Yes) = done {
            break;
        }
        // Whoever has taken the job over is not to be disturbed. The first error is the one to tell.
        let is_ours = with.change_of(job).await.is_ok();
        let is_as_before =
            is_ours && let_go(with, job, tenant, from).await.is_ok() && online::end(with, tenant).await.is_ok();
        done?;
        if !is_as_before || turn == TURNS {
            return Err(Error::Unavailable("the last of it took too long: nothing was changed".into()));
        }
        meter.say("the last of it took too long: it begins anew".to_owned());
    }
    Ok(())
}

/// Ends what an attempt that was stopped in the middle has under way on a tenant's clusters. One that does not answer runs nothing that
/// could get in the way where the other is.
pub(crate) async fn break_off(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    let mut clusters = vec![steps::cluster_of(with, tenant).await?];
    if let Some(other) = moves::get(&with.control, tenant.id).await? {
        clusters.push(registered(with, &other.place).await?);
    }
    for cluster in &clusters {
        match AdminDb::open_anew(with, cluster, MAINTENANCE_DATABASE, tenant).await {
            Ok(_) | Err(Error::Unavailable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn carry_held(
    with: &Provisioner,
    job: &Job,
    (tenant, from): (&Tenant, &Cluster),
    to: &Cluster,
    meter: &Meter,
) -> Result<()> {
    let (there, password) = arriving(with, tenant).await?;
    let (_, epoch) = steps::credential(with, tenant.id).await?;
    let prefix = &with.installation.prefix;
    let mut here = AdminDb::open_for(with, from, &tenant.database, tenant).await?;
    let mut db = AdminDb::open_for(with, to, &there.database, &there).await?;
    let began = Clock::system();
    // After this no session is opened: who takes the job over ends those that are there.
    hold(with, job, tenant, Hold::Long).await?;
    // Whatever was acknowledged is there when this returns, and nothing comes after it.
    steps::ensure_grants(with, &mut here, tenant, false).await?;
    let source = Owner::reading(&mut here, prefix, tenant).await?;
    let into = Owner::of(&mut db, prefix, &there).await?;
    drop_schemas(&into, &prefix.tenant(there.id, "owner")).await?;
    let target = Target { prefix, tenant: &there, epoch: epoch + 1, writes: tenant.state == State::Active, meter };
    backup::carry(&source, tenant, &into, &target).await?;
    into.commit().await?;
    source.lay_down().await?;
    admit(with, to, &there, &password, epoch + 1).await?;
    turn(with, job, tenant, epoch + 1, &began).await
}

/// Servers can log in where the tenant goes; nobody can, if it is not served.
async fn admit(with: &Provisioner, to: &Cluster, there: &Tenant, password: &Secret, epoch: i32) -> Result<()> {
    if there.state.is_served() { prove(to, there, password, epoch).await } else { steps::fence(with, to, there).await }
}

/// The tenant lives where all of it has been carried to, if nobody has cancelled its move. It has been held since `began`.
async fn turn(with: &Provisioner, job: &Job, tenant: &Tenant, epoch: i32, began: &Clock) -> Result<()> {
    let mut change = with.change_of(job).await?;
    let keep_s = job.params["keep_s"].as_i64().unwrap_or_default();
    let held_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    moves::turn(&mut change, tenant.id, epoch, keep_s, held_ms).await?;
    Ok(change.commit().await?)
}

/// What an earlier attempt copied, or what was kept there: nobody is served from it.
async fn drop_schemas(into: &Owner<'_>, owner: &str) -> Result<()> {
    let sql = "select nspname::text from pg_namespace where pg_get_userbyid(nspowner) = $1";
    for row in into.query(sql, &[&owner]).await? {
        into.run(&format!("drop schema {} cascade", ident(row.get(0)))).await?;
    }
    Ok(())
}

/// Logs in as a server will: what Postgres refuses is never handed out.
async fn prove(to: &Cluster, there: &Tenant, password: &Secret, epoch: i32) -> Result<()> {
    let what = format!("cluster {} as {}", to.name, there.login_role);
    let login = admin_db::login(&to.address, &there.login_role, password, &there.database);
    let db = admin_db::connect(login, &to.address, &what).await?;
    let row =
        db.query_one("select tenant_id, epoch from identity", &[]).await.map_err(Error::postgres(what.clone()))?;
    if (row.get::<_, i32>(0), row.get::<_, i32>(1)) == (there.id.get(), epoch) {
        return Ok(());
    }
    Err(Error::Conflict(format!("{what} finds another tenant's data: nothing was changed")))
}

/// Nothing is written to the tenant any more, says control.
async fn hold(with: &Provisioner, job: &Job, tenant: &Tenant, how: Hold) -> Result<()> {
    let mut change = with.change_of(job).await?;
    moves::hold(&mut change, tenant.id, Some(how)).await?;
    change.commit().await?;
    with.settle().await.map(drop)
}

/// The tenant is written to again where it lives, unless it has turned after all: then nothing may be written where it lived.
///
/// What an attempt that ran out of time still has under way there is ended. This comes before a stream is ended: a restored control
/// database tells by the stream that what is at its other end is not whole.
async fn let_go(with: &Provisioner, job: &Job, tenant: &Tenant, from: &Cluster) -> Result<()> {
    // A turn of which we heard no end has the job's row: it ends first.
    let mut change = with.change_of(job).await?;
    if lives_on(&steps::tenant(with, tenant.id).await?, &destination(with, job).await?) {
        return Ok(());
    }
    if tenant.state == State::Active {
        let mut db = AdminDb::open_anew(with, from, &tenant.database, tenant).await?;
        steps::ensure_grants(with, &mut db, tenant, true).await?;
    }
    moves::hold(&mut change, tenant.id, None).await?;
    change.commit().await?;
    with.settle().await.map(drop)
}

/// The step that shuts the place where the tenant lived; servers have been told.
pub(crate) async fn leave(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    match moves::get(&with.control, tenant.id).await? {
        Some(Move { place, standing: Standing::Kept { .. }, .. }) => {
            steps::leave(with, &registered(with, &place).await?, &tenant.at(&place)).await
        }
        _ => Ok(()),
    }
}

/// Takes a move back that has not turned. One that has is brought to its end: the way back is a move.
pub(crate) async fn take_back(with: &Provisioner, job: &Job, tenant: &Tenant, from: &Cluster) -> Result<()> {
    if lives_on(tenant, &destination(with, job).await?) {
        with.settle().await?;
        return leave(with, tenant).await;
    }
    let_go(with, job, tenant, from).await?;
    // What keeps a stream from being ended has kept nobody from writing.
    online::end(with, tenant).await?;
    match moves::get(&with.control, tenant.id).await? {
        Some(Move { standing: Standing::Open(_), .. }) => drop_other(with, tenant).await,
        _ => Ok(()),
    }
}

/// Leaves nothing of a tenant in its other place, if it has one.
pub(crate) async fn drop_other(with: &Provisioner, tenant: &Tenant) -> Result<()> {
    online::end(with, tenant).await?;
    let Some(other) = moves::get(&with.control, tenant.id).await? else { return Ok(()) };
    let (cluster, there) = (registered(with, &other.place).await?, tenant.at(&other.place));
    steps::drop_schema(with, &cluster, &there).await?;
    steps::drop_database(with, &cluster, &there).await?;
    steps::drop_roles(with, &cluster, &there).await?;
    let mut change = with.control.change(&with.actor).await?;
    moves::forget(&mut change, tenant.id).await?;
    Ok(change.commit().await?)
}

async fn registered(with: &Provisioner, place: &Place) -> Result<Cluster> {
    let cluster = clusters::get(&with.control, place.cluster).await?;
    cluster.ok_or_else(|| Error::Conflict(clusters::unknown_cluster(&place.cluster_name)))
}
