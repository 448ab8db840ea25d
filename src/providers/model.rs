//! An OpenAI-compatible model: `POST {base}/chat/completions` and `POST {base}/embeddings`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, StatusCode, header};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::http::{self as client, Http, HttpError};
use crate::vault::Secret;

/// The longest vector that is taken; the largest models of the field have half as many dimensions.
const MAX_DIMENSIONS: usize = 8192;

/// Where a model is and what opens it.
pub struct Endpoint<'a> {
    /// Without a slash at its end, as `https://api.example/v1`.
    pub base_url: &'a str,
    /// Sent as a bearer token.
    pub key: &'a Secret,
    /// How long the whole call may take.
    pub within: Duration,
}

/// Who said a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the model is told to be.
    System,
    /// The caller.
    User,
    /// The model itself, earlier.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Message<'a> {
    /// Who said it.
    pub role: Role,
    /// What.
    pub content: &'a str,
}

/// What a conversation is to be continued with.
#[derive(Debug, Serialize)]
pub struct Chat<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// In order.
    pub messages: Vec<Message<'a>>,
    /// The longest answer.
    pub max_tokens: u32,
}

/// Texts to be turned into vectors.
#[derive(Debug, Serialize)]
pub struct Embed<'a> {
    /// The provider's name of the model.
    pub model: &'a str,
    /// One vector each.
    pub input: &'a [&'a str],
}

/// What the provider counted; `None` where it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Tokens {
    /// Read.
    #[serde(default)]
    pub prompt_tokens: Option<u32>,
    /// Written.
    #[serde(default)]
    pub completion_tokens: Option<u32>,
}

/// Why there is no answer. Holds no word of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The call itself failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The provider said no.
    #[error("the model's provider answered {status} ({reason})")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// A code of the API's, out of a fixed list.
        reason: &'static str,
    },
    /// The answer is not one of this API.
    #[error("the model's provider answered something else than {0}")]
    Garbage(&'static str),
    /// The key or the base URL cannot be sent.
    #[error("the model's {0} cannot stand in a request")]
    Unsendable(&'static str),
}

impl ModelError {
    /// Whether the provider may have done the work nevertheless, and will want it paid.
    pub fn may_have_cost(&self) -> bool {
        match self {
            Self::Http(error) => *error != HttpError::Unreachable,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Garbage(_) => true,
            Self::Unsendable(_) => false,
        }
    }
}

/// Continues a conversation.
pub async fn chat(http: &Http, at: &Endpoint<'_>, ask: &Chat<'_>) -> Result<(String, Tokens), ModelError> {
    let answer: Completion = post(http, at, "chat/completions", ask).await?;
    let text = answer.choices.into_iter().next().and_then(|choice| choice.message.content);
    let text = text.filter(|text| !text.trim().is_empty()).ok_or(ModelError::Garbage("a completion"))?;
    Ok((text, answer.usage.unwrap_or_default()))
}

/// One vector a text, in the order of the texts, all of one dimension.
pub async fn embed(http: &Http, at: &Endpoint<'_>, ask: &Embed<'_>) -> Result<(Vec<Vec<f32>>, Tokens), ModelError> {
    let answer: Embeddings = post(http, at, "embeddings", ask).await?;
    let usage = answer.usage.unwrap_or_default();
    let vectors = in_order(answer.data, ask.input.len()).ok_or(ModelError::Garbage("a vector for each text"))?;
    Ok((vectors, usage))
}

async fn post<T: for<'a> Deserialize<'a>>(
    http: &Http,
    at: &Endpoint<'_>,
    path: &str,
    ask: &impl Serialize,
) -> Result<T, ModelError> {
    let key = client::bearer(at.key).ok_or(ModelError::Unsendable("key"))?;
    let body = serde_json::to_vec(ask).map_err(|_| ModelError::Unsendable("prompt"))?;
    let request = Request::post(format!("{}/{path}", at.base_url))
        .header(header::AUTHORIZATION, key)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Bytes::from(body))
        .map_err(|_| ModelError::Unsendable("base URL"))?;
    let answer = http.send(&request, at.within).await?;
    if !answer.status.is_success() {
        return Err(ModelError::Refused { status: answer.status, reason: reason(&answer.body) });
    }
    serde_json::from_slice(&answer.body).map_err(|_| ModelError::Garbage("JSON of this API"))
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    message: Answered,
}

#[derive(Deserialize)]
struct Answered {
    /// `None` when the model refuses or calls a tool.
    content: Option<String>,
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vector,
}

/// Numbers, or base64 of little-endian floats: some servers answer so without having been asked to.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

impl Vector {
    fn floats(self) -> Option<Vec<f32>> {
        let floats = match self {
            Self::Numbers(numbers) => numbers,
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (fours, []) = bytes.as_chunks::<4>() else { return None };
                fours.iter().map(|four| f32::from_le_bytes(*four)).collect()
            }
        };
        let sound = (1..=MAX_DIMENSIONS).contains(&floats.len()) && floats.iter().all(|float| float.is_finite());
        sound.then_some(floats)
    }
}

/// The vectors by the index that each names, if there is exactly one for each of `count` texts.
fn in_order(data: Vec<Embedding>, count: usize) -> Option<Vec<Vec<f32>>> {
    let mut places: Vec<Option<Vec<f32>>> = vec![None; count];
    for (at, item) in data.into_iter().enumerate() {
        let place = places.get_mut(item.index.unwrap_or(at)).filter(|place| place.is_none())?;
        *place = Some(item.embedding.floats()?);
    }
    let vectors: Vec<Vec<f32>> = places.into_iter().collect::<Option<_>>()?;
    let dimension = vectors.first().map(Vec::len);
    vectors.iter().all(|vector| Some(vector.len()) == dimension).then_some(vectors)
}

/// The codes that tell an operator what to do. Anything else the provider says is not repeated.
const REASONS: [&str; 8] = [
    "invalid_api_key",
    "insufficient_quota",
    "rate_limit_exceeded",
    "model_not_found",
    "context_length_exceeded",
    "content_filter",
    "invalid_request_error",
    "server_error",
];

fn reason(body: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    struct Body {
        error: Said,
    }
    #[derive(Deserialize)]
    struct Said {
        code: Option<serde_json::Value>,
        r#type: Option<String>,
    }
    let Ok(Body { error }) = serde_json::from_slice(body) else { return "no reason that we know" };
    let known = |said: &str| REASONS.into_iter().find(|reason| *reason == said);
    let by_code = error.code.as_ref().and_then(serde_json::Value::as_str).and_then(known);
    by_code.or_else(|| error.r#type.as_deref().and_then(known)).unwrap_or("no reason that we know")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str, count: usize) -> Option<Vec<Vec<f32>>> {
        let read: Embeddings = serde_json::from_str(json).ok()?;
        in_order(read.data, count)
    }

    #[test]
    fn vectors_are_put_in_the_order_of_their_texts() {
        let json = r#"{"data":[{"index":1,"embedding":[2,2.5]},{"index":0,"embedding":"AACAPwAAAEA="}]}"#;
        assert_eq!(read(json, 2), Some(vec![vec![1.0, 2.0], vec![2.0, 2.5]]));
        assert_eq!(read(r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#, 2), Some(vec![vec![1.0], vec![2.0]]));
    }

    #[test]
    fn what_is_not_one_sound_vector_a_text_is_refused() {
        for (json, count) in [
            (r#"{"data":[{"embedding":[1]}]}"#, 2),
            (r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#, 1),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}"#, 2),
            (r#"{"data":[{"index":7,"embedding":[1]}]}"#, 1),
            (r#"{"data":[{"embedding":[1]},{"embedding":[1,2]}]}"#, 2),
            (r#"{"data":[{"embedding":[]}]}"#, 1),
            (r#"{"data":[{"embedding":[1e300]}]}"#, 1),
            (r#"{"data":[{"embedding":"AACAfw=="}]}"#, 1),
            (r#"{"data":[{"embedding":"AAA="}]}"#, 1),
            (r#"{"data":[{"embedding":"not base64"}]}"#, 1),
        ] {
            assert_eq!(read(json, count), None, "{json}");
        }
    }

    #[test]
    fn only_codes_of_the_list_are_repeated() {
        assert_eq!(reason(br#"{"error":{"message":"m","type":"x","code":"invalid_api_key"}}"#), "invalid_api_key");
        assert_eq!(reason(br#"{"error":{"type":"server_error","code":7}}"#), "server_error");
        for odd in ["", "[]", r#"{"error":"Grace said"}"#, r#"{"error":{"code":"Grace said","type":"Grace"}}"#] {
            assert_eq!(reason(odd.as_bytes()), "no reason that we know", "{odd}");
        }
    }

    proptest! {
        #[test]
        fn base64_vectors_read_as_they_were_written(floats in proptest::collection::vec(-1e30_f32..1e30, 1..40)) {
            let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
            prop_assert_eq!(Vector::Base64(STANDARD.encode(bytes)).floats(), Some(floats));
        }

        #[test]
        fn any_body_is_taken_apart_without_a_panic(body in "\\PC{0,200}", count in 0..4_usize) {
            let _ = (read(&body, count), reason(body.as_bytes()));
            let _ = serde_json::from_str::<Completion>(&body);
        }
    }
}
