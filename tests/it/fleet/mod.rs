//! A whole fleet is brought to a newer schema version, and servers admit only the versions that they understand.

mod gate;
