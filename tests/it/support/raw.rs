//! Bytes on a socket, for what no HTTP client would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Server;

/// A connection to a server.
pub(crate) async fn socket(server: &Server) -> TcpStream {
    TcpStream::connect(server.base_url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends bytes and reads until the server closes: the status, or `None` if it closed without a word.
pub(crate) async fn raw(server: &Server, bytes: &[u8]) -> Option<u16> {
    let (mut reader, mut writer) = socket(server).await.into_split();
    // A server that has seen enough may close while we still write.
    let (_, status) = tokio::join!(writer.write_all(bytes), status(&mut reader));
    status
}

/// Sends `head`, then a byte now and then for as long as the server listens.
pub(crate) async fn dribble(server: &Server, head: &[u8]) -> Option<u16> {
    let (mut reader, mut writer) = socket(server).await.into_split();
    let writing = async {
        let mut written = writer.write_all(head).await;
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while written.is_ok() {
            tick.tick().await;
            written = writer.write_all(b"x").await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        status = status(&mut reader) => status,
        () = writing => None,
    }
}

/// Reads the next answer on a connection that may carry more: its status, or `None` if the server has closed.
pub(crate) async fn next_status(connection: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.split("\r\n").next().unwrap().parse().unwrap()];
    connection.read_exact(&mut body).await.ok()?;
    Some(head.strip_prefix("http/1.1 ").unwrap()[..3].parse().unwrap())
}

/// Reads to the end, which a reset is too.
async fn status(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<u16> {
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = reader.read(&mut part).await {
        all.extend_from_slice(&part[..n]);
    }
    let text = String::from_utf8_lossy(&all);
    let status = text.strip_prefix("HTTP/1.1 ").or(text.strip_prefix("HTTP/1.0 "));
    assert!(all.is_empty() || status.is_some(), "not HTTP: {text}");
    status.map(|rest| rest[..3].parse().unwrap())
}
