//! Strowger: a number is dialled, and the call reaches that business's own Postgres schema or database, through a login
//! that can open nothing else.
//!
//! This is the half that faces the internet. It opens tenants' own logins and nothing more; what creates roles, schemas and
//! databases is the `provisioner` package, which depends on this one and never the reverse.
//!
//! Read the modules in the order below: each uses only those above it, and `tests/it/architecture.rs` holds them to it.

pub mod id;
pub mod phone;
pub mod shape;
pub mod profile;
pub mod persona;
pub mod meaning;
pub mod analysis;
pub mod clock;
pub mod telemetry;
pub mod playbook;
pub mod selector;
pub mod schema;
pub mod vault;
pub mod control;
pub mod pg;
pub mod directory;
pub mod auth;
pub mod budget;
pub mod tenant;
pub mod providers;
pub mod app;
pub mod work;
pub mod http;
pub mod config;
pub mod serve;
