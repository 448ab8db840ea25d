//! A tenant's life, struck at every step: created, suspended, its password rotated, deleted, erased.

use serde_json::{Value, json};
use strowger::control::clusters::Isolation;
use strowger::control::jobs::Kind;
use strowger::id::TenantId;
use tokio_postgres::error::SqlState;

use super::{command, struck_everywhere};
use crate::crash::{Catalog, is_served, only_receipts_are_left};
use crate::rotation::one_login_is_armed;
use crate::support::{World, connect, private_world, until};
use provisioner::{erase, tenants};

/// Nobody gets in with what was the tenant's password.
async fn is_shut(url: &str, when: &str) {
    let refused = connect(url).await.expect_err("no login works");
    assert_eq!(refused.code().map(SqlState::code), Some("28000"), "{when}");
}

/// One tenant for each name, whole, and one job: nothing that was made before the server died is made once more.
async fn creation_struck_everywhere(w: &World, isolation: Isolation, home: &str) {
    let before = Catalog::read(w).await;
    let mut names = Vec::new();
    let begin = async |n: usize| {
        names.push(n.to_string());
        command(&["tenant", "create", "--isolation", isolation.as_str(), "--name", &n.to_string()])
    };
    let is_so = async |tenant: &Value, when: &str| {
        assert_eq!(tenant["state"], "active", "{when}");
        is_served(w, tenant).await;
    };
    struck_everywhere(w, (Kind::Create, home), begin, is_so).await;
    before.holds_exactly(w, &names).await;
}

#[test]
fn a_creation_of_a_schema_outlives_its_servers() {
    private_world(async |w| creation_struck_everywhere(&w, Isolation::Schema, "shared").await);
}

#[test]
fn a_creation_of_a_database_outlives_its_servers() {
    private_world(async |w| creation_struck_everywhere(&w, Isolation::Database, "dedicated").await);
}

/// Turns red when the fence is left out because control says already that the tenant is suspended.
#[test]
fn a_suspension_outlives_its_servers() {
    private_world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let catalog = Catalog::read(&w).await;
        let url = tenants::connection(&w.with, id).await.unwrap();
        let begin = async |_| {
            tenants::resume(&w.with, id, "").await.unwrap();
            connect(&url).await.expect("it is served");
            command(&["tenant", "suspend", "1"])
        };
        let is_so = async |tenant: &Value, when: &str| {
            assert_eq!(tenant["state"], "suspended", "{when}");
            is_shut(&url, when).await;
        };
        struck_everywhere(&w, (Kind::Suspend, "shared"), begin, is_so).await;
        let resumed = tenants::resume(&w.with, id, "").await.unwrap();
        is_served(&w, &json!(resumed)).await;
        catalog.still_holds(&w).await;
    });
}

/// Turns red when a change of logins that is under way is begun anew instead of gone on with.
#[test]
fn a_rotation_outlives_its_servers() {
    private_world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await;
        let catalog = Catalog::read(&w).await;
        let server = w.server();
        let bearer = w.token(tenant.id, &["read:memories".parse().unwrap()]).await;
        let begin = async |_| command(&["rotate", "tenant", "1"]);
        let is_so = async |_: &Value, when: &str| {
            one_login_is_armed(&w, &tenant).await;
            until(&format!("{when}: the tenant is served"), async || {
                let asked = server.get("/v1/memories").bearer_auth(&bearer).send().await;
                asked.is_ok_and(|answer| answer.status() == 200)
            })
            .await;
        };
        struck_everywhere(&w, (Kind::RotateLogin, "shared"), begin, is_so).await;
        catalog.still_holds(&w).await;
    });
}

/// Turns red when the deletion does not queue the erasure in the change that says deleted.
#[test]
fn a_deletion_outlives_its_servers() {
    private_world(async |w| {
        let id = w.tenant("One", Isolation::Schema).await.id;
        let catalog = Catalog::read(&w).await;
        let url = tenants::connection(&w.with, id).await.unwrap();
        let begin = async |_| {
            erase::undelete(&w.with, id, "").await.unwrap();
            connect(&url).await.expect("it is served");
            command(&["tenant", "delete", "1"])
        };
        let is_so = async |tenant: &Value, when: &str| {
            assert_eq!(tenant["state"], "deleted", "{when}");
            is_shut(&url, when).await;
            let queued = "select count(*) from jobs where kind = 'erase' and state = 'queued' and approval is not null";
            let queued = crate::jobs::control(&w).await.query_one(queued, &[]).await.unwrap();
            assert_eq!(queued.get::<_, i64>(0), 1, "{when}");
        };
        struck_everywhere(&w, (Kind::Delete, "shared"), begin, is_so).await;
        let undeleted = erase::undelete(&w.with, id, "").await.unwrap();
        is_served(&w, &json!(undeleted)).await;
        catalog.still_holds(&w).await;
    });
}

/// Turns red when what is gone already is an error: when `drop_roles` drops without looking whether the roles are there.
async fn erasure_struck_everywhere(w: &World, isolation: Isolation, home: &str) {
    let before = Catalog::read(w).await;
    let account = w.account(1, None).await;
    let begin = async |n: usize| {
        let id: TenantId = w.tenant(&n.to_string(), isolation).await.id;
        w.assign("+18005550100", id, &account).await;
        let id = id.to_string();
        command(&["tenant", "erase", &id, "--now", "--confirm", &id])
    };
    let is_so = async |erased: &Value, when: &str| {
        assert_eq!(erased["state"], "erased", "{when}");
        only_receipts_are_left(w, when).await;
    };
    struck_everywhere(w, (Kind::Erase, home), begin, is_so).await;
    before.still_holds(w).await;
}

#[test]
fn an_erasure_of_a_schema_outlives_its_servers() {
    private_world(async |w| erasure_struck_everywhere(&w, Isolation::Schema, "shared").await);
}

#[test]
fn an_erasure_of_a_database_outlives_its_servers() {
    private_world(async |w| erasure_struck_everywhere(&w, Isolation::Database, "dedicated").await);
}
