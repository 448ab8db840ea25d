//! Why an operation did not go through, in words for the operator: what happened, and what to do.

use strowger::control::ControlError;
use strowger::id::InvalidId;
use strowger::pg;
use strowger::vault::{RingError, VaultError};

/// Each kind has its own exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for does not fit what is there. Nothing was changed.
    #[error("{0}")]
    Conflict(String),
    /// A database or file that is needed cannot be reached now; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// What was asked for is done as far as it goes, and the rest is the operator's.
    #[error("{0}")]
    Unfinished(String),
    /// Postgres refused a statement.
    #[error("{doing}: {message} (SQLSTATE {sqlstate})")]
    Postgres {
        /// What was being done.
        doing: String,
        /// Postgres's code.
        sqlstate: String,
        /// Postgres's message.
        message: String,
    },
    /// The control database.
    #[error(transparent)]
    Control(ControlError),
    /// A key ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// A sealed value.
    #[error("{what}: {error}")]
    Vault {
        /// Which one.
        what: String,
        /// Why.
        error: VaultError,
    },
    /// The audit log, or what was exported of it, is not as it was written.
    #[error("{0}")]
    Audit(String),
    /// The doctor found something.
    #[error("{0}")]
    Unsound(String),
    /// Ctrl-C or SIGTERM before it was done.
    #[error("interrupted; run it again to finish")]
    Interrupted,
    /// Part of it was done; the rest is named, with what to do.
    #[error("{0}")]
    Incomplete(String),
    /// A file or a process.
    #[error("{doing}: {error}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        error: std::io::Error,
    },
}

/// What most functions here return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// 3: ask for something else or change the state first. 4: try again later. 5: done, and something is left to do, or the doctor found something.
    /// 1: everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Conflict(_) | Self::Control(ControlError::Conflict(_)) => 3,
            Self::Unavailable(_) | Self::Control(ControlError::Unreachable(_)) => 4,
            Self::Unfinished(_) | Self::Unsound(_) => 5,
            _ => 1,
        }
    }

    /// Whether trying again without changing anything must end the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Vault { .. } | Self::Ring(_))
    }

    /// A statement's error, with what was being done.
    pub fn postgres(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |error| match error.as_db_error() {
            // Shutting down, killed, starting up, out of slots: gone for now.
            Some(db) if matches!(db.code().code(), "57P01" | "57P02" | "57P03" | "53300") => {
                Self::Unavailable(format!("{doing}: {} (SQLSTATE {})", db.message(), db.code().code()))
            }
            Some(db) => {
                Self::Postgres { doing, sqlstate: db.code().code().to_owned(), message: db.message().to_owned() }
            }
            None => Self::Unavailable(format!("{doing}: {}", pg::describe(&error))),
        }
    }

    /// A file's or process's error, with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }

    /// A vault error, with what was being opened.
    pub fn vault(what: impl Into<String>) -> impl FnOnce(VaultError) -> Self {
        let what = what.into();
        move |error| Self::Vault { what, error }
    }
}

impl From<ControlError> for Error {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Conflict(text) => Self::Conflict(text),
            other => Self::Control(other),
        }
    }
}

impl From<InvalidId> for Error {
    fn from(error: InvalidId) -> Self {
        Self::Conflict(error.to_string())
    }
}
