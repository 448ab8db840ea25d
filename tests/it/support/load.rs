//! Clients that send one request after the other, never the same one twice, and count what came back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use reqwest::{Client, Method};
use serde_json::json;
use tokio::task::JoinSet;

use super::Server;

/// A service's token, which may be replaced by a newer one while it is in use.
#[derive(Clone)]
pub(crate) struct Token(Arc<RwLock<String>>);

impl Token {
    pub(crate) fn new(token: String) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    pub(crate) fn replace(&self, token: String) {
        *self.0.write().unwrap() = token;
    }

    fn get(&self) -> String {
        self.0.read().unwrap().clone()
    }
}

#[derive(Default)]
struct Count {
    sent: AtomicUsize,
    good: AtomicUsize,
    bad: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Requests under way, until [`Load::end`].
pub(crate) struct Load {
    count: Arc<Count>,
    clients: JoinSet<()>,
}

impl Load {
    /// `clients` of them for each server and token. Every other request writes.
    pub(crate) fn begin(servers: &[&Server], tokens: &[Token], clients: usize) -> Self {
        Self::of(servers, tokens, clients, true)
    }

    /// The same for tenants that nobody may write to.
    pub(crate) fn reading(servers: &[&Server], tokens: &[Token], clients: usize) -> Self {
        Self::of(servers, tokens, clients, false)
    }

    fn of(servers: &[&Server], tokens: &[Token], clients: usize, may_write: bool) -> Self {
        let count = Arc::new(Count::default());
        let mut running = JoinSet::new();
        for server in servers {
            for token in tokens {
                for _ in 0..clients {
                    running.spawn(client(server.base_url.clone(), token.clone(), may_write, Arc::clone(&count)));
                }
            }
        }
        Self { count, clients: running }
    }

    /// Waits until so many more requests were answered: what is to happen under load does not happen beside it.
    pub(crate) async fn goes_on(&self, more: usize) {
        let enough = self.count.sent.load(Ordering::Relaxed) + more;
        super::until("requests are answered", async || self.count.sent.load(Ordering::Relaxed) >= enough).await;
    }

    /// Stops all clients after the answer they wait for. Every request must have been answered with 2xx.
    pub(crate) async fn end(mut self, what: &str) {
        self.count.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let (sent, good) = (self.count.sent.load(Ordering::Relaxed), self.count.good.load(Ordering::Relaxed));
        println!("{what}: {sent} requests sent, {good} answered with 2xx");
        let bad = self.count.bad.lock().unwrap();
        assert_eq!(sent, good, "{what}: {} requests failed: {:#?}", bad.len(), &bad[..bad.len().min(5)]);
    }
}

async fn client(base_url: String, token: Token, may_write: bool, count: Arc<Count>) {
    let client = Client::builder().retry(reqwest::retry::never()).build().unwrap();
    let url = format!("{base_url}/v1/memories");
    while !count.stop.load(Ordering::Relaxed) {
        let writes = count.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) && may_write;
        let request = if writes {
            let memory = json!({ "user_id": "+15551234567", "key": "language", "content": "Prefers Spanish." });
            client.request(Method::POST, &url).json(&memory)
        } else {
            client.request(Method::GET, &url).query(&[("limit", "5")])
        };
        match request.bearer_auth(token.get()).send().await {
            Ok(answer) if answer.status().is_success() => drop(count.good.fetch_add(1, Ordering::Relaxed)),
            Ok(answer) => {
                let text = format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default());
                count.bad.lock().unwrap().push(text);
            }
            Err(error) => count.bad.lock().unwrap().push(format!("{error:?}")),
        }
    }
}
