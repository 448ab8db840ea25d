//! Twilio's webhooks.

use axum::extract::{Query, Request, State as Extract};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::error::Problem;
use super::{State, body, twiml};
use crate::app::voice::{self, Call, CallError, Voice};
use crate::auth::AuthError;
use crate::auth::webhook::{TwilioForm, Unverified, Verified};

/// A call comes in: answered with the receptionist's greeting.
pub(super) async fn incoming(Extract(state): Extract<State>, request: Request) -> Result<Response, Problem> {
    let form = verified(&state, request).await?;
    let spoken = voice::incoming(&state.directory, &state.router, &Call::read(&form)?).await?;
    Ok(twiml::speak(&spoken, &state.public_url))
}

#[derive(Deserialize)]
struct TurnQuery {
    turn: i32,
}

/// The caller said something, or nothing: answered. The number of the turn stands in the address, which is signed too.
pub(super) async fn turn(Extract(state): Extract<State>, request: Request) -> Result<Response, Problem> {
    let query = Query::<TurnQuery>::try_from_uri(request.uri()).ok().filter(|query| query.turn > 0);
    let form = verified(&state, request).await?;
    let Query(query) = query.ok_or(CallError::Field("turn"))?;
    let with = Voice {
        directory: &state.directory,
        router: &state.router,
        answers: &state.answers,
        model: &state.model,
        promises: &state.promises,
    };
    let spoken = voice::turn(&with, &Call::read(&form)?, query.turn).await?;
    Ok(twiml::speak(&spoken, &state.public_url))
}

/// A call went on or ended.
pub(super) async fn status(Extract(state): Extract<State>, request: Request) -> Result<Response, Problem> {
    let form = verified(&state, request).await?;
    voice::status(&state.directory, &state.router, &state.promises, &Call::read(&form)?).await?;
    Ok(twiml::nothing())
}

/// Checks the signature with the token of the account that the form names.
async fn verified(state: &State, request: Request) -> Result<Verified<TwilioForm>, Problem> {
    let path_and_query = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let signature = request.headers().get("x-twilio-signature").map(|value| value.to_str().unwrap_or("").to_owned());
    let is_form = body::has_type(request.headers(), "application/x-www-form-urlencoded");
    let bytes = body::bytes(request).await?;
    let unverified = Unverified::twilio(&path_and_query, signature.as_deref(), is_form, &bytes).map_err(refusal)?;
    let account = state.directory.account(unverified.claimed_account()).await?;
    let account = account.ok_or_else(|| refusal(AuthError::Invalid("unknown account".into())))?;
    unverified.verify(&state.public_url, &account.token).map_err(refusal)
}

/// An unknown account and a wrong signature look alike.
fn refusal(error: AuthError) -> Problem {
    match error {
        AuthError::Missing => Problem::new(StatusCode::BAD_REQUEST, "unsigned", "X-Twilio-Signature is missing."),
        AuthError::Invalid(why) => {
            tracing::warn!(why, "a webhook was refused");
            Problem::new(StatusCode::FORBIDDEN, "bad_signature", "The signature does not match.")
        }
        AuthError::Directory(error) => error.into(),
    }
}
