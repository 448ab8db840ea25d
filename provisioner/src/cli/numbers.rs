//! `number`.

use std::collections::HashMap;

use serde_json::{Value, json};
use strowger::control::changes::Heard;
use strowger::control::numbers::{self as rows, Assignment};
use strowger::control::tenants::{self, State};
use strowger::id::TenantId;
use strowger::phone::Number;
use strowger::providers::twilio::{Available, Kind, Search};

use super::args::{NumberCommand, NumberKind};
use crate::error::Result;
use crate::{Provisioner, numbers, twilio};

pub(super) async fn run(with: &Provisioner, command: &NumberCommand) -> Result<Value> {
    Ok(match command {
        NumberCommand::Assign { number, tenant, account, reason } => {
            answered(number, Some(*tenant), numbers::assign(with, number, *tenant, account.as_ref(), reason).await?)
        }
        NumberCommand::Replace { old, new, reason } => {
            let (tenant, heard) = numbers::replace(with, old, new, reason).await?;
            answered(new, Some(tenant), heard)
        }
        NumberCommand::Release { number, at_provider: true } => {
            answered(number, None, twilio::give_back(with, number).await?)
        }
        NumberCommand::Release { number, .. } => answered(number, None, numbers::release(with, number).await?),
        NumberCommand::Search(args) => {
            let kind = match args.kind {
                NumberKind::Local => Kind::Local,
                NumberKind::TollFree => Kind::TollFree,
                NumberKind::Mobile => Kind::Mobile,
            };
            let (country, area_code, limit) = (args.country, args.area_code, args.limit);
            let search = Search { country, kind, area_code, contains: args.contains.as_deref(), limit };
            let found = twilio::search(with, args.tenant, args.account.as_ref(), &search).await?;
            found.iter().map(for_sale).collect()
        }
        NumberCommand::Buy { number, tenant, account } => {
            json!(twilio::buy(with, number, *tenant, account.as_ref()).await?)
        }
        NumberCommand::Configure { number, .. } => json!(twilio::configure(with, number.as_ref()).await?),
        NumberCommand::List => {
            let states: HashMap<_, _> =
                tenants::list(with.control()).await?.into_iter().map(|tenant| (tenant.id, tenant.state)).collect();
            rows::list(with.control()).await?.iter().map(|row| listed(row, &states)).collect()
        }
    })
}

fn answered(number: &Number, tenant: Option<TenantId>, heard: Heard) -> Value {
    json!({ "number": number.to_string(), "customer_id": tenant, "instances": heard.instances, "acknowledged": heard.acknowledged })
}

/// A number may be active and reach nobody: its tenant may be suspended or deleted.
fn listed(row: &rows::NumberRow, states: &HashMap<TenantId, State>) -> Value {
    let (state, tenant) = match &row.assignment {
        Assignment::Active(tenant) => ("active", Some(*tenant)),
        Assignment::Moving { to, .. } => ("moving", *to),
        Assignment::Released => ("released", None),
    };
    json!({
        "number": row.number.to_string(), "customer_id": tenant, "account": row.account.as_str(), "state": state,
        "tenant_state": tenant.and_then(|tenant| states.get(&tenant)).map(|state| state.as_str()),
    })
}

fn for_sale(found: &Available) -> Value {
    json!({
        "number": found.phone_number, "locality": found.locality, "region": found.region, "voice": found.capabilities.voice,
        "sms": found.capabilities.sms, "address_required": found.address_requirements.as_deref().unwrap_or("none"),
    })
}
