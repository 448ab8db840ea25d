//! `model`, `usage`.

use clap::{Subcommand, ValueEnum};
use strowger::id::TenantId;
use time::Date;

use super::values::day;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum YesNo {
    Yes,
    No,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Model {
    /// Change what is given and leave the rest. The key is a secret: `secret set model.api_key [--tenant ID]`
    ///
    /// A tenant uses what the platform has where nothing of its own is set. With its own base URL it uses its own key only:
    /// the platform's key goes to the platform's base URL alone.
    Set {
        /// Whose; without it the platform's, for all tenants that have none of their own
        #[arg(long)]
        tenant: Option<TenantId>,
        /// An OpenAI-compatible API, such as https://api.example/v1. Servers call whatever stands here
        #[arg(long)]
        base_url: Option<String>,
        /// Take http:// for another machine too: key and callers' words cross the network in the clear
        #[arg(long, requires = "base_url")]
        insecure: bool,
        /// The provider's name of the model that talks
        #[arg(long)]
        chat_model: Option<String>,
        /// The provider's name of the model that makes vectors for search
        #[arg(long)]
        embedding_model: Option<String>,
        /// Whether callers' words may be sent to the model [default: no]
        #[arg(long, value_enum)]
        allow: Option<YesNo>,
        /// Tokens of prompts and answers, a tenant and UTC day [default: 200000]
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000))]
        tokens_per_day: Option<i64>,
    },
    /// What is set of a tenant and what holds for it; without --tenant, what is set of the platform
    Show {
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Forget what is set; the secret stays
    Clear {
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Usage {
    /// Calls and tokens by tenant, day, purpose, payer and model: of the last 31 UTC days, or of one
    Show {
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Such as 2026-07-01
        #[arg(long, value_parser = day)]
        day: Option<Date>,
    },
}
