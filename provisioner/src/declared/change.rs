//! One change that a plan holds, and how it is shown.

use std::fmt;

use strowger::control::tenants::State;
use strowger::id::AccountSid;
use strowger::phone::Number;

use super::file::{WantedAccount, WantedSchedule, WantedSecret, WantedSetting, WantedTenant};

/// One change. Tenants are known by name: those that are to be made have no id yet.
pub enum Change<'d> {
    /// Holds for every tenant from now on.
    SetSetting(&'d WantedSetting),
    /// Made, or finished.
    CreateTenant(&'d WantedTenant),
    /// Served, served for reading, shut out; or given another reason.
    SetState(&'d WantedTenant, State),
    /// Added, or given another token.
    PutAccount {
        /// Which, and its token.
        wanted: &'d WantedAccount,
        /// `None`: the platform's.
        owner: Option<String>,
        /// Whether it was not known.
        new: bool,
    },
    /// Set, or replaced.
    SetSecret {
        /// Which, and its value.
        wanted: &'d WantedSecret,
        /// `None`: the platform's.
        owner: Option<String>,
        /// Whether it was not known.
        new: bool,
    },
    /// Made, or replaced.
    SetSchedule {
        /// How often.
        wanted: &'d WantedSchedule,
        /// `None`: everybody who has none of their own.
        owner: Option<String>,
        /// Whether there was none.
        new: bool,
    },
    /// Given to a tenant.
    AssignNumber {
        /// Which.
        number: Number,
        /// Under which account.
        account: AccountSid,
        /// To whom.
        to: String,
        /// Who answered before.
        from: Option<String>,
    },
    /// Taken away.
    ReleaseNumber {
        /// Which.
        number: Number,
        /// Who answered before.
        from: Option<String>,
    },
    /// Forgotten.
    RemoveAccount(AccountSid),
    /// Forgotten; backups stay.
    RemoveSchedule {
        /// `None`: everybody who has none of their own.
        owner: Option<String>,
    },
}

impl Change<'_> {
    /// Whether it takes something away.
    pub fn takes_away(&self) -> bool {
        matches!(self, Self::ReleaseNumber { .. } | Self::RemoveAccount(_) | Self::RemoveSchedule { .. })
    }
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |owner: &Option<String>| match owner {
            Some(name) => format!("of \"{name}\""),
            None => "of the platform".to_owned(),
        };
        let was = |from: &Option<String>| from.as_ref().map_or_else(String::new, |name| format!(" (was \"{name}\")"));
        let covered = |owner: &Option<String>| match owner {
            Some(name) => format!("of \"{name}\""),
            None => "of all that have none of their own".to_owned(),
        };
        match self {
            Self::SetSetting(wanted) => write!(f, "~ {} \"{}\"", wanted.name, wanted.value),
            Self::SetSchedule { wanted, owner, new } => {
                let sign = if *new { '+' } else { '~' };
                write!(f, "{sign} backup schedule {}: {}", covered(owner), wanted.rhythm)
            }
            Self::RemoveSchedule { owner } => write!(f, "- backup schedule {}", covered(owner)),
            Self::CreateTenant(wanted) => write!(f, "+ tenant \"{}\" ({})", wanted.name, wanted.isolation.as_str()),
            Self::SetState(wanted, state) => write!(f, "~ tenant \"{}\": {}", wanted.name, state.as_str()),
            Self::PutAccount { wanted, owner, new: true } => write!(f, "+ account {} {}", wanted.id, of(owner)),
            Self::PutAccount { wanted, owner, .. } => write!(f, "~ account {} {}: another token", wanted.id, of(owner)),
            Self::SetSecret { wanted, owner, new: true } => write!(f, "+ secret {} {}", wanted.name, of(owner)),
            Self::SetSecret { wanted, owner, .. } => write!(f, "~ secret {} {}: another value", wanted.name, of(owner)),
            Self::AssignNumber { number, account, to, from } => {
                let sign = if from.is_some() { '~' } else { '+' };
                write!(f, "{sign} number {number}: \"{to}\" under {account}{}", was(from))
            }
            Self::ReleaseNumber { number, from } => write!(f, "- number {number}{}", was(from)),
            Self::RemoveAccount(id) => write!(f, "- account {id}"),
        }
    }
}
