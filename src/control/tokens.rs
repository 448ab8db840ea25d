//! The keys that sign service tokens.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{Sealed, SigningSecret, WrappedKey};

/// What verifies a token of one key.
pub enum StoredKey {
    /// A shared secret, sealed for the server.
    Hs256(Sealed<SigningSecret>),
    /// An Ed25519 public key, 32 bytes.
    EdDsa(Vec<u8>),
}

/// Whose tokens a legacy key may sign.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LegacyFor {
    /// Every tenant's.
    All,
    /// Only theirs.
    #[serde(untagged)]
    Only(Vec<TenantId>),
}

impl LegacyFor {
    /// Whether it may sign this tenant's.
    pub fn covers(&self, tenant: TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(tenants) => tenants.contains(&tenant),
        }
    }

    fn from_row(row: &PgRow) -> Result<Option<Self>, ControlError> {
        if !row.try_get::<bool, _>("legacy")? {
            return Ok(None);
        }
        let Some(ids) = row.try_get::<Option<Vec<i32>>, _>("legacy_tenants")? else { return Ok(Some(Self::All)) };
        let tenants: Result<_, _> = ids.into_iter().map(TenantId::try_from).collect();
        Ok(Some(Self::Only(tenants?)))
    }

    fn tenants(&self) -> Option<Vec<i32>> {
        match self {
            Self::All => None,
            Self::Only(tenants) => Some(tenants.iter().map(|id| id.get()).collect()),
        }
    }
}

/// A token without a key id is tried with every legacy key: more than so many are not registered.
pub const MOST_LEGACY_KEYS: i64 = 8;

/// A shared secret of a service that signs its tokens without a key id.
pub struct LegacyKey {
    /// Its name here, under which its secret is sealed.
    pub kid: String,
    /// The secret.
    pub secret: Sealed<SigningSecret>,
    /// The key that opens the secret.
    pub data_key: WrappedKey,
    /// Whose tokens it may sign.
    pub of: LegacyFor,
}

/// A signing key's public face.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KeyRow {
    /// The `kid` of the tokens it signs.
    pub kid: String,
    /// `HS256` or `EdDSA`.
    pub algorithm: String,
    /// `active` or `retired`.
    pub state: String,
    /// Of a legacy key: `all`, or the tenants it is bound to.
    pub legacy_for: Option<LegacyFor>,
}

fn key_row(row: &PgRow) -> Result<KeyRow, ControlError> {
    Ok(KeyRow {
        kid: row.try_get("kid")?,
        algorithm: row.try_get("algorithm")?,
        state: row.try_get("state")?,
        legacy_for: LegacyFor::from_row(row)?,
    })
}

/// An active key with what opens it, if it needs opening. A legacy key has no key id for tokens: its binding would not be asked.
pub async fn active(control: &Control, kid: &str) -> Result<Option<(StoredKey, Option<WrappedKey>)>, ControlError> {
    let sql = "select s.algorithm, s.public_key, s.sealed_secret, k.version, k.wrapped
               from signing_keys s
               left join lateral (select version, wrapped from data_keys where tenant_id is null and ring = 'server'
                                  order by version desc limit 1) k on true
               where s.kid = $1 and s.state = 'active' and not s.legacy";
    let Some(row) = sqlx::query(sql).bind(kid).fetch_optional(control.pool()).await? else { return Ok(None) };
    Ok(Some(match row.try_get::<&str, _>("algorithm")? {
        "HS256" => {
            (StoredKey::Hs256(Sealed::from_stored(row.try_get("sealed_secret")?)), Some(super::keys::wrapped(&row)?))
        }
        "EdDSA" => (StoredKey::EdDsa(row.try_get("public_key")?), None),
        other => return Err(ControlError::Unknown(format!("algorithm {other}"))),
    }))
}

/// The active legacy keys.
pub async fn legacy(control: &Control) -> Result<Vec<LegacyKey>, ControlError> {
    let sql = "select s.kid, s.sealed_secret, s.legacy, s.legacy_tenants, k.version, k.wrapped
               from signing_keys s
               join lateral (select version, wrapped from data_keys where tenant_id is null and ring = 'server'
                             order by version desc limit 1) k on true
               where s.legacy and s.state = 'active' order by s.created_at, s.kid limit $1";
    let rows = sqlx::query(sql).bind(MOST_LEGACY_KEYS).fetch_all(control.pool()).await?;
    let key = |row: &PgRow| {
        let Some(of) = LegacyFor::from_row(row)? else { return Ok(None) };
        let secret = Sealed::from_stored(row.try_get("sealed_secret")?);
        Ok(Some(LegacyKey { kid: row.try_get("kid")?, secret, data_key: super::keys::wrapped(row)?, of }))
    };
    rows.iter().filter_map(|row| key(row).transpose()).collect()
}

/// All keys, newest first.
pub async fn list(control: &Control) -> Result<Vec<KeyRow>, ControlError> {
    let sql = "select kid, algorithm, state, legacy, legacy_tenants from signing_keys order by created_at desc, kid";
    sqlx::query(sql).fetch_all(control.pool()).await?.iter().map(key_row).collect()
}

/// What a new key is made of.
pub enum NewKey<'a> {
    /// A shared secret, under the server's ring.
    Hs256(&'a Sealed<SigningSecret>),
    /// A shared secret of a service that signs its own tokens, under the server's ring.
    Legacy(&'a Sealed<SigningSecret>, &'a LegacyFor),
    /// A key pair; the private half under the provisioner's ring.
    EdDsa {
        /// 32 bytes.
        public: &'a [u8],
        /// PKCS#8.
        private: &'a Sealed<SigningSecret>,
    },
}

/// Adds a key; tokens signed with it are accepted as soon as this commits.
pub async fn add(change: &mut Change, kid: &str, key: &NewKey<'_>) -> Result<(), ControlError> {
    let (algorithm, public, secret, private, legacy_for) = match key {
        NewKey::Hs256(secret) => ("HS256", None, Some(secret.as_bytes()), None, None),
        NewKey::Legacy(secret, of) => ("HS256", None, Some(secret.as_bytes()), None, Some(*of)),
        NewKey::EdDsa { public, private } => ("EdDSA", Some(*public), None, Some(private.as_bytes()), None),
    };
    if legacy_for.is_some() {
        refuse_too_many(change).await?;
    }
    let sql =
        "insert into signing_keys (kid, algorithm, public_key, sealed_secret, sealed_private, legacy, legacy_tenants)
               values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    let done = sqlx::query(sql)
        .bind(kid)
        .bind(algorithm)
        .bind(public)
        .bind(secret)
        .bind(private)
        .bind(legacy_for.is_some())
        .bind(legacy_for.and_then(LegacyFor::tenants))
        .execute(change.conn())
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("there is a signing key {kid} already")));
    }
    let detail = serde_json::json!({ "kid": kid, "algorithm": algorithm, "legacy_for": legacy_for });
    change.record("signing_key.add", None, detail).await
}

/// The lock makes whoever adds another wait, so that two cannot both be the last.
async fn refuse_too_many(change: &mut Change) -> Result<(), ControlError> {
    sqlx::query("lock table signing_keys in share row exclusive mode").execute(change.conn()).await?;
    let sql = "select count(*) from signing_keys where legacy and state = 'active'";
    let active: i64 = sqlx::query_scalar(sql).fetch_one(change.conn()).await?;
    if active >= MOST_LEGACY_KEYS {
        return Err(ControlError::Conflict(format!("there are {active} legacy keys already: retire one first")));
    }
    Ok(())
}

/// Retires a key; its tokens are refused once this is announced.
pub async fn retire(change: &mut Change, kid: &str) -> Result<(), ControlError> {
    let sql = "update signing_keys set state = 'retired' where kid = $1";
    if sqlx::query(sql).bind(kid).execute(change.conn()).await?.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("there is no signing key {kid}")));
    }
    change.record("signing_key.retire", None, serde_json::json!({ "kid": kid })).await
}

/// Has a key verify again: its retirement was taken back.
pub async fn revive(change: &mut Change, kid: &str) -> Result<(), ControlError> {
    sqlx::query("update signing_keys set state = 'active' where kid = $1").bind(kid).execute(change.conn()).await?;
    change.record("signing_key.revive", None, serde_json::json!({ "kid": kid })).await
}

/// When the last token expires that was minted here with a key, if any was.
pub async fn last_expiry(control: &Control, kid: &str) -> Result<Option<OffsetDateTime>, ControlError> {
    let sql = "select max(at + (detail ->> 'ttl_s')::bigint * interval '1 second') from audit
               where action = 'token.mint' and detail ->> 'kid' = $1";
    Ok(sqlx::query_scalar(sql).bind(kid).fetch_one(control.pool()).await?)
}

/// The newest active key with what it signs with, legacy ones left out: those sign elsewhere. The server's role may not read `sealed_private`.
pub async fn newest_signer(control: &Control) -> Result<Option<(KeyRow, Sealed<SigningSecret>)>, ControlError> {
    let sql = "select kid, algorithm, state, legacy, legacy_tenants, coalesce(sealed_private, sealed_secret) as signs
               from signing_keys where state = 'active' and not legacy order by created_at desc, kid limit 1";
    let row: Option<PgRow> = sqlx::query(sql).fetch_optional(control.pool()).await?;
    row.map(|row| Ok((key_row(&row)?, Sealed::from_stored(row.try_get("signs")?)))).transpose()
}
