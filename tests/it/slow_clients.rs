//! Clients that take their time: sent away with 408 or a closed connection, and nobody waits for them.

use strowger::auth::Scope;
use strowger::control::clusters::Isolation;

use crate::support::{Service, dribble, raw, world};

const CALLER: &str = "+15551234567";
const DIALLED: &str = "+18005550101";

/// Red when the body is read after the connection is opened: four slow clients would then hold all that a tenant has. Without
/// the deadline in `http/map.rs` or the header timeout in `serve.rs` it never ends.
#[test]
fn slow_clients_are_sent_away_and_hold_up_nobody() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let account = w.account(1, Some(tenant)).await;
        w.assign(DIALLED, tenant, &account).await;
        let (server, token) = (w.server(), w.token(tenant, Scope::ALL).await);
        let one = Service { server: &server, token: token.clone() };
        let body = format!(
            "POST /v1/memories HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{{"
        );
        let hook = "POST /call/incoming HTTP/1.1\r\nhost: x\r\nx-twilio-signature: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9999\r\n\r\n";
        let bodies = async { futures(8, || dribble(&server, body.as_bytes())).await };
        let others = async {
            tokio::join!(
                dribble(&server, hook.as_bytes()),
                dribble(&server, b"GET /healthz HTTP/1.1\r\nx-slow: "),
                raw(&server, b"GET /heal"),
                raw(&server, b""),
            )
        };
        let meanwhile = async {
            for _ in 0..8 {
                assert_eq!(one.get("/v1/memories").await.status, 200);
                assert_eq!(account.dial(&server, CALLER, DIALLED).await.status(), 200);
            }
        };
        let (bodies, (hook, headers, half, silent), ()) = tokio::join!(bodies, others, meanwhile);
        assert_eq!(bodies, [Some(408); 8]);
        assert_eq!(hook, Some(408));
        for status in [headers, half, silent] {
            assert!(matches!(status, None | Some(408)), "{status:?}");
        }
        server.assert_calm(20).await;
    });
}

/// So many of the same at once.
async fn futures<T, F: Future<Output = T>>(count: usize, one: impl Fn() -> F) -> Vec<T> {
    let mut running: Vec<_> = (0..count).map(|_| (Box::pin(one()), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        if running.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}
