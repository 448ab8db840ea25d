//! `data`: each piece compressed, sealed, and with its length before it; and a backup opened to be read.

use strowger::vault::{BackupChunk, DataKey, MasterRing, Sealed};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use uuid::Uuid;

use super::format::{self, Manifest, Table, Unsealed, chunk_row};
use super::store::Store;
use crate::error::{Error, Result};

/// The text of a piece, at most: what is held in memory, and more than enough for compression.
pub(super) const PIECE: usize = 1 << 20;
/// Fast, and a third of what it was for text.
const LEVEL: i32 = 1;

/// Writes pieces one after the other.
pub(super) struct Pieces<'k> {
    key: &'k DataKey,
    backup: Uuid,
    out: BufWriter<File>,
}

impl<'k> Pieces<'k> {
    pub(super) fn new(key: &'k DataKey, backup: Uuid, out: File) -> Self {
        Self { key, backup, out: BufWriter::with_capacity(1 << 18, out) }
    }

    pub(super) async fn add(&mut self, table: &str, number: u32, text: &[u8]) -> Result<()> {
        let failed = || Error::io(format!("write backup {}", self.backup));
        let small = zstd::bulk::compress(text, LEVEL).map_err(failed())?;
        let sealed = self.key.seal::<BackupChunk>(&chunk_row(self.backup, table, number), &small);
        let length = u32::try_from(sealed.as_bytes().len()).unwrap_or(u32::MAX);
        self.out.write_all(&length.to_be_bytes()).await.map_err(failed())?;
        self.out.write_all(sealed.as_bytes()).await.map_err(failed())
    }

    pub(super) async fn end(mut self) -> Result<File> {
        self.out.flush().await.map_err(Error::io(format!("write backup {}", self.backup)))?;
        Ok(self.out.into_inner())
    }
}

/// A backup whose manifest has been opened.
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    /// The master key that wraps its copy of the data key.
    pub(crate) master_key: String,
    key: DataKey,
    data: BufReader<File>,
}

impl Opened {
    /// Opens the manifest; the pieces are opened as they are read.
    pub(crate) async fn of(store: &Store, id: Uuid, ring: &MasterRing) -> Result<Self> {
        let Unsealed { key, manifest, master_key } = format::open(&store.manifest(id).await?, id, ring)?;
        let data = BufReader::with_capacity(1 << 18, store.data(id).await?);
        Ok(Self { manifest, master_key, key, data })
    }

    /// The next piece of a table's text. Tables and pieces are read in order; any other piece than the next does not open.
    pub(super) async fn piece(&mut self, table: &Table, number: u32) -> Result<Vec<u8>> {
        let id = self.manifest.backup;
        let bad = |why: &str| {
            Error::Conflict(format!("backup {id}: piece {number} of {} {why}: nothing was changed", table.name))
        };
        let mut length = [0; 4];
        self.data.read_exact(&mut length).await.map_err(|_| bad("is missing"))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // Text that does not compress grows a little.
        if length > 2 * PIECE {
            return Err(bad("is damaged"));
        }
        let mut sealed = vec![0; length];
        self.data.read_exact(&mut sealed).await.map_err(|_| bad("is cut off"))?;
        let row = chunk_row(id, &table.name, number);
        let opened = self.key.open(&row, &Sealed::<BackupChunk>::from_stored(sealed));
        let small = opened.map_err(|_| bad("does not open: it was changed, or belongs elsewhere"))?;
        zstd::bulk::decompress(small.expose(), PIECE).map_err(|_| bad("is damaged"))
    }

    /// Nothing follows the last piece.
    pub(super) async fn end(mut self) -> Result<()> {
        match self.data.read_u8().await {
            Err(_) => Ok(()),
            Ok(_) => Err(Error::Conflict(format!(
                "backup {}: something follows its end: nothing was changed",
                self.manifest.backup
            ))),
        }
    }
}
