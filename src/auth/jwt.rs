//! Service tokens: JWTs bound to one tenant, signed with HS256 or EdDSA.
//!
//! The key id picks the key, and the key decides the algorithm; what the token's header says must agree. `exp`, `iss` and
//! `aud` are required. Nothing in a request widens what the token says.
//!
//! Services older than this one sign HS256 without a key id, issuer or audience. An operator may register such a secret as a
//! legacy key; its tokens hold where the code says so ([`Tokens::verify_for_tenant`]) and for the tenants it is bound to.

use std::sync::Arc;

use aws_lc_rs::digest;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};

use super::{AuthError, Principal, Scopes};
use crate::clock::Clock;
use crate::control::installation::Installation;
use crate::directory::{Directory, VerifyingKey};
use crate::id::TenantId;

/// Clocks of token makers may be this far ahead or behind.
const LEEWAY_S: u64 = 30;

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The one tenant.
    pub customer_id: TenantId,
    /// Rights, space separated.
    #[serde(default)]
    pub scope: String,
    /// Unix seconds.
    #[serde(default)]
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// The installation's.
    pub iss: String,
    /// The installation's.
    pub aud: String,
    /// Unique.
    #[serde(default)]
    pub jti: String,
}

/// A token that holds.
#[derive(Debug)]
pub struct ServiceToken {
    /// Who it stands for.
    pub principal: Principal,
    /// What it may do.
    pub scopes: Scopes,
    /// Which token it is, for records of who changed what.
    pub by: String,
}

/// What a token of a legacy key says.
#[derive(Deserialize)]
struct LegacyClaims {
    customer_id: TenantId,
    #[serde(default)]
    scope: String,
}

/// A token whose signature has held.
struct Held {
    kid: String,
    /// What it held with.
    key: Arc<VerifyingKey>,
    exp: i64,
    customer_id: TenantId,
    scopes: Scopes,
    by: String,
}

impl Held {
    fn token(&self) -> ServiceToken {
        let principal = Principal { tenant: self.customer_id };
        ServiceToken { principal, scopes: self.scopes.clone(), by: self.by.clone() }
    }
}

/// Checks a token. One that a legacy key signed does not hold: this is what the platform's own programs use.
pub async fn verify(directory: &Directory, of: &Installation, token: &str) -> Result<ServiceToken, AuthError> {
    let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
    let kid = header.kid.ok_or_else(|| AuthError::Invalid("no kid".into()))?;
    Ok(check(directory, of, token, kid, header.alg).await?.token())
}

async fn check(
    directory: &Directory,
    of: &Installation,
    token: &str,
    kid: String,
    alg: Algorithm,
) -> Result<Held, AuthError> {
    // Nobody has signed this yet: nothing goes to the control database that it could not even take as a text.
    if !(1..=64).contains(&kid.len()) || !kid.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AuthError::Invalid("kid malformed".into()));
    }
    let key = directory.verifying_key(&kid).await?;
    let key = key.ok_or_else(|| AuthError::Invalid("unknown or retired kid".into()))?;
    let (algorithm, decoding) = match key.as_ref() {
        VerifyingKey::Hs256(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret.expose())),
        VerifyingKey::EdDsa(public) => (Algorithm::EdDSA, DecodingKey::from_ed_der(public)),
    };
    if alg != algorithm {
        return Err(AuthError::Invalid("the key is for another algorithm".into()));
    }
    let validation = validation(algorithm, of, &["exp", "iss", "aud"]);
    let claims = jsonwebtoken::decode::<Claims>(token, &decoding, &validation).map_err(invalid)?.claims;
    // Whoever signs writes what he likes there.
    let jti: String = claims.jti.chars().filter(char::is_ascii_graphic).take(64).collect();
    let (scopes, by) = (Scopes::parse(&claims.scope), format!("token {jti} of key {kid}"));
    Ok(Held { kid, key, exp: claims.exp, customer_id: claims.customer_id, scopes, by })
}

/// So many tokens are remembered.
const REMEMBERED: usize = 10_000;

/// Checks tokens, and remembers which have held: verifying an Ed25519 signature is a quarter of what a small request costs.
///
/// A token is remembered by its SHA-256, and believed only while its key is the very one that it held with: one that was retired is
/// nobody's, and one that the directory has read anew, as it does each minute, verifies anew.
pub struct Tokens {
    directory: Arc<Directory>,
    installation: Installation,
    clock: Clock,
    held: quick_cache::sync::Cache<[u8; digest::SHA256_OUTPUT_LEN], Arc<Held>>,
}

impl Tokens {
    /// Of one installation.
    pub fn new(directory: Arc<Directory>, installation: Installation, clock: &Clock) -> Self {
        Self { directory, installation, clock: clock.clone(), held: quick_cache::sync::Cache::new(REMEMBERED) }
    }

    /// Checks a token for a tenant's routes, where one without a key id holds too if a legacy key signed it.
    pub async fn verify_for_tenant(&self, token: &str) -> Result<ServiceToken, AuthError> {
        let mut name = [0; digest::SHA256_OUTPUT_LEN];
        name.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        let remembered = self.held.get(&name);
        if let Some(held) = remembered
            && self.still_holds(&held).await?
        {
            return Ok(held.token());
        }
        let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
        let Some(kid) = header.kid else { return self.verify_legacy(token).await };
        let held = Arc::new(check(&self.directory, &self.installation, token, kid, header.alg).await?);
        self.held.insert(name, Arc::clone(&held));
        Ok(held.token())
    }

    async fn still_holds(&self, held: &Held) -> Result<bool, AuthError> {
        let key = self.directory.verifying_key(&held.kid).await?;
        let now = self.clock.now().unix_timestamp();
        Ok(key.is_some_and(|key| Arc::ptr_eq(&key, &held.key)) && now <= held.exp)
    }

    async fn verify_legacy(&self, token: &str) -> Result<ServiceToken, AuthError> {
        // What such a token need not say must be right where it does say it.
        let validation = validation(Algorithm::HS256, &self.installation, &["exp"]);
        for key in self.directory.legacy_keys().await?.iter().flat_map(|keys| keys.iter()) {
            let decoding = DecodingKey::from_secret(key.secret.expose());
            match jsonwebtoken::decode::<LegacyClaims>(token, &decoding, &validation) {
                Ok(TokenData { claims, .. }) if key.of.covers(claims.customer_id) => {
                    let (principal, scopes) = (Principal { tenant: claims.customer_id }, Scopes::parse(&claims.scope));
                    return Ok(ServiceToken { principal, scopes, by: "a legacy key's token".to_owned() });
                }
                // The same secret may be registered for others under another name.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(error) => return Err(invalid(error)),
            }
        }
        Err(AuthError::Invalid("no kid, and no legacy key for this customer signed it".into()))
    }
}

fn validation(algorithm: Algorithm, of: &Installation, required: &[&str]) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(required);
    validation.set_issuer(&[&of.token_issuer]);
    validation.set_audience(&[&of.token_audience]);
    validation
}

/// Why a token does not hold, for the log: parsers' messages quote the token and stay out of it.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn invalid(error: jsonwebtoken::errors::Error) -> AuthError {
    AuthError::Invalid(match error.kind() {
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::Base64(_) => "unreadable".into(),
        _ => error.to_string(),
    })
}

/// What signs tokens; held by the provisioner only (EdDSA), or shared (HS256).
pub enum SigningKey<'a> {
    /// A shared secret.
    Hs256(&'a [u8]),
    /// An Ed25519 key pair as PKCS#8.
    EdDsa(&'a [u8]),
}

/// Signs `claims`; `None` if the key is malformed.
pub fn sign(kid: &str, key: &SigningKey<'_>, claims: &Claims) -> Option<String> {
    let (algorithm, key) = match key {
        SigningKey::Hs256(secret) => (Algorithm::HS256, EncodingKey::from_secret(secret)),
        SigningKey::EdDsa(pkcs8) => (Algorithm::EdDSA, EncodingKey::from_ed_der(pkcs8)),
    };
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, claims, &key).ok()
}
