//! A bounded cache of one kind of thing, with the rules of the directory.
//!
//! Keys fall into shards, and each shard counts its invalidations. An entry carries the count that held when its load
//! *began*, and is served only while the count is still that: so a load that raced with an invalidation is never seen,
//! without locks on the way. An invalidation costs the few other entries of its shard one reload. One load at a time goes on in a
//! shard: who waits for it finds what it found, and another key that happens to fall there waits once for nothing.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::outage::Outage;
use super::{DirectoryError, Staleness};
use crate::clock::Clock;

const SHARDS: usize = 4096;

#[derive(Default)]
struct Shard {
    invalidations: AtomicU64,
    loading: Mutex<()>,
}

struct Entry<V> {
    /// `None`: there is no such thing.
    value: Option<Arc<V>>,
    loaded_at: Duration,
    /// Where its key falls, so that a look-up does not hash the key a second time.
    shard: usize,
    shard_count: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), ..*self }
    }
}

pub(super) struct Cache<K, V> {
    entries: quick_cache::sync::Cache<K, Entry<V>>,
    shards: Box<[Shard]>,
    /// Of all shards together.
    invalidations: AtomicU64,
    hasher: RandomState,
    clock: Clock,
    keep: Staleness,
    outage: Arc<Outage>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static, V: Send + Sync + 'static> Cache<K, V> {
    pub(super) fn new(capacity: usize, clock: &Clock, keep: Staleness, outage: &Arc<Outage>) -> Self {
        Self {
            entries: quick_cache::sync::Cache::new(capacity),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            invalidations: AtomicU64::new(0),
            hasher: RandomState::new(),
            clock: clock.clone(),
            keep,
            outage: Arc::clone(outage),
        }
    }

    /// The cached value, or what `load` says. Concurrent callers of one key share a load.
    pub(super) async fn get<F, Fut>(&self, key: &K, load: F) -> Result<Option<Arc<V>>, DirectoryError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<V>, DirectoryError>>,
    {
        self.get_other_than(None, key, load).await
    }

    /// The same, but not `doubted`, unless control cannot be asked: a doubt alone does not make a good entry go.
    pub(super) async fn get_other_than<F, Fut>(
        &self,
        doubted: Option<&Arc<V>>,
        key: &K,
        load: F,
    ) -> Result<Option<Arc<V>>, DirectoryError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<V>, DirectoryError>>,
    {
        let cached = self.entries.get(key);
        match cached {
            Some(entry) if self.is_good(&entry, doubted) => Ok(entry.value),
            // Apart and boxed, so that a look-up that finds something does not carry along what loading needs.
            cached => Box::pin(self.load(doubted, key, cached, load)).await,
        }
    }

    async fn load<F, Fut>(
        &self,
        doubted: Option<&Arc<V>>,
        key: &K,
        cached: Option<Entry<V>>,
        load: F,
    ) -> Result<Option<Arc<V>>, DirectoryError>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Option<V>, DirectoryError>>,
    {
        let asked_at = match self.outage.may_ask() {
            Ok(asked_at) => asked_at,
            Err(away) => return self.stale(cached.as_ref()).ok_or(away).map(Some),
        };
        let was_away = self.outage.standing().is_some();
        let shard = self.shard_of(key);
        let _one_at_a_time = self.shards[shard].loading.lock().await;
        let found = self.entries.get(key);
        if let Some(entry) = found.as_ref().filter(|entry| self.is_good(entry, doubted)) {
            return Ok(entry.value.clone());
        }
        // Whoever was asking before us has found that control is away: we do not wait for that once more.
        let known = if was_away { None } else { self.outage.standing() };
        let shard_count = self.count_of(shard);
        let answer = match known {
            Some(away) => Err(away),
            None => load().await,
        };
        self.outage.note(asked_at, &answer);
        match answer {
            Ok(value) => {
                let value = value.map(Arc::new);
                let entry = Entry { value: value.clone(), loaded_at: self.clock.elapsed(), shard, shard_count };
                self.entries.insert(key.clone(), entry);
                Ok(value)
            }
            Err(error) => self.stale(found.as_ref()).map(Some).ok_or(error),
        }
    }

    /// To be read before a question whose answer may be [`offer`](Self::offer)ed.
    pub(super) fn invalidations(&self) -> u64 {
        self.invalidations.load(Ordering::Acquire)
    }

    /// Takes what came along with the answer to another question, if there is nothing, and if nothing at all was invalidated
    /// since `before`: which shard the key falls into was not known when the question was asked.
    pub(super) fn offer(&self, key: K, value: V, before: u64) {
        let shard = self.shard_of(&key);
        let shard_count = self.count_of(shard);
        // An invalidation counts here first: one that was too late for this comparison has not reached the shard either.
        if self.invalidations() != before || self.entries.peek(&key).is_some_and(|found| self.is_fresh(&found)) {
            return;
        }
        let entry = Entry { value: Some(Arc::new(value)), loaded_at: self.clock.elapsed(), shard, shard_count };
        self.entries.insert(key, entry);
    }

    /// Makes the entry invisible, and any load of it that is under way.
    pub(super) fn invalidate(&self, key: &K) {
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        self.shards[self.shard_of(key)].invalidations.fetch_add(1, Ordering::AcqRel);
    }

    /// The same, if there is a visible value of which `stale` is true; used by many callers at once for one cause.
    pub(super) fn invalidate_if(&self, key: &K, stale: impl FnOnce(&V) -> bool) {
        let shard = self.shard_of(key);
        let shard_count = self.count_of(shard);
        let cached = self.entries.peek(key).filter(|entry| entry.shard_count == shard_count).and_then(|e| e.value);
        if cached.as_deref().is_some_and(stale) {
            self.invalidations.fetch_add(1, Ordering::AcqRel);
            // Only the first of those who saw this count gets through; the others wait for its load.
            let count = &self.shards[shard].invalidations;
            let _ = count.compare_exchange(shard_count, shard_count + 1, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Makes every entry invisible.
    pub(super) fn invalidate_all(&self) {
        self.invalidations.fetch_add(1, Ordering::AcqRel);
        for shard in &self.shards {
            shard.invalidations.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Values that are cached and visible now.
    pub(super) fn values(&self) -> Vec<Arc<V>> {
        let visible = |(_, entry): (K, Entry<V>)| if self.is_current(&entry) { entry.value } else { None };
        self.entries.iter().filter_map(visible).collect()
    }

    fn shard_of(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0)
    }

    fn count_of(&self, shard: usize) -> u64 {
        self.shards[shard].invalidations.load(Ordering::Acquire)
    }

    fn is_current(&self, entry: &Entry<V>) -> bool {
        entry.shard_count == self.count_of(entry.shard)
    }

    fn is_fresh(&self, entry: &Entry<V>) -> bool {
        let limit = if entry.value.is_some() { self.keep.fresh } else { self.keep.absent };
        self.is_current(entry) && self.age(entry) < limit
    }

    fn is_good(&self, entry: &Entry<V>, doubted: Option<&Arc<V>>) -> bool {
        let is_doubted = doubted.zip(entry.value.as_ref()).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        self.is_fresh(entry) && !is_doubted
    }

    /// What may be served while control is away.
    fn stale(&self, entry: Option<&Entry<V>>) -> Option<Arc<V>> {
        let entry = entry.filter(|entry| self.is_current(entry) && self.age(entry) < self.keep.window)?;
        entry.value.clone()
    }

    fn age(&self, entry: &Entry<V>) -> Duration {
        self.clock.elapsed().saturating_sub(entry.loaded_at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::control::ControlError;

    fn cache() -> (Clock, Cache<String, u32>) {
        let clock = Clock::system();
        (clock.clone(), Cache::new(100, &clock, Staleness::default(), &Arc::new(Outage::new(&clock))))
    }

    fn away() -> DirectoryError {
        ControlError::Unreachable(sqlx::Error::PoolTimedOut).into()
    }

    async fn get(
        cache: &Cache<String, u32>,
        answer: Result<Option<u32>, DirectoryError>,
    ) -> Result<Option<u32>, DirectoryError> {
        cache.get(&"k".to_owned(), || async { answer }).await.map(|v| v.map(|v| *v))
    }

    #[tokio::test]
    async fn a_good_entry_outlives_an_error_for_the_stale_window_only() {
        let (clock, cache) = cache();
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), Some(1));
        clock.turn_forward(Duration::from_secs(61));
        assert_eq!(get(&cache, Err(away())).await.unwrap(), Some(1));
        clock.turn_forward(Duration::from_secs(540));
        assert!(get(&cache, Err(away())).await.is_err());
        clock.turn_forward(Duration::from_secs(1));
        assert_eq!(get(&cache, Ok(Some(2))).await.unwrap(), Some(2), "and comes back");
    }

    #[tokio::test]
    async fn an_announced_change_is_never_served_again() {
        let (clock, cache) = cache();
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), Some(1));
        cache.invalidate(&"k".to_owned());
        assert!(get(&cache, Err(away())).await.is_err(), "fails closed");
        clock.turn_forward(Duration::from_secs(1));
        assert_eq!(get(&cache, Ok(Some(2))).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn absence_is_believed_for_thirty_seconds_and_never_stale() {
        let (clock, cache) = cache();
        assert_eq!(get(&cache, Ok(None)).await.unwrap(), None);
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), None, "cached");
        clock.turn_forward(Duration::from_secs(31));
        assert!(get(&cache, Err(away())).await.is_err());
        clock.turn_forward(Duration::from_secs(1));
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn a_load_that_raced_with_an_invalidation_is_not_kept() {
        let (_, cache) = cache();
        let key = "k".to_owned();
        let raced = cache.get(&key, || async {
            cache.invalidate(&key);
            Ok(Some(1))
        });
        assert_eq!(raced.await.unwrap().as_deref(), Some(&1));
        assert_eq!(get(&cache, Ok(Some(2))).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn what_came_along_is_kept_if_nothing_was_invalidated_meanwhile() {
        let (_, cache) = cache();
        let before = cache.invalidations();
        cache.offer("k".to_owned(), 1, before);
        assert_eq!(get(&cache, Ok(Some(2))).await.unwrap(), Some(1), "no question was needed");
        cache.offer("k".to_owned(), 3, before);
        assert_eq!(get(&cache, Err(away())).await.unwrap(), Some(1), "what is there stays");
        cache.invalidate(&"k".to_owned());
        cache.offer("k".to_owned(), 4, before);
        assert_eq!(get(&cache, Ok(None)).await.unwrap(), None, "it raced with an invalidation");
        let before = cache.invalidations();
        cache.invalidate_all();
        cache.offer("other".to_owned(), 5, before);
        assert!(cache.values().is_empty());
    }

    #[tokio::test]
    async fn many_callers_share_one_load() {
        let (_, cache) = cache();
        let loads = AtomicUsize::new(0);
        let key = "k".to_owned();
        let one = || {
            cache.get(&key, || async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok(Some(1))
            })
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert!([a, b, c].iter().all(|v| v.as_ref().unwrap().as_deref() == Some(&1)));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn while_control_is_away_one_question_a_second_is_asked() {
        let (clock, cache) = cache();
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), Some(1));
        clock.turn_forward(Duration::from_secs(61));
        let asked = AtomicUsize::new(0);
        let ask = async |key: &str| {
            let load = || async {
                asked.fetch_add(1, Ordering::Relaxed);
                Err(away())
            };
            cache.get(&key.to_owned(), load).await
        };
        for _ in 0..3 {
            assert_eq!(ask("k").await.unwrap().as_deref(), Some(&1), "what is known is served");
            assert!(ask("unknown").await.is_err());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        clock.turn_forward(Duration::from_secs(1));
        assert!(ask("unknown").await.is_err());
        assert_eq!(ask("k").await.unwrap().as_deref(), Some(&1));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_doubted_entry_is_asked_about_and_outlives_an_outage() {
        let (clock, cache) = cache();
        let key = "k".to_owned();
        let first = cache.get(&key, async || Ok(Some(1))).await.unwrap().unwrap();
        let kept = cache.get_other_than(Some(&first), &key, async || Err(away())).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &kept), "control is away: the doubt is not proof");
        assert_eq!(get(&cache, Err(away())).await.unwrap(), Some(1), "and others go on with it");
        clock.turn_forward(Duration::from_secs(1));
        let second = cache.get_other_than(Some(&first), &key, async || Ok(Some(2))).await.unwrap();
        assert_eq!(second.as_deref(), Some(&2));
        let shared = cache.get_other_than(Some(&first), &key, async || Ok(Some(3))).await.unwrap();
        assert_eq!(shared.as_deref(), Some(&2), "whoever doubted the same shares the answer");
    }

    #[tokio::test]
    async fn one_tenants_broken_secret_is_no_outage() {
        let (_, cache) = cache();
        let broken = DirectoryError::Vault { what: "tenant 1".into(), error: crate::vault::VaultError::UnknownKey };
        assert!(get(&cache, Err(broken)).await.is_err());
        assert_eq!(get(&cache, Ok(Some(1))).await.unwrap(), Some(1), "asked at once");
    }
}
