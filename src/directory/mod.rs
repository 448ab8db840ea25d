//! Cached reads of the control database, with what they seal already opened.
//!
//! | cache | key | stale at most | who invalidates |
//! | --- | --- | --- | --- |
//! | tenants | tenant id | 60 s, or the stale window while control is away | NOTIFY, the sweep of generations, a refused login |
//! | numbers | kind and value | the same; 30 s when absent | NOTIFY, the mirror in the tenant's schema |
//! | accounts | external id | the same | NOTIFY |
//! | signing keys | kid | the same | NOTIFY |
//! | legacy keys | none | the same | NOTIFY |
//! | profile templates | name and version | the same; one in use never changes | none, but it is looked up by a tenant's route |
//! | models | tenant id | the same | NOTIFY, of the platform's too |
//! | the platform's suspended sentence | none | the same | NOTIFY |
//!
//! A good entry is not replaced by an error. An entry that was announced as changed is never served again, not even while
//! the control database is away: that is failing closed.

mod cache;
mod outage;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast};

use crate::clock::Clock;
use crate::control::models::{self, Effective, SealedKey};
use crate::control::numbers::NumberRow;
use crate::control::placements::Placement;
use crate::control::tokens::{LegacyFor, StoredKey};
use crate::control::{self, Control, ControlError};
use crate::id::{AccountSid, TenantId};
use crate::phone::Number;
use crate::profile::{BadTemplate, Template, TemplateName};
use crate::vault::{DataKey, MasterRing, Scope, Sealed, Secret, SigningSecret, VaultError, WrappedKey};

use cache::Cache;
use outage::Outage;
pub use watch::watch;

/// Why the directory has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The control database is away and nothing cached may be served.
    #[error("the control database cannot be asked: {0}")]
    Control(Arc<ControlError>),
    /// A profile template in use is not one that this build can read.
    #[error("the profile template {name} cannot be read: {error}")]
    Template {
        /// Which.
        name: TemplateName,
        /// Why.
        error: BadTemplate,
    },
    /// A secret does not open: the wrong ring, or a row that was tampered with.
    #[error("a sealed value of {what} does not open: {error}")]
    Vault {
        /// Whose or which.
        what: String,
        /// What the vault said.
        error: VaultError,
    },
}

impl From<ControlError> for DirectoryError {
    fn from(error: ControlError) -> Self {
        Self::Control(Arc::new(error))
    }
}

/// Everything needed to open connections to one tenant.
pub struct Route {
    /// Where.
    pub placement: Placement,
    /// The login role's password.
    pub password: Secret,
    /// Seals what of the tenant's waits in control.
    pub key: DataKey,
}

/// A provider account with its opened token.
pub struct Account {
    /// Whose it is.
    pub owner: Scope,
    /// Signs its webhooks.
    pub token: Secret,
}

/// What verifies tokens of one key id.
pub enum VerifyingKey {
    /// A shared secret.
    Hs256(Secret),
    /// An Ed25519 public key.
    EdDsa(Vec<u8>),
}

/// What verifies tokens without a key id.
pub struct LegacyKey {
    /// A shared secret.
    pub secret: Secret,
    /// Whose tokens it may sign.
    pub of: LegacyFor,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Staleness {
    /// How long an entry is served without asking again.
    pub fresh: Duration,
    /// How long it is served while the control database is away.
    pub window: Duration,
    /// How long "there is no such thing" is believed.
    pub absent: Duration,
}

impl Default for Staleness {
    fn default() -> Self {
        Self { fresh: Duration::from_secs(60), window: Duration::from_secs(600), absent: Duration::from_secs(30) }
    }
}

/// The directory. One for a process, behind an [`Arc`].
pub struct Directory {
    control: Control,
    ring: MasterRing,
    tenants: Cache<TenantId, Route>,
    numbers: Cache<Number, NumberRow>,
    accounts: Cache<AccountSid, Account>,
    keys: Cache<String, VerifyingKey>,
    legacy_keys: Cache<(), Vec<LegacyKey>>,
    sentence: Cache<(), String>,
    templates: Cache<TemplateName, Template>,
    models: Cache<TenantId, Effective>,
    outage: Arc<Outage>,
    changed: broadcast::Sender<TenantId>,
    work: Notify,
}

/// So many announced changes of tenants may wait for whoever follows them.
const CHANGES_KEPT: usize = 1024;

impl Directory {
    /// An empty directory over a control database, opening secrets with `ring`.
    pub fn new(control: Control, ring: MasterRing, clock: &Clock, keep: Staleness) -> Self {
        let outage = Arc::new(Outage::new(clock));
        Self {
            control,
            ring,
            tenants: Cache::new(100_000, clock, keep, &outage),
            numbers: Cache::new(200_000, clock, keep, &outage),
            accounts: Cache::new(10_000, clock, keep, &outage),
            keys: Cache::new(100, clock, keep, &outage),
            legacy_keys: Cache::new(1, clock, keep, &outage),
            sentence: Cache::new(1, clock, keep, &outage),
            templates: Cache::new(1000, clock, keep, &outage),
            models: Cache::new(100_000, clock, keep, &outage),
            outage,
            changed: broadcast::Sender::new(CHANGES_KEPT),
            work: Notify::new(),
        }
    }

    /// Tenants that are announced as changed from here on, each after what was cached of it is gone.
    pub fn changed_tenants(&self) -> broadcast::Receiver<TenantId> {
        self.changed.subscribe()
    }

    /// Returns when durable work was announced since the last time.
    pub async fn work_announced(&self) {
        self.work.notified().await;
    }

    /// Asks control something that is not cached. While it is away, this says so at once and not after a wait of its own.
    pub async fn ask<T>(&self, question: impl Future<Output = Result<T, ControlError>>) -> Result<T, DirectoryError> {
        let asked_at = self.outage.may_ask()?;
        let answer = question.await.map_err(DirectoryError::from);
        self.outage.note(asked_at, &answer);
        answer
    }

    /// The control database below, for the few writes a server makes.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// How to reach a tenant, in whatever state it is; `None` if there is no such tenant.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<Arc<Route>>, DirectoryError> {
        self.tenants.get(&id, || self.load_tenant(id)).await
    }

    /// Asks again, because Postgres refused what `seen` said. Concurrent callers share one question.
    pub async fn tenant_after(&self, seen: &Arc<Route>) -> Result<Option<Arc<Route>>, DirectoryError> {
        let id = seen.placement.tenant;
        self.tenants.get_other_than(Some(seen), &id, || self.load_tenant(id)).await
    }

    /// Who answers a number; `None` for one that nobody has ever had.
    pub async fn number(&self, number: &Number) -> Result<Option<Arc<NumberRow>>, DirectoryError> {
        self.numbers.get(number, || self.load_number(number)).await
    }

    /// Asks again, because the tenant's own schema says the number is not its.
    pub async fn number_after(&self, seen: &NumberRow) -> Result<Option<Arc<NumberRow>>, DirectoryError> {
        self.numbers.invalidate(&seen.number);
        self.number(&seen.number).await
    }

    /// The account that a webhook claims to come from.
    pub async fn account(&self, id: &AccountSid) -> Result<Option<Arc<Account>>, DirectoryError> {
        self.accounts.get(id, || self.load_account(id)).await
    }

    /// What verifies tokens of a key id; `None` for an unknown or retired one.
    pub async fn verifying_key(&self, kid: &str) -> Result<Option<Arc<VerifyingKey>>, DirectoryError> {
        self.keys.get(&kid.to_owned(), || self.load_key(kid)).await
    }

    /// What verifies tokens without a key id; usually nothing does.
    pub async fn legacy_keys(&self) -> Result<Option<Arc<Vec<LegacyKey>>>, DirectoryError> {
        self.legacy_keys.get(&(), async || self.load_legacy_keys().await.map(Some)).await
    }

    /// What callers of a tenant hear while it takes no calls: its own sentence, else the platform's.
    pub async fn suspended_sentence(&self, tenant: TenantId) -> Result<Option<String>, DirectoryError> {
        let own = self.tenant(tenant).await?.and_then(|route| route.placement.suspended_sentence.clone());
        if own.is_some() {
            return Ok(own);
        }
        let platforms = || async { Ok(control::installation::suspended_sentence(&self.control).await?) };
        Ok(self.sentence.get(&(), platforms).await?.map(|sentence| sentence.as_str().to_owned()))
    }

    /// What a tenant's callers are held to; `None` for a tenant that is bound to nothing.
    ///
    /// Callers are validated and stored by what the tenant is bound to, or not at all: a template that is not there is an error.
    pub async fn template_of(&self, tenant: TenantId) -> Result<Option<Arc<Template>>, DirectoryError> {
        let Some(route) = self.tenant(tenant).await? else { return Ok(None) };
        let Some(name) = &route.placement.template else { return Ok(None) };
        let found = self.templates.get(name, || self.load_template(name)).await?;
        found.map(Some).ok_or_else(|| DirectoryError::Template {
            name: name.clone(),
            error: BadTemplate::File("it is not there".to_owned()),
        })
    }

    async fn load_template(&self, name: &TemplateName) -> Result<Option<Template>, DirectoryError> {
        let Some(authored) = control::profiles::authored(&self.control, name).await? else { return Ok(None) };
        let unreadable = |error| DirectoryError::Template { name: name.clone(), error };
        Template::parse(&authored).map(Some).map_err(unreadable)
    }

    /// Which model a tenant uses; its key stays sealed here.
    pub async fn model(&self, id: TenantId) -> Result<Option<Arc<Effective>>, DirectoryError> {
        self.models.get(&id, async || Ok(models::effective(&self.control, id).await?)).await
    }

    /// Opens the key of `id`'s model, for one call.
    pub fn open_model_key(&self, id: TenantId, key: &SealedKey) -> Result<Secret, DirectoryError> {
        let refused = |error| {
            // A master key that was taken off the ring since may have wrapped what is cached.
            self.models.invalidate(&id);
            let whose = key.of.tenant().map_or_else(|| "the platform".to_owned(), |id| format!("tenant {id}"));
            DirectoryError::Vault { what: format!("{whose}, {}", models::KEY_NAME), error }
        };
        let opened = self.ring.unwrap_data_key(key.of, &key.data_key).map_err(refused)?;
        opened.open(models::KEY_NAME, &key.sealed).map_err(refused)
    }

    /// The number, and what will be asked next: whoever answers it, if that is not cached.
    async fn load_number(&self, number: &Number) -> Result<Option<NumberRow>, DirectoryError> {
        let before = self.tenants.invalidations();
        let Some((row, route)) = control::numbers::get_with_route(&self.control, number).await? else {
            return Ok(None);
        };
        // A route that does not open is the tenant's trouble and not the number's: it is asked for again and refused then.
        if let Some(route) = route.and_then(|route| self.open_route(route).ok()) {
            self.tenants.offer(route.placement.tenant, route, before);
        }
        Ok(Some(row))
    }

    async fn load_tenant(&self, id: TenantId) -> Result<Option<Route>, DirectoryError> {
        control::placements::route(&self.control, id).await?.map(|row| self.open_route(row)).transpose()
    }

    fn open_route(&self, row: control::placements::Route) -> Result<Route, DirectoryError> {
        let id = row.placement.tenant;
        let refused = |error| DirectoryError::Vault { what: format!("tenant {id}"), error };
        let key = self.ring.unwrap_data_key(Scope::Tenant(id), &row.data_key).map_err(refused)?;
        let password = key.open(&row.placement.login, &row.password).map_err(refused)?;
        Ok(Route { placement: row.placement, password, key })
    }

    async fn load_account(&self, id: &AccountSid) -> Result<Option<Account>, DirectoryError> {
        let Some(row) = control::accounts::sealed(&self.control, id).await? else { return Ok(None) };
        let refused = |error| DirectoryError::Vault { what: format!("account {id}"), error };
        let key = self.ring.unwrap_data_key(row.owner, &row.data_key).map_err(refused)?;
        let token = key.open(id.as_str(), &row.token).map_err(refused)?;
        Ok(Some(Account { owner: row.owner, token }))
    }

    async fn load_key(&self, kid: &str) -> Result<Option<VerifyingKey>, DirectoryError> {
        Ok(match control::tokens::active(&self.control, kid).await? {
            None => None,
            Some((StoredKey::EdDsa(public), _)) => Some(VerifyingKey::EdDsa(public)),
            Some((StoredKey::Hs256(sealed), wrapped)) => {
                let wrapped = wrapped.ok_or_else(|| unopened_key(kid)(VaultError::UnknownKey))?;
                Some(VerifyingKey::Hs256(self.open_key(kid, &sealed, &wrapped)?))
            }
        })
    }

    async fn load_legacy_keys(&self) -> Result<Vec<LegacyKey>, DirectoryError> {
        let all = control::tokens::legacy(&self.control).await?;
        all.into_iter()
            .map(|key| Ok(LegacyKey { secret: self.open_key(&key.kid, &key.secret, &key.data_key)?, of: key.of }))
            .collect()
    }

    fn open_key(&self, kid: &str, secret: &Sealed<SigningSecret>, by: &WrappedKey) -> Result<Secret, DirectoryError> {
        let key = self.ring.unwrap_data_key(Scope::Platform, by).map_err(unopened_key(kid))?;
        key.open(kid, secret).map_err(unopened_key(kid))
    }
}

fn unopened_key(kid: &str) -> impl Fn(VaultError) -> DirectoryError {
    move |error| DirectoryError::Vault { what: format!("signing key {kid}"), error }
}
