//! The two files of a copy: pieces of text, compressed, sealed, each with its length before it.
//!
//! The first line is JSON in the clear: what is needed to open the rest with the admin ring. A piece is sealed for its place, a table
//! ends with an empty piece and the file with a piece that says so: what was cut, changed or put elsewhere does not open.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use strowger::vault::{BackupChunk, BackupKey, BackupManifest, DataKey, MasterRing, Scope, Sealed, WrappedKey};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The only format there is.
const FORMAT: u32 = 1;
/// The text of a piece, at most.
pub(super) const PIECE: usize = 1 << 20;
const LEVEL: i32 = 1;
/// Names the piece after the last one; no table is called that.
const END: &str = "-";

#[derive(Serialize, Deserialize)]
struct Header {
    strowger_control_copy: u32,
    copy: Uuid,
    data_key_version: u32,
    /// The platform's data key, wrapped by a master key of the admin ring.
    data_key: String,
    /// This copy's key, sealed by the data key.
    copy_key: String,
}

/// What a file of a copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The same in both files of a copy.
    pub copy: Uuid,
    /// `control` or `keys`.
    pub part: String,
    /// The installation's prefix.
    pub installation: String,
    /// The version of the control database.
    pub version: i32,
    /// When the snapshot was taken.
    pub taken_at: String,
    /// The platform's data key, wrapped by a master key of the server's ring: whoever restores must have that one too.
    pub server_key: (u32, Vec<u8>),
    /// In the order in which the file holds them.
    pub tables: Vec<Table>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Its sequences by name, as `setval` takes them.
    pub sequences: Vec<(String, i64, bool)>,
}

/// What seals both files of one copy.
pub(super) struct Seal {
    pub(super) copy: Uuid,
    key: DataKey,
    header: Vec<u8>,
}

impl Seal {
    pub(super) fn new(copy: Uuid, data_key: &DataKey, wrapped: &WrappedKey) -> Self {
        let (key, sealed) = data_key.new_key::<BackupKey>(&copy.to_string());
        let header = serde_json::json!(Header {
            strowger_control_copy: FORMAT,
            copy,
            data_key_version: wrapped.version,
            data_key: STANDARD.encode(&wrapped.bytes),
            copy_key: STANDARD.encode(sealed.as_bytes()),
        });
        Self { copy, key, header: format!("{header}\n").into_bytes() }
    }
}

/// A file that is being written, under another name until it is whole.
pub(super) struct Writer<'s> {
    seal: &'s Seal,
    part: String,
    out: BufWriter<File>,
    path: PathBuf,
    aside: PathBuf,
}

impl<'s> Writer<'s> {
    pub(super) fn create(seal: &'s Seal, manifest: &Manifest, path: &Path) -> Result<Self> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".partial");
        let aside = PathBuf::from(aside);
        let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside);
        let out = BufWriter::new(made.map_err(Error::io(format!("create {}", aside.display())))?);
        let mut writer = Self { seal, part: manifest.part.clone(), out, path: path.to_owned(), aside };
        writer.put(&seal.header)?;
        let plain = serde_json::to_vec(manifest).map_err(|error| Error::Conflict(format!("the manifest: {error}")))?;
        let sealed = seal.key.seal::<BackupManifest>(&seal.copy.to_string(), &plain);
        writer.put_sealed(sealed.as_bytes())?;
        Ok(writer)
    }

    pub(super) fn piece(&mut self, table: &str, number: u32, text: &[u8]) -> Result<()> {
        let small = zstd::bulk::compress(text, LEVEL).map_err(Error::io(format!("write {}", self.aside.display())))?;
        let sealed = self.seal.key.seal::<BackupChunk>(&row(self.seal.copy, &self.part, table, number), &small);
        self.put_sealed(sealed.as_bytes())
    }

    /// Gives it its name once all of it is on disk.
    pub(super) fn complete(mut self) -> Result<()> {
        self.piece(END, 0, b"")?;
        let failed = || Error::io(format!("write {}", self.aside.display()));
        self.out.flush().map_err(failed())?;
        self.out.get_ref().sync_all().map_err(failed())?;
        fs::rename(&self.aside, &self.path).map_err(failed())?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed())
    }

    fn put_sealed(&mut self, sealed: &[u8]) -> Result<()> {
        self.put(&u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        self.put(sealed)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io(format!("write {}", self.aside.display())))
    }
}

/// A file of a copy, opened to be read from its beginning.
pub(super) struct Reader {
    pub(super) manifest: Manifest,
    key: DataKey,
    from: BufReader<File>,
    path: PathBuf,
}

impl Reader {
    pub(super) fn open(path: &Path, part: &str, ring: &MasterRing) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
        let mut from = BufReader::new(file);
        let bad = |why: &str| bad(path, why);
        let mut line = Vec::new();
        from.by_ref().take(10_000).read_until(b'\n', &mut line).map_err(|_| bad("cannot be read"))?;
        let header: Header = serde_json::from_slice(&line).map_err(|_| bad("is not a copy of a control database"))?;
        if header.strowger_control_copy != FORMAT {
            return Err(bad("is of a format that this build does not know"));
        }
        let text = |text: &str| STANDARD.decode(text).map_err(|_| bad("is damaged"));
        let wrapped = WrappedKey { version: header.data_key_version, bytes: text(&header.data_key)? };
        let data_key = ring
            .unwrap_data_key(Scope::Platform, &wrapped)
            .map_err(|error| bad(&format!("does not open with this admin ring: {error}")))?;
        let sealed = Sealed::<BackupKey>::from_stored(text(&header.copy_key)?);
        let row = header.copy.to_string();
        let key = data_key.open_key(&row, &sealed).map_err(|_| bad("does not open: it was changed"))?;
        let sealed = Sealed::<BackupManifest>::from_stored(next(&mut from, path)?);
        let plain = key.open(&row, &sealed).map_err(|_| bad("does not open: it was changed"))?;
        let manifest: Manifest = serde_json::from_slice(plain.expose()).map_err(|_| bad("is of another build"))?;
        if manifest.part != part {
            return Err(bad(&format!("is the file of the {}, not of the {part}", manifest.part)));
        }
        Ok(Self { manifest, key, from, path: path.to_owned() })
    }

    /// The next piece of a table; empty: the table ends here. Any other piece than the next does not open.
    pub(super) fn piece(&mut self, table: &str, number: u32) -> Result<Vec<u8>> {
        let sealed = Sealed::<BackupChunk>::from_stored(next(&mut self.from, &self.path)?);
        let row = row(self.manifest.copy, &self.manifest.part, table, number);
        let opened = self.key.open(&row, &sealed).map_err(|_| bad(&self.path, "does not open: it was changed"))?;
        zstd::bulk::decompress(opened.expose(), PIECE).map_err(|_| bad(&self.path, "is damaged"))
    }

    /// Nothing is missing at the end, and nothing follows it.
    pub(super) fn end(mut self) -> Result<()> {
        self.piece(END, 0)?;
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            _ => Err(bad(&self.path, "goes on after its end")),
        }
    }

    /// Reads all of it and keeps nothing: it is whole.
    pub(super) fn prove(mut self) -> Result<Manifest> {
        let manifest = self.manifest.clone();
        for table in &manifest.tables {
            let mut number = 0;
            while !self.piece(&table.name, number)?.is_empty() {
                number += 1;
            }
        }
        self.end()?;
        Ok(manifest)
    }
}

fn next(from: &mut BufReader<File>, path: &Path) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(|_| bad(path, "is cut off"))?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    // Text that does not compress grows a little.
    if length > 2 * PIECE {
        return Err(bad(path, "is damaged"));
    }
    let mut sealed = vec![0; length];
    from.read_exact(&mut sealed).map_err(|_| bad(path, "is cut off"))?;
    Ok(sealed)
}

fn row(copy: Uuid, part: &str, table: &str, number: u32) -> String {
    format!("{copy} {part} {table} {number}")
}

fn bad(path: &Path, why: &str) -> Error {
    Error::Conflict(format!("{} {why}: nothing was changed", path.display()))
}
