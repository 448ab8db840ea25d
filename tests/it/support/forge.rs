//! Service tokens, right ones and ones that are wrong in a single way.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use strowger::auth::Scope;
use strowger::clock::Clock;
use strowger::control::Actor;
use strowger::control::keys::{self, Ring};
use strowger::control::tokens::{self, NewKey};
use strowger::id::TenantId;
use strowger::vault::{Scope as Sealing, SigningSecret};

use super::World;

/// The key ids that a [`Forge`] registers.
pub(crate) const ED: &str = "forge-ed";
pub(crate) const HS: &str = "forge-hs";
pub(crate) const RETIRED: &str = "forge-retired";

/// Signing keys that the installation knows and whose secrets we know.
pub(crate) struct Forge {
    pair: Ed25519KeyPair,
    pub(crate) secret: Vec<u8>,
    issuer: String,
    audience: String,
}

/// What makes a token's third part.
#[derive(Clone, Copy)]
pub(crate) enum Signer<'a> {
    Ed,
    Hs(&'a [u8]),
    Nobody,
}

impl Forge {
    /// Registers an Ed25519 key, a shared secret, and another one that is retired at once.
    pub(crate) async fn new(w: &World) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let secret = b"a shared secret of thirty-two byt".to_vec();
        let wrapped = keys::newest(w.with.control(), Sealing::Platform, Ring::Server).await.unwrap().unwrap();
        let key = w.server_ring.unwrap_data_key(Sealing::Platform, &wrapped).unwrap();
        let mut change = w.with.control().change(&Actor::operator("test")).await.unwrap();
        // The private half stays here: nothing but this forge signs with it.
        let unused = key.seal::<SigningSecret>(ED, b"unused");
        let ed = NewKey::EdDsa { public: pair.public_key().as_ref(), private: &unused };
        tokens::add(&mut change, ED, &ed).await.unwrap();
        for kid in [HS, RETIRED] {
            tokens::add(&mut change, kid, &NewKey::Hs256(&key.seal(kid, &secret))).await.unwrap();
        }
        tokens::retire(&mut change, RETIRED).await.unwrap();
        change.commit().await.unwrap();
        w.with.settle().await.unwrap();
        let of = w.with.installation();
        Self { pair, secret, issuer: of.token_issuer.clone(), audience: of.token_audience.clone() }
    }

    /// Ed25519's public half, which everybody may know.
    pub(crate) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// What a good token says.
    pub(crate) fn claims(&self, tenant: TenantId, scopes: &[Scope]) -> Value {
        let scope: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
        let now = now();
        json!({
            "customer_id": tenant, "scope": scope.join(" "), "iat": now, "exp": now + 600,
            "iss": self.issuer, "aud": self.audience, "jti": uuid::Uuid::new_v4(),
        })
    }

    /// A token of any header and claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value, signer: Signer<'_>) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = match signer {
            Signer::Ed => encode(self.pair.sign(text.as_bytes()).as_ref()),
            Signer::Hs(secret) => {
                encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes()).as_ref())
            }
            Signer::Nobody => String::new(),
        };
        format!("{text}.{signature}")
    }

    /// A token signed as the key's own algorithm wants it.
    pub(crate) fn ed(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": ED }), claims, Signer::Ed)
    }

    /// The same with the shared secret.
    pub(crate) fn hs(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "HS256", "typ": "JWT", "kid": HS }), claims, Signer::Hs(&self.secret))
    }

    /// A good token for a tenant.
    pub(crate) fn good(&self, tenant: TenantId, scopes: &[Scope]) -> String {
        self.ed(&self.claims(tenant, scopes))
    }
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    Clock::system().now().unix_timestamp()
}

/// `claims` with one of them different, or without it.
pub(crate) fn but(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}
