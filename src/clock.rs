//! Time comes in through this door, so that a test can turn the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Reads the time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    /// How far a test has turned the clock, in milliseconds.
    turned_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn system() -> Self {
        Self { start: Instant::now(), turned_ms: Arc::default() }
    }

    /// The time of day, for tokens and rows.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + time::Duration::milliseconds(self.turned_ms.load(Ordering::Relaxed))
    }

    /// Time since this clock was made; never goes back. For the age of cached things.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn elapsed(&self) -> Duration {
        let turned = u64::try_from(self.turned_ms.load(Ordering::Relaxed)).unwrap_or_default();
        Instant::now().duration_since(self.start) + Duration::from_millis(turned)
    }

    /// Turns this clock and all its clones forward.
    pub fn turn_forward(&self, by: Duration) {
        self.turned_ms.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}
