//! Two logins change turns, and at no moment is a login refused that somebody was told to use.
//!
//! The next one is made and proven while the present one serves; then control hands it out; then, once every running server
//! knows, the former one is refused. Whoever is under way with it ends by itself.

use strowger::control::clusters::{self, Cluster};
use strowger::control::keys::Ring;
use strowger::control::tenants::Tenant;
use strowger::control::turns::{self, Turn, Whose};
use strowger::vault::{DataKey, Scope, Secret};

use super::MAINTENANCE_DATABASE;
use super::roles::{DISARMED, armed, login_sql};
use crate::Provisioner;
use crate::admin_db::{self, AdminDb, ident};
use crate::error::{Error, Result};

/// A pair of logins, and how far their change of turns is.
pub(crate) struct Logins<'p> {
    with: &'p Provisioner,
    cluster: Cluster,
    /// `None`: the provisioner's own.
    tenant: Option<Tenant>,
    turn: Turn,
}

impl<'p> Logins<'p> {
    /// A tenant's.
    pub(crate) async fn of_tenant(with: &'p Provisioner, tenant: &Tenant, cluster: &Cluster) -> Result<Self> {
        let turn = turns::get(&with.control, Whose::Tenant(tenant.id)).await?;
        let turn = turn.ok_or_else(|| Error::Conflict(format!("tenant {} has no placement", tenant.id)))?;
        Ok(Self { with, cluster: cluster.clone(), tenant: Some(tenant.clone()), turn })
    }

    /// The provisioner's own on a cluster.
    pub(crate) async fn of_admin(with: &'p Provisioner, name: &str) -> Result<Self> {
        let cluster = clusters::list(&with.control).await?.into_iter().find(|cluster| cluster.name == name);
        let missing = || Error::Conflict(format!("there is no cluster {name}: see `strowgerctl cluster list`"));
        let cluster = cluster.ok_or_else(missing)?;
        let turn = turns::get(&with.control, Whose::Admin(cluster.id)).await?.ok_or_else(missing)?;
        Ok(Self { with, cluster, tenant: None, turn })
    }

    /// Notes which login comes next. A change of turns that is under way already is gone on with.
    pub(crate) async fn prepare(&self) -> Result<()> {
        if self.turn.next.is_some() || self.turn.retiring.is_some() {
            return Ok(());
        }
        let next = self.other();
        let sealed = self.key().await?.seal(&next, Secret::random_password().expose());
        let mut change = self.with.control.change(&self.with.actor).await?;
        turns::prepare(&mut change, self.whose(), &next, &sealed).await?;
        Ok(change.commit().await?)
    }

    /// Lets the next login in, and logs in with it: what Postgres refuses is never handed out.
    pub(crate) async fn arm(&self) -> Result<()> {
        let Some((next, sealed)) = &self.turn.next else { return Ok(()) };
        // A suspended tenant has no login that works; the next one is armed when it is resumed.
        if self.tenant.as_ref().is_some_and(|tenant| !tenant.state.is_served()) {
            return Ok(());
        }
        let password = self.key().await?.open(next, sealed).map_err(Error::vault(format!("the password of {next}")))?;
        let db = self.open().await?;
        let exists = db.exists("select 1 from pg_roles where rolname = $1", next).await?;
        let credential = armed(&password)?;
        let sql = match &self.tenant {
            Some(tenant) => login_sql(self.with, &db, tenant, next, exists, &credential).await?,
            None => self.admin_sql(next, exists, &credential),
        };
        db.run(&sql).await?;
        self.prove(next, &password).await
    }

    /// Makes one of the admin's logins what it must be. On Postgres 15 the admin itself may.
    fn admin_sql(&self, login: &str, exists: bool, credential: &str) -> String {
        let (role, admin) = (ident(login), ident(&self.with.installation.prefix.name("admin")));
        let create = if exists { String::new() } else { format!("create role {role};\n") };
        format!("{create}alter role {role} {credential};\ngrant {admin} to {role};\n")
    }

    async fn prove(&self, login: &str, password: &Secret) -> Result<()> {
        let address = &self.cluster.address;
        let what = format!("cluster {} as its next login {login}", self.cluster.name);
        let database = self.tenant.as_ref().map_or(MAINTENANCE_DATABASE, |tenant| tenant.database.as_str());
        let db = admin_db::connect(admin_db::login(address, login, password, database), address, &what).await?;
        if self.tenant.is_none() {
            let become_admin = format!("set role {}", ident(&self.with.installation.prefix.name("admin")));
            db.batch_execute(&become_admin).await.map_err(Error::postgres(what))?;
        }
        Ok(())
    }

    /// Hands out the next login from here on.
    pub(crate) async fn switch(&self) -> Result<()> {
        if self.turn.next.is_none() {
            return Ok(());
        }
        let mut change = self.with.control.change(&self.with.actor).await?;
        turns::switch(&mut change, self.whose()).await?;
        Ok(change.commit().await?)
    }

    /// Shuts the retiring login out; its sessions go on.
    pub(crate) async fn disarm(&self) -> Result<()> {
        let Some(retiring) = &self.turn.retiring else { return Ok(()) };
        let db = self.open().await?;
        if db.exists("select 1 from pg_roles where rolname = $1", retiring).await? {
            db.run(&format!("alter role {} {DISARMED}", ident(retiring))).await?;
        }
        Ok(())
    }

    /// Waits until the retired login's sessions have ended, ends those that outstay their grace, and forgets it.
    ///
    /// The admin's are left: they are commands and workers of ours, which end by themselves.
    pub(crate) async fn drain(&self) -> Result<()> {
        let Some(retiring) = &self.turn.retiring else { return Ok(()) };
        if self.tenant.is_some() {
            self.open().await?.drain(std::slice::from_ref(retiring)).await?;
        }
        let mut change = self.with.control.change(&self.with.actor).await?;
        turns::retired(&mut change, self.whose(), retiring).await?;
        Ok(change.commit().await?)
    }

    async fn open(&self) -> Result<AdminDb> {
        match &self.tenant {
            Some(tenant) => AdminDb::open_for(self.with, &self.cluster, MAINTENANCE_DATABASE, tenant).await,
            None => AdminDb::open_for_admin(self.with, &self.cluster, MAINTENANCE_DATABASE).await,
        }
    }

    fn whose(&self) -> Whose {
        self.tenant.as_ref().map_or(Whose::Admin(self.cluster.id), |tenant| Whose::Tenant(tenant.id))
    }

    /// The login whose turn it is not.
    fn other(&self) -> String {
        let prefix = &self.with.installation.prefix;
        let [a, b] = match &self.tenant {
            Some(tenant) => ["a", "b"].map(|turn| prefix.tenant(tenant.id, turn)),
            None => ["admin_a", "admin_b"].map(|what| prefix.name(what)),
        };
        if self.turn.login == a { b } else { a }
    }

    /// The key that seals their passwords.
    async fn key(&self) -> Result<DataKey> {
        match &self.tenant {
            Some(tenant) => self.with.data_key(Scope::Tenant(tenant.id), Ring::Server).await,
            None => self.with.platform_key(Ring::Admin).await,
        }
    }
}
