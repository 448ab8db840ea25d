//! `strowgerctl cluster …`.

use std::path::Path;

use serde_json::{Value, json};
use strowger::control::clusters::{self, Isolation, Tls};

use super::args::{Cluster, ClusterKind, Output};
use super::input::superuser_from_stdin;
use super::output::{say, show};
use super::{archives, endings};
use crate::Provisioner;
use crate::bootstrap::{self, ClusterSpec};
use crate::clusters as operations;
use crate::error::{Error, Result};
use crate::moves::{self, How, Way};

/// `data` is the folder of an embedded installation.
pub(super) async fn run(with: &Provisioner, command: &Cluster, data: Option<&Path>, output: Output) -> Result<()> {
    match command {
        Cluster::Add { name, kind, region, budget, ca } => {
            let mut at = superuser_from_stdin()?;
            if let Some(path) = ca {
                let pem = std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
                at.address.tls = Tls::VerifyFull(Some(pem));
            }
            let holds = if *kind == ClusterKind::Shared { Isolation::Schema } else { Isolation::Database };
            bootstrap::add_cluster(with, &at, &ClusterSpec { name, holds, region, connection_budget: *budget }).await?;
            show(output, &list(with).await?)
        }
        Cluster::List => show(output, &list(with).await?),
        Cluster::Cordon { name, undo } => {
            operations::cordon(with, name, *undo).await?;
            show(output, &list(with).await?)
        }
        Cluster::Drain { name, moves, how } => drain(with, name, moves.then(|| how.named(Way::Online)), output).await,
        Cluster::Online { name, undo: false } => {
            bootstrap::allow_online(with, superuser_from_stdin()?, name).await?;
            show(output, &json!({ "cluster": name, "online": true }))
        }
        Cluster::Online { name, undo: true } => {
            let login = operations::forbid_online(with, name).await?;
            show(output, &json!({ "cluster": name, "online": false }))?;
            say(&format!("as superuser there: drop role if exists {login};"));
            Ok(())
        }
        Cluster::Rebalance { .. } => show(output, &json!(moves::proposed(with).await?)),
        Cluster::Remove { name } => {
            let left = operations::remove(with, name).await?;
            show(output, &json!({ "removed": name, "left_on_the_server": left }))?;
            say(
                "the server itself was not touched; as superuser there, these statements, in this order, leave nothing of ours",
            );
            Ok(())
        }
        Cluster::Archive(archive) => archives::run(with, archive, data, output).await,
        Cluster::Copies(copies) => show(output, &endings::on_copies(with, copies).await?),
        Cluster::Status { name: None } => show(output, &json!(operations::status(with, None).await?)),
        Cluster::Status { name } => {
            operations::status(with, name.as_deref()).await?.iter().try_for_each(|one| show(output, &json!(one)))
        }
    }
}

/// The result, and an exit code of its own while there is something left to move.
async fn drain(with: &Provisioner, name: &str, moving: Option<How>, output: Output) -> Result<()> {
    let mut tenants = operations::drain(with, name).await?;
    if let Some(how) = moving {
        for one in moves::empty(with, name, how).await? {
            match (&one.cluster, &one.error) {
                (Some(cluster), _) => say(&format!("tenant {} lives on cluster {cluster}", one.customer_id)),
                (None, error) => {
                    say(&format!("tenant {} did not move: {}", one.customer_id, error.as_deref().unwrap_or("-")));
                }
            }
        }
        tenants = operations::drain(with, name).await?;
    }
    show(output, &json!({ "cluster": name, "admission": "draining", "tenants_to_move": tenants }))?;
    if tenants == 0 {
        say(&format!(
            "nobody lives there: `strowgerctl cluster remove {name}` forgets it, once nothing is kept there of those who left"
        ));
        return Ok(());
    }
    Err(Error::Unfinished(format!(
        "cluster {name} takes no new tenants, and {tenants} still live there: `strowgerctl cluster drain {name} --move` moves them, \
         `cluster cordon {name} --undo` lets new ones in again"
    )))
}

async fn list(with: &Provisioner) -> Result<Value> {
    let shown = |c: &clusters::Cluster| {
        let (tls, _) = c.address.tls.to_columns();
        json!({
            "name": c.name, "kind": c.kind, "region": c.region, "host": c.address.host, "port": c.address.port, "tls": tls,
            "budget": c.connection_budget, "admission": c.admission,
        })
    };
    Ok(clusters::list(with.control()).await?.iter().map(shown).collect())
}
