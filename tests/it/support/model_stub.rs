//! A server that behaves like an OpenAI-compatible provider, its failures included.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A word that stands in every error of the stub, as a provider may quote a prompt.
pub(crate) const PROVIDERS_WORDS: &str = "Grace-said-so";

/// What a stub answers instead of what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// This status, with an error body that quotes the prompt.
    Status(u16),
    /// 429 with this Retry-After.
    Busy(&'static str),
    /// 200 and no JSON.
    Garbage,
    /// 200 and more than anybody wants to read.
    Huge,
    /// Nothing, ever.
    Silence,
    /// The right answer, once the stub is told to give it.
    Held,
    /// A redirect to another host.
    Elsewhere,
    /// The right answer, with vectors in base64 and in another order.
    Base64,
    /// The right answer without `usage`.
    Uncounted,
}

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

/// A running stub.
#[derive(Clone)]
pub(crate) struct ModelStub {
    pub(crate) base_url: String,
    state: Shared,
}

type Shared = Arc<Mutex<Inner>>;

#[derive(Default)]
struct Inner {
    asked: Vec<Asked>,
    failing: VecDeque<Failing>,
    says: Option<String>,
    released: Arc<Notify>,
}

impl ModelStub {
    /// Starts one on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Shared::default();
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .route("/v1/embeddings", post(answer))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { base_url, state }
    }

    /// The next requests fail so, one after the other.
    pub(crate) fn fail(&self, how: &[Failing]) {
        self.state.lock().unwrap().failing.extend(how);
    }

    /// From now on chats are answered with this text; else with an echo of the last message.
    pub(crate) fn say(&self, text: &str) {
        self.state.lock().unwrap().says = Some(text.to_owned());
    }

    /// Gives one answer that is held.
    pub(crate) fn release(&self) {
        self.state.lock().unwrap().released.notify_one();
    }

    /// Everything asked since the last time this was called.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

async fn answer(State(state): State<Shared>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let (how, says, released) = {
        let mut state = state.lock().unwrap();
        state.asked.push(Asked { path: path.clone(), authorization, body: body.clone() });
        (state.failing.pop_front(), state.says.clone(), Arc::clone(&state.released))
    };
    match how {
        Some(Failing::Held) => {
            released.notified().await;
            right(&path, &body, says, None)
        }
        Some(failing) => fail(failing, &path, &body, says).await,
        None => right(&path, &body, says, None),
    }
}

async fn fail(how: Failing, path: &str, body: &Value, says: Option<String>) -> Response {
    let error = json!({ "error": { "message": format!("{PROVIDERS_WORDS}: {body}"), "type": PROVIDERS_WORDS,
                                   "param": null, "code": "invalid_api_key" } });
    match how {
        Failing::Status(status) => (StatusCode::from_u16(status).unwrap(), axum::Json(error)).into_response(),
        Failing::Busy(after) => {
            (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, after)], axum::Json(error)).into_response()
        }
        Failing::Garbage => format!("<html>{PROVIDERS_WORDS}").into_response(),
        Failing::Huge => vec![b' '; 9 * 1024 * 1024].into_response(),
        Failing::Silence => std::future::pending().await,
        Failing::Elsewhere => {
            let to = format!("http://127.0.0.1:1/{PROVIDERS_WORDS}");
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response()
        }
        Failing::Base64 | Failing::Uncounted | Failing::Held => right(path, body, says, Some(how)),
    }
}

fn right(path: &str, body: &Value, says: Option<String>, how: Option<Failing>) -> Response {
    let usage = if how == Some(Failing::Uncounted) {
        Value::Null
    } else if path.ends_with("embeddings") {
        json!({ "prompt_tokens": 5, "total_tokens": 5 })
    } else {
        json!({ "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18 })
    };
    let model = &body["model"];
    if path.ends_with("chat/completions") {
        let last =
            body["messages"].as_array().and_then(|all| all.last()).map_or("", |m| m["content"].as_str().unwrap());
        let content = says.unwrap_or_else(|| format!("You said: {last}"));
        let choice =
            json!({ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content } });
        let body =
            json!({ "id": "c1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage });
        return axum::Json(body).into_response();
    }
    let texts: Vec<String> = serde_json::from_value(body["input"].clone()).unwrap();
    let mut data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = vector(text);
            let embedding = if how == Some(Failing::Base64) { base64(&vector).into() } else { json!(vector) };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    if how == Some(Failing::Base64) {
        data.reverse();
    }
    axum::Json(json!({ "object": "list", "data": data, "model": model, "usage": usage })).into_response()
}

/// Counts of letters, as a vector: texts of the same letters mean the same here.
pub(crate) fn vector(text: &str) -> Vec<f32> {
    let mut counts = vec![0.0; 27];
    for letter in text.to_lowercase().bytes() {
        let place = if letter.is_ascii_lowercase() { usize::from(letter - b'a') } else { 26 };
        counts[place] += 1.0;
    }
    counts
}

fn base64(vector: &[f32]) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = vector.iter().flat_map(|float| float.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
