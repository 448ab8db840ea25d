use std::marker::PhantomData;

use super::envelope::{self, KeyBytes};
use super::{Secret, VaultError};
use crate::id::TenantId;

/// Whose key this is. Part of every ciphertext's associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The operator's own secrets.
    Platform,
    /// One tenant's.
    Tenant(TenantId),
}

impl Scope {
    /// The tenant column of a row in this scope.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Platform => None,
            Self::Tenant(id) => Some(id),
        }
    }

    /// A row's scope from its tenant column.
    pub fn of(tenant: Option<TenantId>) -> Self {
        tenant.map_or(Self::Platform, Self::Tenant)
    }

    pub(super) fn bytes(self) -> [u8; 5] {
        let mut out = [0; 5];
        if let Self::Tenant(id) = self {
            out[0] = 1;
            out[1..].copy_from_slice(&id.get().to_be_bytes());
        }
        out
    }
}

/// What a ciphertext is for. One type a column, so that the compiler keeps them apart too.
pub trait Purpose {
    /// Part of the associated data; never changes once data exists.
    const NAME: &'static str;
}

macro_rules! purposes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}
        impl Purpose for $name { const NAME: &'static str = $text; }
    )*};
}
purposes! {
    /// The password of a login role. The row is the role's name.
    LoginPassword = "login-password";
    /// A provider account's auth token. The row is the account's external id.
    AuthToken = "auth-token";
    /// A secret set by name. The row is the name.
    NamedSecret = "named-secret";
    /// What a durable work item says. The row is its kind and source.
    WorkPayload = "work-payload";
    /// What signs service tokens. The row is the key id.
    SigningSecret = "signing-secret";
    /// What signs exported heads of the audit log. The row is the word `audit`.
    AuditKey = "audit-key";
    /// An operator's approval of a job. The row says which job, and with what parameters.
    JobApproval = "job-approval";
    /// The key of one backup. The row is the backup's id.
    BackupKey = "backup-key";
    /// What the archive of a cluster is encrypted with. The row is the cluster's name.
    ArchivePass = "archive-pass";
    /// What a backup holds. The row is the backup's id.
    BackupManifest = "backup-manifest";
    /// A piece of a table. The row is the backup's id, the table and the number of the piece in it.
    BackupChunk = "backup-chunk";
}

/// A ciphertext for one purpose.
pub struct Sealed<P>(Vec<u8>, PhantomData<fn() -> P>);

impl<P: Purpose> Sealed<P> {
    /// As read from its column.
    pub fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes, PhantomData)
    }
    /// As written to its column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A random key of one scope. Only [`MasterRing`](super::MasterRing) makes or unwraps one.
pub struct DataKey {
    pub(super) scope: Scope,
    pub(super) version: u32,
    pub(super) bytes: KeyBytes,
}

impl DataKey {
    /// Encrypts for this key's scope, the purpose `P` and the row it will stand in.
    pub fn seal<P: Purpose>(&self, row: &str, plain: &[u8]) -> Sealed<P> {
        let (id, scope) = (self.version.to_be_bytes(), self.scope.bytes());
        let associated = [scope.as_slice(), P::NAME.as_bytes(), row.as_bytes()];
        Sealed::from_stored(envelope::seal(&self.bytes, &id, &associated, plain))
    }

    /// A random key of the same scope for one purpose and row, and itself sealed with this one.
    pub fn new_key<P: Purpose>(&self, row: &str) -> (Self, Sealed<P>) {
        let key = Self { scope: self.scope, version: 0, bytes: zeroize::Zeroizing::new(envelope::random()) };
        let sealed = self.seal(row, key.bytes.as_slice());
        (key, sealed)
    }

    /// Opens what [`DataKey::new_key`] sealed.
    pub fn open_key<P: Purpose>(&self, row: &str, sealed: &Sealed<P>) -> Result<Self, VaultError> {
        let plain = self.open(row, sealed)?;
        let bytes = <[u8; 32]>::try_from(plain.expose()).map_err(|_| VaultError::Malformed)?;
        Ok(Self { scope: self.scope, version: 0, bytes: zeroize::Zeroizing::new(bytes) })
    }

    /// Decrypts what was sealed for the same scope, purpose and row.
    pub fn open<P: Purpose>(&self, row: &str, sealed: &Sealed<P>) -> Result<Secret, VaultError> {
        let (id, body) = envelope::header(&sealed.0)?;
        if id != self.version.to_be_bytes() {
            return Err(VaultError::UnknownKey);
        }
        let scope = self.scope.bytes();
        envelope::open(&self.bytes, body, &[scope.as_slice(), P::NAME.as_bytes(), row.as_bytes()])
    }
}
