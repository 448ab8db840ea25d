//! Makes a control database, and prepares a cluster to hold tenants. The only code that acts as a superuser.
//!
//! The superuser's credential is used once and kept nowhere. All of it can be run again.

use serde_json::json;
use strowger::control::clusters::{self, Address, Cluster, Isolation, NewCluster, Tls};
use strowger::control::keys::{self, Ring};
use strowger::control::tokens::{self, NewKey};
use strowger::control::{Actor, Control, installation};
use strowger::id::Prefix;
use strowger::vault::{DataKey, MasterRing, Scope, Secret, SigningSecret, WrappedKey};
use tokio_postgres::Client;

use crate::admin_db::{self, AdminDb, ident, literal};
use crate::error::{Error, Result};
use crate::{Provisioner, scram, steps};

mod embedded_migrations {
    refinery::embed_migrations!("../control-migrations");
}

/// A superuser's way into a server that is to be prepared.
pub struct Superuser {
    /// Where.
    pub address: Address,
    /// Its name.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

impl Superuser {
    /// From a libpq URL, as operators have it. `sslmode` and multi-host lists go into the address.
    pub fn from_url(url: &str) -> Result<Self> {
        let bad = |why: &str| Error::Conflict(format!("the superuser URL {why}"));
        let verify = url.contains("sslmode=verify-full");
        // libpq's word for it is not known to the parser; encryption is chosen by the address.
        let config: std::result::Result<tokio_postgres::Config, _> =
            url.replace("sslmode=verify-full", "sslmode=require").parse();
        let config = config.map_err(|_| bad("is not postgres://user:password@host:port/"))?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require && !verify {
            return Err(bad(
                "must say sslmode=verify-full to be encrypted: less would not tell the server from an impostor",
            ));
        }
        let hosts: Vec<String> = config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(host) => Ok(host.clone()),
                tokio_postgres::config::Host::Unix(_) => Err(bad("must name a host, not a socket folder")),
            })
            .collect::<Result<_>>()?;
        let local = hosts.iter().all(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"));
        if !verify && !local && !url.contains("sslmode=disable") {
            return Err(bad("must say sslmode=verify-full, or sslmode=disable for a network that nobody else is on"));
        }
        if config.get_ports().windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(bad("must name the same port for each host"));
        }
        let tls = if verify { Tls::VerifyFull(None) } else { Tls::Disable };
        Ok(Self {
            address: Address { host: hosts.join(","), port: config.get_ports().first().copied().unwrap_or(5432), tls },
            user: config.get_user().ok_or_else(|| bad("has no user"))?.to_owned(),
            password: Secret::new(config.get_password().unwrap_or_default().to_vec()),
        })
    }

    async fn connect(&self, database: &str) -> Result<Client> {
        let config = admin_db::login(&self.address, &self.user, &self.password, database);
        admin_db::connect(config, &self.address, &format!("database {database} as {}", self.user)).await
    }

    fn url(&self, user: &str, password: &Secret, database: &str) -> String {
        let Address { host, port, tls } = &self.address;
        let hosts: Vec<String> = host.split(',').map(|host| format!("{host}:{port}")).collect();
        let mode = if *tls == Tls::Disable { "disable" } else { "verify-full" };
        let password = password.expose_str().unwrap_or_default();
        format!("postgres://{user}:{password}@{}/{database}?sslmode={mode}", hosts.join(","))
    }
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
    let [owner, server, database] = ["control", "server", "control"].map(|what| prefix.name(what));
    let (owner_password, server_password) = (Secret::random_password(), Secret::random_password());
    let super_db = at.connect("postgres").await?;
    refuse_other_rings(at, &super_db, &database, server_ring, admin_ring).await?;
    ensure_login(&super_db, &owner, "", &owner_password).await?;
    ensure_login(&super_db, &server, "connection limit 200", &server_password).await?;
    if row(&super_db, "select 1 from pg_database where datname = $1", &database).await?.is_none() {
        run(&super_db, &format!("create database {} owner {}", ident(&database), ident(&owner))).await?;
    }
    shut_out_public(&super_db, None).await?;
    run(&super_db, &format!("revoke all on database {} from public", ident(&database))).await?;
    run(&super_db, &format!("grant connect on database {} to {}", ident(&database), ident(&server))).await?;

    let mut owner_db = admin_db::connect(
        admin_db::login(&at.address, &owner, &owner_password, &database),
        &at.address,
        "the new control database",
    )
    .await?;
    migrate(&mut owner_db).await?;
    run(&owner_db, &server_grants(&ident(&server))).await?;
    let urls = ControlUrls {
        provisioner: at.url(&owner, &owner_password, &database),
        server: at.url(&server, &server_password, &database),
    };
    let control = Control::lazy(&urls.provisioner, "strowgerctl init", 1)?;
    let mut change = control.change(actor).await?;
    installation::create(&mut change, prefix).await?;
    change.commit().await?;
    first_keys(&control, server_ring, admin_ring, actor).await?;
    control.close().await;
    Ok(urls)
}

/// A control database that is there already can only be initialised again by who holds its rings.
async fn refuse_other_rings(
    at: &Superuser,
    super_db: &Client,
    database: &str,
    server_ring: &MasterRing,
    admin_ring: &MasterRing,
) -> Result<()> {
    if row(super_db, "select 1 from pg_database where datname = $1", database).await?.is_none() {
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

/// Brings the control database's tables up to date, one process at a time: refinery takes no lock of its own.
async fn migrate(db: &mut Client) -> Result<()> {
    run(db, "select pg_advisory_lock(7305)").await?;
    let done = embedded_migrations::migrations::runner().run_async(db).await;
    run(db, "select pg_advisory_unlock(7305)").await?;
    done.map(drop).map_err(|error| Error::Conflict(format!("migrate the control database: {error}")))
}

/// What the internet-facing server may do in the control database: read, acknowledge, ask for a repair.
fn server_grants(server: &str) -> String {
    format!(
        "revoke all on schema public from public;
         revoke all on all tables in schema public from {server};
         grant usage on schema public to {server};
         grant select on installation, platform_settings, clusters, tenants, placements, data_keys, accounts, numbers, secrets to {server};
         grant select (kid, algorithm, public_key, sealed_secret, state, created_at) on signing_keys to {server};
         grant insert on acknowledgements to {server};
         grant execute on function request_repair(integer) to {server};"
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

/// A cluster to be prepared and registered.
pub struct ClusterSpec<'a> {
    /// The operator's name for it.
    pub name: &'a str,
    /// What it is to hold.
    pub holds: Isolation,
    /// A label for choosing.
    pub region: &'a str,
    /// What all instances together may hold open there.
    pub connection_budget: u32,
}

/// Prepares a server (admin role, template database, shared database, nothing for PUBLIC) and registers it.
pub async fn add_cluster(with: &Provisioner, at: &Superuser, spec: &ClusterSpec<'_>) -> Result<()> {
    let prefix = &with.installation.prefix;
    refuse_contradiction(with, at, spec).await?;
    let super_db = at.connect("postgres").await?;
    refuse_unfit(&super_db, prefix).await?;
    let [admin, login] = ["admin", "admin_a"].map(|what| prefix.name(what));
    let password = Secret::random_password();
    if row(&super_db, "select 1 from pg_roles where rolname = $1", &admin).await?.is_none() {
        run(&super_db, &format!("create role {} nologin createrole createdb", ident(&admin))).await?;
    }
    ensure_login(&super_db, &login, "", &password).await?;
    run(
        &super_db,
        &format!("grant {admin} to {}; grant pg_signal_backend to {admin}", ident(&login), admin = ident(&admin)),
    )
    .await?;
    shut_out_public(&super_db, Some(&admin)).await?;
    make_template(at, &super_db, prefix).await?;

    let admin_key = with.platform_key(Ring::Admin).await?;
    let mut change = with.control.change(&with.actor).await?;
    let new = NewCluster {
        name: spec.name,
        holds: spec.holds,
        region: spec.region,
        address: &at.address,
        connection_budget: spec.connection_budget,
        admin_login: &login,
        admin_password: &admin_key.seal(&login, password.expose()),
    };
    let id = clusters::put(&mut change, &new).await?;
    change.commit().await?;
    if spec.holds == Isolation::Schema {
        let cluster = clusters::get(&with.control, id).await?;
        prepare_shared(with, &cluster.ok_or_else(|| Error::Conflict("the cluster was removed meanwhile".into()))?)
            .await?;
    }
    Ok(())
}

/// A server has one name, and a name one kind.
async fn refuse_contradiction(with: &Provisioner, at: &Superuser, spec: &ClusterSpec<'_>) -> Result<()> {
    let shaped = spec.name.starts_with(|c: char| c.is_ascii_lowercase())
        && spec.name.len() <= 31
        && spec.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !shaped {
        return Err(Error::Conflict("a cluster's name is up to 31 of a-z, 0-9, - and starts with a letter".into()));
    }
    for known in clusters::list(&with.control).await? {
        if known.name == spec.name && known.kind != spec.holds.cluster_kind() {
            return Err(Error::Conflict(format!("cluster {} is {} and stays so", known.name, known.kind)));
        }
        if known.name != spec.name && known.address.host == at.address.host && known.address.port == at.address.port {
            return Err(Error::Conflict(format!("this server is registered already, as cluster {}", known.name)));
        }
    }
    Ok(())
}

/// The database of a shared cluster, and the group that may connect to it.
async fn prepare_shared(with: &Provisioner, cluster: &Cluster) -> Result<()> {
    let prefix = &with.installation.prefix;
    let db = AdminDb::open(with, cluster, steps::MAINTENANCE_DATABASE).await?;
    let (database, group) = (Cluster::shared_database(prefix), steps::shared_group(with));
    if !db.exists("select 1 from pg_roles where rolname = $1", &group).await? {
        db.run(&format!("create role {} nologin", ident(&group))).await?;
    }
    steps::clone_template(&db, prefix, &database).await?;
    db.run(&format!("grant connect on database {} to {}", ident(&database), ident(&group))).await?;
    db.run(&format!("alter database {} with allow_connections true", ident(&database))).await
}

/// Settings without which callers' words could reach a server log, and the cluster that must stay apart.
async fn refuse_unfit(db: &Client, prefix: &Prefix) -> Result<()> {
    const NEEDED: [(&str, &str); 7] = [
        ("log_error_verbosity", "terse"),
        ("log_min_error_statement", "panic"),
        ("log_statement", "none"),
        ("log_min_duration_statement", "-1"),
        ("log_min_duration_sample", "-1"),
        ("password_encryption", "scram-sha-256"),
        // A prepared transaction outlives its session and the worker's limit on the age of tenants' transactions.
        ("max_prepared_transactions", "0"),
    ];
    let mut unfit = Vec::new();
    for (name, needed) in NEEDED {
        let found = row(db, "select setting from pg_settings where name = $1", name).await?;
        if found.is_none_or(|row| row.get::<_, String>(0) != needed) {
            unfit.push(format!("  alter system set {name} = '{needed}';"));
        }
    }
    if !unfit.is_empty() {
        return Err(Error::Conflict(format!(
            "this server's settings could bring callers' words into its log, or outlive our limits. As superuser, one statement at a \
             time:\n{}\n  select pg_reload_conf();\n(max_prepared_transactions needs a restart.)",
            unfit.join("\n")
        )));
    }
    if row(db, "select 1 from pg_database where datname = $1", &prefix.name("control")).await?.is_some() {
        let why = "the control database has a cluster of its own: a tenant's login could exhaust the server it shares";
        return Err(Error::Conflict(why.into()));
    }
    // `shut_out_public` closes these two.
    let open = "select datname::text from pg_database where datallowconn and datname not in ('postgres', 'template1')
                and has_database_privilege('public', oid, 'connect, temporary') limit 1";
    if let Some(row) = db.query_opt(open, &[]).await.map_err(Error::postgres("inspect the server"))? {
        let name = ident(row.get(0));
        let fix = format!("revoke all on database {name} from public; (first grant connect to those who need it)");
        return Err(Error::Conflict(format!(
            "every login can connect to database {name} here. Run as superuser: {fix}"
        )));
    }
    Ok(())
}

/// Functions of `pg_catalog` that no tenant's login may call (a regular expression over their names): with them one tenant
/// could lock, signal or store for another, or watch what goes on beside it. All that a server offers to everybody else
/// stands in tests/it/isolation/functions.rs, and a function that a new Postgres brings fails the test until it is judged.
const CLOSED_FUNCTIONS: &str = "advisory|^lo_|^pg_stat_get_|^(loread|lowrite|pg_notify|pg_logical_emit_message|pg_export_snapshot\
    |pg_listening_channels|pg_notification_queue_usage|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids\
    |pg_isolation_test_session_is_blocked|pg_prepared_xact|pg_get_replication_slots|pg_relation_size|pg_table_size\
    |pg_indexes_size|pg_total_relation_size|pg_database_size|pg_tablespace_size|pg_tablespace_databases|pg_control_.*\
    |pg_current_wal_.*|pg_last_.*|pg_get_multixact_members|pg_xact_.*|txid_status)$";

/// The database that every tenant database is cloned from: what one tenant could use to watch, lock or talk to another is
/// taken from PUBLIC. Only a superuser can do that, and a clone keeps it.
async fn make_template(at: &Superuser, super_db: &Client, prefix: &Prefix) -> Result<()> {
    let (template, admin) = (prefix.name("template"), prefix.name("admin"));
    if row(super_db, "select 1 from pg_database where datname = $1", &template).await?.is_none() {
        let create = format!("create database {} owner {} allow_connections false", ident(&template), ident(&admin));
        run(super_db, &create).await?;
    }
    run(super_db, &format!("revoke all on database {} from public", ident(&template))).await?;
    run(super_db, &format!("alter database {} with allow_connections true is_template true", ident(&template))).await?;
    let db = at.connect(&template).await?;
    run(&db, "revoke all on schema public from public; revoke usage on language plpgsql from public").await?;
    run(
        &db,
        &format!(
            "do $$ declare f regprocedure; begin
               for f in select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ {}
               loop
                 execute format('revoke execute on function %s from public', f);
                 execute format('grant execute on function %s to %I', f, {});
               end loop; end $$",
            literal(CLOSED_FUNCTIONS),
            literal(&admin)
        ),
    )
    .await?;
    drop(db);
    run(super_db, &format!("alter database {} with allow_connections false", ident(&template))).await
}

/// Closes the databases that every server has. One at a time: of two concurrent changes of their rights one would fail.
async fn shut_out_public(db: &Client, admin: Option<&str>) -> Result<()> {
    let mut sql = "begin; select pg_advisory_xact_lock(7305);".to_owned();
    for database in ["postgres", "template1"] {
        sql.push_str(&format!("revoke all on database {database} from public;"));
        if let Some(admin) = admin {
            sql.push_str(&format!("grant connect on database {database} to {};", ident(admin)));
        }
    }
    run(db, &(sql + "commit")).await
}

async fn ensure_login(db: &Client, role: &str, attributes: &str, password: &Secret) -> Result<()> {
    let verb =
        if row(db, "select 1 from pg_roles where rolname = $1", role).await?.is_none() { "create" } else { "alter" };
    let verifier = literal(&scram::verifier(password)?);
    run(db, &format!("{verb} role {} login {attributes} password {verifier}", ident(role))).await
}

async fn run(db: &Client, sql: &str) -> Result<()> {
    db.batch_execute(sql).await.map_err(Error::postgres("prepare the server"))
}

async fn row(db: &Client, sql: &str, name: &str) -> Result<Option<tokio_postgres::Row>> {
    db.query_opt(sql, &[&name]).await.map_err(Error::postgres("inspect the server"))
}

/// Follows the private clusters to the ports they came up on.
pub(crate) async fn follow_ports(with: &Provisioner, ports: &[(&str, u16)]) -> Result<()> {
    for cluster in clusters::list(&with.control).await? {
        let moved = ports.iter().find(|(name, port)| *name == cluster.name && *port != cluster.address.port);
        if let Some((name, port)) = moved {
            let mut change = with.control.change(&with.actor).await?;
            clusters::set_port(&mut change, name, *port).await?;
            change.commit().await?;
            tracing::info!(cluster = name, detail = %json!({ "port": port }), "a private cluster has a new port");
        }
    }
    Ok(())
}
