//! Where backups lie: a folder, with a folder in it for each.
//!
//! One is written under a name that begins with a dot and renamed when all of it is on disk; it is deleted the other way round. So
//! whatever has a backup's name is whole.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::fs;
use uuid::Uuid;

use crate::error::{Error, Result};

const DATA: &str = "data";
const MANIFEST: &str = "manifest";
/// Tells a store from the empty folder that something else will be mounted on.
const MARK: &str = ".strowger-backups";

/// A folder of backups.
pub(crate) struct Store(PathBuf);

impl Store {
    /// As an operator names it: an absolute path, or the same with `file://` before it.
    pub(crate) fn named(text: &str) -> Result<Self> {
        let path = Path::new(text.strip_prefix("file://").unwrap_or(text));
        if !path.is_absolute() {
            return Err(Error::Conflict(format!(
                "backups go to a folder, named by its whole path (/srv/backups), and not to {text}"
            )));
        }
        Ok(Self(path.to_owned()))
    }

    /// As it stands in the catalogue.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }

    /// The one that holds this folder, and the backup's id.
    pub(crate) fn around(folder: &Path) -> Result<(Self, Uuid)> {
        let not_one = || Error::Conflict(format!("{} is not the folder of a backup", folder.display()));
        let id = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        Ok((Self(folder.parent().ok_or_else(not_one)?.to_owned()), id.ok_or_else(not_one)?))
    }

    /// Where a whole one lies.
    pub(crate) fn folder(&self, id: Uuid) -> PathBuf {
        self.0.join(id.to_string())
    }

    fn partial(&self, id: Uuid) -> PathBuf {
        self.0.join(format!(".{id}"))
    }

    /// Whether a whole one is there.
    pub(crate) async fn has(&self, id: Uuid) -> Result<bool> {
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
        let data = create(&path.join(DATA))?;
        Ok(Writing { store: self, id, data })
    }

    /// The data of a whole one.
    pub(super) async fn data(&self, id: Uuid) -> Result<fs::File> {
        let path = self.folder(id).join(DATA);
        fs::File::open(&path).await.map_err(Error::io(format!("open {}", path.display())))
    }

    /// The manifest of a whole one.
    pub(super) async fn manifest(&self, id: Uuid) -> Result<Vec<u8>> {
        let path = self.folder(id).join(MANIFEST);
        fs::read(&path).await.map_err(Error::io(format!("read {}", path.display())))
    }

    /// How many bytes a whole one has.
    pub(crate) async fn size(&self, id: Uuid) -> Result<u64> {
        let mut size = 0;
        for name in [DATA, MANIFEST] {
            let path = self.folder(id).join(name);
            size += fs::metadata(&path).await.map_err(Error::io(format!("look at {}", path.display())))?.len();
        }
        Ok(size)
    }

    /// Nothing that is not found is taken for deleted in a folder that backups were never written to.
    pub(crate) async fn must_be_there(&self) -> Result<()> {
        match fs::try_exists(self.0.join(MARK)).await {
            Ok(true) => Ok(()),
            _ => Err(Error::Unavailable(format!(
                "{} is not a folder of backups now; is something not mounted? Run this again when it is",
                self.0.display()
            ))),
        }
    }

    /// Leaves nothing of one, whole or not.
    pub(crate) async fn delete(&self, id: Uuid) -> Result<()> {
        match fs::rename(self.folder(id), self.partial(id)).await {
            Ok(()) => sync(&self.0).await?,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Error::io(format!("delete {}", self.folder(id).display()))(error)),
        }
        remove(&self.partial(id)).await
    }
}

/// A backup that is being written.
pub(super) struct Writing<'s> {
    store: &'s Store,
    id: Uuid,
    pub(super) data: fs::File,
}

impl Writing<'_> {
    /// Adds the manifest, and gives the whole its name once all of it is on disk.
    pub(super) async fn complete(self, manifest: &[u8]) -> Result<()> {
        use tokio::io::AsyncWriteExt as _;
        let (partial, whole) = (self.store.partial(self.id), self.store.folder(self.id));
        let failed = || Error::io(format!("write {}", partial.display()));
        self.data.sync_all().await.map_err(failed())?;
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
