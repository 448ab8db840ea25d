//! Who is calling. No HTTP framework here: text and bytes in, a [`Principal`] out.
//!
//! A principal is proof, not a claim: it can only be made by this module, from a token whose signature and claims hold
//! ([`jwt`]), from a webhook whose signature holds ([`webhook`]), or from work that control has leased to us. The router opens tenants for principals and for nothing else.

pub mod jwt;
mod scope;
pub mod webhook;

use crate::control::numbers::{Assignment, NumberRow};
use crate::control::work::{Claimed, Swept};
use crate::directory::DirectoryError;
use crate::id::TenantId;

pub use scope::{Scope, Scopes};

/// Who a request has been proven to come from. Bound to one tenant.
#[derive(Debug)]
pub struct Principal {
    tenant: TenantId,
}

impl Principal {
    /// The only tenant this principal can reach.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The tenant that a verified call is for, if the number belongs to the account that signed.
    ///
    /// Without that check an account's owner could sign a request that names somebody else's number.
    pub fn from_call(call: &webhook::Verified<webhook::TwilioForm>, number: &NumberRow) -> Option<Self> {
        match number.assignment {
            Assignment::Active(tenant) if number.account == *call.account() => Some(Self { tenant }),
            _ => None,
        }
    }

    /// The tenant whose claimed work it is. What enqueued it was authenticated; the payload is sealed under its tenant's key.
    pub fn from_work(item: &Claimed) -> Self {
        Self { tenant: item.tenant() }
    }

    /// The tenant whose outbox is to be looked into.
    pub fn from_sweep(swept: &Swept) -> Self {
        Self { tenant: swept.tenant() }
    }
}

/// Why a request is not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Nothing was presented.
    #[error("no credential was presented")]
    Missing,
    /// What was presented does not hold. The text says which check failed, for the log; the client is not told.
    #[error("the credential does not hold: {0}")]
    Invalid(String),
    /// It could not be checked.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}
