//! `account`, `secret`, `token`, `key`, `rotate`, `ring`.

use clap::{Subcommand, ValueEnum};
use strowger::control::keys::Ring as MasterRing;
use strowger::id::{AccountSid, TenantId};

use super::values::{ScopeList, scopes, seconds};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Account {
    /// Add an account, or give a known one a new auth token. The token comes from standard input
    Add {
        #[arg(long, value_parser = ["twilio"])]
        provider: String,
        #[arg(long)]
        id: AccountSid,
        /// Its owner; without it the platform
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Make a subaccount for a tenant under the platform's account, and add it as the tenant's own
    ///
    /// Run again, also after it was killed, it finds the one that there is.
    Create {
        #[arg(long, value_parser = ["twilio"])]
        provider: String,
        #[arg(long)]
        tenant: TenantId,
        /// What Twilio's console shows, before a mark that no other subaccount has [default: the tenant's name]
        #[arg(long)]
        friendly_name: Option<String>,
        /// Which account of the platform's it is under, if there is more than one
        #[arg(long)]
        under: Option<AccountSid>,
    },
    /// Close a tenant's subaccount at Twilio, with its numbers, for ever, and forget it here
    Close {
        id: AccountSid,
        /// The same id once more
        #[arg(long)]
        confirm: AccountSid,
    },
    /// Give an account, with its token, another owner
    Transfer {
        id: AccountSid,
        /// The new owner; without it the platform
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Kept in the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// All accounts, and whose they are. A tenant without one is served with the platform's
    List,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Secret {
    /// Set a secret. The value comes from standard input
    Set {
        name: String,
        /// Its owner; without it the platform
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Print a service token for one tenant; audited
    Mint {
        #[arg(long)]
        tenant: TenantId,
        /// Rights, space separated, such as "read:memories write:memories"
        #[arg(long, value_parser = scopes)]
        scope: ScopeList,
        /// How long it holds: a number and s, m, h or d
        #[arg(long, default_value = "1h", value_parser = seconds)]
        ttl: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KeyAlgorithm {
    #[value(name = "EdDSA")]
    EdDsa,
    #[value(name = "HS256")]
    Hs256,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Key {
    /// Add a key; new tokens are signed with it, unless it is a legacy one
    Add {
        kid: String,
        #[arg(long, value_enum, default_value = "EdDSA", conflicts_with = "legacy")]
        algorithm: KeyAlgorithm,
        /// A secret that other services sign HS256 tokens with, without a key id. It comes from standard input
        #[arg(long, requires = "bound")]
        legacy: bool,
        /// A legacy key's tokens hold for these tenants only
        #[arg(long, group = "bound", requires = "legacy", num_args = 1..)]
        tenant: Vec<TenantId>,
        /// A legacy key's tokens hold for every tenant that they name
        #[arg(long, group = "bound", requires = "legacy")]
        all_tenants: bool,
    },
    /// Retire a key; its tokens are refused on every running server when this returns
    Retire { kid: String },
    /// All keys
    List,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Rotate {
    /// Give a tenant, or each of them, a new login password; the old one is refused when this returns
    Tenant {
        #[arg(required_unless_present = "all")]
        id: Option<TenantId>,
        /// Every tenant
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Sign new tokens with a new key. The one in use goes on verifying for a while; then a worker retires it
    SigningKey {
        /// How long: at least as long as the longest --ttl of tokens in use. A number and s, m, h or d
        #[arg(long, default_value = "24h", value_parser = seconds)]
        overlap: i64,
        /// The new key's id; with it, the command can be run again [default: the next number]
        #[arg(long)]
        kid: Option<String>,
    },
    /// Wrap all data keys with another master key, which `ring add` has added
    Master {
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
        /// The key that is to wrap everything
        #[arg(long)]
        to: String,
    },
    /// Give the provisioner a new login password on a cluster, or on each of them
    Cluster {
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        /// Every cluster
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Which master key wraps how many data keys
    Status,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Ring {
    /// Add a new random key to the ring file here. Copy the file to every server, then `rotate master`
    Add {
        key: String,
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
    /// Remove a key that wraps nothing any more. Keep a copy for as long as you keep old dumps of the control database
    Remove {
        key: String,
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
    /// The keys of a ring, the one that wraps new data keys first
    List {
        /// server or admin
        #[arg(long)]
        ring: MasterRing,
    },
}
