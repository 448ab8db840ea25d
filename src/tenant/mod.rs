//! The only code that reaches a tenant's database.
//!
//! [`Router::open`] takes a [`Principal`](crate::auth::Principal) and gives a [`TenantDb`]; one file a domain holds the SQL.
//! `query` is visible in this module alone, so no handler can run SQL, and a bare tenant id opens nothing. Every physical
//! connection has proven, before its first use, whose it is ([`connect`]).

pub mod answers;
pub mod calls;
pub mod callers;
pub mod clones;
pub mod configurations;
mod connect;
pub mod context;
mod db;
pub mod imports;
pub mod knowledge;
pub mod memories;
mod onward;
pub mod outbox;
pub mod page;
pub mod persons;
mod pools;
mod router;
pub mod scenarios;
pub mod summaries;
pub mod turns;
pub mod variables;
pub mod vectors;

pub use connect::OpenError;
pub use db::{Intent, Read, TenantConn, TenantDb, TenantError, Write};
pub use pools::Limits;
pub use router::{Refused, Router};
