//! The clusters that all tests of a run share. `./test` starts them and says where they are.

use provisioner::bootstrap::Superuser;
use serde_json::Value;

/// A superuser of `control`, `shared` or `dedicated`.
pub(super) fn superuser(name: &str) -> Superuser {
    Superuser::from_url(&url(name)).unwrap()
}

/// The same as a libpq URL of the maintenance database.
pub(super) fn url(name: &str) -> String {
    let text =
        std::env::var("STROWGER_TEST_POSTGRES").expect("run the tests with ./test: it starts the Postgres they need");
    let all: Value = serde_json::from_str(&text).unwrap();
    all[name].as_str().unwrap().to_owned()
}
