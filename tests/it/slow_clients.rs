//! Clients that take their time: sent away with 408 or a closed connection, and nobody waits for them. One whose request is refused while
//! its body is under way keeps its connection.

use strowger::auth::Scope;
use strowger::control::clusters::Isolation;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Server, Service, dribble, next_status, raw, socket, world};

const CALLER: &str = "+15551234567";
const DIALLED: &str = "+18005550101";

/// Red when the body is read after the connection is opened: four slow clients would then hold all that a tenant has. Without
/// the deadline in `http/map.rs`, the header timeout in `serve.rs` or the timeout in `unread.rs` it never ends.
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
        let stranger = body.replace(&token, "wrong");
        let hook = "POST /call/incoming HTTP/1.1\r\nhost: x\r\nx-twilio-signature: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 9999\r\n\r\n";
        let bodies = async { futures(8, || dribble(&server, body.as_bytes())).await };
        let others = async {
            tokio::join!(
                dribble(&server, hook.as_bytes()),
                dribble(&server, stranger.as_bytes()),
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
        let (bodies, (hook, stranger, headers, half, silent), ()) = tokio::join!(bodies, others, meanwhile);
        assert_eq!(bodies, [Some(408); 8]);
        assert_eq!((hook, stranger), (Some(408), Some(401)));
        for status in [headers, half, silent] {
            assert!(matches!(status, None | Some(408)), "{status:?}");
        }
        server.assert_calm(20).await;
    });
}

/// What the next request on a connection is told whose last one was refused before its body came.
async fn next_after(server: &Server, head: &str, refused: u16, body: &[u8]) -> Option<u16> {
    let mut connection = socket(server).await;
    connection.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(next_status(&mut connection).await, Some(refused), "{head}: nobody waits for the body");
    // A server that has closed may refuse these.
    let _ = connection.write_all(&[body, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"].concat()).await;
    next_status(&mut connection).await
}

/// Turns red without `unread` in `http/map.rs`, and without the limits in it: then a body has no end.
#[test]
fn a_client_that_is_refused_before_its_body_has_come_keeps_its_connection() {
    world(async |w| {
        let tenant = w.tenant("One", Isolation::Schema).await.id;
        let (server, reader) = (w.server(), w.token(tenant, &[Scope::ReadMemories]).await);
        let length = |n: usize| (format!("content-length: {n}"), vec![b'x'; n]);
        let chunks = |n: usize| {
            let body = format!("{n:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(n)).into_bytes();
            ("transfer-encoding: chunked".to_owned(), body)
        };
        for (request, refused) in [
            ("POST /v1/memories HTTP/1.1\r\nauthorization: Bearer wrong".to_owned(), 401),
            (format!("POST /v1/memories HTTP/1.1\r\nauthorization: Bearer {reader}"), 403),
            ("POST /nothing HTTP/1.1".to_owned(), 404),
            ("POST /healthz HTTP/1.1".to_owned(), 405),
            (
                format!(
                    "POST /v1/memories/search HTTP/1.1\r\nauthorization: Bearer {reader}\r\ncontent-type: text/plain"
                ),
                415,
            ),
        ] {
            for (framing, body) in [length(100_000), chunks(100_000)] {
                let head = format!("{request}\r\nhost: x\r\n{framing}");
                assert_eq!(next_after(&server, &head, refused, &body).await, Some(200), "{head}");
            }
            for (framing, body) in [length(3 << 20), chunks(3 << 20)] {
                let head = format!("{request}\r\nhost: x\r\n{framing}");
                assert_eq!(next_after(&server, &head, refused, &body).await, None, "{head}: too large");
            }
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
