//! `model`.

use serde_json::{Value, json};
use strowger::control::models::{BaseUrl, Settings};

use super::args::{Model, YesNo};
use crate::error::{Error, Result};
use crate::{Provisioner, models};

pub(super) async fn run(with: &Provisioner, command: &Model) -> Result<Value> {
    let tenant = match command {
        Model::Set { tenant, base_url, insecure, chat_model, embedding_model, allow, tokens_per_day } => {
            let base_url = base_url.as_deref().map(|text| BaseUrl::parse(text, *insecure)).transpose();
            let base_url = base_url.map_err(|bad| Error::Conflict(format!("--base-url: {bad}")))?;
            let new = Settings {
                base_url: base_url.map(|url| url.as_str().to_owned()),
                chat_model: chat_model.clone(),
                embedding_model: embedding_model.clone(),
                allowed: allow.map(|allow| allow == YesNo::Yes),
                tokens_per_day: *tokens_per_day,
            };
            models::set(with, *tenant, &new).await?;
            tenant
        }
        Model::Clear { tenant } => {
            models::clear(with, *tenant).await?;
            tenant
        }
        Model::Show { tenant } => tenant,
    };
    Ok(json!(models::show(with, *tenant).await?))
}
