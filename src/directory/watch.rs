//! Keeps the caches true: listens, and sweeps for what was missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Directory;
use crate::control::changes::{self, Listener, News};
use crate::control::{self, Control, ControlError};
use crate::id::{AccountSid, TenantId};
use crate::phone::Number;

const SWEEP: Duration = Duration::from_secs(30);
const RECONNECT: Duration = Duration::from_millis(250);

/// Listens until the process ends. `listening` is a pool of one connection, named so that pings wait for it.
///
/// `first` is told once the first session listens: from then on no change is missed.
pub async fn watch(directory: Arc<Directory>, listening: Control, instance: String, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    loop {
        match listen(&directory, &listening, &instance, &mut first).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "lost the news of the control database; serving what is cached"),
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn listen(
    directory: &Directory,
    listening: &Control,
    instance: &str,
    first: &mut Option<oneshot::Sender<()>>,
) -> Result<(), ControlError> {
    let mut listener = Listener::open(listening).await?;
    directory.outage.over();
    // Whatever changed while nobody listened was not announced to us.
    directory.apply(&News::Everything);
    if let Some(first) = first.take() {
        let _ = first.send(());
    }
    tracing::info!("listening for changes");
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.tick().await;
    loop {
        tokio::select! {
            news = listener.next() => {
                let news = news?;
                directory.apply(&news);
                match news {
                    News::Ping(ping) => changes::acknowledge(&directory.control, ping, instance).await?,
                    News::MasterKey(ping, challenge) if directory.ring.answers(&challenge, ping.as_bytes()) => {
                        changes::acknowledge(&directory.control, ping, instance).await?;
                    }
                    News::MasterKey(..) => tracing::warn!("a master key is asked for that is not on our ring: copy the ring file here"),
                    _ => {}
                }
            }
            _ = sweep.tick() => directory.sweep().await?,
        }
    }
}

impl Directory {
    /// Forgets what the news is about.
    fn apply(&self, news: &News) {
        match news {
            News::Tenant(id) => {
                if let Ok(id) = id.parse::<TenantId>() {
                    self.tenants.invalidate(&id);
                    // Nobody may be following; then nobody needs to know.
                    let _ = self.changed.send(id);
                }
            }
            News::Number(kind, value) => {
                if let Ok(number) = Number::from_parts(kind, value) {
                    self.numbers.invalidate(&number);
                }
            }
            News::Account(id) => {
                if let Ok(id) = id.parse::<AccountSid>() {
                    self.accounts.invalidate(&id);
                }
            }
            News::Key(kid) => {
                self.keys.invalidate(kid);
                self.legacy_keys.invalidate(&());
            }
            News::Model(id) => {
                if let Ok(id) = id.parse::<TenantId>() {
                    self.models.invalidate(&id);
                }
            }
            News::Work => self.work.notify_one(),
            News::Job | News::Ping(_) | News::MasterKey(..) => {}
            News::Everything => {
                self.tenants.invalidate_all();
                self.numbers.invalidate_all();
                self.accounts.invalidate_all();
                self.keys.invalidate_all();
                self.legacy_keys.invalidate_all();
                self.sentence.invalidate_all();
                self.templates.invalidate_all();
                self.models.invalidate_all();
                self.work.notify_one();
            }
        }
    }

    /// Compares what is cached of tenants with control, in case an announcement never came.
    async fn sweep(&self) -> Result<(), ControlError> {
        let cached = self.tenants.values();
        for part in cached.chunks(1000) {
            let ids: Vec<TenantId> = part.iter().map(|route| route.placement.tenant).collect();
            for (id, generation, state) in control::placements::generations(&self.control, &ids).await? {
                self.tenants.invalidate_if(&id, |route| {
                    route.placement.generation != generation || route.placement.state != state
                });
            }
        }
        Ok(())
    }
}
