//! `data`: each piece compressed, sealed, and with its length before it; and a backup opened to be read.

use std::io::ErrorKind;

use strowger::vault::{BackupChunk, DataKey, MasterRing, Sealed};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::format::{self, Manifest, Table, Unsealed, chunk_row};
use super::store::{self, Store, Writing};
use super::tally::Tally;
use crate::error::{Error, Result};

/// The text of a piece, at most: memory holds two of them, and it is more than enough for compression.
pub(super) const PIECE: usize = 1 << 20;
/// Fast, and a third of what it was for text.
const LEVEL: i32 = 1;

/// Writes pieces one after the other, each compressed while the next is read.
pub(super) struct Pieces<'a> {
    key: &'a DataKey,
    backup: Uuid,
    out: Writing<'a>,
    last: Option<Shrinking>,
}

/// A piece on another thread.
struct Shrinking {
    row: String,
    small: JoinHandle<std::io::Result<Vec<u8>>>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(key: &'a DataKey, backup: Uuid, out: Writing<'a>) -> Self {
        Self { key, backup, out, last: None }
    }

    pub(super) async fn add(&mut self, table: &str, number: u32, text: Vec<u8>) -> Result<()> {
        let small = tokio::task::spawn_blocking(move || zstd::bulk::compress(&text, LEVEL));
        let last = self.last.replace(Shrinking { row: chunk_row(self.backup, table, number), small });
        self.write(last).await
    }

    /// Nothing comes after the last one that was added.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let last = self.last.take();
        self.write(last).await
    }

    async fn write(&mut self, piece: Option<Shrinking>) -> Result<()> {
        let Some(Shrinking { row, small }) = piece else { return Ok(()) };
        let small = small.await.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
        let small = small.map_err(Error::io(format!("compress backup {}", self.backup)))?;
        let sealed = self.key.seal::<BackupChunk>(&row, &small);
        let length = u32::try_from(sealed.as_bytes().len()).unwrap_or(u32::MAX);
        self.out.add(&length.to_be_bytes()).await?;
        self.out.add(sealed.as_bytes()).await
    }

    /// Where they were written, to be completed or abandoned.
    pub(super) fn end(self) -> Writing<'a> {
        self.out
    }
}

/// A backup whose manifest has been opened.
pub(crate) struct Opened {
    pub(crate) manifest: Manifest,
    /// The master key that wraps its copy of the data key.
    pub(crate) master_key: String,
    key: DataKey,
    data: Box<dyn AsyncRead + Send + Unpin>,
}

impl Opened {
    /// Opens the manifest; the pieces are opened as they are read.
    pub(crate) async fn of(store: &Store, id: Uuid, ring: &MasterRing) -> Result<Self> {
        let Unsealed { key, manifest, master_key } = format::open(&store.manifest(id).await?, id, ring)?;
        Ok(Self { manifest, master_key, key, data: store.data(id).await? })
    }

    /// The next piece of a table's text. Tables and pieces are read in order; any other piece than the next does not open.
    pub(super) async fn piece(&mut self, table: &Table, number: u32) -> Result<Vec<u8>> {
        let id = self.manifest.backup;
        let bad = |why: &str| {
            Error::Conflict(format!("backup {id}: piece {number} of {} {why}: nothing was changed", table.name))
        };
        let mut length = [0; 4];
        self.read(&mut length).await?.ok_or_else(|| bad("is missing"))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        // Text that does not compress grows a little.
        if length > 2 * PIECE {
            return Err(bad("is damaged"));
        }
        let mut sealed = vec![0; length];
        self.read(&mut sealed).await?.ok_or_else(|| bad("is cut off"))?;
        let row = chunk_row(id, &table.name, number);
        let opened = self.key.open(&row, &Sealed::<BackupChunk>::from_stored(sealed));
        let small = opened.map_err(|_| bad("does not open: it was changed, or belongs elsewhere"))?;
        zstd::bulk::decompress(small.expose(), PIECE).map_err(|_| bad("is damaged"))
    }

    /// Reads all of it through and keeps nothing: an error if any of it is not what the manifest says. No Postgres is asked, so this can
    /// be known before anything is begun.
    pub(super) async fn prove(mut self) -> Result<()> {
        self.manifest.known_version()?;
        let what = format!("backup {}", self.manifest.backup);
        for table in self.manifest.tables.clone() {
            let mut tally = Tally::default();
            for number in 0..table.chunks {
                tally.feed(&self.piece(&table, number).await?);
            }
            tally.expect(&what, &table, "in the store")?;
        }
        self.end().await
    }

    /// Nothing follows the last piece.
    pub(super) async fn end(mut self) -> Result<()> {
        match self.read(&mut [0]).await? {
            None => Ok(()),
            Some(()) => Err(Error::Conflict(format!(
                "backup {}: something follows its end: nothing was changed",
                self.manifest.backup
            ))),
        }
    }

    /// Fills the buffer; `None` where the data ends before. A store that does not answer is no end.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<Option<()>> {
        match self.data.read_exact(buffer).await {
            Ok(_) => Ok(Some(())),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(store::failed(format!("read backup {}", self.manifest.backup), error)),
        }
    }
}
