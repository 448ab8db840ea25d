//! Clients that ask one question after the other over connections that stay open, and note how long each answer took.
//!
//! Raw sockets: all contenders share two processors with their clients, so a client must cost little.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What one round of one contender came to.
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Every answer's time.
    pub(crate) times: Vec<Duration>,
}

/// A request, whole, as it goes over the wire; `headers` has the host.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let kind = if headers.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
    format!("{method} {path} HTTP/1.1\r\n{headers}{kind}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// So many clients for so long. Client `n` begins with request `n` and goes on from there.
pub(crate) async fn run(address: SocketAddr, requests: &Arc<Vec<Vec<u8>>>, clients: usize, time: Duration) -> Round {
    let (start, mut running) = (Instant::now(), JoinSet::new());
    for n in 0..clients {
        let requests = Arc::clone(requests);
        running.spawn(async move {
            let (mut connection, mut times) = (Connection::open(address).await, Vec::new());
            // Steps that have no factor in common with the number of requests visit all of them.
            let mut next = n * 7919;
            while start.elapsed() < time {
                let asked = Instant::now();
                connection.ask(&requests[next % requests.len()]).await;
                times.push(asked.elapsed());
                next += 7919;
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = running.join_next().await {
        times.extend(ended.unwrap());
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' worth of requests")]
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    Round { per_second, times }
}

/// A connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(65_536) }
    }

    /// Asks and reads the answer, which must be 200 or 201 with a `Content-Length`: its body.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "closed: {}", String::from_utf8_lossy(&self.buffer));
            let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap().to_ascii_lowercase();
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.unwrap_or_else(|| panic!("no length: {head}")).trim().parse().unwrap();
            if self.buffer.len() >= end + 4 + length {
                assert!(head.starts_with("http/1.1 20"), "{}", String::from_utf8_lossy(&self.buffer));
                return &self.buffer[end + 4..];
            }
        }
    }
}
