//! Service tokens: JWTs bound to one tenant, signed with HS256 or EdDSA.
//!
//! The key id picks the key, and the key decides the algorithm; what the token's header says must agree. `exp`, `iss` and
//! `aud` are required. Nothing in a request widens what the token says.
//!
//! Services older than this one sign HS256 without a key id, issuer or audience. An operator may register such a secret as a
//! legacy key; its tokens hold where the code says so ([`verify_for_tenant`]) and for the tenants it is bound to.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation};
use serde::{Deserialize, Serialize};

use super::{AuthError, Principal, Scopes};
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

impl ServiceToken {
    fn new(tenant: TenantId, scope: &str, by: String) -> Self {
        Self { principal: Principal { tenant }, scopes: Scopes::parse(scope), by }
    }
}

/// What a token of a legacy key says.
#[derive(Deserialize)]
struct LegacyClaims {
    customer_id: TenantId,
    #[serde(default)]
    scope: String,
}

/// Checks a token. One that a legacy key signed does not hold: this is what routes of the platform itself use.
pub async fn verify(directory: &Directory, of: &Installation, token: &str) -> Result<ServiceToken, AuthError> {
    let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
    let kid = header.kid.ok_or_else(|| AuthError::Invalid("no kid".into()))?;
    // Nobody has signed this yet: nothing goes to the control database that it could not even take as a text.
    if !(1..=64).contains(&kid.len()) || !kid.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AuthError::Invalid("kid malformed".into()));
    }
    let key =
        directory.verifying_key(&kid).await?.ok_or_else(|| AuthError::Invalid("unknown or retired kid".into()))?;
    let (algorithm, key) = match key.as_ref() {
        VerifyingKey::Hs256(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret.expose())),
        VerifyingKey::EdDsa(public) => (Algorithm::EdDSA, DecodingKey::from_ed_der(public)),
    };
    if header.alg != algorithm {
        return Err(AuthError::Invalid("the key is for another algorithm".into()));
    }
    let validation = validation(algorithm, of, &["exp", "iss", "aud"]);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(invalid)?.claims;
    // Whoever signs writes what he likes there.
    let jti: String = claims.jti.chars().filter(char::is_ascii_graphic).take(64).collect();
    Ok(ServiceToken::new(claims.customer_id, &claims.scope, format!("token {jti} of key {kid}")))
}

/// Checks a token for a tenant's routes, where one without a key id holds too if a legacy key signed it.
pub async fn verify_for_tenant(
    directory: &Directory,
    of: &Installation,
    token: &str,
) -> Result<ServiceToken, AuthError> {
    if jsonwebtoken::decode_header(token).map_err(invalid)?.kid.is_some() {
        return verify(directory, of, token).await;
    }
    // What such a token need not say must be right where it does say it.
    let validation = validation(Algorithm::HS256, of, &["exp"]);
    for key in directory.legacy_keys().await?.iter().flat_map(|keys| keys.iter()) {
        match jsonwebtoken::decode::<LegacyClaims>(token, &DecodingKey::from_secret(key.secret.expose()), &validation) {
            Ok(TokenData { claims, .. }) if key.of.covers(claims.customer_id) => {
                return Ok(ServiceToken::new(claims.customer_id, &claims.scope, "a legacy key's token".to_owned()));
            }
            // The same secret may be registered for others under another name.
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
            Err(error) => return Err(invalid(error)),
        }
    }
    Err(AuthError::Invalid("no kid, and no legacy key for this customer signed it".into()))
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
