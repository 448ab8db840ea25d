//! Envelope encryption: bytes in, bytes out. The one file it reads is the ring of master keys.
//!
//! A master key from a [`MasterRing`] wraps a random [`DataKey`] for each tenant (and one for the platform); data keys
//! seal connection passwords, provider secrets and queued payloads. Every ciphertext is AES-256-GCM over associated data
//! that names the [`Scope`], the purpose and the row, so a ciphertext copied to another tenant, column or row does not
//! open. The nonce is chosen inside `seal`: 96 random bits, far below the birthday bound for the few thousand
//! ciphertexts one data key ever makes.
//!
//! What a newcomer gets wrong: there is no "unsealed" mode for development. A missing or short key stops the process.

mod envelope;
mod key;
mod ring;
mod secret;

pub use key::{
    ArchivePass, AuditKey, AuthToken, BackupChunk, BackupKey, BackupManifest, DataKey, JobApproval, LoginPassword,
    NamedSecret, Purpose, Scope, Sealed, SigningSecret, WorkPayload,
};
pub use ring::{MasterRing, RingError, WrappedKey};
pub use secret::Secret;

/// Why a ciphertext does not open. Says nothing about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Wrong key, wrong tenant, wrong purpose, wrong row, or a changed bit: these cannot be told apart.
    #[error("the ciphertext does not belong here, or was changed")]
    Refused,
    /// The header names a key that this process does not have.
    #[error("the ciphertext names a key that is not on the ring")]
    UnknownKey,
    /// Too short, or of a version that this build does not know.
    #[error("this is not a ciphertext of a known version")]
    Malformed,
}

#[cfg(test)]
mod tests;
