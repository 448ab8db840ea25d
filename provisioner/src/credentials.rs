//! Accounts, secrets and service tokens.

use strowger::auth::Scope as Right;
use strowger::auth::jwt::{self, Claims, SigningKey};
use strowger::clock::Clock;
use strowger::control::keys::Ring;
use strowger::control::models::{BadUrl, BaseUrl};
use strowger::control::tokens::{self, LegacyFor, NewKey};
use strowger::control::{Change, accounts, installation, secrets};
use strowger::id::{AccountSid, TenantId};
use strowger::vault::{NamedSecret, Scope, Secret};
use uuid::Uuid;

use crate::Provisioner;
use crate::backup::Store;
use crate::backups::BACKUPS_TO;
use crate::bootstrap::SigningPair;
use crate::error::{Error, Result};
use crate::tenants;

/// Adds a Twilio account, or gives a known one a new auth token.
pub async fn add_account(with: &Provisioner, id: &AccountSid, owner: Option<TenantId>, token: &Secret) -> Result<()> {
    let scope = existing(with, owner).await?;
    let sealed = with.data_key(scope, Ring::Server).await?.seal(id.as_str(), token.expose());
    let mut change = with.control.change(&with.actor).await?;
    accounts::put(&mut change, id, scope, &sealed).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Gives an account another owner; its token is sealed anew under that one's key.
pub async fn transfer_account(
    with: &Provisioner,
    id: &AccountSid,
    owner: Option<TenantId>,
    reason: &str,
) -> Result<()> {
    let scope = existing(with, owner).await?;
    let (now, token) = account_token(with, id).await?;
    if now == scope {
        return Ok(());
    }
    let sealed = with.data_key(scope, Ring::Server).await?.seal(id.as_str(), token.expose());
    let mut change = with.control.change(&with.actor).await?;
    if !accounts::transfer(&mut change, id, scope, &sealed, reason).await? {
        let text = format!("account {id} has numbers that another tenant answers: give those to another account first");
        return Err(Error::Conflict(text));
    }
    change.commit().await?;
    with.settle_all().await
}

/// Whose an account is, and its token, opened.
pub(crate) async fn account_token(with: &Provisioner, id: &AccountSid) -> Result<(Scope, Secret)> {
    let unknown = || Error::Conflict(format!("account {id} is not known: add it with `strowgerctl account add`"));
    let found = accounts::sealed(&with.control, id).await?.ok_or_else(unknown)?;
    let what = || format!("the token of account {id}");
    let key = with.server_ring.unwrap_data_key(found.owner, &found.data_key).map_err(Error::vault(what()))?;
    Ok((found.owner, key.open(id.as_str(), &found.token).map_err(Error::vault(what()))?))
}

/// What callers of a suspended tenant hear: the name of the setting.
pub const SUSPENDED_SENTENCE: &str = "suspended_sentence";
/// Where providers reach the servers: the name of the setting.
pub const PUBLIC_URL: &str = "public_url";
/// Where Twilio's REST API is, if not where it usually is: the name of the setting.
pub const TWILIO_BASE_URL: &str = "twilio_base_url";

/// A setting's value as it is stored.
pub fn setting(name: &str, value: &str) -> Result<String> {
    match name {
        PUBLIC_URL | TWILIO_BASE_URL => url(name, value),
        BACKUPS_TO => Ok(Store::named(value)?.url()),
        _ => Ok(tenants::check_sentence(value)?.to_owned()),
    }
}

/// Changes what holds for every tenant; running servers know when this returns.
pub async fn set_platform(with: &Provisioner, name: &str, value: &str) -> Result<()> {
    let value = setting(name, value)?;
    let mut change = with.control.change(&with.actor).await?;
    installation::set(&mut change, name, &value).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Remembers where providers reach the server, for numbers that are bought; one that nothing can be bought for is left out.
pub(crate) async fn note_public_url(with: &Provisioner, value: &str) -> Result<()> {
    let known = installation::setting(&with.control, PUBLIC_URL).await?;
    match url(PUBLIC_URL, value) {
        Ok(url) if known.as_deref() != Some(&url) => set_platform(with, PUBLIC_URL, &url).await,
        _ => Ok(()),
    }
}

/// Without a slash at its end. Tokens go there or signatures cover it, so it is not in the clear except on this machine.
fn url(name: &str, value: &str) -> Result<String> {
    match BaseUrl::parse(value, false) {
        Ok(url) => Ok(url.as_str().to_owned()),
        Err(BadUrl::InTheClear) => Err(Error::Conflict(format!("{name} begins with https://, except on this machine"))),
        Err(BadUrl::Malformed) => {
            Err(Error::Conflict(format!("{name} is https://host[:port][/path], without user, query or fragment")))
        }
    }
}

/// Sets a secret by name; running servers know when this returns.
pub async fn set_secret(with: &Provisioner, owner: Option<TenantId>, name: &str, value: &Secret) -> Result<()> {
    check_secret_name(name)?;
    let scope = existing(with, owner).await?;
    let sealed = with.data_key(scope, Ring::Server).await?.seal::<NamedSecret>(name, value.expose());
    let mut change = with.control.change(&with.actor).await?;
    secrets::put(&mut change, scope, name, &sealed).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Whether a secret can have that name.
pub(crate) fn check_secret_name(name: &str) -> Result<()> {
    let shaped = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b));
    if !shaped {
        return Err(Error::Conflict(
            "a secret's name is up to 63 of a-z, 0-9, _, ., - and starts with a letter".into(),
        ));
    }
    Ok(())
}

/// Forgets an account from which no number is taken any more.
pub async fn remove_account(with: &Provisioner, id: &AccountSid) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    accounts::remove(&mut change, id).await?;
    change.commit().await?;
    with.settle_all().await
}

async fn existing(with: &Provisioner, owner: Option<TenantId>) -> Result<Scope> {
    if let Some(id) = owner {
        tenants::get(with, id).await?;
    }
    Ok(Scope::of(owner))
}

/// A kind of signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A shared secret, which every verifier could also sign with.
    Hs256,
    /// A key pair: only the provisioner can sign.
    EdDsa,
}

/// A service's own secret is a legacy key only from so many bytes on: whoever guesses it is every tenant it is bound to.
const SHORTEST_LEGACY_SECRET: usize = 32;

/// Adds a signing key; it becomes the one that new tokens are signed with.
pub async fn add_key(with: &Provisioner, kid: &str, algorithm: Algorithm) -> Result<()> {
    well_formed(kid)?;
    let mut change = with.control.change(&with.actor).await?;
    put_key(with, &mut change, kid, algorithm).await?;
    change.commit().await?;
    with.settle_all().await
}

/// What may stand in a token's header.
pub(crate) fn well_formed(kid: &str) -> Result<&str> {
    if kid.is_empty() || kid.len() > 64 || !kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(Error::Conflict("a key id is 1 to 64 letters, digits, dots, dashes or underscores".into()));
    }
    Ok(kid)
}

/// Makes a signing key and adds it within a change.
pub(crate) async fn put_key(with: &Provisioner, change: &mut Change, kid: &str, algorithm: Algorithm) -> Result<()> {
    match algorithm {
        Algorithm::EdDsa => {
            let pair = SigningPair::generate(&with.platform_key(Ring::Admin).await?, kid)?;
            tokens::add(change, kid, &pair.as_new()).await?;
        }
        Algorithm::Hs256 => {
            let sealed = with.platform_key(Ring::Server).await?.seal(kid, Secret::random_password().expose());
            tokens::add(change, kid, &NewKey::Hs256(&sealed)).await?;
        }
    }
    Ok(())
}

/// Registers the secret of a service that signs its own tokens without a key id. Nothing is minted with it.
pub async fn add_legacy_key(with: &Provisioner, kid: &str, secret: &Secret, of: &LegacyFor) -> Result<()> {
    well_formed(kid)?;
    if secret.expose().len() < SHORTEST_LEGACY_SECRET {
        return Err(Error::Conflict(format!(
            "a legacy key's secret has at least {SHORTEST_LEGACY_SECRET} bytes; give the services that use a shorter one a new one first"
        )));
    }
    if let LegacyFor::Only(all) = of {
        for tenant in all {
            tenants::get(with, *tenant).await?;
        }
    }
    let sealed = with.platform_key(Ring::Server).await?.seal(kid, secret.expose());
    let mut change = with.control.change(&with.actor).await?;
    tokens::add(&mut change, kid, &NewKey::Legacy(&sealed, of)).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Retires a signing key on every running server.
pub async fn retire_key(with: &Provisioner, kid: &str) -> Result<()> {
    let mut change = with.control.change(&with.actor).await?;
    tokens::retire(&mut change, kid).await?;
    change.commit().await?;
    with.settle_all().await
}

/// Signs a token for one tenant with the newest active key. `ttl_s` in seconds.
pub async fn mint(with: &Provisioner, tenant: TenantId, scopes: &[Right], ttl_s: i64) -> Result<String> {
    tenants::get(with, tenant).await?;
    let (key, sealed) = tokens::newest_signer(&with.control)
        .await?
        .ok_or_else(|| Error::Conflict("there is no active signing key: add one with `strowgerctl key add`".into()))?;
    let ring = if key.algorithm == "EdDSA" { Ring::Admin } else { Ring::Server };
    let secret = with
        .platform_key(ring)
        .await?
        .open(&key.kid, &sealed)
        .map_err(Error::vault(format!("signing key {}", key.kid)))?;
    let signer = match ring {
        Ring::Admin => SigningKey::EdDsa(secret.expose()),
        Ring::Server => SigningKey::Hs256(secret.expose()),
    };
    let iat = Clock::system().now().unix_timestamp();
    let scope: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let claims = Claims {
        customer_id: tenant,
        scope: scope.join(" "),
        iat,
        exp: iat + ttl_s,
        iss: with.installation.token_issuer.clone(),
        aud: with.installation.token_audience.clone(),
        jti: Uuid::new_v4().to_string(),
    };
    let token = jwt::sign(&key.kid, &signer, &claims)
        .ok_or_else(|| Error::Conflict(format!("signing key {} is malformed", key.kid)))?;
    let mut change = with.control.change(&with.actor).await?;
    change
        .record(
            "token.mint",
            Some(tenant),
            serde_json::json!({ "kid": key.kid, "jti": claims.jti, "scope": claims.scope, "ttl_s": ttl_s }),
        )
        .await?;
    change.commit().await?;
    Ok(token)
}
