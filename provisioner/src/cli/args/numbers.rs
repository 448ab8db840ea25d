//! `number`.

use clap::{Args, Subcommand, ValueEnum};
use strowger::id::{AccountSid, Region, TenantId};
use strowger::phone::{Number, PhoneNumber};

use super::values::pattern;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum NumberCommand {
    /// Give a number to a tenant, taking it from whoever had it
    Assign {
        /// +18005550100, or whatsapp:106540352242922
        #[arg(allow_hyphen_values = true)]
        number: Number,
        #[arg(long)]
        tenant: TenantId,
        /// The account whose webhooks name it [default: the tenant's only one, else the platform's]
        #[arg(long)]
        account: Option<AccountSid>,
        /// Kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give a tenant another number in the place of one that it has, which nobody answers afterwards
    Replace {
        /// The number that it has
        #[arg(allow_hyphen_values = true)]
        old: Number,
        /// The number that it gets, under the same account
        #[arg(allow_hyphen_values = true)]
        new: Number,
        /// Kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take a number away; nobody answers it afterwards
    Release {
        number: Number,
        /// Then give it back to Twilio, too: it is not paid for any more, and anybody may buy it
        #[arg(long)]
        at_provider: bool,
    },
    /// Numbers that Twilio has for sale
    Search(Search),
    /// Buy a number at Twilio, point its webhooks to `platform set public_url`, and give it to a tenant
    ///
    /// Run again, also after it was killed, it buys nothing that the account has already.
    Buy {
        /// As `number search` shows it
        number: PhoneNumber,
        #[arg(long)]
        tenant: TenantId,
        /// The account that buys and pays [default: the tenant's only one, else the platform's]
        #[arg(long)]
        account: Option<AccountSid>,
    },
    /// Point the webhooks of numbers at Twilio to the public URL of now
    Configure {
        #[arg(required_unless_present = "all")]
        number: Option<PhoneNumber>,
        /// Every number that is answered here
        #[arg(long, conflicts_with = "number")]
        all: bool,
    },
    /// All numbers
    List,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Search {
    /// Two capital letters, as in US or KE
    #[arg(long)]
    pub(in crate::cli) country: Region,
    #[arg(long = "type", value_enum, default_value = "local")]
    pub(in crate::cli) kind: NumberKind,
    /// Three digits; North America only
    #[arg(long, value_parser = clap::value_parser!(u16).range(200..=999))]
    pub(in crate::cli) area_code: Option<u16>,
    /// What stands in it: digits, letters as on a telephone's keys, * for any digit
    #[arg(long, value_parser = pattern)]
    pub(in crate::cli) contains: Option<String>,
    /// Ask as this tenant, whose account may have other numbers [default: the platform]
    #[arg(long)]
    pub(in crate::cli) tenant: Option<TenantId>,
    /// Ask as this account
    #[arg(long)]
    pub(in crate::cli) account: Option<AccountSid>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(in crate::cli) limit: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum NumberKind {
    Local,
    TollFree,
    Mobile,
}
