//! The commands that renew credentials.

use serde_json::{Value, json};
use strowger::control::keys::Ring;

use super::args::{self, Rotate};
use super::output::{say, show};
use crate::error::{Error, Result};
use crate::{Provisioner, rings, rotation};

pub(super) async fn on_rotate(with: &Provisioner, command: &Rotate, output: args::Output) -> Result<Value> {
    match command {
        Rotate::Master { ring, to } => {
            rings::rotate(with, *ring, to).await?;
            Ok(json!(rings::list(with, *ring).await?))
        }
        Rotate::Cluster { name: Some(name), .. } => Ok(json!(rotation::cluster(with, name).await?)),
        Rotate::Cluster { name: None, .. } => Ok(json!(rotation::all_clusters(with).await?)),
        Rotate::Status => {
            let mut all = rings::list(with, Ring::Server).await?;
            all.extend(rings::list(with, Ring::Admin).await?);
            Ok(json!(all))
        }
        Rotate::SigningKey { overlap, kid } => {
            let done = rotation::signing_key(with, kid.as_deref(), *overlap).await?;
            if done.last_token_expires > done.retires_at {
                say("tokens were minted that outlive the old key: `strowgerctl job cancel` takes its retirement back");
            }
            Ok(json!(done))
        }
        Rotate::Tenant { id: Some(id), .. } => Ok(json!(rotation::tenant(with, *id).await?)),
        Rotate::Tenant { id: None, .. } => {
            let done = rotation::all_tenants(with).await?;
            let failed = done.iter().filter(|rotated| rotated.error.is_some()).count();
            if failed == 0 {
                return Ok(json!(done));
            }
            show(output, &json!(done))?;
            Err(Error::Unavailable(format!(
                "{failed} of {} tenants do not have their new password yet and are served with the one they had; a worker goes on, \
                 or run this again: `strowgerctl job list` says how far each is",
                done.len()
            )))
        }
    }
}

pub(super) async fn on_rings(with: &Provisioner, command: &args::Ring) -> Result<Value> {
    let ring = match command {
        args::Ring::Add { key, ring } => {
            rings::add(with, *ring, key).await?;
            ring
        }
        args::Ring::Remove { key, ring } => {
            rings::remove(with, *ring, key).await?;
            ring
        }
        args::Ring::List { ring } => ring,
    };
    Ok(json!(rings::list(with, *ring).await?))
}
