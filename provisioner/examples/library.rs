//! A Rust program that makes a tenant and reaches it, without the command line and without HTTP.
//!
//! `cargo run -p provisioner --example library -- DIR`, where DIR is the data folder of a running `strowgerctl up`.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use provisioner::settings::Settings;
use provisioner::tenants::{self, NewTenant};
use provisioner::{Provisioner, credentials};
use strowger::auth::{Scope, jwt};
use strowger::clock::Clock;
use strowger::control::clusters::Isolation;
use strowger::control::{Actor, Control};
use strowger::directory::{Directory, Staleness};
use strowger::phone::CallerKey;
use strowger::tenant::memories::{self, NewMemory};
use strowger::tenant::{Limits, Router, Write};
use strowger::vault::MasterRing;

/// What the privileged half does: a tenant with its own schema, and a token that is good for that tenant alone.
async fn provision(settings: &Settings, name: &str) -> Result<String, Box<dyn Error>> {
    let (server_ring, admin_ring) = settings.rings()?;
    let with = Provisioner::open(&settings.control_url, server_ring, admin_ring, Actor::operator("example")).await?;
    let region = "US".parse()?;
    let new = NewTenant { name, id: None, isolation: Isolation::Schema, cluster: None, cluster_region: None, region };
    let tenant = tenants::create(&with, &new).await?;
    Ok(credentials::mint(&with, tenant.id, &[Scope::ReadMemories, Scope::WriteMemories], 3600).await?)
}

/// What the half that faces the internet does: from a token to a connection that can open nothing else.
async fn remember(control_url: &str, ring: MasterRing, token: &str) -> Result<String, Box<dyn Error>> {
    let control = Control::lazy(control_url, "example", 2)?;
    let installation = strowger::control::installation::get(&control).await?.ok_or("not initialised")?;
    let directory = Arc::new(Directory::new(control, ring, &Clock::system(), Staleness::default()));
    let router = Router::new(Arc::clone(&directory), "example", 1, Limits::default());

    // A principal is proof: there is no way to make one but from a token or a webhook that holds.
    let who = jwt::verify(&directory, &installation, token).await?.principal;
    let db = router.open::<Write>(&who).await?;
    let caller = CallerKey::parse("+15551234567", db.region())?;
    let new = NewMemory {
        caller: &caller,
        kind: "preference",
        key: Some("language"),
        content: "Prefers Spanish.",
        vector: None,
    };
    Ok(memories::put(db.conn(), &new).await?.content)
}

/// Both halves in one process. A platform keeps them apart: only the first one holds the admin ring.
pub(crate) async fn run(dir: &Path) -> Result<String, Box<dyn Error>> {
    let settings = Settings::from_data(dir)?;
    let token = provision(&settings, "A tenant made by a program").await?;
    let (server_ring, _) = settings.rings()?;
    remember(&settings.control_url, server_ring, &token).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("which data folder?")?;
    let remembered = run(Path::new(&dir)).await?;
    Ok(writeln!(std::io::stdout(), "remembered: {remembered}")?)
}
