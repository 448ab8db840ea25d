use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::envelope::{self, KeyBytes};
use super::{DataKey, Scope, VaultError};

/// Master keys by id. The first wraps new data keys; all of them unwrap.
///
/// The text form has one `id:base64` of 32 bytes a line (or separated by commas, as fits an environment variable); lines
/// that begin with `#` are comments.
#[derive(Clone)]
pub struct MasterRing(Vec<(String, KeyBytes)>);

/// Why a ring cannot be used. The process that needs it stops.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file cannot be read.
    #[error("cannot read the key ring {path}: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No key at all.
    #[error("the key ring is empty")]
    Empty,
    /// Not `id:base64`, or an id given twice. Numbered, never quoted: the line may be a key.
    #[error("line {0} of the key ring is not a new id (a-z, 0-9, dot, dash), a colon, and base64")]
    Line(usize),
    /// Not 32 bytes.
    #[error("key {id} is {bytes} bytes long and must be 32")]
    Length {
        /// Its id.
        id: String,
        /// How long it is.
        bytes: usize,
    },
}

/// A data key as it stands in the control database.
#[derive(Clone)]
pub struct WrappedKey {
    /// Counts the data keys of one scope; named in the header of what they seal.
    pub version: u32,
    /// The wrapped bytes; their header names the master key.
    pub bytes: Vec<u8>,
}

impl WrappedKey {
    /// The id of the master key that it was wrapped with: whoever has that one can open copies of it.
    pub fn master_key(&self) -> Result<String, VaultError> {
        let (id, _) = envelope::header(&self.bytes)?;
        String::from_utf8(id.to_vec()).map_err(|_| VaultError::Malformed)
    }
}

impl MasterRing {
    /// Reads the text form from a file.
    pub fn from_file(path: &Path) -> Result<Self, RingError> {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|source| RingError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let mut keys: Vec<(String, KeyBytes)> = Vec::new();
        for (i, line) in text.split(['\n', ',']).enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = line.split_once(':').ok_or(RingError::Line(i + 1))?;
            let well_formed = (1..=32).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
            if !well_formed || keys.iter().any(|(known, _)| known == id) {
                return Err(RingError::Line(i + 1));
            }
            let bytes = STANDARD.decode(key.trim()).map(Zeroizing::new).map_err(|_| RingError::Line(i + 1))?;
            let key = <[u8; 32]>::try_from(bytes.as_slice())
                .map_err(|_| RingError::Length { id: id.to_owned(), bytes: bytes.len() })?;
            keys.push((id.to_owned(), Zeroizing::new(key)));
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self(keys)) }
    }

    /// The text form of a ring with one new random key.
    pub fn generate(id: &str) -> Zeroizing<String> {
        let key = Zeroizing::new(envelope::random::<32>());
        Zeroizing::new(format!("{id}:{}\n", STANDARD.encode(key.as_slice())))
    }

    /// Makes a scope's data key and wraps it with the first master key.
    pub fn new_data_key(&self, scope: Scope, version: u32) -> (DataKey, WrappedKey) {
        let key = DataKey { scope, version, bytes: Zeroizing::new(envelope::random()) };
        let wrapped = self.0.first().map(|(id, master)| {
            envelope::seal(
                master,
                id.as_bytes(),
                &associated(&scope.bytes(), &version.to_be_bytes()),
                key.bytes.as_slice(),
            )
        });
        // A ring is never empty (see `parse`); an empty wrapped key would not unwrap.
        let wrapped = WrappedKey { version, bytes: wrapped.unwrap_or_default() };
        (key, wrapped)
    }

    /// Opens a data key that was wrapped for `scope`.
    pub fn unwrap_data_key(&self, scope: Scope, wrapped: &WrappedKey) -> Result<DataKey, VaultError> {
        let (id, body) = envelope::header(&wrapped.bytes)?;
        let (_, master) = self.0.iter().find(|(known, _)| known.as_bytes() == id).ok_or(VaultError::UnknownKey)?;
        let plain = envelope::open(master, body, &associated(&scope.bytes(), &wrapped.version.to_be_bytes()))?;
        let bytes = <[u8; 32]>::try_from(plain.expose()).map_err(|_| VaultError::Malformed)?;
        Ok(DataKey { scope, version: wrapped.version, bytes: Zeroizing::new(bytes) })
    }
}

fn associated<'a>(scope: &'a [u8], version: &'a [u8]) -> [&'a [u8]; 3] {
    [scope, b"data-key", version]
}
