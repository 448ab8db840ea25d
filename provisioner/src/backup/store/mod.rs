//! Where backups lie: a folder, or a bucket that speaks S3. Both hold the same two files of each backup, under its id.
//!
//! Whatever is taken for a backup is whole: in a folder it has its name only when all of it is on disk, in a bucket its manifest is
//! written last and deleted first. What is not found where backups were never written is not taken for deleted.

mod bucket;
mod folder;

use std::path::Path;

use time::OffsetDateTime;
use tokio::io::AsyncRead;
use uuid::Uuid;

use crate::error::{Error, Result};

use bucket::Bucket;
use folder::Folder;

const DATA: &str = "data";
const MANIFEST: &str = "manifest";
/// Tells a store from the empty folder that something else will be mounted on, and from another bucket.
const MARK: &str = ".strowger-backups";

/// What lies in a store under a backup's id.
pub(crate) struct Lying {
    pub(crate) id: Uuid,
    /// Whether it is taken for a backup. What is not is being written or deleted, or was when somebody was killed.
    pub(crate) is_whole: bool,
    pub(crate) bytes: u64,
    /// When anything of it was last written.
    pub(crate) changed_at: OffsetDateTime,
}

/// Names are ids as we write them; anything else is somebody else's.
fn id_of(name: &str) -> Option<Uuid> {
    name.parse().ok().filter(|id: &Uuid| id.to_string() == name)
}

/// A place of backups.
pub(crate) enum Store {
    Folder(Folder),
    Bucket(Bucket),
}

impl Store {
    /// As an operator names it: a whole path, the same with `file://` before it, or `s3://BUCKET/PREFIX`.
    pub(crate) fn named(text: &str) -> Result<Self> {
        if text.starts_with(bucket::SCHEME) {
            return Bucket::named(text).map(Self::Bucket);
        }
        let path = Path::new(text.strip_prefix("file://").unwrap_or(text));
        if !path.is_absolute() {
            return Err(Error::Conflict(format!(
                "backups go to a folder, named by its whole path (/srv/backups), or to s3://BUCKET/PREFIX, and not to {text}"
            )));
        }
        Ok(Self::Folder(Folder(path.to_owned())))
    }

    /// As it stands in the catalogue.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Folder(folder) => format!("file://{}", folder.0.display()),
            Self::Bucket(bucket) => bucket.url(),
        }
    }

    /// Where a whole one lies, as `around` understands it.
    pub(crate) fn place(&self, id: Uuid) -> String {
        format!("{}/{id}", self.url())
    }

    /// The one in which a backup lies there, and the backup's id.
    pub(crate) fn around(place: &str) -> Result<(Self, Uuid)> {
        let not_one =
            || Error::Conflict(format!("{place} is not where a backup lies: its last part is the backup's id"));
        let path = Path::new(place.strip_prefix("file://").unwrap_or(place));
        let (Some(store), Some(id)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(not_one());
        };
        let id = id.parse().map_err(|_| not_one())?;
        if place.starts_with(bucket::SCHEME) {
            return Ok((Self::Bucket(Bucket::named(&store.to_string_lossy())?), id));
        }
        Ok((Self::Folder(Folder(store.to_owned())), id))
    }

    /// Whether a whole one is there.
    pub(crate) async fn has(&self, id: Uuid) -> Result<bool> {
        match self {
            Self::Folder(folder) => folder.has(id).await,
            Self::Bucket(bucket) => bucket.has(id).await,
        }
    }

    /// Begins to write one. Nothing of an earlier attempt gets into it.
    pub(super) async fn begin(&self, id: Uuid) -> Result<Writing<'_>> {
        Ok(match self {
            Self::Folder(folder) => Writing::Folder(folder.begin(id).await?),
            Self::Bucket(bucket) => Writing::Bucket(Box::new(bucket.begin(id).await?)),
        })
    }

    /// The data of a whole one, read as it is asked for.
    pub(super) async fn data(&self, id: Uuid) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        match self {
            Self::Folder(folder) => folder.data(id).await,
            Self::Bucket(bucket) => bucket.data(id).await,
        }
    }

    /// The manifest of a whole one.
    pub(super) async fn manifest(&self, id: Uuid) -> Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => folder.manifest(id).await,
            Self::Bucket(bucket) => bucket.manifest(id).await,
        }
    }

    /// How many bytes a whole one has.
    pub(crate) async fn size(&self, id: Uuid) -> Result<u64> {
        match self {
            Self::Folder(folder) => folder.size(id).await,
            Self::Bucket(bucket) => bucket.size(id).await,
        }
    }

    /// Whether backups were ever written here.
    pub(crate) async fn is_there(&self) -> Result<bool> {
        match self {
            Self::Folder(folder) => Ok(folder.is_marked().await),
            Self::Bucket(bucket) => bucket.is_marked().await,
        }
    }

    /// Nothing that is not found is taken for deleted where backups were never written to.
    pub(crate) async fn must_be_there(&self) -> Result<()> {
        if self.is_there().await? {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "{} is no store of backups now; is something not mounted, or is this another bucket? Run this again when it is there",
            self.url()
        )))
    }

    /// Everything that lies here under a backup's id.
    pub(crate) async fn list(&self) -> Result<Vec<Lying>> {
        match self {
            Self::Folder(folder) => folder.list().await,
            Self::Bucket(bucket) => bucket.list().await,
        }
    }

    /// Leaves nothing of one, whole or not.
    pub(crate) async fn delete(&self, id: Uuid) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.delete(id).await,
            Self::Bucket(bucket) => bucket.delete(id).await,
        }
    }
}

/// A backup that is being written.
pub(super) enum Writing<'s> {
    Folder(folder::Writing<'s>),
    Bucket(Box<bucket::Writing<'s>>),
}

impl Writing<'_> {
    /// Adds to its data.
    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Folder(writing) => writing.add(bytes).await,
            Self::Bucket(writing) => writing.add(bytes).await,
        }
    }

    /// Adds the manifest; from here on it is whole.
    pub(super) async fn complete(self, manifest: &[u8]) -> Result<()> {
        match self {
            Self::Folder(writing) => writing.complete(manifest).await,
            Self::Bucket(writing) => writing.complete(manifest).await,
        }
    }

    /// Ends what a store would keep of it where nobody sees it. What has a name is for `Store::delete`.
    pub(super) async fn abandon(self) {
        if let Self::Bucket(writing) = self {
            writing.abandon().await;
        }
    }
}

/// What reading or writing a store's data came to.
pub(super) fn failed(doing: String, error: std::io::Error) -> Error {
    match error.downcast() {
        Ok(error) => bucket::failed(doing)(error),
        Err(error) => Error::io(doing)(error),
    }
}
