use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::envelope::{self, KeyBytes};
use super::{DataKey, Scope, VaultError};

/// Master keys by id. The first wraps new data keys; all of them unwrap.
///
/// The text form has one `id:base64` of 32 bytes a line (or separated by commas, as fits an environment variable); lines
/// that begin with `#` are comments. A ring from a file follows the file: it is read again when a key is wanted that it does not
/// have, and before a new data key is wrapped. Clones follow it together.
#[derive(Clone)]
pub struct MasterRing(Arc<Inner>);

struct Inner {
    source: Option<PathBuf>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    keys: Vec<(String, KeyBytes)>,
    /// Which file was read: a file that was not touched since is not read again.
    version: Option<FileVersion>,
}

/// Inode, length, and when it was changed.
type FileVersion = (u64, u64, i64, i64);

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

impl MasterRing {
    /// Reads the text form from a file, and follows it from then on.
    pub fn from_file(path: &Path) -> Result<Self, RingError> {
        Ok(Self(Arc::new(Inner { source: Some(path.to_owned()), state: RwLock::new(read(path)?) })))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let state = State { keys: parse(text)?, version: None };
        Ok(Self(Arc::new(Inner { source: None, state: RwLock::new(state) })))
    }

    /// The file it follows, if it came from one.
    pub fn source(&self) -> Option<&Path> {
        self.0.source.as_deref()
    }

    /// The ids of its keys, the one that wraps first.
    pub fn ids(&self) -> Vec<String> {
        self.follow();
        self.state().keys.iter().map(|(id, _)| id.clone()).collect()
    }

    /// Proof of holding a key, for whoever has to have the same one; `None` if it is not on the ring.
    pub fn challenge(&self, id: &str, nonce: &[u8]) -> Option<Vec<u8>> {
        self.follow();
        let state = self.state();
        let (_, key) = state.keys.iter().find(|(known, _)| known == id)?;
        Some(envelope::seal(key, id.as_bytes(), &[b"master-key", nonce], b""))
    }

    /// Whether the key that made the challenge is on this ring too: the same key, not only the same id.
    pub fn answers(&self, challenge: &[u8], nonce: &[u8]) -> bool {
        let Ok((id, body)) = envelope::header(challenge) else { return false };
        self.key(id).is_some_and(|key| envelope::open(&key, body, &[b"master-key", nonce]).is_ok())
    }

    /// Wraps a data key with one master key, whichever wrapped it before.
    pub fn rewrap_data_key(&self, scope: Scope, wrapped: &WrappedKey, master: &str) -> Result<WrappedKey, VaultError> {
        let key = self.unwrap_data_key(scope, wrapped)?;
        let bytes = self.key(master.as_bytes()).ok_or(VaultError::UnknownKey)?;
        Ok(wrap(master, &bytes, &key))
    }

    /// A key by id; a file is read again for one that is not known.
    fn key(&self, id: &[u8]) -> Option<KeyBytes> {
        let find = || self.state().keys.iter().find(|(known, _)| known.as_bytes() == id).map(|(_, key)| key.clone());
        find().or_else(|| {
            self.follow();
            find()
        })
    }

    /// Reads the file again if it has changed. One that cannot be read leaves the keys as they are: they still open what they opened.
    fn follow(&self) {
        let Some(path) = self.source() else { return };
        if version(path).is_some_and(|now| self.state().version == Some(now)) {
            return;
        }
        match read(path) {
            Ok(state) => *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = state,
            Err(error) => {
                tracing::warn!(%error, "the key ring has changed and cannot be read; going on with the keys known so far");
            }
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text form of a ring with one new random key.
    pub fn generate(id: &str) -> Zeroizing<String> {
        let key = Zeroizing::new(envelope::random::<32>());
        Zeroizing::new(format!("{id}:{}\n", STANDARD.encode(key.as_slice())))
    }

    /// Makes a scope's data key and wraps it with the first master key that the file names now.
    pub fn new_data_key(&self, scope: Scope, version: u32) -> (DataKey, WrappedKey) {
        self.follow();
        let key = DataKey { scope, version, bytes: Zeroizing::new(envelope::random()) };
        let wrapped = self.state().keys.first().map(|(id, master)| wrap(id, master, &key));
        // A ring is never empty (see `parse`); an empty wrapped key would not unwrap.
        let wrapped = wrapped.unwrap_or(WrappedKey { version, bytes: Vec::new() });
        (key, wrapped)
    }

    /// Opens a data key that was wrapped for `scope`.
    pub fn unwrap_data_key(&self, scope: Scope, wrapped: &WrappedKey) -> Result<DataKey, VaultError> {
        let (id, body) = envelope::header(&wrapped.bytes)?;
        let master = self.key(id).ok_or(VaultError::UnknownKey)?;
        let plain = envelope::open(&master, body, &associated(&scope.bytes(), &wrapped.version.to_be_bytes()))?;
        let bytes = <[u8; 32]>::try_from(plain.expose()).map_err(|_| VaultError::Malformed)?;
        Ok(DataKey { scope, version: wrapped.version, bytes: Zeroizing::new(bytes) })
    }
}

fn wrap(id: &str, master: &KeyBytes, key: &DataKey) -> WrappedKey {
    let (scope, version) = (key.scope.bytes(), key.version.to_be_bytes());
    let sealed = envelope::seal(master, id.as_bytes(), &associated(&scope, &version), key.bytes.as_slice());
    WrappedKey { version: key.version, bytes: sealed }
}

fn version(path: &Path) -> Option<FileVersion> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

fn read(path: &Path) -> Result<State, RingError> {
    // Looked at before it is read: a change in between is then noticed the next time.
    let version = version(path);
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| RingError::Unreadable { path: path.display().to_string(), source })?;
    Ok(State { keys: parse(&text)?, version })
}

fn parse(text: &str) -> Result<Vec<(String, KeyBytes)>, RingError> {
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
    if keys.is_empty() { Err(RingError::Empty) } else { Ok(keys) }
}

fn associated<'a>(scope: &'a [u8], version: &'a [u8]) -> [&'a [u8]; 3] {
    [scope, b"data-key", version]
}
