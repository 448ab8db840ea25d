//! `control`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strowger::vault::MasterRing;

use super::args::{ControlCommand, CopyFiles, Output};
use super::input::{actor, superuser_from_stdin};
use super::output::{say, show};
use crate::control_copy::{self, Manifest};
use crate::error::{Error, Result};
use crate::settings::{self, Settings};
use crate::{Provisioner, control_copy::Restored};

/// Those that work on a control database that is there.
pub(super) async fn run(with: &Provisioner, command: &ControlCommand, control_url: &str, output: Output) -> Result<()> {
    match command {
        ControlCommand::Backup { out } => {
            let manifest = control_copy::back_up(with, control_url, out).await?;
            show(output, &in_short(&manifest))
        }
        ControlCommand::Show { copy } => {
            show(output, &in_short(&proven(copy, with.ring(strowger::control::keys::Ring::Admin))?))
        }
        ControlCommand::Reconcile => {
            let done = control_copy::reconcile(with).await?;
            show(output, &json!(done))?;
            if done.serving {
                return Ok(());
            }
            Err(Error::Unsound(format!(
                "nothing is served yet: {} things to decide, {} findings; mend them (`strowgerctl doctor`), then run this again",
                done.open.len(),
                done.findings.len()
            )))
        }
        ControlCommand::Restore { .. } => Ok(()),
    }
}

fn proven(copy: &CopyFiles, ring: &MasterRing) -> Result<Manifest> {
    control_copy::prove(&copy.file, &keys(copy), ring)
}

fn keys(copy: &CopyFiles) -> PathBuf {
    copy.keys.clone().unwrap_or_else(|| control_copy::keys_beside(&copy.file))
}

fn in_short(manifest: &Manifest) -> Value {
    json!({
        "copy": manifest.copy, "installation": manifest.installation, "version": manifest.version,
        "taken_at": manifest.taken_at, "tables": manifest.tables.len(),
    })
}

/// There is nothing to connect to before it.
pub(super) async fn restore(copy: &CopyFiles, out: &Path, output: Output) -> Result<()> {
    let out = out.canonicalize().map_err(Error::io(format!("find {}", out.display())))?;
    let [server, admin] = ["server.ring", "admin.ring"].map(|name| out.join(name));
    let rings = (MasterRing::from_file(&server)?, MasterRing::from_file(&admin)?);
    let at = superuser_from_stdin()?;
    let Restored { manifest, urls, again } =
        control_copy::restore(&at, &copy.file, &keys(copy), (&rings.0, &rings.1), &actor()).await?;
    settings::write(&out, &urls, &server, &admin)?;
    if again {
        say("it had been restored from this copy before: nothing was loaded once more");
    }
    show(output, &in_short(&manifest))?;
    let settings = Settings::from_data(&out)?;
    let (server_ring, admin_ring) = settings.rings()?;
    let with = Provisioner::open(&settings.control_url, server_ring, admin_ring, actor()).await?;
    let shut = control_copy::shut(&with).await;
    shut.map_err(|error| {
        Error::Unfinished(format!(
            "it is restored, and a cluster's tenants could not be shut out: {error}. Servers from before the loss may go on with what they \
             have cached until `strowgerctl control reconcile` reaches it"
        ))
    })?;
    say("no tenant is served: `strowgerctl control reconcile` compares it with the clusters");
    Ok(())
}
