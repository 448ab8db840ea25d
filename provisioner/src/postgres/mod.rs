//! Postgres's own programs on this machine: found, run as a user who may, and ended with what they made, however we end.

mod binaries;
mod undertaker;

pub(crate) use binaries::{Binaries, SUPERUSER, User, free_port, postgres_user};
pub(crate) use undertaker::{BUSY, CLUSTER, SOCKETS, Undertaker};

/// Whether what Postgres acknowledges survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It does.
    Full,
    /// For throwaway tests only.
    None,
}
