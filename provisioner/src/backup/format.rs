//! What stands in a manifest, and how it is sealed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use strowger::id::TenantId;
use strowger::schema;
use strowger::vault::{BackupKey, BackupManifest, DataKey, MasterRing, Scope, Sealed, WrappedKey};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::error::{Error, Result};

/// The only format there is.
const FORMAT: u32 = 1;

/// The manifest's file: what is needed to open the rest, in the clear, and the rest.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    strowger_backup: u32,
    backup: Uuid,
    customer_id: TenantId,
    data_key_version: u32,
    /// The tenant's data key, wrapped by a master key of the server's ring.
    data_key: String,
    /// This backup's key, sealed by the data key.
    backup_key: String,
    /// The manifest, sealed by the backup's key.
    manifest: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The backup's id.
    pub backup: Uuid,
    /// Whose data it is.
    pub customer_id: TenantId,
    /// The installation's prefix.
    pub installation: String,
    /// The version of the tenant's schema.
    pub schema_version: i32,
    /// What the server called itself.
    pub postgres: String,
    /// When the snapshot was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub taken_at: OffsetDateTime,
    /// Everything that was committed before this place in the write-ahead log is in it.
    pub lsn: String,
    /// In the order in which `data` holds them.
    pub tables: Vec<Table>,
}

impl Manifest {
    /// Its schema version, by whose migrations it is restored; one that this build does not have is refused.
    pub(super) fn known_version(&self) -> Result<i32> {
        if (1..=schema::MAX).contains(&self.schema_version) {
            return Ok(self.schema_version);
        }
        Err(Error::Conflict(format!(
            "the backup has schema version {} and this build knows up to {}: use the newer strowgerctl",
            self.schema_version,
            schema::MAX
        )))
    }
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The columns in `data`, in order; generated ones are made anew.
    pub columns: Vec<String>,
    /// How many rows.
    pub rows: u64,
    /// Of COPY text.
    pub bytes: u64,
    /// The sum, modulo 2^128, of the first sixteen bytes of each line's SHA-256.
    pub checksum: String,
    /// In how many pieces it is.
    pub chunks: u32,
    /// Where the sequences of its columns stood.
    pub sequences: Vec<Sequence>,
}

/// The sequence behind a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The column.
    pub column: String,
    /// As `setval` takes it.
    pub last_value: i64,
    /// As `setval` takes it.
    pub is_called: bool,
}

/// A new backup's key, and what must stand in its manifest so that it can be opened again.
pub(super) struct Seal {
    pub(super) key: DataKey,
    backup: Uuid,
    tenant: TenantId,
    wrapped: WrappedKey,
    sealed_key: Sealed<BackupKey>,
}

impl Seal {
    pub(super) fn new(backup: Uuid, tenant: TenantId, ring: &MasterRing, wrapped: WrappedKey) -> Result<Self> {
        let what = || Error::vault(format!("the data key of tenant {tenant}"));
        let data_key = ring.unwrap_data_key(Scope::Tenant(tenant), &wrapped).map_err(what())?;
        let (key, sealed_key) = data_key.new_key(&backup.to_string());
        Ok(Self { key, backup, tenant, wrapped, sealed_key })
    }

    pub(super) fn close(&self, manifest: &Manifest) -> Result<Vec<u8>> {
        let plain = serde_json::to_vec(manifest).map_err(|error| Error::Conflict(format!("the manifest: {error}")))?;
        let sealed: Sealed<BackupManifest> = self.key.seal(&self.backup.to_string(), &plain);
        let envelope = Envelope {
            strowger_backup: FORMAT,
            backup: self.backup,
            customer_id: self.tenant,
            data_key_version: self.wrapped.version,
            data_key: STANDARD.encode(&self.wrapped.bytes),
            backup_key: STANDARD.encode(self.sealed_key.as_bytes()),
            manifest: STANDARD.encode(sealed.as_bytes()),
        };
        serde_json::to_vec(&envelope).map_err(|error| Error::Conflict(format!("the manifest: {error}")))
    }
}

/// An opened manifest: the key of the pieces, and the master key without which it would not have opened.
pub(super) struct Unsealed {
    pub(super) key: DataKey,
    pub(super) manifest: Manifest,
    pub(super) master_key: String,
}

/// Opens a manifest. It must be that backup's, whatever it says of itself.
pub(super) fn open(file: &[u8], backup: Uuid, ring: &MasterRing) -> Result<Unsealed> {
    let bad = |why: &str| Error::Conflict(format!("backup {backup}: its manifest {why}: nothing was changed"));
    let envelope: Envelope = serde_json::from_slice(file).map_err(|_| bad("is not one"))?;
    if envelope.strowger_backup != FORMAT {
        return Err(bad("is of a format that this build does not know"));
    }
    if envelope.backup != backup {
        return Err(bad("is another backup's"));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| bad("is damaged"));
    let refused = |what: &str| Error::vault(format!("backup {backup}: {what}, nothing was changed"));
    let wrapped = WrappedKey { version: envelope.data_key_version, bytes: bytes(&envelope.data_key)? };
    let scope = Scope::Tenant(envelope.customer_id);
    let data_key = ring.unwrap_data_key(scope, &wrapped).map_err(refused("the data key"))?;
    let row = backup.to_string();
    let sealed = Sealed::<BackupKey>::from_stored(bytes(&envelope.backup_key)?);
    let key = data_key.open_key(&row, &sealed).map_err(refused("its key"))?;
    let sealed = Sealed::<BackupManifest>::from_stored(bytes(&envelope.manifest)?);
    let plain = key.open(&row, &sealed).map_err(refused("the manifest"))?;
    let manifest: Manifest = serde_json::from_slice(plain.expose()).map_err(|_| bad("says what it must not"))?;
    let master_key = wrapped.master_key().map_err(refused("the data key"))?;
    Ok(Unsealed { key, manifest, master_key })
}

/// What a piece is sealed as: neither another table's, nor another place's, nor another backup's.
pub(super) fn chunk_row(backup: Uuid, table: &str, chunk: u32) -> String {
    format!("{backup} {table} {chunk}")
}
