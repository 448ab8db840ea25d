//! What nobody read of a request's body is read to its end and thrown away, so that its connection can carry the next request.
//!
//! A refusal often comes before the body does. hyper then closes the connection, and a client that keeps its connections finds this one
//! gone with its next request. Nobody waits for the rest: the answer is under way meanwhile. It has what every body has, so many bytes
//! and so long since the request came; beyond either the connection is closed. A request without a body passes untouched.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::body::{BODY_LIMIT_BYTES, BODY_TIMEOUT};

/// The request with a body that is read to its end, whoever drops it before.
pub(super) fn read_to_its_end(request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let until = Instant::now() + BODY_TIMEOUT;
    request.map(|body| Body::new(ToItsEnd { body, is_over: false, until }))
}

/// A body whose rest is read when it is dropped.
struct ToItsEnd {
    body: Body,
    /// Nothing more comes of it: it has ended, or failed.
    is_over: bool,
    /// When it is given up.
    until: Instant,
}

impl HttpBody for ToItsEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_over = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ToItsEnd {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.body);
        if self.is_over || rest.is_end_stream() || rest.size_hint().lower() > BODY_LIMIT_BYTES as u64 {
            return;
        }
        // None while a process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(timeout_at(self.until, throw_away(rest)));
    }
}

async fn throw_away(rest: Body) {
    let mut rest = Limited::new(rest, BODY_LIMIT_BYTES);
    while let Some(Ok(_)) = rest.frame().await {}
}
