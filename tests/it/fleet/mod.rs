//! A whole fleet is brought to a newer schema version, and servers admit only the versions that they understand.

mod crashes;
mod gate;
mod outages;
mod rehearsal;
mod runs;
mod truth;
