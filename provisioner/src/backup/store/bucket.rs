//! A bucket of a store that speaks S3, with `ID/data` and `ID/manifest` for each backup.
//!
//! The manifest is written when all of the data is there, and deleted before it: where there is one, the backup is whole. The data goes
//! in parts that nobody sees before the last of them is there. Who we are is said by the environment, as every program for S3 has
//! it, and not by the control database: the server can open what is sealed there for it, and it must not reach backups.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::buffered::{BufReader, BufWriter};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use uuid::Uuid;

use super::{DATA, Lying, MANIFEST, MARK};
use crate::error::{Error, Result};

/// What a store's name begins with.
pub(super) const SCHEME: &str = "s3://";
/// One part of an upload. A store takes 10,000 of them, so a backup has at most 160 GB.
const PART: usize = 16 << 20;
/// Parts under way; one more is being filled.
const PARTS_AT_ONCE: usize = 2;
/// What is read with one request.
const RANGE: usize = 4 << 20;
/// For one request with its answer: a part gets through at 140 kB a second.
const REQUEST: &str = "120 seconds";
/// How often one request is tried again, and for how long. The job is tried again after that.
const RETRIES: usize = 5;
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A bucket, or the part of it below a prefix.
pub(crate) struct Bucket {
    name: String,
    prefix: Path,
    client: Arc<AmazonS3>,
}

impl Bucket {
    /// `s3://BUCKET` or `s3://BUCKET/PREFIX`; where that is and who we are stands in the environment. Nothing is asked yet.
    pub(super) fn named(text: &str) -> Result<Self> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text).trim_end_matches('/');
        let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |text: &str, also: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b));
        let odd = || {
            Error::Conflict(format!(
                "{text} is not s3://BUCKET/PREFIX: both are of letters, digits, dots, dashes and underscores, the prefix of slashes too"
            ))
        };
        if name.is_empty() || !plain(name, b".-_") || !plain(prefix, b".-_/") {
            return Err(odd());
        }
        let prefix = Path::parse(prefix).map_err(|_| odd())?;
        Ok(Self { name: name.to_owned(), prefix, client: Arc::new(client(name)?) })
    }

    pub(super) fn url(&self) -> String {
        let slash = if self.prefix.is_root() { "" } else { "/" };
        format!("{SCHEME}{}{slash}{}", self.name, self.prefix)
    }

    fn object(&self, id: Uuid, name: &str) -> Path {
        self.prefix.clone().join(id.to_string()).join(name)
    }

    fn doing(&self, verb: &str, path: &Path) -> String {
        format!("{verb} {SCHEME}{}/{path}", self.name)
    }

    /// `None` where there is no such object, or no such bucket.
    async fn look(&self, path: &Path) -> Result<Option<ObjectMeta>> {
        match self.client.head(path).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(self.doing("look for", path))(error)),
        }
    }

    pub(super) async fn has(&self, id: Uuid) -> Result<bool> {
        Ok(self.look(&self.object(id, MANIFEST)).await?.is_some())
    }

    /// Whether backups were written here.
    pub(super) async fn is_marked(&self) -> Result<bool> {
        Ok(self.look(&self.prefix.clone().join(MARK)).await?.is_some())
    }

    pub(super) async fn begin(&self, id: Uuid) -> Result<Writing<'_>> {
        self.put(&self.prefix.clone().join(MARK), b"").await?;
        let client: Arc<AmazonS3> = Arc::clone(&self.client);
        let path = self.object(id, DATA);
        let data = BufWriter::with_capacity(client, path, PART).with_max_concurrency(PARTS_AT_ONCE);
        Ok(Writing { bucket: self, id, data })
    }

    async fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let put = self.client.put(path, bytes.to_vec().into()).await;
        put.map(drop).map_err(failed(self.doing("write", path)))
    }

    /// In ranges, so that a load that takes hours does not depend on one answer.
    pub(super) async fn data(&self, id: Uuid) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        let found = self.there(&self.object(id, DATA)).await?;
        let client: Arc<AmazonS3> = Arc::clone(&self.client);
        Ok(Box::new(BufReader::with_capacity(client, &found, RANGE)))
    }

    pub(super) async fn manifest(&self, id: Uuid) -> Result<Vec<u8>> {
        let path = self.object(id, MANIFEST);
        let read = async { self.client.get(&path).await?.bytes().await };
        Ok(read.await.map_err(failed(self.doing("read", &path)))?.to_vec())
    }

    pub(super) async fn size(&self, id: Uuid) -> Result<u64> {
        let data = self.there(&self.object(id, DATA)).await?;
        Ok(data.size + self.there(&self.object(id, MANIFEST)).await?.size)
    }

    async fn there(&self, path: &Path) -> Result<ObjectMeta> {
        self.client.head(path).await.map_err(failed(self.doing("look at", path)))
    }

    /// Everything in it that lies under a backup's id, whole or not.
    pub(super) async fn list(&self) -> Result<Vec<Lying>> {
        let here = |path: &Path| failed(self.doing("list", path));
        let found = self.client.list_with_delimiter(Some(&self.prefix)).await.map_err(here(&self.prefix))?;
        let mut all = Vec::new();
        for path in found.common_prefixes {
            let Some(id) = path.filename().and_then(super::id_of) else { continue };
            let objects = self.client.list_with_delimiter(Some(&path)).await.map_err(here(&path))?.objects;
            let last = objects.iter().map(|object| object.last_modified.timestamp()).max().unwrap_or_default();
            all.push(Lying {
                id,
                is_whole: objects.iter().any(|object| object.location.filename() == Some(MANIFEST)),
                bytes: objects.iter().map(|object| object.size).sum(),
                changed_at: OffsetDateTime::from_unix_timestamp(last).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            });
        }
        Ok(all)
    }

    pub(super) async fn delete(&self, id: Uuid) -> Result<()> {
        for name in [MANIFEST, DATA] {
            let path = self.object(id, name);
            match self.client.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(self.doing("delete", &path))(error)),
            }
        }
        Ok(())
    }
}

/// A backup that is being written.
pub(in crate::backup) struct Writing<'s> {
    bucket: &'s Bucket,
    id: Uuid,
    data: BufWriter,
}

impl Writing<'_> {
    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let doing = || self.bucket.doing("write", &self.bucket.object(self.id, DATA));
        let put = self.data.put(bytes.to_vec().into()).await;
        put.map_err(|error| failed(doing())(error))
    }

    /// The data's object is there once all of its parts are; the manifest after it makes the whole a backup.
    pub(super) async fn complete(mut self, manifest: &[u8]) -> Result<()> {
        let doing = self.bucket.doing("write", &self.bucket.object(self.id, DATA));
        self.data.shutdown().await.map_err(|error| super::failed(doing, error))?;
        self.bucket.put(&self.bucket.object(self.id, MANIFEST), manifest).await
    }

    /// Takes back parts that no object is made of: nobody sees them, and they cost money. It is tried once: the store may be away.
    pub(super) async fn abandon(mut self) {
        let _ = self.data.abort().await;
    }
}

fn client(bucket: &str) -> Result<AmazonS3> {
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_FOR };
    let builder = AmazonS3Builder::from_env()
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST)
        .with_bucket_name(bucket)
        .with_retry(retry);
    let said = |key| builder.get_config_value(&key).unwrap_or_default();
    let in_the_clear = said(AmazonS3ConfigKey::Endpoint).starts_with("http://");
    if in_the_clear && said(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) != "true" {
        let text = "AWS_ENDPOINT_URL begins with http://, so that everybody on the way could write in our name: \
                    give an https:// one, or say AWS_ALLOW_HTTP=true if that is what you want";
        return Err(Error::Conflict(text.into()));
    }
    builder.build().map_err(|error| Error::Conflict(format!("s3://{bucket}: {error}")))
}

/// What a store's answer means, in words. What it refuses may be mended there, so nothing of it is final.
pub(super) fn failed(doing: String) -> impl FnOnce(object_store::Error) -> Error {
    use object_store::Error as Told;
    use std::io::ErrorKind;
    move |error| {
        let text = error.to_string();
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
        let said = |kind, text: String| Error::Io { doing: doing.clone(), error: std::io::Error::new(kind, text) };
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        match error {
            Told::NotFound { .. } => said(ErrorKind::NotFound, format!("there is no such object or bucket{code}")),
            Told::PermissionDenied { .. } | Told::Unauthenticated { .. } => said(
                ErrorKind::PermissionDenied,
                format!(
                    "the store refuses us{code}: are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION right?"
                ),
            ),
            _ => {
                let text: String = text.lines().next().unwrap_or_default().chars().take(400).collect();
                Error::Unavailable(format!("{doing}: {text}: is AWS_ENDPOINT_URL right, and does the store answer?"))
            }
        }
    }
}
