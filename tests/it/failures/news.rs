//! Who waits until the servers know, while one of them comes back.

use std::time::Duration;

use strowger::control::Control;
use strowger::control::changes::{self, LISTENER_PREFIX, Listener, News};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::support::{until, world};

/// After the control database has died a server's session is there again a moment before it listens. Turns red when it is asked only once.
#[test]
fn a_server_that_listens_only_after_it_was_asked_is_asked_again() {
    world(async |w| {
        let name = format!("{LISTENER_PREFIX}late");
        let mut counted: tokio_postgres::Config = w.urls.server.parse().unwrap();
        let (_counted, connection) = counted.application_name(&name).connect(NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let watching = crate::jobs::control(&w).await;
        let hearing = async {
            let asked = "select exists (select from pg_stat_activity
                                        where pid <> pg_backend_pid() and query like '%join acknowledgements%')";
            until("it is asked", async || watching.query_one(asked, &[]).await.unwrap().get(0)).await;
            let late = Control::lazy(&w.urls.server, &name, 1).unwrap();
            let server = Control::lazy(&w.urls.server, "late", 1).unwrap();
            let mut listener = Listener::open(&late).await.unwrap();
            loop {
                if let News::Ping(ping) = listener.next().await.unwrap() {
                    changes::acknowledge(&server, ping, "late").await.unwrap();
                }
            }
        };
        let heard = tokio::select! {
            heard = changes::settle(w.with.control(), Uuid::new_v4(), Duration::from_secs(10)) => heard.unwrap(),
            () = hearing => unreachable!("it listens for ever"),
        };
        assert_eq!((heard.acknowledged > 0, heard.acknowledged), (true, heard.instances));
        connection.abort();
    });
}
