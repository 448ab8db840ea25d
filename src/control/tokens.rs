//! The keys that sign service tokens.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Change, Control, ControlError};
use crate::vault::{Sealed, SigningSecret, WrappedKey};

/// What verifies a token of one key.
pub enum StoredKey {
    /// A shared secret, sealed for the server.
    Hs256(Sealed<SigningSecret>),
    /// An Ed25519 public key, 32 bytes.
    EdDsa(Vec<u8>),
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
}

/// An active key with what opens it, if it needs opening.
pub async fn active(control: &Control, kid: &str) -> Result<Option<(StoredKey, Option<WrappedKey>)>, ControlError> {
    let sql = "select s.algorithm, s.public_key, s.sealed_secret, k.version, k.wrapped
               from signing_keys s
               left join lateral (select version, wrapped from data_keys where tenant_id is null and ring = 'server'
                                  order by version desc limit 1) k on true
               where s.kid = $1 and s.state = 'active'";
    let Some(row) = sqlx::query(sql).bind(kid).fetch_optional(control.pool()).await? else { return Ok(None) };
    Ok(Some(match row.try_get::<&str, _>("algorithm")? {
        "HS256" => {
            (StoredKey::Hs256(Sealed::from_stored(row.try_get("sealed_secret")?)), Some(super::keys::wrapped(&row)?))
        }
        "EdDSA" => (StoredKey::EdDsa(row.try_get("public_key")?), None),
        other => return Err(ControlError::Unknown(format!("algorithm {other}"))),
    }))
}

/// All keys, newest first.
pub async fn list(control: &Control) -> Result<Vec<KeyRow>, ControlError> {
    let sql = "select kid, algorithm, state from signing_keys order by created_at desc, kid";
    let rows = sqlx::query(sql).fetch_all(control.pool()).await?;
    rows.iter()
        .map(|row| Ok(KeyRow { kid: row.try_get(0)?, algorithm: row.try_get(1)?, state: row.try_get(2)? }))
        .collect()
}

/// What a new key is made of.
pub enum NewKey<'a> {
    /// A shared secret, under the server's ring.
    Hs256(&'a Sealed<SigningSecret>),
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
    let (algorithm, public, secret, private) = match key {
        NewKey::Hs256(secret) => ("HS256", None, Some(secret.as_bytes()), None),
        NewKey::EdDsa { public, private } => ("EdDSA", Some(*public), None, Some(private.as_bytes())),
    };
    let sql = "insert into signing_keys (kid, algorithm, public_key, sealed_secret, sealed_private) values ($1, $2, $3, $4, $5)
               on conflict do nothing";
    let done = sqlx::query(sql)
        .bind(kid)
        .bind(algorithm)
        .bind(public)
        .bind(secret)
        .bind(private)
        .execute(change.conn())
        .await?;
    if done.rows_affected() == 0 {
        return Err(ControlError::Conflict(format!("there is a signing key {kid} already")));
    }
    change.record("signing_key.add", None, serde_json::json!({ "kid": kid, "algorithm": algorithm })).await
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

/// The newest active key with what it signs with. The server's role may not read `sealed_private`.
pub async fn newest_signer(control: &Control) -> Result<Option<(KeyRow, Sealed<SigningSecret>)>, ControlError> {
    let sql = "select kid, algorithm, state, coalesce(sealed_private, sealed_secret) as signs from signing_keys
               where state = 'active' order by created_at desc, kid limit 1";
    let row: Option<PgRow> = sqlx::query(sql).fetch_optional(control.pool()).await?;
    row.map(|row| {
        let key = KeyRow { kid: row.try_get(0)?, algorithm: row.try_get(1)?, state: row.try_get(2)? };
        Ok((key, Sealed::from_stored(row.try_get("signs")?)))
    })
    .transpose()
}
