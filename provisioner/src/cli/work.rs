//! `work`.

use serde_json::{Value, json};
use strowger::control::work;

use super::args::Work;
use crate::Provisioner;
use crate::error::{Error, Result};

pub(super) async fn run(with: &Provisioner, command: &Work) -> Result<Value> {
    let control = with.control();
    match command {
        Work::List { tenant, state, limit } => Ok(json!(work::list(control, *tenant, state.as_deref(), *limit).await?)),
        Work::Show { id } => shown(with, *id).await,
        Work::Retry { id, .. } => {
            let mut change = with.change().await?;
            let items = work::retry(&mut change, *id).await?;
            refuse_living(*id, items)?;
            change.commit().await?;
            Ok(json!({ "retried": items }))
        }
        Work::Drop { id } => {
            let mut change = with.change().await?;
            let items = work::drop_dead(&mut change, *id).await?;
            refuse_living(Some(*id), items)?;
            change.commit().await?;
            Ok(json!({ "dropped": items }))
        }
    }
}

async fn shown(with: &Provisioner, id: i64) -> Result<Value> {
    let unknown = || Error::Conflict(format!("there is no work item {id}: see `strowgerctl work list`"));
    Ok(json!(work::get(with.control(), id).await?.ok_or_else(unknown)?))
}

fn refuse_living(id: Option<i64>, items: u64) -> Result<()> {
    match id {
        Some(id) if items == 0 => {
            Err(Error::Conflict(format!("there is no dead work item {id}: see `strowgerctl work list --state dead`")))
        }
        _ => Ok(()),
    }
}
