//! Postgres itself keeps tenants apart: what one tenant's own login is refused, outside of any router and any code of ours.
//!
//! [`refused`] holds the statements with the SQLSTATE of each, [`quiet`] what is answered but shows nothing of a neighbour,
//! [`allowed`] the closed list of what cannot be refused (SECURITY.md says what it can harm), [`functions`] what Postgres
//! offers to everybody, [`rights`] the roles and access lists behind it. Each group names the one-line change of the product
//! that turns it red; each was made once and seen to.

mod allowed;
mod elsewhere;
mod functions;
mod pair;
mod quiet;
mod refused;
mod rights;
mod server;
mod statements;

use strowger::control::clusters::Isolation::{Database, Schema};

use crate::support::world;
use pair::Pair;

#[test]
fn a_schema_tenant_is_refused_its_neighbour_in_the_same_database() {
    world(async |w| {
        let pair = Pair::new(&w, Schema, Schema).await;
        refused::try_all(&pair).await;
        quiet::try_all(&pair).await;
    });
}

#[test]
fn a_database_tenant_is_refused_its_neighbour_on_the_same_cluster() {
    world(async |w| {
        let pair = Pair::new(&w, Database, Database).await;
        refused::try_all(&pair).await;
        quiet::try_all(&pair).await;
    });
}

#[test]
fn a_schema_tenant_is_refused_a_database_tenant() {
    world(async |w| refused::try_all(&Pair::new(&w, Schema, Database).await).await);
}

#[test]
fn a_database_tenant_is_refused_a_schema_tenant() {
    world(async |w| refused::try_all(&Pair::new(&w, Database, Schema).await).await);
}
