//! Where each tenant's AI model is, what opens it, and whether it may be used.
//!
//! A tenant's row says what is its own; the platform's row speaks where the tenant's is silent. The rule that must hold: the
//! platform's key is sent to the platform's base URL and nowhere else.

use http::Uri;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::{Change, Control, ControlError};
use crate::id::TenantId;
use crate::vault::{NamedSecret, Scope, Sealed, WrappedKey};

/// The name of the secret that opens the model.
pub const KEY_NAME: &str = "model.api_key";

/// Tokens a day for a tenant of which nobody has said how many.
pub const DEFAULT_TOKENS_PER_DAY: i64 = 200_000;

/// An `http` or `https` address without credentials, query or a slash at its end.
///
/// Only an operator sets one: whoever could choose it could make the server call anything that it reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

/// Why a text is no base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not of the shape.
    #[error("a base URL is https://host[:port][/path], without user, query or fragment")]
    Malformed,
    /// A key and callers' words would cross the network in the clear.
    #[error("a base URL begins with https://, except on this machine; --insecure takes http:// elsewhere too")]
    InTheClear,
}

impl BaseUrl {
    /// Reads one. Without `insecure`, `http` is taken for this machine only.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, BadUrl> {
        let text = text.trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| BadUrl::Malformed)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.ok_or(BadUrl::Malformed)?.host();
        if uri.query().is_some() || text.contains('#') || text.len() > 500 || host.is_empty() {
            return Err(BadUrl::Malformed);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if insecure || is_loopback(host) => {}
            Some("http") => return Err(BadUrl::InTheClear),
            _ => return Err(BadUrl::Malformed),
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What is set of a tenant or of the platform; `None` where it says nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Settings {
    /// Where the API is.
    pub base_url: Option<String>,
    /// The provider's name of the model that talks.
    pub chat_model: Option<String>,
    /// The provider's name of the model that makes vectors.
    pub embedding_model: Option<String>,
    /// Whether callers' words may go there.
    pub allowed: Option<bool>,
    /// Tokens of prompts and answers in a UTC day.
    pub tokens_per_day: Option<i64>,
}

/// Sets what is `Some`, and leaves the rest as it is.
pub async fn put(change: &mut Change, of: Scope, new: &Settings) -> Result<(), ControlError> {
    let sql = "insert into models as m (tenant_id, base_url, chat_model, embedding_model, allowed, tokens_per_day)
               values ($1, $2, $3, $4, $5, $6)
               on conflict (tenant_id) do update set base_url = coalesce(excluded.base_url, m.base_url),
                   chat_model = coalesce(excluded.chat_model, m.chat_model),
                   embedding_model = coalesce(excluded.embedding_model, m.embedding_model),
                   allowed = coalesce(excluded.allowed, m.allowed),
                   tokens_per_day = coalesce(excluded.tokens_per_day, m.tokens_per_day), set_at = now()";
    sqlx::query(sql)
        .bind(of.tenant().map(TenantId::get))
        .bind(&new.base_url)
        .bind(&new.chat_model)
        .bind(&new.embedding_model)
        .bind(new.allowed)
        .bind(new.tokens_per_day)
        .execute(change.conn())
        .await?;
    change.record("model.set", of.tenant(), serde_json::json!(new)).await
}

/// Forgets what was set.
pub async fn clear(change: &mut Change, of: Scope) -> Result<(), ControlError> {
    let sql = "delete from models where tenant_id is not distinct from $1";
    sqlx::query(sql).bind(of.tenant().map(TenantId::get)).execute(change.conn()).await?;
    change.record("model.clear", of.tenant(), serde_json::json!({})).await
}

/// What is set.
pub async fn get(control: &Control, of: Scope) -> Result<Settings, ControlError> {
    let sql = "select base_url, chat_model, embedding_model, allowed, tokens_per_day
               from models where tenant_id is not distinct from $1";
    let row = sqlx::query(sql).bind(of.tenant().map(TenantId::get)).fetch_optional(control.pool()).await?;
    row.as_ref().map_or_else(|| Ok(Settings::default()), settings)
}

fn settings(row: &PgRow) -> Result<Settings, ControlError> {
    Ok(Settings {
        base_url: row.try_get("base_url")?,
        chat_model: row.try_get("chat_model")?,
        embedding_model: row.try_get("embedding_model")?,
        allowed: row.try_get("allowed")?,
        tokens_per_day: row.try_get("tokens_per_day")?,
    })
}

/// The key that opens a model, still sealed, with what it is sealed under.
pub struct SealedKey {
    /// Whose: who pays.
    pub of: Scope,
    /// The key.
    pub sealed: Sealed<NamedSecret>,
    /// What opens it.
    pub data_key: WrappedKey,
}

/// What holds for a tenant: its own word, else the platform's.
pub struct Effective {
    /// The settings.
    pub settings: Settings,
    /// The key for that base URL; `None` when there is none.
    pub key: Option<SealedKey>,
}

impl Effective {
    /// Whether callers' words may go to the model.
    pub fn is_allowed(&self) -> bool {
        self.settings.allowed.unwrap_or(false)
    }

    /// Tokens in a UTC day.
    pub fn tokens_per_day(&self) -> i64 {
        self.settings.tokens_per_day.unwrap_or(DEFAULT_TOKENS_PER_DAY)
    }
}

/// What holds for a tenant; `None` for an id that was never given.
pub async fn effective(control: &Control, tenant: TenantId) -> Result<Option<Effective>, ControlError> {
    let sql = "select coalesce(own.base_url, ours.base_url) as base_url,
                      coalesce(own.chat_model, ours.chat_model) as chat_model,
                      coalesce(own.embedding_model, ours.embedding_model) as embedding_model,
                      coalesce(own.allowed, ours.allowed) as allowed,
                      coalesce(own.tokens_per_day, ours.tokens_per_day) as tokens_per_day,
                      key.tenant_id as key_of, key.sealed, k.version, k.wrapped
               from tenants t
               left join models own on own.tenant_id = t.id
               left join models ours on ours.tenant_id is null
               left join lateral (select tenant_id, sealed from secrets
                                  where name = $2 and (tenant_id = t.id or tenant_id is null and own.base_url is null)
                                  order by tenant_id nulls last limit 1) key on true
               left join lateral (select version, wrapped from data_keys
                                  where tenant_id is not distinct from key.tenant_id and ring = 'server'
                                  order by version desc limit 1) k on key.sealed is not null
               where t.id = $1";
    let row = sqlx::query(sql).bind(tenant.get()).bind(KEY_NAME).fetch_optional(control.pool()).await?;
    row.map(|row| Ok(Effective { settings: settings(&row)?, key: sealed_key(&row)? })).transpose()
}

fn sealed_key(row: &PgRow) -> Result<Option<SealedKey>, ControlError> {
    let Some(sealed) = row.try_get::<Option<Vec<u8>>, _>("sealed")? else { return Ok(None) };
    let of = row.try_get::<Option<i32>, _>("key_of")?.map(TenantId::try_from).transpose()?;
    Ok(Some(SealedKey { of: Scope::of(of), sealed: Sealed::from_stored(sealed), data_key: super::keys::wrapped(row)? }))
}

#[cfg(test)]
mod tests {
    use super::{BadUrl, BaseUrl};

    #[test]
    fn base_urls_have_their_shape() {
        for good in
            ["https://api.example/v1", "https://api.example:8443", "http://localhost:11434/v1", "http://[::1]:1/v1"]
        {
            assert_eq!(BaseUrl::parse(good, false).unwrap().as_str(), good);
        }
        assert_eq!(BaseUrl::parse("https://api.example/v1/", false).unwrap().as_str(), "https://api.example/v1");
        for bad in
            ["", "api.example", "/v1", "ftp://a.example", "file:///etc/passwd", "https://", "https://u:p@a.example"]
        {
            assert_eq!(BaseUrl::parse(bad, true), Err(BadUrl::Malformed), "{bad}");
        }
        for bad in ["https://a.example/?q=1", "https://a.example/#x", "https://a.example/a b"] {
            assert_eq!(BaseUrl::parse(bad, true), Err(BadUrl::Malformed), "{bad}");
        }
    }

    #[test]
    fn callers_words_cross_the_network_encrypted_unless_the_operator_insists() {
        for clear in
            ["http://api.example/v1", "http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example"]
        {
            assert_eq!(BaseUrl::parse(clear, false), Err(BadUrl::InTheClear), "{clear}");
            assert!(BaseUrl::parse(clear, true).is_ok());
        }
    }
}
