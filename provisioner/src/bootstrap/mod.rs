//! Makes a control database, and prepares a cluster to hold tenants. Acts as a superuser, as else only `replication` does.
//!
//! The superuser's credential is used once and kept nowhere; where an operator wants online moves, a login that may replicate is sealed. All of it can be run again.

mod cluster;
mod control;
mod online;

use strowger::control::clusters::{Address, Tls};
use strowger::vault::Secret;
use tokio_postgres::Client;

use crate::admin_db::{self, ident, literal};
use crate::error::{Error, Result};
use crate::scram;

pub(crate) use cluster::{CLOSED_FUNCTIONS, SETTINGS, follow_ports};
pub use cluster::{ClusterSpec, add_cluster};
pub use control::{ControlUrls, init, upgrade};
pub(crate) use control::{SigningPair, logins, server_grants, tables_of};
pub use online::allow_online;

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
        Self::from_url_of("the superuser URL", url)
    }

    /// The same for anybody's URL, called `what` where it is refused.
    pub(crate) fn from_url_of(what: &str, url: &str) -> Result<Self> {
        let bad = |why: &str| Error::Conflict(format!("{what} {why}"));
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

    pub(crate) async fn connect(&self, database: &str) -> Result<Client> {
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
