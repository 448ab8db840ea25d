//! The control database: created once, its two logins, tables, grants and first keys.
//!
//! Three roles: the provisioner's login owns all tables but those of the audit log, the server's login reads, and a role
//! that nobody logs in as owns the database, its schema and the audit log. Owning the schema would be enough to drop a
//! table in it, so the provisioner's login owns neither.

use super::{Superuser, ensure_login, row, run, shut_out_public};
use crate::admin_db::ident;
use crate::error::{Error, Result};
use crate::shipped;
use refinery::Target;
use strowger::control::keys::{self, Ring};
use strowger::control::tokens::{self, NewKey};
use strowger::control::{Actor, Control, installation};
use strowger::id::Prefix;
use strowger::vault::{DataKey, MasterRing, Scope, Secret, SigningSecret, WrappedKey};
use tokio_postgres::Client;

mod embedded_migrations {
    refinery::embed_migrations!("../control-migrations");
}

/// The two ways into a control database.
pub struct ControlUrls {
    /// For the provisioner.
    pub provisioner: String,
    /// For the server: may read most of it and change almost none.
    pub server: String,
}

/// Creates the control database, its two logins, its tables and its first keys; or gives both logins new passwords.
pub async fn init(
    at: &Superuser,
    prefix: &Prefix,
    server_ring: &MasterRing,
    admin_ring: &MasterRing,
    actor: &Actor,
) -> Result<ControlUrls> {
    refuse_other_rings(at, &Names::of(prefix).database, server_ring, admin_ring).await?;
    let urls = logins(at, prefix).await?;
    upgrade(at, prefix).await?;
    let control = Control::lazy(&urls.provisioner, "strowgerctl init", 1)?;
    let mut change = control.change(actor).await?;
    installation::create(&mut change, prefix).await?;
    change.commit().await?;
    first_keys(&control, server_ring, admin_ring, actor).await?;
    shipped::import(&control, actor).await?;
    control.close().await;
    Ok(urls)
}

/// Gives both logins new passwords, making them if need be.
pub(crate) async fn logins(at: &Superuser, prefix: &Prefix) -> Result<ControlUrls> {
    let Names { provisioner, server, database, .. } = Names::of(prefix);
    let (owner_password, server_password) = (Secret::random_password(), Secret::random_password());
    let super_db = at.connect("postgres").await?;
    ensure_login(&super_db, &provisioner, "", &owner_password).await?;
    ensure_login(&super_db, &server, "connection limit 200", &server_password).await?;
    Ok(ControlUrls {
        provisioner: at.url(&provisioner, &owner_password, &database),
        server: at.url(&server, &server_password, &database),
    })
}

/// What the control database and its roles are called.
struct Names {
    provisioner: String,
    server: String,
    /// Owns the database, its schema and the audit log; nobody logs in as it or is a member of it.
    keeper: String,
    database: String,
}

impl Names {
    fn of(prefix: &Prefix) -> Self {
        let [provisioner, server, keeper, database] =
            ["control", "server", "audit", "control"].map(|what| prefix.name(what));
        Self { provisioner, server, keeper, database }
    }
}

/// Brings the control database of an installation to what this build needs: made if need be, its tables, who owns and
/// who may do what. Changes no password; the logins are there already.
pub async fn upgrade(at: &Superuser, prefix: &Prefix) -> Result<()> {
    let db = tables(at, prefix, Target::Latest).await?;
    let names = Names::of(prefix);
    let held = row(&db, "select 1 from installation where $1 <> '' and reconciling_since is not null", "-").await?;
    let grants = if held.is_some() { server_barred(prefix) } else { server_grants(prefix) };
    run(&db, &grants).await?;
    run(&db, &audit_grants(&names)).await
}

/// The control database with its tables as they were at a version, and nobody's rights in it yet: for a copy of that version.
pub(crate) async fn tables_of(at: &Superuser, prefix: &Prefix, version: i32) -> Result<Client> {
    tables(at, prefix, Target::Version(version)).await
}

async fn tables(at: &Superuser, prefix: &Prefix, target: Target) -> Result<Client> {
    let names = Names::of(prefix);
    let Names { provisioner, server, keeper, database } = &names;
    let super_db = at.connect("postgres").await?;
    if row(&super_db, "select 1 from pg_roles where rolname = $1", keeper).await?.is_none() {
        run(&super_db, &format!("create role {} nologin", ident(keeper))).await?;
    }
    let owns = "select pg_get_userbyid(datdba)::text from pg_database where datname = $1";
    let verb = match row(&super_db, owns, database).await? {
        None => Some("create"),
        Some(found) => (found.get::<_, String>(0) != *keeper).then_some("alter"),
    };
    if let Some(verb) = verb {
        let to = if verb == "create" { "owner" } else { "owner to" };
        run(&super_db, &format!("{verb} database {} {to} {}", ident(database), ident(keeper))).await?;
    }
    shut_out_public(&super_db, None).await?;
    run(&super_db, &format!("revoke all on database {} from public", ident(database))).await?;
    let logins = [provisioner, server].map(|login| ident(login)).join(", ");
    run(&super_db, &format!("grant connect on database {} to {logins}", ident(database))).await?;

    let mut db = at.connect(database).await?;
    // One process at a time: refinery takes no lock of its own, and of two concurrent changes of a right one fails. The lock ends
    // with this session.
    run(&db, "select pg_advisory_lock(7305)").await?;
    run(&db, &schema_grants(&names)).await?;
    run(&db, &format!("set role {}", ident(provisioner))).await?;
    migrate(&mut db, target).await?;
    run(&db, "reset role").await?;
    Ok(db)
}

/// A control database that is there already can only be initialised again by who holds its rings.
async fn refuse_other_rings(
    at: &Superuser,
    database: &str,
    server_ring: &MasterRing,
    admin_ring: &MasterRing,
) -> Result<()> {
    let super_db = at.connect("postgres").await?;
    if row(&super_db, "select 1 from pg_database where datname = $1", database).await?.is_none() {
        return Ok(());
    }
    let db = at.connect(database).await?;
    if row(&db, "select 1 from pg_tables where tablename = $1", "data_keys").await?.is_none() {
        return Ok(());
    }
    for (name, ring) in [("server", server_ring), ("admin", admin_ring)] {
        let sql = "select version, wrapped from data_keys where tenant_id is null and ring = $1 order by version desc limit 1";
        let Some(found) = row(&db, sql, name).await? else { continue };
        let version: i32 = found.get(0);
        let wrapped = WrappedKey { version: version.unsigned_abs(), bytes: found.get(1) };
        if ring.unwrap_data_key(Scope::Platform, &wrapped).is_err() {
            return Err(Error::Conflict(format!(
                "this server has a control database already, and the {name} ring does not open it: give --out the folder with its rings"
            )));
        }
    }
    Ok(())
}

async fn migrate(db: &mut Client, target: Target) -> Result<()> {
    let done = embedded_migrations::migrations::runner().set_target(target).run_async(db).await;
    done.map(drop).map_err(|error| Error::Conflict(format!("migrate the control database: {error}")))
}

/// Who may name and who may make things in the one schema.
fn schema_grants(names: &Names) -> String {
    format!(
        "revoke all on schema public from public;
         grant usage, create on schema public to {};
         grant usage on schema public to {}",
        ident(&names.provisioner),
        ident(&names.keeper)
    )
}

/// The audit log goes to its keeper; the provisioner's login may append what it says of itself, and read.
fn audit_grants(names: &Names) -> String {
    let (keeper, provisioner) = (ident(&names.keeper), ident(&names.provisioner));
    format!(
        "alter table audit owner to {keeper};
         alter table audit_heads owner to {keeper};
         alter function audit_field(text) owner to {keeper};
         alter function audit_hash(audit) owner to {keeper};
         alter function audit_append() owner to {keeper};
         revoke all on function audit_append() from public;
         revoke all on audit, audit_heads from {provisioner};
         grant select on audit, audit_heads to {provisioner};
         grant select on sequence audit_id_seq to {provisioner};
         grant insert (actor, action, tenant_id, detail) on audit to {provisioner}"
    )
}

/// What the internet-facing server may do in the control database: read, count what the model is used for, queue and do
/// its own work, acknowledge, ask for a repair.
pub(crate) fn server_grants(prefix: &Prefix) -> String {
    let server = &ident(&Names::of(prefix).server);
    format!(
        "revoke all on all tables in schema public from {server};
         grant usage on schema public to {server};
         grant select on installation, platform_settings, clusters, tenants, placements, data_keys, accounts, numbers, secrets,
             tenant_profiles, models, published_playbooks to {server};
         grant select (name, version, authored) on profile_templates to {server};
         grant select (kid, algorithm, public_key, sealed_secret, state, created_at, legacy, legacy_tenants) on signing_keys to {server};
         grant select, insert, update on token_budgets, usage, work_turns to {server};
         grant select, insert, update, delete on work_items to {server};
         grant insert on acknowledgements to {server};
         grant execute on function request_job(text, integer) to {server};"
    )
}

/// What is left of that while a control database that was restored is compared with the clusters: nothing of tenants.
pub(crate) fn server_barred(prefix: &Prefix) -> String {
    let server = &ident(&Names::of(prefix).server);
    format!(
        "revoke all on all tables in schema public from {server};
         revoke execute on function request_job(text, integer) from {server};
         grant usage on schema public to {server};
         grant select on installation to {server};
         grant insert on acknowledgements to {server};"
    )
}

/// The platform's data key under each ring, and a key that signs tokens.
async fn first_keys(control: &Control, server_ring: &MasterRing, admin_ring: &MasterRing, actor: &Actor) -> Result<()> {
    for (which, ring) in [(Ring::Server, server_ring), (Ring::Admin, admin_ring)] {
        if keys::newest(control, Scope::Platform, which).await?.is_some() {
            continue;
        }
        let (key, wrapped) = ring.new_data_key(Scope::Platform, 1);
        let mut change = control.change(actor).await?;
        keys::create(&mut change, Scope::Platform, which, &wrapped).await?;
        if which == Ring::Admin {
            let pair = SigningPair::generate(&key, "ed-1")?;
            tokens::add(&mut change, "ed-1", &pair.as_new()).await?;
        }
        change.commit().await?;
    }
    Ok(())
}

/// A new Ed25519 key pair, its private half sealed.
pub(crate) struct SigningPair {
    public: Vec<u8>,
    private: strowger::vault::Sealed<SigningSecret>,
}

impl SigningPair {
    pub(crate) fn generate(admin_key: &DataKey, kid: &str) -> Result<Self> {
        use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
        let random = |_| Error::Unavailable("the system gives no random numbers".into());
        let pair = Ed25519KeyPair::generate().map_err(random)?;
        let pkcs8 = zeroize::Zeroizing::new(pair.to_pkcs8v1().map_err(random)?.as_ref().to_vec());
        Ok(Self { public: pair.public_key().as_ref().to_vec(), private: admin_key.seal(kid, &pkcs8) })
    }

    pub(crate) fn as_new(&self) -> NewKey<'_> {
        NewKey::EdDsa { public: &self.public, private: &self.private }
    }
}
