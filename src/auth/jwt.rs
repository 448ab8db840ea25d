//! Service tokens: JWTs bound to one tenant, signed with HS256 or EdDSA.
//!
//! The key id picks the key, and the key decides the algorithm; what the token's header says must agree. `exp`, `iss` and
//! `aud` are required. Nothing in a request widens what the token says.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
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
}

/// Checks a token.
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
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&of.token_issuer]);
    validation.set_audience(&[&of.token_audience]);
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).map_err(invalid)?.claims;
    Ok(ServiceToken { principal: Principal { tenant: claims.customer_id }, scopes: Scopes::parse(&claims.scope) })
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
