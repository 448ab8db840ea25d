//! A folder of backups, with a folder in it for each.
//!
//! One is written under a name that begins with a dot and renamed when all of it is on disk; it is deleted the other way round. So
//! whatever has a backup's name is whole.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use tokio::fs;
use tokio::io::{AsyncRead, AsyncWriteExt as _, BufReader, BufWriter};
use uuid::Uuid;

use super::{DATA, Lying, MANIFEST, MARK};
use crate::error::{Error, Result};

/// What is read or written at once.
const BUFFER: usize = 1 << 18;

/// A folder of backups.
pub(crate) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Where a whole one lies.
    fn folder(&self, id: Uuid) -> PathBuf {
        self.0.join(id.to_string())
    }

    fn partial(&self, id: Uuid) -> PathBuf {
        self.0.join(format!(".{id}"))
    }

    /// Whether a whole one is there.
    pub(super) async fn has(&self, id: Uuid) -> Result<bool> {
        let path = self.folder(id);
        match fs::try_exists(&path).await {
            Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
            looked => looked.map_err(Error::io(format!("look for {}", path.display()))),
        }
    }

    /// Begins to write one; what an earlier attempt left is taken away first.
    pub(super) async fn begin(&self, id: Uuid) -> Result<Writing<'_>> {
        let path = self.partial(id);
        remove(&path).await?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(Error::io(format!("create {}", path.display())))?;
        let mark = self.0.join(MARK);
        fs::write(&mark, b"").await.map_err(Error::io(format!("write {}", mark.display())))?;
        let data = BufWriter::with_capacity(BUFFER, create(&path.join(DATA))?);
        Ok(Writing { store: self, id, data })
    }

    /// The data of a whole one.
    pub(super) async fn data(&self, id: Uuid) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        let path = self.folder(id).join(DATA);
        let file = fs::File::open(&path).await.map_err(Error::io(format!("open {}", path.display())))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
    }

    /// The manifest of a whole one.
    pub(super) async fn manifest(&self, id: Uuid) -> Result<Vec<u8>> {
        let path = self.folder(id).join(MANIFEST);
        fs::read(&path).await.map_err(Error::io(format!("read {}", path.display())))
    }

    /// How many bytes a whole one has.
    pub(super) async fn size(&self, id: Uuid) -> Result<u64> {
        let mut size = 0;
        for name in [DATA, MANIFEST] {
            let path = self.folder(id).join(name);
            size += fs::metadata(&path).await.map_err(Error::io(format!("look at {}", path.display())))?.len();
        }
        Ok(size)
    }

    /// Whether backups were written here; not where something is not mounted.
    pub(super) async fn is_marked(&self) -> bool {
        matches!(fs::try_exists(self.0.join(MARK)).await, Ok(true))
    }

    /// Everything in it that has a backup's name, whole or not.
    pub(super) async fn list(&self) -> Result<Vec<Lying>> {
        let failed = || Error::io(format!("list {}", self.0.display()));
        let (mut entries, mut all) = (fs::read_dir(&self.0).await.map_err(failed())?, Vec::new());
        while let Some(entry) = entries.next_entry().await.map_err(failed())? {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let partial = name.strip_prefix('.');
            let Some(id) = super::id_of(partial.unwrap_or(name)) else { continue };
            let mut lying = Lying { id, is_whole: partial.is_none(), bytes: 0, changed_at: OffsetDateTime::UNIX_EPOCH };
            for path in [entry.path(), entry.path().join(DATA), entry.path().join(MANIFEST)] {
                // One that is deleted meanwhile is no longer there.
                let Ok(found) = fs::metadata(&path).await else { continue };
                lying.bytes += if found.is_file() { found.len() } else { 0 };
                lying.changed_at = lying.changed_at.max(found.modified().map_err(failed())?.into());
            }
            all.push(lying);
        }
        Ok(all)
    }

    /// Leaves nothing of one, whole or not.
    pub(super) async fn delete(&self, id: Uuid) -> Result<()> {
        match fs::rename(self.folder(id), self.partial(id)).await {
            Ok(()) => sync(&self.0).await?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Error::io(format!("delete {}", self.folder(id).display()))(error)),
        }
        remove(&self.partial(id)).await
    }
}

/// A backup that is being written.
pub(in crate::backup) struct Writing<'s> {
    store: &'s Folder,
    id: Uuid,
    data: BufWriter<fs::File>,
}

impl Writing<'_> {
    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let partial = self.store.partial(self.id);
        self.data.write_all(bytes).await.map_err(Error::io(format!("write {}", partial.display())))
    }

    /// Adds the manifest, and gives the whole its name once all of it is on disk.
    pub(super) async fn complete(mut self, manifest: &[u8]) -> Result<()> {
        let (partial, whole) = (self.store.partial(self.id), self.store.folder(self.id));
        let failed = || Error::io(format!("write {}", partial.display()));
        self.data.flush().await.map_err(failed())?;
        self.data.get_ref().sync_all().await.map_err(failed())?;
        let mut file = create(&partial.join(MANIFEST))?;
        file.write_all(manifest).await.map_err(failed())?;
        file.sync_all().await.map_err(failed())?;
        sync(&partial).await?;
        fs::rename(&partial, &whole).await.map_err(failed())?;
        sync(&self.store.0).await
    }
}

fn create(path: &Path) -> Result<fs::File> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.map(fs::File::from_std).map_err(Error::io(format!("create {}", path.display())))
}

/// Makes names in a folder last.
async fn sync(folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("sync {}", folder.display()));
    fs::File::open(folder).await.map_err(failed())?.sync_all().await.map_err(failed())
}

async fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path).await {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::io(format!("delete {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
