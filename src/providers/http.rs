//! The one HTTP client for all providers.
//!
//! It follows no redirect and asks no proxy of the environment: a key goes to the host that the operator named and to no
//! other. Answers are bounded in size and in time. A request that may simply be repeated is repeated once; one that must not
//! happen twice goes through [`Http::send_once`].

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::vault::Secret;

/// How long a provider may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer that is read.
const ANSWER_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before a repetition, unless the provider names one.
const PAUSE: Duration = Duration::from_millis(250);

/// Why there is no answer. Holds no word of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection: nothing was sent.
    #[error("the provider cannot be reached")]
    Unreachable,
    /// It took longer than allowed; the request may have been carried out.
    #[error("the provider took too long")]
    TimedOut,
    /// The answer is larger than anything we asked for.
    #[error("the provider's answer is too large")]
    TooLarge,
    /// The connection broke on the way.
    #[error("the connection to the provider broke")]
    Broken,
}

/// What a provider answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, all of it.
    pub body: Bytes,
    /// How long it asks to be left alone.
    retry_after: RetryAfter,
}

/// What `Retry-After` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetryAfter {
    Silent,
    Seconds(Duration),
    /// A date, or nonsense: how long is not known, so nothing is repeated.
    Unclear,
}

impl RetryAfter {
    fn read(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(header::RETRY_AFTER) else { return Self::Silent };
        let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        seconds.map_or(Self::Unclear, |seconds| Self::Seconds(Duration::from_secs(seconds)))
    }

    fn pause(self) -> Option<Duration> {
        match self {
            Self::Silent => Some(PAUSE),
            Self::Seconds(pause) => Some(pause),
            Self::Unclear => None,
        }
    }
}

/// A pool of connections to providers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    /// A client that believes the public certificate authorities. Fails only when the build has no usable cryptography.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls()?).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(https);
        Ok(Self { client })
    }

    /// Sends a request, once more after a failure that a repetition can mend, all of it `within` the time allowed.
    pub async fn send(&self, request: &Request<Bytes>, within: Duration) -> Result<Answer, HttpError> {
        let until = Instant::now() + within;
        let first = self.once(request, until).await;
        let Some(pause) = mendable(&first) else { return first };
        if Instant::now() + pause >= until {
            return first;
        }
        tokio::time::sleep(pause).await;
        self.once(request, until).await
    }

    /// Sends a request that must not be carried out twice, such as one that buys: whatever comes of it is the answer.
    pub async fn send_once(&self, request: &Request<Bytes>, within: Duration) -> Result<Answer, HttpError> {
        self.once(request, Instant::now() + within).await
    }

    async fn once(&self, request: &Request<Bytes>, until: Instant) -> Result<Answer, HttpError> {
        let (parts, body) = request.clone().into_parts();
        let whole = self.exchange(Request::from_parts(parts, Full::new(body)));
        tokio::time::timeout_at(until, whole).await.unwrap_or(Err(HttpError::TimedOut))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, HttpError> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { HttpError::Unreachable } else { HttpError::Broken })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT_BYTES)
            .collect()
            .await
            .map_err(|error| if error.is::<LengthLimitError>() { HttpError::TooLarge } else { HttpError::Broken })?;
        Ok(Answer { status: parts.status, body: body.to_bytes(), retry_after: RetryAfter::read(&parts.headers) })
    }
}

/// The pause after which the same request may do better; `None` where it would not.
fn mendable(outcome: &Result<Answer, HttpError>) -> Option<Duration> {
    match outcome {
        Err(HttpError::Unreachable) => Some(PAUSE),
        Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.is_server_error() => {
            answer.retry_after.pause()
        }
        _ => None,
    }
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// `Bearer …`, in memory that is wiped when the request is gone; `None` if the key cannot stand in a header.
pub fn bearer(key: &Secret) -> Option<HeaderValue> {
    sensitive(Zeroizing::new([b"Bearer ", key.expose()].concat()))
}

/// `Basic …`, likewise.
pub fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = Zeroizing::new([user.as_bytes(), b":", password.expose()].concat());
    let encoded = Zeroizing::new(STANDARD.encode(&pair));
    sensitive(Zeroizing::new([b"Basic ", encoded.as_bytes()].concat()))
}

fn sensitive(value: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: RetryAfter) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body: Bytes::new(), retry_after }
    }

    #[test]
    fn only_what_a_repetition_can_mend_is_repeated() {
        assert_eq!(mendable(&Err(HttpError::Unreachable)), Some(PAUSE));
        assert_eq!(mendable(&Ok(answered(503, RetryAfter::Silent))), Some(PAUSE));
        let seven = Duration::from_secs(7);
        assert_eq!(mendable(&Ok(answered(429, RetryAfter::Seconds(seven)))), Some(seven));
        for never in [
            Err(HttpError::TimedOut),
            Err(HttpError::Broken),
            Err(HttpError::TooLarge),
            Ok(answered(200, RetryAfter::Silent)),
            Ok(answered(307, RetryAfter::Silent)),
            Ok(answered(401, RetryAfter::Silent)),
            Ok(answered(429, RetryAfter::Unclear)),
        ] {
            assert_eq!(mendable(&never), None, "{never:?}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_only() {
        let read = |value: &'static str| {
            RetryAfter::read(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(value))]))
        };
        assert_eq!(read("2"), RetryAfter::Seconds(Duration::from_secs(2)));
        for odd in ["", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999999"] {
            assert_eq!(read(odd), RetryAfter::Unclear, "{odd}");
        }
        assert_eq!(RetryAfter::read(&HeaderMap::new()), RetryAfter::Silent);
    }

    #[test]
    fn a_key_that_would_break_the_header_is_refused() {
        let header = |key: &str| bearer(&Secret::new(key.as_bytes().to_vec()));
        assert!(header("sk-1").is_some_and(|value| value.is_sensitive() && value == "Bearer sk-1"));
        assert!(header("sk-1\r\nHost: elsewhere").is_none());
        // The example of RFC 7617.
        let basic = basic("Aladdin", &Secret::new(b"open sesame".to_vec())).unwrap();
        assert!(basic.is_sensitive() && basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
