//! New credentials while everything goes on: tenants' logins, the provisioner's own, and the keys that sign service tokens.
//!
//! The old credential is refused only once whoever uses it knows the new one, so that no request fails. Killed anywhere, a rotation
//! is finished by the same command run again, or by a worker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use strowger::control::clusters;
use strowger::control::jobs::{self, Begin, Kind, Subject};
use strowger::control::tenants::{self as rows, Tenant};
use strowger::control::tokens;
use strowger::id::TenantId;
use time::OffsetDateTime;

use crate::Provisioner;
use crate::credentials::{self, Algorithm};
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::tenants;

/// How one of many rotations ended.
#[derive(Debug, serde::Serialize)]
pub struct Rotated {
    /// Whose login.
    pub customer_id: TenantId,
    /// The one in use now.
    pub login_role: String,
    /// Counts placement and credential changes.
    pub generation: i64,
    /// Why it is not done.
    pub error: Option<String>,
}

/// Gives a tenant a new login password. A rotation that was begun and not finished is finished.
pub async fn tenant(with: &Provisioner, id: TenantId) -> Result<Tenant> {
    let held = hold(with, Subject::Tenant(id)).await?;
    let tenant = tenants::get(with, id).await?;
    if !tenant.state.is_kept() {
        return Err(Error::Conflict(format!("tenant {id} is {} and has no login to rotate", tenant.state.as_str())));
    }
    held.run(Kind::RotateLogin, &json!({})).await?;
    tenants::get(with, id).await
}

/// Gives every tenant a new login password, some at a time. One that fails does not hold up the others.
pub async fn all_tenants(with: &Provisioner) -> Result<Vec<Rotated>> {
    let all = rows::list(&with.control).await?;
    let waiting: VecDeque<Tenant> = all.into_iter().filter(|tenant| tenant.state.is_kept()).collect();
    let (waiting, done) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = async || {
        while let Some(before) = next() {
            let (now, error) = match tenant(with, before.id).await {
                Ok(now) => (now, None),
                Err(error) => (before, Some(error.to_string())),
            };
            let rotated =
                Rotated { customer_id: now.id, login_role: now.login_role, generation: now.generation, error };
            done.lock().unwrap_or_else(PoisonError::into_inner).push(rotated);
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|rotated| rotated.customer_id);
    Ok(done)
}

/// The provisioner's login on a cluster.
#[derive(Debug, serde::Serialize)]
pub struct AdminLogin {
    /// Where.
    pub cluster: String,
    /// The one in use now.
    pub login_role: String,
}

/// Gives the provisioner a new login password on a cluster. Commands that are under way with the old one go on.
pub async fn cluster(with: &Provisioner, name: &str) -> Result<AdminLogin> {
    let known = clusters::list(&with.control).await?.into_iter().find(|cluster| cluster.name == name);
    let missing = || Error::Conflict(format!("there is no cluster {name}: see `strowgerctl cluster list`"));
    let id = known.ok_or_else(missing)?.id;
    let held = hold(with, Subject::Cluster(name.to_owned())).await?;
    held.run(Kind::RotateAdmin, &json!({})).await?;
    let (login_role, _) = clusters::admin(&with.control, id).await?;
    Ok(AdminLogin { cluster: name.to_owned(), login_role })
}

/// The same on every cluster, one after the other.
pub async fn all_clusters(with: &Provisioner) -> Result<Vec<AdminLogin>> {
    let mut done = Vec::new();
    for known in clusters::list(&with.control).await? {
        done.push(cluster(with, &known.name).await?);
    }
    Ok(done)
}

/// A signing key that has taken over from another.
#[derive(Debug, serde::Serialize)]
pub struct NewSigner {
    /// What new tokens are signed with.
    pub kid: String,
    /// What they were signed with before.
    pub retiring: Option<String>,
    /// When a worker retires that one.
    #[serde(with = "time::serde::rfc3339::option")]
    pub retires_at: Option<OffsetDateTime>,
    /// When the last token expires that was minted with it: earlier than it retires, or such tokens are refused.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_token_expires: Option<OffsetDateTime>,
}

/// Adds a signing key like the one in use, and has that one retired when `overlap_s` seconds have passed.
///
/// With a `kid` of the caller's own it can be run again: a key that signs already is left as it is.
pub async fn signing_key(with: &Provisioner, kid: Option<&str>, overlap_s: i64) -> Result<NewSigner> {
    let before = tokens::newest_signer(&with.control).await?.map(|(key, _)| key);
    let Some(before) = before else {
        return Err(Error::Conflict("there is no active signing key: add one with `strowgerctl key add`".into()));
    };
    if kid == Some(before.kid.as_str()) {
        with.settle_all().await?;
        return Ok(NewSigner { kid: before.kid, retiring: None, retires_at: None, last_token_expires: None });
    }
    let (algorithm, stem) =
        if before.algorithm == "EdDSA" { (Algorithm::EdDsa, "ed") } else { (Algorithm::Hs256, "hs") };
    let kid = match kid {
        Some(kid) => credentials::well_formed(kid)?.to_owned(),
        None => next_kid(stem, tokens::list(&with.control).await?.iter().map(|key| key.kid.as_str())),
    };
    let mut change = with.control.change(&with.actor).await?;
    credentials::put_key(with, &mut change, &kid, algorithm).await?;
    let subject = Subject::Key(before.kid.clone());
    let job = jobs::begin(&mut change, Kind::RetireKey, &subject, &json!({}), Begin::Later(overlap_s)).await?;
    change.commit().await?;
    with.settle_all().await?;
    Ok(NewSigner {
        kid,
        last_token_expires: tokens::last_expiry(&with.control, &before.kid).await?,
        retiring: Some(before.kid),
        retires_at: Some(job.not_before),
    })
}

/// `ed-3` after `ed-1` and `ed-2`, whatever became of them: a key id is used once.
fn next_kid<'k>(stem: &str, known: impl Iterator<Item = &'k str>) -> String {
    let numbers = known.filter_map(|kid| kid.strip_prefix(stem)?.strip_prefix('-')?.parse::<u32>().ok());
    format!("{stem}-{}", numbers.max().unwrap_or(0).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::next_kid;

    #[test]
    fn a_key_id_is_used_once() {
        assert_eq!(next_kid("ed", ["ed-1", "hs-7", "ed-10", "ed-x", "edge-99"].into_iter()), "ed-11");
        assert_eq!(next_kid("hs", ["ed-1"].into_iter()), "hs-1");
    }
}
