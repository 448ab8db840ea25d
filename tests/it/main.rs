//! Situations, each on a real Postgres with an installation of its own. `./test` starts the clusters they share.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a test that fails panics")]

mod support;

mod architecture;
mod compile_fail;
mod isolation;
mod provisioning;
