//! `tenant move`.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;

use super::args::{self, Output};
use crate::Provisioner;
use crate::error::{Error, Result};
use crate::moves::{self, How};

/// What was asked for.
pub(super) struct Asked<'a> {
    pub(super) to: Option<&'a str>,
    pub(super) isolation: Option<args::Isolation>,
    pub(super) how: How,
    pub(super) undo: bool,
    pub(super) dry_run: bool,
}

pub(super) async fn run(with: &Provisioner, id: TenantId, asked: &Asked<'_>, output: Output) -> Result<Value> {
    if asked.undo {
        let tenant = moves::undo(with, id, asked.how).await?;
        return moved(with, &tenant).await;
    }
    let to = asked.to.unwrap_or_default();
    if let Some(isolation) = asked.isolation {
        refuse_other_kind(with, to, isolation).await?;
    }
    if !asked.dry_run {
        let tenant = moves::to(with, id, to, asked.how).await?;
        return moved(with, &tenant).await;
    }
    let plan = moves::plan(with, id, to).await?;
    Ok(if output == Output::Json { json!(plan) } else { in_short(&plan) })
}

/// The tenant, and for how long nothing was written to it.
async fn moved(with: &Provisioner, tenant: &Tenant) -> Result<Value> {
    let mut shown = json!(tenant);
    shown["write_pause_ms"] = json!(moves::pause_ms(with, tenant.id).await?);
    Ok(shown)
}

async fn refuse_other_kind(with: &Provisioner, to: &str, isolation: args::Isolation) -> Result<()> {
    let wanted = if isolation == args::Isolation::Schema { Isolation::Schema } else { Isolation::Database };
    match moves::isolation_on(with, to).await? {
        there if there == wanted => Ok(()),
        there => Err(Error::Conflict(format!(
            "cluster {to} keeps tenants as a {}, not as a {}",
            there.as_str(),
            wanted.as_str()
        ))),
    }
}

/// A line for each thing that a person decides by.
fn in_short(plan: &moves::Plan) -> Value {
    let side =
        |side: &moves::Side| format!("{} ({}, Postgres {})", side.cluster, side.isolation.as_str(), side.postgres);
    let joined = |lines: &[String]| if lines.is_empty() { Value::Null } else { lines.join("; ").into() };
    let tables: Vec<String> = plan
        .tables
        .iter()
        .filter(|table| table.rows > 0)
        .map(|table| format!("{} {} ({} bytes)", table.name, table.rows, table.bytes))
        .collect();
    let extension = |one: &moves::Extension| {
        format!("{} {} (there {})", one.name, one.version, one.there.as_deref().unwrap_or("none"))
    };
    let extensions: Vec<String> = plan.extensions.iter().map(extension).collect();
    json!({
        "customer_id": plan.customer_id, "from": side(&plan.from), "to": side(&plan.to),
        "schema_version": plan.schema_version, "rows": plan.rows, "bytes": plan.bytes, "tables": joined(&tables),
        "extensions": joined(&extensions),
        "estimate": format!("about {} s; offline, nothing is written for so long", plan.estimated_s),
        "only_offline": joined(&plan.only_offline),
        "room": format!(
            "{} tenants on a budget of {} connections, {} of {} sessions in use, about {} relations",
            plan.room.tenants, plan.room.connection_budget, plan.room.connections, plan.room.max_connections, plan.room.relations
        ),
        "notes": joined(&plan.notes), "refused": joined(&plan.refused),
    })
}
