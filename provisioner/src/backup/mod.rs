//! One tenant's data out of Postgres and back, as text in sealed pieces.
//!
//! A backup is two files under its id, in a folder or bucket: `data`, the tables as Postgres's own COPY text, compressed and sealed piece by
//! piece, and `manifest`, sealed too, which says what `data` must hold and is written last. docs/backups.md has every byte.
//! Whoever has the server's key ring can read both without the control database.
//!
//! What a newcomer gets wrong: the tables come from the schema version, never from the catalog, which grows with the neighbours; and a
//! backup that is not whole has another name, so that nobody can take it for one.

mod carry;
mod catalogue;
mod chunks;
mod csv;
mod dump;
mod export;
mod extract;
mod format;
mod load;
mod past;
mod restoring;
mod retention;
mod store;
mod strays;
mod tally;
mod untied;

pub(crate) use carry::{carry, catch_up, version_of};
pub use catalogue::{BACKUPS_TO, get, has_data};
pub(crate) use catalogue::{
    back_up, begun, destroy_all, is_scheduled, outlived, promise, prove, remove, retain, store_for, take_back, whole,
};
pub(crate) use chunks::Opened;
pub(crate) use dump::dump;
pub(crate) use export::export;
pub(crate) use extract::extract;
pub use format::{Manifest, Sequence, Table};
pub(crate) use load::{Target, load};
pub(crate) use restoring::{beside, fill, replaced_by, swap};
pub(crate) use store::Store;
pub use strays::{Is, Stray};
pub(crate) use strays::{delete_strays, strays};
