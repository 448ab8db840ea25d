//! How far a step is that takes long. Whoever carries it out says so here; the job's holder writes it down each time it says that it is alive.

use std::sync::{Mutex, PoisonError};

/// What is done now, and how much of it.
#[derive(Default)]
pub(crate) struct Meter(Mutex<Said>);

#[derive(Default)]
struct Said {
    doing: String,
    counted: Option<(u64, Option<u64>)>,
}

impl Meter {
    /// Something else is done now, of which nothing is counted.
    pub(crate) fn say(&self, doing: String) {
        self.set(Said { doing, counted: None });
    }

    /// Something else is done now, with so many bytes, if that is known.
    pub(crate) fn count(&self, doing: &str, of: Option<u64>) {
        self.set(Said { doing: doing.to_owned(), counted: Some((0, of)) });
    }

    /// So many bytes more.
    pub(crate) fn add(&self, bytes: u64) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((so_far, _)) = &mut said.counted {
            *so_far += bytes;
        }
    }

    fn set(&self, said: Said) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// In words, such as `copied 12.0 MB`; `None` if nothing was said.
    pub(crate) fn read(&self) -> Option<String> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = match said.counted {
            _ if said.doing.is_empty() => return None,
            None => said.doing.clone(),
            Some((so_far, None)) => format!("{} {}", said.doing, size(so_far)),
            Some((so_far, Some(of))) => format!("{} {} of {}", said.doing, size(so_far), size(of)),
        };
        Some(words)
    }
}

/// In megabytes, with one decimal.
fn size(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::Meter;

    #[test]
    fn it_says_what_is_done_and_how_much_of_it() {
        let meter = Meter::default();
        assert_eq!(meter.read(), None);
        meter.count("restored", Some(12_000_000));
        meter.add(1_250_000);
        meter.add(100_000);
        assert_eq!(meter.read().unwrap(), "restored 1.3 MB of 12.0 MB");
        meter.count("copied", None);
        assert_eq!(meter.read().unwrap(), "copied 0.0 MB");
        meter.say("waits".to_owned());
        meter.add(5);
        assert_eq!(meter.read().unwrap(), "waits");
    }
}
