//! Whether the control database is away, as the caches of a directory see it together.
//!
//! Asking a database that is away takes seconds. So after a failure one question a second goes through, to find out whether
//! it is back; whoever else would ask is told at once that it is away, and serves what it has, if it has anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::DirectoryError;
use crate::clock::Clock;
use crate::control::ControlError;

/// How long after a failure, or after a question that may fail, nobody else asks.
const RETRY: Duration = Duration::from_secs(1);

/// Shared by all caches of one control database.
pub(super) struct Outage {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When control last answered. What was asked before and fails later says nothing of now.
    answered_at: Duration,
    /// `None` while control answers.
    failure: Option<Failure>,
}

struct Failure {
    error: Arc<ControlError>,
    /// Who comes later may ask.
    quiet_until: Duration,
}

impl Outage {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), state: Mutex::default() }
    }

    /// Leave to ask, with the time of asking, or why not. While control is away this is given once a second.
    pub(super) fn may_ask(&self) -> Result<Duration, DirectoryError> {
        let now = self.clock.elapsed();
        match &mut self.state().failure {
            Some(failure) if now < failure.quiet_until => Err(DirectoryError::Control(Arc::clone(&failure.error))),
            Some(failure) => {
                failure.quiet_until = now + RETRY;
                Ok(now)
            }
            None => Ok(now),
        }
    }

    /// The last failure, if control has not answered since.
    pub(super) fn standing(&self) -> Option<DirectoryError> {
        self.state().failure.as_ref().map(|failure| DirectoryError::Control(Arc::clone(&failure.error)))
    }

    /// Takes in how a question ended. Only silence is an outage: a sealed value that does not open is one tenant's trouble.
    pub(super) fn note<T>(&self, asked_at: Duration, answer: &Result<T, DirectoryError>) {
        match answer {
            Ok(_) => self.over(),
            Err(DirectoryError::Control(error)) if matches!(**error, ControlError::Unreachable(_)) => {
                let quiet_until = self.clock.elapsed() + RETRY;
                let mut state = self.state();
                if asked_at >= state.answered_at {
                    state.failure = Some(Failure { error: Arc::clone(error), quiet_until });
                }
            }
            Err(_) => {}
        }
    }

    /// Control has answered somebody.
    pub(super) fn over(&self) {
        *self.state() = State { answered_at: self.clock.elapsed(), failure: None };
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
